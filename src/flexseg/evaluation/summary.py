"""The summary of an evaluation: means, intervals and counts over cases and classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexseg.dataset.cases import Case
from flexseg.dataset.labels import LabelClass, LabelMap
from flexseg.evaluation.aggregate import Sample, rounded, small_sample_note
from flexseg.evaluation.metrics.counts import PixelCounts, counts_by_class
from flexseg.evaluation.metrics.lesions import totals
from flexseg.evaluation.metrics.metric import Metric, all_metrics, count_metrics
from flexseg.evaluation.scoring import CaseResult, Measures


def summarize(
    labels: LabelMap,
    cases: Sequence[Case],
    results: Sequence[CaseResult],
    measures: Measures,
    resamples: int,
) -> dict[str, Any]:
    """What `summary.json` says of the cases, see docs/reference/metrics.md."""
    foreground = labels.foreground
    metrics = all_metrics()
    values = [[scores.values for scores in result.classes] for result in results]
    counts = [[scores.counts for scores in result.classes] for result in results]
    groups = [case.group for case in cases]
    sample = _sample(values, counts, metrics, groups, resamples)
    matrix = np.sum([result.matrix for result in results], axis=0)
    classes = []
    for column, c in enumerate(foreground):
        of_class = [result.classes[column] for result in results]
        by_case = [scores.counts for scores in of_class]
        entry = _class_entry(c, by_case, groups, counts_by_class(matrix)[c.id])
        entry |= {metric.name: sample.statistics(metric.name, column) for metric in metrics}
        entry["worst"] = sample.worst("dice", column, [case.id for case in cases])
        lesions = totals([scores.lesions for scores in of_class], measures.lesion_sizes)
        entry["lesions"] = lesions | {"false_per_case": rounded(lesions["false_per_case"])}
        classes.append(entry)
    return {
        "cases": len(cases),
        "groups": len(set(groups)),
        "resolution": "native",
        "volumes": measures.volumes,
        "units": measures.units,
        "spacing": list(measures.spacing) if measures.spacing else None,
        "tolerance": measures.tolerance,
        "classes": classes,
        "macro": {metric.name: sample.macro(metric.name) for metric in metrics},
        "confusion": matrix.tolist(),
        "confusion_names": [c.name for c in labels.classes],
        "notes": _notes(classes, resamples, measures.volumes),
    }


def group_summary(
    labels: LabelMap, matrices: dict[str, NDArray[np.int64]], resamples: int
) -> dict[str, Any]:
    """Means over groups of the overlap of all their pixels together ("by_group").

    Parameters
    ----------
    matrices : group -> pixel counts [classes, classes], rows are the reference.
    """
    metrics = count_metrics()
    of_groups = [counts_by_class(matrix) for matrix in matrices.values()]
    pooled = counts_by_class(np.sum(list(matrices.values()), axis=0))
    counts = [[row[c.id] for c in labels.foreground] for row in of_groups]
    values = [[values_of_counts(own) for own in row] for row in counts]
    sample = _sample(values, counts, metrics, list(matrices), resamples)
    classes = []
    for column, c in enumerate(labels.foreground):
        by_group = [row[c.id] for row in of_groups]
        entry = _class_entry(c, by_group, list(matrices), pooled[c.id])
        entry |= {metric.name: sample.statistics(metric.name, column) for metric in metrics}
        entry["worst"] = sample.worst("dice", column, list(matrices))
        classes.append(entry)
    return {
        "classes": classes,
        "macro": {metric.name: sample.macro(metric.name) for metric in metrics},
    }


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


def _class_entry(
    c: LabelClass, by_case: Sequence[PixelCounts], groups: Sequence[str], pooled: PixelCounts
) -> dict[str, Any]:
    statuses = [counts.status for counts in by_case]
    return {
        "id": c.id,
        "name": c.name,
        "color": list(c.colors[0]),
        "cases_with_reference": statuses.count("scored") + statuses.count("missed"),
        "cases_with_empty_reference": statuses.count("absent") + statuses.count("false positive"),
        "groups_with_reference": len(
            {group for group, counts in zip(groups, by_case, strict=True) if counts.reference}
        ),
        "missed": statuses.count("missed"),
        "false_positive": statuses.count("false positive"),
        "pooled_pixels": {m: rounded(v) for m, v in values_of_counts(pooled).items()},
    }


def _notes(classes: Sequence[dict[str, Any]], resamples: int, volumes: bool) -> list[str]:
    kind = "volume" if volumes else "image"
    notes = [
        "Means are over cases in whose reference the class is present; the background is in no "
        f"mean. A missed object counts with Dice 0, surface agreement 0 and the {kind}'s diagonal "
        f"as its distance. Intervals: 95 % bootstrap over groups, {resamples} resamples."
    ]
    groups = {entry["name"]: entry["groups_with_reference"] for entry in classes}
    if few := small_sample_note(groups):
        notes.append(few)
    single = ", ".join(name for name, count in groups.items() if count == 1)
    if single and max(groups.values()) > 1:
        notes.append(
            f"One group alone has {single}, so there is no interval: how scores differ between "
            "groups is not known. The interval of the mean of classes varies the other classes "
            "only, and is too narrow."
        )
    elif single:
        notes.append("No class is in the reference of two groups or more: there are no intervals.")
    return notes
