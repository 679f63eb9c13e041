"""What was expected of the evaluated predictions before their references were known."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from flexseg.evaluation.case_scores import PREDICTION_TABLE
from flexseg.evaluation.json_values import count, number
from flexseg.inference.trust.conformal import ALPHA, FAILED, FLAGS, GOOD
from flexseg.report.sources import ReportSource
from flexseg.report.structure import (
    CaseScore,
    Evaluation,
    ExpectedQuality,
    FlagFacts,
    QualityFacts,
)

# Both ends of an interval, and the Dice, are written with so many places.
_ROUNDING = 1e-4
# Of inputs of the same kind as the training's.
_FOREIGN_AT_HOME = 0.05
# What chance explains happens more often than this.
_HARDLY = 0.05
# The Dice of a class that is not in the reference.
_ALONE = {"absent": 1.0, "false positive": 0.0}


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
    flags = [*_by_flag(told)]
    green = [f for f in flags if f.flag == "green"]
    return QualityFacts(
        rows=told,
        flags=flags,
        misleading=any(_too_many(f.below_good, f.count, ALPHA) for f in green),
        intervals=len(inside),
        inside=sum(inside),
        checked=len(cases),
        foreign=sum(cases.values()),
        unlike=_too_many(sum(cases.values()), len(cases), _FOREIGN_AT_HOME),
    )


def _by_flag(rows: Sequence[ExpectedQuality]) -> Iterator[FlagFacts]:
    for flag in FLAGS:
        dice = [row.dice for row in rows if row.flag == flag and row.dice is not None]
        if dice:
            mean = sum(dice) / len(dice)
            bad = [sum(value < limit for value in dice) for limit in (GOOD, FAILED)]
            yield FlagFacts(flag, len(dice), mean, *bad)


def _too_many(some: int, of: int, share: float) -> bool:
    """More than a share and chance explain."""
    more = (math.comb(of, n) * share**n * (1 - share) ** (of - n) for n in range(some, of + 1))
    return sum(more) < _HARDLY


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
        dice=None if score is None else _ALONE.get(score.status, score.dice),
    )
