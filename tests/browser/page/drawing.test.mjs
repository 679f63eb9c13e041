// The tools that draw, without a browser: known shapes, and steps taken back and done again.
import assert from "node:assert/strict";
import { test } from "node:test";
import { paintStroke } from "../../../src/flexseg/serve/page/drawing/brush.mjs";
import { fill } from "../../../src/flexseg/serve/page/drawing/fill.mjs";
import { difference, doAgain, History, takeBack } from "../../../src/flexseg/serve/page/drawing/history.mjs";
import { outlines } from "../../../src/flexseg/serve/page/drawing/outlines.mjs";
import { allowed, isEmpty, NOT_LOOKED_AT, NOTHING, plane, union } from "../../../src/flexseg/serve/page/drawing/plane.mjs";
import { fillPolygon } from "../../../src/flexseg/serve/page/drawing/polygon.mjs";

const count = (data, value) => data.reduce((n, v) => n + (v === value), 0);
const whole = ({ width, height }) => ({ left: 0, top: 0, right: width, bottom: height });

// Rows of text, one digit a pixel.
function drawn(text) {
  const rows = text.trim().split(/\s+/);
  return plane(rows[0].length, rows.length, Uint8Array.from([...rows.join("")].map(Number)));
}
const told = ({ data, width, height }) =>
  Array.from({ length: height }, (_, y) => [...data.subarray(y * width, (y + 1) * width)].join("")).join("\n");

test("a dab is a disc", () => {
  const p = plane(101, 101);
  paintStroke(p, [50.5, 50.5], [50.5, 50.5], 30, 2);
  const area = count(p.data, 2);
  assert.ok(Math.abs(area / (Math.PI * 900) - 1) < 0.01, `${area} pixels`);
  for (const [x, y, c] of [[50, 20, 2], [50, 19, 0], [80, 50, 2], [81, 50, 0], [72, 72, 0], [71, 71, 2]]) {
    assert.equal(p.data[y * 101 + x], c, `${x}, ${y}`);
  }
});

test("a stroke covers its line, whatever its direction, and tells what it may have changed", () => {
  for (const [a, b] of [[[10.5, 20.5], [40.5, 20.5]], [[40.5, 20.5], [10.5, 20.5]]]) {
    const p = plane(60, 40);
    const box = paintStroke(p, a, b, 2, 1);
    assert.equal(p.data[20 * 60 + 25], 1);
    assert.equal(p.data[18 * 60 + 25], 1);
    assert.equal(p.data[17 * 60 + 25], 0);
    assert.equal(p.data[20 * 60 + 8], 1);
    assert.equal(p.data[20 * 60 + 7], 0);
    p.data.forEach((c, i) => {
      const [x, y] = [i % 60, Math.floor(i / 60)];
      assert.ok(!c || (x >= box.left && x < box.right && y >= box.top && y < box.bottom));
    });
  }
});

test("a brush smaller than a pixel paints the pixel below it; one outside paints nothing", () => {
  const p = plane(5, 5);
  paintStroke(p, [2.1, 3.9], [2.1, 3.9], 0.1, 1);
  assert.equal(p.data[3 * 5 + 2], 1);
  assert.equal(count(p.data, 1), 1);
  const box = paintStroke(p, [-20, 2], [-18, 2], 3, 1);
  assert.ok(isEmpty(box));
  assert.equal(count(p.data, 1), 1);
});

test("where pixels are four times as high as wide, a disc has a quarter of the rows", () => {
  const p = plane(41, 41);
  paintStroke(p, [20.5, 20.5], [20.5, 20.5], 12, 1, () => true, [1, 4]);
  const row = p.data.subarray(20 * 41, 21 * 41);
  const column = p.data.filter((_, i) => i % 41 === 20);
  assert.equal(count(row, 1), 25);
  assert.equal(count(column, 1), 7);
});

test("fill takes the connected area of one class, by edges", () => {
  const p = drawn(`
    0010
    0100
    1110
    0000`);
  const box = fill(p, [0, 0], 2);
  assert.equal(told(p), "2210\n2100\n1110\n0000");
  assert.deepEqual(box, { left: 0, top: 0, right: 2, bottom: 2 });
  fill(p, [3, 3], 3);
  assert.equal(told(p), "2213\n2133\n1113\n3333");
  assert.equal(fill(p, [0, 0], 2), NOTHING);
  assert.equal(fill(p, [9, 0], 2), NOTHING);
});

test("fill of a spiral reaches its end", () => {
  const n = 201;
  const p = plane(n, n);
  for (let k = 0; k < n >> 1; k += 2) {
    for (let i = k; i < n - k; i++) {
      for (const at of [k * n + i, (n - 1 - k) * n + i, i * n + k, i * n + n - 1 - k]) p.data[at] = 1;
    }
    if (k) p.data[k * n + k + 1] = 0; // a door from ring to ring
  }
  const before = count(p.data, 0);
  assert.ok(before > n);
  fill(p, [1, 1], 7);
  const rings = count(p.data, 7);
  fill(p, [1, 1], 0);
  assert.equal(count(p.data, 0), before);
  assert.ok(rings > n);
});

