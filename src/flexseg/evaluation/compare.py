"""Runs against each other on the same cases: paired differences and what they prove.

Differences are taken within each case, because cases differ far more from each other than
networks do. Intervals are bootstrapped over groups (`evaluation.aggregate`). Tests are on what
each group contributes to the mean difference (`evaluation.paired_tests`): Wilcoxon's signed-rank
test in a class; in the mean of several classes, where ranks would lose the weight of rare ones, a
sign-flip test of that mean. Holm's method adjusts p where more than two runs are compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from flexseg.evaluation.aggregate import (
    bootstrap_means,
    classes_with_few,
    mean_of_classes,
    mean_or_none,
    small_sample_note,
)
from flexseg.evaluation.comparable import comparable
from flexseg.evaluation.metrics.metric import METRICS
from flexseg.evaluation.paired_tests import (
    DECIMALS,
    contributions,
    holm,
    sign_flip_p,
    signed_rank_p,
)
from flexseg.runs.evaluations import Results

MACRO = "mean of classes"
# The signed-rank test cannot give p < 0.05 below this number of differences.
_FEWEST = 6


@dataclass(frozen=True)
class Difference:
    """One run minus another, in one class or in the mean of the classes.

    Attributes
    ----------
    first, second : names of the runs; the difference is second - first.
    cases, groups : how many have the metric in both runs.
    mean : mean difference over cases; of `MACRO` the mean of the classes' means, over the
        classes that two groups or more have (if no class has: over those that occur).
    ci95 : its bootstrap interval; None where one group alone says nothing.
    p : of the signed-rank test, of `MACRO` over several classes of the sign-flip test of that
        mean; two-sided; None with fewer than two groups.
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
    no_interval : runs of which nothing can be said, as too few groups have a class.
    """

    name: str
    rank: int
    mean: float | None
    ci95: tuple[float, float] | None
    classes: dict[str, float | None]
    missed: dict[str, int]
    false_positive: dict[str, int]
    not_told_apart: list[str]
    no_interval: list[str]


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
        return METRICS.get(self.metric).sign

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
    metric, runs = comparable(runs, metric)
    values = [_values(run, metric) for run in runs]
    differences = _differences(runs, values, metric, resamples)
    standings = _standings(runs, values, differences, metric, resamples)
    notes = _notes(runs, differences, resamples)
    return Comparison(metric, runs, values, standings, differences, notes)


def _values(run: Results, metric: str) -> NDArray[np.float64]:
    """The metric [cases, classes] where the class is in the reference, else NaN."""
    values, facts = run.columns[metric], METRICS.get(metric)
    if facts.better == "near 0":
        values = np.abs(values)
    return facts.counted(values, run.status)


def _mean_by_case(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over the defined classes, [cases, classes] to [cases]; NaN without any."""
    defined = ~np.isnan(values)
    sums = np.where(defined, values, 0.0).sum(axis=1)
    with np.errstate(invalid="ignore"):
        return sums / defined.sum(axis=1)


def _columns_of_mean(change: NDArray[np.float64], groups: NDArray[np.str_]) -> list[int]:
    """The classes that the mean of classes is of: those that at least two groups have.

    Which run is better must not hang on a class of which the spread between groups is not known.
    Without such classes: those that occur, which then have no interval; or all.
    """
    counts = [len(set(groups[~np.isnan(column)])) for column in change.T]
    for least in (2, 1, 0):
        if found := [column for column, count in enumerate(counts) if count >= least]:
            break
    return found


