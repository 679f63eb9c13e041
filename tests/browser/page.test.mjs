// Exports to HTML in headless Chromium, opened as files: masks are those of run.py, no request leaves
// the page, axe-core finds nothing, all works by keyboard; and how long a large image takes.
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { crc32, inflateSync } from "node:zlib";
import puppeteer from "puppeteer-core";
import { chromium } from "./chromium.mjs";

const here = path.dirname(fileURLToPath(import.meta.url));
const build = process.env.PAGES || path.join(here, "pages");
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf-8");
const names = readdirSync(build).filter((name) => existsSync(path.join(build, name, "index.html")));
const PATIENCE = { timeout: 240_000 };
const downloads = mkdtempSync(path.join(tmpdir(), "flexseg-pages-"));

let browser;
before(async () => {
  browser = await puppeteer.launch({ executablePath: chromium(), args: ["--no-sandbox"], protocolTimeout: PATIENCE.timeout });
});
after(async () => {
  await browser?.close();
  rmSync(downloads, { recursive: true });
});

async function open(name, width = 1280, scheme = "light") {
  const page = await browser.newPage();
  const [outside, problems] = [[], []];
  page.on("request", (request) => /^(file|blob):/.test(request.url()) || outside.push(request.url()));
  page.on("pageerror", (error) => problems.push(String(error)));
  page.on("console", (message) => ["error", "warn"].includes(message.type()) && problems.push(message.text()));
  await page.setViewport({ width, height: width > 600 ? 900 : 844, deviceScaleFactor: 1 });
  await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
  const session = await page.createCDPSession();
  await session.send("Browser.setDownloadBehavior", { behavior: "allow", downloadPath: downloads });
  await page.goto(pathToFileURL(path.join(build, name, "index.html")).href, PATIENCE);
  await page.waitForSelector("html[data-ready]", PATIENCE);
  return { page, outside, problems };
}

const imagesOf = (name) => Object.keys(JSON.parse(readFileSync(path.join(build, name, "expected.json"), "utf-8")));

async function segment(page, files) {
  const input = await page.$("#files");
  const waiting = (count) => page.waitForFunction(
    (count) => {
      const states = [...document.querySelectorAll("#images .state")].map((one) => one.textContent);
      return states.length === count && !states.includes("waiting");
    }, PATIENCE, count);
  const earlier = await page.$$eval("#images li", (items) => items.length);
  await input.uploadFile(...files);
  await waiting(earlier + files.length);
}

async function downloaded(page, button, name) {
  await page.click(button);
  const file = path.join(downloads, name);
  for (let i = 0; i < 600; i++) {
    if (readdirSync(downloads).includes(name)) {
      const content = readFileSync(file);
      rmSync(file);
      return content;
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`${name} is not saved`);
}

// {name: content} of an archive without compression.
function unzipped(archive) {
  const files = {};
  let at = archive.readUInt32LE(archive.length - 6);
  for (let n = archive.readUInt16LE(archive.length - 12); n > 0; n--) {
    assert.equal(archive.readUInt32LE(at), 0x02014b50);
    const [crc, size] = [archive.readUInt32LE(at + 16), archive.readUInt32LE(at + 24)];
    const [length, start] = [archive.readUInt16LE(at + 28), archive.readUInt32LE(at + 42)];
    const content = archive.subarray(start + 30 + length, start + 30 + length + size);
    assert.equal(crc32(content), crc);
    files[archive.toString("utf-8", at + 46, at + 46 + length)] = content;
    at += 46 + length;
  }
  return files;
}

// Class ids and palette of a mask: 8 bits, indexed, rows without filter.
function maskOf(png) {
  const chunks = {};
  for (let at = 8; at < png.length; at += 12 + png.readUInt32BE(at)) {
    const [kind, content] = [png.toString("latin1", at + 4, at + 8), png.subarray(at + 8, at + 8 + png.readUInt32BE(at))];
    assert.equal(crc32(png.subarray(at + 4, at + 8 + content.length)), png.readUInt32BE(at + 8 + content.length));
    chunks[kind] = content;
  }
  const [width, height] = [chunks.IHDR.readUInt32BE(0), chunks.IHDR.readUInt32BE(4)];
  assert.deepEqual([...chunks.IHDR.subarray(8)], [8, 3, 0, 0, 0]);
  const rows = inflateSync(chunks.IDAT);
  const ids = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) ids.set(rows.subarray(y * (width + 1) + 1, (y + 1) * (width + 1)), y * width);
  return { width, height, ids, palette: [...chunks.PLTE] };
}

function equalShare(name, image, mask) {
  const [height, width] = JSON.parse(readFileSync(path.join(build, name, "expected.json"), "utf-8"))[image];
  const expected = readFileSync(path.join(build, name, "expected", `${path.parse(image).name}.bin`));
  assert.deepEqual([mask.height, mask.width], [height, width]);
  assert.ok(new Set(expected).size > 1, "nothing is found");
  return mask.ids.filter((id, i) => id === expected[i]).length / expected.length;
}

