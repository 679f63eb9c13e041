"""A short training among many: its config, its log, and the engine, which is loaded once."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from flexseg.config.load import LoadedConfig, load
from flexseg.config.schema import DataSections
from flexseg.dataset.division.config_splits import find_splits
from flexseg.dataset.division.splits import Splits

if TYPE_CHECKING:
    from rich.console import Console

LOG_FILE = "training.log"


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


@contextmanager
def quietly(folder: Path) -> Iterator[Console]:
    """Let what a training says go to `training.log` in a folder, and free its memory at the end."""
    import keras
    from rich.console import Console

    from flexseg.training.memory import release

    with (folder / LOG_FILE).open("w", encoding="utf-8") as file:
        log = logging.getLogger("flexseg")
        before, log.handlers[:] = log.handlers[:], [logging.StreamHandler(file)]
        try:
            yield Console(file=file, width=200)
        finally:
            log.handlers[:] = before
            keras.utils.clear_session()  # the graphs of all trainings would stay otherwise
            release()


def load_engine(backend: str) -> None:
    """Take seconds that are not to be those of the first training."""
    from flexseg.backend import select

    select(backend)
    import flexseg.training.trainer  # noqa: F401

    # It warns of graphs that are made anew, as they must be for each training.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
