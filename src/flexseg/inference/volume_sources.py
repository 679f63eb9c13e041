"""Which volumes are to be predicted, and what they are called in the results."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from flexseg.config.findings import examples
from flexseg.errors import DataError
from flexseg.files.dicom.series import is_dicom, is_series_folder
from flexseg.files.images import IMAGE_SUFFIXES, list_files
from flexseg.files.volumes.paths import find_volumes, other_files, volume_stem, volume_suffix

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
        return self.path.name if self.folder == self.path.name else self.name

    @property
    def dicom(self) -> bool:
        """Whether it is a DICOM series."""
        return self.path.is_dir() or is_dicom(self.path)


def holds_volumes(source: Path) -> bool:
    """Whether a source is a volume, a DICOM series, or a folder of these and of no images."""
    if source.is_file():
        suffix = volume_suffix(source)
        return source.suffix.lower() not in IMAGE_SUFFIXES and bool(suffix or is_dicom(source))
    if not source.is_dir():
        return False
    try:
        volumes = [p for p in find_volumes(source) if p.suffix.lower() not in IMAGE_SUFFIXES]
    except DataError:
        return False
    images = list_files(source, IMAGE_SUFFIXES)
    if images and volumes:
        logger.warning(
            "%s: %d volumes beside the images are not predicted: %s. `flexseg infer3d` does that.",
            source, len(volumes), examples([p.name for p in volumes]),
        )  # fmt: skip
    return bool(volumes) and not images


def volume_cases(source: Path, output: Path) -> list[VolumeCase]:
    """The volumes of a source with names that differ; what lies in `output` does not count.

    Raises
    ------
    DataError : there is no volume.
    """
    if source.is_file() or is_series_folder(source):
        paths = [source]
    else:
        paths, others = (
            [p for p in found if output.resolve() not in p.resolve().parents]
            for found in (find_volumes(source), other_files(source))
        )
        if others:
            left_out = examples([p.name for p in others])
            logger.info(
                "%d files are no volumes by their names, left out: %s", len(others), left_out
            )
    names = [_stem(path) for path in paths]
    for more in (
        lambda p: p.name,
        lambda p: f"{p.parent.name}_{_stem(p)}",
        lambda p: f"{p.parent.name}_{p.name}",
    ):
        counts = Counter(name.lower() for name in names)
        names = [
            more(path) if counts[name.lower()] > 1 else name
            for path, name in zip(paths, names, strict=True)
        ]
    files = Counter(path.name.lower() for path in paths)
    return [
        VolumeCase(path, name, path.name if files[path.name.lower()] == 1 else name)
        for path, name in zip(paths, names, strict=True)
    ]


def _stem(path: Path) -> str:
    return path.name if path.is_dir() else volume_stem(path)
