// Sends files, two at a time; where the server is full it is asked again when it says.
import { csrfHeader, refusal, Refused } from "./api.mjs";

const AT_ONCE = 2;
const waiting = [];
let running = 0;

// `told(state)` gets { sent: 0 to 1 }, then { cases } or { error }.
export function send(blob, name, model, told) {
  waiting.push({ blob, name, model, told });
  begin();
}

function begin() {
  while (running < AT_ONCE && waiting.length) {
    const upload = waiting.shift();
    running++;
    deliver(upload).then((cases) => upload.told({ cases }), (error) => upload.told({ error }))
      .finally(() => { running--; begin(); });
  }
}

async function deliver(upload) {
  for (;;) {
    try {
      return await post(upload);
    } catch (error) {
      if (![429, 503].includes(error.status)) throw error;
      await new Promise((resolve) => setTimeout(resolve, 1000 * (error.retry || 2)));
    }
  }
}

// Not `fetch`, which does not tell how much has been sent.
function post({ blob, name, model, told }) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", "api/cases");
    Object.entries(csrfHeader()).forEach(([key, value]) => request.setRequestHeader(key, value));
    request.upload.addEventListener("progress", ({ loaded, total }) => told({ sent: loaded / total }));
    request.addEventListener("error", () => reject(new Refused(0, { error: "The server does not answer.", fix: "Is it still running?" })));
    request.addEventListener("load", async () => {
      if (request.status < 300) resolve(JSON.parse(request.responseText).cases);
      else reject(await refusal(request.status, request.responseText, request.getResponseHeader("Retry-After")));
    });
    const form = new FormData();
    if (model) form.append("model", model);
    form.append("file", blob, name);
    request.send(form);
  });
}
