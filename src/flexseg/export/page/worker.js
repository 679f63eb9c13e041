// Reads images and runs the network beside the page, which stays responsive. It is one script with
// ONNX Runtime Web and the other programs of this folder.
// The page sends {id, task, ...}; the answer is {id, ...} or {id, error}.

let session, settings;

const inflated = async (blob) =>
  new Uint8Array(await new Response(blob.stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer());

// An error that tells people what to do; others are of the program.
class Refusal extends Error {}

async function start({ wasm, model, ...rest }) {
  settings = rest.settings;
  const { env, InferenceSession } = onnxruntime;
  env.logLevel = "error";
  env.wasm.numThreads = 1; // pages of files have no shared memory
  env.wasm.wasmBinary = (await inflated(wasm)).buffer;
  session = await InferenceSession.create(await inflated(model), { executionProviders: ["wasm"] });
  return {};
}

// Pixels [height, width, channels] of a file, of 8 or 16 bits.
async function read(file) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  if (isPng(bytes)) return readPng(bytes);
  const refusal = refused(file.name, bytes);
  if (refusal) throw new Refusal(refusal);
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { colorSpaceConversion: "none", premultiplyAlpha: "none", imageOrientation: "from-image" });
  } catch {
    throw new Refusal("This browser cannot read it as an image. Save it as PNG or JPEG.");
  }
  const { width, height } = bitmap;
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  const { data } = context.getImageData(0, 0, width, height);
  const pixels = new Uint8Array(width * height * 3);
  for (let i = 0, j = 0; i < data.length; i += 4) {
    pixels[j++] = data[i];
    pixels[j++] = data[i + 1];
    pixels[j++] = data[i + 2];
  }
  return { width, height, channels: 3, pixels };
}

function refused(name, bytes) {
  const start = String.fromCharCode(...bytes.subarray(0, 4));
  const program = "Convert it to PNG (16 bits are kept), or predict it with run.py, which is in this folder.";
  if (start.startsWith("II*") || start.startsWith("MM\0*") || start.startsWith("II+")) return `TIFF files are not read here. ${program}`;
  if (String.fromCharCode(...bytes.subarray(128, 132)) === "DICM" || /\.dcm$/i.test(name)) return "DICOM files are not read here. Save the slice as PNG, with the values that the model was trained on.";
  if (/\.(nii|nii\.gz|nrrd|mha|mhd)$/i.test(name)) return "Volumes are not read here. Predict them with flexseg infer3d.";
  return "";
}

// The type of the model's pixels, on its scale.
function converted(pixels) {
  const wide = pixels instanceof Uint16Array;
  if (settings.pixels === "uint8") {
    if (wide) throw new Refusal("Its pixels have 16 bits, but this model takes 8: export it with --pixels uint16 for such images.");
    return pixels;
  }
  if (settings.pixels === "uint16") {
    return wide ? pixels : Uint16Array.from(pixels, (v) => (settings.scaled ? v * 257 : v));
  }
  return Float32Array.from(pixels, (v) => (wide && settings.scaled ? v / 257 : v));
}

async function predict(pixels, height, width, channels) {
  const images = new onnxruntime.Tensor(settings.pixels, converted(pixels), [1, height, width, channels]);
  const wanted = session.outputNames.filter((name) => name !== "probabilities");
  const found = await session.run({ images }, wanted);
  const labels = new Uint8Array(found.labels.data);
  const signal = found.signal ? Array.from(found.signal.data) : null;
  for (const tensor of [images, ...Object.values(found)]) tensor.dispose();
  return { labels, signal };
}

async function segment({ file }) {
  const began = performance.now();
  const { width, height, channels, pixels } = await read(file);
  const { labels, signal } = await predict(pixels, height, width, channels);
  cleaned(labels, width, height, settings.steps);
  const seconds = (performance.now() - began) / 1000;
  const counts = counted(labels, settings.classes.length);
  const mask = await writePng(labels, width, height, settings.classes.map((c) => c.colour));
  const picture = shown(pixels, width, height, channels);
  return { width, height, labels, signal, counts, seconds, mask, picture };
}

// What people see of the pixels: 8 bits as they are, others from their window, or their lowest to
// their highest value.
function shown(pixels, width, height, channels) {
  let [low, high] = settings.window || [0, 255];
  if (pixels instanceof Uint16Array && !settings.window) {
    [low, high] = [Infinity, -Infinity];
    for (const v of pixels) {
      if (v < low) low = v;
      if (v > high) high = v;
    }
  }
  const scale = 255 / Math.max(high - low, 1e-9);
  const data = new Uint8ClampedArray(width * height * 4);
  for (let i = 0; i < width * height; i++) {
    for (let c = 0; c < 3; c++) data[4 * i + c] = (pixels[i * channels + (channels === 3 ? c : 0)] - low) * scale;
    data[4 * i + 3] = 255;
  }
  return data;
}

// The share of equal labels of the test image, which whoever made the page has computed.
async function check({ pixels, labels, shape }) {
  const [, height, width, channels] = shape;
  const kind = { uint8: Uint8Array, uint16: Uint16Array, float32: Float32Array }[settings.pixels];
  const found = await predict(new kind((await inflated(pixels)).buffer), height, width, channels);
  const expected = await inflated(labels);
  let equal = 0;
  expected.forEach((label, i) => (equal += label === found.labels[i]));
  return { equal: equal / expected.length };
}

async function archive({ files }) {
  return { archive: await zipped(files, crc32) };
}

const TASKS = { start, segment, check, archive };

onmessage = async ({ data: { id, task, ...rest } }) => {
  try {
    const answer = await TASKS[task](rest);
    const large = ["labels", "mask", "picture"].filter((key) => answer[key]).map((key) => answer[key].buffer);
    postMessage({ id, ...answer }, large);
  } catch (error) {
    postMessage({ id, error: String(error.message ?? error), refusal: error instanceof Refusal });
  }
};
