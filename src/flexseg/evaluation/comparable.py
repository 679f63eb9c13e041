"""Which evaluations can be compared: those of the same cases, classes, references and settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from flexseg.config.findings import amount, examples
from flexseg.errors import ConfigError, DataError
from flexseg.evaluation.metrics.metric import METRICS, all_metrics
from flexseg.runs.evaluations import Results


def comparable(runs: Sequence[Results], metric: str) -> tuple[str, list[Results]]:
    """The metric's name, and the runs with their cases in the order of the first.

    Raises
    ------
    ConfigError : fewer than two runs, or a metric that they do not have.
    DataError : the runs were evaluated on other cases, classes, references or settings.
    """
    if len(runs) < 2:
        raise ConfigError("One run cannot be compared.", "Give two or more.", "RUN")
    if metric not in METRICS:
        names = ", ".join(known.name for known in all_metrics())
        raise ConfigError(
            f"{metric!r} is not a metric to compare.", f"Choose one of {names}.", "--metric"
        )
    metric = METRICS.canonical(metric)
    for run in runs:
        if metric not in run.columns:
            known = ", ".join(m.name for m in all_metrics() if m.name in run.columns)
            raise ConfigError(
                f"{run.name} has no {metric}; it has {known or 'no metric at all'}.",
                "Evaluate it again with this version, or choose another --metric.",
                "--metric",
            )
    return metric, [runs[0], *(_aligned(run, runs[0], metric) for run in runs[1:])]


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
            for found, which in ((more, f"that {first.name} lacks"), (less, "are missing"))
            if found
        ]
        raise DataError(f"The cases differ: {' and '.join(parts)}.", fix, run.name)
    index = {case: i for i, case in enumerate(run.cases)}
    order = np.array([index[case] for case in first.cases])
    groups = tuple(run.groups[i] for i in order)
    pairs = zip(first.cases, groups, first.groups, strict=True)
    if moved := [case for case, here, there in pairs if here != there]:
        raise DataError(
            f"{amount(len(moved), 'case', 'is', 'are')} in other groups than in {first.name}: "
            f"{examples(moved)}.",
            "Evaluate both with the same [dataset] group.",
            run.name,
        )
    columns = {name: column[order] for name, column in run.columns.items()}
    for size in {"reference_px", "reference_ml"} & set(columns) & set(first.columns):
        same = np.isclose(columns[size], first.columns[size], equal_nan=True)
        if (differ := ~same.all(axis=1)).any():
            found = examples([first.cases[i] for i in np.flatnonzero(differ)])
            raise DataError(
                f"{amount(int(differ.sum()), 'case', 'has', 'have')} another reference mask than "
                f"in {first.name}: {found}.",
                fix,
                run.name,
            )
    for key in METRICS.get(metric).settings:
        here, there = run.summary.get(key), first.summary.get(key)
        if here != there:
            raise DataError(
                f"{metric} is measured with {key} = {here}, but in {first.name} with {there}.",
                fix,
                run.name,
            )
    return replace(run, cases=first.cases, groups=groups, status=run.status[order], columns=columns)


def _listed(classes: dict[int, str]) -> str:
    return ", ".join(f"{class_id} {name}" for class_id, name in classes.items())
