// Beside a case that is corrected: tools, classes, and saving.
import { NOT_LOOKED_AT } from "../drawing/plane.mjs";
import { TOOLS } from "../drawing/tools.mjs";
import { button, checkbox, h, slider, swatch } from "../parts/elements.mjs";
import { icon } from "../parts/icons.mjs";
import { fold, viewStyle } from "./look_panel.mjs";
import { tellProblem } from "../parts/notices.mjs";

const ROUND = ["brush", "eraser", "similar"];
const HELP = [
  "Choose a class, paint it on the picture, and save. The eraser takes away.",
  "With fingers: one paints, two zoom and move. With a mouse: the wheel zooms, the right button moves the picture.",
  "Not looked at: areas that you have not judged. Nothing is learned from them.",
  "Leave other classes alone: paints only where nothing is marked.",
];

export function correctPanel(screen) {
  const { correcting, classes, viewer, canvas } = screen;
  const { options } = correcting;

  const hint = h("p", { class: "hint", role: "status" });
  const tools = h("div", { class: "tools", role: "group", "aria-label": "Tools" }, TOOLS.map(({ id, label }) =>
    h("button", { type: "button", id: `tool-${id}`, "aria-pressed": "false", onclick: () => choose(id) }, icon(id), label)));
  const largest = Math.max(10, Math.round(Math.min(viewer.view.width, viewer.view.height) / 4));
  const size = slider("Size", { id: "size", min: 1, max: largest, value: options.radius, tell: (v) => `${2 * v} px`, change: (radius) => correcting.choose({ radius }) });
  const tolerance = slider("How similar", { id: "tolerance", min: 1, max: 100, value: options.tolerance, tell: (v) => `± ${v} grey values`, change: (v) => correcting.choose({ tolerance: v }) });
  const alone = checkbox("Leave other classes alone", { id: "alone", checked: options.alone, change: (on) => correcting.choose({ alone: on }) });
  const close = button("Close the outline", () => correcting.closeShape(), { id: "close-shape" });

  function choose(tool) {
    correcting.choose({ tool });
    tellTool();
  }
  function tellTool() {
    const chosen = TOOLS.find(({ id }) => id === options.tool);
    hint.textContent = chosen.hint;
    for (const { id } of TOOLS) tools.querySelector(`#tool-${id}`).ariaPressed = String(id === options.tool);
    size.hidden = !ROUND.includes(options.tool);
    tolerance.hidden = options.tool !== "similar";
    tellSteps();
  }

  const picker = h("fieldset", { class: "classes" }, h("legend", {}, "Paint as"),
    [...classes, { id: NOT_LOOKED_AT, name: "Not looked at", color: null }].map((c) => {
      const input = h("input", { type: "radio", name: "class", value: c.id, checked: c.id === options.value });
      input.addEventListener("change", () => correcting.choose({ value: c.id }));
      return h("label", { class: "class" }, input, swatch(c.color), h("span", { class: "name" }, c.name));
    }));

  const undo = h("button", { type: "button", id: "undo", "aria-label": "Undo", title: "Undo", onclick: () => correcting.undo() }, icon("undo"));
  const redo = h("button", { type: "button", id: "redo", "aria-label": "Redo", title: "Redo", onclick: () => correcting.redo() }, icon("redo"));
  const save = h("button", { type: "button", id: "save", class: "primary", onclick: run }, icon("check"), "Save");
  const cancel = button("Cancel", () => { location.hash = `#/case/${screen.found.id}`; }, { id: "cancel" });

  async function run() {
    save.disabled = true;
    try {
      await screen.save();
    } catch (error) {
      tellProblem(error);
    }
    save.disabled = false;
  }
  function tellSteps() {
    undo.disabled = !correcting.history.canUndo && !correcting.corners.length;
    redo.disabled = !correcting.history.canRedo;
    close.hidden = correcting.corners.length < 3;
    if (correcting.dirty) document.documentElement.dataset.unsaved = "yes";
    else delete document.documentElement.dataset.unsaved;
  }
  screen.tellSteps = tellSteps;
  tellTool();

  const resize = (by) => { if (!size.hidden) size.step(by); };
  const move = (dx, dy) => (event) => {
    if (document.activeElement !== canvas) return;
    const far = event.shiftKey ? 10 : 1;
    correcting.moveBy(far * dx, far * dy);
  };
  const style = viewStyle(screen);
  const keys = Object.fromEntries(TOOLS.map(({ id, key, label }) => [key, [label, () => choose(id)]]));
  classes.slice(0, 9).forEach((c, i) => {
    keys[i + 1] = [`Paint as ${c.name}`, () => picker.querySelectorAll("input")[i].click()];
  });
  Object.assign(keys, {
    o: style.keys.o, h: style.keys.h,
    "[": ["Smaller", () => resize(-1)], "]": ["Larger", () => resize(1)],
    "Ctrl+z": ["Undo", (event) => (event.shiftKey ? correcting.redo() : correcting.undo())],
    "Ctrl+y": ["Redo", () => correcting.redo()],
    "Ctrl+s": ["Save", run],
    Enter: ["Close the outline", () => correcting.corners.length > 2 && correcting.closeShape()],
    Escape: ["Drop the outline", () => correcting.dropShape()],
    ArrowLeft: ["Move the tool (on the picture; Shift: 10 pixels)", move(-1, 0)], ArrowRight: [null, move(1, 0)],
    ArrowUp: [null, move(0, -1)], ArrowDown: [null, move(0, 1)],
    " ": ["Use the tool there", () => document.activeElement === canvas && correcting.press()],
  });

  return {
    content: [tools, hint, close, picker, size, tolerance, alone, fold("How it is shown", style.element, false),
      h("div", { class: "verdict" }, h("div", { class: "choices four" }, undo, redo, cancel, save))],
    keys,
    help: HELP,
  };
}
