"""Which files and folders are volumes, and what they are called."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from flexseg.errors import DataError
from flexseg.files.dicom.image import holds_pictures
from flexseg.files.dicom.recognition import DICOM_SUFFIXES, is_dicom, is_series_folder
from flexseg.files.entries import folders_below, folders_in, left_out, list_files, visible
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


def find_volumes(
    folder: Path, *, recursive: bool = False, without: Iterable[Path] = ()
) -> list[Path]:
    """The volumes in a folder and in its direct subfolders, sorted: files and DICOM folders.

    A folder that holds DICOM files is one volume, the folder given included, unless they are
    single images; where there is nothing else, folders of them are found however deep. What the
    system hides (names with a leading dot) is left out. What has the name of a volume and is no
    file, as a link to nothing, is among them; reading it tells why.

    Parameters
    ----------
    recursive : those of all folders below as well.
    without : folders that do not count.

    Raises
    ------
    DataError : there is no such folder, or no volume in it.
    """
    without = list(without)
    found = _volumes_in(folder)
    inner = folders_below(folder, without) if recursive else folders_in(folder)
    skipped = {os.path.realpath(path) for path in without}
    for place in inner:
        if os.path.realpath(place) in skipped:
            continue
        inside = _volumes_in(place)
        if not recursive:
            inside += [p for p in folders_in(place) if is_series_folder(p) or volume_suffix(p)]
        found += inside or ([place] if volume_suffix(place) else [])
    if not found and not recursive:  # the folders of a hospital's CD: study, series
        below = folders_below(folder, without)
        found = [v for p in below if is_series_folder(p) for v in _volumes_in(p)]
    if not found:
        raise DataError(
            "The folder contains no volume.",
            f"Give a folder with volumes: files ({', '.join(VOLUME_SUFFIXES)}) or folders of "
            f"DICOM files ({', '.join(DICOM_SUFFIXES)}, or without suffix).",
            str(folder),
        )
    return found


def _volumes_in(place: Path) -> list[Path]:
    """A folder if it is a DICOM series, and what has the name of a volume in it but folders."""
    # What names tell is asked first: of a million images nothing else is.
    files = [p for p in visible(place) if volume_suffix(p) and not is_dicom(p) and not p.is_dir()]
    if not is_series_folder(place):
        return files
    pictures = [p for p in visible(place) if is_dicom(p) and not p.is_dir()]
    return [*(pictures if holds_pictures(place) else [place]), *files]


def no_volumes(folder: Path, volumes: Iterable[Path], without: Iterable[Path] = ()) -> list[Path]:
    """What lies in a folder and below beside its volumes, sorted.

    The voxels that the headers of MetaImage and NRRD name do not count.

    Parameters
    ----------
    without : folders that do not count.
    """
    without = list(without)
    voxels = list_files(folder, _VOXELS, recursive=True, without=without)
    return left_out(folder, [*volumes, *voxels], recursive=True, without=without)
