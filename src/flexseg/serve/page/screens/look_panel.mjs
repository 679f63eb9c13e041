// Beside a case that is looked at: its classes, how it is shown, the verdict.
import * as api from "../server/api.mjs";
import { button, checkbox, h, slider, swatch } from "../parts/elements.mjs";
import { confirmed } from "../parts/dialogs.mjs";
import { icon } from "../parts/icons.mjs";
import { tell, tellProblem } from "../parts/notices.mjs";
import { amount, isBusy, isUnmarked, modelNames, number, reviewChip, stateText } from "../parts/wording.mjs";

const IMAGE_FORMATS = ["png", "npy"];
const VOLUME_FORMATS = ["nii.gz", "mha", "nrrd", "npy"];

export function lookPanel(screen) {
  const { found } = screen;
  if (isBusy(found)) return busy(screen);
  if (screen.viewer.labels === null) return failed(screen);
  const classes = classList(screen);
  const style = viewStyle(screen);
  const { verdict, keys } = verdicts(screen);
  return {
    content: [
      found.state === "failed" ? h("p", { class: "problem" }, `${found.error?.error || "The prediction failed."} ${found.error?.fix || ""}`) : null,
      found.foreign ? h("p", { class: "warning" }, h("strong", {}, "Unlike what the model has learned from. "), (found.why_foreign || []).join("; ")) : null,
      classes, fold("How it is shown", style.element, true), fold("Download, other models, delete", more(screen), false), verdict,
    ].filter(Boolean),
    keys: { ...keys, ...style.keys },
    help: isUnmarked(found) ? ["Nothing is marked here yet. Press Mark it, and paint."] : HELP,
  };
}

const HELP = [
  "Is everything marked that should be, and nothing else? Accept it.",
  "If not, press Correct and paint what is wrong. What the model had marked is kept.",
  "Reject what cannot be corrected, such as a blurred picture. Nothing is learned from it.",
  "Dice about 0.79: how well the mask is expected to agree with yours; 1 is perfect.",
];

// Open folds stay open from case to case.
const folds = new Map();
export function fold(title, content, open) {
  const large = matchMedia("(min-width: 50rem)").matches;
  const element = h("details", { open: folds.get(title) ?? (open && large) }, h("summary", {}, title), content);
  element.addEventListener("toggle", () => folds.set(title, element.open));
  return element;
}

function busy(screen) {
  const { found } = screen;
  return {
    content: [
      h("p", { role: "status" }, stateText(found)),
      h("progress", { max: 1, value: found.progress || undefined, "aria-label": stateText(found) }),
      screen.mayCorrect ? button("Cancel", () => api.cancel(found.id).then(() => screen.refresh(), tellProblem)) : null,
    ].filter(Boolean),
    keys: {},
  };
}

function failed(screen) {
  const { found } = screen;
  return {
    content: [
      h("p", { class: "problem" }, found.error ? `${found.error.error} ${found.error.fix || ""}` : "There is no mask."),
      more(screen),
    ],
    keys: {},
  };
}

// The estimated Dice in words; null where nothing is known, or the class was not found. Of few
// validation cases it has no range.
function estimate(quality) {
  if (!quality || quality.dice === null) return null;
  const [dice, low, high] = [quality.dice, quality.low, quality.high].map((v) => v?.toFixed(2));
  return low && high ? `Dice about ${dice} (${low} to ${high})` : `Dice about ${dice}`;
}

function classList({ viewer, found, classes }) {
  if (!classes.length) return h("p", { class: "note" }, "No classes.");
  return h("fieldset", { class: "classes" }, h("legend", {}, "Classes"), classes.map((c) => {
    const input = h("input", { type: "checkbox", checked: viewer.shown.has(c.id) });
    input.addEventListener("change", () => viewer.setShown(c.id, input.checked));
    const told = found.review === "corrected" ? null : estimate(c.quality);
    const quality = told
      ? h("span", { class: "quality", title: "Estimated Dice, and the range it is expected in" },
        h("span", { class: `dot ${c.quality.flag}`, "aria-hidden": "true" }), told)
      : null;
    return h("label", { class: "class" }, input, swatch(c.color), h("span", { class: "name" }, c.name, quality), c.pixels === undefined ? null : h("span", { class: "amount" }, amount(c)));
  }));
}

export function viewStyle(screen) {
  const { viewer, found, data } = screen;
  const { style } = viewer.stage;
  const opacity = slider("Opacity", { id: "opacity", min: 0, max: 100, value: Math.round(100 * style.opacity), tell: (v) => `${v} %`, change: (v) => viewer.setStyle({ opacity: v / 100 }) });
  const outlines = checkbox("Outlines", { checked: style.outlines, change: (on) => viewer.setStyle({ outlines: on }) });
  const keys = {
    o: ["Outlines on and off", () => outlines.toggle()],
    h: ["Classes on and off", () => {
      const visible = viewer.shown.size > 0;
      [...viewer.colors.keys()].forEach((id) => viewer.setShown(id, !visible));
      if (visible) viewer.shown.clear();
      document.querySelectorAll(".class input").forEach((input) => { input.checked = !visible; });
    }],
  };
  const content = [opacity, outlines, besideChoice(screen)];
  if (found.range && found.range[0] < found.range[1]) {
    const [low, high] = found.range;
    const chosen = () => (data.window ? [data.window.low, data.window.high] : found.window);
    const step = found.dtype?.includes("float") || high - low < 4 ? (high - low) / 500 : 1;
    const change = () => viewer.setWindow({ low: level() - width() / 2, high: level() + width() / 2 });
    const start = chosen();
    const levelSlider = slider("Level", { id: "level", min: low, max: high, step, value: (start[0] + start[1]) / 2, tell: number, change });
    const widthSlider = slider("Width", { id: "width", min: step, max: high - low, step, value: start[1] - start[0], tell: number, change });
    const level = () => Number(levelSlider.querySelector("input").value);
    const width = () => Number(widthSlider.querySelector("input").value);
    const reset = () => {
      levelSlider.set((found.window[0] + found.window[1]) / 2);
      widthSlider.set(found.window[1] - found.window[0]);
      viewer.setWindow(null);
      viewer.stage.fit();
    };
    const by = (high - low) / 50;
    Object.assign(keys, {
      "[": ["Level down", () => levelSlider.step(-by)], "]": ["Level up", () => levelSlider.step(by)],
      ",": ["Width down", () => widthSlider.step(-by)], ".": ["Width up", () => widthSlider.step(by)],
      r: ["Reset", reset],
    });
    content.push(h("fieldset", { class: "window" }, h("legend", {}, "Brightness and contrast"), levelSlider, widthSlider, button("Reset", reset)));
  }
  return { element: h("div", { class: "style" }, content), keys };
}

