"""Which volumes are to be predicted, and what they are called in the results."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from flexseg.config.findings import examples
from flexseg.errors import DataError
from flexseg.files.channel_files.channel_names import first_files, image_of
from flexseg.files.dicom.image import holds_pictures, is_picture
from flexseg.files.dicom.recognition import is_dicom, is_series_folder
from flexseg.files.entries import described, list_files
from flexseg.files.images import PICTURE_SUFFIXES
from flexseg.files.volumes.paths import find_volumes, no_volumes, volume_stem, volume_suffix
from flexseg.storage.mirror import present

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class VolumeCase:
    """A volume to predict.

    Attributes
    ----------
    path : a file, or a folder of DICOM files.
    name : its name in the results, without suffix.
    folder : the name of its folder of slices: the file's, as of the originals.
    """

    path: Path
    name: str
    folder: str

    @property
    def file(self) -> str:
        """Its name in lists of files: the file's, unless others have the same."""
        return self.folder

    @property
    def dicom(self) -> bool:
        """Whether it is a DICOM series."""
        return self.path.is_dir() or is_dicom(self.path)


def holds_volumes(source: Path, *, recursive: bool = False) -> bool:
    """Whether a source is a volume, a DICOM series, or a folder of these and of no images.

    Parameters
    ----------
    recursive : all folders in it count as well.
    """
    if present(source).is_file():
        suffix = volume_suffix(source)
        if is_dicom(source):
            return not is_picture(source)
        return source.suffix.lower() not in PICTURE_SUFFIXES and bool(suffix)
    if not source.is_dir():
        return False
    try:
        found = find_volumes(source, recursive=recursive)
    except DataError:
        return False
    pictures = [p for p in found if not p.is_dir() and is_dicom(p)]
    volumes = [p for p in found if p.suffix.lower() not in PICTURE_SUFFIXES and p not in pictures]
    images = list_files(source, PICTURE_SUFFIXES, recursive=recursive) or pictures
    if images and volumes:
        logger.warning(
            "%s: volumes beside the images are not predicted (%d): %s. Use `flexseg infer3d` for "
            "them.",
            source, len(volumes), examples([p.name for p in volumes]),
        )  # fmt: skip
    return bool(volumes) and not images


def volume_cases(
    source: Path, output: Path, *, recursive: bool = False, files: int = 1
) -> list[VolumeCase]:
    """The volumes of a source with names that differ; what lies in `output` does not count.

    Parameters
    ----------
    recursive : those of all folders in the source as well, named by their paths.
    files : that a volume may consist of, one for each channel; it goes by the first one.

    Raises
    ------
    DataError : there is no volume.
    """
    if source.is_file() or (
        not recursive and is_series_folder(source) and not holds_pictures(source)
    ):
        paths = [source]
    else:
        paths = find_volumes(source, recursive=recursive, without=[output])
        if rest := no_volumes(source, paths, [output]):
            told = described(source, rest)
            deeper = any(p.is_dir() for p in rest) and not recursive
            advice = "Use --recursive to look into all subfolders." if deeper else ""
            logger.warning("%s: left out, as these are not volumes: %s. %s", source, told, advice)
    paths = first_files(paths, files)

    def stem(path: Path) -> str:
        return (image_of(path) if files > 1 else None) or _stem(path)

    ways: tuple[Callable[[Path], str], ...] = (stem, *_NAMES_IN_ONE_FOLDER)
    if recursive:
        ways = (
            lambda path: _below(source, path, stem(path)),
            lambda path: _below(source, path, path.name),
        )
    names = [ways[0](path) for path in paths]
    for more in ways[1:]:
        counts = Counter(name.lower() for name in names)
        names = [
            more(path) if counts[name.lower()] > 1 else name
            for path, name in zip(paths, names, strict=True)
        ]
    folders = [_below(source, path, path.name) if recursive else path.name for path in paths]
    counts = Counter(name.lower() for name in folders)
    return [
        VolumeCase(path, name, folder if counts[folder.lower()] == 1 else name)
        for path, name, folder in zip(paths, names, folders, strict=True)
    ]


def _stem(path: Path) -> str:
    return path.name if path.is_dir() else volume_stem(path)


def _below(source: Path, path: Path, name: str) -> str:
    """A name after the folders that lead to a volume."""
    return name if path == source else (path.parent.relative_to(source) / name).as_posix()


# From short to unmistakable, after the name without suffix.
_NAMES_IN_ONE_FOLDER: tuple[Callable[[Path], str], ...] = (
    lambda path: path.name,
    lambda path: f"{path.parent.name}_{_stem(path)}",
    lambda path: f"{path.parent.name}_{path.name}",
)
