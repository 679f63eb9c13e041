// One case: look at it, correct it, say whether it is right, go to the next one.
import * as api from "../server/api.mjs";
import { atMostEvery, watch } from "../server/changes.mjs";
import { CaseData } from "../stage/case_data.mjs";
import { Volume3d } from "../stage/volume3d.mjs";
import { Viewer } from "../stage/viewer.mjs";
import { $, h } from "../parts/elements.mjs";
import { confirmed } from "../parts/dialogs.mjs";
import { icon } from "../parts/icons.mjs";
import { setKeys } from "../parts/keys.mjs";
import { tell, tellProblem } from "../parts/notices.mjs";
import { flagChip, isBusy, isUnmarked, modelNames, reviewChip, stateText } from "../parts/wording.mjs";
import { Correcting } from "./correcting.mjs";
import { correctPanel } from "./correct_panel.mjs";
import { lookPanel } from "./look_panel.mjs";
import { sliceBar } from "./slice_bar.mjs";

export async function open(main, { id, mode, session }) {
  const [models, named] = await Promise.all([api.models(), api.classes()]);
  const screen = new CaseScreen(main, await api.one(id), { models, named, session });
  await screen.begin(mode);
  return screen;
}

class CaseScreen {
  constructor(main, found, { models, named, session }) {
    this.main = main;
    this.found = found;
    this.models = models;
    this.named = named;
    this.mayCorrect = session.role !== "look";
    this.mode = "look";
    this.correcting = null;
  }

  get classes() {
    return this.found.classes.length ? this.found.classes : this.named.filter((c) => c.id !== 0);
  }

  // Who has made the mask that is shown.
  get source() {
    if (this.found.has_correction) return "Correction";
    return `Model ${modelNames(this.models).get(this.found.model) ?? this.found.model}`;
  }

  async begin(mode) {
    const { found } = this;
    document.title = `${found.name} - flexseg`;
    $("place").replaceChildren(h("a", { href: "#/" }, icon("back"), "Cases"));
    this.data = new CaseData(found);
    this.canvas = h("canvas", { id: "canvas", tabIndex: 0, role: "img", "aria-label": `${found.name} with its classes` });
    this.panel = h("section", { class: "panel", "aria-label": "What to do" });
    this.slices = h("div", { class: "slices" });
    this.stageElement = h("section", { class: "stage", "aria-label": "Picture" }, this.canvas, this.slices);
    this.heading = h("h1", { tabIndex: -1 }, found.name);
    this.main.replaceChildren(h("div", { class: "case" }, this.stageElement,
      h("div", { class: "side" }, h("div", { class: "title" }, this.heading, this.chips = h("span", { class: "chips" })), this.panel)));
    this.viewer = new Viewer(this.canvas, this.data, new Map(this.classes.map((c) => [c.id, c.color])), {
      draw: () => (this.mode === "correct" ? this.correcting.tool() : null),
      hover: (at) => this.mode === "correct" && this.correcting.hover(at),
      tell: tellProblem,
      changed: () => this.sliceBar?.tell(),
    });
    if (this.data.isVolume) this.sliceBar = sliceBar(this);
    this.unwatch = watch((told) => (told.case ?? (told.job ? null : found.id)) === found.id && this.refreshSoon());
    this.refreshSoon = atMostEvery(0.5, () => this.refresh().catch(tellProblem));
    await this.load();
    if (mode === "correct" && this.canCorrect) this.startCorrecting();
    else this.showPanel();
  }

  get canCorrect() {
    return this.mayCorrect && !isBusy(this.found) && this.viewer.labels !== null;
  }

  // Fetches the labels that are shown; a case that no model has seen has empty ones.
  async load() {
    if (["queued", "reading"].includes(this.found.state) && !this.found.classes.length) return;
    const drawn = this.found.version !== null || this.found.has_correction;
    const labels = await (drawn ? this.data.labels("current") : this.data.emptyLabels());
    await this.viewer.open(labels, this.source);
    this.sliceBar?.build();
  }

  // After a change on the server.
  async refresh() {
    if (this.gone || this.mode === "correct") return;
    const before = this.found;
    try {
      this.found = await api.one(before.id);
    } catch (error) {
      if (error.status !== 404) throw error;
      tell("This case has been deleted.");
      location.hash = "#/";
      return;
    }
    if (JSON.stringify(this.found) === JSON.stringify(before)) return;
    const labelsChanged = ["state", "model", "version", "review", "reviewer"].some((key) => this.found[key] !== before[key]) || String(this.found.classes.map((c) => c.pixels)) !== String(before.classes.map((c) => c.pixels));
    if (labelsChanged && !isBusy(this.found)) {
      this.data.forget();
      this.viewer.colors = new Map(this.classes.map((c) => [c.id, c.color]));
      this.classes.forEach((c) => this.viewer.shown.add(c.id));
      await this.load();
    }
    this.showPanel();
  }

