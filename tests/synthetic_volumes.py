"""Small volumes and DICOM series with known voxels and places."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from flexseg.files.volumes.volume import Volume

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


def enhanced(path: Path, array: NDArray, places: list[tuple[float, float, float]]) -> None:
    """A multi-frame file, frames as given."""
    pydicom = pytest.importorskip("pydicom")
    (slice_path,) = write_series(path.parent / "one", array[:1])
    dataset = pydicom.dcmread(slice_path)
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2.1"
    for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        delattr(dataset, name)
    del dataset.RescaleSlope, dataset.RescaleIntercept
    shared, measures = pydicom.Dataset(), pydicom.Dataset()
    measures.PixelSpacing, measures.SliceThickness = [0.5, 0.75], 3
    plane, transform = pydicom.Dataset(), pydicom.Dataset()
    plane.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    transform.RescaleSlope, transform.RescaleIntercept = 2, -10
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [plane]
    shared.PixelValueTransformationSequence = [transform]
    dataset.SharedFunctionalGroupsSequence = [shared]
    frames = []
    for place in places:
        frame, position = pydicom.Dataset(), pydicom.Dataset()
        position.ImagePositionPatient = list(place)
        frame.PlanePositionSequence = [position]
        frames.append(frame)
    dataset.PerFrameFunctionalGroupsSequence = frames
    dataset.NumberOfFrames = len(array)
    dataset.PixelData = array.astype(np.int16).tobytes()
    dataset.save_as(path)
