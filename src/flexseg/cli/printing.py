"""What the terminal shows of checks and scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.text import Text

from flexseg.cli.tables import Table, fixed, numbers, texts, with_interval
from flexseg.cli.terminal import in_lines
from flexseg.config.findings import amount
from flexseg.errors import one_line
from flexseg.evaluation.aggregate import HARDLY_ANYTHING

if TYPE_CHECKING:
    from flexseg.checking.audit import CheckReport
    from flexseg.evaluation.aggregate import Statistic
    from flexseg.evaluation.metrics.metric import Metric
    from flexseg.evaluation.summary import ClassMeans, ClassSummary, EvaluationSummary
    from flexseg.inspecting import Inspection

_GRADES = {
    "good": "bold green",
    "usable with checking": "bold yellow",
    "failed": "bold red",
    "not tested": "bold",
}
_COLORS = {"error": "bold red", "warning": "yellow", "note": "cyan"}


def print_scores(console: Console, summary: EvaluationSummary) -> None:
    """The table of an evaluation: means with intervals, and what stands apart from them."""
    cases, groups = summary.cases, summary.groups
    count = amount(cases, "case")
    of_groups = f" of {amount(groups, 'group')}" if groups != cases else ""
    interval = ", each with its 95 % interval below" if groups > 1 else ""
    console.print(
        f"[bold]{count}{of_groups}, scored at native resolution.[/] Means over the cases whose "
        f"reference contains the class{interval}."
    )
    _score_table(summary, _columns(summary, console.width), "cases").print(console)
    if by_group := summary.by_group:
        console.print(
            "[bold]Each group as one[/] (a volume's slices, an image's tiles): the overlap of all "
            "its pixels together."
        )
        _score_table(by_group, _group_columns(), "groups").print(console)
    for c in summary.classes:
        for line in _about_class(c, summary.object_rule):
            console.print(f"{escape(one_line(c.name))}: {line}")
    if calibration := summary.calibration:
        console.print(
            f"Probabilities: expected calibration error {calibration.ece or 0:.3f}, Brier score "
            f"{calibration.brier or 0:.3f} (all pixels)."
        )
    for note in summary.notes[1:]:
        console.print(f"Note: {note}", markup=False)
    mean = (summary.by_group or summary).macro["dice"].mean
    if mean is not None and mean < HARDLY_ANYTHING:
        console.print(f"[yellow]A mean Dice of {mean:.3f}:[/] {_why_so_low(summary)}")
    figures = summary.original_figures.items()
    if values := ", ".join(f"{k} {v:.4f}" for k, v in figures if not isinstance(v, str)):
        console.print(f"The original systems' figures (soft, at the network's size): {values}")
    for one in summary.verdicts:
        console.print(
            f"{escape(one_line(one.name))}: [{_GRADES[one.grade]}]{one.grade}[/]. {one.why}"
        )


def _columns(summary: EvaluationSummary, width: int) -> dict[str, str]:
    """The metrics that fit on a terminal of `width`; the files have all of them."""
    from flexseg.evaluation.metrics.metric import all_metrics

    shown = [m for m in all_metrics() if m.terminal is not None and m.terminal <= width]
    return {metric.name: _heading(metric, summary) for metric in shown}


def _group_columns() -> dict[str, str]:
    """The metrics of groups."""
    from flexseg.evaluation.metrics.metric import count_metrics

    shown = [metric for metric in count_metrics() if metric.terminal is not None]
    return {metric.name: metric.short or metric.label for metric in shown}


def _heading(metric: Metric, summary: EvaluationSummary) -> str:
    name, units = metric.short or metric.label, summary.units
    if metric.unit == "distance":
        return f"{name}, {units}"
    if "tolerance" in metric.settings:
        return f"{name} {summary.tolerance:g} {units}"
    return name


def _why_so_low(summary: EvaluationSummary) -> str:
    if summary.inference is None:
        return (
            "these masks hardly agree with their references. Check that they belong together and "
            "show the same classes."
        )
    return (
        "this network has hardly learned anything. It needs more training; if that does not "
        "help, check that images and masks belong together (`flexseg check`)."
    )


def _about_class(c: ClassSummary, object_rule: str) -> Iterator[str]:
    """What means do not tell of a class: missed and false objects."""
    if c.missed:
        yield f"missed altogether in {c.missed} of {amount(c.cases_with_reference, 'case')}."
    if c.cases_with_empty_reference:
        yield (
            f"absent from the reference of {amount(c.cases_with_empty_reference, 'case')} (not "
            f"in the means), predicted in {c.false_positive or 'none'} of them."
        )
    lesions = c.lesions
    if lesions is not None and lesions.reference > c.cases_with_reference:
        yield (
            f"{lesions.found} of {lesions.reference} separate objects found ({object_rule}), "
            f"{lesions.false} false ones ({lesions.false_per_case or 0:.1f} per case)."
        )


def _score_table(means: ClassMeans, metrics: dict[str, str], unit: str) -> Table:
    table = Table([*texts("class"), *numbers(*metrics.values(), unit)])
    for c in means.classes:
        cells = (_mean(c.statistics[metric]) for metric in metrics)
        table.add(c.name, *cells, c.cases_with_reference)
    if len(means.classes) > 1:
        table.rule()
        table.add("mean", *(_mean(means.macro[metric]) for metric in metrics), "")
    return table


def _mean(statistic: Statistic) -> Text:
    largest = max(statistic.mean or 0, *(statistic.ci95 or [0]))
    return with_interval(statistic.mean, statistic.ci95, 3 if largest < 10 else 1)


def print_check(console: Console, report: CheckReport) -> None:
    """Findings, effective values and data of a check."""
    console.print("[bold]Effective values[/] (all others are defaults)")
    values = Table([*fixed("key"), *texts("value")], header=False)
    for key, value, source in report.values:
        values.add(key, Text.assemble(one_line(value), (f" ({one_line(source)})", "dim")))
    values.print(console)
    if report.splits:
        console.print("\n[bold]Data[/]")
        keys = ("sizes", "images", "masks", "shares")
        columns = texts("sizes", "images", "masks", "share of pixels by class")
        data = Table([*texts("split"), *numbers("cases"), *columns])
        for split in report.splits:
            data.add(split["split"], split["cases"], *(split[key] for key in keys))
        data.print(console)
    if report.costs is not None:
        whole = not console.is_terminal
        console.print(f"\n[bold]Needs[/]  {report.costs}", soft_wrap=whole, highlight=False)
    for finding in report.findings:
        color = _COLORS[finding.severity]
        place = one_line(finding.where)
        begun = cell_len(f"{finding.severity} {place}: ")
        what = in_lines(console, one_line(finding.what), begun)
        fix = in_lines(console, one_line(finding.fix), len("    fix: "))
        console.print(
            f"[{color}]{finding.severity}[/] {escape(place)}: {escape(what)}"
            + (f"\n    [dim]fix:[/] {escape(fix)}" if fix else ""),
            soft_wrap=True,
        )
    count = {s: sum(f.severity == s for f in report.findings) for s in _COLORS}
    verdict = "[green]It can run.[/]" if report.exit_code == 0 else "[bold red]It cannot run.[/]"
    console.print(f"{verdict} {', '.join(amount(count[s], s) for s in _COLORS)}.")


# A longer table than this is cut to the layers that cost most; summary.txt has them all.
_LAYERS_SHOWN = 60
_COSTLIEST = 20


def print_inspection(console: Console, inspection: Inspection) -> None:
    """The layers of a network and its sums; of a package also what it knows."""
    from flexseg.models.inspection import totals

    facts = inspection.facts
    console.print(f"[bold]{escape(inspection.title)}[/]")
    layers = list(facts.layers)
    if len(layers) > _LAYERS_SHOWN:
        costly = sorted(layers, key=lambda layer: layer.flop, reverse=True)[:_COSTLIEST]
        console.print(
            f"The {_COSTLIEST} most expensive of {len(layers)} layers; summary.txt lists all."
        )
        layers = [layer for layer in layers if layer in costly]
    table = Table([*texts("layer", "kind", "output"), *numbers("parameters", "MFLOP")])
    for layer in layers:
        table.add(
            layer.name,
            layer.kind,
            " x ".join(map(str, layer.shape)),
            f"{layer.parameters:,}" if layer.parameters else "",
            f"{layer.flop / 1e6:,.2f}" if layer.flop else "",
        )
    table.print(console)
    for line in totals(facts):
        console.print(line)
    if about := inspection.about:
        names = [f"{c['id']} {c['name']}" for c in about["labels"]["classes"]]
        console.print(f"classes: {escape(', '.join(names))}")
        _print_nested(console, "model", inspection.options())
        _print_nested(console, "preprocessing", about["preprocessing"])
        _print_nested(console, "info", about["info"])


def _print_nested(console: Console, title: str, content: Mapping[str, object]) -> None:
    """Keys and values, groups in the key's name."""
    for key, value in content.items():
        if isinstance(value, dict):
            _print_nested(console, f"{title}.{key}", value)
        elif value is not None:
            shown = f"{value:.4g}" if isinstance(value, float) else str(value)
            console.print(f"{escape(f'{title}.{key}')}: {escape(shown)}")


def print_catalogue(console: Console, kind: str, entries: list[dict[str, Any]]) -> None:
    """The entries of a registry with what they are, where they come from, and their options."""
    from flexseg.catalogue import as_config

    for entry in entries:
        also = f"  [dim]also {escape(', '.join(entry['aliases']))}[/]" if entry["aliases"] else ""
        console.print(f"[bold]{escape(entry['name'])}[/]{also}")
        head = f" ({entry['for']})" if "for" in entry else ""
        lines = [escape(entry["summary"]) + head]
        if "paper" in entry:
            lines.append(f"[dim]{escape(entry['paper'])}[/]")
        if options := entry.get("options"):
            named = ", ".join(f"{key} = {as_config(o['default'])}" for key, o in options.items())
            lines.append(f"[cyan]options:[/] {escape(named)}")
        if keys := entry.get("keys"):
            lines.append(f"[cyan]switched on by:[/] {escape(', '.join(keys))}")
        for line in lines:
            console.print(Padding(line, (0, 0, 0, 2)))
        console.print()
