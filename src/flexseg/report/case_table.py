"""The table of all cases and classes, to sort, and to take along as CSV."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path

from flexseg.evaluation.summary import EvaluationSummary
from flexseg.report.formats import formatted, metric_of, millilitres
from flexseg.report.structure import CaseScore, Evaluation
from flexseg.runs.evaluations import CASES_FILE

# What most readers look at first; all others are folded away.
KEY_METRICS = ("dice", "nsd", "hd95")


@dataclass(frozen=True)
class Cell:
    """A value as it is shown, and the number to sort by; None is last."""

    text: str
    number: float | None


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
    download : the whole `cases.csv` as a link; empty where it cannot be read.
    """

    headings: list[str]
    rows: list[CaseRow]
    download: str


def metric_heading(name: str, e: EvaluationSummary) -> str:
    """The label of a metric with the unit of a distance."""
    metric = metric_of(name)
    unit = f", {e.units}" if metric.unit == "distance" else ""
    return metric.label_of(volumes=e.volumes) + unit


def case_table(e: Evaluation, folder: Path) -> CaseTable:
    """The scores of all cases; `folder` is that of the evaluation."""
    shown = [name for name in KEY_METRICS if any(name in s.values for s in e.scores)]
    amounts = ("reference_ml", "predicted_ml") if e.volumes else ("reference_px", "predicted_px")
    unit = "ml" if e.volumes else "px"
    headings = [metric_heading(name, e) for name in shown]
    headings += [f"Reference, {unit}", f"Predicted, {unit}"]
    rows = []
    for s in e.scores:
        cells = [
            Cell(formatted(s.values.get(n), metric_of(n).unit), s.values.get(n)) for n in shown
        ]
        for name in amounts:
            value = s.values.get(name)
            text = millilitres(value) if e.volumes else f"{value or 0:,.0f}"
            cells.append(Cell(text, value))
        rows.append(CaseRow(s, cells))
    return CaseTable(headings, rows, _as_link(folder / CASES_FILE))


def _as_link(file: Path) -> str:
    try:
        content = base64.b64encode(file.read_bytes()).decode("ascii")
    except OSError:
        return ""
    return f"data:text/csv;charset=utf-8;base64,{content}"
