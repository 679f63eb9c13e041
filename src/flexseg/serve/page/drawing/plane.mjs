// A plane is a label map in two dimensions: { data: Uint8Array of height x width, width, height }.
// Places are in pixels; the middle of the pixel in row y and column x is at (x + 0.5, y + 0.5).

export const NOT_LOOKED_AT = 255;

export const plane = (width, height, data = new Uint8Array(width * height)) => ({ data, width, height });

// A rectangle of pixels { left, top, right, bottom }, without its last column and row; an empty one
// has right <= left or bottom <= top.
export const NOTHING = Object.freeze({ left: Infinity, top: Infinity, right: -Infinity, bottom: -Infinity });

export const union = (a, b) => ({
  left: Math.min(a.left, b.left), top: Math.min(a.top, b.top),
  right: Math.max(a.right, b.right), bottom: Math.max(a.bottom, b.bottom),
});

export const isEmpty = ({ left, top, right, bottom }) => right <= left || bottom <= top;

// The rectangle of whole pixels around `box`, within the plane.
export const clip = (box, { width, height }) => ({
  left: Math.max(0, Math.floor(box.left)), top: Math.max(0, Math.floor(box.top)),
  right: Math.min(width, Math.ceil(box.right)), bottom: Math.min(height, Math.ceil(box.bottom)),
});

export const everything = () => true;

// Which pixels a tool may change, by their place in the data: all, or only those of the background
// and of the tool's own class, and only those whose grey value is within `tolerance` of `value`.
export function allowed(data, own, { alone = false, grey = null } = {}) {
  const similar = grey && ((i) => Math.abs(grey.values[i] - grey.value) <= grey.tolerance);
  const free = alone && ((i) => data[i] === 0 || data[i] === own || data[i] === NOT_LOOKED_AT);
  if (similar && free) return (i) => similar(i) && free(i);
  return similar || free || everything;
}
