"""Which steps of postprocessing help, on cached predictions of one kind of units."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from flexseg.dataset.ignored.pixels import IGNORED
from flexseg.dataset.labels import LabelClass, LabelMap
from flexseg.evaluation.postprocessing.cached_predictions import Kind, PredictionCache, Unit
from flexseg.evaluation.postprocessing.improvement import (
    Counts,
    StepValue,
    Trial,
    best_of,
    clear_by_parts,
    compare_scores,
)
from flexseg.evaluation.postprocessing.references import ReferenceParts, TrainingReferences
from flexseg.inference.postprocess import Postprocessing, Steps, fill_holes, parts

# Of the 5 % quantile of the sizes of reference parts.
_SHARES = (0.1, 0.25, 0.5, 1)


def counts_of(
    pairs: Iterable[tuple[NDArray[np.uint8], NDArray[np.uint8]]], classes: int
) -> list[Counts]:
    """`Counts` of each foreground class from (predicted, true) class ids of units."""
    common, predicted, reference = [], [], []
    for prediction, truth in pairs:
        true, hit = truth[truth != IGNORED], truth[(truth == prediction) & (truth != IGNORED)]
        common.append(np.bincount(hit, minlength=classes))
        predicted.append(np.bincount(prediction[truth != IGNORED], minlength=classes))
        reference.append(np.bincount(true, minlength=classes))
    tables = np.array(common), np.array(predicted), np.array(reference)
    return [Counts(*(table[:, c] for table in tables)) for c in range(1, classes)]


@dataclass(frozen=True)
class _Parts:
    """The parts of one class in one unit: pixels, those of them that count, those that are right,
    and the class's pixels in the reference."""

    sizes: NDArray[np.int64]
    counted: NDArray[np.int64]
    right: NDArray[np.int64]
    reference: int


class StepSearch:
    """The steps of all classes on one kind of units.

    Parameters
    ----------
    training : references beside those of the units, asked for where few units change.

    Attributes
    ----------
    final : counts of each class after all that is kept.
    """

    def __init__(
        self,
        labels: LabelMap,
        cache: PredictionCache,
        kind: Kind,
        units: Sequence[Unit],
        threshold: float,
        training: TrainingReferences | None = None,
    ) -> None:
        self.labels = labels
        self.cache = cache
        self.kind = kind
        self.units = units
        self.threshold = threshold
        self.training = training
        self.groups = [unit.group for unit in units]
        self.trials: list[Trial] = []
        self.final: list[Counts] = []

    def run(self) -> Postprocessing:
        """Try the steps of every class."""
        tables: dict[int, list[_Parts]] = {c.id: [] for c in self.labels.foreground}
        truths: dict[int, list[ReferenceParts]] = {c.id: [] for c in self.labels.foreground}
        for unit in self.units:
            prediction, truth = self._load(unit)
            for c in self.labels.foreground:
                tables[c.id].append(_parts_of(prediction, truth, c.id))
                true_parts = parts(truth, c.id)
                if true_parts is not None:
                    truths[c.id].append(ReferenceParts(unit.group, true_parts[2]))
        steps: dict[int, Steps] = {}
        for c in self.labels.foreground:
            steps[c.id] = self._choose_drops(c, tables[c.id], truths[c.id])
        return self._choose_fills(steps)

    def _load(self, unit: Unit) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        prediction, truth = self.cache.load(unit)
        return self.cache.labels(prediction, self.threshold), truth

    def _choose_drops(
        self, c: LabelClass, table: list[_Parts], truths: list[ReferenceParts]
    ) -> Steps:
        steps = Steps()
        sizes = smallest_sizes([truth.sizes for truth in truths])
        for key, values in (("largest_component", [True]), ("min_size", sizes)):
            trials = [
                self._try(c, table, truths, steps, key, value, len(values)) for value in values
            ]
            trials, best = best_of(trials)
            self.trials += trials
            if best is not None:
                steps = _with(steps, key, best.value)
        return steps

    def _try(
        self,
        c: LabelClass,
        table: list[_Parts],
        truths: list[ReferenceParts],
        now: Steps,
        key: str,
        value: StepValue,
        values: int,
    ) -> Trial:
        """One of some `values` of a step, on top of what is done `now`."""
        then = _with(now, key, value)
        before, after = ([_after_drops(table, steps)] for steps in (now, then))
        what = (self.kind, c.name, key, value)

        def references() -> list[tuple[str, float]]:
            seen = self.training.of(self.kind).get(c.id, []) if self.training else []
            return [(one.group, one.dice_after(then)) for one in (*truths, *seen)]

        trial = compare_scores(what, before, after, self.groups, values)
        return clear_by_parts(trial, *_dropped(table, now, then), references, values)

    def _choose_fills(self, steps: dict[int, Steps]) -> Postprocessing:
        """Holes of one class touch no other: one look at all classes is enough."""
        drops = Postprocessing({c: s for c, s in steps.items() if s.drops})
        classes = len(self.labels.classes)
        dropped = counts_of(((drops(p), t) for p, t in map(self._load, self.units)), classes)
        ids = [c.id for c in self.labels.foreground]
        filled = counts_of(
            ((fill_holes(drops(p), ids), t) for p, t in map(self._load, self.units)), classes
        )
        for c, before, after in zip(self.labels.foreground, dropped, filled, strict=True):
            what = (self.kind, c.name, "fill_holes", True)
            trial = compare_scores(what, [before], [after], self.groups)
            self.trials.append(trial)
            if trial.kept:
                steps[c.id] = replace(steps[c.id], fill_holes=True)
            self.final.append(after if trial.kept else before)
        return Postprocessing({c: s for c, s in steps.items() if s != Steps()})


