// A server of flexseg for tests, in a process of its own.
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";

const here = path.dirname(fileURLToPath(import.meta.url));
const PYTHON = process.env.PYTHON || path.resolve(here, "../../.venv/bin/python");
const PATIENCE = 180; // seconds

const freePort = () => new Promise((resolve) => {
  const probe = createServer().listen(0, "127.0.0.1", () => {
    const { port } = probe.address();
    probe.close(() => resolve(port));
  });
});

const cli = (...words) => ["-m", "flexseg.cli", ...words];

// Starts `flexseg serve` with models, for everybody at this machine or for one with a role, who gets a
// token; { base, token, json(path, options), bytes(path), stop() }.
export async function startServer(models, role = null) {
  const data = mkdtempSync(path.join(tmpdir(), "serve-"));
  const token = role && execFileSync(PYTHON, cli("serve-admin", "add", "Ada", "--role", role, "--data", data), { encoding: "utf-8" }).split("\n")[0].trim();
  const port = await freePort();
  const base = `http://127.0.0.1:${port}`;
  const server = spawn(PYTHON, cli("serve", ...models, "--data", data, "--port", String(port)), { stdio: ["ignore", "pipe", "pipe"] });
  let told = "";
  for (const stream of [server.stdout, server.stderr]) stream.on("data", (text) => { told += text; });
  const call = async (where, options) => {
    const answer = await fetch(`${base}/api/${where}`, options);
    if (!answer.ok) throw new Error(`${where}: ${answer.status} ${await answer.text()}`);
    return answer;
  };
  for (let k = 0; ; k++) {
    if (server.exitCode !== null || k > 2 * PATIENCE) throw new Error(`The server does not start: ${told}`);
    try {
      await call("ready");
      break;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
  }
  return {
    base,
    token,
    json: async (where, options) => (await call(where, options)).json(),
    bytes: async (where) => new Uint8Array(await (await call(where)).arrayBuffer()),
    stop: () => new Promise((resolve) => {
      server.once("exit", () => { rmSync(data, { recursive: true, force: true }); resolve(told); });
      server.kill("SIGINT");
    }),
  };
}
