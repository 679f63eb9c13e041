"""What was expected of the evaluated predictions before their references were known."""

from __future__ import annotations

from collections.abc import Mapping

from flexseg.evaluation.case_scores import PREDICTION_TABLE
from flexseg.evaluation.json_values import count, number
from flexseg.report.sources import ReportSource
from flexseg.report.structure import CaseScore, Evaluation, ExpectedQuality, QualityFacts


def read_quality(source: ReportSource, e: Evaluation | None) -> QualityFacts | None:
    """What the network said of its own predictions; None where it says nothing."""
    path = source.evaluation / PREDICTION_TABLE
    if e is None or not path.is_file():
        return None
    scored = {(s.case, s.class_id): s for s in e.scores}
    rows = [_row(row, scored) for row in source.table(path, "quality of predictions")]
    told = [row for row in rows if row.flag or row.foreign is not None]
    if not told:
        return None
    inside = [
        row.low - _ROUNDING <= row.dice <= row.high + _ROUNDING
        for row in told
        if row.low is not None and row.high is not None and row.dice is not None
    ]
    cases = {row.case: row.foreign for row in told if row.foreign is not None}
    return QualityFacts(
        rows=told,
        flags={flag: sum(row.flag == flag for row in told) for flag in ("green", "yellow", "red")},
        intervals=len(inside),
        inside=sum(inside),
        checked=len(cases),
        foreign=sum(cases.values()),
    )


# Both are written with so many places.
_ROUNDING = 1e-4


def _row(row: Mapping[str, str], scored: Mapping[tuple[str, int], CaseScore]) -> ExpectedQuality:
    case, class_id = row.get("case") or "", count(row.get("class_id"))
    score = scored.get((case, class_id))
    foreign = row.get("foreign")
    return ExpectedQuality(
        case=case,
        class_id=class_id,
        class_name=row.get("class") or "",
        expected=number(row.get("dice")),
        low=number(row.get("dice_low")),
        high=number(row.get("dice_high")),
        flag=row.get("flag") or "",
        foreign=None if not foreign else foreign == "yes",
        why=row.get("why") or "",
        dice=score.dice if score is not None else None,
    )
