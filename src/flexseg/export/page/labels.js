// What is done with labels after the graph, equal to run.py; and what is counted of them.

// Labels after the steps of each class, changed in place: {class id: {largest_component, min_size,
// fill_holes}}. Pixels that touch in a side or corner are one part; a hole is background,
// connected by sides, that touches one class and not the edge.
export function cleaned(labels, width, height, steps) {
  if (!Object.keys(steps).length) return labels;
  const around = neighbours(width, height);
  for (const [id, step] of Object.entries(steps)) {
    if (!step.largest_component && !(step.min_size > 1)) continue;
    const found = regions(labels, Number(id), around.all);
    const largest = found.reduce((best, part, i) => (part.length > found[best].length ? i : best), 0);
    found.forEach((part, i) => {
      const stays = part.length >= (step.min_size || 0) && (!step.largest_component || i === largest);
      if (!stays) for (const pixel of part) labels[pixel] = 0;
    });
  }
  if (!Object.values(steps).some((step) => step.fill_holes)) return labels;
  for (const hole of regions(labels, 0, around.sides)) {
    const touched = new Set();
    let open = false;
    for (const pixel of hole) {
      const [x, y] = [pixel % width, Math.floor(pixel / width)];
      open ||= x === 0 || y === 0 || x === width - 1 || y === height - 1;
      if (open) break;
      for (const other of [pixel - 1, pixel + 1, pixel - width, pixel + width]) {
        if (labels[other]) touched.add(labels[other]);
      }
    }
    const [owner] = touched;
    if (!open && touched.size === 1 && steps[owner]?.fill_holes) for (const pixel of hole) labels[pixel] = owner;
  }
  return labels;
}

// Pixels within the image that touch one, by sides alone or by corners as well.
function neighbours(width, height) {
  const visit = (corners) => (pixel, call) => {
    const [x, y] = [pixel % width, Math.floor(pixel / width)];
    for (let dy = y ? -1 : 0; dy <= (y < height - 1 ? 1 : 0); dy++) {
      for (let dx = x ? -1 : 0; dx <= (x < width - 1 ? 1 : 0); dx++) {
        if ((dx || dy) && (corners || !dx || !dy)) call(pixel + dy * width + dx);
      }
    }
  };
  return { sides: visit(false), all: visit(true) };
}

// The connected regions of a label, each the places of its pixels, in the order of their first ones.
function regions(labels, id, visit) {
  const seen = new Uint8Array(labels.length);
  const stack = new Int32Array(labels.length);
  const found = [];
  for (let first = 0; first < labels.length; first++) {
    if (labels[first] !== id || seen[first]) continue;
    // What has been visited lies before `done`, what is to be visited behind it.
    let [done, count] = [0, 1];
    stack[0] = first;
    seen[first] = 1;
    while (done < count) {
      visit(stack[done++], (other) => {
        if (labels[other] === id && !seen[other]) {
          seen[other] = 1;
          stack[count++] = other;
        }
      });
    }
    found.push(stack.slice(0, count));
  }
  return found;
}

// Pixels of each label.
export function counted(labels, classes) {
  const counts = new Array(classes).fill(0);
  for (const label of labels) counts[label]++;
  return counts;
}
