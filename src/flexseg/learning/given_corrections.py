"""Masks that were corrected with any program, taken over as corrections."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flexseg.batches.store import CaseReader
from flexseg.dataset.ignored.pixels import IGNORED
from flexseg.dataset.labels import LabelMap
from flexseg.dataset.marks.made_up_names import is_made_up
from flexseg.dataset.reading import Dataset, VolumeDataset
from flexseg.errors import DataError
from flexseg.files.preprocess import Preprocessing
from flexseg.files.volumes.geometry import GeometryRule, match_label
from flexseg.files.volumes.read import one_channel, read_labels, read_volume
from flexseg.learning.corrections import Corrections
from flexseg.learning.slice_cases import CaseKind


def add_dataset(
    corrections: Corrections,
    folder: Path,
    by: str,
    model: str = "",
    kinds: Sequence[CaseKind] = ("image",),
) -> int:
    """Add all cases of a dataset of images and masks, or of volumes and labels; their number.

    Its classes are the model's by their names. Where nothing names them, those of images are by
    their order; of volumes the values are the model's class ids.

    Parameters
    ----------
    kinds : what the model learns from, see `learned_kinds`.

    Raises
    ------
    DataError : it holds what the model does not learn from, or classes that the model has not.
    """
    data = Dataset.open(folder)
    if isinstance(data, VolumeDataset):
        if "volume" not in kinds:
            raise DataError(
                "These are volumes, and the model was not trained on slices of any.",
                "Begin with a model of volumes: `flexseg auto FOLDER` trains one.",
                str(folder),
            )
        return _add_volumes(corrections, data, by, model)
    if "image" not in kinds:
        raise DataError(
            "These are images, but the model sees slices of volumes with their neighbours.",
            "Correct label volumes, not single slices, and give the folder of volumes and labels.",
            str(folder),
        )
    ids = _ids(data.labels, corrections.labels, folder)
    reader = CaseReader(Preprocessing(1, 1, 1), data.labels, data.unknown_colors)
    for case in data.cases:
        labels = ids[reader.native(case)[1]]
        corrections.add(case.id, case.image, labels, "corrected", by, model=model, group=case.group)
    return len(data.cases)


def _add_volumes(corrections: Corrections, data: VolumeDataset, by: str, model: str) -> int:
    ids = _ids_of_values(data, corrections.labels)
    for case in data.cases:
        image = one_channel(read_volume(case.image), case.image)
        found, _ = match_label(read_labels(case.mask), image, GeometryRule.STRICT, case.mask)
        labels = np.zeros(found.shape, np.uint8)
        for value, class_id in ids.items():
            labels[found.array == value] = class_id
        corrections.add_volume(
            case.id, image, labels, "corrected", by, model=model, group=case.group
        )
    return len(data.cases)


def _ids_of_values(data: VolumeDataset, ours: LabelMap) -> dict[int, int]:
    """Label value -> our class id; 255 for what is ignored."""
    known = {c.name.casefold(): c.id for c in ours.foreground}
    values = {v: c for c in data.labels.foreground for v in c.values if v != IGNORED}
    nameless = (is_made_up(c.name, c.id) or c.name == f"label {v}" for v, c in values.items())
    if all(nameless):
        known = {c.name.casefold(): v for v, c in values.items() if v < len(ours.classes)}
    for value, c in values.items():
        if c.name.casefold() not in known:
            names = ", ".join(f"{one.id} {one.name}" for one in ours.foreground)
            raise DataError(
                f"The labels have the value {value} ({c.name}), but the classes of the model are "
                f"{names}.",
                "Use their numbers, or name the values like them in a dataset.json: "
                '{"labels": {"1": "liver"}}. 255 marks what nobody has looked at.',
                str(data.folder),
            )
    ignored = data.labels.ignored.values if data.labels.ignored else ()
    found = {value: known[c.name.casefold()] for value, c in values.items()}
    return found | dict.fromkeys((*ignored, IGNORED), IGNORED)


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
