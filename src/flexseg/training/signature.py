"""What must not change between an interruption of a training and its resumption."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import keras

from flexseg.config.augmentation import AugmentationConfig
from flexseg.config.model import ModelConfig
from flexseg.dataset.cases import Case
from flexseg.files.preprocess import Preprocessing
from flexseg.runs.manifest import data_fingerprint
from flexseg.training.job import TrainingJob

# Key of the number of images per step, which `batch_size = "auto"` leaves to the run.
BATCH_SIZE = "train.batch_size"
_CLASSES = "mask.classes"


def signature_of(job: TrainingJob, cases: tuple[Case, ...], precision: str) -> dict[str, Any]:
    """Name -> value in plain JSON; equal for two runs of which one can go on with the other."""
    model = job.model.model_dump(mode="json", exclude={"show_summary"})
    train, reader = job.train, job.reader
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
        **job.augmentation.values,
        **{f"preprocessing.{k}": value for k, value in reader.preprocessing.as_dict().items()},
        _CLASSES: reader.labels.as_dict(),
        "mask.unknown_colors": reader.unknown_colors,
        "precision": precision,
        "backend": keras.backend.backend(),
        "training data": data_fingerprint(cases),
    }
    # Through JSON and back, as a stored one went: tuples become lists.
    plain: dict[str, Any] = json.loads(json.dumps(signature))
    return plain


def changes(now: dict[str, Any], stored: dict[str, Any]) -> list[str]:
    """The names whose values differ, sorted.

    Older signatures also hold the options of other networks, which change nothing, and lack keys
    that there were none of: these have their defaults.
    """
    stored = {k: v for k, v in stored.items() if k in now or not k.startswith("model.")}
    stored = {k: v for k, v in _defaults().items() if k in now} | stored
    now, stored = _nameless(now), _nameless(stored)
    return sorted(key for key in now.keys() | stored.keys() if now.get(key) != stored.get(key))


def _nameless(signature: dict[str, Any]) -> dict[str, Any]:
    """Without the names of the classes, which change nothing."""
    classes = signature.get(_CLASSES)
    if not isinstance(classes, dict):
        return signature
    nameless = [{k: v for k, v in one.items() if k != "name"} for one in classes["classes"]]
    return signature | {_CLASSES: classes | {"classes": nameless}}


@cache
def _defaults() -> dict[str, Any]:
    sections = {
        "model": ModelConfig().model_dump(mode="json"),
        "augmentation": AugmentationConfig().model_dump(mode="json"),
        "preprocessing": Preprocessing(0, 0, 0).as_dict(),
    }
    plain: dict[str, Any] = json.loads(json.dumps(sections))
    return {f"{section}.{key}": v for section, keys in plain.items() for key, v in keys.items()}
