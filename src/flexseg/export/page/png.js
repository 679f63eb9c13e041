// PNG files to pixels as they are stored, and class ids to PNG files of indexed colours.
// A browser's own decoder would give 8 bits, and multiply colours by transparency.

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];
const SAMPLES = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 }; // of a pixel, by colour type
const ADAM7 = [[0, 0, 8, 8], [4, 0, 8, 8], [0, 4, 4, 8], [2, 0, 4, 4], [0, 2, 2, 4], [1, 0, 2, 2], [0, 1, 1, 2]];

export const isPng = (bytes) => SIGNATURE.every((value, i) => bytes[i] === value);

// Of bytes: {width, height, channels: 1 or 3, pixels: Uint8Array or Uint16Array}. Palettes become
// colours, fewer than 8 bits become 8, transparency is dropped.
export async function readPng(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const data = [];
  let header, palette;
  for (let at = 8; at + 8 <= bytes.length; ) {
    const length = view.getUint32(at);
    const kind = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    const content = bytes.subarray(at + 8, at + 8 + length);
    if (content.length < length) throw new Error("The PNG file is cut off.");
    if (kind === "IHDR") header = new DataView(content.buffer, content.byteOffset, length);
    else if (kind === "PLTE") palette = content;
    else if (kind === "IDAT") data.push(content);
    else if (kind === "IEND") break;
    at += 12 + length;
  }
  if (!header || !data.length) throw new Error("The PNG file is damaged.");
  const [width, height] = [header.getUint32(0), header.getUint32(4)];
  const [bits, type, interlaced] = [header.getUint8(8), header.getUint8(9), header.getUint8(12)];
  const samples = SAMPLES[type];
  if (!samples || (type === 3 && !palette)) throw new Error("The PNG file is damaged.");
  const raw = await flowed(data, new DecompressionStream("deflate"));
  const stored = new (bits === 16 ? Uint16Array : Uint8Array)(width * height * samples);
  const step = Math.max(1, (samples * bits) >> 3);
  let at = 0;
  for (const [x0, y0, dx, dy] of interlaced ? ADAM7 : [[0, 0, 1, 1]]) {
    const columns = Math.ceil((width - x0) / dx);
    const rows = Math.ceil((height - y0) / dy);
    if (columns <= 0 || rows <= 0) continue;
    const stride = Math.ceil((columns * samples * bits) / 8);
    let before = new Uint8Array(stride);
    for (let row = 0; row < rows; row++) {
      const line = raw.subarray(at + 1, at + 1 + stride);
      if (line.length < stride) throw new Error("The PNG file is cut off.");
      unfilter(raw[at], line, before, step);
      const target = ((y0 + row * dy) * width + x0) * samples;
      spread(line, bits, samples, columns, stored, target, dx * samples);
      before = line;
      at += stride + 1;
    }
  }
  return { width, height, ...asColours(stored, type, bits, samples, palette) };
}

function unfilter(filter, line, before, step) {
  const n = line.length;
  if (filter === 1) for (let i = step; i < n; i++) line[i] += line[i - step];
  else if (filter === 2) for (let i = 0; i < n; i++) line[i] += before[i];
  else if (filter === 3) {
    for (let i = 0; i < n; i++) line[i] += ((i < step ? 0 : line[i - step]) + before[i]) >> 1;
  } else if (filter === 4) {
    for (let i = 0; i < n; i++) {
      const [left, corner] = i < step ? [0, 0] : [line[i - step], before[i - step]];
      const up = before[i];
      const [a, b, c] = [Math.abs(up - corner), Math.abs(left - corner), Math.abs(left + up - 2 * corner)];
      line[i] += a <= b && a <= c ? left : b <= c ? up : corner;
    }
  }
}

// The samples of a line to their places; `jump` lies between those of neighbouring pixels.
function spread(line, bits, samples, columns, stored, target, jump) {
  const perByte = 8 / bits;
  for (let x = 0; x < columns; x++) {
    for (let s = 0; s < samples; s++) {
      const i = x * samples + s;
      let value;
      if (bits === 8) value = line[i];
      else if (bits === 16) value = (line[2 * i] << 8) | line[2 * i + 1];
      else value = (line[Math.floor(i / perByte)] >> (8 - bits * ((i % perByte) + 1))) & ((1 << bits) - 1);
      stored[target + x * jump + s] = value;
    }
  }
}

function asColours(stored, type, bits, samples, palette) {
  const count = stored.length / samples;
  const channels = type === 0 || type === 4 ? 1 : 3;
  if (samples === channels && type !== 3 && bits >= 8) return { channels, pixels: stored };
  const pixels = new stored.constructor(count * channels);
  const scale = type !== 3 && bits < 8 ? 255 / ((1 << bits) - 1) : 1;
  for (let i = 0; i < count; i++) {
    for (let c = 0; c < channels; c++) {
      pixels[i * channels + c] = type === 3 ? palette[3 * stored[i] + c] : stored[i * samples + c] * scale;
    }
  }
  return { channels, pixels };
}

// Class ids as a PNG of 8 bits, whose palette has the colours [[r, g, b], ...] of the classes.
export async function writePng(ids, width, height, colours) {
  const rows = new Uint8Array((width + 1) * height);
  for (let y = 0; y < height; y++) rows.set(ids.subarray(y * width, (y + 1) * width), y * (width + 1) + 1);
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header.set([8, 3, 0, 0, 0], 8);
  const data = await flowed([rows], new CompressionStream("deflate"));
  const parts = [["IHDR", header], ["PLTE", Uint8Array.from(colours.flat())], ["IDAT", data], ["IEND", new Uint8Array()]];
  return joined([Uint8Array.from(SIGNATURE), ...parts.map(([kind, content]) => chunk(kind, content))]);
}

function chunk(kind, content) {
  const whole = new Uint8Array(content.length + 12);
  const view = new DataView(whole.buffer);
  view.setUint32(0, content.length);
  for (let i = 0; i < 4; i++) whole[4 + i] = kind.charCodeAt(i);
  whole.set(content, 8);
  view.setUint32(whole.length - 4, crc32(whole.subarray(4, whole.length - 4)));
  return whole;
}

const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n >>> 0;
});

export function crc32(bytes) {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = TABLE[(crc ^ byte) & 255] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

export function joined(parts) {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

// Bytes after a stream that changes them.
export async function flowed(parts, stream) {
  return new Uint8Array(await new Response(new Blob(parts).stream().pipeThrough(stream)).arrayBuffer());
}
