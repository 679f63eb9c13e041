// Slices of a label volume { shape: [nx, ny, nz], spacing, affine, data }, data with x fastest.
// Axes are counted as in an array [nz, ny, nx]: axis 0 has slices of rows y and columns x.

const NAMES = ["Sagittal", "Coronal", "Axial"];
// Which way an anatomical axis (right, anterior, superior) goes on the screen: as radiologists look,
// the patient's right is at the left, the nose at the left or on top, the head on top.
const ON_SCREEN = { Axial: { right: [0, -1], down: [1, -1] }, Coronal: { right: [0, -1], down: [2, -1] }, Sagittal: { right: [1, -1], down: [2, -1] } };

// The axes of voxels that a slice of `axis` has as its columns and rows, and the one it is cut along.
const parts = (axis) => [[0, 1, 2], [0, 2, 1], [1, 2, 0]][axis];

// For each axis of voxels the anatomical axis nearest to it and the sign; each is taken once.
export function directions(affine) {
  const pairs = [0, 1, 2].flatMap((voxel) => [0, 1, 2].map((body) => ({ voxel, body, value: affine[body][voxel] })));
  const size = [0, 1, 2].map((voxel) => Math.hypot(...affine.map((row) => row[voxel])) || 1);
  pairs.sort((a, b) => Math.abs(b.value / size[b.voxel]) - Math.abs(a.value / size[a.voxel]));
  const found = [];
  for (const { voxel, body, value } of pairs) {
    if (found[voxel] || found.some((f) => f?.body === body)) continue;
    found[voxel] = { body, sign: value < 0 ? -1 : 1 };
  }
  return found;
}

// The slices along each axis: { axis, name, width, height, count, spacing: [across, down], matrix }.
// `matrix` [a, b, c, d] brings columns and rows (x, y) onto the screen: a x + c y across, b x + d y
// down, of the size of voxels in units of the smallest and turned as radiologists look.
export function views({ shape, spacing, affine }) {
  const body = directions(affine);
  const smallest = Math.min(...spacing);
  const found = [0, 1, 2].map((axis) => {
    const [column, row, cut] = parts(axis);
    const name = NAMES[body[cut].body];
    const { right, down } = ON_SCREEN[name];
    const along = (voxel, [wanted, sign]) =>
      (body[voxel].body === wanted ? body[voxel].sign * sign * spacing[voxel] / smallest : 0);
    return {
      axis, name, width: shape[column], height: shape[row], count: shape[cut],
      spacing: [spacing[column], spacing[row]],
      matrix: [along(column, right), along(column, down), along(row, right), along(row, down)],
    };
  });
  return found.sort((a, b) => NAMES.indexOf(b.name) - NAMES.indexOf(a.name));
}

// Where the pixel (x, y) of a slice is in the volume's data: base + x * across + y * down.
function strides([nx, ny], axis, index) {
  const steps = [1, nx, nx * ny];
  const [column, row, cut] = parts(axis);
  return { base: index * steps[cut], across: steps[column], down: steps[row] };
}

// A slice as a plane of its own.
export function takeSlice(volume, { axis, width, height }, index) {
  const { base, across, down } = strides(volume.shape, axis, index);
  const data = new Uint8Array(width * height);
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0, at = base + y * down; x < width; x++, at += across) data[i++] = volume.data[at];
  }
  return { data, width, height };
}

// Puts a plane back into the volume.
export function putSlice(volume, { axis, width, height }, index, { data }) {
  const { base, across, down } = strides(volume.shape, axis, index);
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0, at = base + y * down; x < width; x++, at += across) volume.data[at] = data[i++];
  }
}

// The slice with most pixels of any class, the middle one of an empty volume.
export function fullest(volume, view) {
  const counts = new Float64Array(view.count);
  const steps = [1, volume.shape[0], volume.shape[0] * volume.shape[1]];
  const cut = parts(view.axis)[2];
  volume.data.forEach((c, i) => { if (c) counts[Math.floor(i / steps[cut]) % volume.shape[cut]]++; });
  const most = Math.max(...counts);
  return most ? counts.indexOf(most) : view.count >> 1;
}

// Voxels in the order right, anterior, superior (the first fastest) as the labels' own order of
// `shape`. `turned` tells for each of those three which of ours it is, from 1 on, negative if reversed.
export function fromRas(data, shape, turned) {
  const found = new Uint8Array(data.length);
  const steps = [0, 0, 0];
  const starts = [0, 0, 0];
  let step = 1;
  for (const axis of turned) {
    const own = Math.abs(axis) - 1;
    starts[own] = axis < 0 ? step * (shape[own] - 1) : 0;
    steps[own] = axis < 0 ? -step : step;
    step *= shape[own];
  }
  let at = 0;
  for (let z = 0, k = starts[2]; z < shape[2]; z++, k += steps[2]) {
    for (let y = 0, j = starts[1]; y < shape[1]; y++, j += steps[1]) {
      for (let x = 0, i = starts[0]; x < shape[0]; x++, i += steps[0]) found[at++] = data[i + j + k];
    }
  }
  return found;
}
