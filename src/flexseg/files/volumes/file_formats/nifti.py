"""NIfTI in: voxels without a second copy, damage noticed, and the geometry that others see.

ITK would read truncated files without complaint, take twice the memory, refuse sheared axes or
make them orthogonal, and overrule the sform for some codes.

Header fields: https://nifti.nimh.nih.gov/nifti-1 and nifti-2.
"""

from __future__ import annotations

import gzip
import logging
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexseg.errors import DataError
from flexseg.files.limits import DEFLATE_RATIO
from flexseg.files.volumes.file_formats.file_format import FileFormat, register_format
from flexseg.files.volumes.geometry import same_grid
from flexseg.files.volumes.itk import write_itk
from flexseg.files.volumes.payload import (
    GZIP,
    check_volume_size,
    explain_damage,
    fill,
    inflated,
    skipped,
    stored,
    to_native,
)
from flexseg.files.volumes.volume import Volume

logger = logging.getLogger(__name__)

_HEADER = 540
# Codes of the header's `datatype`; those of 24 and 32 bits are colours.
_TYPES = {
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4",
    1024: "i8", 1280: "u8",
}  # fmt: skip
_COLORS = {128: 3, 2304: 4}
_NATIVE = "<" if sys.byteorder == "little" else ">"
# Units of the header's `xyzt_units`: m, mm, micrometre.
_MM = {1: 1000.0, 2: 1.0, 3: 0.001}
_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class _Header:
    """Sizes along x, y, z, ... and what else is needed to read the voxels."""

    sizes: tuple[int, ...]
    datatype: int
    bits: int
    byte_order: str
    offset: int
    slope: float
    intercept: float
    spacing: tuple[float, float, float]
    qform: NDArray[np.float64] | None
    sform: NDArray[np.float64] | None
    unusable: tuple[str, ...] = ()

    @property
    def scales(self) -> bool:
        """Whether slope and intercept change the values."""
        line = (self.slope, self.intercept)
        return bool(np.isfinite(line).all()) and line[0] != 0 and line != (1, 0)

    def result_type(self, stored: str) -> type[np.floating] | np.dtype:
        """The type of the voxels after slope and intercept."""
        if not self.scales:
            return np.dtype(stored)
        return np.float64 if stored in ("i4", "u4", "i8", "u8", "f8") else np.float32


def read_nifti(path: Path) -> Volume:
    """A NIfTI file (.nii, .nii.gz) as a volume; scaled values come as floats.

    The sform counts if it has a code, else the qform, as the standard's examples and nibabel
    have it. One that maps no volume does not count.

    Raises
    ------
    DataError : cut off, a wrong checksum, no NIfTI, no numbers, too many dimensions, or sform and
        qform are there and unusable.
    """
    with explain_damage(path):
        content = stored(path)
        header, array = _read(inflated(content) if _is_compressed(path) else content, path)
        return _placed(_scaled(array, header), header, path)


def _is_compressed(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == GZIP


def _read(content: Iterator[bytes], path: Path) -> tuple[_Header, NDArray]:
    """The header, and the voxels with x as the last axis. Reads to the end for the checksum."""
    start = b""
    for data in content:
        start += data
        if len(start) >= _HEADER:
            break
    header = _parse(start)
    array = _empty(header, path)
    fill(array, skipped(chain([start], content), header.offset))
    return header, to_native(array)


def _parse(content: bytes) -> _Header:
    if not content:
        raise ValueError("the file is empty")
    for order in "<>":
        kind = struct.unpack_from(f"{order}i", content)[0]
        if kind in (348, 540):
            break
    else:
        raise ValueError("it has no NIfTI header")

    def read(code: str, at: int) -> tuple[Any, ...]:
        return struct.unpack_from(f"{order}{code}", content, at)

    if kind == 348:
        magic, real = content[344:347], "f"
        dim, (datatype, bits) = read("8h", 40), read("2h", 70)
        pixdim, (offset, slope, intercept) = read("8f", 76), read("3f", 108)
        units, codes, form = content[123], read("2h", 252), 256
    else:
        magic, real = content[4:7], "d"
        (datatype, bits), dim = read("2h", 12), read("8q", 16)
        pixdim, (offset,), (slope, intercept) = read("8d", 104), read("q", 168), read("2d", 176)
        units, codes, form = read("i", 500)[0], read("2i", 344), 352
    if magic not in (b"n+1", b"n+2"):
        raise ValueError("it has no NIfTI header, or its voxels are in another file")
    if not 1 <= dim[0] <= 7 or min(dim[1 : dim[0] + 1]) < 1:
        raise ValueError("its header has impossible sizes")
    if not np.isfinite(offset):
        raise ValueError(f"its header says that the voxels begin at byte {offset}")
    step = struct.calcsize(real)
    quaternion = read(f"6{real}", form)
    rows = np.reshape(read(f"12{real}", form + 6 * step), (3, 4))
    mm = _MM.get(units & 7, 1.0)
    x, y, z = (abs(v) if np.isfinite(v) and v else 1.0 for v in pixdim[1:4])
    quality = -1.0 if pixdim[0] < 0 else 1.0
    qform, sform = (
        _in_mm(affine, mm) if code > 0 else None
        for affine, code in zip(
            (_qform(quaternion, np.array((x, y, z * quality))), rows), codes, strict=True
        )
    )
    names = (("qform", qform), ("sform", sform))
    return _Header(
        sizes=tuple(dim[1 : dim[0] + 1]),
        datatype=datatype,
        bits=bits,
        byte_order=order,
        offset=max(int(offset), 352 if kind == 348 else 544),
        slope=slope,
        intercept=intercept,
        spacing=(x * mm, y * mm, z * mm),
        qform=qform,
        sform=sform,
        unusable=tuple(
            name
            for (name, affine), code in zip(names, codes, strict=True)
            if code > 0 and affine is None
        ),
    )


def _qform(numbers: tuple[float, ...], scale: NDArray[np.float64]) -> NDArray[np.float64]:
    """[3, 4] of a quaternion's b, c, d and an offset (`nifti_quatern_to_mat44`)."""
    b, c, d = numbers[:3]
    a = np.sqrt(max(0.0, 1 - b * b - c * c - d * d))
    if a < 1e-7:  # half a turn: single precision made the others a little too long
        b, c, d = np.array((b, c, d)) / np.linalg.norm((b, c, d))
    rotation = np.array(
        (
            (a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)),
            (2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)),
            (2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - c * c - b * b),
        )
    )
    return np.column_stack([rotation * scale, numbers[3:]])


