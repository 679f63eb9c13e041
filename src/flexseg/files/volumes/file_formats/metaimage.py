"""MetaImage in (.mha, .mhd): the header judged before a voxel is read, damage noticed.

ITK takes damaged compressed voxels for whole ones, opens whatever file a header names, and ends
the process on some headers.

Header fields: https://itk.org/Wiki/ITK/MetaIO/Documentation
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

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
from flexseg.files.volumes.payload import explain_damage, read_text, read_voxels
from flexseg.files.volumes.volume import Volume

_TYPES = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4",
    "MET_UINT": "u4", "MET_LONG": "i4", "MET_ULONG": "u4", "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8", "MET_FLOAT": "f4", "MET_DOUBLE": "f8",
}  # fmt: skip
_MATRIX = ("TransformMatrix", "Rotation", "Orientation")
_ORIGIN = ("Offset", "Position", "Origin")
_SPACING = ("ElementSpacing", "ElementSize")
_BIG_ENDIAN = ("BinaryDataByteOrderMSB", "ElementByteOrderMSB")
_LAST = "ElementDataFile"


def read_metaimage(path: Path) -> Volume:
    """A MetaImage file as a volume.

    Raises
    ------
    DataError : cut off, a wrong checksum, no MetaImage, no plain numbers, too many dimensions,
        or voxels in a file of another folder.
    """
    with explain_damage(path):
        return _read(path)


def _read(path: Path) -> Volume:
    fields, end = _fields(header_start(path))
    sizes = _sizes(fields)
    channels = whole_number(fields.get("ElementNumberOfChannels", "1"))
    check_dimensions(sizes, channels, path)
    shape = (*reversed(sizes), *((channels,) if channels != 1 else ()))
    n = len(sizes)
    axes = numbers(_first(fields, _MATRIX) or " ".join(map(str, np.eye(n).ravel())), n * n)
    origin = numbers(_first(fields, _ORIGIN) or "0 " * n, n)
    spacing = numbers(_first(fields, _SPACING) or "1 " * n, n)
    mm = in_mm(fields.get("DistanceUnits", "mm"))
    _refuse_scales(fields)

    data, start = path, end
    if fields[_LAST].upper() != "LOCAL":
        data, start = data_file(path, fields[_LAST]), 0
    start = whole_number(fields.get("HeaderSize", "0")) or start
    dtype = _type(fields)
    if _is_true(fields.get("BinaryData", "True")):
        compressed = _is_true(fields.get("CompressedData", "False"))
        array = read_voxels(path, data, shape, dtype, start=start, compressed=compressed)
    else:
        array = read_text(path, data, shape, dtype, start=max(start, 0))
    return placed(array, n, axes.reshape(n, n) * spacing[:, None] * mm, origin * mm)


def _fields(content: bytes) -> tuple[dict[str, str], int]:
    """The header's fields, and where it ends.

    Raises
    ------
    ValueError : this is no header.
    """
    fields: dict[str, str] = {}
    position = 0
    while _LAST not in fields:
        end = content.find(b"\n", position)
        end = len(content) if end < 0 else end
        line = content[position:end].decode("utf-8", "surrogateescape").strip()
        key, separator, value = line.partition("=" if "=" in line else ":")
        if position == len(content) or (line and not separator):
            raise ValueError("it has no MetaImage header")
        position = min(end + 1, len(content))
        fields[key.strip()] = value.strip()
    return fields, position


def _refuse_scales(fields: dict[str, str]) -> None:
    """Refuse values that are not those stored, which hardly any program knows.

    Raises
    ------
    ValueError : a line from stored values to intensities.
    """
    for name, identity in (("Slope", 1.0), ("Offset", 0.0)):
        text = fields.get(f"ElementToIntensityFunction{name}", str(identity))
        if numbers(text, 1)[0] != identity:
            raise ValueError(f"its header scales the stored values (ElementToIntensity...{name})")


def _sizes(fields: dict[str, str]) -> tuple[int, ...]:
    parts = fields.get("DimSize", "").split()
    if len(parts) != whole_number(fields.get("NDims", "")):
        raise ValueError("NDims and DimSize in its header do not agree")
    return tuple(whole_number(part) for part in parts[:16])


def _type(fields: dict[str, str]) -> np.dtype:
    name = fields.get("ElementType", "")
    if name not in _TYPES:
        raise ValueError(f"its values are of type {name[:40]!r}, not plain numbers")
    order = ">" if _is_true(_first(fields, _BIG_ENDIAN) or "False") else "<"
    return np.dtype(order + _TYPES[name])


def _is_true(text: str) -> bool:
    return text[:1] in ("T", "t", "1")


def _first(fields: dict[str, str], names: tuple[str, ...]) -> str | None:
    return next((fields[name] for name in names if name in fields), None)


register_format(
    "MetaImage",
    FileFormat(
        (".mha", ".mhd"),
        read=lambda path, part: read_metaimage(path),
        write=lambda path, volume, part: write_itk(path, volume),
        voxel_suffixes=(".raw", ".zraw"),
    ),
)
