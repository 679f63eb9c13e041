"""The weights at the end of each cycle of the learning rate, averaged as one package.

A learning rate that falls to 0 and rises again several times leaves the network in a good place
each time, and the predictions of these places together are better than those of the last one. The
training takes no longer for it, the prediction as many times as there are snapshots.

References
----------
Huang et al.: Snapshot Ensembles: Train 1, Get M for Free. ICLR 2017.
Loshchilov, Hutter: SGDR: Stochastic Gradient Descent with Warm Restarts. ICLR 2017.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from flexseg.backend import Logs
from flexseg.inference.ensemble import write_ensemble
from flexseg.inference.model_files import ENSEMBLE
from flexseg.training.callbacks.averaging import AveragedWeights

logger = logging.getLogger(__name__)

# A last cycle that was stopped before this share of it has too high a rate for a good snapshot.
_NEARLY = 0.75


class Snapshots(keras.callbacks.Callback):
    """Saves the weights whenever the training passes the end of a cycle.

    The weights of an epoch's end would not do: most of an epoch may have passed since the rate
    rose again.

    Parameters
    ----------
    folder : receives `snapshot_1.h5`, `snapshot_2.h5`, ...
    cycles : of the whole training.
    done : tells the share of the training that is done before batch `batch` of this epoch.
    save : writes the network's weights to a file, with a description.
    averaged : the optimizer keeps a moving average of the weights, which is saved instead.
    """

    def __init__(
        self,
        folder: Path,
        cycles: int,
        done: Callable[[int], float],
        save: Callable[[Path, dict[str, Any]], None],
        *,
        averaged: bool,
    ) -> None:
        super().__init__()
        self.folder = folder
        self.cycles = cycles
        self.done = done
        self.save = save
        self.average = AveragedWeights() if averaged else None
        self.taken: int | None = None
        self._share = 0.0

    def set_model(self, model: keras.Model) -> None:
        super().set_model(model)
        if self.average is not None:
            self.average.set_model(model)

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        if self.taken is None:  # an interrupted training goes on within one of its cycles
            self.taken = self._passed(self.done(batch))

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self._share = self.done(batch + 1)
        reached = self._passed(self._share)
        if self.taken is not None and reached > self.taken:
            self._take(reached)

    def _passed(self, share: float) -> int:
        """Ends of cycles up to a share of the training; 2.9999999 of three cycles are 3."""
        return min(int(share * self.cycles + 1e-6), self.cycles)

    def finish(self) -> None:
        """Take the last snapshot, where the clock has stopped the training just before its end."""
        place = self._share * self.cycles
        if self.taken == self.cycles - 1 and place >= self.taken + _NEARLY:
            self._take(self.cycles)

    def _take(self, number: int) -> None:
        if hasattr(self.model, "jax_state_sync"):
            # Between steps JAX keeps the variables elsewhere.
            self.model.jax_state_sync()
        if self.average is not None:
            self.average.enter()
        self.save(snapshot_file(self.folder, number), {"snapshot": number, "cycles": self.cycles})
        if self.average is not None:
            self.average.leave()
        self.taken = number


def snapshot_file(folder: Path, number: int) -> Path:
    """The file of a snapshot, counted from 1."""
    return folder / f"snapshot_{number}.h5"


def write_snapshots(folder: Path, cycles: int) -> Path | None:
    """Average the snapshots in a folder as one package; None with fewer than two.

    Parameters
    ----------
    cycles : of the training, so many snapshots should be there.

    Raises
    ------
    ResourceError : the folder cannot be written to.
    """
    expected = {f"snapshot_{n}": snapshot_file(folder, n) for n in range(1, cycles + 1)}
    files = {name: path for name, path in expected.items() if path.is_file()}
    if len(files) < cycles:
        logger.warning(
            "%d of %d snapshots were taken%s.",
            len(files),
            cycles,
            "" if len(files) > 1 else ": there is no ensemble",
        )
    if len(files) < 2:
        return None
    path = folder / ENSEMBLE
    write_ensemble(path, files)
    return path
