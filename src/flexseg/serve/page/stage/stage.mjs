// A canvas with one picture, or two side by side that move together.
import { listenTo } from "./gestures.mjs";
import { apply, extent, fitting, invert, matrix, moved, whole, zoomed } from "./viewport.mjs";
import { css } from "../parts/elements.mjs";

const GAP = 4; // CSS pixels between panes
const SHARP = 3; // from this many CSS pixels for one of the picture on, its pixels are shown as squares

export class Stage {
  // What is shown: [{ picture, turn, width, height, layer, title }], `picture` a bitmap or null until
  // it is there, `layer` a Layer or null.
  panes = [];
  style = { opacity: 0.35, outlines: true };
  cursor = null; // { at: [x, y] in pixels, radius, scale, color } in the first pane
  shape = null; // corners of a polygon that is being drawn, in pixels of the first pane
  #view = whole();
  #waiting = false;

  // `draw()` gives the tool, whose places are in pixels of the first pane, or null; `scroll(direction)`
  // changes the slice; `hover(place or null)`.
  constructor(canvas, { draw = () => null, scroll = null, hover = () => {} } = {}) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    new ResizeObserver(() => this.#resize()).observe(canvas);
    const inPixels = (tool) => tool && {
      down: (at, event) => tool.down(this.pixel(at), event),
      move: (at, event) => tool.move(this.pixel(at), event),
      up: (at) => tool.up(this.pixel(at)),
      cancel: () => tool.cancel(),
    };
    listenTo(canvas, {
      draw: () => inPixels(draw()),
      pan: (dx, dy) => this.#look((p, pane) => moved(this.#view, dx, dy, p, pane)),
      zoom: (factor, at) => this.zoom(factor, at),
      scroll: scroll && ((direction) => scroll(direction)),
      hover: (at) => hover(at && this.pixel(at)),
    });
  }

  // Shows other panes; the view stays if the first picture has the size of the one before.
  show(panes) {
    const [was, is] = [this.panes[0], panes[0]];
    if (!was || was.width !== is.width || was.height !== is.height || String(was.turn) !== String(is.turn)) this.#view = whole();
    this.panes = panes;
    this.redraw();
  }

