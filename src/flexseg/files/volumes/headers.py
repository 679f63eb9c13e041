"""What the text headers of MetaImage and NRRD have in common: strict numbers, files, places."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flexseg.config.findings import amount
from flexseg.errors import DataError
from flexseg.files.volumes.volume import Volume

_LIMIT = 1 << 20
# Millimetres of units of length; "?" and the like stand for those that nobody told.
_UNITS = {
    "m": 1000.0, "meter": 1000.0, "cm": 10.0, "mm": 1.0, "millimeter": 1.0, "millimeters": 1.0,
    "?": 1.0, "": 1.0, "um": 1e-3, "microns": 1e-3, "micrometer": 1e-3, "\N{MICRO SIGN}m": 1e-3,
    "nm": 1e-6,
}  # fmt: skip
_ONE_FILE = "Save header and voxels in one file, for example with ITK-SNAP or 3D Slicer."


def header_start(path: Path) -> bytes:
    """The first bytes of a file, as many as a header may have."""
    with path.open("rb") as file:
        return file.read(_LIMIT)


def in_mm(unit: str) -> float:
    """The millimetres of a unit of length.

    Raises
    ------
    ValueError : it is none.
    """
    name = unit.strip().lower()
    if name not in _UNITS:
        raise ValueError(f"its header has {unit[:20]!r} instead of a unit of length")
    return _UNITS[name]


def whole_number(text: str) -> int:
    """A whole number of at most 18 digits.

    Raises
    ------
    ValueError : it is none.
    """
    text = text.strip()
    digits = text[1:] if text[:1] in ("-", "+") else text
    if not digits.isascii() or not digits.isdigit() or len(digits) > 18:
        raise ValueError(f"its header has {text[:40]!r} instead of an integer")
    return int(text)


def numbers(text: str, count: int) -> NDArray[np.float64]:
    """So many finite numbers, parted by spaces.

    Raises
    ------
    ValueError : they are fewer or more, or not finite.
    """
    parts = text.split()
    try:
        values = np.array([float(part) for part in parts[: count + 1]])
    except ValueError:
        values = np.empty(0)
    if len(values) != count or not np.isfinite(values).all() or "_" in text:
        raise ValueError(
            f"its header has {text.strip()[:60]!r} instead of {amount(count, 'number')}"
        )
    return values


def data_file(header: Path, name: str) -> Path:
    """The file that a header names for its voxels, which must lie in the header's folder.

    Raises
    ------
    DataError : it lies elsewhere, several are named, or there is none.
    """
    if "%" in name or name.upper().split()[:1] == ["LIST"]:
        raise DataError("Its voxels are in several files.", _ONE_FILE, str(header))
    if not name or name in (".", "..") or any(sign in name for sign in "/\\:\0"):
        raise DataError(
            f"Its header names {name!r} for the voxels, which is not in the same folder.",
            f"Only files next to the header are read. {_ONE_FILE}",
            str(header),
        )
    path = header.with_name(name)
    if not path.is_file():
        raise DataError(
            f"The file {name!r}, which holds its voxels, is missing.",
            "Copy it into the folder of the header.",
            str(header),
        )
    return path


def check_dimensions(sizes: Sequence[int], channels: int, path: Path) -> None:
    """Refuse what makes no volume.

    Parameters
    ----------
    sizes : along x, y, z, and of volumes in the file.
    channels : values per voxel.

    Raises
    ------
    DataError : other dimensions than 2 to 4, or 4 with several channels.
    """
    if not 2 <= len(sizes) <= 4 or (len(sizes) == 4 and channels > 1):
        several = f" and {channels} values per voxel" if channels > 1 else ""
        raise DataError(
            f"The file has {len(sizes)} dimensions{several}.",
            "Save one 3-D volume per file.",
            str(path),
        )


def placed(
    array: NDArray, dimensions: int, axes: NDArray[np.float64], origin: NDArray[np.float64]
) -> Volume:
    """Voxels with their place; 2-D becomes one slice, a fourth axis channels. Read-only.

    Parameters
    ----------
    array : [(t,) (z,) y, x] or [(z,) y, x, channels].
    dimensions : without the channels.
    axes : [n, n], the step in mm (LPS) along x, y, ... in each row, n at least 2.
    origin : [n] in mm.

    Raises
    ------
    ValueError : the axes span no volume.
    """
    n = min(dimensions, 3)
    affine = np.eye(4)
    affine[:n, :n] = axes[:n, :n].T
    affine[:n, 3] = origin[:n]
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if lengths.min() <= 0 or abs(np.linalg.det(affine[:3, :3] / lengths)) < 1e-6:
        raise ValueError("the spacing or the directions in its header do not span a volume")
    if dimensions == 2:
        array = array[None]
    elif dimensions == 4:
        array = array[0] if len(array) == 1 else np.moveaxis(array, 0, -1)
    array.flags.writeable = False
    return Volume(array).with_affine(affine)
