// Files that the page reads and writes, against Python's own readers.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, test } from "node:test";
import { crc32 } from "../../../src/flexseg/serve/page/files/crc32.mjs";
import { labelVolume, readLabelVolume, writeLabelVolume } from "../../../src/flexseg/serve/page/files/nifti.mjs";
import { readLabels, writeLabels } from "../../../src/flexseg/serve/page/files/png.mjs";
import { zip } from "../../../src/flexseg/serve/page/files/zip.mjs";

const folder = mkdtempSync(path.join(tmpdir(), "page-"));
after(() => rmSync(folder, { recursive: true }));
const at = (name) => path.join(folder, name);
const here = path.dirname(new URL(import.meta.url).pathname);
const own = path.resolve(here, "../../../.venv/bin/python");
const PYTHON = process.env.PYTHON || own;
const python = (code) => execFileSync(PYTHON, ["-c", code], { cwd: folder, encoding: "utf-8" });

const noise = (length, most) => Uint8Array.from({ length }, (_, i) => (Math.imul(i + 1, 2654435761) >>> 24) % most);

test("the checksum of the standard's example", () => {
  assert.equal(crc32(new TextEncoder().encode("123456789")), 0xcbf43926);
  assert.equal(crc32(new TextEncoder().encode("6789"), crc32(new TextEncoder().encode("12345"))), 0xcbf43926);
});

test("masks go through PNG unchanged, also through Pillow", async () => {
  const [width, height] = [37, 23];
  const data = noise(width * height, 256);
  const colors = new Map([[1, [200, 10, 20]], [255, [9, 8, 7]]]);
  const bytes = await writeLabels({ width, height, data }, colors);
  assert.deepEqual(await readLabels(bytes), { width, height, data });
  writeFileSync(at("ours.png"), bytes);
  python("from PIL import Image; m = Image.open('ours.png'); assert m.mode == 'P' and m.size == (37, 23); p = m.getpalette();"
    + "assert p[3:6] == [200, 10, 20] and p[765:768] == [9, 8, 7]; open('ours.raw', 'wb').write(m.tobytes())");
  assert.deepEqual(new Uint8Array(readFileSync(at("ours.raw"))), data);
});

test("masks of 1, 2, 4 and 8 bits, with every filter, as Pillow and OpenCV write them", async () => {
  python(`
import cv2, numpy as np
from PIL import Image
rng = np.random.default_rng(1)
smooth = (np.add.outer(np.arange(29), np.arange(43)) % 97).astype(np.uint8)
for most in (2, 4, 16, 256):
    mask = rng.integers(0, most, (29, 43), np.uint8) if most < 256 else smooth
    image = Image.fromarray(mask, "P")
    image.putpalette([v for i in range(most) for v in (i, 255 - i, 7)])
    image.save(f"theirs_{most}.png", bits={2: 1, 4: 2, 16: 4, 256: 8}[most])
    mask.tofile(f"theirs_{most}.raw")
for strategy in range(5):
    cv2.imwrite(f"filter_{strategy}.png", smooth, [cv2.IMWRITE_PNG_FILTER, (8, 16, 32, 64, 128)[strategy]])
smooth.tofile("smooth.raw")
`);
  for (const most of [2, 4, 16, 256]) {
    const { width, height, data } = await readLabels(readFileSync(at(`theirs_${most}.png`)));
    assert.deepEqual([width, height], [43, 29]);
    assert.deepEqual(data, new Uint8Array(readFileSync(at(`theirs_${most}.raw`))), `${most} classes`);
  }
  for (let k = 0; k < 5; k++) {
    const { data } = await readLabels(readFileSync(at(`filter_${k}.png`)));
    assert.deepEqual(data, new Uint8Array(readFileSync(at("smooth.raw"))), `filter ${k}`);
  }
  await assert.rejects(readLabels(new TextEncoder().encode("no picture at all")), /not a PNG/);
});

test("label volumes keep their geometry, and SimpleITK reads what we write", async () => {
  python(`
import numpy as np, SimpleITK as sitk
data = np.random.default_rng(2).integers(0, 4, (5, 7, 11), np.uint8)
c, s = np.cos(0.3), np.sin(0.3)
for kind in (sitk.sitkUInt8, sitk.sitkInt16):
    image = sitk.Cast(sitk.GetImageFromArray(data), kind)
    image.SetSpacing((0.7, 0.8, 2.5)); image.SetOrigin((1, -2, 3)); image.SetDirection((c, -s, 0, s, c, 0, 0, 0, 1))
    sitk.WriteImage(image, f"labels_{kind}.nii.gz")
data.tofile("labels.raw")
`);
  const raw = new Uint8Array(readFileSync(at("labels.raw")));
  for (const kind of [1, 2]) {
    const volume = await readLabelVolume(readFileSync(at(`labels_${kind}.nii.gz`)));
    assert.deepEqual(volume.shape, [11, 7, 5]);
    assert.deepEqual(volume.data, raw);
    assert.ok(volume.placed);
    volume.spacing.forEach((s, i) => assert.ok(Math.abs(s - [0.7, 0.8, 2.5][i]) < 1e-6));
    // LPS to RAS: the first two rows change their signs.
    const [c, s] = [Math.cos(0.3), Math.sin(0.3)];
    const wanted = [[-0.7 * c, 0.8 * s, 0, -1], [-0.7 * s, -0.8 * c, 0, 2], [0, 0, 2.5, 3]];
    volume.affine.flat().forEach((v, i) => assert.ok(Math.abs(v - wanted.flat()[i]) < 1e-5, `${i}: ${v}`));
    // The quaternions say the same as the rows.
    const header = volume.header.slice();
    new DataView(header.buffer).setInt16(254, 0, true);
    const turned = await readLabelVolume(labelVolume({ ...volume, header }));
    turned.affine.flat().forEach((v, i) => assert.ok(Math.abs(v - wanted.flat()[i]) < 1e-5, `${i}: ${v}`));
    volume.data[17] = 9;
    writeFileSync(at("changed.nii.gz"), await writeLabelVolume(volume));
    const found = JSON.parse(python(`
import json, numpy as np, SimpleITK as sitk
a, b = sitk.ReadImage("changed.nii.gz"), sitk.ReadImage("labels_1.nii.gz")
data = sitk.GetArrayFromImage(a)
print(json.dumps({"type": a.GetPixelIDTypeAsString(), "changed": int(data.flat[17]), "others": int((data != sitk.GetArrayFromImage(b)).sum()),
 "geometry": bool(np.allclose(a.GetSpacing() + a.GetOrigin() + a.GetDirection(), b.GetSpacing() + b.GetOrigin() + b.GetDirection(), atol=1e-5))}))`));
    assert.deepEqual(found, { type: "8-bit unsigned integer", changed: 9, others: 1, geometry: true });
  }
  await assert.rejects(readLabelVolume(new Uint8Array(400)), /not a NIfTI-1/);
});

test("archives open in Python, with names beyond ASCII", async () => {
  const files = [["a.dcm", [1, 2, 3]], ["ordner/Schädel.dcm", noise(5000, 256)]];
  const blob = await zip(files.map(([name, content]) => ({ name, blob: new Blob([Uint8Array.from(content)]) })));
  writeFileSync(at("series.zip"), new Uint8Array(await blob.arrayBuffer()));
  const told = python("import zipfile; z = zipfile.ZipFile('series.zip'); assert z.testzip() is None; print([(i.filename, i.file_size) for i in z.infolist()])");
  assert.equal(told.trim(), "[('a.dcm', 3), ('ordner/Schädel.dcm', 5000)]");
});
