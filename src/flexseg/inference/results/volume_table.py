"""The table of what a label volume holds: voxels, millilitres and slices per class."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from flexseg.dataset.labels import LabelMap
from flexseg.files.volumes.volume import Volume

_CUTS = {
    "S": "axial",
    "I": "axial",
    "A": "coronal",
    "P": "coronal",
    "L": "sagittal",
    "R": "sagittal",
}
Row = list[str | int | float | None]
VOLUME_TABLE = "volumes.csv"
VOLUME_HEADER = [
    "case", "class_id", "class", "voxels", "volume_ml",
    *(f"{cut}_{end}" for cut in ("axial", "coronal", "sagittal") for end in ("first", "last")),
]  # fmt: skip


def volume_rows(case: str, labels: Volume, label_map: LabelMap) -> list[Row]:
    """One row per class but the background, with the cells of `VOLUME_HEADER`.

    The first and last slice of a class are counted from 0 along the array's own axes, as
    viewers that keep the voxel order count them; of oblique volumes the nearest anatomical
    direction names the axis. They are None for a class without voxels. The memory is that of
    one slice.

    Parameters
    ----------
    labels : class ids [z, y, x] of any integer type.
    """
    array = labels.array
    counts = _counts(array, len(label_map.classes))
    boxes = ndimage.find_objects(array, max(c.id for c in label_map.classes))
    # orientation names x, y, z; the array's axes are z, y, x
    axes = {_CUTS[end]: axis for axis, end in enumerate(reversed(labels.orientation))}
    rows = []
    for c in label_map.foreground:
        voxels, box = int(counts[c.id]), boxes[c.id - 1]
        slices: list[int | None] = []
        for cut in ("axial", "coronal", "sagittal"):
            extent = box[axes[cut]] if box is not None else None
            slices += [extent.start, extent.stop - 1] if extent is not None else [None, None]
        rows.append([case, c.id, c.name, voxels, round(voxels * labels.voxel_ml, 6), *slices])
    return rows


def _counts(array: NDArray, classes: int) -> NDArray[np.int64]:
    counts = np.zeros(classes, np.int64)
    for plane in array:  # counting makes 8 bytes of each voxel
        counts += np.bincount(plane.reshape(-1), minlength=classes)[:classes]
    return counts
