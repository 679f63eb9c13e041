// Tools as they are used: a press, moves and a release on a plane, in its pixels.
import { allowed, NOTHING, union } from "./plane.mjs";
import { paintStroke } from "./brush.mjs";
import { fill } from "./fill.mjs";
import { fillPolygon } from "./polygon.mjs";

export const TOOLS = [
  { id: "brush", label: "Brush", key: "b", hint: "Paint what is missing." },
  { id: "eraser", label: "Eraser", key: "e", hint: "Wipe away what is too much." },
  { id: "fill", label: "Fill", key: "f", hint: "Tap an area: all of it gets the class." },
  { id: "polygon", label: "Outline", key: "p", hint: "Draw around an object, or tap its corners and then the first one again." },
  { id: "similar", label: "Similar", key: "s", hint: "Paints only what is as bright as where you begin." },
];

// Strokes of brush, eraser and "similar". `options`: { tool, value, radius, alone, tolerance, scale, grey() }.
export class Stroke {
  touched = NOTHING;

  constructor(plane, at, options) {
    Object.assign(this, { plane, options, last: at });
    const { tool, value, alone } = options;
    this.value = tool === "eraser" ? 0 : value;
    const grey = tool === "similar" ? similarTo(plane, at, options) : null;
    this.may = allowed(plane.data, value, { alone, grey });
    this.move(at);
  }

  // Returns the rectangle that may have changed.
  move(at) {
    const { radius, scale } = this.options;
    const box = paintStroke(this.plane, this.last, at, radius, this.value, this.may, scale);
    this.last = at;
    this.touched = union(this.touched, box);
    return box;
  }
}

function similarTo({ width, height }, [x, y], { grey, tolerance }) {
  const values = grey();
  const [column, row] = [Math.min(width - 1, Math.max(0, Math.floor(x))), Math.min(height - 1, Math.max(0, Math.floor(y)))];
  return { values, value: values[row * width + column], tolerance };
}

export const fillAt = (plane, at, { value, alone }) => fill(plane, at, value, allowed(plane.data, value, { alone }));

export const fillShape = (plane, corners, { value, alone }) =>
  fillPolygon(plane, corners, value, allowed(plane.data, value, { alone }));
