"""Trainings whose words go to a file, as several of one command do."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

LOG_FILE = "training.log"


@contextmanager
def quietly(folder: Path, *, append: bool = False) -> Iterator[Console]:
    """Let what a training says go to `training.log` in a folder, and free its memory at the end.

    Parameters
    ----------
    append : to what an earlier one has said, which is lost otherwise.
    """
    import keras
    from rich.console import Console

    from flexseg.training.memory import release

    with (folder / LOG_FILE).open("a" if append else "w", encoding="utf-8") as file:
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
