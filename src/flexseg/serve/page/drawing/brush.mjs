import { clip, everything } from "./plane.mjs";

// Paints a straight stroke of a round brush: every pixel whose middle is within `radius` of the line
// from (x0, y0) to (x1, y1). `scale` is the size of a pixel [across, down] in the radius's unit, so
// that the brush is round on the screen where pixels are not square. A brush smaller than a pixel
// still paints the pixel below it. Returns the rectangle that may have changed.
export function paintStroke(plane, [x0, y0], [x1, y1], radius, value, may = everything, scale = [1, 1]) {
  const { data, width } = plane;
  const [sx, sy] = scale;
  const [rx, ry] = [Math.max(radius / sx, 0.5), Math.max(radius / sy, 0.5)];
  const box = clip({
    left: Math.min(x0, x1) - rx, top: Math.min(y0, y1) - ry,
    right: Math.max(x0, x1) + rx, bottom: Math.max(y0, y1) + ry,
  }, plane);
  const [dx, dy] = [(x1 - x0) * sx, (y1 - y0) * sy];
  const length = dx * dx + dy * dy;
  const limit = radius * radius;
  for (let y = box.top; y < box.bottom; y++) {
    for (let x = box.left; x < box.right; x++) {
      const [px, py] = [(x + 0.5 - x0) * sx, (y + 0.5 - y0) * sy];
      const t = length ? Math.min(1, Math.max(0, (px * dx + py * dy) / length)) : 0;
      const far = (px - t * dx) ** 2 + (py - t * dy) ** 2;
      const i = y * width + x;
      if (far <= limit && may(i)) data[i] = value;
    }
  }
  for (const [x, y] of [[x0, y0], [x1, y1]]) {
    const [column, row] = [Math.floor(x), Math.floor(y)];
    if (column < 0 || row < 0 || column >= width || row >= plane.height) continue;
    const i = row * width + column;
    if (may(i)) data[i] = value;
  }
  return box;
}
