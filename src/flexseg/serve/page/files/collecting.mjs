// What people drop or choose, as uploads: [{ name, blob }]. DICOM files that lie in one folder are one
// series, which travels as one archive; everything else is sent as it is.
import { zip } from "./zip.mjs";

const SLICE = /(\.dcm|\.dicom|\.ima|^[^.]+)$/i;
const IGNORED = /^\.|^(thumbs\.db|dicomdir|desktop\.ini)$/i;

// Files of a drop, with those in folders: [{ folder, file }].
export async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  const found = [];
  for (const entry of entries) await walk(entry, "", found);
  return found;
}

async function walk(entry, folder, found) {
  if (entry.isFile) {
    found.push({ folder, file: await new Promise((resolve, reject) => entry.file(resolve, reject)) });
    return;
  }
  const reader = entry.createReader();
  // A call gives some of the entries; none are left when it gives none.
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) return;
    for (const one of some) await walk(one, `${folder}${entry.name}/`, found);
  }
}

export const chosen = (files) => [...files].map((file) =>
  ({ folder: file.webkitRelativePath.split("/").slice(0, -1).map((part) => `${part}/`).join(""), file }));

export async function uploads(found) {
  const alone = [];
  const series = new Map();
  for (const { folder, file } of found) {
    if (IGNORED.test(file.name)) continue;
    if (!SLICE.test(file.name)) alone.push({ name: file.name, blob: file });
    else if (!series.has(folder)) series.set(folder, [file]);
    else series.get(folder).push(file);
  }
  for (const [folder, files] of series) {
    if (files.length === 1) {
      alone.push({ name: files[0].name, blob: files[0] });
      continue;
    }
    const name = folder.split("/").at(-2) || "series";
    alone.push({ name: `${name}.zip`, blob: await zip(files.map((file) => ({ name: file.name, blob: file }))) });
  }
  return alone;
}
