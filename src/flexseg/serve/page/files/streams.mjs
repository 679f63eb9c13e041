async function through(bytes, stream) {
  return new Uint8Array(await new Response(new Blob([bytes]).stream().pipeThrough(stream)).arrayBuffer());
}

// `format` is "gzip" or "deflate" (with zlib's header, as PNG has it).
export const compress = (bytes, format) => through(bytes, new CompressionStream(format));
export const decompress = (bytes, format) => through(bytes, new DecompressionStream(format));
