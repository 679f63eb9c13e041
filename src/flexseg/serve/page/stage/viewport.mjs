// Where a picture is on the screen. A matrix [a, b, c, d, e, f] brings (x, y) of the picture to
// (a x + c y + e, b x + d y + f) in CSS pixels.

// How large the picture is on the screen when its turning matrix [a, b, c, d] is applied alone.
export const extent = ([a, b, c, d], width, height) =>
  [Math.abs(a * width + c * height), Math.abs(b * width + d * height)];

// Zoom 1 is the whole picture in the pane; the middle of the picture is off the pane's by `x`, `y`.
export const whole = () => ({ zoom: 1, x: 0, y: 0 });

// The scale from turned pixels to CSS pixels at zoom 1.
export function fitting({ turn, width, height }, pane) {
  const [wide, high] = extent(turn, width, height);
  return Math.min(pane.width / wide, pane.height / high);
}

export function matrix(view, picture, pane) {
  const scale = fitting(picture, pane) * view.zoom;
  const [a, b, c, d] = picture.turn.map((v) => v * scale);
  const [x, y] = [picture.width / 2, picture.height / 2];
  return [a, b, c, d, pane.width / 2 + view.x - a * x - c * y, pane.height / 2 + view.y - b * x - d * y];
}

export const apply = ([a, b, c, d, e, f], [x, y]) => [a * x + c * y + e, b * x + d * y + f];

export function invert([a, b, c, d, e, f]) {
  const det = a * d - b * c;
  return [d / det, -b / det, -c / det, a / det, (c * f - d * e) / det, (b * e - a * f) / det];
}

const MOST = 64; // CSS pixels that a pixel of the picture may have
const limited = (value, most) => Math.min(most, Math.max(-most, value));

// Zoomed by a factor about a place of the pane, which stays where it is.
export function zoomed(view, factor, [px, py], picture, pane) {
  const zoom = Math.min(Math.max(1, MOST / fitting(picture, pane)), Math.max(1, view.zoom * factor));
  const by = zoom / view.zoom;
  const [cx, cy] = [px - pane.width / 2, py - pane.height / 2];
  return kept({ zoom, x: cx + (view.x - cx) * by, y: cy + (view.y - cy) * by }, picture, pane);
}

// Moved by CSS pixels; the picture stays in sight, and in the middle where it is smaller than the pane.
export const moved = (view, dx, dy, picture, pane) => kept({ ...view, x: view.x + dx, y: view.y + dy }, picture, pane);

function kept(view, picture, pane) {
  const scale = fitting(picture, pane) * view.zoom;
  const [wide, high] = extent(picture.turn, picture.width, picture.height).map((v) => v * scale);
  return {
    zoom: view.zoom,
    x: limited(view.x, Math.max(0, (wide - pane.width) / 2)),
    y: limited(view.y, Math.max(0, (high - pane.height) / 2)),
  };
}
