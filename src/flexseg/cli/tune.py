"""`flexseg tune`: a search for better values of a config."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from flexseg.cli.app import (
    BackendOption,
    ConfigArgument,
    SetOption,
    StrictOption,
    console,
    open_config,
    progress,
    say,
    say_next,
    state,
)
from flexseg.cli.command import Task, long_command
from flexseg.cli.tables import Table, number, numbers, texts
from flexseg.errors import ConfigError
from flexseg.events import emit

if TYPE_CHECKING:
    from flexseg.search.search import Found

_SHOWN = 5


@long_command(Task.TRAIN, "tune")
def tune(
    config: ConfigArgument,
    duration: Annotated[
        str,
        typer.Option(
            "--time", metavar="DURATION", help="Time for the whole search, e.g. 90s, 10m, 1h30m."
        ),
    ],
    overrides: SetOption = None,
    processes: Annotated[
        int,
        typer.Option(
            min=1,
            help="Trials that run at a time and share the processors; on 2 cores, 1 is best.",
        ),
    ] = 1,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start over; an earlier search is moved aside.")
    ] = False,
    storage: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="PostgreSQL database by which the hosts that run this command share its trials, "
            "e.g. postgresql+pg8000://user@host/database; the password is that of PGPASSWORD or "
            "~/.pgpass.",
        ),
    ] = None,
    study: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Name of the search in that database (default: that of the config and of its "
            "cases).",
        ),
    ] = None,
    strict: StrictOption = False,
    backend: BackendOption = None,
) -> None:
    """Search for better values by many short trainings; run it again to continue a search."""
    if storage is not None and fresh:
        raise ConfigError(
            "--fresh would take the search from the other hosts.",
            "Give a new one a name of its own with --study.",
            "--fresh",
        )
    if study is not None and storage is None:
        raise ConfigError(
            "Only a search in a database has a name.", "Give --storage too.", "--study"
        )
    from flexseg.config.durations import parse_duration

    seconds = parse_duration(duration)
    from flexseg.search.study import require_optuna

    require_optuna()
    loaded = open_config(config, overrides, strict, backend)
    import keras

    from flexseg.search.search import Search

    search = Search(
        loaded,
        overrides or (),
        seconds,
        backend=keras.backend.backend(),
        processes=processes,
        say=say,
        started=state.began_at(),
        storage=storage,
        study=study,
    )
    with progress("Searching") as on_time:
        found = search.run(fresh=fresh, on_time=on_time)
    emit("result", **_as_dict(found))
    _print(found)


def _as_dict(found: Found) -> dict[str, Any]:
    return {
        "metric": found.metric,
        "trials": [
            {
                "trial": t.number,
                "state": str(t.state),
                "score": t.score,
                "seconds": t.seconds,
                "values": t.values,
                "reason": t.reason,
                **({"host": t.host} if t.host else {}),
            }
            for t in found.trials
        ],
        "best": found.best.number if found.best else None,
        "importance": found.importance,
        "config": str(found.config) if found.best else None,
        "table": str(found.table),
    }


def _print(found: Found) -> None:
    from flexseg.config.findings import amount

    states = [str(t.state) for t in found.trials]
    counts = ", ".join(f"{states.count(s)} {s}" for s in dict.fromkeys(states))
    console.print(f"\n[bold]{amount(len(states), 'trial')}[/] ({counts}).")
    if found.best is None:
        say(f"None was finished. All trials: {found.table}")
        return
    _print_keys(found)
    _print_trials(found)
    if found.start is not None and found.start.score is not None:
        say(
            f"{found.metric}: {found.best.score:.4f} of trial {found.best.number}, "
            f"{found.start.score:.4f} of the config as it is. The best of many trials is partly "
            "lucky: only the test set tells what it is worth."
        )
    say(f"Best config: {found.config}\nAll trials:  {found.table}")
    say_next("train", found.config, why="trains it for as long as the config says")


def _print_keys(found: Found) -> None:
    from flexseg.search.space import as_text

    importance = numbers("importance") if found.importance else []
    table = Table([*texts("key", "as it was", "best"), *importance, *texts("searched")])
    order = sorted(found.parameters, key=lambda p: -found.importance.get(p.name, 0.0))
    for p in order:
        best = found.best.values[p.name] if found.best else p.start
        share = [f"{found.importance.get(p.name, 0.0):.0%}"] if found.importance else []
        changed = repr(best) != repr(p.start)
        table.add(
            p.name,
            as_text(p.start),
            as_text(best),
            *share,
            str(p),
            style="green" if changed else None,
        )
    table.print(console)
    if not found.importance:
        console.print("[dim]Importances are given once 8 trials have finished.[/]")


def _print_trials(found: Found) -> None:
    from flexseg.config.durations import format_duration
    from flexseg.search.space import as_text
    from flexseg.search.study import State

    sign = -1 if found.maximize else 1
    finished = [t for t in found.trials if t.state is State.FINISHED]
    ranked = sorted(finished, key=lambda t: (sign * (t.score or 0.0), t.number))
    table = Table([*numbers("trial", found.metric, "time"), *texts("values")])
    for trial in ranked[:_SHOWN]:
        values = ", ".join(
            f"{name.partition('.')[2]} {as_text(value)}" for name, value in trial.values.items()
        )
        what = "as it is" if trial.is_start else values
        score = number(trial.score)
        table.add(trial.number, score, format_duration(trial.seconds), what)
    table.print(console)
