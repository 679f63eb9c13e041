"""Whether a NIfTI file is whole: ITK reads a truncated one without complaint.

Header fields: https://nifti.nimh.nih.gov/nifti-1 and nifti-2.
"""

from __future__ import annotations

import struct
import zlib
from math import prod
from pathlib import Path

from flexseg.errors import DataError

_CHUNK = 1 << 20
_GZIP = b"\x1f\x8b"


def check_nifti(path: Path) -> None:
    """Refuse a NIfTI file (.nii, .nii.gz) that is cut off, or whose checksum is wrong.

    Reads the file once; of a compressed one, 1 MiB at a time is in memory.

    Raises
    ------
    DataError : the file is damaged.
    """
    try:
        with path.open("rb") as file:
            compressed = file.read(2) == _GZIP
        header, size = _inflate(path) if compressed else _plain(path)
        expected = _expected_size(header)
    except (zlib.error, EOFError, struct.error, ValueError) as error:
        raise DataError(
            f"It cannot be read as a volume ({error}).",
            "It is damaged, or of another format than its name says: copy or export it again.",
            str(path),
        ) from None
    if size < expected:
        raise DataError(
            f"It cannot be read as a volume: it is cut off after {size} of {expected} bytes.",
            "Copy or download it again.",
            str(path),
        )


def _plain(path: Path) -> tuple[bytes, int]:
    with path.open("rb") as file:
        return file.read(540), path.stat().st_size


def _inflate(path: Path) -> tuple[bytes, int]:
    """The first bytes of a gzip file's content, and its size. A file may have several members."""
    header, size = b"", 0
    decoder = zlib.decompressobj(wbits=31)
    with path.open("rb") as file:
        while data := file.read(_CHUNK):
            while data:
                if decoder.eof:
                    if not data.startswith(_GZIP):  # padding behind the last member
                        return header, size
                    decoder = zlib.decompressobj(wbits=31)
                content = decoder.decompress(data, _CHUNK)
                header += content[: 540 - len(header)]
                size += len(content)
                data = decoder.unused_data if decoder.eof else decoder.unconsumed_tail
    if not decoder.eof:
        raise EOFError("the compressed data is cut off")
    return header, size


def _expected_size(header: bytes) -> int:
    """Bytes of a whole file: the offset of the voxels, and the voxels."""
    if not header:
        raise ValueError("the file is empty")
    for order in "<>":
        (kind,) = struct.unpack_from(f"{order}i", header)
        if kind == 348:
            dim = struct.unpack_from(f"{order}8h", header, 40)
            (bits,) = struct.unpack_from(f"{order}h", header, 72)
            (offset,) = struct.unpack_from(f"{order}f", header, 108)
            break
        if kind == 540:
            (bits,) = struct.unpack_from(f"{order}h", header, 14)
            dim = struct.unpack_from(f"{order}8q", header, 16)
            (offset,) = struct.unpack_from(f"{order}q", header, 168)
            break
    else:
        raise ValueError("it has no NIfTI header")
    if not 1 <= dim[0] <= 7 or min(dim[1 : dim[0] + 1]) < 1:
        raise ValueError("its header has impossible sizes")
    return int(offset) + prod(dim[1 : dim[0] + 1]) * bits // 8
