"""`flexseg compare`: which of several runs is better, as far as the data can tell."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from flexseg.cli.app import JsonOption, console, say
from flexseg.cli.command import Task, command
from flexseg.cli.tables import NOTHING, Table, number, numbers, texts, with_interval
from flexseg.errors import ConfigError, one_line
from flexseg.machine import real_path

if TYPE_CHECKING:
    from flexseg.evaluation.compare import Comparison, Standing


@command(Task.JUDGE)
def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN_A RUN_B [...]", help="Folders of two or more runs or evaluations."
        ),
    ],
    metric: Annotated[
        str,
        typer.Option(help="Metric to compare: dice, iou, nsd, hd95, ... (a column of cases.csv)."),
    ] = "dice",
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.")] = Path(
        "comparison"
    ),
    as_json: JsonOption = False,
) -> None:
    """Compare evaluated runs case by case: differences with intervals, p-values and a ranking."""
    from flexseg.evaluation.compare import compare as compare_runs
    from flexseg.evaluation.compare_files import as_dict, write_comparison
    from flexseg.own_results import claim_folder
    from flexseg.runs.evaluations import names_of, read_results

    claim_folder(output, runs)
    places = [real_path(path) for path in runs]
    if double := [str(path) for path in runs if places.count(real_path(path)) > 1]:
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
        say(f"Written: {path}")


def _print(comparison: Comparison) -> None:
    from flexseg.config.findings import amount

    first = comparison.runs[0]
    many = len(comparison.runs) > 2
    more = "Higher" if comparison.direction > 0 else "Lower"
    console.print(
        f"[bold]{comparison.metric} of {len(comparison.runs)} runs on the same "
        f"{amount(len(first.cases), 'case')} ({amount(len(set(first.groups)), 'group')}).[/] "
        f"{more} is better."
    )
    _print_ranking(comparison)
    _print_differences(comparison)
    if many:
        console.print("All pairs in all classes: comparison.csv.")
    else:
        console.print(_verdict(comparison), markup=False)
    for note in comparison.notes:
        console.print(f"Note: {note}", markup=False)


def _print_ranking(comparison: Comparison) -> None:
    classes = list(comparison.runs[0].classes.values())
    standings = comparison.standings
    counts = {
        title: counted
        for title, key in (("missed", "missed"), ("false positive", "false_positive"))
        if any((counted := {s.name: sum(getattr(s, key).values()) for s in standings}).values())
    }
    shown = classes if len(classes) > 1 else []
    tied = texts("not distinguishable from") if len(standings) > 2 else []
    table = Table([*numbers("rank"), *texts("run"), *numbers("mean", *shown, *counts), *tied])
    for s in standings:
        table.add(
            s.rank,
            s.name,
            with_interval(s.mean, s.ci95, separator=" to "),
            *(number(s.classes[name]) for name in shown),
            *(counted[s.name] for counted in counts.values()),
            *((_not_told_apart(s),) if tied else ()),
        )
    table.print(console)


def _not_told_apart(standing: Standing) -> str:
    names = list(standing.not_told_apart)
    if standing.no_interval:
        names.append(f"{', '.join(standing.no_interval)} (too few groups for an interval)")
    return ", ".join(names) or "-"


def _print_differences(comparison: Comparison) -> None:
    from rich.markup import escape

    from flexseg.evaluation.compare import MACRO

    many = len(comparison.runs) > 2
    one_class = len(comparison.runs[0].classes) == 1
    of = "second\n- first" if many else "class"
    tests = ("difference", "p", *(("p (Holm)",) if many else ()))
    table = Table([*texts(of), *numbers(*tests, "better", "worse", "equal")])
    for d in comparison.differences:
        macro = d.class_name == MACRO
        if macro != many and (many or one_class):
            continue
        adjusted = [_p(d.p_holm)] if many else []
        table.add(
            Text(f"{one_line(d.second)}\n- {one_line(d.first)}") if many else d.class_name,
            with_interval(d.mean, d.ci95, sign=True),
            _p(d.p),
            *adjusted,
            d.better,
            d.worse,
            d.equal,
        )
    if not many:
        a, b = (escape(run.name) for run in comparison.runs)
        console.print(f"[bold]{b} - {a}[/], case by case")
    table.print(console)


def _verdict(comparison: Comparison) -> str:
    """One sentence for two runs."""
    best, other = comparison.standings
    if other.no_interval:
        return "Too few groups for an interval: which of the two is better cannot be said."
    if other.rank == 1:
        return "The data cannot tell the two apart."
    return f"{best.name} is better than {other.name}: the interval of the difference excludes 0."


def _p(value: float | None) -> str:
    if value is None:
        return NOTHING
    return "< 0.0001" if value < 0.0001 else f"{value:.4f}"
