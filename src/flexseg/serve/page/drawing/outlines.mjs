// The edges of each class, between pixels: a Map from class to a flat array of x0, y0, x1, y1, with
// neighbouring edges in one line joined. An edge between two classes belongs to both; what touches
// the border of the image is closed there.
export function outlines({ data, width, height }) {
  const found = new Map();
  // Along the line `k` between rows (or columns): the pixels before and after it, `step` apart.
  function scan(k, count, start, step, length, add) {
    const [before, after] = [k > 0 ? start - step.across : -1, k < count ? start : -1];
    const open = [0, 0];
    const from = [0, 0];
    for (let i = 0; i <= length; i++) {
      const a = i < length && before >= 0 ? data[before + i * step.along] : 0;
      const b = i < length && after >= 0 ? data[after + i * step.along] : 0;
      for (let side = 0; side < 2; side++) {
        const c = a === b ? 0 : side ? b : a;
        if (c === open[side]) continue;
        if (open[side]) {
          if (!found.has(open[side])) found.set(open[side], []);
          add(found.get(open[side]), from[side], i);
        }
        open[side] = c;
        from[side] = i;
      }
    }
  }
  for (let y = 0; y <= height; y++) {
    scan(y, height, y * width, { across: width, along: 1 }, width, (into, x0, x1) => into.push(x0, y, x1, y));
  }
  for (let x = 0; x <= width; x++) {
    scan(x, width, x, { across: 1, along: width }, height, (into, y0, y1) => into.push(x, y0, x, y1));
  }
  return found;
}
