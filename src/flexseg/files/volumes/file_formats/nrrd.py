"""NRRD in (.nrrd, .nhdr): the header judged before a voxel is read, damage noticed.

ITK takes some damaged compressed voxels for whole ones, and opens whatever file a header names.

Header fields: https://teem.sourceforge.net/nrrd/format.html
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flexseg.errors import DataError
from flexseg.files.volumes.file_formats.file_format import FileFormat, register_format
from flexseg.files.volumes.headers import (
    check_dimensions,
    data_file,
    header_start,
    in_mm,
    numbers,
    placed,
    whole_number,
)
from flexseg.files.volumes.itk import write_itk
from flexseg.files.volumes.payload import explain_damage, read_text, read_voxels, stored
from flexseg.files.volumes.volume import Volume

_INTEGERS = {
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i8": ("longlong", "long long", "long long int", "signed long long", "signed long long int",
           "int64", "int64_t"),
    "u8": ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"),
}  # fmt: skip
_TYPES = {name: code for code, names in _INTEGERS.items() for name in names} | {
    "float": "f4",
    "double": "f8",
}
_GZIP = ("gzip", "gz")
_TEXT = ("text", "txt", "ascii")
_SPATIAL_KINDS = ("domain", "space", "time", "???")
# Signs of the first two axes that lead to LPS (left, posterior, superior).
_TO_LPS = {
    "right-anterior-superior": (-1, -1), "ras": (-1, -1), "left-anterior-superior": (1, -1),
    "las": (1, -1),
}  # fmt: skip
_ALIASES = {"datafile": "data file", "lineskip": "line skip", "byteskip": "byte skip",
            "axismins": "axis mins", "centerings": "centers"}  # fmt: skip


@dataclass(frozen=True)
class _Axes:
    """The axes of a file in the order of its header, the fastest first.

    Attributes
    ----------
    sizes : of all of them.
    values : the one that holds the values of a voxel, if any; the others are places.
    """

    sizes: tuple[int, ...]
    values: int | None

    @property
    def places(self) -> list[int]:
        """The axes that are no values."""
        return [i for i in range(len(self.sizes)) if i != self.values]


def read_nrrd(path: Path) -> Volume:
    """An NRRD file as a volume.

    Raises
    ------
    DataError : cut off, a wrong checksum, no NRRD, no plain numbers, too many dimensions, or
        voxels in a file of another folder.
    """
    with explain_damage(path):
        return _read(path)


def _read(path: Path) -> Volume:
    fields, end = _fields(header_start(path))
    axes = _axes(fields)
    places = axes.places
    channels = 1 if axes.values is None else axes.sizes[axes.values]
    check_dimensions([axes.sizes[i] for i in places], channels, path)
    steps, origin = _place(fields, places)
    array = _voxels(path, fields, end, axes.sizes[::-1])
    if axes.values is not None:
        array = np.moveaxis(array, len(axes.sizes) - 1 - axes.values, -1)
        array = array[..., 0] if channels == 1 else array
    return placed(array, len(places), steps, origin)


def _fields(content: bytes) -> tuple[dict[str, str], int]:
    """The header's fields by their names in small letters, and where its voxels begin."""
    if not re.match(rb"NRRD000[1-5]\r?\n", content):
        raise ValueError("it has no NRRD header")
    blank = re.search(rb"\r?\n\r?\n", content)
    end = len(content) if blank is None else blank.end()
    fields: dict[str, str] = {}
    for line in content[:end].decode("utf-8", "surrogateescape").split("\n")[1:]:
        if not line.strip() or line.startswith("#") or ":=" in line:
            continue
        name, separator, value = line.partition(":")
        if not separator:
            raise ValueError(f"its header has the line {line[:60]!r}")
        name = name.strip().lower()
        fields[_ALIASES.get(name, name)] = value.strip()
    return fields, end


def _axes(fields: dict[str, str]) -> _Axes:
    parts = fields.get("sizes", "").split()
    n = whole_number(fields.get("dimension", ""))
    if len(parts) != n or n > 16:
        raise ValueError("dimension and sizes in its header do not agree")
    kinds = fields.get("kinds", "domain " * n).lower().split()
    if len(kinds) != n:
        raise ValueError("dimension and kinds in its header do not agree")
    directions = _vectors(fields.get("space directions", ""))
    values = [
        i
        for i in range(n)
        if kinds[i] not in _SPATIAL_KINDS or (len(directions) == n and directions[i] is None)
    ]
    if len(values) > 1:
        raise ValueError(f"it has {len(values)} axes that are not spatial")
    return _Axes(tuple(whole_number(part) for part in parts), values[0] if values else None)


def _vectors(text: str) -> list[NDArray[np.float64] | None]:
    """`(1,0,0) none (0,0,2)` as vectors; None where an axis has no direction."""
    parts = re.findall(r"\([^)]*\)|[^\s()]+", text)
    return [
        None if part.lower() == "none" else numbers(part.strip("()").replace(",", " "),
                                                    part.count(",") + 1)
        for part in parts
    ]  # fmt: skip


