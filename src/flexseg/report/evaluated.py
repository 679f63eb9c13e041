"""Reading an evaluation folder, of this version or an older one, into types."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from flexseg.config.findings import amount
from flexseg.evaluation.aggregate import Statistic
from flexseg.evaluation.json_values import count, number
from flexseg.evaluation.metrics.metric import all_metrics
from flexseg.report.formats import millilitres
from flexseg.report.sources import Missing, ReportSource
from flexseg.report.structure import CaseScore, Evaluation, Failure, ShownCase
from flexseg.runs.given import CASES

_TEXTS = ("case", "group", "class_id", "class", "status")
# Where so much of a class is marked, no object of it was overlooked.
_COVERED = 0.95
_WEAK_DICE = 0.5
_WORST, _MEDIAN, _BEST, _MOST = 3, 2, 2, 10


def read_evaluation(source: ReportSource) -> Evaluation | None:
    """The evaluation of a source; None if there is none, and what it lacks under `missing`."""
    summary = source.summary
    if summary is None:
        return None
    rows = source.table(source.evaluation / CASES, "scores of single cases")
    shown = replace(
        summary,
        # Older evaluations do not say so, but volumes alone have millilitres.
        volumes=summary.volumes or any("reference_ml" in row for row in rows),
        classes=[replace(c, statistics=_defined(c.statistics)) for c in summary.classes],
        macro=_defined(summary.macro),
        # Earlier versions wrote them for new configs too, which no original system has read.
        original_figures={} if _is_new(source) else summary.original_figures,
    )
    evaluation = Evaluation(**vars(shown), scores=[_case(row) for row in rows])
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


def _is_new(source: ReportSource) -> bool:
    return source.manifest is not None and source.manifest.config_file.endswith(".toml")


def _defined(statistics: Mapping[str, Statistic]) -> dict[str, Statistic]:
    """The metrics that have a mean, in the order of the registry."""
    order = [metric.name for metric in all_metrics()]
    names = sorted(statistics, key=lambda n: order.index(n) if n in order else len(order))
    return {name: statistics[name] for name in names if statistics[name].mean is not None}


def _case(row: Mapping[str, str]) -> CaseScore:
    return CaseScore(
        case=row.get("case") or "",
        group=row.get("group") or "",
        class_id=count(row.get("class_id")),
        class_name=row.get("class") or "",
        status=row.get("status") or "",
        values={k: number(v) for k, v in row.items() if k is not None and k not in _TEXTS},
    )


def find_failures(scores: Iterable[CaseScore]) -> list[Failure]:
    """Missed and invented objects, missed lesions, and weak overlaps; the gravest first."""
    failures: dict[str, list[Failure]] = {
        "missed": [],
        "false positive": [],
        "lesions missed": [],
        "weak overlap": [],
    }
    for s in sorted(scores, key=lambda s: 1.0 if s.dice is None else s.dice):
        lost, all_lesions = s.values.get("lesions_missed"), s.values.get("reference_lesions")
        if s.status == "missed":
            kind, what = "missed", f"nothing predicted; {_amount(s, 'reference')} in the reference"
        elif s.status == "false positive":
            kind, what = "false positive", f"{_amount(s, 'predicted')} predicted; none are there"
        elif lost and (all_lesions != 1 or (s.dice or 0) >= _WEAK_DICE):
            kind, what = "lesions missed", _lost(s, lost, all_lesions or lost)
        elif s.dice is not None and s.dice < _WEAK_DICE:
            kind, what = "weak overlap", f"Dice {s.dice:.3f}"
        else:
            continue
        failures[kind].append(Failure(kind, s.case, s.class_name, what))
    return [failure for found in failures.values() for failure in found]


def _lost(s: CaseScore, lost: float, all_lesions: float) -> str:
    """Objects that were not found, and whether they were marked nevertheless."""
    text = f"{lost:.0f} of {amount(round(all_lesions), 'object')} not found"
    if s.dice is not None:
        text += f" (Dice {s.dice:.3f})"
    if (s.values.get("recall") or 0) < _COVERED:
        return text
    return f"{text}, though marked: merged with others, or marked much too large"


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
