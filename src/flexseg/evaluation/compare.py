"""Runs against each other on the same cases: paired differences and what they prove.

Differences are taken within each case, because cases differ far more from each other than
networks do. Intervals are bootstrapped over groups (`evaluation.aggregate`); p values are of
Wilcoxon's signed-rank test on the groups' mean differences, where zeros keep their ranks
(Pratt), and are adjusted by Holm's method where more than two runs are compared.

References
----------
Wilcoxon: Individual comparisons by ranking methods. Biometrics Bulletin 1, 1945.
Pratt: Remarks on zeros and ties in the Wilcoxon signed rank procedures. JASA 54, 1959.
Holm: A simple sequentially rejective multiple test procedure. Scand. J. Statistics 6, 1979.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from flexseg.config.findings import examples
from flexseg.errors import ConfigError, DataError
from flexseg.evaluation.aggregate import (
    bootstrap_means,
    interval,
    mean_or_none,
    small_sample_note,
)
from flexseg.evaluation.results import Results

# 1: more is better; -1: less is better.
DIRECTIONS = {
    "dice": 1,
    "iou": 1,
    "precision": 1,
    "recall": 1,
    "specificity": 1,
    "nsd": 1,
    "lesion_precision": 1,
    "lesion_recall": 1,
    "lesion_f1": 1,
    "hd95": -1,
    "assd": -1,
    "area_error": -1,
    "brier": -1,
    "ece": -1,
}
# What a metric is measured with must be equal in all runs.
_SETTINGS = {
    "hd95": ("units", "spacing"),
    "assd": ("units", "spacing"),
    "nsd": ("units", "spacing", "tolerance"),
}
MACRO = "mean of classes"
# The signed-rank test cannot give p < 0.05 below this number of differences.
_FEWEST = 6
# Scores are stored with 6 decimals; what differs by less is equal.
_DECIMALS = 9


@dataclass(frozen=True)
class Difference:
    """One run minus another, in one class or in the mean of the classes.

    Attributes
    ----------
    first, second : names of the runs; the difference is second - first.
    cases, groups : how many have the metric in both runs.
    mean : mean difference over cases; of `MACRO` the mean of the classes' means.
    ci95 : its bootstrap interval; None where one group alone says nothing.
    p : of the signed-rank test, two-sided; None with fewer than two groups.
    p_holm : adjusted for the number of pairs of runs.
    better, worse, equal : cases by whether the second run is better in them.
    """

    first: str
    second: str
    class_name: str
    cases: int
    groups: int
    mean: float | None
    ci95: tuple[float, float] | None
    p: float | None
    p_holm: float | None
    better: int
    worse: int
    equal: int


@dataclass(frozen=True)
class Standing:
    """A run among the others.

    Attributes
    ----------
    rank : 1 + the number of runs that are clearly better.
    mean, ci95 : of the macro mean.
    classes : mean by class name, over the cases in whose reference the class is.
    missed, false_positive : cases by class name.
    not_told_apart : runs that neither are clearly better nor clearly worse.
    """

    name: str
    rank: int
    mean: float | None
    ci95: tuple[float, float] | None
    classes: dict[str, float | None]
    missed: dict[str, int]
    false_positive: dict[str, int]
    not_told_apart: list[str]


@dataclass(frozen=True)
class Comparison:
    """The outcome of `compare`.

    Attributes
    ----------
    runs : as given, all with the cases of the first in its order.
    values : per run the metric [cases, classes]; NaN where it does not count.
    standings : best rank first.
    differences : of all pairs, each in every class and in `MACRO`.
    """

    metric: str
    runs: list[Results]
    values: list[NDArray[np.float64]]
    standings: list[Standing]
    differences: list[Difference]
    notes: list[str] = field(default_factory=list)

    @property
    def direction(self) -> int:
        """1 if more of the metric is better, else -1."""
        return DIRECTIONS[self.metric]

    def difference(self, first: str, second: str, class_name: str = MACRO) -> Difference:
        """The difference of a pair in the order in which the runs were given."""
        wanted = (first, second, class_name)
        return next(d for d in self.differences if (d.first, d.second, d.class_name) == wanted)


def compare(runs: Sequence[Results], metric: str = "dice", resamples: int = 2000) -> Comparison:
    """Compare two or more runs that were evaluated on the same cases.

    A class counts in the cases in whose reference it is, as in the means of an evaluation. A run
    is clearly better than another if the 95 % interval of their macro difference excludes 0.

    Raises
    ------
    ConfigError : fewer than two runs, or a metric that they do not have.
    DataError : the runs were evaluated on other cases, classes, references or settings.
    """
    if len(runs) < 2:
        raise ConfigError("One run cannot be compared.", "Give two or more.", "RUN")
    if metric not in DIRECTIONS:
        raise ConfigError(
            f"{metric!r} is no metric to compare.", f"Metrics: {', '.join(DIRECTIONS)}.", "--metric"
        )
    for run in runs:
        if metric not in run.columns:
            known = ", ".join(m for m in DIRECTIONS if m in run.columns)
            raise ConfigError(
                f"{run.name} has no {metric}; it has {known or 'no metric at all'}.",
                "Evaluate it again with this version, or choose another --metric.",
                "--metric",
            )
    runs = [runs[0], *(_aligned(run, runs[0], metric) for run in runs[1:])]
    values = [_values(run, metric) for run in runs]
    differences = _differences(runs, values, metric, resamples)
    standings = _standings(runs, values, differences, metric, resamples)
    notes = _notes(runs, differences, resamples)
    return Comparison(metric, list(runs), values, standings, differences, notes)


def _aligned(run: Results, first: Results, metric: str) -> Results:
    """A run with its cases in the order of the first. Raises DataError where both differ."""
    fix = "Evaluate both with the same test set, classes and settings."
    if run.classes != first.classes:
        raise DataError(
            f"The classes differ: {_listed(run.classes)}, but {_listed(first.classes)} in "
            f"{first.name}.",
            fix,
            run.name,
        )
    more, less = set(run.cases) - set(first.cases), set(first.cases) - set(run.cases)
    if more or less:
        parts = [
            f"{len(found)} {which} ({examples(sorted(found))})"
            for found, which in ((more, f"that {first.name} has not"), (less, "are missing"))
            if found
        ]
        raise DataError(f"The cases differ: {' and '.join(parts)}.", fix, run.name)
    index = {case: i for i, case in enumerate(run.cases)}
    order = np.array([index[case] for case in first.cases])
    groups = tuple(run.groups[i] for i in order)
    pairs = zip(first.cases, groups, first.groups, strict=True)
    if moved := [case for case, here, there in pairs if here != there]:
        raise DataError(
            f"{len(moved)} cases are in other groups than in {first.name}: {examples(moved)}.",
            "Evaluate both with the same [dataset] group.",
            run.name,
        )
    columns = {name: column[order] for name, column in run.columns.items()}
    sizes = [c.get("reference_px") for c in (columns, first.columns)]
    if sizes[0] is not None and sizes[1] is not None:
        differ = ~np.isclose(sizes[0], sizes[1], equal_nan=True).all(axis=1)
        if differ.any():
            found = examples([first.cases[i] for i in np.flatnonzero(differ)])
            raise DataError(
                f"{int(differ.sum())} cases have another reference mask than in {first.name}: "
                f"{found}.",
                fix,
                run.name,
            )
    for key in _SETTINGS.get(metric, ()):
        here, there = run.summary.get(key), first.summary.get(key)
        if here != there:
            raise DataError(
                f"{metric} is measured with {key} = {here}, in {first.name} with {there}.",
                fix,
                run.name,
            )
    return replace(run, cases=first.cases, groups=groups, status=run.status[order], columns=columns)


def _listed(classes: dict[int, str]) -> str:
    return ", ".join(f"{class_id} {name}" for class_id, name in classes.items())


def _values(run: Results, metric: str) -> NDArray[np.float64]:
    """The metric [cases, classes] where the class is in the reference, else NaN."""
    values = run.columns[metric]
    if metric == "area_error":
        values = np.abs(values)
    if metric in ("precision", "lesion_precision"):
        # Nothing that should have been found was, as in the means of an evaluation.
        values = np.where(run.status == "missed", 0.0, values)
    return np.where(np.isin(run.status, ("scored", "missed")), values, np.nan)


def _mean_by_case(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over the defined classes, [cases, classes] to [cases]; NaN without any."""
    defined = ~np.isnan(values)
    sums = np.where(defined, values, 0.0).sum(axis=1)
    with np.errstate(invalid="ignore"):
        return sums / defined.sum(axis=1)


