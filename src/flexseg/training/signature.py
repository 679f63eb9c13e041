"""What must not change between an interruption of a training and its resumption."""

from __future__ import annotations

import json
from typing import Any

import keras

from flexseg.augment.policy import policy_of
from flexseg.config.augmentation import AUGMENTOR_SECTIONS
from flexseg.config.schema import Experiment
from flexseg.dataset.cases import Case
from flexseg.dataset.labels import LabelMap
from flexseg.files.preprocess import Preprocessing
from flexseg.runs.manifest import data_fingerprint

# Key of the number of images per step, which `batch_size = "auto"` leaves to the run.
BATCH_SIZE = "train.batch_size"


def signature_of(experiment: Experiment, cases: tuple[Case, ...], precision: str) -> dict[str, Any]:
    """Name -> value in plain JSON; equal for two runs of which one can go on with the other."""
    model = experiment.model.model_dump(mode="json", exclude={"show_summary"})
    train = experiment.train
    preprocessing = Preprocessing.from_config(
        experiment.model,
        experiment.image,
        experiment.volume,
        experiment.dataset.resize_interpolation,
    ).as_dict()
    signature = {
        **{f"model.{key}": value for key, value in model.items()},
        BATCH_SIZE: train.batch_size,
        "train.seed": train.seed,
        "train.shuffle": train.shuffle,
        "train.steps_per_epoch": train.steps_per_epoch,
        "train.epoch_steps": train.epoch_steps,
        "train.oversample": train.oversample,
        "train.schedule": train.schedule,
        "train.warmup": train.warmup,
        "train.snapshots": train.snapshots,
        "train.ema": train.ema,
        "train.deep_supervision": train.deep_supervision,
        **_augmentation(experiment),
        **{f"preprocessing.{key}": value for key, value in preprocessing.items()},
        "mask.classes": LabelMap.from_experiment(experiment).as_dict(),
        "mask.unknown_colors": experiment.mask.unknown_colors,
        "precision": precision,
        "backend": keras.backend.backend(),
        "training data": data_fingerprint(cases),
    }
    # Through JSON and back, as a stored one went: tuples become lists.
    plain: dict[str, Any] = json.loads(json.dumps(signature))
    return plain


def _augmentation(experiment: Experiment) -> dict[str, Any]:
    """What says how samples are augmented; where it is done may change."""
    if policy_of(experiment.augmentation, experiment.trained_variants) is None:
        return {}
    names = ("augmentation",) if experiment.augmentation.enabled else AUGMENTOR_SECTIONS
    return {
        f"{name}.{key}": value
        for name in names
        for key, value in getattr(experiment, name)
        .model_dump(mode="json", exclude={"augment_on"})
        .items()
    }


def changes(now: dict[str, Any], stored: dict[str, Any]) -> list[str]:
    """The names whose values differ, sorted.

    Older signatures also hold the options of other networks, which change nothing.
    """
    stored = {k: v for k, v in stored.items() if k in now or not k.startswith("model.")}
    return sorted(key for key in now.keys() | stored.keys() if now.get(key) != stored.get(key))
