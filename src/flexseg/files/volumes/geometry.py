"""Whether an image and its labels lie on the same grid, and what to do if not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from itertools import product
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from flexseg.errors import DataError
from flexseg.files.volumes.volume import Volume

# Corners of two grids that differ by less than this share of a voxel are the same: headers
# are stored in single precision.
_TOLERANCE = 0.2


class GeometryRule(StrEnum):
    """What to do where an image and its label volume lie on different grids.

    `strict`: an error. `voxels`: the headers of the label are wrong, its voxels belong to
    those of the image one by one. `resample`: carry the label over in patient space, nearest.
    """

    STRICT = "strict"
    VOXELS = "voxels"
    RESAMPLE = "resample"


def match_label(
    label: Volume, image: Volume, rule: GeometryRule, path: Path
) -> tuple[Volume, bool]:
    """A label volume on the grid of its image, and whether it had to be resampled for that.

    A label that covers the same grid in another voxel order (say RAS and LPS) is only
    reordered, unless its header does not count (`voxels`).

    Raises
    ------
    DataError : the grids differ and `rule` does not allow it, or no labelled voxel is left.
    """
    if rule is GeometryRule.VOXELS:
        if label.shape != image.shape:
            raise _grids_differ(label, image, path)
        return image.with_array(label.array), False
    label = label.oriented(image.orientation)
    if same_grid(label, image):
        return image.with_array(label.array), False
    if rule is GeometryRule.STRICT:
        raise _grids_differ(label, image, path)
    matched = _resample(label, image)
    if label.array.any() and not matched.array.any():
        raise DataError(
            "No labelled voxel lies within the image: the two are at different positions.",
            "Check that they belong together.",
            str(path),
        )
    return matched, True


def same_grid(a: Volume, b: Volume, tolerance: float = _TOLERANCE) -> bool:
    """Whether all voxels of two volumes are at the same places, to that share of a voxel."""
    if a.shape != b.shape:
        return False
    z, y, x = a.shape
    corners = np.array([(i, j, k, 1) for i, j, k in product((0, x - 1), (0, y - 1), (0, z - 1))])
    distances = np.linalg.norm((corners @ (a.affine - b.affine).T)[:, :3], axis=1)
    return bool(distances.max() <= tolerance * min(b.spacing))


def _resample(label: Volume, image: Volume) -> Volume:
    z, y, x = image.shape
    resampled = sitk.Resample(
        label.image(), (x, y, z), sitk.Transform(), sitk.sitkNearestNeighbor,
        image.origin, image.spacing, image.direction, 0,
    )  # fmt: skip
    return replace(image, array=Volume.from_image(resampled).array)


def _grids_differ(label: Volume, image: Volume, path: Path) -> DataError:
    differences = [
        f"{name} {text(of_label)} (image: {text(of_image)})"
        for name, of_label, of_image in (
            ("size", label.shape[::-1], image.shape[::-1]),
            ("spacing", label.spacing, image.spacing),
            ("origin", label.origin, image.origin),
            ("direction", label.direction, image.direction),
        )
        if not np.allclose(of_label, of_image, rtol=1e-3, atol=1e-3)
    ]
    fix = "Check that they belong together; --geometry resample carries the labels over by position"
    if label.shape == image.shape:
        fix += ", --geometry voxels ignores the position if the voxels correspond one by one"
    return DataError(
        f"The labels are on another grid than the image: {', '.join(differences)}.",
        f"{fix}.",
        str(path),
    )


def text(numbers: Sequence[float]) -> str:
    """Sizes or coordinates as people write them."""
    return " x ".join(f"{n:.5g}" for n in numbers)
