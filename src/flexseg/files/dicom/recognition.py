"""Which files are DICOM, by their names and their first bytes."""

from __future__ import annotations

from pathlib import Path

DICOM_SUFFIXES = (".dcm", ".dicom", ".dic", ".ima")
# Of files that are looked into no further; hospitals end names of DICOM files in almost all others.
_OTHERS = frozenset({
    ".png", ".apng", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".svg", ".npy",
    ".npz", ".nii", ".gz", ".mha", ".mhd", ".nrrd", ".nhdr", ".raw", ".zraw", ".h5", ".hdf5",
    ".mat", ".json", ".txt", ".csv", ".tsv", ".xml", ".toml", ".yaml", ".yml", ".md", ".html",
    ".pdf", ".zip", ".db", ".exe", ".dll", ".py", ".ini", ".inf", ".log", ".xlsx", ".docx", ".mp4",
    ".avi",
})  # fmt: skip
_PREAMBLE = 132
# Kinds of values that the first element of a file without preamble has.
_KINDS = (b"UL", b"UI", b"CS", b"SH", b"LO", b"DA", b"TM", b"DT", b"ST", b"PN", b"IS", b"OB")
_LONGEST = 256


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM, by its name or, where that says nothing, its first bytes."""
    if _is_apart(path):
        return False
    suffix = path.suffix.lower()
    if suffix in DICOM_SUFFIXES:
        return True
    return suffix not in _OTHERS and path.is_file() and has_dicom_content(path)


def _is_apart(path: Path) -> bool:
    """Whether a name is one of what the system keeps, or of the table of contents of a disc."""
    return path.name.startswith(".") or path.name.upper() == "DICOMDIR"


def has_dicom_name(path: Path) -> bool:
    """Whether a name may be of a DICOM file, where there is nothing to look into."""
    if _is_apart(path):
        return False
    suffix = path.suffix.lower()
    return suffix in ("", *DICOM_SUFFIXES) or suffix[1:].isdigit()


def has_dicom_content(path: Path) -> bool:
    """Whether a file begins as DICOM files do, with their preamble or without; None that is closed
    to us does."""
    try:
        with path.open("rb") as file:
            head = file.read(_PREAMBLE)
    except OSError:
        return False
    return head[128:] == b"DICM" or _is_headless(head)


def _is_headless(head: bytes) -> bool:
    """Whether the first elements are of the group that comes first, as before DICOM version 3."""
    if len(head) < 20 or head[:2] not in (b"\x02\0", b"\x08\0") or head[3] != 0:
        return False
    explicit = head[4:6] in _KINDS
    length = int.from_bytes(head[6:8] if explicit else head[4:8], "little")
    end = 8 + length
    return length <= _LONGEST and length % 2 == 0 and (
        end + 2 > len(head) or head[end : end + 2] in (b"\x02\0", b"\x08\0", b"\x10\0")
    )  # fmt: skip


def is_series_folder(path: Path) -> bool:
    """Whether a folder holds DICOM files."""
    return any(is_dicom(file) and not file.is_dir() for file in path.iterdir())
