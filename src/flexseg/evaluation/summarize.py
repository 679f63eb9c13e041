"""From the scores of cases to the summary of an evaluation: means, intervals and counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from flexseg.config.findings import amount
from flexseg.dataset.cases import Case
from flexseg.dataset.labels import LabelMap
from flexseg.dataset.marks.class_names import quoted
from flexseg.errors import DataError
from flexseg.evaluation.aggregate import Sample, rounded, small_sample_note
from flexseg.evaluation.metrics.counts import PixelCounts, counts_by_class
from flexseg.evaluation.metrics.lesions import totals
from flexseg.evaluation.metrics.metric import Metric, all_metrics, count_metrics
from flexseg.evaluation.scoring import CaseResult, Measures
from flexseg.evaluation.summary import ClassMeans, ClassSummary, Confusion, EvaluationSummary


def summarize(
    labels: LabelMap,
    cases: Sequence[Case],
    results: Sequence[CaseResult],
    measures: Measures,
    resamples: int,
) -> EvaluationSummary:
    """What the cases have come to, see docs/reference/metrics.md.

    All means are over cases in whose reference the class is present; empty references are
    counted apart. Cases of ignored pixels only are left out.

    Raises
    ------
    DataError : there are no others.
    """
    everything = results
    counting = [(c, r) for c, r in zip(cases, results, strict=True) if r.matrix.any()]
    if everything and not counting:
        raise DataError(
            "Nothing can be scored: all pixels of all references are ignored.",
            "Correct [mask] ignore, or the masks of [dataset] ignore_dir and roi_dir.",
        )
    cases, results = [c for c, _ in counting], [r for _, r in counting]
    metrics = all_metrics()
    values = [[scores.values for scores in result.classes] for result in results]
    counts = [[scores.counts for scores in result.classes] for result in results]
    groups = [case.group for case in cases]
    sample = _sample(values, counts, metrics, groups, resamples)
    matrix = np.sum([result.matrix for result in results], axis=0)
    classes = _classes(labels, counts, matrix, sample, [case.id for case in cases], groups)
    for column, c in enumerate(classes):
        lesions = [result.classes[column].lesions for result in results]
        classes[column] = replace(c, lesions=totals(lesions, measures.lesion_sizes))
    return EvaluationSummary(
        cases=len(cases),
        groups=len(set(groups)),
        volumes=measures.volumes,
        units=measures.units,
        spacing=list(measures.spacing) if measures.spacing else None,
        tolerance=measures.tolerance,
        object_iou=measures.object_iou,
        classes=classes,
        macro={metric.name: sample.macro(metric.name) for metric in metrics},
        confusion=Confusion([c.name for c in labels.classes], matrix.tolist()),
        notes=[
            *_notes(classes, resamples, measures.volumes),
            *_ignored_notes(everything, measures),
        ],
        ignored_pixels=sum(result.ignored for result in everything),
    )


def summarize_groups(
    labels: LabelMap, matrices: dict[str, NDArray[np.int64]], resamples: int
) -> ClassMeans:
    """Means over groups of the overlap of all their pixels together.

    Parameters
    ----------
    matrices : group -> pixel counts [classes, classes], rows are the reference.
    """
    metrics, names = count_metrics(), list(matrices)
    of_groups = [counts_by_class(matrix) for matrix in matrices.values()]
    counts = [[row[c.id] for c in labels.foreground] for row in of_groups]
    values = [[values_of_counts(own) for own in row] for row in counts]
    sample = _sample(values, counts, metrics, names, resamples)
    matrix = np.sum(list(matrices.values()), axis=0)
    return ClassMeans(
        _classes(labels, counts, matrix, sample, names, names),
        {metric.name: sample.macro(metric.name) for metric in metrics},
    )


def values_of_counts(counts: PixelCounts) -> dict[str, float]:
    """The metrics that pixel counts are enough for."""
    return {metric.name: metric.of_counts(counts) for metric in count_metrics()}


def _sample(
    values: Sequence[Sequence[Mapping[str, float]]],
    counts: Sequence[Sequence[PixelCounts]],
    metrics: Sequence[Metric],
    groups: Sequence[str],
    resamples: int,
) -> Sample:
    """Values of each case and class as they go into means."""
    status = np.array([[own.status for own in row] for row in counts])
    tables = {
        metric.name: metric.counted(
            np.array([[own[metric.name] for own in row] for row in values], float), status
        )
        for metric in metrics
    }
    return Sample(tables, groups, resamples)


def _classes(
    labels: LabelMap,
    counts: Sequence[Sequence[PixelCounts]],
    matrix: NDArray[np.int64],
    sample: Sample,
    names: Sequence[str],
    groups: Sequence[str],
) -> list[ClassSummary]:
    """The foreground classes of cases or groups, whose `names` are given."""
    pooled = counts_by_class(matrix)
    classes = []
    for column, c in enumerate(labels.foreground):
        own = [row[column] for row in counts]
        statuses = [one.status for one in own]
        present = {group for group, one in zip(groups, own, strict=True) if one.reference}
        classes.append(
            ClassSummary(
                id=c.id,
                name=c.name,
                color=tuple(c.colors[0]),
                cases_with_reference=statuses.count("scored") + statuses.count("missed"),
                cases_with_empty_reference=statuses.count("absent")
                + statuses.count("false positive"),
                groups_with_reference=len(present),
                missed=statuses.count("missed"),
                false_positive=statuses.count("false positive"),
                pooled_pixels={
                    name: rounded(value) for name, value in values_of_counts(pooled[c.id]).items()
                },
                statistics={name: sample.statistics(name, column) for name in sample.values},
                worst=sample.worst("dice", column, names),
            )
        )
    return classes


def _ignored_notes(results: Sequence[CaseResult], measures: Measures) -> list[str]:
    """How many pixels counted in nothing."""
    ignored = [result.ignored for result in results]
    if not any(ignored):
        return []
    counted = [int(result.matrix.sum()) for result in results]
    pixels = "voxels" if measures.volumes else "pixels"
    share = sum(ignored) / (sum(ignored) + sum(counted))
    having = np.count_nonzero(ignored)
    notes = [
        f"{sum(ignored):,} {pixels} ({share:.2%}), in {having} of {len(ignored)} cases, are "
        "ignored in the reference: they do not count in any score. For distances and objects, "
        "both masks are background there."
    ]
    if nothing := counted.count(0):
        notes.append(
            f"All {pixels} of {amount(nothing, 'case')} are ignored: "
            f"{'it counts' if nothing == 1 else 'they count'} nowhere but in cases.csv."
        )
    return notes


def _notes(classes: Sequence[ClassSummary], resamples: int, volumes: bool) -> list[str]:
    kind = "volume" if volumes else "image"
    notes = [
        "Means are over the cases whose reference contains the class; the background is in no "
        f"mean. A missed object counts with Dice 0, surface agreement 0 and the {kind}'s "
        f"diagonal as its distance. Intervals: 95 % bootstrap over groups, {resamples} resamples."
    ]
    groups = {quoted(c.name): c.groups_with_reference for c in classes}
    if few := small_sample_note(groups):
        notes.append(few)
    single = ", ".join(name for name, count in groups.items() if count == 1)
    if single and max(groups.values()) > 1:
        notes.append(
            f"Only one group has {single}, so there is no interval: how scores differ between "
            "groups is not known. The interval of the mean of classes varies only the other "
            "classes, and is too narrow."
        )
    elif single:
        notes.append("No class is in the reference of two groups or more: there are no intervals.")
    return notes
