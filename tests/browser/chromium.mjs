import { execFileSync } from "node:child_process";

// The path of a Chromium on this machine; the environment may name one.
export function chromium() {
  if (process.env.CHROMIUM) return process.env.CHROMIUM;
  for (const name of ["chromium", "google-chrome", "chromium-browser"]) {
    try {
      return execFileSync("which", [name], { encoding: "utf-8" }).trim();
    } catch {
      // The next name.
    }
  }
  throw new Error("There is no Chromium: install it, or name it in CHROMIUM.");
}