test("a polygon holds the pixels whose middles it holds; crossings leave a hole", () => {
  const p = plane(10, 10);
  const box = fillPolygon(p, [[2, 3], [6, 3], [6, 8], [2, 8]], 4);
  assert.equal(count(p.data, 4), 20);
  assert.deepEqual(box, { left: 2, top: 3, right: 6, bottom: 8 });
  assert.equal(p.data[3 * 10 + 2], 4);
  assert.equal(p.data[8 * 10 + 2], 0);
  const triangle = plane(100, 100);
  fillPolygon(triangle, [[0, 0], [100, 0], [0, 100]], 1);
  assert.ok(Math.abs(count(triangle.data, 1) - 5000) <= 50);
  const twice = plane(10, 10);
  fillPolygon(twice, [[0, 0], [10, 0], [10, 10], [0, 10], [0, 0], [3, 3], [7, 3], [7, 7], [3, 7], [3, 3]], 1);
  assert.equal(count(twice.data, 0), 16);
  assert.equal(fillPolygon(p, [[0, 0], [5, 5]], 1), NOTHING);
  const beyond = plane(4, 4);
  fillPolygon(beyond, [[-5, -5], [20, -5], [20, 20], [-5, 20]], 1);
  assert.equal(count(beyond.data, 1), 16);
});

test("tools leave other classes alone where they are told to, and unlike grey values", () => {
  const p = drawn("0123");
  p.data[3] = NOT_LOOKED_AT;
  paintStroke(p, [2, 0.5], [2, 0.5], 9, 1, allowed(p.data, 1, { alone: true }));
  assert.deepEqual([...p.data], [1, 1, 2, 1]);
  const grey = { values: Uint8Array.from([100, 110, 150, 95]), value: 100, tolerance: 10 };
  const q = plane(4, 1);
  paintStroke(q, [2, 0.5], [2, 0.5], 9, 1, allowed(q.data, 1, { grey }));
  assert.equal(told(q), "1101");
  const both = drawn("0203");
  paintStroke(both, [2, 0.5], [2, 0.5], 9, 1, allowed(both.data, 1, { grey, alone: true }));
  assert.equal(told(both), "1203");
});

test("outlines are closed lines of joined edges", () => {
  const found = outlines(drawn(`
    00000
    01100
    01120
    00020`));
  const length = (c) => {
    let sum = 0;
    const flat = found.get(c);
    for (let k = 0; k < flat.length; k += 4) sum += Math.abs(flat[k + 2] - flat[k]) + Math.abs(flat[k + 3] - flat[k + 1]);
    return sum;
  };
  assert.deepEqual([...found.keys()].sort(), [1, 2]);
  assert.equal(length(1), 8);
  assert.equal(found.get(1).length, 4 * 4);
  assert.equal(length(2), 6); // closed at the image's border
  const full = outlines(plane(3, 2, new Uint8Array(6).fill(5)));
  assert.deepEqual(full.get(5), [0, 0, 3, 0, 0, 2, 3, 2, 0, 0, 0, 2, 3, 0, 3, 2]);
  assert.equal(outlines(plane(3, 3)).size, 0);
});

test("steps are taken back and done again; a new one forgets what was taken back", () => {
  const p = plane(50, 40);
  const states = [p.data.slice()];
  const history = new History();
  const draw = (tool) => {
    const before = p.data.slice();
    history.push({ runs: difference(before, p.data, 50, tool()) });
    states.push(p.data.slice());
  };
  draw(() => paintStroke(p, [20, 20], [30, 25], 6, 1));
  draw(() => paintStroke(p, [25, 20], [25, 30], 4, 2));
  draw(() => fill(p, [0, 0], 3));
  draw(() => fillPolygon(p, [[3, 3], [40, 5], [10, 35]], 0));
  // Compared over everything here: tools change nothing outside what they tell.
  for (let k = 3; k >= 0; k--) {
    takeBack(p.data, history.undo().runs);
    assert.deepEqual(p.data, states[k]);
  }
  assert.ok(!history.canUndo);
  assert.equal(history.undo(), undefined);
  for (let k = 1; k <= 4; k++) {
    doAgain(p.data, history.redo().runs);
    assert.deepEqual(p.data, states[k]);
  }
  takeBack(p.data, history.undo().runs);
  draw(() => paintStroke(p, [5, 5], [5, 5], 2, 4));
  assert.ok(!history.canRedo);
});

test("a step that changes nothing is none; long histories forget their beginning", () => {
  const history = new History(8);
  history.push({ runs: new Uint32Array(0) });
  assert.ok(!history.canUndo);
  for (const name of ["a", "b", "c"]) history.push({ runs: Uint32Array.of(0, 1, 0, 1), name });
  assert.deepEqual([history.undo().name, history.undo().name, history.undo()], ["c", "b", undefined]);
});

test("the difference of a large area is a run for each of its rows", () => {
  const before = plane(1000, 1000);
  const after = plane(1000, 1000, new Uint8Array(1_000_000).fill(1));
  assert.equal(difference(before.data, after.data, 1000, whole(before)).length, 4 * 1000);
  assert.deepEqual(union(NOTHING, { left: 1, top: 2, right: 3, bottom: 4 }), { left: 1, top: 2, right: 3, bottom: 4 });
  assert.equal(difference(before.data, after.data, 1000, NOTHING).length, 0);
});
