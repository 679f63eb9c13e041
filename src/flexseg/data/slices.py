"""Slices of volumes: which way they lie, and how far apart their pixels are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

AXES = ("axial", "coronal", "sagittal", "0", "1", "2")


@dataclass(frozen=True)
class SliceAxis:
    """How slices are cut from a volume.

    Attributes
    ----------
    name : "axial", "coronal" or "sagittal": anatomical, shown as radiologists look at them
        (the patient's right at the left of the picture, anterior or superior at the top;
        sagittal: anterior at the left); or "0", "1", "2": an axis of the file, first index
        fastest, nothing flipped.
    rotate : clockwise turn of the slices in degrees: 0, 90, 180 or 270.
    """

    name: str
    rotate: int = 0

    @property
    def anatomical(self) -> bool:
        """Whether the volume is brought to LPS order first."""
        return self.name not in ("0", "1", "2")

    @property
    def _array_axis(self) -> int:
        names = {"axial": 0, "coronal": 1, "sagittal": 2, "0": 2, "1": 1, "2": 0}
        return names[self.name]

    def orient(self, image: sitk.Image) -> sitk.Image:
        """The volume in the voxel order that `slices` expects.

        Oblique volumes are not resampled: their nearest anatomical axes count.
        """
        return sitk.DICOMOrient(image, "LPS") if self.anatomical else image

    def slices(self, array: NDArray) -> NDArray:
        """A volume [z, y, x] as slices [n, rows, columns].

        The result is a view: what is written into it lands in the volume.
        """
        view = np.moveaxis(array, self._array_axis, 0)
        if self.name in ("coronal", "sagittal"):
            view = view[:, ::-1]  # LPS counts from the feet; the head belongs to the top
        return np.rot90(view, -self.rotate // 90, axes=(1, 2))

    def spacing(self, image: sitk.Image) -> tuple[float, float, float]:
        """Distances in mm between rows, between columns, and between slices."""
        zyx = list(image.GetSpacing()[::-1])
        between = zyx.pop(self._array_axis)
        rows, columns = zyx if self.rotate % 180 == 0 else zyx[::-1]
        return rows, columns, between
