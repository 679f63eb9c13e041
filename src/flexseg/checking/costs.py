"""What a training would cost, judged against the machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from flexseg.batches.patches import MOST_VALIDATED, grid
from flexseg.config.findings import Finding, Severity
from flexseg.config.load import LoadedConfig
from flexseg.errors import ResourceError
from flexseg.files.preprocess import Preprocessing
from flexseg.machine import count_text, free_disk, size_text, usable_cores
from flexseg.training.needs import Needs, needs_of

Size = tuple[int, int]
_UNITS = (("years", 365 * 86400.0), ("days", 86400.0), ("h", 3600.0), ("min", 60.0))
# No training lasts so long, however rough the estimate is; so long it seldom should.
_ENDLESS, _LONG = 100 * 365 * 86400.0, 30 * 86400.0
# Workers per core that no machine makes use of, and what a thread's stack takes.
_MOST_WORKERS, _STACK = 64, 8 * 2**20
# Of the free room, what is tight by estimate.
_TIGHT = 0.8


@dataclass(frozen=True)
class Costs:
    """The needs of a training on so many cases.

    Attributes
    ----------
    cases, validated : for training and validation; 0 where that is not known.
    epochs : at most; None: their time is set.
    disk_free : bytes that the disk of the run has left; None where nobody tells.
    """

    needs: Needs
    epochs: int | None
    disk_free: int | None
    cases: int = 0
    validated: int = 0

    @property
    def epoch_seconds(self) -> float | None:
        """About how long an epoch takes; None where that is not known."""
        if not self.cases and self.needs.steps is None:
            return None
        return self.needs.epoch_seconds(self.cases, self.validated)

    @property
    def seconds(self) -> float | None:
        """About how long all epochs take; None where that is not known."""
        if self.epochs is None or self.epoch_seconds is None:
            return None
        return self.epoch_seconds * min(self.epochs, 10**30)

    def of_images(
        self, trained: Sequence[Size], validated: Sequence[Size], preprocessing: Preprocessing
    ) -> Costs:
        """The same, of images of these sizes (height, width), where patches are cut from them."""
        patch = preprocessing.patch
        if patch is None or not trained:
            return self
        pixels = sum(height * width for height, width in trained) // len(trained)
        needs = replace(self.needs, image=pixels * (preprocessing.channels + 1))
        shown = min(MOST_VALIDATED, sum(len(grid(size, patch)) for size in validated))
        return replace(self, needs=needs, validated=shown)

    def as_dict(self) -> dict[str, Any]:
        """The figures as JSON types; sizes in bytes."""
        return {
            **asdict(self.needs),
            "memory": self.needs.memory_of(self.cases),
            "disk": self.needs.disk.peak,
            "disk_free": self.disk_free,
            "epoch_seconds": self.epoch_seconds,
            "seconds": self.seconds,
        }

    def __str__(self) -> str:
        needs = self.needs
        memory, batch = size_text(needs.memory_of(self.cases)), count_text(needs.batch)
        parts = [
            f"{count_text(needs.parameters)} parameters",
            f"about {memory} of memory for batches of {batch}{_there(needs.limit)}",
            f"{size_text(needs.disk.peak)} on the disk at most{_there(self.disk_free)}",
        ]
        if self.epoch_seconds is not None:
            parts.append(f"roughly {_duration(self.epoch_seconds)} an epoch")
        if self.seconds is not None:
            parts[-1] += f", {_duration(self.seconds)} for all {count_text(self.epochs or 0)}"
        return ", ".join(parts)


def costs_of(loaded: LoadedConfig) -> Costs:
    """What the training of a config with a network of the registry costs.

    Raises
    ------
    ConfigError : the network cannot be built.
    ResourceError : one batch of images is larger than the memory.
    """
    e = loaded.experiment
    return Costs(
        needs_of(e.model, e.train, e.dataset),
        None if e.train.minutes else e.train.epochs,
        free_disk(e.train.model_dir),
    )


def room_findings(costs: Costs, loaded: LoadedConfig) -> list[Finding]:
    """Memory, disk and workers that the machine does not have, or hardly."""
    needs, train = costs.needs, loaded.experiment.train
    findings = []
    try:
        needs.require_memory()
        if needs.free is not None and needs.memory > needs.free:
            findings.append(
                _warning(
                    "tight-memory",
                    "[train] batch_size",
                    f"Training with batches of {count_text(needs.batch)} takes about "
                    f"{size_text(needs.memory)} of memory; {size_text(needs.free)} is free.",
                    "Close other programs, or set train.batch_size = 'auto'.",
                )
            )
    except ResourceError as error:
        findings.append(Finding.of_error(error, "config", "[model], [train] batch_size"))
    try:
        needs.disk.require([train.model_dir], train.best_model_file, resumed=False)
        if costs.disk_free is not None and needs.disk.peak > _TIGHT * costs.disk_free:
            findings.append(
                _warning(
                    "tight-disk",
                    str(train.model_dir),
                    f"Weights and checkpoint take {size_text(needs.disk.peak)}; the disk has "
                    f"{size_text(costs.disk_free)} left.",
                    "Free some space, or choose another train.run_dir.",
                )
            )
    except ResourceError as error:
        findings.append(Finding.of_error(error, "config"))
    return findings + _worker_findings(needs, loaded)


def _worker_findings(needs: Needs, loaded: LoadedConfig) -> list[Finding]:
    """Workers that no core is left for."""
    workers, cores = loaded.experiment.dataset.workers, usable_cores()
    source = loaded.source("dataset", "workers")
    if workers <= cores or source.startswith("default"):
        return []
    what, stacks = f"{count_text(workers)} workers share {cores} cores", workers * _STACK
    severity = Severity.WARNING
    if needs.limit is not None and workers > _MOST_WORKERS * cores and stacks > needs.limit:
        severity = Severity.ERROR
        what += f"; their stacks alone take {size_text(stacks)} of memory{_there(needs.limit)}"
    where, fix = (
        f"{source}, [dataset] workers",
        f"More than {cores} {'worker makes' if cores == 1 else 'workers make'} nothing faster.",
    )
    return [Finding(severity, "config", "many-workers", where, f"{what}.", fix)]


def time_findings(costs: Costs, loaded: LoadedConfig) -> list[Finding]:
    """Trainings that nobody lives to see the end of, or that are very long."""
    train, epoch = loaded.experiment.train, costs.epoch_seconds
    if epoch is None:
        return []
    where = f"{loaded.source('train', 'epochs')}, [train] epochs"
    fix = "Choose smaller images, a smaller network or fewer epochs, or set train.minutes."
    whole = costs.seconds or 0.0
    # Early stopping is what ends most trainings.
    stops = train.patience > 0
    if max(epoch, 0 if stops else whole) > _ENDLESS:
        what = f"An epoch takes roughly {_duration(epoch)}"
        what += f", all {count_text(costs.epochs)} {_duration(whole)}." if costs.epochs else "."
        return [Finding(Severity.ERROR, "config", "endless", where, what, fix)]
    if whole > (_ENDLESS if stops else _LONG):
        what = f"The training takes roughly {_duration(whole)} on this machine"
        what += ", unless early stopping (train.patience) ends it." if stops else "."
        return [_warning("long-training", where, what, fix)]
    return []


def _warning(code: str, where: str, what: str, fix: str) -> Finding:
    return Finding(Severity.WARNING, "config", code, where, what, fix)


def _there(there: int | None) -> str:
    return "" if there is None else f" (of {size_text(there)})"


def _duration(seconds: float) -> str:
    """Two digits of a duration, as it is estimated."""
    unit, size = next(((u, s) for u, s in _UNITS if seconds >= s), ("s", 1.0))
    value = seconds / size
    return f"{value:.0f} {unit}" if 10 <= value < 1000 else f"{value:.2g} {unit}"
