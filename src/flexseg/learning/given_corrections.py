"""Masks that were corrected with any program, taken over as corrections."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flexseg.batches.store import CaseReader
from flexseg.dataset.ignored.pixels import IGNORED
from flexseg.dataset.labels import LabelMap
from flexseg.dataset.marks.made_up_names import is_made_up
from flexseg.dataset.reading import Dataset, ImageDataset
from flexseg.errors import DataError
from flexseg.files.preprocess import Preprocessing
from flexseg.learning.corrections import Corrections


def add_dataset(corrections: Corrections, folder: Path, by: str, model: str = "") -> int:
    """Add all cases of a dataset of images and masks; returns their number.

    Its classes are the model's by their names; where nothing names them, by their order.

    Raises
    ------
    DataError : it holds volumes, or classes that the model has not.
    """
    data = Dataset.open(folder)
    if not isinstance(data, ImageDataset):
        raise DataError(
            "Corrections are images with masks, but these are volumes.",
            "Train on volumes with `flexseg auto FOLDER --from MODEL`.",
            str(folder),
        )
    ids = _ids(data.labels, corrections.labels, folder)
    reader = CaseReader(Preprocessing(1, 1, 1), data.labels, data.unknown_colors)
    for case in data.cases:
        labels = ids[reader.native(case)[1]]
        corrections.add(case.id, case.image, labels, "corrected", by, model=model, group=case.group)
    return len(data.cases)


def _ids(theirs: LabelMap, ours: LabelMap, where: Path) -> NDArray[np.uint8]:
    """Our class id of each of theirs, [256]; 255 stays what nobody has looked at."""
    known = {c.name.casefold(): c.id for c in ours.foreground}
    found = np.zeros(256, np.uint8)
    found[IGNORED] = IGNORED
    nameless = all(is_made_up(c.name, c.id) for c in theirs.foreground)
    if nameless and len(theirs.classes) <= len(ours.classes):
        known = {c.name.casefold(): c.id for c in theirs.foreground}
    for c in theirs.foreground:
        if c.name.casefold() not in known:
            names = ", ".join(one.name for one in ours.foreground)
            raise DataError(
                f"The model has no class {c.name!r}; its classes are {names}.",
                "Name the classes of the masks like those of the model, in a dataset.json or a "
                "classes.txt beside them.",
                str(where),
            )
        found[c.id] = known[c.name.casefold()]
    return found
