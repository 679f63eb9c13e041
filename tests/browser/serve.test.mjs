// The page of `flexseg serve` in headless Chromium, with a server behind it: send, look, correct,
// accept, learn; images and volumes; by mouse, finger and keys; and every state to look at.
import assert from "node:assert/strict";
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { after, afterEach, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import puppeteer from "puppeteer-core";
import { readLabelVolume } from "../../src/flexseg/serve/page/files/nifti.mjs";
import { readLabels } from "../../src/flexseg/serve/page/files/png.mjs";
import { views } from "../../src/flexseg/serve/page/stage/slices.mjs";
import { apply, matrix, whole } from "../../src/flexseg/serve/page/stage/viewport.mjs";
import { chromium } from "./chromium.mjs";
import { startServer } from "./serve_process.mjs";

const here = path.dirname(fileURLToPath(import.meta.url));
const files = process.env.SERVE_FILES || path.join(here, "serving");
const shots = path.join(files, "screenshots");
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf-8");
const SOFTWARE_GL = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"];
// Of software drawing, and of a first frame that NiiVue draws before the page has its layout.
const HARMLESS = /GPU stall|glViewport: negative width/;
const PICTURES = ["picture_0.png", "picture_1.png", "picture_2.png"];
const PATIENCE = { timeout: 60_000 };

let browser;
let server;
before(async () => {
  mkdirSync(shots, { recursive: true });
  server = await startServer(["brightness", "softness"].map((name) => path.join(files, name, "model.onnx")));
  browser = await puppeteer.launch({ executablePath: chromium(), args: ["--no-sandbox", ...SOFTWARE_GL] });
});
afterEach(async () => {
  for (const page of (await browser.pages()).slice(1)) {
    // What a failed test has seen; Chromium may never draw a page behind another one.
    await page.bringToFront();
    const picture = page.screenshot({ path: path.join(shots, "last.png") }).catch(() => {});
    await Promise.race([picture, sleep(10_000, undefined, { ref: false })]);
    await page.close();
  }
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

async function open(hash, { width = 1280, scheme = "light", touch = false, base = server.base } = {}) {
  const page = await browser.newPage();
  const problems = [];
  page.on("request", (request) => request.url().startsWith(base) || /^(data|blob):/.test(request.url()) || problems.push(`asks ${request.url()}`));
  page.on("pageerror", (error) => problems.push(String(error)));
  page.on("console", (message) => ["error", "warning", "warn"].includes(message.type()) && !HARMLESS.test(message.text()) && problems.push(message.text()));
  await page.setViewport({ width, height: width > 600 ? 800 : 844, deviceScaleFactor: 1, hasTouch: touch });
  await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
  await page.goto(`${base}/#${hash}`);
  return { page, problems };
}

const state = (page, wanted) => page.waitForSelector(`html[data-state="${wanted}"]`, PATIENCE);
const cases = async (of = server) => (await of.json("cases?limit=100")).cases;
const named = async (name, of) => (await cases(of)).find((one) => one.name === name);
const predicted = async (name, of) => {
  for (let k = 0; k < 300; k++) {
    const found = await named(name, of);
    if (found?.state === "done") return found;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  throw new Error(`${name} is not predicted`);
};
const maskOf = async ({ id }, source = "current", of = server) => readLabels(await of.bytes(`cases/${id}/mask.png?source=${source}`));
const labelsOf = async ({ id }, of = server) => readLabelVolume(await of.bytes(`cases/${id}/labels.nii.gz`));
const sendAgain = async (id, verdict) => server.json(`cases/${id}/review`, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ verdict }) });

// Where pixels of a picture are on the screen, as long as nobody has zoomed.
async function places(page, { width, height, turn = [1, 0, 0, 1] }) {
  const box = await page.$eval("#canvas", (c) => {
    const { left, top, width, height } = c.getBoundingClientRect();
    return { left, top, width, height };
  });
  const to = matrix(whole(), { width, height, turn }, box);
  return (x, y) => apply(to, [x + 0.5, y + 0.5]).map((v, i) => v + [box.left, box.top][i]);
}

async function drag(page, from, to) {
  await page.mouse.move(...from);
  await page.mouse.down();
  await page.mouse.move(...to, { steps: 8 });
  await page.mouse.up();
}

async function save(page) {
  await page.click("#save");
  await state(page, "look");
}

const changes = (a, b) => [...a.keys()].filter((i) => a[i] !== b[i]);

async function checked(page, problems, name, width) {
  await page.screenshot({ path: path.join(shots, `${name}.png`) });
  const wide = await page.evaluate(() => document.scrollingElement.scrollWidth);
  assert.ok(wide <= width, `${name} is ${wide} px wide on a screen of ${width}`);
  await page.evaluate(axe);
  const found = await page.evaluate(() => window.axe.run(document, {
    runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
  }));
  const told = found.violations.map((v) => `${v.id} (${v.impact}): ${v.nodes.slice(0, 3).map((n) => n.html.slice(0, 160)).join(" | ")}`);
  assert.deepEqual(told, [], name);
  assert.deepEqual(problems, [], name);
}

describe("sending", () => {
  test("an empty list asks for files", async () => {
    for (const [width, scheme] of [[1280, "light"], [390, "dark"]]) {
      const { page, problems } = await open("/", { width, scheme });
      await page.waitForSelector(".nothing", PATIENCE);
      await checked(page, problems, `empty-${width}-${scheme}`, width);
      await page.close();
      }
  });

  test("pictures and a volume are sent, predicted and listed", async () => {
    const { page, problems } = await open("/");
    const input = await page.waitForSelector("#files", PATIENCE);
    await input.uploadFile(...[...PICTURES, "volume.nii.gz"].map((name) => path.join(files, name)));
    await page.waitForFunction((count) => {
      const cards = [...document.querySelectorAll(".card")];
      return cards.length === count && cards.every((card) => card.querySelector(".amounts span"));
    }, PATIENCE, PICTURES.length + 1);
    const names = await page.$$eval(".card .name", (all) => all.map((n) => n.textContent));
    assert.deepEqual(names.toSorted(), [...PICTURES, "volume.nii.gz"].toSorted());
    const one = await named("picture_0.png");
    const text = await page.$eval(`.card[href="#/case/${one.id}"]`, (a) => a.textContent.replaceAll("\u202f", ""));
    for (const c of one.classes) assert.match(text, new RegExp(`${c.name} ${c.pixels} px`));
    assert.match(await page.$eval(".next", (n) => n.textContent), /next case/);
    assert.deepEqual(problems, []);
  });

  test("a file that is no picture is refused with words, and the rest goes on", async () => {
    const { page } = await open("/");
    const input = await page.waitForSelector("#files", PATIENCE);
    await input.uploadFile(path.join(here, "package.json"));
    const row = await page.waitForSelector(".sending .problem", PATIENCE);
    assert.match(await row.evaluate((e) => e.textContent), /package\.json.*\w+\./);
    await page.screenshot({ path: path.join(shots, "refused-1280-light.png") });
    await page.click(".sending button");
    assert.equal((await page.$$(".sending li")).length, 0);
  });

  test("a folder of DICOM slices travels as one archive", async () => {
    const { page } = await open("/");
    await page.waitForSelector("#files", PATIENCE);
    const found = await page.evaluate(async () => {
      const { uploads } = await import("./files/collecting.mjs");
      const file = (name) => new File([new Uint8Array(4)], name);
      const some = [["scan/ct/", "1.dcm"], ["scan/ct/", "2.dcm"], ["scan/ct/", "IM0003"], ["scan/", "photo.png"], ["scan/", ".DS_Store"], ["", "single.dcm"]];
      const sent = await uploads(some.map(([folder, name]) => ({ folder, file: file(name) })));
      return sent.map(({ name }) => name);
    });
    assert.deepEqual(found, ["photo.png", "ct.zip", "single.dcm"]);
  });
});

describe("images", () => {
  test("a stroke is drawn, taken back, done again, saved", async () => {
    const one = await predicted("picture_0.png");
    const before = await maskOf(one);
    const { page, problems } = await open(`/case/${one.id}`);
    await state(page, "look");
    await page.click("#correct");
    await state(page, "correct");
    const at = await places(page, before);
    assert.ok(await page.$eval("#undo", (b) => b.disabled));
    await drag(page, at(10, 90), at(40, 90));
    await page.click("#undo");
    assert.ok(await page.$eval("#undo", (b) => b.disabled));
    await page.click("#redo");
    assert.ok(!(await page.$eval("#undo", (b) => b.disabled)));
    await save(page);
    const now = await maskOf(one);
    const changed = changes(before.data, now.data);
    assert.ok(changed.length > 60, `${changed.length} pixels`);
    for (const x of [10, 25, 40]) assert.equal(now.data[90 * now.width + x], 1, `x ${x}`);
    for (const i of changed) {
      assert.equal(now.data[i], 1);
      const [x, y] = [i % now.width, Math.floor(i / now.width)];
      assert.ok(x >= 4 && x <= 46 && Math.abs(y - 90) <= 6, `${x}, ${y}`);
    }
    const after = await named("picture_0.png");
    assert.equal(after.review, "corrected");
    assert.deepEqual((await maskOf(one, "prediction")).data, before.data);
    assert.match(await page.$eval(".verdict", (e) => e.textContent), /Corrected/);
    assert.equal(await page.evaluate(() => document.documentElement.dataset.unsaved), undefined);
    assert.deepEqual(problems, []);
  });

  test("eraser, fill, outline and similar, per class", async () => {
    const one = await predicted("picture_1.png");
    const before = await maskOf(one);
    const { width } = before;
    const { page, problems } = await open(`/case/${one.id}/correct`);
    await state(page, "correct");
    const at = await places(page, before);
    const first = (c) => before.data.indexOf(c);
    const place = (i) => at(i % width, Math.floor(i / width));
    // The whole dark object becomes bright.
    await page.click("#tool-fill");
    await page.mouse.click(...place(first(2)));
    // An outline by its corners, of the second class, closed at the first one.
    await page.keyboard.press("2");
    await page.click("#tool-polygon");
    for (const [x, y] of [[2, 2], [18, 2], [18, 12], [2, 12]]) await page.mouse.click(...at(x, y));
    assert.ok(await page.$eval("#close-shape", (b) => !b.hidden));
    await page.mouse.click(...at(2, 2));
    // And one drawn freely, by key dropped.
    await page.mouse.click(...at(100, 5));
    await page.keyboard.press("Escape");
    assert.ok(await page.$eval("#close-shape", (b) => b.hidden));
    // A part of it is wiped away.
    await page.click("#tool-eraser");
    await drag(page, at(2, 12), at(18, 12));
    await save(page);
    const now = await maskOf(one);
    assert.equal(now.data[first(2)], 1);
    assert.equal(now.data[5 * width + 10], 2);
    assert.equal(now.data[12 * width + 10], 0);
    const dark = [...now.data].filter((c) => c === 2).length;
    assert.ok(dark > 60 && dark < 180, `${dark} pixels`);
    // A brush for what is similar paints the object, not the ground around it.
    await page.click(".verdict .quiet");
    await state(page, "correct");
    await page.keyboard.press("e");
    const object = first(1);
    await page.mouse.click(...place(object));
    await page.keyboard.press("s");
    await page.$eval("#size", (s) => { s.value = s.max; s.dispatchEvent(new Event("input")); });
    const inside = [...before.data.keys()].filter((i) => before.data[i] === 1);
    const middle = inside[inside.length >> 1];
    await page.mouse.click(...place(middle));
    await save(page);
    const similar = await maskOf(one);
    const kept = inside.filter((i) => similar.data[i] === 1).length;
    assert.ok(kept > 0.9 * inside.length, `${kept} of ${inside.length}`);
    const ground = [...before.data.keys()].filter((i) => before.data[i] === 0 && similar.data[i] === 1).length;
    assert.ok(ground < 0.1 * inside.length, `${ground} pixels of the ground`);
    assert.deepEqual(problems, []);
  });

  test("keys alone correct a case", async () => {
    const one = await predicted("picture_2.png");
    const before = await maskOf(one);
    const { page, problems } = await open(`/case/${one.id}`);
    await state(page, "look");
    await page.keyboard.press("c");
    await state(page, "correct");
    assert.equal(await page.evaluate(() => document.activeElement.id), "canvas");
    await page.keyboard.press("1");
    await page.focus("#canvas");
    // From the middle to the corner on the lower right.
    const { width, height } = before;
    await page.keyboard.down("Shift");
    for (let k = 0; k < 5; k++) await page.keyboard.press("ArrowRight");
    for (let k = 0; k < 4; k++) await page.keyboard.press("ArrowDown");
    await page.keyboard.up("Shift");
    await page.keyboard.press("Space");
    await page.keyboard.press("?");
    await page.waitForSelector("dialog[open]");
    await page.screenshot({ path: path.join(shots, "keys-1280-light.png") });
    assert.match(await page.$eval("dialog", (d) => d.textContent), /Undo/);
    await page.keyboard.press("Escape");
    await page.keyboard.down("Control");
    await page.keyboard.press("s");
    await page.keyboard.up("Control");
    await state(page, "look");
    const now = await maskOf(one);
    assert.equal(now.data[(height / 2 + 40) * width + width / 2 + 50], 1);
    assert.deepEqual(problems, []);
    await sendAgain(one.id, null);
  });

  test("a case that is gone leads back to the list", async () => {
    const { page } = await open(`/case/${"0".repeat(32)}`);
    await page.waitForSelector(".cards", PATIENCE);
    assert.match(await page.$eval("#notice", (n) => n.textContent), /no such case/);
  });

  test("accept, change it, reject, next", async () => {
    const one = await predicted("picture_2.png");
    const { page, problems } = await open(`/case/${one.id}`);
    await state(page, "look");
    await page.click("#accept");
    await page.waitForSelector("#next", PATIENCE);
    assert.equal((await named(one.name)).review, "accepted");
    await page.screenshot({ path: path.join(shots, "accepted-1280-light.png") });
    await page.click(".verdict .quiet");
    await page.waitForSelector("#reject", PATIENCE);
    await page.keyboard.press("x");
    await page.waitForSelector("#next", PATIENCE);
    assert.equal((await named(one.name)).review, "rejected");
    await page.click("#next");
    await page.waitForFunction((id) => !location.hash.includes(id), PATIENCE, one.id);
    assert.deepEqual(problems, []);
  });

  test("what is drawn is not lost by accident", async () => {
    const one = await predicted("picture_2.png");
    const { page } = await open(`/case/${one.id}/correct`);
    await state(page, "correct");
    const at = await places(page, await maskOf(one));
    await drag(page, at(10, 10), at(20, 10));
    await page.click("#place a");
    await page.waitForSelector("dialog[open]");
    await page.screenshot({ path: path.join(shots, "unsaved-1280-light.png") });
    await page.click("dialog .choices button:first-child");
    await page.waitForFunction(() => !document.querySelector("dialog"));
    assert.match(await page.evaluate(() => location.hash), /correct$/);
    await page.click("#cancel");
    await page.waitForSelector("dialog[open]");
    await page.click("dialog .danger");
    await state(page, "look");
  });

  test("fingers: one draws, two zoom and take back what the first has begun", async () => {
    const one = await predicted("picture_2.png");
    const { page, problems } = await open(`/case/${one.id}/correct`, { width: 390, touch: true });
    await state(page, "correct");
    const at = await places(page, await maskOf(one));
    const touch = await page.createCDPSession();
    const send = (type, ...points) => touch.send("Input.dispatchTouchEvent", { type, touchPoints: points.map(([x, y], id) => ({ x, y, id })) });
    await send("touchStart", at(10, 10));
    await send("touchMove", at(14, 10));
    await send("touchStart", at(14, 10), at(60, 60));
    await send("touchMove", at(4, 0), at(90, 90));
    await send("touchEnd");
    assert.ok(await page.$eval("#undo", (b) => b.disabled), "the first finger's stroke was kept");
    await page.keyboard.press("0");
    await send("touchStart", at(10, 10));
    await send("touchMove", at(30, 10));
    await send("touchEnd");
    await page.waitForFunction(() => !document.getElementById("undo").disabled);
    assert.deepEqual(problems, []);
  });

  test("beside the mask: the picture, the reference, another model", async () => {
    const form = new FormData();
    form.append("file", new Blob([readFileSync(path.join(files, "picture_0.png"))]), "with reference.png");
    form.append("reference", new Blob([readFileSync(path.join(files, "reference.png"))]), "reference.png");
    await server.json("cases", { method: "POST", body: form });
    const one = await predicted("with reference.png");
    const { page, problems } = await open(`/case/${one.id}`);
    await state(page, "look");
    await page.evaluate(() => {
      document.querySelectorAll("details").forEach((d) => { d.open = true; });
      [...document.querySelectorAll("button")].find((b) => b.textContent.startsWith("Predict with")).click();
    });
    await page.waitForFunction(() => [...document.querySelectorAll("#beside option")].some((o) => o.value.startsWith("model ")), PATIENCE);
    await state(page, "look");
    for (const choice of ["picture", "reference", await page.$eval("#beside option[value^=model]", (o) => o.value)]) {
      await page.select("#beside", choice);
      await new Promise((resolve) => setTimeout(resolve, 500));
      await page.screenshot({ path: path.join(shots, `beside-${choice.split(" ")[0]}.png`) });
    }
    assert.deepEqual(problems, []);
  });

  test("masks are downloaded in every format that is offered", async () => {
    for (const name of ["picture_0.png", "volume.nii.gz"]) {
      const one = await predicted(name);
      const { page } = await open(`/case/${one.id}`);
      await state(page, "look");
      const links = await page.$$eval(".downloads a", (all) => all.map((a) => a.getAttribute("href")));
      assert.ok(links.length > 1);
      for (const link of links) assert.ok((await server.bytes(link.replace("api/", ""))).length > 50, link);
      }
  });
});

describe("volumes", () => {
  test("a stroke changes one slice, in any direction", async () => {
    const one = await predicted("volume.nii.gz");
    const before = await labelsOf(one);
    const { page, problems } = await open(`/case/${one.id}`);
    await state(page, "look");
    await page.keyboard.press("c");
    await state(page, "correct");
    const shown = () => page.$eval("#slice", (s) => Number(s.value));
    const found = views(before);
    const slices = {};
    for (const name of ["Axial", "Coronal"]) {
      const view = found.find((v) => v.name === name);
      await page.click(`[data-axis="${view.axis}"]`);
      await page.keyboard.press("PageUp");
      await new Promise((resolve) => setTimeout(resolve, 500));
      slices[name] = await shown();
      const at = await places(page, { ...view, turn: view.matrix });
      await drag(page, at(4, 4), at(20, 4));
    }
    await save(page);
    const now = await labelsOf(one);
    const [nx, ny] = now.shape;
    const where = changes(before.data, now.data).map((i) => [i % nx, Math.floor(i / nx) % ny, Math.floor(i / nx / ny)]);
    assert.ok(where.length > 40);
    assert.ok(where.some(([, , z]) => z === slices.Axial) && where.some(([, y]) => y === slices.Coronal));
    for (const [x, y, z] of where) assert.ok(z === slices.Axial || y === slices.Coronal, `${x}, ${y}, ${z}`);
    assert.deepEqual(now.affine, before.affine);
    assert.equal((await named("volume.nii.gz")).review, "corrected");
    assert.deepEqual(problems, []);
  });

  test("three dimensions, and the pen there", async () => {
    const one = await predicted("volume.nii.gz");
    const before = await labelsOf(one);
    const { page, problems } = await open(`/case/${one.id}/correct`);
    await state(page, "correct");
    await page.click("#in-3d");
    await page.waitForSelector('html[data-volume="yes"]', PATIENCE);
    await page.screenshot({ path: path.join(shots, "volume-3d-1280-light.png") });
    const box = await page.$eval("#volume", (c) => { const b = c.getBoundingClientRect(); return [b.left, b.top, b.width, b.height]; });
    await page.$eval("#size", (s) => { s.value = s.min; s.dispatchEvent(new Event("input")); });
    await drag(page, [box[0] + box[2] * 0.12, box[1] + box[3] * 0.1], [box[0] + box[2] * 0.2, box[1] + box[3] * 0.1]);
    await page.waitForFunction(() => !document.getElementById("undo").disabled, PATIENCE);
    await save(page);
    // In the coronal tile, so in one slice; and nowhere else, whatever order NiiVue has voxels in.
    const now = await labelsOf(one);
    const [nx, ny] = now.shape;
    const changed = changes(before.data, now.data);
    assert.ok(changed.length > 3 && changed.length < 1000, `${changed.length} voxels`);
    assert.equal(new Set(changed.map((i) => Math.floor(i / nx) % ny)).size, 1);
    for (const i of changed) assert.equal(now.data[i], 1);
    // The upper left: the patient's right (x small), on top (z large).
    for (const i of changed) assert.ok(i % nx < nx / 2 && Math.floor(i / nx / ny) > 5);
    assert.deepEqual(problems, []);
  });
});

describe("learning", () => {
  let taught;
  before(async () => { taught = await startServer([path.join(files, "slices", "run")]); });
  after(async () => taught?.stop());

  test("send, correct, learn, accept: a picture and a volume", async () => {
    const { page, problems } = await open("/", { base: taught.base });
    const send = async (...names) => {
      const input = await page.waitForSelector("#files", PATIENCE);
      await input.uploadFile(...names.map((name) => path.join(files, name)));
      return Promise.all(names.map((name) => predicted(name, taught)));
    };
    const [picture, volume] = await send("picture_0.png", "volume.nii.gz");
    const labels = await labelsOf(volume, taught);
    const shapes = [await maskOf(picture, "current", taught), views(labels).find((v) => v.name === "Axial")];
    for (const [k, { id }] of [picture, volume].entries()) {
      await page.goto(`${taught.base}/#/case/${id}`);
      await state(page, "look");
      await page.click("#correct");
      await state(page, "correct");
      const at = await places(page, { ...shapes[k], turn: shapes[k].matrix });
      await drag(page, at(10, 10), at(40, 10));
      await save(page);
      assert.equal((await taught.json(`cases/${id}`)).review, "corrected");
    }
    await page.goto(`${taught.base}/#/`);
    await page.waitForSelector("#learn", PATIENCE);
    assert.match(await page.$eval(".learn", (e) => e.textContent), /2 judged cases are new to the model/);
    // The page asks for a minute; a moment is enough to see it happen.
    await page.evaluate(() => {
      const ask = window.fetch;
      window.fetch = (where, options) => ask(where, options?.method === "POST" && String(where).endsWith("api/learn")
        ? { ...options, body: JSON.stringify({ seconds: 2 }) } : options);
    });
    await page.click("#learn");
    await page.waitForFunction(() => /Version 2 was/.test(document.querySelector(".learn")?.textContent), { timeout: 400_000 });
    const { job, waiting, versions } = await taught.json("learn");
    assert.equal(job.state, "done", JSON.stringify(job));
    assert.deepEqual([waiting, versions.length, versions[1].corrections, versions[1].decision.held_out], [0, 2, 2, false]);
    // Images and volumes: the eight that validated before, at least.
    assert.ok(versions[1].decision.cases >= 8, versions[1].decision.reason);
    await page.click(".learn summary");
    await checked(page, problems, "learned-1280-light", 1280);
    // The report opens in a tab of its own, where its script runs and nothing is asked for.
    const [report] = await Promise.all([
      new Promise((resolve) => browser.once("targetcreated", (target) => resolve(target.page()))),
      page.click(".reports a"),
    ]);
    await report.waitForSelector("#theme[aria-pressed]", PATIENCE);
    assert.match(await report.$eval("h1", (e) => e.textContent), /./);
    await report.screenshot({ path: path.join(shots, "report-light.png") });
    await report.close();
    // What comes after is predicted by the version in use, and accepted.
    for (const { id } of await send("picture_1.png", "volume_1.nii.gz")) {
      await page.goto(`${taught.base}/#/case/${id}`);
      await state(page, "look");
      await (await page.waitForSelector("#accept", PATIENCE)).click();
      await page.waitForSelector("#next", PATIENCE);
      assert.equal((await taught.json(`cases/${id}`)).review, "accepted");
      await page.goto(`${taught.base}/#/`);
    }
    assert.equal((await taught.json("learn")).waiting, 2);
    assert.deepEqual(problems, []);
  });
});

for (const [width, scheme] of [[1280, "light"], [1280, "dark"], [390, "light"], [390, "dark"]]) {
  test(`every state at ${width} px, ${scheme}`, async () => {
    const [one, volume] = [await predicted("picture_0.png"), await predicted("volume.nii.gz")];
    const { page, problems } = await open("/", { width, scheme });
    await page.waitForSelector(".card .amounts", PATIENCE);
    const name = (what) => `${what}-${width}-${scheme}`;
    await checked(page, problems, name("list"), width);
    for (const [what, { id }] of [["image", one], ["volume", volume]]) {
      await sendAgain(id, null);
      await page.goto(`${server.base}/#/case/${id}`);
      await page.reload();
      await state(page, "look");
      await new Promise((resolve) => setTimeout(resolve, 500));
      await checked(page, problems, name(what), width);
      await page.evaluate(() => document.querySelectorAll("details").forEach((d) => { d.open = true; }));
      await checked(page, problems, name(`${what}-open`), width);
      await page.evaluate(() => document.querySelectorAll("details").forEach((d) => { d.open = false; }));
      await page.click("#correct");
      await state(page, "correct");
      await checked(page, problems, name(`${what}-correct`), width);
      if (what === "volume") continue;
      await page.click("#help");
      await page.waitForSelector("dialog[open]");
      await checked(page, problems, name("help"), width);
      await page.keyboard.press("Escape");
    }
  });
}

describe("a server with tokens", () => {
  let guarded;
  before(async () => { guarded = await startServer([path.join(files, "brightness", "model.onnx")], "look"); });
  after(async () => guarded?.stop());

  test("asks who one is, and offers what the role may do", async () => {
    for (const [width, scheme] of [[1280, "light"], [390, "dark"]]) {
      const { page, problems } = await open("/", { width, scheme, base: guarded.base });
      await page.waitForSelector("#token", PATIENCE);
      // The browser itself writes that the first answer was 401.
      await checked(page, problems.splice(0).filter((text) => !text.includes("401")), `sign-in-${width}-${scheme}`, width);
      if (width < 600) continue;
      await page.type("#token", "wrong");
      await page.keyboard.press("Enter");
      await page.waitForFunction(() => document.querySelector("[role=alert]").textContent, PATIENCE);
      await page.type("#token", guarded.token);
      await page.keyboard.press("Enter");
      await page.waitForSelector(".filters", PATIENCE);
      assert.equal(await page.$("#files"), null);
      await page.close();
      await browser.deleteCookie(...(await browser.cookies()));
    }
  });
});

test("without a model the page asks for the classes, and one draws from nothing", async () => {
  const bare = await startServer([]);
  try {
    const { page, problems } = await open("/", { base: bare.base });
    await page.waitForSelector("#class-1", PATIENCE);
    await checked(page, problems, "classes-1280-light", 1280);
    await page.type("#class-1", "cell");
    await page.keyboard.press("Enter");
    const input = await page.waitForSelector("#files", PATIENCE);
    await input.uploadFile(...PICTURES.slice(0, 2).map((name) => path.join(files, name)));
    await page.waitForFunction(() => document.querySelectorAll(".card").length === 2 && document.querySelector(".next a"), PATIENCE);
    await checked(page, problems, "unmarked-list-1280-light", 1280);
    await page.click(".next a");
    await state(page, "correct");
    const first = await page.evaluate(() => location.hash.split("/")[2]);
    await page.click("#cancel");
    await state(page, "look");
    assert.equal(await page.$("#accept"), null);
    await checked(page, problems, "unmarked-1280-light", 1280);
    await page.click("#correct");
    await state(page, "correct");
    const at = await places(page, { width: 128, height: 96 });
    await drag(page, at(20, 20), at(40, 20));
    await save(page);
    await page.click("#next");
    await page.waitForFunction((id) => !location.hash.includes(id), PATIENCE, first);
    await state(page, "correct");
    const one = await bare.json(`cases/${first}`);
    assert.equal(one.review, "corrected");
    const { data } = await readLabels(await bare.bytes(`cases/${one.id}/mask.png`));
    assert.equal(data[20 * 128 + 30], 1);
    assert.deepEqual(problems, []);
  } finally {
    await bare.stop();
  }
});