def _macro(
    values: NDArray[np.float64], draws: NDArray[np.float64]
) -> tuple[float | None, tuple[float, float] | None]:
    """Mean of the classes' means, and its interval from draws [resamples, classes]."""
    means = [mean_or_none(values[:, column]) for column in range(values.shape[1])]
    present = [column for column, mean in enumerate(means) if mean is not None]
    if not present:
        return None, None
    mean = float(np.mean([means[column] for column in present]))
    return mean, interval(draws[:, present].mean(axis=1))


def _differences(
    runs: Sequence[Results],
    values: Sequence[NDArray[np.float64]],
    metric: str,
    resamples: int,
) -> list[Difference]:
    groups = np.asarray(runs[0].groups)
    found: list[Difference] = []
    for a, b in combinations(range(len(runs)), 2):
        change = np.round(values[b] - values[a], _DECIMALS)
        draws = bootstrap_means(change, runs[0].groups, max(resamples, 1))
        columns: list[tuple[str, NDArray, float | None, tuple[float, float] | None]] = [
            (name, change[:, i], mean_or_none(change[:, i]), interval(draws[:, i]))
            for i, name in enumerate(runs[0].classes.values())
        ]
        macro = np.round(_mean_by_case(change), _DECIMALS)
        columns.append((MACRO, macro, *_macro(change, draws)))
        for name, column, mean, ci in columns:
            defined = ~np.isnan(column)
            gain = DIRECTIONS[metric] * column[defined]
            found.append(
                Difference(
                    runs[a].name,
                    runs[b].name,
                    name,
                    int(defined.sum()),
                    len(set(groups[defined])),
                    mean,
                    ci,
                    signed_rank_p(_group_means(column, groups)),
                    None,
                    int((gain > 0).sum()),
                    int((gain < 0).sum()),
                    int((gain == 0).sum()),
                )
            )
    adjusted: dict[int, float] = {}
    for name in {d.class_name for d in found}:
        family = [i for i, d in enumerate(found) if d.class_name == name and d.p is not None]
        adjusted |= dict(zip(family, holm([found[i].p or 0.0 for i in family]), strict=True))
    return [replace(d, p_holm=adjusted.get(i)) for i, d in enumerate(found)]