def _differences(
    runs: Sequence[Results],
    values: Sequence[NDArray[np.float64]],
    metric: str,
    resamples: int,
) -> list[Difference]:
    groups = np.asarray(runs[0].groups)
    found: list[Difference] = []
    for a, b in combinations(range(len(runs)), 2):
        change = np.round(values[b] - values[a], DECIMALS)
        draws = bootstrap_means(change, runs[0].groups, max(resamples, 1))
        parts = [(name, [column]) for column, name in enumerate(runs[0].classes.values())]
        for name, columns in (*parts, (MACRO, _columns_of_mean(change, groups))):
            by_case = np.round(_mean_by_case(change[:, columns]), DECIMALS)
            defined = ~np.isnan(by_case)
            test = signed_rank_p if len(columns) == 1 else sign_flip_p
            improvement = METRICS.get(metric).sign * by_case[defined]
            found.append(
                Difference(
                    runs[a].name,
                    runs[b].name,
                    name,
                    int(defined.sum()),
                    len(set(groups[defined])),
                    *mean_of_classes(change[:, columns], draws[:, columns]),
                    test(contributions(change[:, columns], groups)),
                    None,
                    int((improvement > 0).sum()),
                    int((improvement < 0).sum()),
                    int((improvement == 0).sum()),
                )
            )
    adjusted: dict[int, float] = {}
    for name in {d.class_name for d in found}:
        family = [i for i, d in enumerate(found) if d.class_name == name and d.p is not None]
        adjusted |= dict(zip(family, holm([found[i].p or 0.0 for i in family]), strict=True))
    return [replace(d, p_holm=adjusted.get(i)) for i, d in enumerate(found)]


def _standings(
    runs: Sequence[Results],
    values: Sequence[NDArray[np.float64]],
    differences: Sequence[Difference],
    metric: str,
    resamples: int,
) -> list[Standing]:
    direction = METRICS.get(metric).sign
    better: dict[str, set[str]] = {run.name: set() for run in runs}
    tied: dict[str, list[str]] = {run.name: [] for run in runs}
    unknown: dict[str, list[str]] = {run.name: [] for run in runs}
    for d in differences:
        if d.class_name != MACRO:
            continue
        if d.ci95 is None:
            unknown[d.first].append(d.second)
            unknown[d.second].append(d.first)
        elif d.ci95[0] <= 0 <= d.ci95[1]:
            tied[d.first].append(d.second)
            tied[d.second].append(d.first)
        elif direction * d.ci95[0] > 0:
            better[d.first].add(d.second)
        else:
            better[d.second].add(d.first)
    result = []
    for run, scores in zip(runs, values, strict=True):
        draws = bootstrap_means(scores, run.groups, max(resamples, 1))
        mean, ci = mean_of_classes(scores, draws)
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
                unknown[run.name],
            )
        )
    worst = float("inf")
    return sorted(result, key=lambda s: (s.rank, worst if s.mean is None else -direction * s.mean))


def _count(run: Results, status: str) -> dict[str, int]:
    counts = (run.status == status).sum(axis=0)
    return {name: int(n) for name, n in zip(run.classes.values(), counts, strict=True)}


def _notes(runs: Sequence[Results], differences: Sequence[Difference], resamples: int) -> list[str]:
    groups = _groups_by_class(runs, differences)
    notes = [
        "Differences are within cases, over those whose reference contains the class; "
        f"intervals: 95 % bootstrap over groups, {resamples} resamples; p: Wilcoxon signed-rank "
        "on what each group contributes to the difference, for the mean of several classes a "
        "sign-flip test of that mean.",
        "The rank is 1 + the number of runs that are clearly better: the interval of the "
        "difference excludes 0.",
    ]
    if len(runs) > 2:
        notes.append(
            "With more than two runs, look at Holm's p, which accounts for all pairs; each "
            "interval is for its pair alone."
        )
    if any(d.ci95 is None for d in differences if d.class_name == MACRO):
        notes.append(
            "Where no class is in the reference of two groups or more, there is no interval: "
            "runs that share a rank are then not necessarily alike."
        )
    elif single := [name for name, count in groups.items() if count == 1]:
        notes.append(
            f"Only one group has {', '.join(single)}: its difference has no interval and is not "
            "in the mean of classes, by which the runs are ranked."
        )
    if few := classes_with_few(groups, _FEWEST):
        notes.append(
            "The test cannot give p < 0.05, whatever the runs, where so few independent groups "
            f"have a class: {few}."
        )
    if small := small_sample_note(groups):
        notes.append(small)
    if any(d.mean is None for d in differences):
        empty = sorted({d.class_name for d in differences if d.mean is None})
        notes.append(f"Not compared, as no case has them in both runs: {', '.join(empty)}.")
    return notes


def _groups_by_class(
    runs: Sequence[Results], differences: Sequence[Difference]
) -> Mapping[str, int]:
    """Groups that have a class in all runs; the fewest of any pair."""
    return {
        name: min(d.groups for d in differences if d.class_name == name)
        for name in runs[0].classes.values()
    }
