// A volume in NiiVue: all three directions and a rendering at once, and its pen.
import * as api from "../server/api.mjs";
import { NOT_LOOKED_AT } from "../drawing/plane.mjs";
import { labelVolume } from "../files/nifti.mjs";
import { fromRas } from "./slices.mjs";

let loading;

// The library; it is large, so it comes only when it is needed.
function niivue() {
  loading ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = "niivue.umd.js";
    script.addEventListener("load", () => resolve(globalThis.niivue));
    script.addEventListener("error", () => {
      script.remove();
      loading = undefined;
      reject(Object.assign(new Error("Three dimensions need NiiVue, which this installation of flexseg lacks."),
        { fix: "Whoever runs the server can add it: python tools/browser_libraries.py" }));
    });
    document.head.append(script);
  });
  return loading;
}

const copy = (bytes) => bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);

export class Volume3d {
  // `labels` as CaseData gives them; `changed(before)` after the pen has changed their data.
  static async open(canvas, data, labels, { colors, shown, opacity, window, changed }) {
    const library = await niivue();
    const self = new Volume3d();
    Object.assign(self, { labels, colors, shown, changed, library });
    const nv = new library.Niivue({
      backColor: [0, 0, 0, 1], fontColor: [0.5, 1, 0.25, 1], crosshairColor: [0.5, 1, 0.25, 0.6],
      isRadiologicalConvention: true, sagittalNoseLeft: true, isColorbar: false, isOrientCube: false, show3Dcrosshair: true,
      multiplanarShowRender: library.SHOW_RENDER.ALWAYS, multiplanarPadPixels: 8, tileMargin: 4,
      dragAndDropEnabled: false, loadingText: "", logLevel: "error", textHeight: labels.placed ? 0.05 : 0,
    });
    self.nv = nv;
    await nv.attachToCanvas(canvas);
    const bytes = await api.bytes(`cases/${data.id}/volume.nii.gz`);
    nv.addVolume(await library.NVImage.new(copy(bytes), "image.nii.gz", "gray", 1, null, ...window));
    nv.setSliceType(library.SLICE_TYPE.MULTIPLANAR);
    nv.setCrosshairWidth(Math.max(...labels.shape) / 300); // voxels
    nv.opts.isNearestInterpolation = true;
    await self.reload();
    self.style(opacity);
    canvas.addEventListener("pointerup", () => setTimeout(() => self.#compare()));
    return self;
  }

  // Draws the labels again, after they have changed elsewhere.
  async reload() {
    const volume = await this.library.NVImage.new(copy(labelVolume(this.labels)), "labels.nii");
    this.nv.loadDrawing(volume);
    const { data } = this.labels;
    if (this.#drawn().some((c, i) => c !== data[i])) {
      throw new Error("This volume lies in a way that can only be shown slice by slice.");
    }
  }

  // NiiVue's drawing in the order of the labels' voxels. (What NiiVue 0.54 itself saves is turned
  // where voxels do not lie in the order right, anterior, superior.)
  #drawn() {
    return fromRas(this.nv.drawBitmap, this.labels.shape, this.nv.volumes[0].permRAS);
  }

  style(opacity) {
    const table = { R: [0], G: [0], B: [0], A: [0], I: [0], labels: [""] };
    const grey = [[NOT_LOOKED_AT, [150, 150, 150]]];
    for (const [id, color] of [...this.colors, ...grey]) {
      ["R", "G", "B"].forEach((channel, i) => table[channel].push(color[i]));
      table.A.push(this.shown.has(id) ? 255 : 0);
      table.I.push(id);
      table.labels.push(String(id));
    }
    this.nv.setDrawColormap(table);
    this.nv.setDrawOpacity(opacity);
  }

  // The pen of a tool: brush, eraser and outline; null puts it away.
  pen(options) {
    const { nv } = this;
    const draws = options && ["brush", "eraser", "polygon"].includes(options.tool);
    this.drawing = Boolean(draws);
    nv.setDrawingEnabled(this.drawing);
    if (!draws) return;
    nv.opts.penSize = Math.max(1, 2 * options.radius);
    nv.setPenValue(options.tool === "eraser" ? 0 : options.value, options.tool === "polygon");
  }

  // Takes what the pen has drawn over into the labels.
  #compare() {
    if (!this.drawing) return;
    const drawn = this.#drawn();
    const before = this.labels.data.slice();
    if (drawn.every((c, i) => c === before[i])) return;
    this.labels.data.set(drawn);
    this.changed(before);
  }

  close() {
    this.nv.cleanup?.();
    this.nv.gl.getExtension("WEBGL_lose_context")?.loseContext();
  }
}