def _group_means(column: NDArray[np.float64], groups: NDArray[np.str_]) -> NDArray[np.float64]:
    """Means of the groups that have a defined value."""
    defined = ~np.isnan(column)
    _, owner = np.unique(groups[defined], return_inverse=True)
    sums = np.bincount(owner, weights=column[defined])
    return np.round(sums / np.maximum(np.bincount(owner), 1), _DECIMALS)


def signed_rank_p(differences: NDArray[np.float64]) -> float | None:
    """Two-sided p of Wilcoxon's signed-rank test of independent differences, zeros by Pratt.

    1 if all are zero; None with fewer than two.
    """
    if len(differences) < 2:
        return None
    if not differences.any():
        return 1.0
    from scipy.stats import wilcoxon

    return float(wilcoxon(differences, zero_method="pratt").pvalue)


def holm(p: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment, in the order given.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    adjusted = [0.0] * len(p)
    highest = 0.0
    for place, index in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        highest = max(highest, min(1.0, (len(p) - place) * p[index]))
        adjusted[index] = highest
    return adjusted


def _standings(
    runs: Sequence[Results],
    values: Sequence[NDArray[np.float64]],
    differences: Sequence[Difference],
    metric: str,
    resamples: int,
) -> list[Standing]:
    direction = DIRECTIONS[metric]
    better: dict[str, set[str]] = {run.name: set() for run in runs}
    tied: dict[str, list[str]] = {run.name: [] for run in runs}
    for d in differences:
        if d.class_name != MACRO:
            continue
        if d.ci95 is None or d.ci95[0] <= 0 <= d.ci95[1]:
            tied[d.first].append(d.second)
            tied[d.second].append(d.first)
        elif direction * d.ci95[0] > 0:
            better[d.first].add(d.second)
        else:
            better[d.second].add(d.first)
    result = []
    for run, scores in zip(runs, values, strict=True):
        mean, ci = _macro(scores, bootstrap_means(scores, run.groups, max(resamples, 1)))
        names = list(run.classes.values())
        result.append(
            Standing(
                run.name,
                1 + len(better[run.name]),
                mean,
                ci,
                {name: mean_or_none(scores[:, i]) for i, name in enumerate(names)},
                _count(run, "missed"),
                _count(run, "false positive"),
                tied[run.name],
            )
        )
    worst = float("inf")
    return sorted(result, key=lambda s: (s.rank, worst if s.mean is None else -direction * s.mean))


def _count(run: Results, status: str) -> dict[str, int]:
    counts = (run.status == status).sum(axis=0)
    return {name: int(n) for name, n in zip(run.classes.values(), counts, strict=True)}


def _notes(runs: Sequence[Results], differences: Sequence[Difference], resamples: int) -> list[str]:
    groups = len(set(runs[0].groups))
    notes = [
        "Differences are within cases, over those in whose reference the class is; intervals: "
        f"95 % bootstrap over groups, {resamples} resamples; p: Wilcoxon signed-rank on the "
        "groups' means.",
        "The rank is 1 + the number of runs that are clearly better: the interval of the "
        "difference excludes 0.",
    ]
    if len(runs) > 2:
        notes.append(
            "With more than two runs look at the p by Holm, which accounts for all pairs; each "
            "interval is for its pair alone."
        )
    if groups < _FEWEST:
        notes.append(
            f"With {groups} independent groups the test cannot give p < 0.05, whatever the runs."
        )
    if few := small_sample_note(groups):
        notes.append(few)
    if any(d.mean is None for d in differences):
        empty = sorted({d.class_name for d in differences if d.mean is None})
        notes.append(f"Nothing to compare, as no case has it in both runs: {', '.join(empty)}.")
    return notes
