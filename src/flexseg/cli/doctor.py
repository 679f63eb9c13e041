"""`flexseg doctor`: what this machine has, and how fast it is."""

from __future__ import annotations

from typing import Annotated

import typer

from flexseg.cli.app import BackendOption, console, say, select_backend
from flexseg.cli.command import Task, long_command
from flexseg.cli.tables import Table, fixed, texts
from flexseg.environment import environment_facts
from flexseg.errors import ConfigError
from flexseg.events import emit


@long_command(Task.HELP)
def doctor(
    speed: Annotated[
        bool, typer.Option(help="Measure the speed of a training, in about ten seconds.")
    ] = True,
    backend: BackendOption = None,
) -> None:
    """Show machine, engines, versions, precision, memory and disk, and measure the speed."""
    facts = environment_facts()
    try:
        facts |= _of_engine(backend, speed=speed)
    except ConfigError as error:
        facts["engine"] = f"{error.problem} {error.fix}"
    emit("result", **facts)
    table = Table([*fixed("what"), *texts("found")], header=False)
    for name, text in facts.items():
        table.add(name, text)
    table.print(console)
    say("Include all of this when you report an error.")


def _of_engine(backend: str | None, *, speed: bool) -> dict[str, str]:
    """What the engine tells of itself, and how fast it is."""
    select_backend(backend)
    import keras

    from flexseg.backend import accelerator, resolve_precision

    device = accelerator()
    facts = {
        "engine": f"{keras.backend.backend()}, on {device or 'the CPU'}",
        "precision": resolve_precision("auto"),
    }
    if speed:
        from flexseg.planning.speed_test import measure_speed

        with console.status("Measuring the speed"):
            facts |= measure_speed().facts()
    return facts
