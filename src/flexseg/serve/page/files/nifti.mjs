// Label volumes in NIfTI-1: https://nifti.nimh.nih.gov/nifti-1
import { compress, decompress } from "./streams.mjs";

const UINT8 = 2;
const ARRAYS = { 2: Uint8Array, 256: Int8Array, 4: Int16Array, 512: Uint16Array, 8: Int32Array, 768: Uint32Array, 16: Float32Array, 64: Float64Array };

// Rows of the affine from voxels (x, y, z) to mm (right, anterior, superior).
function affine(view, little) {
  const float = (at) => view.getFloat32(at, little);
  const size = [1, 2, 3].map((i) => float(76 + 4 * i) || 1);
  if (view.getInt16(254, little) > 0) {
    return [280, 296, 312].map((row) => [0, 1, 2, 3].map((i) => float(row + 4 * i)));
  }
  if (view.getInt16(252, little) <= 0) return size.map((s, i) => [0, 1, 2, 3].map((k) => (k === i ? s : 0)));
  const [b, c, d] = [256, 260, 264].map(float);
  const a = Math.sqrt(Math.max(0, 1 - b * b - c * c - d * d));
  const hand = float(76) < 0 ? -1 : 1;
  const turn = [
    [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
    [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
    [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - c * c - b * b],
  ];
  return turn.map((row, i) => [row[0] * size[0], row[1] * size[1], row[2] * size[2] * hand, float(268 + 4 * i)]);
}

// The labels of a volume: { shape: [nx, ny, nz], spacing in mm, affine, placed, header, data }, the
// data a Uint8Array with x fastest. `placed`: whether the file says how the patient lies.
export async function readLabelVolume(bytes) {
  if (bytes[0] === 0x1f && bytes[1] === 0x8b) bytes = await decompress(bytes, "gzip");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const little = view.getInt32(0, true) === 348;
  if (!little && view.getInt32(0) !== 348) throw new Error("The labels are not a NIfTI-1 file.");
  const shape = [1, 2, 3].map((i) => Math.max(1, view.getInt16(40 + 2 * i, little)));
  const spacing = [1, 2, 3].map((i) => view.getFloat32(76 + 4 * i, little) || 1);
  const offset = Math.round(view.getFloat32(108, little));
  const type = view.getInt16(70, little);
  const count = shape[0] * shape[1] * shape[2];
  const Values = ARRAYS[type];
  if (!Values || (!little && Values.BYTES_PER_ELEMENT > 1)) throw new Error(`Labels of NIfTI type ${type} cannot be shown.`);
  const raw = bytes.slice(offset, offset + count * Values.BYTES_PER_ELEMENT);
  const data = type === UINT8 ? raw : Uint8Array.from(new Values(raw.buffer));
  const placed = view.getInt16(252, little) > 0 || view.getInt16(254, little) > 0;
  return { shape, spacing, affine: affine(view, little), placed, header: bytes.slice(0, 348), little, data };
}

// The same volume as a NIfTI file of uint8, not compressed: geometry from `header`, classes from `data`.
export function labelVolume({ header, little, data }) {
  const bytes = new Uint8Array(352 + data.length);
  bytes.set(header);
  const view = new DataView(bytes.buffer);
  view.setInt16(70, UINT8, little);
  view.setInt16(72, 8, little);
  view.setFloat32(108, 352, little);
  view.setFloat32(112, 1, little); // slope and intercept
  view.setFloat32(116, 0, little);
  bytes.set(data, 352);
  return bytes;
}

export const writeLabelVolume = async (volume) => compress(labelVolume(volume), "gzip");
