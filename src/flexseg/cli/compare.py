"""`flexseg compare`: which of several runs is better, as far as the data can tell."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flexseg.cli.app import JsonOption, app, console, say
from flexseg.errors import ConfigError

if TYPE_CHECKING:
    from flexseg.evaluation.compare import Comparison, Standing


@app.command()
def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN_A RUN_B [...]", help="Folders of runs or evaluations."),
    ],
    metric: Annotated[
        str, typer.Option(help="dice, iou, nsd, hd95, ... (a column of cases.csv).")
    ] = "dice",
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the results.")] = Path(
        "comparison"
    ),
    as_json: JsonOption = False,
) -> None:
    """Compare evaluated runs case by case: differences with intervals, p, and a ranking."""
    from flexseg.evaluation.compare import compare as compare_runs
    from flexseg.evaluation.compare_files import as_dict, write_comparison
    from flexseg.runs.evaluations import names_of, read_results

    places = [path.resolve() for path in runs]
    if double := [str(path) for path in runs if places.count(path.resolve()) > 1]:
        raise ConfigError(f"{double[0]} is given twice.", "Give each run once.", "RUN")
    names = names_of(runs)
    results = [read_results(path, name) for path, name in zip(runs, names, strict=True)]
    comparison = compare_runs(results, metric)
    files = write_comparison(comparison, output)
    if as_json:
        typer.echo(json.dumps(as_dict(comparison), indent=2))
        return
    _print(comparison)
    for path in files:
        say(f"written: {path}")


def _print(comparison: Comparison) -> None:
    first = comparison.runs[0]
    many = len(comparison.runs) > 2
    more = "Higher" if comparison.direction > 0 else "Lower"
    console.print(
        f"[bold]{comparison.metric} of {len(comparison.runs)} runs on the same {len(first.cases)} "
        f"cases ({len(set(first.groups))} groups).[/] {more} is better."
    )
    _print_ranking(comparison)
    _print_differences(comparison)
    if many:
        console.print("All pairs in every class: comparison.csv.")
    else:
        console.print(_verdict(comparison), markup=False)
    for note in comparison.notes:
        console.print(f"Note: {note}", markup=False)


def _print_ranking(comparison: Comparison) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    classes = list(comparison.runs[0].classes.values())
    standings = comparison.standings
    table = Table(box=SIMPLE_HEAD, padding=(0, 1), collapse_padding=True, pad_edge=False)
    table.add_column("rank", justify="right")
    table.add_column("run", overflow="fold")
    table.add_column("mean", justify="right", no_wrap=True)
    counts = {
        title: counted
        for title, key in (("missed", "missed"), ("false positive", "false_positive"))
        if any((counted := {s.name: sum(getattr(s, key).values()) for s in standings}).values())
    }
    for name in (*(classes if len(classes) > 1 else ()), *counts):
        table.add_column(escape(name), justify="right")
    if len(standings) > 2:
        table.add_column("not told apart from", overflow="fold")
    for s in standings:
        by_class = [_number(s.classes[name]) for name in classes] if len(classes) > 1 else []
        table.add_row(
            str(s.rank),
            escape(s.name),
            _with_interval(s.mean, s.ci95),
            *by_class,
            *(str(counted[s.name]) for counted in counts.values()),
            *((escape(_not_told_apart(s)),) if len(standings) > 2 else ()),
        )
    console.print(table)


def _not_told_apart(standing: Standing) -> str:
    names = list(standing.not_told_apart)
    if standing.no_interval:
        names.append(f"{', '.join(standing.no_interval)} (too few groups for an interval)")
    return ", ".join(names) or "-"


def _print_differences(comparison: Comparison) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    from flexseg.evaluation.compare import MACRO

    many = len(comparison.runs) > 2
    one_class = len(comparison.runs[0].classes) == 1
    table = Table(box=SIMPLE_HEAD, padding=(0, 1), collapse_padding=True, pad_edge=False)
    table.add_column("second\n- first" if many else "class", overflow="fold")
    for name in ("difference", "p", *(("p (Holm)",) if many else ())):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("better", "worse", "equal"):
        table.add_column(name, justify="right")
    for d in comparison.differences:
        macro = d.class_name == MACRO
        if macro != many and (many or one_class):
            continue
        adjusted = [_p(d.p_holm)] if many else []
        table.add_row(
            escape(f"{d.second}\n- {d.first}" if many else d.class_name),
            _with_interval(d.mean, d.ci95, "+"),
            _p(d.p),
            *adjusted,
            *(str(n) for n in (d.better, d.worse, d.equal)),
        )
    if not many:
        a, b = (escape(run.name) for run in comparison.runs)
        console.print(f"[bold]{b} - {a}[/], case by case")
    console.print(table)


def _verdict(comparison: Comparison) -> str:
    """One sentence for two runs."""
    best, other = comparison.standings
    if other.no_interval:
        return "Too few groups for an interval: nothing can be said of which of the two is better."
    if other.rank == 1:
        return "The data cannot tell the two apart."
    return f"{best.name} is better than {other.name}: the interval of the difference excludes 0."


def _with_interval(mean: float | None, ci: tuple[float, float] | None, sign: str = "") -> str:
    if mean is None:
        return "-"
    return f"{mean:{sign}.4f}" + (f"\n[dim]{ci[0]:{sign}.4f} to {ci[1]:{sign}.4f}[/]" if ci else "")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _p(value: float | None) -> str:
    if value is None:
        return "-"
    return "< 0.0001" if value < 0.0001 else f"{value:.4f}"
