import { crc32 } from "./crc32.mjs";

const UTF8 = 1 << 11;

function record(signature, fields, ...rest) {
  const size = fields.reduce((sum, [bytes]) => sum + bytes, 4);
  const view = new DataView(new ArrayBuffer(size));
  view.setUint32(0, signature, true);
  let at = 4;
  for (const [bytes, value] of fields) {
    if (bytes === 2) view.setUint16(at, value, true);
    else view.setUint32(at, value, true);
    at += bytes;
  }
  return [view.buffer, ...rest];
}

// A zip archive, a Blob, of `files`: [{ name, blob }], stored as they are. Up to 65 535 files and 4 GB.
export async function zip(files) {
  const pieces = [];
  const directory = [];
  let at = 0;
  for (const { name, blob } of files) {
    const title = new TextEncoder().encode(name);
    const crc = crc32(new Uint8Array(await blob.arrayBuffer()));
    // Version, flags, method, time, date (1 January 1980), checksum, sizes, length of name and extra.
    const common = [[2, 20], [2, UTF8], [2, 0], [2, 0], [2, 33], [4, crc], [4, blob.size], [4, blob.size], [2, title.length], [2, 0]];
    directory.push(...record(0x02014b50, [[2, 20], ...common, [2, 0], [2, 0], [2, 0], [4, 0], [4, at]], title));
    pieces.push(...record(0x04034b50, common, title), blob);
    at += 30 + title.length + blob.size;
  }
  const size = directory.reduce((sum, piece) => sum + piece.byteLength, 0);
  const end = [[2, 0], [2, 0], [2, files.length], [2, files.length], [4, size], [4, at], [2, 0]];
  return new Blob([...pieces, ...directory, ...record(0x06054b50, end)], { type: "application/zip" });
}
