"""The table of all cases and classes, to sort, and to take along as CSV."""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from flexseg.evaluation.summary import EvaluationSummary
from flexseg.inference.trust.conformal import FLAGS
from flexseg.report.formats import formatted, metric_of, millilitres
from flexseg.report.structure import CaseScore, Evaluation, ExpectedQuality, QualityFacts
from flexseg.runs.given import CASES
from flexseg.spreadsheet import of_cell

# What most readers look at first; all others are folded away.
KEY_METRICS = ("dice", "nsd", "hd95")
_EXPECTED = ("Expected Dice", "90 % interval", "Flag", "Input")
_ORDER = {str(flag): float(place) for place, flag in enumerate(FLAGS)}
_EXPECTED_COLUMNS = ("expected_dice", "expected_low", "expected_high", "flag", "foreign", "why")


@dataclass(frozen=True)
class Cell:
    """A value as it is shown, and the number to sort by, of which None is last; of a "text" the
    words sort."""

    text: str
    number: float | None = None
    kind: Literal["number", "flag", "text"] = "number"


@dataclass(frozen=True)
class CaseRow:
    """A case and class."""

    score: CaseScore
    cells: list[Cell]


@dataclass(frozen=True)
class CaseTable:
    """Headings of the columns between class and status, and the rows.

    Attributes
    ----------
    download : the whole `cases.csv`, with what was expected of each, as a link; empty where it
        cannot be read.
    """

    headings: list[str]
    rows: list[CaseRow]
    download: str


def metric_heading(name: str, e: EvaluationSummary) -> str:
    """The label of a metric with the unit of a distance."""
    metric = metric_of(name)
    unit = f", {e.units}" if metric.unit == "distance" else ""
    return metric.label_of(volumes=e.volumes) + unit


def case_table(e: Evaluation, quality: QualityFacts | None, folder: Path) -> CaseTable:
    """The scores of all cases, beside what was expected of them; `folder` is the evaluation's."""
    expected = {(q.case, q.class_id): q for q in quality.rows} if quality else {}
    shown = [name for name in KEY_METRICS if any(name in s.values for s in e.scores)]
    amounts = ("reference_ml", "predicted_ml") if e.volumes else ("reference_px", "predicted_px")
    unit = "ml" if e.volumes else "px"
    headings = [metric_heading(name, e) for name in shown]
    # Beside the Dice that it is compared with.
    beside = 1 if shown[:1] == ["dice"] else 0
    if expected:
        headings[beside:beside] = _EXPECTED
    headings += [f"Reference, {unit}", f"Predicted, {unit}"]
    rows = []
    for s in e.scores:
        cells = [
            Cell(formatted(s.values.get(n), metric_of(n).unit), s.values.get(n)) for n in shown
        ]
        if expected:
            cells[beside:beside] = _expected_cells(expected.get((s.case, s.class_id)))
        for name in amounts:
            value = s.values.get(name)
            text = millilitres(value) if e.volumes else f"{value or 0:,.0f}"
            cells.append(Cell(text, value))
        rows.append(CaseRow(s, cells))
    return CaseTable(headings, rows, _as_link(folder / CASES, expected))


def _expected_cells(q: ExpectedQuality | None) -> list[Cell]:
    none = "\N{EN DASH}"
    if q is None:
        return [Cell(none), Cell(none), Cell(none, kind="flag"), Cell(none, kind="text")]
    interval = none
    if q.low is not None and q.high is not None:
        interval = f"{formatted(q.low, 'share')} to {formatted(q.high, 'share')}"
    known = none if q.foreign is None else "as trained"
    return [
        Cell(formatted(q.expected, "share"), q.expected),
        Cell(interval, q.low),
        Cell(q.flag or none, _ORDER.get(q.flag), "flag"),
        Cell(f"unlike training: {q.why}" if q.foreign else known, kind="text"),
    ]


def _as_link(file: Path, expected: Mapping[tuple[str, int], ExpectedQuality]) -> str:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""
    content = _joined(text, expected) if expected else text
    return f"data:text/csv;charset=utf-8;base64,{base64.b64encode(content.encode()).decode()}"


def _joined(text: str, expected: Mapping[tuple[str, int], ExpectedQuality]) -> str:
    """`cases.csv` with columns of what was expected of each case and class."""
    header, *rows = csv.reader(io.StringIO(text))
    names = [header.index(name) for name in ("case", "class_id")]
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow([*header, *_EXPECTED_COLUMNS])
    for row in rows:
        case, class_id = (row[place] for place in names)
        q = expected.get((of_cell(case), int(class_id)))
        foreign = None if q is None or q.foreign is None else ("no", "yes")[q.foreign]
        told = (q.expected, q.low, q.high, q.flag, foreign, q.why) if q else (None,) * 6
        writer.writerow([*row, *told])
    return lines.getvalue()
