"""What is written after each epoch: the best weights, logs, curves and the names of samples."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from pathlib import Path

import keras

from flexseg.backend import Logs
from flexseg.batches.batch_dataset import BatchDataset
from flexseg.errors import ResourceError
from flexseg.losses import DICE
from flexseg.outputs import write_csv, write_json, write_text
from flexseg.training import checkpoint
from flexseg.training.callbacks.curves import draw_curves

logger = logging.getLogger(__name__)


def rank(values: Mapping[str, float]) -> tuple[float, float]:
    """What orders the epochs of a training; the weights of the highest are kept.

    The Dice of the validation's cases comes first where the training computes it; then the lower
    val_loss (loss without a validation set).

    Parameters
    ----------
    values : of an epoch by name.
    """
    return values.get(f"val_{DICE}", 0.0), -values.get("val_loss", values.get("loss", math.inf))


class BestModel(keras.callbacks.Callback):
    """Keeps the weights of the best epoch, see `rank`.

    `best` is its loss, `best_dice` its Dice, 0 where none is computed.
    """

    def __init__(self, save: Callable[[dict[str, float]], None]) -> None:
        super().__init__()
        self.save = save
        self.best = math.inf
        self.best_dice = 0.0
        self.best_epoch = -1

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        values = {key: float(value) for key, value in (logs or {}).items()}
        dice, loss = rank(values)
        if (dice, loss) > (self.best_dice, -self.best):
            self.best_dice, self.best, self.best_epoch = dice, -loss, epoch
            self.save({"epoch": epoch, **values})


class Recorder(keras.callbacks.Callback):
    """Writes history.json, the CSV logs and the curves after each epoch.

    Parameters
    ----------
    progress : its history receives the values of each epoch.
    metrics : the two columns of train_metrics.csv.
    """

    def __init__(
        self,
        progress: checkpoint.Progress,
        eval_dir: Path,
        history_file: Path,
        metrics: list[str],
    ) -> None:
        super().__init__()
        self.progress = progress
        self.history = progress.history
        self.eval_dir = eval_dir
        self.history_file = history_file
        self.metrics = metrics

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        values = {key: float(value) for key, value in (logs or {}).items()}
        values.pop("learning_rate", None)
        values["lr"] = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        for key, value in values.items():
            self.history.setdefault(key, []).append(value)
        try:
            self.write()
        except ResourceError as error:
            # A log that is open in another program (Windows) must not end a training; all
            # values are written again after the next epoch.
            logger.warning("%s", error)

    def write(self) -> None:
        """Write all files from the history."""
        write_json(self.history_file, self.history)
        # The format of the original systems: a trailing comma in one header, blanks in rows.
        names = self._known(["loss", "val_loss"])
        self._write_log("train_losses", names, ", ".join(["epoch", *names]))
        names = self._known(self.metrics)
        self._write_log("train_metrics", names, f"epoch,{''.join(f'{n},' for n in names)}")
        columns = ("data", "steps", "validation", "batches")
        rows = [(i, *(round(t[c], 3) for c in columns)) for i, t in enumerate(self.progress.times)]
        write_csv(
            self.eval_dir / "times.csv",
            ("epoch", "data_s", "steps_s", "validation_s", "batches"),
            rows,
        )

    def _known(self, names: list[str]) -> list[str]:
        """The columns that there are: without a validation set none of it."""
        return [name for name in names if name in self.history or not name.startswith("val_")]

    def _write_log(self, stem: str, names: list[str], header: str) -> None:
        count = len(next(iter(self.history.values()), []))
        columns = [self.history.get(name, [0.0] * count) for name in names]
        rows = [
            ", ".join([str(epoch), *(f"{column[epoch]:.4f}" for column in columns)])
            for epoch in range(count)
        ]
        write_text(self.eval_dir / f"{stem}.csv", "\n".join([header, *rows]) + "\n")
        draw_curves(self.eval_dir / f"{stem}.png", dict(zip(names, columns, strict=True)))


# What the original generator calls it.
SAMPLES = "generate_images.txt"


class SampleLog(keras.callbacks.Callback):
    """Writes which files random batches were drawn from, as the original generator does.

    `SAMPLES`: a line `<n>_<image name>_<mask name>` per sample of the last epoch.
    """

    def __init__(self, dataset: BatchDataset, folder: Path) -> None:
        super().__init__()
        self.dataset = dataset
        self.file = folder / SAMPLES

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        batches = range(len(self.dataset.plan))
        cases = [case for batch in batches for case in self.dataset.cases_of(batch)]
        lines = [f"{n}_{case.image.name}_{case.mask.name}\n" for n, case in enumerate(cases)]
        write_text(self.file, "".join(lines))
