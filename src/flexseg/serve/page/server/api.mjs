// The server's REST interface; what it refuses arrives as a Refused.
let csrf = null;

export class Refused extends Error {
  constructor(status, { error, fix } = {}, retry = null) {
    super(error || `The server answers with an error (${status}).`);
    this.status = status;
    this.fix = fix || "";
    this.retry = retry; // seconds after which to try again
  }
}

export async function refusal(status, body, retryAfter) {
  let told = {};
  try {
    told = JSON.parse(body);
  } catch {
    // Something between us and the server has answered.
  }
  return new Refused(status, told, retryAfter ? Number(retryAfter) : null);
}

async function call(method, path, body = undefined) {
  const headers = {};
  if (method !== "GET" && csrf) headers["X-CSRF-Token"] = csrf;
  const json = body !== undefined && !(body instanceof FormData);
  if (json) headers["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(`api/${path}`, { method, headers, body: json ? JSON.stringify(body) : body });
  } catch {
    throw new Refused(0, { error: "The server does not answer.", fix: "Is it still running?" });
  }
  if (!answer.ok) throw await refusal(answer.status, await answer.text(), answer.headers.get("Retry-After"));
  return answer;
}

async function json(method, path, body) {
  const answer = await call(method, path, body);
  return answer.status === 204 ? null : answer.json();
}

// Addresses with the parameters that are given.
export function address(path, parameters = {}) {
  const given = Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const query = new URLSearchParams(given).toString();
  return query ? `${path}?${query}` : path;
}

export async function session() {
  const found = await json("GET", "session");
  csrf = found.csrf;
  return found;
}
export const csrfHeader = () => (csrf ? { "X-CSRF-Token": csrf } : {});
export const login = (token) => json("POST", "login", { token });
export const logout = () => json("POST", "logout");

export const models = () => json("GET", "models");
// The classes of the default model, else those that a user has named, with the background.
export const classes = async () => (await json("GET", "classes")).classes;
export const nameClasses = async (classes) => (await json("PUT", "classes", { classes })).classes;
export const cases = (parameters) => json("GET", address("cases", parameters));
export const one = (id) => json("GET", `cases/${id}`);
export const remove = (id) => json("DELETE", `cases/${id}`);
export const cancel = (id) => json("POST", `cases/${id}/cancel`);
export const predict = (id, model) => json("POST", `cases/${id}/predict`, { model, priority: 10 });
export const predictions = (id) => json("GET", `cases/${id}/predictions`);
export const review = (id, verdict) => json("POST", `cases/${id}/review`, { verdict });
export const next = () => json("GET", "next?by=quality");

export function correct(id, mask, name, seconds) {
  const form = new FormData();
  form.append("mask", mask, name);
  form.append("seconds", String(Math.round(seconds)));
  return json("PUT", `cases/${id}/correction`, form);
}

export const learning = () => json("GET", "learn");
export const learn = () => json("POST", "learn", {});
export const useVersion = (model, version) => json("PUT", `models/${encodeURIComponent(model)}/current`, { version });
export const cancelJob = (id) => json("POST", `jobs/${id}/cancel`);

export const thumbnail = ({ id, changed }) => address(`api/cases/${id}/thumbnail.png`, { changed });
export const report = (model) => address(`api/models/${encodeURIComponent(model)}/report`);
export const exported = (id, format, source) => address(`api/cases/${id}/export`, { format, source });
export async function bytes(path) {
  return new Uint8Array(await (await call("GET", path)).arrayBuffer());
}
export const picture = async (path) => createImageBitmap(await (await call("GET", path)).blob());
