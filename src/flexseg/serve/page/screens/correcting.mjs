// Drawing on the labels of a viewer: the chosen tool and class, and steps that can be taken back.
import { difference, doAgain, History, takeBack } from "../drawing/history.mjs";
import { isEmpty } from "../drawing/plane.mjs";
import { fillAt, fillShape, Stroke } from "../drawing/tools.mjs";

const NEAR = 14; // CSS pixels within which a tap closes a shape
const DRAGGED = 8; // CSS pixels after which a press draws a free shape

export class Correcting {
  options = { tool: "brush", value: 1, radius: 8, alone: false, tolerance: 20 };
  history = new History();
  corners = []; // of a shape that is being drawn
  #before = null;

  // `changed()` after every step.
  constructor(viewer, value, changed) {
    this.viewer = viewer;
    this.changed = changed;
    this.options.value = value;
    const { width, height } = viewer.view;
    this.options.radius = Math.max(1, Math.round(Math.min(width, height) / 24));
  }

  get dirty() {
    return this.history.canUndo;
  }

  choose(options) {
    Object.assign(this.options, options);
    if (options.tool) this.dropShape();
    this.viewer.other?.pen(this.options);
    this.hover(this.at);
  }

  get scale() {
    const smallest = Math.min(...this.viewer.labels.spacing);
    return this.viewer.view.spacing.map((s) => s / smallest);
  }

  // What the stage calls with places in pixels.
  tool() {
    const { tool } = this.options;
    if (tool === "polygon") return { down: (at) => this.#shapeDown(at), move: (at) => this.#shapeMove(at), up: () => this.#shapeUp(), cancel: () => this.dropShape() };
    if (tool === "fill") return { down: (at) => this.#step((plane) => fillAt(plane, at, this.options)), move() {}, up() {}, cancel: () => {} };
    return { down: (at) => this.#begin(at), move: (at) => this.#go(at), up: () => this.#end(), cancel: () => this.#drop() };
  }

  #step(draw) {
    const { plane } = this.viewer;
    const before = plane.data.slice();
    this.#finish(before, draw(plane));
  }

  #finish(before, box) {
    const { viewer } = this;
    if (isEmpty(box)) return;
    const { plane, view: { axis }, slice } = viewer;
    const whole = { left: Math.max(0, box.left), top: Math.max(0, box.top), right: Math.min(plane.width, box.right), bottom: Math.min(plane.height, box.bottom) };
    this.history.push({ axis, slice, runs: difference(before, plane.data, plane.width, whole) });
    viewer.keep();
    viewer.drawn(box);
    this.changed();
  }

  #begin(at) {
    this.#before = this.viewer.plane.data.slice();
    this.stroke = new Stroke(this.viewer.plane, at, { ...this.options, scale: this.scale, grey: () => this.viewer.grey() });
    this.viewer.drawn(this.stroke.touched);
  }

  #go(at) {
    if (this.stroke) this.viewer.drawn(this.stroke.move(at));
  }

  #end() {
    if (!this.stroke) return;
    this.#finish(this.#before, this.stroke.touched);
    this.stroke = null;
  }

  #drop() {
    if (!this.stroke) return;
    this.viewer.plane.data.set(this.#before);
    this.viewer.drawn(this.stroke.touched);
    this.stroke = null;
  }

  // Shapes: taps set corners, a drag draws freely; near its first corner a shape is closed.
  #near(a, b, far) {
    return Math.hypot(...a.map((v, i) => (v - b[i]) * this.scale[i])) * this.viewer.stage.scale < far;
  }

  #shapeDown(at) {
    this.free = false;
    this.pressed = at;
    if (this.corners.length > 2 && this.#near(at, this.corners[0], NEAR)) {
      this.closeShape();
      this.pressed = null;
    } else {
      this.#setShape([...this.corners, at]);
    }
  }

  #shapeMove(at) {
    if (!this.pressed) return;
    if (!this.free && this.#near(at, this.pressed, DRAGGED)) return;
    this.free = true;
    this.#setShape([...this.corners, at]);
  }

  #shapeUp() {
    if (this.free && this.pressed) this.closeShape();
    this.pressed = null;
  }

  #setShape(corners) {
    this.corners = corners;
    this.viewer.stage.shape = corners.length ? corners : null;
    this.viewer.stage.redraw();
    this.changed();
  }

  closeShape() {
    const corners = this.corners;
    this.#setShape([]);
    this.#step((plane) => fillShape(plane, corners, this.options));
  }

  dropShape() {
    this.pressed = null;
    this.#setShape([]);
  }

  // A change of the whole volume, as the view in three dimensions makes it: the labels before it.
  changedVolume(before) {
    const { data } = this.viewer.labels;
    const box = { left: 0, top: 0, right: data.length, bottom: 1 };
    this.history.push({ volume: true, runs: difference(before, data, data.length, box) });
    this.changed();
  }

  async undo() {
    if (this.corners.length) return this.#setShape(this.corners.slice(0, -1));
    await this.#apply(this.history.undo(), takeBack);
  }

  async redo() {
    await this.#apply(this.history.redo(), doAgain);
  }

  async #apply(step, how) {
    if (!step) return;
    const { viewer } = this;
    if (step.volume) {
      how(viewer.labels.data, step.runs);
      await viewer.refresh();
    } else {
      if (viewer.view.axis !== step.axis || viewer.slice !== step.slice) await viewer.go(step.axis, step.slice);
      how(viewer.plane.data, step.runs);
      viewer.keep();
      viewer.drawn({ left: 0, top: 0, right: viewer.plane.width, bottom: viewer.plane.height });
    }
    await viewer.other?.reload();
    this.changed();
  }

  // Shows where the tool is, at a place in pixels; null hides it.
  hover(at, keyboard = false) {
    this.at = at;
    const { tool, radius } = this.options;
    const round = ["brush", "eraser", "similar"].includes(tool);
    this.viewer.stage.cursor = at && (round || keyboard) ? { at, radius: round ? Math.max(radius, 0.5) : 0, scale: this.scale, keyboard } : null;
    this.viewer.stage.redraw();
  }

  // By keys: the place moves along the screen's axes, and the tool is pressed there.
  moveBy(dx, dy) {
    const { width, height, matrix: [a, b, c, d] } = this.viewer.view;
    const [x, y] = this.at ?? [width / 2, height / 2];
    // The inverse of a matrix that turns by right angles, without its scale.
    const across = Math.sign(a) * dx + Math.sign(b) * dy;
    const down = Math.sign(c) * dx + Math.sign(d) * dy;
    this.hover([Math.min(width, Math.max(0, x + across)), Math.min(height, Math.max(0, y + down))], true);
  }

  press() {
    const at = this.at ?? [this.viewer.view.width / 2, this.viewer.view.height / 2];
    const tool = this.tool();
    tool.down(at);
    tool.up(at);
    this.hover(at, true);
  }
}
