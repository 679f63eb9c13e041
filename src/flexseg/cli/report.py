"""`flexseg report`: what a run is worth, as one file to hand on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flexseg.cli.app import JsonOption, progress, say, select_backend
from flexseg.cli.command import Task, command
from flexseg.errors import ConfigError

if TYPE_CHECKING:
    from flexseg.report.sources import ReportSource


@command(Task.JUDGE)
def report(
    run: Annotated[
        Path,
        typer.Argument(help="Folder of a run, of `auto` or of an evaluation; or a config."),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="HTML file (default: report.html)."),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(help="Config that names the classes, for the folder of an evaluation."),
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="New folder of the images, if they have moved.")
    ] = None,
    masks: Annotated[
        Path | None, typer.Option(help="New folder of the reference masks, if they have moved.")
    ] = None,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair",
            help="Report on the network trained by `train --repair`, compared with "
            "the original one.",
        ),
    ] = False,
    audit: Annotated[
        bool, typer.Option(help="Read all data, to report sizes, class shares and leaks.")
    ] = True,
    as_json: JsonOption = False,
) -> None:
    """Write scores, pictures, failures, data and limits into one HTML file, and into JSON."""
    _refuse_odd_names(output)
    from flexseg.report.html import write_report
    from flexseg.report.sources import find_source

    source = find_source(_repaired_run(run) if repair else run, config, images, masks)
    facts = _audit(source) if audit else None
    html, data, content = write_report(source, output, facts)
    if as_json:
        typer.echo(json.dumps(json.loads(data.read_text(encoding="utf-8")), indent=2))
        return
    say(content.headline)
    if content.repair is not None and content.repair.comparison.why_not:
        say(content.repair.comparison.why_not)
    for part in content.missing:
        say(f"Not in the report: {part.what}: {part.why}")
    say(f"Written: {html}\nWritten: {data}")


def _repaired_run(path: Path) -> Path:
    """The folder of the repaired run of what a path means; a repaired run that is given stays."""
    from flexseg.cli.app import read_trained
    from flexseg.runs.given import find_given
    from flexseg.runs.manifest import Manifest

    given = find_given(path)
    manifest = None if given.run is None else Manifest.find(given.run)
    if manifest is not None and manifest.repair is not None:
        return path
    return read_trained(path, repaired=True).experiment.train.run_dir


def _refuse_odd_names(output: Path | None) -> None:
    if output is not None and (output.is_dir() or output.suffix.lower() not in (".html", ".htm")):
        raise ConfigError(
            f"{output} is not the name of an HTML file.", "End it with .html.", "--output"
        )


def _audit(source: ReportSource) -> dict[str, object] | None:
    """What `flexseg check` says of the data of a run; None without a run or its data."""
    from flexseg.errors import FlexsegError
    from flexseg.report.sources import Missing

    if source.run_dir is None or source.loaded is None:
        return None
    select_backend(None)  # the audit asks Keras which losses and networks there are
    from flexseg.checking.audit import audit, audit_folds
    from flexseg.runs.folds import recorded_division

    try:
        with progress("Reading the data") as on_case:
            if source.crossval:
                division = recorded_division(source.loaded.experiment.data, source.run_dir)
                result = audit_folds(source.loaded, division, on_case).as_dict()
            else:
                result = audit(source.loaded, on_case=on_case).as_dict()
    except FlexsegError as error:
        source.missing.append(Missing("audit of the data", str(error)))
        return None
    if not result["splits"]:
        why = "; ".join(f["what"] for f in result["findings"] if f["severity"] == "error")
        source.missing.append(Missing("audit of the data", why or "no data were found"))
        return None
    return result
