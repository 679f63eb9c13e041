"""Commands on networks and their weights."""

from __future__ import annotations

import json
import logging
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from flexseg.cli.app import (
    ConfigArgument,
    JsonOption,
    SetOption,
    StrictOption,
    app,
    console,
    load_config,
    say,
    select_backend,
)
from flexseg.errors import ConfigError, ResourceError

logger = logging.getLogger(__name__)


@app.command()
def inspect(
    source: Annotated[Path, typer.Argument(help="Config, or a model package (best_model.h5).")],
    overrides: SetOption = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder of summary.txt and model.png.")
    ] = None,
    strict: StrictOption = False,
    as_json: JsonOption = False,
) -> None:
    """Show a network's layers, parameters, GFLOP and memory; write summary.txt and model.png."""
    select_backend(None)
    from flexseg.inspecting import inspect_config, inspect_package

    if _is_package(source, overrides):
        inspection = inspect_package(source, output)
    else:
        inspection = inspect_config(load_config(source, overrides, strict), output)
    if as_json:
        typer.echo(json.dumps(inspection.as_dict(), indent=2))
    else:
        from flexseg.reporting import print_inspection

        print_inspection(console, inspection)
    logger.info("written: %s", inspection.write_summary())
    try:
        logger.info("written: %s", inspection.draw())
    except ResourceError as error:
        logger.warning("%s %s", error.problem, error.fix)


@app.command("import-weights")
def import_weights(
    source: Annotated[Path, typer.Argument(help="best_model.h5 of an original system (Keras 2).")],
    config: ConfigArgument,
    overrides: SetOption = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Package to write (default: the config's model)."),
    ] = None,
    strict: StrictOption = False,
) -> None:
    """Make a model package of weights that an original system has trained."""
    select_backend(None)
    from flexseg.models.transfer import import_weights as make_package

    target = make_package(source, load_config(config, overrides, strict), output)
    say(f"written: {target}")


@app.command("export-weights")
def export_weights(
    source: Annotated[Path, typer.Argument(help="Config, or a model package (best_model.h5).")],
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write, *.h5.")],
    overrides: SetOption = None,
    strict: StrictOption = False,
) -> None:
    """Write weights in the layout that the original systems read (Keras 2 HDF5)."""
    select_backend(None)
    from flexseg.inference.run import load_trained
    from flexseg.models.package import ModelPackage
    from flexseg.models.transfer import export_weights as write_weights

    if _is_package(source, overrides):
        package = ModelPackage.load(source)
    else:
        package = load_trained(load_config(source, overrides, strict))
    say(f"written: {write_weights(package, output)}")


class Kind(StrEnum):
    """What `flexseg list` can show."""

    models = "models"
    losses = "losses"
    metrics = "metrics"
    augmentations = "augmentations"


@app.command("list")
def list_registry(
    kind: Annotated[Kind, typer.Argument(help="What to list.")],
    as_json: JsonOption = False,
) -> None:
    """List what a config can name: models, losses, metrics, augmentations."""
    select_backend(None)
    from flexseg.catalogue import CATALOGUE

    entries = CATALOGUE[kind]()
    if as_json:
        typer.echo(json.dumps(entries, indent=2, default=str))
    else:
        from flexseg.reporting import print_catalogue

        print_catalogue(console, kind, entries)


def _is_package(source: Path, overrides: list[str] | None) -> bool:
    """Whether `source` is a model package, which needs no config and takes no overrides."""
    is_package = source.suffix.lower() in (".h5", ".hdf5")
    if is_package and overrides:
        raise ConfigError(
            "A model package describes itself; --set changes nothing in it.",
            "Leave --set out, or give a config.",
            "--set",
        )
    return is_package
