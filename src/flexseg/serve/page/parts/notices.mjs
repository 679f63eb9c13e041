import { $, button, h } from "./elements.mjs";
import { icon } from "./icons.mjs";

let timer;

// One short message at the foot of the page; read aloud. It goes by itself unless it is a problem.
export function tell(text, action = null) {
  show([h("span", {}, text), action && button(action.label, () => { hide(); action.run(); })], "");
  timer = setTimeout(hide, 6000);
}

export function tellProblem(error) {
  const parts = [h("strong", {}, error.message || String(error))];
  if (error.fix) parts.push(` ${error.fix}`);
  show([h("span", {}, parts), button(icon("cross"), hide, { "aria-label": "Close message", class: "quiet" })], "problem");
}

function show(children, kind) {
  clearTimeout(timer);
  $("notice").className = kind;
  $("notice").replaceChildren(...children.filter(Boolean));
}

function hide() {
  clearTimeout(timer);
  $("notice").replaceChildren();
}