def _place(
    fields: dict[str, str], places: list[int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Steps along the axes [n, n] in each row and origin [n], in mm and LPS."""
    n = len(places)
    mm = _unit(fields, places)
    directions = [v for v in _vectors(fields.get("space directions", "")) if v is not None]
    if not directions:
        steps, lowest = _without_directions(fields, places)
        return steps * mm, lowest * mm
    origin = _vectors(fields.get("space origin", "")) or [np.zeros(n)]
    if len(directions) != n or any(v is None or len(v) != n for v in (*directions, *origin)):
        raise ValueError("the directions in its header do not fit its dimensions")
    space = fields.get("space", "").lower().removesuffix("-time").removesuffix("t")
    signs = np.ones(n)
    signs[:2] = _TO_LPS.get(space, (1, 1))
    return np.stack(directions) * signs * mm, np.asarray(origin[0]) * signs * mm


def _unit(fields: dict[str, str], places: list[int]) -> float:
    """Millimetres of the unit of places, which all axes have in common.

    Raises
    ------
    ValueError : they have several.
    """
    of_space = re.findall(r'"([^"]*)"', fields.get("space units", ""))
    of_axes = re.findall(r'"([^"]*)"', fields.get("units", ""))
    of_places = [of_axes[i] for i in places if i < len(of_axes)]
    units = {*(of_space or of_places)} - {"", "none", "???"}
    factors = {in_mm(unit) for unit in units} or {1.0}
    if len(factors) > 1:
        raise ValueError(f"its axes have several units: {', '.join(sorted(units))}")
    return factors.pop()


def _without_directions(
    fields: dict[str, str], places: list[int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """As `_place`, of the spacings of a file, and of the places where its axes begin."""

    def per_axis(name: str, default: float) -> NDArray[np.float64]:
        parts = fields.get(name, "").split()
        if not parts:
            return np.full(len(places), default)
        found = [parts[i] for i in places] if len(parts) > max(places) else []
        found = [str(default) if part.lower() == "nan" else part for part in found]
        return numbers(" ".join(found), len(places))

    spacing = per_axis("spacings", 1.0)
    centers = (fields.get("centers", "") + " cell" * 16).lower().split()
    half = np.array([0.0 if centers[i] == "node" else 0.5 for i in places])
    lowest = per_axis("axis mins", 0.0)
    origin = lowest + half * spacing if "axis mins" in fields else lowest
    return np.diag(spacing), origin


def _voxels(path: Path, fields: dict[str, str], end: int, shape: tuple[int, ...]) -> NDArray:
    name = fields.get("data file")
    data, start = (path, end) if name is None else (data_file(path, name), 0)
    lines = whole_number(fields.get("line skip", "0"))
    if lines < 0:
        raise ValueError(f"its header has the line skip {lines}")
    start = _after_lines(data, start, lines)
    skip = whole_number(fields.get("byte skip", "0"))
    if skip < -1:
        raise ValueError(f"its header has the byte skip {skip}")
    dtype = _type(fields)
    encoding = fields.get("encoding", "").lower()
    if encoding in _TEXT:
        return read_text(path, data, shape, dtype, start=start)
    if encoding in _GZIP:
        return read_voxels(
            path, data, shape, dtype, start=start, compressed=True, skip=max(0, skip)
        )
    if encoding == "raw":
        start = -1 if skip < 0 else start + skip
        return read_voxels(path, data, shape, dtype, start=start, compressed=False)
    raise DataError(
        f"Its voxels are encoded as {encoding[:20]!r}.",
        "Save it with the encoding gzip or raw.",
        str(path),
    )


def _after_lines(path: Path, start: int, count: int) -> int:
    """Where the line after `count` lines begins."""
    if count == 0:
        return start
    for data in stored(path, start):
        lines = data.split(b"\n", count)
        if len(lines) > count:
            return start + len(data) - len(lines[-1])
        count -= len(lines) - 1
        start += len(data)
    raise EOFError("it is cut off")


def _type(fields: dict[str, str]) -> np.dtype:
    name = fields.get("type", "").lower()
    if name not in _TYPES:
        raise ValueError(f"its values are of type {name[:40]!r}, not plain numbers")
    dtype = np.dtype(_TYPES[name])
    endian = fields.get("endian", "").lower()
    if endian not in ("little", "big"):
        if dtype.itemsize > 1 and fields.get("encoding", "").lower() not in _TEXT:
            raise ValueError("its header does not give the byte order (endian)")
        return dtype
    return dtype.newbyteorder("<" if endian == "little" else ">")


register_format(
    "NRRD",
    FileFormat(
        (".nrrd", ".nhdr"),
        read=lambda path, part: read_nrrd(path),
        write=lambda path, volume, part: write_itk(path, volume),
        voxel_suffixes=(".raw", ".raw.gz"),
    ),
)
