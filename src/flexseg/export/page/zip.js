// Files as one archive, as they are: masks are compressed already.

// [[name, Blob], ...] as a Blob; `crc32` is that of png.js.
export async function zipped(files, crc32) {
  const [parts, directory] = [[], []];
  let at = 0;
  for (const [name, blob] of files) {
    const bytes = new Uint8Array(await blob.arrayBuffer());
    const title = new TextEncoder().encode(name);
    // Version 2.0, names in UTF-8, stored, 1980-01-01.
    const about = [20, 0, 0, 8, 0, 0, 0, 0, 33, 0, ...four(crc32(bytes)), ...four(bytes.length), ...four(bytes.length), ...two(title.length), 0, 0];
    parts.push(Uint8Array.from([80, 75, 3, 4, ...about]), title, bytes);
    directory.push(Uint8Array.from([80, 75, 1, 2, 20, 0, ...about, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, ...four(at)]), title);
    at += 30 + title.length + bytes.length;
  }
  const length = directory.reduce((sum, part) => sum + part.length, 0);
  const count = two(files.length);
  const end = Uint8Array.from([80, 75, 5, 6, 0, 0, 0, 0, ...count, ...count, ...four(length), ...four(at), 0, 0]);
  return new Blob([...parts, ...directory, end], { type: "application/zip" });
}

const two = (n) => [n & 255, (n >> 8) & 255];
const four = (n) => [...two(n), ...two(n >>> 16)];