test("postprocessing is flexseg's", async () => {
  const source = readFileSync(path.join(here, "../../src/flexseg/export/page/labels.js"), "utf-8");
  const { cleaned } = await import(`data:text/javascript,${encodeURIComponent(source)}`);
  const cases = JSON.parse(readFileSync(path.join(build, "steps.json"), "utf-8"));
  let changed = 0;
  for (const { shape: [height, width], labels, steps, expected } of cases) {
    assert.deepEqual([...cleaned(Uint8Array.from(labels), width, height, steps)], expected);
    changed += labels.some((label, i) => label !== expected[i]);
  }
  assert.ok(changed > cases.length / 2);
});

test("there are pages to look at", () => assert.ok(names.length >= 1, `none in ${build}`));

for (const name of names) {
  describe(name, () => {
    test("masks are those of run.py", async () => {
      const { page, outside, problems } = await open(name);
      const images = imagesOf(name);
      await segment(page, images.map((image) => path.join(build, name, "images", image)));
      const masks = {};
      if (images.length > 1) {
        const files = unzipped(await downloaded(page, "#save-all", "masks.zip"));
        assert.equal(Object.keys(files).length, images.length + 1);
        assert.match(files["areas.csv"].toString(), /^image,class_id,class,pixels,share,dice,/);
        Object.assign(masks, files);
      }
      const first = `${path.parse(images[0]).name}.png`;
      const single = await downloaded(page, "#save-mask", first);
      if (masks[first]) assert.deepEqual(single, masks[first]);
      masks[first] = single;
      for (const image of images) {
        const share = equalShare(name, image, maskOf(masks[`${path.parse(image).name}.png`]));
        // Decoders of JPEG differ by a grey level here and there.
        assert.ok(share >= (image.endsWith(".jpg") ? 0.99 : 0.999), `${image}: ${share} of the labels are equal`);
      }
      await page.$$eval("details", (all) => all.forEach((one) => (one.open = true)));
      await page.click("#check");
      await page.waitForFunction(() => /%/.test(document.getElementById("checked").textContent), PATIENCE);
      const equal = await page.$eval("#checked", (p) => parseFloat(p.textContent));
      assert.ok(equal >= 99.9, `${equal} % of the labels of the test image are equal`);
      assert.deepEqual(outside, [], "requests to the network");
      assert.deepEqual(problems, [], "errors in the console");
      await page.close();
    });
  });
}

for (const [width, scheme] of [[1280, "light"], [1280, "dark"], [390, "light"], [390, "dark"]]) {
  test(`page of ${width} px, ${scheme}`, async () => {
    const { page, outside, problems } = await open("cells", width, scheme);
    const shot = (what) => page.screenshot({ path: path.join(build, `${what}-${width}-${scheme}.png`), fullPage: width < 600 });
    const clean = async () => {
      const wide = await page.evaluate(() => document.scrollingElement.scrollWidth);
      assert.ok(wide <= width, `the page is ${wide} px wide on a screen of ${width}`);
      const found = await page.evaluate(() => window.axe.run(document, {
        runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
      }));
      assert.deepEqual(found.violations.map((v) => `${v.id}: ${v.nodes.slice(0, 3).map((n) => n.html.slice(0, 160)).join(" | ")}`), []);
    };
    await page.evaluate(axe);
    await shot("empty");
    await clean();
    await segment(page, imagesOf("cells").map((image) => path.join(build, "cells", "images", image)));
    await shot("result");
    await page.$$eval("details", (all) => all.forEach((one) => (one.open = true)));
    await clean();
    assert.deepEqual(outside, []);
    assert.deepEqual(problems, []);
    await page.close();
  });
}

test("areas, quality and switches", async () => {
  const { page } = await open("cells");
  const image = "colour.png";
  await segment(page, [path.join(build, "cells", "images", image)]);
  const cell = (id, what) => page.$eval(`tr[data-class="${id}"] .${what}`, (one) => one.textContent);
  const expected = readFileSync(path.join(build, "cells", "expected", "colour.bin"));
  const count = expected.filter((id) => id === 1).length;
  const [, shown] = /([\d,]+) px$/.exec(await cell(1, "area"));
  assert.ok(Math.abs(Number(shown.replaceAll(",", "")) - count) <= expected.length / 1000);
  assert.match(await cell(1, "quality"), /^0\.9\d green0\.\d+ to 0\.\d+$/);
  assert.match(await cell(2, "quality"), /^0\.\d+ red/);
  assert.match(await page.$eval("#flag", (p) => p.textContent), /^Red: /);
  await page.type("#spacing", "0.5");
  assert.match(await cell(1, "area"), new RegExp(`^${Math.round(Number(shown.replaceAll(",", "")) / 4)} mm²`));
  const csv = (await downloaded(page, "#save-areas", "areas.csv")).toString();
  assert.match(csv, /^image,class_id,class,pixels,share,mm2,dice,dice_low,dice_high,flag\r\n"colour\.png",1,"cytoplasm <b>",/);
  const ink = () => page.$eval("#canvas", (canvas) => {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    return data.reduce((sum, value) => sum + value, 0);
  });
  const [whole, seen] = [await ink(), new Set()];
  for (const box of await page.$$("tbody input")) {
    await box.click();
    seen.add(await ink());
  }
  assert.equal(seen.size, 2);
  assert.ok(!seen.has(whole));
  await page.close();
});

