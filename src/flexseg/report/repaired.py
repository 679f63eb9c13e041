"""What the repair of an old config has changed, and whether its network scores better."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

from flexseg.errors import DataError, FlexsegError
from flexseg.evaluation.aggregate import Statistic
from flexseg.evaluation.compare import MACRO, Comparison, compare
from flexseg.evaluation.summary import EvaluationSummary
from flexseg.machine import typed
from flexseg.report.sources import ReportSource
from flexseg.report.structure import (
    OldAndRepaired,
    Repair,
    RepairChange,
    RepairedScore,
)
from flexseg.runs.evaluations import read_results
from flexseg.runs.given import CASES, EVALUATION
from flexseg.runs.manifest import Manifest

logger = logging.getLogger(__name__)

OLD, REPAIRED = "old config", "repaired"
# The first decides which is better.
METRICS = ("dice", "nsd")


def read_repair(source: ReportSource) -> Repair | None:
    """The repair of a run's config; None where it is no repaired one."""
    manifest = source.manifest
    if manifest is None or not manifest.repair or source.run_dir is None:
        return None
    changes = [
        RepairChange(change.name, _text(change.before), _text(change.after), change.reason)
        for change in manifest.repair
    ]
    return Repair(
        changes, manifest.repair_notes, compare_with_original(source.run_dir, source.evaluation)
    )


def _text(value: object) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(map(_text, value)) + "]"
    if isinstance(value, float):
        return f"{value:g}"
    return str(value).lower() if isinstance(value, bool) else str(value)


def compare_with_original(run_dir: Path, evaluation: Path) -> OldAndRepaired:
    """The scores of a repaired run and of that of the old config, on the same cases.

    Parameters
    ----------
    run_dir : of the repaired run; the old config's is the folder around it.
    evaluation : of the repaired run.
    """
    old = run_dir.parent / EVALUATION
    manifest = _manifest(run_dir)
    config = typed(Path(manifest.config_file).name) if manifest else "CONFIG"
    lacking = {
        "repaired config": (evaluation, f"`flexseg evaluate {config} --repair`"),
        "old config": (
            old,
            f"`flexseg train {config}` (if its weights are not there) and "
            f"`flexseg evaluate {config}`",
        ),
    }
    for which, (folder, command) in lacking.items():
        if not (folder / CASES).is_file():
            why = f"the {which} is not evaluated ({folder} has no {CASES}); run {command}"
            return OldAndRepaired(str(old), why_not=f"Not compared: {why}.")
    try:
        runs = [read_results(old, OLD), read_results(evaluation, REPAIRED)]
        found = {
            metric: compare(runs, metric)
            for metric in METRICS
            if metric == METRICS[0] or all(metric in run.columns for run in runs)
        }
    except FlexsegError as error:
        return OldAndRepaired(str(old), why_not=f"Not compared: {error.problem} {error.fix}")
    first = found[METRICS[0]]
    scores = [score for comparison in found.values() for score in _scores(comparison)]
    return OldAndRepaired(
        str(old), scores, _verdict(first), _effort(_manifest(run_dir.parent), manifest)
    )


def _manifest(folder: Path) -> Manifest | None:
    """The manifest of a run; None, and a warning where it is damaged, without one to read."""
    try:
        return Manifest.find(folder)
    except DataError as error:
        logger.warning("%s", error)
        return None


def _scores(comparison: Comparison) -> Iterator[RepairedScore]:
    """One row per class, and one for their mean where there are several."""
    runs = comparison.runs
    standings = {standing.name: standing for standing in comparison.standings}
    noted = {run.name: EvaluationSummary.from_dict(run.summary) for run in runs}
    for class_id, name in runs[0].classes.items():
        old, repaired = (
            Statistic(
                standings[run.name].classes[name],
                _interval(_class(noted[run.name], class_id), comparison.metric),
            )
            for run in runs
        )
        yield _score(comparison, class_id, name, old, repaired)
    if len(runs[0].classes) > 1:
        old, repaired = (
            Statistic(
                standings[run.name].mean,
                _interval(noted[run.name].macro, comparison.metric),
            )
            for run in runs
        )
        yield _score(comparison, None, MACRO, old, repaired)


def _score(
    comparison: Comparison, class_id: int | None, name: str, old: Statistic, repaired: Statistic
) -> RepairedScore:
    d = comparison.difference(OLD, REPAIRED, name)
    return RepairedScore(
        comparison.metric,
        class_id,
        name,
        old,
        repaired,
        d.cases,
        d.groups,
        d.mean,
        d.ci95,
        d.better,
        d.worse,
        d.equal,
    )


def _class(summary: EvaluationSummary, class_id: int) -> Mapping[str, Statistic]:
    """The metrics of a class."""
    return next((c.statistics for c in summary.classes if c.id == class_id), {})


def _interval(statistics: Mapping[str, Statistic], metric: str) -> tuple[float, float] | None:
    """The interval of a mean, as its evaluation has noted it."""
    return statistics.get(metric, Statistic()).ci95


def _verdict(comparison: Comparison) -> str:
    """Which of the two is better, in a sentence."""
    standings = {standing.name: standing for standing in comparison.standings}
    old, repaired = standings[OLD].mean, standings[REPAIRED].mean
    d = comparison.difference(OLD, REPAIRED)
    if old is None or repaired is None or d.mean is None:
        return "No class is in the reference of any case, so that nothing can be compared."
    groups = f" of {d.groups} groups" if d.groups != d.cases else ""
    mean = "mean " if len(comparison.runs[0].classes) > 1 else ""
    figures = (
        f"{mean}Dice {repaired:.3f} instead of {old:.3f} on the same {d.cases} cases{groups}, "
        f"{d.mean:+.3f}"
    )
    if d.ci95 is None:
        return (
            f"{figures[0].upper()}{figures[1:]}; there are too few groups for an interval, so "
            "which is better cannot be said."
        )
    low, high = d.ci95
    figures += f" (95 % interval {low:+.3f} to {high:+.3f})"
    if low > 0:
        return f"The repaired config is better: {figures}."
    if high < 0:
        return f"The old config is better: {figures}."
    return f"The difference is within chance: {figures}."


def _effort(old: Manifest | None, repaired: Manifest | None) -> str:
    """How long both were trained; empty where that is not known of both."""
    texts = []
    for manifest in (repaired, old):
        if manifest is None or manifest.seconds is None or manifest.epochs is None:
            return ""
        seconds, epochs = manifest.seconds, manifest.epochs
        time = f"{seconds / 60:.1f} min" if seconds >= 60 else f"{seconds:.0f} s"
        texts.append(f"{epochs} epochs in {time}")
    return f"The repaired config was trained for {texts[0]}, the old one for {texts[1]}."
