"""Names that clients give to files: what is shown of them, and what they say of the format."""

from __future__ import annotations

import re
import unicodedata

from flexseg.errors import DataError
from flexseg.files.dicom.recognition import DICOM_SUFFIXES
from flexseg.files.images import IMAGE_SUFFIXES
from flexseg.files.volumes.paths import VOLUME_SUFFIXES

ARCHIVE_SUFFIX = ".zip"
# Of letters that take up to 4 bytes half of that: systems take 255 bytes.
_LONGEST = 120
# Headers whose voxels are a second file.
_IN_TWO_FILES = (".mhd", ".nhdr")
_ALONE = tuple(s for s in (*VOLUME_SUFFIXES, *IMAGE_SUFFIXES) if s not in _IN_TWO_FILES)
# Of Windows, whatever suffix follows.
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)
_UNSAFE = re.compile(r"[^\w .+()\[\],=@#&-]")


class UnknownTypeError(DataError):
    """A file is not of a type that is read."""


def shown_name(name: str) -> str:
    """The last part of a name, of letters that are printed; "upload" if none is left."""
    last = _shortened(re.split(r"[/\\]", name)[-1])
    printed = "".join(c for c in unicodedata.normalize("NFC", last) if c.isprintable()).strip()
    return printed if printed.strip(".") else "upload"


def safe_part(part: str) -> str:
    """A part of a path as it may be the name of a file or folder on every system."""
    short = unicodedata.normalize("NFC", _shortened(part))
    safe = _UNSAFE.sub("_", short).strip(" ").rstrip(". ")
    return f"_{safe}" if not safe or _RESERVED.match(safe) else safe


def _shortened(name: str) -> str:
    """A name whose middle is left out where it is long."""
    most = _LONGEST if name.isascii() else _LONGEST // 2
    return name if len(name) <= most else name[: most // 2] + name[-most // 2 :]


def kept_suffix(name: str) -> str:
    """The suffix under which an upload is to be stored, which tells readers its format.

    It is one of those of images, volumes and archives, in small letters. Empty for what may be
    DICOM: its names have no suffix, or end with numbers.

    Raises
    ------
    UnknownTypeError : it is none of these.
    """
    shown = shown_name(name)
    lower = shown.lower()
    if lower.endswith(_IN_TWO_FILES):
        raise UnknownTypeError(
            "This is only the header of a volume; its voxels are in a second file.",
            "Put both into a zip, or save the volume in one file.",
            shown,
        )
    known = (s for s in (ARCHIVE_SUFFIX, *_ALONE) if lower.endswith(s))
    if suffix := max(known, key=len, default=""):
        return "" if suffix in DICOM_SUFFIXES else suffix
    last = lower.rpartition(".")[2] if "." in lower else ""
    if not last or last.isdigit():
        return ""
    raise UnknownTypeError(
        f"Files that end with .{last} are neither images nor volumes.",
        known_types(),
        shown,
    )


def known_types() -> str:
    """What to upload, as a sentence."""
    return (
        f"Give an image or a volume ({', '.join(sorted({*_ALONE}))}), or a zip of such files or of "
        "a DICOM series."
    )
