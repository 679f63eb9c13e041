"""What the trials of a search must have in common for their scores to compare."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from flexseg.config.augmentation import AUGMENTOR_SECTIONS
from flexseg.config.base import Section
from flexseg.config.schema import Experiment
from flexseg.dataset.division.splits import Splits

_SECTIONS = ("model", "train", "dataset", "image", "mask", "volume", "generator", "augmentation")
# Keys of [train] that may change between a search and its continuation.
_FREE_OF_TRAIN = {
    "epochs", "minutes", "checkpoint_minutes", "tensorboard", "mlflow", "metrics", "run_dir",
    "model_dir", "eval_dir", "best_model_file", "epoch_change_infer", "epoch_change_infer_dir",
    "epoch_change_tiled_infer", "epoch_change_tiled_infer_dir", "num_infer_images",
}  # fmt: skip
# Of other sections: how fast batches come, not what is in them.
_FREE = {
    "augmentation.augment_on", "generator.debug", "dataset.cache", "dataset.cache_gb",
    "dataset.workers", "dataset.worker_type",
}  # fmt: skip


def fixed_values(
    experiment: Experiment, splits: Splits, *, paths: bool = True
) -> dict[str, object]:
    """Name -> value in plain JSON: the keys that scores depend on, and a hash of the cases.

    Parameters
    ----------
    paths : whole ones; without, their last parts, as hosts have the same files in other places.
    """
    from flexseg.runs.manifest import data_fingerprint

    values = {
        f"{section}.{key}": value
        for section in (*_SECTIONS, *AUGMENTOR_SECTIONS)
        for key, value in _values_of(getattr(experiment, section), paths=paths).items()
        if not (section == "train" and key in _FREE_OF_TRAIN)
    }
    values = {name: value for name, value in values.items() if name not in _FREE}
    for name in ("train", "valid"):
        values[f"{name} cases"] = data_fingerprint(splits.need(name))
    # Through JSON and back, as a stored one went: tuples become lists.
    plain: dict[str, object] = json.loads(json.dumps(values))
    return plain


def _values_of(section: Section, *, paths: bool) -> dict[str, object]:
    values: dict[str, object] = section.model_dump(mode="json")
    if not paths:
        values |= {key: value.name for key, value in section if isinstance(value, Path)}
    return values


def name_of(fixed: Mapping[str, object]) -> str:
    """Of `fixed_values` what tells trainings on other cases apart, as 8 hex digits."""
    cases = f"{fixed['train cases']} {fixed['valid cases']}"
    return hashlib.sha256(cases.encode()).hexdigest()[:8]