// What is shown beside the mask: the picture alone, the reference, what a model had predicted.
function besideChoice(screen) {
  const { viewer, found, data, models } = screen;
  const select = h("select", { id: "beside" }, h("option", { value: "" }, "Nothing"));
  const choices = new Map();
  const offer = (key, title, labels) => {
    choices.set(key, { key, title, labels });
    select.append(h("option", { value: key, selected: viewer.beside?.key === key }, title));
  };
  offer("picture", "Picture alone", () => null);
  if (found.has_reference) offer("reference", "Reference", () => data.labels("reference"));
  if (found.has_correction) offer("prediction", "Prediction", () => data.labels("prediction"));
  select.addEventListener("change", () => viewer.setBeside(choices.get(select.value) ?? null));
  api.predictions(found.id).then((predictions) => {
    const others = new Set(predictions.map((p) => p.model));
    others.delete(found.model);
    const names = modelNames(models);
    others.forEach((id) => offer(`model ${id}`, `Model ${names.get(id) ?? id}`, () => data.labels("prediction", id)));
  }, () => {});
  return h("div", { class: "choice" }, h("label", { for: "beside" }, "Compare with"), select);
}

function more(screen) {
  const { found, models, mayCorrect, data } = screen;
  const parts = [];
  if (screen.viewer.labels && !isUnmarked(found)) {
    const formats = !data.isVolume ? IMAGE_FORMATS : found.modality ? [...VOLUME_FORMATS, "dcm"] : VOLUME_FORMATS;
    parts.push(h("p", { class: "downloads" }, "Mask as ", formats.map((format) =>
      h("a", { href: api.exported(found.id, format, "current"), download: "" }, format === "dcm" ? "DICOM" : format.toUpperCase()))));
  }
  if (mayCorrect && models.length) {
    const again = (id) => api.predict(found.id, id).then(() => screen.refresh(), tellProblem);
    parts.push(h("div", { class: "choices" }, [...modelNames(models)].map(([id, name]) =>
      button(id === found.model ? `Predict again${models.length > 1 ? ` with ${name}` : ""}` : `Predict with ${name}`, () => again(id)))));
  }
  if (mayCorrect) {
    parts.push(button("Delete this case", async () => {
      if (!(await confirmed("Delete this case?", "Picture, mask and corrections are deleted from the server.", "Delete"))) return;
      await api.remove(found.id);
      tell("Deleted.");
      location.hash = "#/";
    }, { class: "danger" }));
  }
  return h("div", { class: "more-actions" }, parts);
}

function verdicts(screen) {
  const { found, mayCorrect } = screen;
  const correct = () => { location.hash = `#/case/${found.id}/correct`; };
  const judge = (verdict) => () => screen.judge(verdict).catch(tellProblem);
  const next = () => screen.goNext().catch(tellProblem);
  const keys = { n: ["Next case", next] };
  const nextButton = h("button", { type: "button", id: "next", class: "primary", onclick: next }, "Next case", icon("next"));
  if (!mayCorrect) return { verdict: h("div", { class: "verdict" }, nextButton), keys };
  Object.assign(keys, { a: ["Accept", judge("accepted")], c: ["Correct", correct], x: ["Reject", judge("rejected")] });
  if (found.review) {
    return {
      verdict: h("div", { class: "verdict" },
        h("p", { class: "done" }, reviewChip(found.review), button("Change", () => (found.review === "corrected" ? correct() : judge(null)()), { class: "quiet" })), nextButton),
      keys,
    };
  }
  const unmarked = isUnmarked(found);
  if (unmarked) {
    delete keys.a;
    keys.c[0] = "Mark it";
  }
  return {
    verdict: h("div", { class: "verdict" }, h("p", {}, h("strong", {}, unmarked ? "Nothing is marked yet." : "Is the mask right?")),
      h("div", { class: "choices verdicts" },
        h("button", { type: "button", id: "reject", onclick: judge("rejected") }, icon("cross"), "Reject"),
        h("button", { type: "button", id: "correct", class: unmarked ? "primary" : "", onclick: correct }, icon("pencil"), unmarked ? "Mark it" : "Correct"),
        unmarked ? null : h("button", { type: "button", id: "accept", class: "primary", onclick: judge("accepted") }, icon("check"), "Accept"))),
    keys,
  };
}
