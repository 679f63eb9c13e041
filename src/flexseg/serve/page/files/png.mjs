// PNGs of class ids. They are not left to the browser, which knows colours only: two classes may have
// the same one, and colour management may change them.
import { crc32 } from "./crc32.mjs";
import { compress, decompress } from "./streams.mjs";

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const GREY = 0;
const INDEXED = 3;

function* chunks(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 8; at + 12 <= bytes.length;) {
    const length = view.getUint32(at);
    yield [String.fromCharCode(...bytes.subarray(at + 4, at + 8)), bytes.subarray(at + 8, at + 8 + length)];
    at += length + 12;
  }
}

// Takes the filter of each row back, in place; see https://www.w3.org/TR/png-3/#9Filters. Pixels of
// at most 8 bits: the byte to the left is one back.
function unfilter(raw, stride, height) {
  const zero = new Uint8Array(stride);
  const rows = [];
  for (let y = 0; y < height; y++) {
    const filter = raw[y * (stride + 1)];
    const row = raw.subarray(y * (stride + 1) + 1, (y + 1) * (stride + 1));
    const above = y ? rows[y - 1] : zero;
    for (let x = 0; x < stride && filter; x++) {
      const [a, b, c] = x ? [row[x - 1], above[x], above[x - 1]] : [0, above[x], 0];
      row[x] += [0, a, b, (a + b) >> 1, paeth(a, b, c)][filter];
    }
    rows.push(row);
  }
  return rows;
}

function paeth(a, b, c) {
  const [pa, pb, pc] = [Math.abs(b - c), Math.abs(a - c), Math.abs(a + b - 2 * c)];
  if (pa <= pb && pa <= pc) return a;
  return pb <= pc ? b : c;
}

// The class ids of an indexed PNG (or a grey one) of 1, 2, 4 or 8 bits: { width, height, data }.
export async function readLabels(bytes) {
  if (!SIGNATURE.every((byte, i) => bytes[i] === byte)) throw new Error("The mask is not a PNG.");
  const parts = [];
  let header;
  for (const [type, content] of chunks(bytes)) {
    if (type === "IHDR") header = new Uint8Array(content);
    if (type === "IDAT") parts.push(content);
  }
  const view = new DataView(header.buffer);
  const [width, height] = [view.getUint32(0), view.getUint32(4)];
  const [bits, color, interlaced] = [header[8], header[9], header[12]];
  if (![GREY, INDEXED].includes(color) || bits > 8 || interlaced) {
    throw new Error("The mask is not an indexed PNG of at most 8 bits.");
  }
  const raw = await decompress(await new Blob(parts).arrayBuffer(), "deflate");
  const data = new Uint8Array(width * height);
  const [each, most] = [8 / bits, (1 << bits) - 1];
  unfilter(raw, Math.ceil(width / each), height).forEach((row, y) => {
    if (bits === 8) return data.set(row, y * width);
    for (let x = 0; x < width; x++) {
      data[y * width + x] = (row[Math.floor(x / each)] >> (8 - bits * (1 + (x % each)))) & most;
    }
  });
  return { width, height, data };
}

function chunk(type, content) {
  const bytes = new Uint8Array(content.length + 12);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, content.length);
  bytes.set([...type].map((c) => c.charCodeAt(0)), 4);
  bytes.set(content, 8);
  view.setUint32(content.length + 8, crc32(bytes.subarray(4, content.length + 8)));
  return bytes;
}

// An indexed PNG of class ids; `colors` gives the colour [r, g, b] of a class, black if there is none.
export async function writeLabels({ width, height, data }, colors = new Map()) {
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header.set([8, INDEXED, 0, 0, 0], 8);
  const palette = new Uint8Array(768);
  colors.forEach((color, id) => palette.set(color, 3 * id));
  const raw = new Uint8Array((width + 1) * height);
  for (let y = 0; y < height; y++) raw.set(data.subarray(y * width, (y + 1) * width), y * (width + 1) + 1);
  const pieces = [
    Uint8Array.from(SIGNATURE), chunk("IHDR", header), chunk("PLTE", palette),
    chunk("IDAT", await compress(raw, "deflate")), chunk("IEND", new Uint8Array(0)),
  ];
  return new Uint8Array(await new Blob(pieces).arrayBuffer());
}