  get #boxes() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const n = this.panes.length;
    if (n < 2) return [{ left: 0, top: 0, width, height }];
    // Side by side or one above the other: where the pictures become larger.
    const [wide, high] = extent(this.panes[0].turn, this.panes[0].width, this.panes[0].height);
    const beside = Math.min((width - GAP) / 2 / wide, height / high) >= Math.min(width / wide, (height - GAP) / 2 / high);
    const box = beside ? { width: (width - GAP) / 2, height } : { width, height: (height - GAP) / 2 };
    return [0, 1].map((i) => ({ left: beside ? i * (box.width + GAP) : 0, top: beside ? 0 : i * (box.height + GAP), ...box }));
  }

  // The place of the first pane's picture, in its pixels, below a place of the canvas in any pane.
  pixel([x, y]) {
    const boxes = this.#boxes;
    const box = boxes.find(({ left, top, width, height }) => x >= left && y >= top && x < left + width + GAP && y < top + height + GAP) ?? boxes[0];
    return apply(invert(matrix(this.#view, this.panes[0], box)), [x - box.left, y - box.top]);
  }

  // CSS pixels on the screen for a distance of one along a turned pixel.
  get scale() {
    return this.panes.length ? fitting(this.panes[0], this.#boxes[0]) * this.#view.zoom : 1;
  }

  zoom(factor, at = null) {
    const box = this.#boxes[0];
    const place = at ? [at[0] % (box.width + GAP), at[1] % (box.height + GAP)] : [box.width / 2, box.height / 2];
    this.#look((p, pane) => zoomed(this.#view, factor, place, p, pane));
  }

  fit() {
    this.#look(whole);
  }

  #look(change) {
    if (!this.panes.length) return;
    this.#view = change(this.panes[0], this.#boxes[0]);
    this.redraw();
  }

  #resize() {
    const { clientWidth, clientHeight } = this.canvas;
    [this.canvas.width, this.canvas.height] = [clientWidth, clientHeight].map((v) => Math.round(v * devicePixelRatio));
    this.#look((p, pane) => moved(this.#view, 0, 0, p, pane));
    this.#draw();
  }

  redraw() {
    if (this.#waiting) return;
    this.#waiting = true;
    requestAnimationFrame(() => { this.#waiting = false; this.#draw(); });
  }

  #draw() {
    const { context } = this;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    this.panes.forEach((pane, i) => this.#drawPane(pane, this.#boxes[i], i === 0));
  }

  #drawPane(pane, box, first) {
    const { context } = this;
    const to = matrix(this.#view, pane, box);
    context.save();
    context.scale(devicePixelRatio, devicePixelRatio);
    context.beginPath();
    context.rect(box.left, box.top, box.width, box.height);
    context.clip();
    context.translate(box.left, box.top);
    context.save();
    context.transform(...to);
    context.imageSmoothingEnabled = this.scale < SHARP;
    context.imageSmoothingQuality = "high";
    if (pane.picture) context.drawImage(pane.picture, 0, 0, pane.width, pane.height);
    context.imageSmoothingEnabled = false;
    context.globalAlpha = this.style.opacity;
    if (pane.layer) context.drawImage(pane.layer.canvas, 0, 0);
    context.restore();
    if (pane.layer && this.style.outlines) this.#drawOutlines(pane.layer, to);
    if (first && this.shape) this.#drawShape(to);
    if (first && this.cursor) this.#drawCursor(to);
    if (pane.title) this.#drawTitle(pane.title);
    context.restore();
  }

  #drawOutlines(layer, to) {
    const { context } = this;
    context.lineWidth = 2;
    context.lineCap = "square";
    for (const [c, path] of layer.paths) {
      const placed = new Path2D();
      placed.addPath(path, new DOMMatrix(to));
      context.strokeStyle = css(layer.colors.get(c) ?? [190, 190, 190]);
      context.stroke(placed);
    }
  }

  // A line that is seen on every ground.
  #line(width = 1.5, color = "#fff") {
    const { context } = this;
    context.strokeStyle = "#000";
    context.lineWidth = width + 2;
    context.stroke();
    context.strokeStyle = color;
    context.lineWidth = width;
    context.stroke();
  }

  #drawShape(to) {
    const { context } = this;
    const corners = this.shape.map((corner) => apply(to, corner));
    context.beginPath();
    corners.forEach(([x, y]) => context.lineTo(x, y));
    this.#line(2);
    context.beginPath();
    context.arc(...corners[0], 6, 0, 2 * Math.PI);
    this.#line();
  }

  #drawCursor(to) {
    const { context } = this;
    const { at, radius, scale, keyboard } = this.cursor;
    context.save();
    context.beginPath();
    context.transform(...to);
    if (radius) context.ellipse(...at, radius / scale[0], radius / scale[1], 0, 0, 2 * Math.PI);
    context.restore();
    this.#line();
    if (!radius || keyboard) {
      const [x, y] = apply(to, at);
      context.beginPath();
      for (const [dx, dy] of [[1, 0], [0, 1]]) {
        context.moveTo(x - 7 * dx, y - 7 * dy);
        context.lineTo(x + 7 * dx, y + 7 * dy);
      }
      this.#line(1);
    }
  }

  #drawTitle(title) {
    const { context } = this;
    context.font = "600 13px system-ui, sans-serif";
    const width = context.measureText(title).width + 16;
    context.fillStyle = "rgb(0 0 0 / 70%)";
    context.beginPath();
    context.roundRect(8, 8, width, 24, 6);
    context.fill();
    context.fillStyle = "#fff";
    context.fillText(title, 16, 25);
  }
}
