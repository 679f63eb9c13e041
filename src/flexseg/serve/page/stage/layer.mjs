// A plane of labels as it is drawn over a picture: a canvas of its areas, and its outlines.
import { clip, NOT_LOOKED_AT } from "../drawing/plane.mjs";
import { outlines } from "../drawing/outlines.mjs";

const littleEndian = new Uint8Array(Uint32Array.of(1).buffer)[0] === 1;
const packed = ([r, g, b], a) => (littleEndian ? (a << 24) | (b << 16) | (g << 8) | r : (r << 24) | (g << 16) | (b << 8) | a) >>> 0;
const HATCH = 3; // pixels that the stripes of what nobody has looked at are wide

export class Layer {
  #paths = null;

  // `colors`: Map from class to [r, g, b]; `shown`: the Set of classes that are drawn.
  constructor(plane, colors, shown) {
    this.plane = plane;
    this.canvas = new OffscreenCanvas(plane.width, plane.height);
    this.context = this.canvas.getContext("2d");
    this.recolor(colors, shown);
  }

  recolor(colors, shown) {
    this.colors = colors;
    this.shown = shown;
    this.table = new Uint32Array(256);
    colors.forEach((color, id) => { if (shown.has(id)) this.table[id] = packed(color, 255); });
    this.hatch = shown.has(NOT_LOOKED_AT) ? packed([150, 150, 150], 255) : 0;
    this.update({ left: 0, top: 0, right: this.plane.width, bottom: this.plane.height });
  }

  // Draws a rectangle of the plane again.
  update(box) {
    const { data, width } = this.plane;
    const { left, top, right, bottom } = clip(box, this.plane);
    if (right <= left || bottom <= top) return;
    const image = new ImageData(right - left, bottom - top);
    const pixels = new Uint32Array(image.data.buffer);
    let at = 0;
    for (let y = top; y < bottom; y++) {
      for (let x = left; x < right; x++) {
        const c = data[y * width + x];
        pixels[at++] = c === NOT_LOOKED_AT && Math.floor((x + y) / HATCH) % 2 ? this.hatch : this.table[c];
      }
    }
    this.context.putImageData(image, left, top);
    this.#paths = null;
  }

  // [class, Path2D] of those that are shown, in pixels of the plane.
  get paths() {
    this.#paths ??= [...outlines(this.plane)].filter(([c]) => this.shown.has(c)).map(([c, lines]) => {
      const path = new Path2D();
      for (let k = 0; k < lines.length; k += 4) {
        path.moveTo(lines[k], lines[k + 1]);
        path.lineTo(lines[k + 2], lines[k + 3]);
      }
      return [c, path];
    });
    return this.#paths;
  }
}
