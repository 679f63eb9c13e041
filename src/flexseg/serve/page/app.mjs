// The page's screens and its addresses: #/ the cases, #/case/ID one of them, #/case/ID/correct.
import * as api from "./server/api.mjs";
import { $, button, h } from "./parts/elements.mjs";
import { icon } from "./parts/icons.mjs";
import { listen, setKeys, showHelp } from "./parts/keys.mjs";
import { tellProblem } from "./parts/notices.mjs";
import { themeSwitch } from "./parts/theme.mjs";
import * as caseScreen from "./screens/case.mjs";
import * as list from "./screens/list.mjs";
import * as login from "./screens/login.mjs";

let screen = null; // { leave(), mayLeave?(), moveTo?(parts) }
let address = null;

async function show() {
  const wanted = location.hash;
  if (wanted === address) return;
  const parts = wanted.replace(/^#\/?/, "").split("/").map(decodeURIComponent);
  if (screen?.moveTo && await screen.moveTo(parts)) {
    // The same case, looked at or corrected.
    address = location.hash;
    return;
  }
  if (screen?.mayLeave && !(await screen.mayLeave())) {
    history.replaceState(null, "", address);
    return;
  }
  const first = address === null;
  address = wanted;
  screen?.leave();
  setKeys({});
  $("main").replaceChildren();
  screen = null;
  try {
    screen = parts[0] === "case" && parts[1]
      ? await caseScreen.open($("main"), { id: parts[1], mode: parts[2] || "look", session })
      : await list.open($("main"), { session });
  } catch (error) {
    if (error.status !== 404) throw error;
    location.replace("#/");
    tellProblem(error);
    return;
  }
  if (!first) document.querySelector("h1")?.focus();
}

let session;

async function start() {
  $("help").append(icon("question"));
  $("theme").append(icon("sun"));
  $("help").addEventListener("click", showHelp);
  themeSwitch();
  listen();
  try {
    session = await api.session();
  } catch (error) {
    if (error.status === 401) return login.open($("main"), restart);
    $("main").replaceChildren(h("section", { class: "empty" }, h("h1", {}, error.message), h("p", {}, error.fix),
      button("Try again", () => location.reload(), { class: "primary" })));
    return;
  }
  // Only who has signed in can sign out.
  if (session.csrf) {
    $("help").before(button("Sign out", () => api.logout().then(restart, tellProblem), { class: "quiet", title: `You are ${session.user}` }));
  }
  addEventListener("hashchange", () => show().catch(tellProblem));
  await show().catch(tellProblem);
}

const restart = () => location.reload();
addEventListener("unhandledrejection", ({ reason }) => {
  if (reason?.status === 401) restart();
  else tellProblem(reason);
});
start();
