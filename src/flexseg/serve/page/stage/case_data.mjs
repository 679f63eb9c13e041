// Pictures and labels of a case, fetched as they are needed. Images are volumes of one slice here.
import * as api from "../server/api.mjs";
import { readLabelVolume, writeLabelVolume } from "../files/nifti.mjs";
import { readLabels, writeLabels } from "../files/png.mjs";
import { views } from "./slices.mjs";

const KEPT = 24; // pictures of slices

export class CaseData {
  #pictures = new Map();
  #labels = new Map();

  constructor(found) {
    this.id = found.id;
    this.kind = found.kind;
    this.shape = found.shape;
    this.window = null; // { low, high }, or null for the server's choice
  }

  get isVolume() {
    return this.kind === "volume";
  }

  // Another state of the same case: its labels are fetched again.
  forget() {
    this.#labels.clear();
  }

  // The picture of a slice, a promise of a bitmap.
  picture({ axis }, slice) {
    const where = this.isVolume ? { axis, slice } : {};
    const path = api.address(`cases/${this.id}/image.png`, { ...where, ...this.window });
    const found = this.#pictures.get(path) ?? api.picture(path);
    this.#pictures.delete(path);
    this.#pictures.set(path, found);
    found.catch(() => this.#pictures.delete(path));
    for (const old of [...this.#pictures.keys()].slice(0, -KEPT)) this.#pictures.delete(old);
    return found;
  }

  // Labels of a source ("current", "prediction", "correction", "reference") or of a model's
  // prediction: a promise of { shape: [nx, ny, nz], spacing, affine, data, views }.
  labels(source, model = null) {
    const key = `${source} ${model}`;
    if (!this.#labels.has(key)) {
      const found = this.isVolume ? this.#volume(source, model) : this.#image(source, model);
      found.catch(() => this.#labels.delete(key));
      this.#labels.set(key, found);
    }
    return this.#labels.get(key);
  }

  async #volume(source, model) {
    const volume = await readLabelVolume(await api.bytes(api.address(`cases/${this.id}/labels.nii.gz`, { source, model })));
    return { ...volume, views: views(volume) };
  }

  async #image(source, model) {
    const path = api.address(`cases/${this.id}/mask.png`, { source, model });
    const { width, height, data } = await readLabels(await api.bytes(path));
    return imageLabels(width, height, data);
  }

  // Empty labels, of a case that no model has seen.
  async emptyLabels() {
    if (this.isVolume) {
      const volume = await readLabelVolume(await api.bytes(`cases/${this.id}/volume.nii.gz`));
      volume.data.fill(0);
      return { ...volume, views: views(volume) };
    }
    const [height, width] = this.shape;
    return imageLabels(width, height, new Uint8Array(width * height));
  }

  // Labels as the server takes them: [Blob, file name].
  async file(labels, colors) {
    if (this.isVolume) return [new Blob([await writeLabelVolume(labels)]), "labels.nii.gz"];
    const [width, height] = labels.shape;
    return [new Blob([await writeLabels({ width, height, data: labels.data }, colors)]), "mask.png"];
  }
}

function imageLabels(width, height, data) {
  const view = { axis: 0, name: "", width, height, count: 1, spacing: [1, 1], matrix: [1, 0, 0, 1] };
  return { shape: [width, height, 1], spacing: [1, 1, 1], data, views: [view] };
}
