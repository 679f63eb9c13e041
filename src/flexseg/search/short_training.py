"""A short training among many: its cases and its config."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from flexseg.config.load import LoadedConfig, load
from flexseg.config.schema import DataSections
from flexseg.dataset.division.config_splits import find_splits
from flexseg.dataset.division.splits import Splits


def splits_to_learn(data: DataSections) -> Splits:
    """The cases to train and to validate on.

    Raises
    ------
    ConfigError, DataError : there are none of either, or they are wrong.
    """
    splits = find_splits(data, only=("train", "valid"))
    splits.raise_errors()
    splits.need("train")
    splits.need("valid")
    splits.log()
    return splits


def load_into(config: Path, overrides: Sequence[str], folder: Path, minutes: float) -> LoadedConfig:
    """A config whose training has all its files in a folder, as few as possible."""
    return load(
        config,
        [
            *overrides,
            f"train.run_dir={folder}",
            f"train.model_dir={folder / 'models'}",
            f"train.eval_dir={folder / 'eval'}",
            f"train.minutes={minutes}",
            "train.epoch_change_infer=False",
            "train.epoch_change_tiled_infer=False",
            "generator.debug=False",
            "model.show_summary=False",
        ],
        run_code=True,
    )
