"""Where the slices of a DICOM volume lie: distances, gaps, duplicates, a tilted gantry."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flexseg.config.findings import amount
from flexseg.errors import DataError
from flexseg.files.volumes.volume import Volume

logger = logging.getLogger(__name__)

# Slices that drift by less than this share of a pixel from first to last stand straight above
# each other: positions are written with few digits.
_DRIFT = 0.1
_UNEVEN = 0.01


def stack(
    voxels: NDArray,
    positions: NDArray[np.float64],
    axes: Sequence[float],
    pixel: Sequence[float],
    thickness: float,
    where: Path,
    *,
    quiet: bool = False,
) -> Volume:
    """Slices with their positions as a volume.

    A tilted gantry shifts every slice against the one before. The voxels stay as they are and
    the direction of z points along that shift (see `Volume.sheared`): nothing is interpolated,
    and places and volumes are right.

    Parameters
    ----------
    voxels : [z, y, x] or [z, y, x, channels], slices in order along the normal.
    positions : [z, 3], of the first voxel of each slice, in mm.
    axes : directions along a row and along a column, 6 numbers.
    pixel : distances in mm of rows and of columns; empty if not known.
    thickness : in mm, for a single slice; 0 if not known.
    quiet : do not warn of what was told when the voxels were read.

    Raises
    ------
    DataError : several slices at one place, or slices that no step leads to one by one.
    """
    warn = logger.debug if quiet else logger.warning
    if len(pixel) != 2 or min(pixel) <= 0:
        warn("%s: no pixel spacing in the DICOM tags; 1 mm is assumed.", where)
        pixel = (1.0, 1.0)
    row, column = np.array(axes[:3]), np.array(axes[3:])
    normal = np.cross(row, column)
    step, distance = normal, thickness if thickness > 0 else 1.0
    if len(positions) > 1:
        step, distance = _step(positions, normal, min(pixel), where, warn)
    origin = positions[0]
    direction = np.stack([row, column, step], axis=1)
    return Volume(
        voxels,
        (float(pixel[1]), float(pixel[0]), float(distance)),
        (float(origin[0]), float(origin[1]), float(origin[2])),
        tuple(map(float, direction.ravel())),
    )


def _step(
    positions: NDArray[np.float64],
    normal: NDArray[np.float64],
    pixel: float,
    where: Path,
    warn: Callable[..., None],
) -> tuple[NDArray[np.float64], float]:
    """The unit vector from slice to slice, and their distance in mm along it."""
    heights = positions @ normal
    gaps = np.diff(heights)
    typical = float(np.median(gaps))
    same = int((gaps < 0.01 * max(typical, 1e-3)).sum())
    if same:
        raise DataError(
            f"{amount(same, 'slice')} of the DICOM series {'lies' if same == 1 else 'lie'} at "
            "the same position as another one: it contains several volumes (time points, "
            "echoes, reconstructions), or copies.",
            "Keep only the files of one volume in the folder.",
            str(where),
        )
    low, high = float(gaps.min()), float(gaps.max())
    if high - low > _UNEVEN * high:
        warn(
            "%s: the slices of the DICOM series are %.3g to %.3g mm apart: is one missing, or do "
            "two series share one UID? A spacing of %.3g mm is assumed, so positions and volumes "
            "beyond the gap are not exact.", where, low, high, typical,
        )  # fmt: skip
    shift = positions - positions[0]
    shift = shift - np.outer(shift @ normal, normal)
    rise = heights - heights[0]
    slope = (rise @ shift) / (rise @ rise)
    if np.linalg.norm(shift - np.outer(rise, slope), axis=1).max() > pixel:
        raise DataError(
            "The slices of the DICOM series are not stacked along one axis.",
            "Radial slices, or slices of several stacks, do not form a volume: keep only the "
            "files of one stack in the folder.",
            str(where),
        )
    if np.linalg.norm(slope) * rise[-1] <= _DRIFT * pixel:
        return normal, typical
    step = normal + slope
    length = float(np.linalg.norm(step))
    warn(
        "%s: tilted gantry: each slice is shifted by %.3g mm relative to the previous one (%.1f "
        "degrees). The voxels stay as they are; the geometry carries the tilt.",
        where, typical * np.linalg.norm(slope), np.degrees(np.arctan(np.linalg.norm(slope))),
    )  # fmt: skip
    return step / length, typical * length