def _in_mm(rows: NDArray[np.float64], mm: float) -> NDArray[np.float64] | None:
    """[4, 4] in LPS and mm; None for what maps no volume."""
    affine = np.eye(4)
    affine[:3] = rows * mm
    usable = np.isfinite(affine).all() and abs(np.linalg.det(affine)) > 1e-12
    return _TO_LPS @ affine if usable else None


def _empty(header: _Header, path: Path) -> NDArray:
    """An array for the voxels, in this machine's byte order.

    Raises
    ------
    DataError : values or dimensions that make no volume.
    """
    colors = _COLORS.get(header.datatype)
    kind = "u1" if colors else _TYPES.get(header.datatype)
    if kind is None:
        raise DataError(
            f"Its values are of NIfTI type {header.datatype}, not plain numbers.",
            "Save it as integers or floats.",
            str(path),
        )
    inner = (colors,) if colors else ()
    space, rest = header.sizes[:3], tuple(n for n in header.sizes[3:] if n > 1)
    if len(rest) + len(inner) > 1:
        sizes = " x ".join(map(str, header.sizes))
        raise DataError(
            f"The file has {len(header.sizes)} dimensions ({sizes}).",
            "Save one 3-D volume per file.",
            str(path),
        )
    shape = (*rest, *reversed((*space, 1, 1)[:3]), *inner)
    size = path.stat().st_size
    room = size * DEFLATE_RATIO if _is_compressed(path) else size
    check_volume_size(shape, kind, path, most=room)
    check_volume_size(shape, header.result_type(kind), path)
    return np.empty(shape, header.byte_order + kind)


def _scaled(array: NDArray, header: _Header) -> NDArray:
    if not header.scales:
        return array
    result = np.empty(array.shape, header.result_type(array.dtype.str[1:]))
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is told by others
        for target, values in zip(result, array, strict=True):
            target[...] = values * np.float64(header.slope) + header.intercept
    return result


def _placed(array: NDArray, header: _Header, path: Path) -> Volume:
    is_channels = array.ndim == 4 and header.datatype not in _COLORS
    array = np.moveaxis(array, 0, -1) if is_channels else array
    array.flags.writeable = False
    whole_numbers = _TYPES.get(header.datatype, "u1")[0] in "iu"
    step = abs(header.slope) if header.scales and whole_numbers else 0.0
    volume = Volume(array, header.spacing, step=step)
    if header.unusable and header.qform is None and header.sform is None:
        raise DataError(
            f"Its {' and '.join(header.unusable)} cannot be used (zeros, or not numbers): the "
            "position of the volume in the patient, and which side is left, is not known.",
            "Export the file again from its source. If the orientation does not matter, set the "
            "code of the form to 0: then the axes are taken as stored.",
            str(path),
        )
    if header.unusable:
        counts = "qform" if header.sform is None else "sform"
        logger.warning(
            "%s: its %s cannot be used; the %s is used instead.",
            path,
            " and ".join(header.unusable),
            counts,
        )
    of_qform = volume if header.qform is None else volume.with_affine(header.qform)
    if header.sform is None:
        if header.qform is None:
            logger.warning(
                "%s: neither sform nor qform gives its orientation; %s is assumed.",
                path,
                volume.orientation,
            )
        return of_qform
    placed = volume.with_affine(header.sform)
    if placed.sheared:
        logger.warning("%s: its axes are not at right angles; they are kept.", path)
    elif header.qform is not None and not same_grid(placed, of_qform):
        logger.warning("%s: its qform and sform disagree; the sform is used.", path)
    return placed


def write_nifti(path: Path, volume: Volume) -> None:
    """Write a NIfTI-1 file, compressed where its name ends in `.gz`; axes may be sheared."""
    write_itk(path, volume, compressed=path.suffix == ".gz")
    if volume.sheared:
        write_sform(path, volume.affine)


def write_sform(path: Path, affine: NDArray[np.float64]) -> None:
    """Give a NIfTI-1 file that ITK wrote an affine that is no rotation, such as a shear.

    ITK makes axes orthogonal without a word. The qform, which cannot hold a shear, is turned
    off; the sform holds it.

    Parameters
    ----------
    affine : [4, 4], from voxel x, y, z to mm in LPS.
    """
    stored = path.read_bytes()
    compressed = stored.startswith(GZIP)
    content = bytearray(gzip.decompress(stored) if compressed else stored)
    rows = _TO_LPS @ affine
    struct.pack_into(f"{_NATIVE}2h", content, 252, 0, 1)
    struct.pack_into(f"{_NATIVE}12f", content, 280, *rows[:3].ravel())
    path.write_bytes(gzip.compress(content, 6) if compressed else content)


register_format(
    "NIfTI",
    FileFormat(
        (".nii.gz", ".nii"),
        read=lambda path, part: read_nifti(path),
        write=lambda path, volume, part: write_nifti(path, volume),
    ),
)
