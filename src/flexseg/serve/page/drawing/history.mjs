import { isEmpty } from "./plane.mjs";

// What differs between two states of label data, as runs: a Uint32Array of start, length, class
// before, class after. Only the rectangle `box` of a map `width` wide is compared.
export function difference(before, after, width, box) {
  const runs = [];
  if (isEmpty(box)) return new Uint32Array(0);
  for (let y = box.top; y < box.bottom; y++) {
    const end = y * width + box.right;
    for (let i = y * width + box.left; i < end; i++) {
      if (before[i] === after[i]) continue;
      const start = i;
      while (i + 1 < end && before[i + 1] === before[start] && after[i + 1] === after[start] ) i++;
      runs.push(start, i + 1 - start, before[start], after[start]);
    }
  }
  return Uint32Array.from(runs);
}

function write(data, runs, which) {
  for (let k = 0; k < runs.length; k += 4) data.fill(runs[k + which], runs[k], runs[k] + runs[k + 1]);
}
export const takeBack = (data, runs) => write(data, runs, 2);
export const doAgain = (data, runs) => write(data, runs, 3);

// Steps that can be taken back and done again: { runs, ... } with whatever else tells where they
// belong. The oldest are forgotten when together they hold more than `limit` numbers.
export class History {
  #done = [];
  #undone = [];

  constructor(limit = 8_000_000) {
    this.limit = limit;
  }

  push(step) {
    if (!step.runs.length) return;
    this.#done.push(step);
    this.#undone = [];
    let size = this.#done.reduce((sum, { runs }) => sum + runs.length, 0);
    while (size > this.limit && this.#done.length > 1) size -= this.#done.shift().runs.length;
  }

  // The step to take back, or undefined.
  undo() {
    const step = this.#done.pop();
    if (step) this.#undone.push(step);
    return step;
  }

  // The step to do again, or undefined.
  redo() {
    const step = this.#undone.pop();
    if (step) this.#done.push(step);
    return step;
  }

  get canUndo() { return this.#done.length > 0; }
  get canRedo() { return this.#undone.length > 0; }
}
