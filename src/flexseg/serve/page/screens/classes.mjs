import * as api from "../server/api.mjs";
import { button, h } from "../parts/elements.mjs";
import { icon } from "../parts/icons.mjs";

// Asks for the classes of a server without a model; calls `done` when they are named.
export function open(main, done) {
  const rows = h("div", { class: "rows" });
  const problem = h("p", { class: "problem", role: "alert" });
  const form = h("form", { class: "login" },
    h("h1", { tabIndex: -1 }, "What do you want to mark?"),
    h("p", { class: "note" }, "There is no model yet. Name the kinds of objects or tissue, for example: nucleus, vessel. You mark them in the first pictures, and a model learns from that."),
    rows, button([icon("plus"), "Another one"], () => add().focus()), problem,
    h("button", { type: "submit", class: "primary" }, "Go on"));

  function add() {
    const id = `class-${rows.children.length + 1}`;
    const input = h("input", { id, type: "text", maxLength: 80, autocomplete: "off" });
    rows.append(h("div", {}, h("label", { for: id }, `Class ${rows.children.length + 1}`), input));
    return input;
  }

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const names = [...rows.querySelectorAll("input")].map((input) => input.value.trim()).filter(Boolean);
    try {
      if (!names.length) throw new Error("Name at least one class.");
      await api.nameClasses(names.map((name) => ({ name })));
      done();
    } catch (error) {
      problem.textContent = `${error.message} ${error.fix || ""}`;
    }
  });
  const first = add();
  main.replaceChildren(form);
  first.focus();
  document.title = "Classes - flexseg";
}
