// A picture of a page in headless Chromium: node screenshot.mjs PAGE.html|URL PICTURE.png WIDTH HEIGHT [SELECTOR]
// With a selector the page is first scrolled to that element; viewers of volumes and cases are waited for.
import { pathToFileURL } from "node:url";
import puppeteer from "puppeteer-core";
import { chromium } from "./chromium.mjs";

const SOFTWARE_GL = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"];
const [page, picture, width, height, selector] = process.argv.slice(2);

const browser = await puppeteer.launch({ executablePath: chromium(), args: ["--no-sandbox", ...SOFTWARE_GL] });
try {
  const tab = await browser.newPage();
  await tab.setViewport({ width: Number(width), height: Number(height), deviceScaleFactor: 1 });
  const address = /^https?:/.test(page) ? page : pathToFileURL(page).href;
  await tab.goto(address, { timeout: 120_000 });
  // A server keeps one connection open, to tell of changes.
  if (address === page) await tab.waitForNetworkIdle({ concurrency: 1, timeout: 120_000 });
  if (await tab.evaluate(() => document.querySelector("canvas") !== null)) {
    await tab.waitForSelector("html[data-ready], html[data-state]", { timeout: 120_000 });
  }
  if (selector) await tab.$eval(selector, (element) => element.scrollIntoView());
  await tab.screenshot({ path: picture });
} finally {
  await browser.close();
}
