"""`flexseg inspect`: a network's layers, parameters, cost."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Annotated

import typer

from flexseg.cli.app import (
    JsonOption,
    SetOption,
    StrictOption,
    TrainedArgument,
    console,
    open_config,
    select_backend,
)
from flexseg.cli.command import Task, command
from flexseg.errors import ConfigError, ResourceError
from flexseg.one_writer import exclusive_file

logger = logging.getLogger(__name__)


@command(Task.SHARE)
def inspect(
    source: TrainedArgument,
    overrides: SetOption = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for summary.txt and model.png.")
    ] = None,
    strict: StrictOption = False,
    as_json: JsonOption = False,
) -> None:
    """Show a network's layers, parameters, GFLOP and memory; write summary.txt and model.png."""
    from flexseg.runs.given import find_given

    model = find_given(source).model
    if model is not None:
        _refuse_overrides(overrides)
        select_backend(None)
    else:
        loaded = open_config(source, overrides, strict)
    from flexseg.config.load import input_paths
    from flexseg.inspecting import inspect_network, inspect_package
    from flexseg.outputs import refuse_input
    from flexseg.own_results import claim_picture

    if output is not None:
        claim_picture(output / "model.png")

    if model is not None:
        inspection = inspect_package(model, output)
    else:
        e = loaded.experiment
        if output is not None:
            refuse_input("--output", output, input_paths(e, loaded.path))
        inspection = inspect_network(
            e.model,
            e.inspect,
            precision=e.train.precision,
            search=loaded.path.parent,
            output=output,
        )
    if as_json:
        typer.echo(json.dumps(inspection.as_dict(), indent=2))
    else:
        from flexseg.cli.printing import print_inspection

        print_inspection(console, inspection)
    with exclusive_file(inspection.targets.summary):
        logger.info("Written: %s", inspection.write_summary())
        try:
            logger.info("Written: %s", inspection.draw())
        except ResourceError as error:
            logger.warning("%s %s", error.problem, error.fix)


def _refuse_overrides(overrides: list[str] | None) -> None:
    if overrides:
        raise ConfigError(
            "A model package describes itself: --set cannot change it.",
            "Leave --set out, or give a config.",
            "--set",
        )
