// Reports in headless Chromium: no request leaves the file, axe-core finds nothing, nothing
// is wider than the screen, everything works by keyboard, and screenshots to look at.
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import puppeteer from "puppeteer-core";
import { chromium } from "./chromium.mjs";

const here = path.dirname(fileURLToPath(import.meta.url));
const build = process.env.REPORTS || path.join(here, "build");
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf-8");
const reports = readdirSync(build).filter((name) => name.endsWith(".html")).sort();
const WIDTHS = { desktop: 1280, phone: 390 };
const SCHEMES = ["light", "dark"];

let browser;
before(async () => {
  browser = await puppeteer.launch({ executablePath: chromium(), args: ["--no-sandbox"] });
});
after(async () => browser?.close());

async function open(name, width, scheme) {
  const page = await browser.newPage();
  const outside = [];
  page.on("request", (request) => {
    if (!/^(file|data|blob):/.test(request.url())) outside.push(request.url());
  });
  const problems = [];
  page.on("pageerror", (error) => problems.push(String(error)));
  page.on("console", (message) => message.type() === "error" && problems.push(message.text()));
  await page.setViewport({ width, height: width > 600 ? 900 : 844, deviceScaleFactor: 1 });
  await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
  await page.goto(pathToFileURL(path.join(build, name)).href);
  return { page, outside, problems };
}

test("there are reports to look at", () => assert.ok(reports.length >= 1, `none in ${build}`));

for (const name of reports) {
  describe(name, () => {
    for (const [device, width] of Object.entries(WIDTHS)) {
      for (const scheme of SCHEMES) {
        test(`${device}, ${scheme}`, async () => {
          const { page, outside, problems } = await open(name, width, scheme);
          const stem = path.join(build, `${path.parse(name).name}-${device}-${scheme}`);
          await page.screenshot({ path: `${stem}.png`, fullPage: true });
          await page.evaluate(() => document.querySelectorAll("details").forEach((d) => (d.open = true)));
          const wide = await page.evaluate(() => document.scrollingElement.scrollWidth);
          assert.ok(wide <= width, `the page is ${wide} px wide on a screen of ${width}`);
          await page.evaluate(axe);
          const found = await page.evaluate(() => window.axe.run(document, {
            runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
          }));
          const told = found.violations.map(
            (v) => `${v.id} (${v.impact}): ${v.nodes.slice(0, 3).map((n) => n.html.slice(0, 160)).join(" | ")}`,
          );
          assert.deepEqual(told, []);
          assert.deepEqual(outside, [], "requests to the network");
          assert.deepEqual(problems, [], "errors in the console");
          await page.close();
        });
      }
    }

    test("keyboard", async () => {
      const { page } = await open(name, 1280, "light");
      await page.keyboard.press("Tab");
      assert.match(await page.evaluate(() => document.activeElement.textContent), /Skip/);
      const count = await page.$$eval(".panel", (panels) => panels.length);
      if (count === 0) return;
      await page.focus(".panel");
      await page.keyboard.press("Enter");
      assert.ok(await page.$eval("#viewer", (d) => d.open));
      await page.keyboard.press("+");
      await page.keyboard.press("ArrowLeft");
      assert.equal(await page.$eval("#zoom-level", (o) => o.value), "150 %");
      assert.match(await page.$eval("#stage svg", (s) => s.style.transform), /scale\(1\.5\)/);
      await page.keyboard.press("2");
      assert.equal(await page.$eval("#views button:nth-child(2)", (b) => b.ariaPressed), "true");
      await page.screenshot({ path: path.join(build, `${path.parse(name).name}-viewer.png`) });
      await page.evaluate(axe);
      const found = await page.evaluate(() => window.axe.run("#viewer"));
      assert.deepEqual(found.violations.map((v) => v.id), []);
      await page.keyboard.press("Escape");
      assert.ok(!(await page.$eval("#viewer", (d) => d.open)));
      assert.ok(await page.evaluate(() => document.activeElement.classList.contains("panel")));
      await page.close();
    });

    test("the table of cases sorts and can be saved", async () => {
      const { page } = await open(name, 1280, "light");
      const dice = () => page.$$eval(".sortable tbody tr", (rows) => rows
        .map((row) => row.cells[2].dataset.number).filter((text) => text !== "").map(Number));
      const before = await dice();
      await page.$eval("#all details", (d) => (d.open = true));
      for (const sign of [1, -1]) {
        await page.click(".sortable th:nth-child(3) button");
        assert.deepEqual(await dice(), before.toSorted((a, b) => sign * (a - b)));
      }
      assert.equal(await page.$eval("th:nth-child(3)[aria-sort]", (h) => h.ariaSort), "descending");
      const link = await page.$eval("#all a[download]", (a) => a.href);
      const csv = Buffer.from(link.split("base64,")[1], "base64").toString("utf-8");
      assert.match(csv, /^case,group,class_id,class,status,/);
      await page.close();
    });

    test("the switch overrides the system's scheme", async () => {
      const { page } = await open(name, 1280, "dark");
      const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
      const dark = await ground();
      assert.equal(await page.$eval("#theme", (b) => b.ariaPressed), "true");
      await page.click("#theme");
      assert.notEqual(await ground(), dark);
      assert.equal(await page.$eval("#theme", (b) => b.ariaPressed), "false");
      await page.close();
    });

    test("print", async () => {
      const { page } = await open(name, 1280, "dark");
      const pdf = await page.pdf({ path: path.join(build, `${path.parse(name).name}.pdf`), format: "A4", margin: { top: "12mm", bottom: "12mm", left: "12mm", right: "12mm" } });
      assert.ok(pdf.length > 10_000);
      await page.emulateMediaType("print");
      const ground = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
      assert.equal(ground, "rgb(255, 255, 255)");
      await page.close();
    });
  });
}
