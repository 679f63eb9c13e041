"""Which files and folders are volumes, and what they are called."""

from __future__ import annotations

from pathlib import Path

from flexseg.errors import DataError
from flexseg.files.dicom.series import DICOM_SUFFIXES, is_dicom, is_series_folder
from flexseg.files.volumes.file_formats.file_format import all_formats

VOLUME_SUFFIXES = tuple(suffix for known in all_formats() for suffix in known.suffixes)

# Voxels whose header is a separate file (.mhd, .nhdr).
_VOXELS = tuple(suffix for known in all_formats() for suffix in known.voxel_suffixes)


def volume_suffix(path: Path) -> str:
    """The suffix of a volume, in small letters; `.nii.gz` is one. Empty for other files."""
    name = path.name.lower()
    return max((s for s in VOLUME_SUFFIXES if name.endswith(s) and name != s), key=len, default="")


def volume_stem(path: Path) -> str:
    """The name of a volume without its suffix."""
    return path.name[: len(path.name) - len(volume_suffix(path))]


def find_volumes(folder: Path) -> list[Path]:
    """The volumes in a folder and in its direct subfolders, sorted: files and DICOM folders.

    A folder that holds DICOM files is one volume, the folder given included. What the system
    hides (names with a leading dot) is left out.

    Raises
    ------
    DataError : there is no such folder, or no volume in it.
    """
    if not folder.is_dir():
        raise DataError("There is no such folder.", "Check the path.", str(folder))
    found: list[Path] = []
    folders = [folder, *sorted(p for p in folder.iterdir() if p.is_dir() and not _hidden(p))]
    for place in folders:
        inside = sorted(p for p in place.iterdir() if not _hidden(p))
        if is_series_folder(place):
            found.append(place)
        found += [p for p in inside if p.is_file() and volume_suffix(p) and not is_dicom(p)]
        if place != folder:
            found += [p for p in inside if p.is_dir() and is_series_folder(p)]
    if not found:
        raise DataError(
            "The folder holds no volume.",
            f"Volumes are files ({', '.join(VOLUME_SUFFIXES)}) and folders of DICOM files "
            f"({', '.join(DICOM_SUFFIXES)}, or without suffix).",
            str(folder),
        )
    return found


def other_files(folder: Path) -> list[Path]:
    """The files next to the volumes that `find_volumes` gives, such as tables and notes, sorted.

    The voxels that the headers of MetaImage and NRRD name do not count.
    """
    places = [folder, *(p for p in folder.iterdir() if p.is_dir() and not _hidden(p))]
    return sorted(
        p
        for place in places
        for p in place.iterdir()
        if p.is_file() and not (_hidden(p) or volume_suffix(p) or is_dicom(p))
        if not p.name.lower().endswith(_VOXELS)
    )


def _hidden(path: Path) -> bool:
    return path.name.startswith(".")
