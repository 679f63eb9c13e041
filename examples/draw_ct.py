"""Draw CT volumes of an abdomen in Hounsfield units: python examples/draw_ct.py FOLDER

Nobody was scanned: a body of fat and muscle with a spine, a liver (label 1), a spleen (label 2) and
noise, each a little different. The patient's left is at the right of a slice, where the spleen is.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import SimpleITK as sitk

SHAPE = (20, 80, 96)  # slices from the feet to the head, rows from front to back, columns
SPACING = (4.0, 4.0, 6.0)  # mm, columns first
AIR, FAT, MUSCLE, BONE, LIVER, SPLEEN = -1000, -100, 50, 600, 95, 125


def ellipsoid(center: tuple[float, ...], radii: tuple[float, ...]) -> np.ndarray:
    """True inside; center and radii as shares of SHAPE."""
    axes = np.ogrid[tuple(slice(0, n) for n in SHAPE)]
    parts = zip(axes, center, radii, SHAPE, strict=True)
    return sum(((axis / n - c) / r) ** 2 for axis, c, r, n in parts) < 1


def draw(rng: np.random.Generator) -> tuple[sitk.Image, sitk.Image]:
    """A volume, and its labels."""

    def vary(*values: float) -> tuple[float, ...]:
        return tuple(v * rng.uniform(0.92, 1.08) for v in values)

    volume = np.full(SHAPE, AIR, np.float32)
    labels = np.zeros(SHAPE, np.uint8)
    volume[ellipsoid((0.5, 0.5, 0.5), (9, 0.45, 0.46))] = FAT
    volume[ellipsoid((0.5, 0.5, 0.5), (9, *vary(0.38, 0.4)))] = MUSCLE
    volume[ellipsoid((0.5, 0.75, 0.5), (9, 0.08, 0.06))] = BONE
    labels[ellipsoid((0.6, *vary(0.42, 0.3)), vary(0.35, 0.24, 0.18))] = 1
    labels[ellipsoid((0.65, *vary(0.55, 0.76)), vary(0.22, 0.13, 0.08))] = 2
    volume[labels == 1], volume[labels == 2] = LIVER, SPLEEN
    volume += rng.normal(0, 12, SHAPE)
    images = sitk.GetImageFromArray(volume.astype(np.int16)), sitk.GetImageFromArray(labels)
    for image in images:
        image.SetSpacing(SPACING)
    return images


def main(folder: Path, count: int = 10) -> None:
    """Write `imagesTr/` and `labelsTr/`, and two volumes without labels in `imagesTs/`."""
    rng = np.random.default_rng(7)
    for kind in ("imagesTr", "labelsTr", "imagesTs"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for number in range(1, count + 3):
        volume, labels = draw(rng)
        part = "Tr" if number <= count else "Ts"
        sitk.WriteImage(volume, str(folder / f"images{part}" / f"ct_{number:02d}.nii.gz"))
        if part == "Tr":
            sitk.WriteImage(labels, str(folder / "labelsTr" / f"ct_{number:02d}.nii.gz"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
