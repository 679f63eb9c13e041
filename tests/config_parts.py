"""What parts of flexseg are made of a whole config, as the doors of commands make them."""

from __future__ import annotations

from flexseg.batches.store import CaseReader
from flexseg.config import Experiment
from flexseg.dataset.labels import LabelMap
from flexseg.files.preprocess import Preprocessing


def preprocessing_of(e: Experiment) -> Preprocessing:
    """How its images become network input."""
    return Preprocessing.from_config(e.model, e.image, e.volume, e.dataset.resize_interpolation)


def reader_of(e: Experiment) -> CaseReader:
    """What reads its cases."""
    return CaseReader(
        preprocessing_of(e),
        LabelMap.from_config(e.class_sections),
        e.mask.unknown_colors,
    )


def labels_of(experiment: Experiment) -> LabelMap:
    """The label map of a config."""
    return LabelMap.from_config(experiment.class_sections)
