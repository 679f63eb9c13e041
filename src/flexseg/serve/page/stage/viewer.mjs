// A case on the stage: which slice, what is beside it, and the labels that are drawn over it.
import { NOT_LOOKED_AT } from "../drawing/plane.mjs";
import { Layer } from "./layer.mjs";
import { Stage } from "./stage.mjs";
import { fullest, putSlice, takeSlice } from "./slices.mjs";

export class Viewer {
  labels = null; // as CaseData gives them
  source = ""; // who has made them
  view = null; // one of labels.views
  slice = 0;
  plane = null; // the slice as it is shown
  layer = null;
  other = null; // another view of the same labels, with `style(opacity)`
  beside = null; // { title, labels: () => promise or null } or null
  #turn = 0;

  // `colors`: Map from class to color; `tell(error)` for what cannot be loaded; `changed()` whenever
  // another slice is shown.
  constructor(canvas, data, colors, { draw, hover, tell, changed }) {
    this.data = data;
    this.colors = colors;
    this.shown = new Set([...colors.keys(), NOT_LOOKED_AT]);
    this.tell = tell;
    this.changed = changed;
    const scroll = data.isVolume ? (direction) => this.step(direction) : null;
    this.stage = new Stage(canvas, { draw, hover, scroll });
  }

  // Shows other labels of the case; view and slice stay if they can.
  async open(labels, source) {
    this.labels = labels;
    this.source = source;
    const same = this.view && labels.views.find(({ axis }) => axis === this.view.axis);
    this.view = same ?? labels.views[0];
    if (!same) this.slice = fullest(labels, this.view);
    await this.refresh();
  }

  setView(view) {
    this.view = view;
    this.slice = fullest(this.labels, view);
    return this.refresh();
  }

  go(axis, slice) {
    this.view = this.labels.views.find((view) => view.axis === axis);
    this.slice = slice;
    return this.refresh();
  }

  step(by) {
    const slice = Math.min(this.view.count - 1, Math.max(0, this.slice + by));
    if (slice !== this.slice) this.go(this.view.axis, slice);
  }

  // Draws all again; of several calls the last one wins.
  async refresh() {
    if (!this.labels) return;
    const turn = ++this.#turn;
    const { view, slice } = this;
    this.plane = takeSlice(this.labels, view, slice);
    this.layer = new Layer(this.plane, this.colors, this.shown);
    this.changed();
    try {
      const [picture, other] = await Promise.all([this.data.picture(view, slice), this.beside?.labels()]);
      if (turn !== this.#turn) return;
      this.bitmap = picture;
      this.#show(picture, other);
    } catch (error) {
      if (turn === this.#turn) this.tell(error);
    }
    // The neighbours are the likeliest to be looked at next.
    for (const next of [slice + 1, slice - 1]) {
      if (next >= 0 && next < view.count) this.data.picture(view, next).catch(() => {});
    }
  }

  #show(picture, other) {
    const { width, height, matrix: turn } = this.view;
    const pane = { picture, turn, width, height };
    const panes = [{ ...pane, layer: this.layer, title: this.beside ? this.source : "" }];
    if (this.beside) {
      const layer = other ? new Layer(takeSlice(other, this.view, this.slice), this.colors, this.shown) : null;
      panes.push({ ...pane, layer, title: this.beside.title });
    }
    this.stage.show(panes);
  }

  setBeside(beside) {
    this.beside = beside;
    return this.refresh();
  }

  setStyle(style) {
    Object.assign(this.stage.style, style);
    this.other?.style(this.stage.style.opacity);
    this.stage.redraw();
  }

  setShown(id, visible) {
    if (visible) this.shown.add(id);
    else this.shown.delete(id);
    for (const { layer } of this.stage.panes) layer?.recolor(this.colors, this.shown);
    this.other?.style(this.stage.style.opacity);
    this.stage.redraw();
  }

  setWindow(window) {
    this.data.window = window;
    return this.refresh();
  }

  // After a change of the plane within a rectangle.
  drawn(box) {
    this.layer.update(box);
    this.stage.redraw();
  }

  // Puts the plane into the labels.
  keep() {
    putSlice(this.labels, this.view, this.slice, this.plane);
  }

  // Brightness of the slice's pixels, 0 to 255, as they are shown.
  grey() {
    const { width, height } = this.view;
    const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
    context.drawImage(this.bitmap, 0, 0);
    const { data } = context.getImageData(0, 0, width, height);
    const values = new Uint8Array(width * height);
    for (let i = 0, at = 0; i < values.length; i++, at += 4) values[i] = (data[at] * 77 + data[at + 1] * 151 + data[at + 2] * 28) >> 8;
    return values;
  }
}