def _with(steps: Steps, key: str, value: StepValue) -> Steps:
    if key == "min_size":
        return replace(steps, min_size=int(value))
    return replace(steps, largest_component=bool(value))


def _parts_of(prediction: NDArray[np.uint8], truth: NDArray[np.uint8], class_id: int) -> _Parts:
    right = truth == class_id
    reference = int(right.sum())
    found = parts(prediction, class_id)
    if found is None:
        none = np.zeros(0, np.int64)
        return _Parts(none, none, none, reference)
    box, numbers, sizes = found
    hits, ignored = (
        np.bincount(numbers[where[box]], minlength=len(sizes) + 1)[1:]
        for where in (right, truth == IGNORED)
    )
    return _Parts(sizes, sizes - ignored, hits, reference)


def _after_drops(table: Sequence[_Parts], steps: Steps) -> Counts:
    keep = [steps.kept(entry.sizes) for entry in table]
    return Counts(
        np.array([entry.right[k].sum() for entry, k in zip(table, keep, strict=True)]),
        np.array([entry.counted[k].sum() for entry, k in zip(table, keep, strict=True)]),
        np.array([entry.reference for entry in table]),
    )


def _dropped(table: Sequence[_Parts], now: Steps, then: Steps) -> tuple[int, int]:
    """How many parts `then` drops that `now` does not: false ones, and those mostly right."""
    false = right = 0
    for entry in table:
        gone = now.kept(entry.sizes) & ~then.kept(entry.sizes) & (entry.counted > 0)
        hits = 2 * entry.right[gone] > entry.counted[gone]
        right += int(hits.sum())
        false += int((~hits).sum())
    return false, right


def smallest_sizes(reference: Sequence[NDArray[np.int64]]) -> list[int]:
    """Sizes to try as the smallest, from those of all parts of the reference, rising.

    Shares of the 5 % quantile, which few true parts are below, and the 25 % quantile, where many
    small parts are false.
    """
    if not reference:
        return []
    few, many = np.quantile(np.concatenate(reference), (0.05, 0.25))
    values = {round(float(value)) for value in (*(few * np.array(_SHARES)), many)}
    return sorted(values - {0, 1})
