// Where pixels are on the screen: zoom, pan, and slices of volumes that lie in any direction.
import assert from "node:assert/strict";
import { test } from "node:test";
import { fromRas, fullest, putSlice, takeSlice, views } from "../../../src/flexseg/serve/page/stage/slices.mjs";
import { apply, fitting, invert, matrix, moved, whole, zoomed } from "../../../src/flexseg/serve/page/stage/viewport.mjs";

const close = (a, b, far = 1e-9) => a.forEach((v, i) => assert.ok(Math.abs(v - b[i]) < far, `${a} for ${b}`));
const PICTURE = { width: 200, height: 100, turn: [1, 0, 0, 1] };
const PANE = { width: 400, height: 400 };

test("the whole picture is in the middle of the pane", () => {
  const m = matrix(whole(), PICTURE, PANE);
  close(apply(m, [0, 0]), [0, 100]);
  close(apply(m, [200, 100]), [400, 300]);
  close(apply(invert(m), apply(m, [12.5, 77])), [12.5, 77]);
});

test("zooming leaves the place below the pointer where it is", () => {
  const place = [150, 180];
  const before = apply(invert(matrix(whole(), PICTURE, PANE)), place);
  const view = zoomed(zoomed(whole(), 3, place, PICTURE, PANE), 1.7, place, PICTURE, PANE);
  assert.ok(Math.abs(view.zoom - 5.1) < 1e-9);
  close(apply(invert(matrix(view, PICTURE, PANE)), place), before);
});

test("zoom and pan have limits", () => {
  assert.equal(zoomed(whole(), 0.1, [0, 0], PICTURE, PANE).zoom, 1);
  assert.equal(zoomed(whole(), 1e6, [0, 0], PICTURE, PANE).zoom, 64 / fitting(PICTURE, PANE));
  assert.deepEqual(moved(whole(), 50, 50, PICTURE, PANE), whole());
  const view = moved({ zoom: 2, x: 0, y: 0 }, 1000, 30, PICTURE, PANE);
  assert.deepEqual(view, { zoom: 2, x: 200, y: 0 });
});

// Labels with a mark at the patient's right, anterior, superior corner, stored in some direction.
function volume(columns, spacing = [1, 2, 3]) {
  const shape = [4, 5, 6];
  const data = new Uint8Array(120);
  const corner = columns.map((column, i) => (column.reduce((s, v) => s + v, 0) > 0 ? shape[i] - 1 : 0));
  data[corner[0] + 4 * (corner[1] + 5 * corner[2])] = 1;
  const affine = [0, 1, 2].map((row) => [...columns.map((column, i) => column[row] * spacing[i]), 0]);
  return { shape, spacing, affine, data };
}

const DIRECTIONS = {
  LPS: [[-1, 0, 0], [0, -1, 0], [0, 0, 1]],
  RAS: [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
  PSR: [[0, -1, 0], [0, 0, 1], [1, 0, 0]],
  SLA: [[0, 0, 1], [-1, 0, 0], [0, 1, 0]],
};

for (const [name, columns] of Object.entries(DIRECTIONS)) {
  test(`slices of a volume stored as ${name} are shown as radiologists look`, () => {
    const v = volume(columns);
    const found = views(v);
    assert.deepEqual(found.map((view) => view.name), ["Axial", "Coronal", "Sagittal"]);
    for (const view of found) {
      const index = fullest(v, view);
      const slice = takeSlice(v, view, index);
      const at = slice.data.indexOf(1);
      assert.ok(at >= 0);
      const middle = [(at % view.width) + 0.5, Math.floor(at / view.width) + 0.5];
      const picture = { ...view, turn: view.matrix };
      const pane = { width: 300, height: 300 };
      const [x, y] = apply(matrix(whole(), picture, pane), middle);
      // The patient's right, the nose, and the head are at the left and on top.
      assert.ok(x < 150 && y < 150, `${view.name}: ${x}, ${y}`);
      // As large as in the body: 4 x 1, 5 x 2, 6 x 3 mm by what the axes are.
      const size = columns.map((column, i) => v.shape[i] * v.spacing[i]);
      const body = [0, 1, 2].map((axis) => size[columns.findIndex((column) => column[axis])]);
      const [wide, high] = { Axial: [body[0], body[1]], Coronal: [body[0], body[2]], Sagittal: [body[1], body[2]] }[view.name];
      const scale = fitting(picture, pane);
      assert.ok(Math.abs(scale - Math.min(300 / wide, 300 / high)) < 1e-9);
    }
  });
}

test("slices go back where they came from", () => {
  const v = volume(DIRECTIONS.LPS);
  v.data.forEach((_, i) => (v.data[i] = i));
  const before = v.data.slice();
  for (const view of views(v)) {
    assert.equal(view.count, [6, 5, 4][view.axis]);
    for (let index = 0; index < view.count; index++) {
      const slice = takeSlice(v, view, index);
      slice.data.forEach((c, i) => {
        const [x, y] = [i % view.width, Math.floor(i / view.width)];
        const [a, b, d] = [[x, y, index], [x, index, y], [index, x, y]][view.axis];
        assert.equal(c, a + 4 * (b + 5 * d));
      });
      putSlice(v, view, index, slice);
    }
  }
  assert.deepEqual(v.data, before);
  const view = views(v)[0];
  putSlice(v, view, 3, { ...takeSlice(v, view, 3), data: new Uint8Array(20).fill(7) });
  assert.equal(v.data.filter((c, i) => c !== before[i]).length, 20);
});

test("voxels in the order right, anterior, superior come back into their own order", () => {
  // A volume of 2 x 3 x 4 voxels whose axes are posterior, superior, right; each voxel has its place.
  const shape = [2, 3, 4];
  const [nR, nA] = [shape[2], shape[0]];
  const ras = Uint8Array.from({ length: 24 }, (_, i) => i);
  const own = fromRas(ras, shape, [3, -1, 2]);
  for (let z = 0; z < 4; z++) for (let y = 0; y < 3; y++) for (let x = 0; x < 2; x++) {
    const [r, a, s] = [z, nA - 1 - x, y];
    assert.equal(own[x + 2 * (y + 3 * z)], r + nR * (a + nA * s));
  }
  assert.deepEqual(fromRas(ras, shape, [1, 2, 3]), ras);
});
