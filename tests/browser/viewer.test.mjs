// The viewer of volumes in headless Chromium with software WebGL: image and labels are drawn in
// the same place, whatever the order of voxels; nothing is requested; all works by keyboard.
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import puppeteer from "puppeteer-core";
import { chromium } from "./chromium.mjs";

const here = path.dirname(fileURLToPath(import.meta.url));
const build = path.join(here, "viewers");
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf-8");
const names = readdirSync(build).filter((name) => name.endsWith(".html")).sort();
const SOFTWARE_GL = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"];
const VALUES = { 1: 300, 2: 600 };

let browser;
before(async () => {
  browser = await puppeteer.launch({ executablePath: chromium(), args: ["--no-sandbox", ...SOFTWARE_GL] });
});
after(async () => browser?.close());

// Of software drawing, and of a first frame that NiiVue draws before the page has its layout.
const HARMLESS = /GPU stall|glViewport: negative width/;

async function open(name, width = 1280, scheme = "light") {
  const page = await browser.newPage();
  const outside = [];
  const problems = [];
  page.on("request", (request) => /^(file|data|blob):/.test(request.url()) || outside.push(request.url()));
  page.on("pageerror", (error) => problems.push(String(error)));
  page.on("console", (message) => ["error", "warning", "warn"].includes(message.type()) &&
    !HARMLESS.test(message.text()) && problems.push(message.text()));
  await page.setViewport({ width, height: width > 900 ? 800 : 600, deviceScaleFactor: 1 });
  await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
  await page.goto(pathToFileURL(path.join(build, name)).href);
  await page.waitForSelector("html[data-ready]", { timeout: 60_000 });
  return { page, outside, problems };
}

// Colours of the drawing where the cross is, in the slice that fills the canvas.
async function drawnAt(page, mm, view, opacity) {
  return page.evaluate((mm, view, opacity) => {
    const nv = window.viewer;
    nv.setSliceType(nv.sliceTypeAxial + view);
    nv.setCrosshairWidth(0);
    nv.setOpacity(1, opacity);
    nv.scene.crosshairPos = nv.mm2frac(mm, 0, true);
    nv.createOnLocationChange();
    nv.drawScene();
    const axes = [[0, 1], [0, 2], [1, 2]][view];
    const { dimsRAS, pixDimsRAS } = nv.volumes[0];
    const [wide, high] = axes.map((axis) => dimsRAS[axis + 1] * pixDimsRAS[axis + 1]);
    const [across, up] = axes.map((axis) => nv.scene.crosshairPos[axis]);
    const canvas = nv.gl.canvas;
    const scale = Math.min(canvas.width / wide, canvas.height / high);
    // As radiologists look: what is at the patient's right, or at the nose, is at the left.
    const x = canvas.width / 2 + (0.5 - across) * wide * scale;
    const y = canvas.height / 2 + (0.5 - up) * high * scale;
    const pixel = new Uint8Array(4);
    nv.gl.readPixels(Math.round(x), Math.round(canvas.height - y), 1, 1, nv.gl.RGBA, nv.gl.UNSIGNED_BYTE, pixel);
    return { pixel: [...pixel], told: document.getElementById("place").textContent };
  }, mm, view, opacity);
}

test("there are viewers to look at", () => assert.ok(names.length >= 1, `none in ${build}`));

for (const name of names) {
  describe(name, () => {
    const middles = JSON.parse(readFileSync(path.join(build, name.replace(".html", ".json")), "utf-8"));

    test("image and labels are where they belong", async () => {
      const { page, outside, problems } = await open(name, 800);
      const colors = await page.evaluate(() =>
        Object.fromEntries(JSON.parse(document.getElementById("settings").textContent).classes.map((c) => [c.id, c.color])));
      for (const [id, mm] of Object.entries(middles)) {
        for (const view of [0, 1, 2]) {
          const image = await drawnAt(page, mm, view, 0);
          assert.match(image.told, new RegExp(`Value ${VALUES[id]}\n`));
          assert.ok(image.pixel[0] > 150, `box ${id}, view ${view}: the image shows ${image.pixel}`);
          const label = await drawnAt(page, mm, view, 1);
          const far = Math.max(...colors[id].map((v, i) => Math.abs(v - label.pixel[i])));
          assert.ok(far < 12, `box ${id}, view ${view}: ${label.pixel} for ${colors[id]}`);
        }
      }
      // Between the boxes there is neither.
      const between = [0, 1, 2].map((i) => (middles[1][i] + middles[2][i]) / 2);
      const nothing = await drawnAt(page, between, 0, 1);
      assert.ok(nothing.pixel.slice(0, 3).every((v) => v < 12), `between: ${nothing.pixel}`);
      assert.deepEqual(outside, [], "requests to the network");
      assert.deepEqual(problems, [], "errors in the console");
      await page.close();
    });
  });
}

for (const [width, scheme] of [[1280, "light"], [1280, "dark"], [390, "light"]]) {
  test(`page of ${width} px, ${scheme}`, async () => {
    const { page, outside, problems } = await open(names[0], width, scheme);
    await page.screenshot({ path: path.join(build, `viewer-${width}-${scheme}.png`), fullPage: true });
    const wide = await page.evaluate(() => document.scrollingElement.scrollWidth);
    assert.ok(wide <= width, `the page is ${wide} px wide on a screen of ${width}`);
    await page.evaluate(axe);
    const found = await page.evaluate(() => window.axe.run(document, {
      runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    }));
    const told = found.violations.map((v) => `${v.id}: ${v.nodes.slice(0, 3).map((n) => n.html.slice(0, 160)).join(" | ")}`);
    assert.deepEqual(told, []);
    assert.deepEqual(outside, []);
    assert.deepEqual(problems, []);
    await page.close();
  });
}

test("keyboard", async () => {
  const { page, problems } = await open(names[0]);
  const place = () => page.$eval("#place", (p) => p.textContent);
  await page.focus("#canvas");
  const first = await place();
  await page.keyboard.press("ArrowUp");
  assert.notEqual(await place(), first);
  await page.keyboard.press("ArrowDown");
  assert.equal(await place(), first);
  await page.keyboard.press("3");
  assert.equal(await page.$eval("[data-view=coronal]", (b) => b.ariaPressed), "true");
  await page.keyboard.press("+");
  assert.equal(await page.$eval("#opacity-value", (o) => o.value), "50 %");
  await page.keyboard.press("l");
  assert.equal(await page.$eval("#opacity-value", (o) => o.value), "0 %");
  await page.keyboard.press("l");
  assert.equal(await page.$eval("#opacity-value", (o) => o.value), "50 %");
  await page.keyboard.press("o");
  assert.ok(await page.$eval("#outline", (b) => b.checked));
  const level = await page.$eval("#level-value", (o) => o.value);
  await page.keyboard.press("]");
  assert.notEqual(await page.$eval("#level-value", (o) => o.value), level);
  await page.keyboard.press("r");
  assert.equal(await page.$eval("#level-value", (o) => o.value), level);
  assert.deepEqual(problems, []);
  await page.close();
});

test("nothing can be sent", async () => {
  const { page } = await open(names[0]);
  const blocked = await page.evaluate(() => fetch("https://example.org/").then(() => false, () => true));
  assert.ok(blocked);
  await page.close();
});
