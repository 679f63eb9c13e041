"""Folders and files that are exports of annotation tools, with the images that they are of."""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from flexseg.config.findings import examples
from flexseg.dataset.candidates.answers import Answers
from flexseg.dataset.layout import find_layout, volume_folders
from flexseg.derive.annotations import annotated_dataset  # noqa: F401 - it registers the formats
from flexseg.derive.annotations.export import FORMATS
from flexseg.errors import DataError
from flexseg.files.entries import entries_below
from flexseg.files.images import IMAGE_SUFFIXES
from flexseg.machine import typed

_SUFFIXES = (".json", ".geojson", ".xml")
# Of exports with a file per image, the first ones tell what all are.
_LOOKED_AT = 200


@dataclass(frozen=True)
class Export:
    """An export of an annotation tool.

    Attributes
    ----------
    source : the file or folder of the annotations.
    images : the folder that holds all images.
    format_name : a name of `FORMATS`.
    """

    source: Path
    images: Path
    format_name: str

    @property
    def command(self) -> str:
        """What makes a dataset of it, without the name of the new folder."""
        return (
            f"flexseg derive annotations {typed(self.source)} {typed(self.images)} "
            f"--format {self.format_name} -o"
        )


def find_export(dataset: Path, answers: Answers) -> Export | None:
    """The export that a folder or a file is; None if it is none, or has masks as well.

    Raises
    ------
    DataError : it holds several; says how each becomes a dataset.
    """
    if dataset.is_file():
        if dataset.suffix.lower() not in _SUFFIXES:
            return None
        name = _format_of(dataset)
        return None if name is None else _of([(dataset, name)], dataset.parent)
    if not dataset.is_dir() or _has_masks(dataset, answers):
        return None
    name = _format_of(dataset)
    if name is not None:
        return _of([(dataset, name)], dataset)
    files = (p for p in entries_below(dataset) if p.suffix.lower() in _SUFFIXES and p.is_file())
    looked_at = islice(files, _LOOKED_AT)
    found = [(file, name) for file in looked_at if (name := _format_of(file)) is not None]
    return _of(found, dataset) if found else None


def _has_masks(dataset: Path, answers: Answers) -> bool:
    try:
        return volume_folders(dataset, answers) is not None or bool(
            find_layout(dataset, answers).folders
        )
    except DataError:
        return False


def _format_of(path: Path) -> str | None:
    """The one format that a file or folder is of."""
    found = [name for name in FORMATS if FORMATS.get(name).detects(path)]
    return found[0] if len(found) == 1 else None


def _of(found: list[tuple[Path, str]], root: Path) -> Export | None:
    exports = []
    for source, name in found:
        images = _images_below(source.parent if len(found) > 1 else root) or _images_below(root)
        if images is None:
            return None
        exports.append(Export(source, images, name))
    if len(exports) == 1:
        return exports[0]
    commands = "; ".join(f"`{one.command} NEW_{i}`" for i, one in enumerate(exports[:6], start=1))
    names = [one.source.relative_to(root).as_posix() for one in exports]
    raise DataError(
        f"The folder holds {len(exports)} exports of annotations: {examples(names)}.",
        f"Make a dataset of the one you mean, or of each: {commands}.",
        str(root),
    )


def _images_below(folder: Path) -> Path | None:
    """The folder that holds all images below one; None if there are none."""
    parents = {p.parent for p in entries_below(folder) if p.suffix.lower() in IMAGE_SUFFIXES}
    return Path(os.path.commonpath(parents)) if parents else None