  showPanel() {
    const { found } = this;
    // Whoever may correct finds the verdict beside what changes it.
    const judged = this.mayCorrect && this.mode === "look" ? null : reviewChip(found.review);
    const chip = found.review ? judged : isBusy(found) ? null : flagChip(found.foreign ? "red" : found.flag);
    this.chips.replaceChildren(...[chip].filter(Boolean));
    const focused = document.activeElement?.id;
    const panel = this.mode === "correct" ? correctPanel(this) : lookPanel(this);
    this.panel.replaceChildren(...panel.content);
    this.main.firstChild.classList.toggle("correcting", this.mode === "correct");
    setKeys({ ...panel.keys, ...this.viewKeys() }, panel.help);
    if (focused) document.getElementById(focused)?.focus();
    document.documentElement.dataset.state = isBusy(found) ? stateText(found) : this.mode;
  }

  viewKeys() {
    const keys = {
      "+": ["Closer", () => this.viewer.stage.zoom(1.4)],
      "-": ["Farther", () => this.viewer.stage.zoom(1 / 1.4)],
      0: ["Whole picture", () => this.viewer.stage.fit()],
    };
    if (this.data.isVolume) {
      keys.PageUp = ["Next slice", () => this.viewer.step(1)];
      keys.PageDown = ["Slice before", () => this.viewer.step(-1)];
    }
    return keys;
  }

  // Back to the same case in another mode; false for any other address.
  async moveTo([kind, id, mode = "look"]) {
    if (kind !== "case" || id !== this.found.id) return false;
    if (mode === "correct" && this.mode !== "correct" && this.canCorrect) this.startCorrecting();
    if (mode !== "correct" && this.mode === "correct") {
      if (await this.mayLeave()) await this.endCorrecting();
      else history.replaceState(null, "", `#/case/${id}/correct`);
    }
    return true;
  }

  startCorrecting() {
    this.mode = "correct";
    this.began = performance.now();
    this.correcting = new Correcting(this.viewer, this.classes[0]?.id ?? 1, () => this.tellSteps?.());
    this.volume?.pen(this.correcting.options);
    this.showPanel();
    this.canvas.focus({ preventScroll: true });
  }

  async endCorrecting() {
    await this.showSlices();
    this.mode = "look";
    this.correcting.dropShape();
    this.correcting.hover(null);
    this.correcting = null;
    delete document.documentElement.dataset.unsaved;
    this.data.forget();
    this.found = await api.one(this.found.id);
    await this.load();
    this.showPanel();
  }

  async save() {
    const [file, name] = await this.data.file(this.viewer.labels, this.viewer.colors);
    const seconds = (performance.now() - this.began) / 1000;
    this.found = await api.correct(this.found.id, file, name, seconds);
    this.saved = true;
    location.hash = `#/case/${this.found.id}`;
  }

  // All directions and a rendering at once, in a canvas of its own; NiiVue keeps its first one.
  async showVolume() {
    if (this.volume || this.opening) return;
    this.opening = true;
    const { viewer, found, data } = this;
    const canvas = h("canvas", { id: "volume", tabIndex: 0, role: "img", "aria-label": `${found.name} in three dimensions` });
    const stage = h("div", { class: "volume" }, canvas);
    this.canvas.hidden = true;
    this.canvas.before(stage);
    const { low, high } = data.window ?? { low: found.window[0], high: found.window[1] };
    try {
      this.volume = await Volume3d.open(canvas, data, viewer.labels, {
        colors: viewer.colors, shown: viewer.shown, opacity: viewer.stage.style.opacity, window: [low, high],
        changed: (before) => this.correcting.changedVolume(before),
      });
      this.volume.stage = stage;
      this.volume.pen(this.correcting?.options);
      viewer.other = this.volume;
    } catch (error) {
      stage.remove();
      this.canvas.hidden = false;
      tellProblem(error);
    }
    this.opening = false;
    this.sliceBar.tell();
    document.documentElement.dataset.volume = this.volume ? "yes" : "no";
  }

  async showSlices() {
    if (!this.volume) return;
    this.volume.close();
    this.volume.stage.remove();
    this.volume = this.viewer.other = null;
    this.canvas.hidden = false;
    delete document.documentElement.dataset.volume;
    await this.viewer.refresh();
  }

  async judge(verdict) {
    this.found = await api.review(this.found.id, verdict);
    this.showPanel();
    this.panel.querySelector("#next, #accept")?.focus();
  }

  async goNext() {
    const following = await api.next();
    if (following && following.id !== this.found.id) location.hash = `#/case/${following.id}${this.mayCorrect && isUnmarked(following) ? "/correct" : ""}`;
    else {
      tell("That was the last one. All cases have been looked at.");
      location.hash = "#/";
    }
  }

  // Whether what has been drawn is saved, or may be thrown away.
  async mayLeave() {
    if (this.mode !== "correct" || this.saved || !this.correcting.dirty) {
      this.saved = false;
      return true;
    }
    return confirmed("Throw away what you have drawn?", "It has not been saved.", "Throw away", "Go on drawing");
  }

  leave() {
    this.gone = true;
    this.unwatch();
    this.volume?.close();
    for (const mark of ["state", "unsaved", "volume"]) delete document.documentElement.dataset[mark];
  }
}

addEventListener("beforeunload", (event) => {
  if (document.documentElement.dataset.unsaved) event.preventDefault();
});