test("keyboard", async () => {
  const { page, problems } = await open("cells");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.id), "choose");
  const images = imagesOf("cells").slice(0, 2);
  await segment(page, images.map((image) => path.join(build, "cells", "images", image)));
  const current = () => page.$eval("[aria-current=true] .name", (one) => one.textContent);
  await page.focus("#canvas");
  assert.equal(await current(), images[0]);
  await page.keyboard.press("ArrowRight");
  assert.equal(await current(), images[1]);
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("ArrowLeft");
  assert.equal(await current(), images[0]);
  const opacity = () => page.$eval("#opacity-value", (one) => one.value);
  await page.keyboard.press("+");
  assert.equal(await opacity(), "50 %");
  await page.keyboard.press("l");
  assert.equal(await opacity(), "0 %");
  await page.keyboard.press("l");
  assert.equal(await opacity(), "50 %");
  await page.keyboard.press("o");
  assert.ok(await page.$eval("#outline", (one) => one.checked));
  assert.match(await page.$eval("#canvas", (one) => one.ariaLabel), /with cytoplasm/);
  assert.deepEqual(problems, []);
  await page.close();
});

test("files that it cannot read are named, and the others go on", async () => {
  const { page } = await open("cells");
  const scratch = mkdtempSync(path.join(tmpdir(), "flexseg-files-"));
  const dicom = Buffer.alloc(200);
  dicom.write("DICM", 128);
  const good = readFileSync(path.join(build, "cells/images/colour.png"));
  const files = {
    "a.tif": [Buffer.from("II*\0 and more"), /TIFF files are not read here.*PNG/],
    "b.dat": [dicom, /DICOM files are not read here/],
    "c.txt": [Buffer.from("text"), /cannot read it as an image/],
    "d.png": [good.subarray(0, good.length / 2), /cut off|damaged/],
    "e.png": [readFileSync(path.join(build, "deep/images/sixteen.png")), /16 bits.*--pixels uint16/],
    "f.png": [good, /pixels/],
  };
  for (const [name, [content]] of Object.entries(files)) writeFileSync(path.join(scratch, name), content);
  await segment(page, Object.keys(files).map((name) => path.join(scratch, name)));
  for (const [i, [, told]] of Object.values(files).entries()) {
    await page.click(`#images li:nth-child(${i + 1}) button`);
    assert.match(await page.$eval("#status", (p) => p.textContent), told);
    assert.equal(await page.$eval("#save-mask", (b) => b.disabled), i < 5);
  }
  rmSync(scratch, { recursive: true });
  await page.close();
});

test("nothing can be sent", async () => {
  const { page } = await open("cells");
  const inPage = await page.evaluate(() => Promise.all([
    fetch("https://example.org/").then(() => false, () => true),
    new Promise((resolve) => {
      const image = new Image();
      image.onerror = () => resolve(true);
      image.onload = () => resolve(false);
      image.src = "https://example.org/a.png";
    }),
    new Promise((resolve) => {
      const script = document.createElement("script");
      script.textContent = "window.foreign = true";
      document.body.append(script);
      resolve(window.foreign === undefined);
    }),
  ]));
  assert.deepEqual(inPage, [true, true, true]);
  const beside = await page.workers()[0].evaluate(() => fetch("https://example.org/").then(() => false, () => true));
  assert.ok(beside);
  await page.close();
});

test("time of an image of 1024 x 1024 pixels", async (t) => {
  const { page } = await open("plan");
  const session = await browser.target().createCDPSession();
  const cpu = async () => {
    const { processInfo } = await session.send("SystemInfo.getProcessInfo");
    return Math.max(...processInfo.filter((one) => one.type === "renderer").map((one) => one.cpuTime));
  };
  for (let i = 0; i < 3; i++) {
    const before = await cpu();
    await segment(page, [path.join(build, "plan/images/large.png")]);
    await page.click(`#images li:nth-child(${i + 1}) button`);
    const told = await page.$eval("#status", (p) => p.textContent);
    t.diagnostic(`${told}; ${((await cpu()) - before).toFixed(2)} s of the processor, with drawing`);
  }
  await page.close();
});
