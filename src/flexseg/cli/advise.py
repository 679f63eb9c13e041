"""`flexseg advise`: what more cases or more time would bring, and which cases fail."""

from __future__ import annotations

import json
import textwrap
from typing import Annotated

import typer

from flexseg.cli.app import (
    BackendOption,
    ConfigArgument,
    SetOption,
    StrictOption,
    open_config,
    progress,
    say,
    state,
)
from flexseg.cli.command import Task, long_command
from flexseg.events import emit

_WIDTH = 80


@long_command(Task.JUDGE)
def advise(
    config: ConfigArgument,
    duration: Annotated[
        str,
        typer.Option(
            "--time", metavar="DURATION", help="Time for the whole command, e.g. 10m, 1h."
        ),
    ],
    cases: Annotated[
        int,
        typer.Option(min=1, metavar="N", help="Number of further training cases to forecast for."),
    ] = 40,
    overrides: SetOption = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start over; earlier trainings are moved aside.")
    ] = False,
    strict: StrictOption = False,
    backend: BackendOption = None,
) -> None:
    """Forecast what more cases or more time would bring, and show which cases fail."""
    from flexseg.config.durations import parse_duration

    seconds = parse_duration(duration)
    loaded = open_config(config, overrides, strict, backend)
    import keras

    from flexseg.forecast.statement import PICTURE_NAME
    from flexseg.runs.given import ADVICE_FILE
    from flexseg.search.advisor import Advisor

    advisor = Advisor(
        loaded,
        overrides or (),
        seconds,
        backend=keras.backend.backend(),
        more=cases,
        say=say,
        started=state.began_at(),
    )
    with progress("Training") as on_time:
        found = advisor.run(fresh=fresh, on_time=on_time)
    emit("result", **json.loads((found.folder / ADVICE_FILE).read_text(encoding="utf-8")))
    say("")
    for sentence in found.advice.sentences:
        say(textwrap.fill(sentence, _WIDTH, subsequent_indent="  ", initial_indent="- "))
    say("")
    if found.advice.is_curve:
        say(f"Curve:   {found.folder / PICTURE_NAME}")
    say(f"Numbers: {found.folder / ADVICE_FILE}")
