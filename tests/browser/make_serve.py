"""Two models and files to upload for the browser tests of the server: `python make_serve.py FOLDER`.

`picture_<n>.png` are grey images with a bright and a dark ellipse, `volume.nii.gz` has such
objects in three dimensions, and `reference.png` is the mask of `picture_0.png`.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import SimpleITK as sitk
from PIL import Image

from flexseg.outputs import make_folder
from served import BRIGHT, DARK, picture, write_model


def volume(shape: tuple[int, int, int] = (12, 96, 96)) -> np.ndarray:
    """Grey voxels [z, y, x] with a bright and a dark ellipsoid."""
    rng = np.random.default_rng(0)
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
    image = sitk.GetImageFromArray(volume())
    image.SetSpacing((0.8, 0.8, 4.0))
    sitk.WriteImage(image, folder / "volume.nii.gz")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
