"""The report as one HTML file that needs nothing else, no network above all."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from flexseg.errors import ConfigError
from flexseg.evaluation.aggregate import Statistic
from flexseg.evaluation.json_values import Json
from flexseg.evaluation.metrics.lesions import LesionTotals
from flexseg.evaluation.summary import ClassSummary
from flexseg.forecast.statement import PICTURE_NAME
from flexseg.one_writer import exclusive_file
from flexseg.outputs import set_aside, try_outputs, write_json, write_text
from flexseg.own_results import begins_with, claim_file, json_with
from flexseg.report import plots
from flexseg.report.case_pictures import Pictures, colors_of, draw_cases, draw_epochs
from flexseg.report.case_table import KEY_METRICS, CaseTable, case_table
from flexseg.report.content import gather
from flexseg.report.doubts.annotation_pictures import draw_suspicious
from flexseg.report.formats import formatted, metric_of, millilitres
from flexseg.report.private_paths import known_folders, without_machine
from flexseg.report.sources import ReportSource, advice_folder
from flexseg.report.structure import (
    Evaluation,
    Failure,
    Repair,
    RepairedScore,
    Report,
    Setting,
)
from flexseg.runs.given import REPORT

_FAILURES_SHOWN = 12
_BETTER = {"higher": "Higher is better.", "lower": "Lower is better.", "near 0": "0 is best."}
_TITLES = {
    "missed": "Missed altogether: in the reference, but nothing was predicted",
    "false positive": "Marked where it is absent",
    "lesions missed": "Some objects of the class were not found as separate objects",
    "weak overlap": "Weak overlap: Dice below 0.5",
}


@dataclass(frozen=True)
class _Cell:
    value: str
    detail: str


@dataclass(frozen=True)
class _MetricRow:
    label: str
    unit: str
    meaning: str
    cells: list[_Cell]


T = TypeVar("T")


@dataclass(frozen=True)
class _Chart(Generic[T]):
    """A chart, and what it is of: a class, its lesions, or the names of its curves."""

    name: str
    chart: Markup
    of: T


@dataclass(frozen=True)
class _FailureGroup:
    title: str
    rows: list[Failure]


@dataclass(frozen=True)
class _ConfusionCell:
    share: float | None
    pixels: int


@dataclass(frozen=True)
class _ConfusionRow:
    name: str
    total: int
    cells: list[_ConfusionCell]


# Files of a run that a report of the same name would move aside.
_TAKEN = ("run", "history", "folds", "summary", "ensemble", "mlflow", "comparison")


def write_report(
    source: ReportSource, output: Path | None = None, audit: Json | None = None
) -> tuple[Path, Path, Report]:
    """Write the report and its JSON copy; earlier ones move aside.

    Parameters
    ----------
    output : the HTML file; the copy has its name with the suffix `.json`.
    audit : see `flexseg.report.content.gather`.

    Returns both paths and the content.
    """
    html = output or _usual_place(source.folder)
    if html.stem in _TAKEN:
        raise ConfigError(
            f"The report's JSON copy would take the place of {html.stem}.json.",
            "Choose another name.",
            "--output",
        )
    data = html.with_suffix(".json")
    try_outputs([("--output", html), ("--output", data)])
    claim_file(html, "HTML file", begins_with(b"<!doctype html", b"<html"))
    claim_file(data, "copy of a report", json_with("headline", "evaluation", "training"))
    with exclusive_file(html):
        report = gather(source, audit)
        pictures = draw_cases(source, report)
        epochs = draw_epochs(source, report.epoch_changes, colors_of(report))
        annotations = draw_suspicious(source, report)
        e = report.evaluation
        table = case_table(e, report.quality, source.evaluation) if e else None
        report = without_machine(report, known_folders(source))
        page = render(report, pictures, epochs, table, _learning_curve(source), annotations)
        for path in (html, data):
            set_aside(path)
        write_text(html, page)
        write_json(data, report.as_dict())
    return html, data, report


def _usual_place(folder: Path) -> Path:
    """Where `flexseg auto` has put its report, beside the folder of its run; else in the folder."""
    beside = folder.parent / REPORT
    return beside if folder.name == "run" and beside.is_file() else folder / REPORT


def render(
    report: Report,
    pictures: Mapping[str, Pictures],
    epochs: list[Pictures],
    table: CaseTable | None,
    learning_curve: str = "",
    annotations: Mapping[str, Pictures] | None = None,
) -> str:
    """The HTML page.

    Parameters
    ----------
    learning_curve : picture of it as a data URI, "" without one.
    annotations : pictures of suspicious ones by case.
    """
    environment = Environment(
        loader=PackageLoader("flexseg.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["grouped"] = lambda n: f"{n:,}"
    environment.filters["share"] = lambda value: "" if value is None else f"{value:.1%}"
    environment.filters["ml"] = millilitres
    environment.filters["score"] = lambda value: formatted(value, "share")
    environment.filters["figures"] = _figures
    environment.filters["difference"] = _difference
    e = report.evaluation
    return environment.get_template("report.html.j2").render(
        r=report,
        e=e,
        colors=colors_of(report).css(),
        repeated_colors=colors_of(report).repeat,
        tiles=_tiles(report),
        key_metrics=_metric_rows(e, _mean_cell, KEY_METRICS) if e else [],
        metrics=_metric_rows(e, _mean_cell) if e else [],
        table=table,
        spreads=_metric_rows(e, _spread_cell, with_mean=False) if e else [],
        interval_chart=_interval_chart(e),
        difference_chart=_difference_chart(report.repair),
        metric_label=lambda name: metric_of(name).label_of(volumes=e is not None and e.volumes),
        distributions=_distributions(e),
        failures=_failures(report),
        failures_shown=_FAILURES_SHOWN,
        confusion=_confusion(e),
        reliability=plots.reliability(e.calibration.bins) if e and e.calibration else Markup(""),
        lesion_charts=_lesion_charts(e),
        curve_charts=_curve_charts(report),
        pictures=pictures,
        learning_curve=learning_curve,
        epochs=epochs,
        annotations=annotations or {},
        settings=_settings(report.config),
    )


def _learning_curve(source: ReportSource) -> str:
    try:
        content = (advice_folder(source) / PICTURE_NAME).read_bytes()
    except OSError:
        return ""
    return "data:image/png;base64," + base64.b64encode(content).decode("ascii")


def _tiles(report: Report) -> list[tuple[str, str, str]]:
    """Value, label and detail of the figures on top."""
    e, tiles = report.evaluation, []
    if e is not None:
        for name in ("dice", "nsd", "hd95"):
            statistic = e.macro.get(name)
            if statistic is None or (name == "hd95" and "nsd" in e.macro):
                continue
            tiles.append(
                (
                    formatted(statistic.mean, metric_of(name).unit),
                    _label(name, e),
                    _interval(name, statistic),
                )
            )
        groups = f"{e.groups} groups" if e.groups != e.cases else "scored at their own size"
        tiles.append((str(e.cases), "cases", groups))
        missed = sum(c.missed for c in e.classes)
        present = sum(c.cases_with_reference for c in e.classes)
        tiles.append((str(missed), "missed altogether", f"of {present} to be found"))
        invented = sum(c.false_positive for c in e.classes)
        absent = sum(c.cases_with_empty_reference for c in e.classes)
        verb = "is" if absent == 1 else "are"
        told = f"in {absent} {verb} without it" if absent else "no case is without"
        tiles.append((str(invented), "marked where absent", told))
    return tiles


def _label(name: str, e: Evaluation) -> str:
    metric = metric_of(name)
    unit = f" ({e.units})" if metric.unit == "distance" else ""
    mean = "mean " if len(e.classes) > 1 else ""
    return f"{mean}{metric.label_of(volumes=e.volumes)}{unit}"


def _interval(name: str, statistic: Statistic) -> str:
    if statistic.ci95 is None:
        return "no interval"
    unit = metric_of(name).unit
    low, high = (formatted(v, unit) for v in statistic.ci95)
    return f"{low} to {high}"


def _mean_cell(name: str, statistic: Statistic) -> _Cell:
    return _Cell(formatted(statistic.mean, metric_of(name).unit), _interval(name, statistic))


def _spread_cell(name: str, statistic: Statistic) -> _Cell:
    unit = metric_of(name).unit
    low, high = formatted(statistic.min, unit), formatted(statistic.max, unit)
    tail = f"5th percentile {formatted(statistic.p5, unit)}, " if statistic.p5 is not None else ""
    return _Cell(formatted(statistic.median, unit), f"{tail}{low} to {high}")


def _metric_rows(
    e: Evaluation,
    cell: Callable[[str, Statistic], _Cell],
    only: Sequence[str] = (),
    with_mean: bool = True,
) -> list[_MetricRow]:
    """One row per metric: the mean over classes where there are several, and a cell per class."""
    names = list(dict.fromkeys(name for c in e.classes for name in c.statistics))
    rows = []
    for name in [n for n in only if n in names] if only else names:
        metric, meaning = metric_of(name), metric_of(name).meaning_of(volumes=e.volumes)
        found = [c.statistics.get(name) for c in e.classes]
        if with_mean and len(e.classes) > 1:
            found.insert(0, e.macro.get(name))
        unit = e.units if metric.unit == "distance" else ""
        if "tolerance" in metric.settings and e.tolerance is not None:
            unit = f"within {e.tolerance:g} {e.units}"
        cells = [cell(name, s) if s is not None else _Cell("\N{EN DASH}", "") for s in found]
        explained = f"{meaning} {_BETTER[metric.better]}" if meaning else ""
        rows.append(_MetricRow(metric.label_of(volumes=e.volumes), unit, explained, cells))
    return rows


def _interval_chart(e: Evaluation | None) -> Markup:
    if e is None or not any("dice" in c.statistics for c in e.classes):
        return Markup("")
    return plots.intervals(e.classes, "dice")


def _difference_chart(repair: Repair | None) -> Markup:
    rows = [s for s in repair.comparison.scores if s.metric == "dice"] if repair else []
    return plots.differences(rows)


def _figures(statistic: Statistic) -> _Cell:
    return _mean_cell("dice", statistic)


def _difference(score: RepairedScore) -> _Cell:
    """The paired difference with its interval."""
    if score.difference is None:
        return _Cell("\N{EN DASH}", "")
    detail = "no interval" if score.ci95 is None else " to ".join(map(_signed, score.ci95))
    return _Cell(_signed(score.difference), detail)


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "\N{MINUS SIGN}")


def _distributions(e: Evaluation | None) -> list[_Chart[ClassSummary]]:
    charts = []
    for c in e.classes if e else ():
        own = [s for s in e.scores if s.class_id == c.id] if e else []
        if chart := plots.distribution(c.name, c.id, own):
            charts.append(_Chart(c.name, chart, c))
    return charts


def _lesion_charts(e: Evaluation | None) -> list[_Chart[LesionTotals]]:
    charts = []
    for c in e.classes if e else ():
        if c.lesions is not None and (c.lesions.reference or c.lesions.predicted):
            unit = "voxels" if e and e.volumes else "px"
            chart = plots.lesions_by_size(c.name, c.id, c.lesions.by_size, unit)
            charts.append(_Chart(c.name, chart, c.lesions))
    return charts


def _failures(report: Report) -> list[_FailureGroup]:
    return [
        _FailureGroup(title, rows)
        for kind, title in _TITLES.items()
        if (rows := [f for f in report.failures if f.kind == kind])
    ]


def _confusion(e: Evaluation | None) -> list[_ConfusionRow]:
    """Rows of the confusion table: the share of each reference class in each predicted one."""
    if e is None or e.confusion is None:
        return []
    rows = []
    for name, counts in zip(e.confusion.names, e.confusion.counts, strict=False):
        total = sum(counts)
        shares = [n / total if total else None for n in counts]
        cells = [_ConfusionCell(s, n) for s, n in zip(shares, counts, strict=True)]
        rows.append(_ConfusionRow(name, total, cells))
    return rows


def _curve_charts(report: Report) -> list[_Chart[list[str]]]:
    """Each quantity with its validation; the learning rate alone, last."""
    names = [n for n in report.curves if not n.startswith("val_") and n not in ("lr", "loss")]
    best = report.training.best_epoch if report.training else None
    charts = []
    for name in ("loss", *names, "lr"):
        series = {
            label: report.curves[key]
            for label, key in (("training", name), ("validation", f"val_{name}"))
            if key in report.curves
        }
        title = "learning rate" if name == "lr" else name
        if chart := plots.curves(title, series, best):
            charts.append(_Chart(title, chart, list(series)))
    return charts


def _settings(config: list[Setting]) -> dict[str, list[Setting]]:
    sections: dict[str, list[Setting]] = {}
    for setting in config:
        sections.setdefault(setting.key.partition(".")[0], []).append(setting)
    return sections
