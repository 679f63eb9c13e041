"""Small volumes and DICOM series with known voxels and places."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations, product
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from flexseg.data.volume import Volume

ORDERS = [
    "".join(("LR", "PA", "SI")[axis][end] for axis, end in zip(axes, ends, strict=True))
    for axes in permutations(range(3))
    for ends in product((0, 1), repeat=3)
]
# Turned by 10, 6 and -17 degrees: no axis of the voxels is one of the patient.
OBLIQUE = tuple(sitk.Euler3DTransform((0, 0, 0), 0.17, 0.1, -0.3).GetMatrix())
# The slices of a gantry tilted by 15 degrees: z leans towards y.
TILTED = (1.0, 0.0, 0.0, 0.0, 1.0, np.sin(np.pi / 12), 0.0, 0.0, np.cos(np.pi / 12))
LEFT_HANDED = (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


def ramp(shape: tuple[int, ...] = (3, 4, 5), dtype: type = np.int16) -> NDArray:
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


def make(direction: tuple[float, ...] = OBLIQUE, shape: tuple[int, ...] = (3, 4, 5)) -> Volume:
    return Volume(ramp(shape), (0.5, 0.75, 3.0), (10.0, -20.0, 30.5), direction)


def write_series(
    folder: Path,
    array: NDArray,
    name: str = "CT",
    positions: Sequence[Sequence[float]] | None = None,
    **tags: str,
) -> list[Path]:
    """A DICOM series of the slices of `array` [z, y, x], with names against the order of slices.

    Parameters
    ----------
    positions : of the slices in mm; 1 mm apart by default.
    tags : further tags or others, such as t0020_0037="0\\1\\0\\0\\0\\-1".
    """
    folder.mkdir(parents=True, exist_ok=True)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    uid = "1.2.826.0.1." + "".join(str(ord(c)) for c in name)
    paths = []
    for i, pixels in enumerate(array):
        image = sitk.GetImageFromArray(pixels[None].astype(np.int16))
        place = (0, 0, i) if positions is None else positions[i]
        values = {
            "0008|0060": "CT", "0008|103e": name, "0020|000e": uid, "0020|000d": "1.2.3",
            "0008|0018": f"{uid}.{i + 1}", "0020|0013": str(i + 1),
            "0020|0032": "\\".join(f"{v:.6f}" for v in place),
            "0020|0037": "1\\0\\0\\0\\1\\0", "0028|1052": "-1024", "0028|1053": "1",
        }  # fmt: skip
        values |= {key[1:].replace("_", "|"): value for key, value in tags.items()}
        for key, value in values.items():
            image.SetMetaData(key, value)
        paths.append(folder / f"{name}{len(array) - i:03d}.dcm")
        writer.SetFileName(str(paths[-1]))
        writer.Execute(image)
    return paths
