"""Reading an evaluation folder, of this version or an older one, into types."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from flexseg.evaluation.metrics.metric import all_metrics
from flexseg.report.formats import millilitres
from flexseg.report.sources import CASES, Missing, Source
from flexseg.report.structure import (
    Calibration,
    CaseScore,
    ClassResult,
    Confusion,
    Evaluation,
    Failure,
    Lesions,
    ReliabilityBin,
    ShownCase,
    SizeBin,
    Statistic,
)

_TEXTS = ("case", "group", "class_id", "class", "status")
_WEAK_DICE = 0.5
_WORST, _MEDIAN, _BEST, _MOST = 3, 2, 2, 10


def read_evaluation(source: Source) -> Evaluation | None:
    """The evaluation of a source; None if there is none, and what it lacks under `missing`."""
    summary = source.summary
    if not summary:
        return None
    rows = source.table(source.evaluation / CASES, "scores of single cases")
    by_group = summary.get("by_group")
    groups = _count(summary.get("groups", summary.get("cases")))
    evaluation = Evaluation(
        cases=_count(summary.get("cases")),
        groups=groups,
        units=str(summary.get("units") or "px"),
        tolerance=_number(summary.get("tolerance")),
        classes=[_class(entry, groups) for entry in summary.get("classes") or ()],
        macro=_statistics(summary.get("macro") or {}),
        by_group=_statistics(by_group.get("macro") or {}) if isinstance(by_group, dict) else {},
        scores=[_case(row) for row in rows],
        confusion=_confusion(summary),
        calibration=_calibration(summary.get("calibration")),
        notes=[str(note) for note in summary.get("notes") or ()],
        original_figures=dict(summary.get("not_comparable_with_the_above") or {}),
        out_of_fold="crossval" in summary,
        # Older evaluations do not say so, but volumes alone have millilitres.
        volumes=bool(summary.get("volumes")) or any("reference_ml" in row for row in rows),
        inference=dict(summary.get("inference") or {}),
    )
    lacking = {
        "confusion between classes": evaluation.confusion,
        "reliability of probabilities": evaluation.calibration,
    }
    for what, part in lacking.items():
        if part is None:
            why = (
                "the scored masks have no probabilities, or the evaluation is of an older version"
                if part is evaluation.calibration and evaluation.confusion
                else "the evaluation is of an older version; run `flexseg evaluate` again"
            )
            source.missing.append(Missing(what, why))
    return evaluation


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _count(value: Any) -> int:
    return int(_number(value) or 0)


def _statistics(entry: Mapping[str, Any]) -> dict[str, Statistic]:
    """The metrics of a class or mean: what has a mean."""
    found = {}
    for name, value in entry.items():
        if isinstance(value, Mapping) and "mean" in value:
            ci = value.get("ci95")
            low, high = (_number(ci[0]), _number(ci[1])) if ci else (None, None)
            found[name] = Statistic(
                _number(value["mean"]),
                (low, high) if low is not None and high is not None else None,
                *(_number(value.get(key)) for key in ("median", "p5", "min", "max")),
            )
    order = [metric.name for metric in all_metrics()]
    names = sorted(found, key=lambda n: order.index(n) if n in order else len(order))
    return {name: found[name] for name in names if found[name].mean is not None}


def _class(entry: Mapping[str, Any], groups: int) -> ClassResult:
    pooled = entry.get("pooled_pixels") or {}
    return ClassResult(
        id=_count(entry.get("id")),
        name=str(entry.get("name") or f"class {entry.get('id')}"),
        cases_with_reference=_count(entry.get("cases_with_reference")),
        cases_with_empty_reference=_count(entry.get("cases_with_empty_reference")),
        groups_with_reference=_count(entry.get("groups_with_reference", groups)),
        missed=_count(entry.get("missed")),
        false_positive=_count(entry.get("false_positive")),
        statistics=_statistics(entry),
        pooled_dice=_number(pooled.get("dice")),
        lesions=_lesions(entry.get("lesions")),
    )


def _lesions(entry: Mapping[str, Any] | None) -> Lesions | None:
    if not entry:
        return None
    bins = [
        SizeBin(
            _count(b.get("from_px")),
            None if b.get("to_px") is None else _count(b["to_px"]),
            _count(b.get("reference")),
            _count(b.get("found")),
        )
        for b in entry.get("by_size") or ()
    ]
    found, missed, false = (_count(entry.get(key)) for key in ("found", "missed", "false"))
    return Lesions(found, missed, false, _number(entry.get("false_per_case")), bins)


def _case(row: Mapping[str, str]) -> CaseScore:
    return CaseScore(
        case=row.get("case") or "",
        group=row.get("group") or "",
        class_id=_count(row.get("class_id")),
        class_name=row.get("class") or "",
        status=row.get("status") or "",
        values={k: _number(v) for k, v in row.items() if k is not None and k not in _TEXTS},
    )


def _confusion(summary: Mapping[str, Any]) -> Confusion | None:
    counts = summary.get("confusion")
    if not counts:
        return None
    names = summary.get("confusion_names") or [f"class {i}" for i in range(len(counts))]
    return Confusion([str(n) for n in names], [[_count(v) for v in row] for row in counts])


def _calibration(entry: Mapping[str, Any] | None) -> Calibration | None:
    if not entry:
        return None
    bins = [
        ReliabilityBin(
            _number(b.get("from")) or 0.0,
            _number(b.get("to")) or 0.0,
            _number(b.get("confidence")),
            _number(b.get("accuracy")),
            _count(b.get("pixels")),
        )
        for b in entry.get("bins") or ()
    ]
    return Calibration(_number(entry.get("ece")), _number(entry.get("brier")), bins)


def find_failures(scores: Iterable[CaseScore]) -> list[Failure]:
    """Missed and invented objects, missed lesions, and weak overlaps; the gravest first."""
    failures: dict[str, list[Failure]] = {
        "missed": [],
        "false positive": [],
        "lesions missed": [],
        "weak overlap": [],
    }
    for s in scores:
        lost, all_lesions = s.values.get("lesions_missed"), s.values.get("reference_lesions")
        if s.status == "missed":
            kind, what = "missed", f"nothing predicted; {_amount(s, 'reference')} in the reference"
        elif s.status == "false positive":
            kind, what = "false positive", f"{_amount(s, 'predicted')} predicted; none are there"
        elif lost:
            kind, what = "lesions missed", f"{lost:.0f} of {all_lesions or lost:.0f} objects missed"
        elif s.dice is not None and s.dice < _WEAK_DICE:
            kind, what = "weak overlap", f"Dice {s.dice:.3f}"
        else:
            continue
        failures[kind].append(Failure(kind, s.case, s.class_name, what))
    return [failure for found in failures.values() for failure in found]


def _amount(s: CaseScore, what: str) -> str:
    """Size of the reference or prediction of a class, in pixels; of volumes in ml."""
    ml = s.values.get(f"{what}_ml")
    return f"{s.values.get(f'{what}_px') or 0:.0f} px" if ml is None else f"{millilitres(ml)} ml"


def choose_cases(scores: Iterable[CaseScore]) -> list[ShownCase]:
    """The worst, median and best cases by mean Dice of their classes, and each class's worst.

    Classes that are in neither mask do not count; cases without any are not chosen.
    """
    by_case: dict[str, list[CaseScore]] = {}
    for s in scores:
        by_case.setdefault(s.case, []).append(s)
    ranked = []
    for case, own in by_case.items():
        values = [s.dice for s in own if s.dice is not None]
        if values:
            ranked.append(ShownCase("", case, sum(values) / len(values), own))
    ranked.sort(key=lambda c: (c.mean_dice, c.case))
    middle = max(0, (len(ranked) - _MEDIAN) // 2)
    chosen: dict[str, ShownCase] = {}

    def take(role: str, cases: Iterable[ShownCase]) -> None:
        for shown in cases:
            if shown.case not in chosen and len(chosen) < _MOST:
                chosen[shown.case] = ShownCase(role, shown.case, shown.mean_dice, shown.scores)

    take("worst", ranked[:_WORST])
    take("median", ranked[middle : middle + _MEDIAN])
    take("best", ranked[::-1][:_BEST])
    for class_id, name in {s.class_id: s.class_name for c in ranked for s in c.scores}.items():
        take(f"worst for {name}", _worst_of_class(ranked, class_id))
    roles = ["worst", *sorted({c.role for c in chosen.values()} - {"worst", "median", "best"})]
    order = [*roles, "median", "best"]
    return sorted(chosen.values(), key=lambda c: (order.index(c.role), c.mean_dice))


def _worst_of_class(ranked: list[ShownCase], class_id: int) -> list[ShownCase]:
    scored = [
        (s.dice, shown)
        for shown in ranked
        for s in shown.scores
        if s.class_id == class_id and s.dice is not None
    ]
    return [min(scored, key=lambda pair: pair[0])[1]] if scored else []
