import { everything, NOTHING } from "./plane.mjs";

// Gives `value` to the connected area (by edges) of pixels of one class that the pixel at (x, y)
// belongs to. Returns the rectangle that has changed.
export function fill(plane, [x, y], value, may = everything) {
  const { data, width, height } = plane;
  const [column, row] = [Math.floor(x), Math.floor(y)];
  if (column < 0 || row < 0 || column >= width || row >= height) return NOTHING;
  const former = data[row * width + column];
  if (former === value) return NOTHING;
  const box = { left: column, top: row, right: column + 1, bottom: row + 1 };
  const open = (i) => data[i] === former && may(i);
  const waiting = [row * width + column];
  while (waiting.length) {
    const start = waiting.pop();
    if (!open(start)) continue;
    const top = Math.floor(start / width);
    const first = top * width;
    let left = start;
    let right = start + 1;
    while (left > first && open(left - 1)) left--;
    while (right < first + width && open(right)) right++;
    data.fill(value, left, right);
    box.left = Math.min(box.left, left - first);
    box.right = Math.max(box.right, right - first);
    box.top = Math.min(box.top, top);
    box.bottom = Math.max(box.bottom, top + 1);
    // One pixel of each run above and below is enough: the rest follows from it.
    for (const next of [-width, width]) {
      if (first + next < 0 || first + next >= data.length) continue;
      for (let i = left; i < right; i++) {
        if (open(i + next) && (i === left || !open(i + next - 1))) waiting.push(i + next);
      }
    }
  }
  return box;
}
