"""Models and files to upload for the browser tests of the server: `python make_serve.py FOLDER`.

`picture_<n>.png` are grey images with a bright and a dark ellipse, `volume.nii.gz` and
`volume_1.nii.gz` have such objects in three dimensions, and `reference.png` is the mask of
`picture_0.png`. `slices/run` is a network that can learn, trained for a moment on slices.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import SimpleITK as sitk
from PIL import Image

from flexseg.cli import main as cli
from flexseg.dataset.labels import make_classes
from flexseg.derive.volumes import VolumeOptions, derive_volumes
from flexseg.outputs import make_folder
from served import BRIGHT, CLASSES, DARK, picture, write_model

# As many validate as are needed to compare versions by them.
PARTS = {"train": range(3), "valid": range(3, 11), "test": range(11, 12)}
CONFIG = """
[model]
image_width = 32
image_height = 32
image_channels = 1
num_classes = 3
num_layers = 3
base_filters = 8
learning_rate = 0.01
[dataset]
images_dir = "cut/images"
masks_dir = "cut/masks"
split_file = "split.json"
group = '^(.*)_\\d+$'
[train]
run_dir = "run"
epochs = 2
batch_size = 8
precision = "float32"
[volume]
axis = "axial"
intensity = "percentile"
images_dir = "images"
masks_dir = "labels"
"""


def volume(shape: tuple[int, int, int] = (12, 96, 96), seed: int = 0) -> np.ndarray:
    """Grey voxels [z, y, x] with a bright and a dark ellipsoid."""
    rng = np.random.default_rng(seed)
    z, y, x = np.mgrid[: shape[0], : shape[1], : shape[2]]
    voxels = np.full(shape, 115.0)
    voxels[((z - 6) / 4) ** 2 + ((y - 35) / 18) ** 2 + ((x - 40) / 22) ** 2 < 1] = 220
    voxels[((z - 6) / 3) ** 2 + ((y - 68) / 12) ** 2 + ((x - 62) / 14) ** 2 < 1] = 25
    return np.clip(voxels + rng.normal(0, 6, shape), 0, 255).astype(np.uint8)


def main(folder: Path) -> None:
    """Write everything to an empty folder."""
    make_folder(folder)
    for name, steepness in (("brightness", 0.2), ("softness", 0.05)):
        if not (folder / name / "model.onnx").exists():
            write_model(folder / name, steepness)
    for seed in range(3):
        Image.fromarray(picture(seed)).save(folder / f"picture_{seed}.png")
    pixels = picture(0)
    mask = np.where(pixels > BRIGHT, 1, np.where(pixels < DARK, 2, 0)).astype(np.uint8)
    Image.fromarray(np.roll(mask, 6, axis=1)).save(folder / "reference.png")
    write(folder / "volume.nii.gz", volume())
    write(folder / "volume_1.nii.gz", volume(seed=1))
    if not (folder / "slices" / "run" / "run.json").exists():
        train(folder / "slices")


def write(path: Path, voxels: np.ndarray) -> None:
    """A volume of voxels that are no cubes."""
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing((0.8, 0.8, 4.0))
    sitk.WriteImage(image, make_folder(path.parent) / path.name)


def train(folder: Path) -> None:
    """A network of slices of volumes as `volume`, whose objects lie elsewhere in each."""
    for seed in range(12):
        voxels = np.roll(volume(seed=seed), (7 * seed % 20, 5 * seed % 20), axis=(1, 2))
        labels = np.where(voxels > BRIGHT, 1, np.where(voxels < DARK, 2, 0)).astype(np.uint8)
        write(folder / "images" / f"v{seed:02d}.nii.gz", voxels)
        write(folder / "labels" / f"v{seed:02d}.nii.gz", labels)
    parts = {part: [f"v{seed:02d}" for seed in seeds] for part, seeds in PARTS.items()}
    classes = make_classes([(str(c["name"]), (c["id"],)) for c in CLASSES])
    options = VolumeOptions(labels=classes)
    cut = [name for part, own in parts.items() if part != "test" for name in own]
    derive_volumes(folder / "images", folder / "labels", folder / "cut", options, only=cut)
    (folder / "split.json").write_text(json.dumps(parts), encoding="utf-8")
    tables = (
        f"[[mask.classes]]\nid = {c.id}\nname = '{c.name}'\ncolor = {[*c.colors[0]]}\n"
        f"values = [{c.id}]\n"
        for c in classes[1:]
    )
    (folder / "slices.toml").write_text(CONFIG + "".join(tables), encoding="utf-8")
    if cli(["train", str(folder / "slices.toml")]):
        raise SystemExit("The network of slices cannot be trained.")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
