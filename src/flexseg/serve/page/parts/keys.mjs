import { h } from "./elements.mjs";
import { ask } from "./dialogs.mjs";

// Keys of the current screen: { "a": ["Accept", run], ... }; "Ctrl+" stands before a key of commands.
let current = {};
let advice = []; // what to do there, in sentences

export const setKeys = (keys, help = []) => { current = keys; advice = help; };

// The other arrows and keys of a pair are not listed.
const NAMES = { " ": "Space", ArrowLeft: "← ↑ → ↓", PageUp: "Page ↑", PageDown: "Page ↓" };

export function showHelp() {
  const rows = Object.entries(current).filter(([, [told]]) => told).map(([key, [told]]) =>
    [h("dt", {}, h("kbd", {}, NAMES[key] || (key.length === 1 ? key.toUpperCase() : key.replace(/\+(.)$/, (_, c) => ` + ${c.toUpperCase()}`)))), h("dd", {}, told)]);
  rows.push([h("dt", {}, h("kbd", {}, "?")), h("dd", {}, "Help")]);
  return ask("Help", [
    advice.length ? h("ul", { class: "advice" }, advice.map((sentence) => h("li", {}, sentence))) : null,
    h("div", { class: "all-keys" }, h("h3", {}, "Keys"), h("dl", { class: "keys" }, rows)),
  ], [{ label: "Close", value: "" }]);
}

const typing = ({ target }) =>
  target.tagName === "SELECT" || target.tagName === "TEXTAREA" || (target.tagName === "INPUT" && !["checkbox", "radio", "range"].includes(target.type));
// What a focused control does with these keys itself.
const ownKeys = ({ target, key }) =>
  (target.type === "range" && key.startsWith("Arrow")) ||
  ([" ", "Enter"].includes(key) && target.matches("button, a, input, summary"));

export function listen() {
  document.addEventListener("keydown", (event) => {
    if (event.altKey || document.querySelector("dialog[open]") || typing(event) || ownKeys(event)) return;
    const command = event.ctrlKey || event.metaKey;
    const key = (command ? "Ctrl+" : "") + (event.key.length === 1 ? event.key.toLowerCase() : event.key);
    const action = event.key === "?" ? [null, showHelp] : current[key];
    if (!action) return;
    event.preventDefault();
    action[1](event);
  });
}
