import { clip, everything, NOTHING } from "./plane.mjs";

// Gives `value` to the pixels whose middle lies inside a polygon (even-odd rule), whose last corner
// is joined to its first. Returns the rectangle that may have changed.
export function fillPolygon(plane, corners, value, may = everything) {
  if (corners.length < 3) return NOTHING;
  const [xs, ys] = [corners.map(([x]) => x), corners.map(([, y]) => y)];
  const box = clip({
    left: Math.min(...xs), top: Math.min(...ys), right: Math.max(...xs), bottom: Math.max(...ys),
  }, plane);
  for (let row = box.top; row < box.bottom; row++) {
    const y = row + 0.5;
    const crossings = [];
    corners.forEach(([x1, y1], i) => {
      const [x0, y0] = corners.at(i - 1);
      if ((y0 <= y) !== (y1 <= y)) crossings.push(x0 + ((y - y0) / (y1 - y0)) * (x1 - x0));
    });
    crossings.sort((a, b) => a - b);
    for (let k = 0; k + 1 < crossings.length; k += 2) {
      const first = Math.max(0, Math.ceil(crossings[k] - 0.5));
      const last = Math.min(plane.width, Math.ceil(crossings[k + 1] - 0.5));
      for (let i = row * plane.width + first; i < row * plane.width + last; i++) {
        if (may(i)) plane.data[i] = value;
      }
    }
  }
  return box;
}
