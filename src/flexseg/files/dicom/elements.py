"""The lengths of a DICOM file's elements, judged before a decoder believes them.

GDCM takes as much memory as a length says, up to 4 GiB, before it looks whether the file has it.

Encoding: DICOM PS3.5, 7.1.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

_PREAMBLE = 132
_UNDEFINED = 0xFFFFFFFF
_LONG = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
_ITEM, _PIXELS = 0xFFFE, (0x7FE0, 0x0010)
# Decoders do not look values up there.
_LOOKUP = (0x0028, 0x3000)
_IMPLICIT = b"1.2.840.10008.1.2"
_OTHERS = (b"1.2.840.10008.1.2.1.99", b"1.2.840.10008.1.2.2")  # deflated, big-endian


def check_lengths(path: Path) -> None:
    """Walk through the elements of a file, those of sequences included, up to its pixels.

    Files without a preamble, and of rare encodings, are not judged.

    Raises
    ------
    ValueError : an element is longer than the file, the file does not tell its encoding, or its
        values are those of a Modality LUT.
    """
    if path.stat().st_size <= _PREAMBLE:
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if content[128:_PREAMBLE] == b"DICM":
            _walk(content)


def _walk(content: mmap.mmap) -> None:
    at, syntax = _PREAMBLE, b""
    if content[at : at + 2] != b"\x02\0":
        raise ValueError("its header has no meta information")
    while at + 8 <= len(content):
        group, element = struct.unpack_from("<HH", content, at)
        if group != 2 and syntax in _OTHERS:
            return
        explicit = group == 2 or syntax != _IMPLICIT
        start, length, kind = _header(content, at, explicit and group != _ITEM)
        descends = group == _ITEM or kind == b"SQ" or (length == _UNDEFINED and not explicit)
        if length == _UNDEFINED and (not descends or (group, element) == _PIXELS):
            return
        if length != _UNDEFINED and start + length > len(content):
            raise ValueError(
                f"an element of its header claims {length} bytes, more than the file has"
            )
        if (group, element) == _PIXELS:
            return
        if (group, element) == _LOOKUP and length:
            raise ValueError("its values are given by a table in its header (Modality LUT)")
        if (group, element) == (0x0002, 0x0010):
            syntax = bytes(content[start : start + length]).rstrip(b"\0 ")
        at = start if descends else start + length
    if at < len(content):
        raise ValueError("its header is cut off")


def _header(content: mmap.mmap, at: int, explicit: bool) -> tuple[int, int, bytes]:
    """Where the value of an element begins, its length, and its kind if that is written."""
    if not explicit:
        return at + 8, struct.unpack_from("<I", content, at + 4)[0], b""
    kind = bytes(content[at + 4 : at + 6])
    if kind not in _LONG:
        return at + 8, struct.unpack_from("<H", content, at + 6)[0], kind
    if at + 12 > len(content):
        raise ValueError("its header is cut off")
    return at + 12, struct.unpack_from("<I", content, at + 8)[0], kind
