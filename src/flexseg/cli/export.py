"""`flexseg export`: a trained network in the format of other programs."""

from __future__ import annotations

from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from flexseg.cli.app import BackendOption, TrainedArgument, open_trained, say
from flexseg.cli.command import Task, command


class Format(StrEnum):
    """Formats of other programs."""

    ONNX = "onnx"


@command(Task.SHARE)
def export(
    trained: TrainedArgument,
    to: Annotated[Format, typer.Option("--to", help="Format of the network.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Folder for it (default: beside the model, where the network is predicted from it "
            "without Keras).",
        ),
    ] = None,
    backend: BackendOption = None,
) -> None:
    """Write a trained network in the format of other programs.

    ONNX is predicted by ONNX Runtime and OpenVINO: `flexseg infer` needs no Keras then.
    """
    loaded = open_trained(trained, backend=backend, alone=True)
    from flexseg.inference.engines.onnx_export import export_onnx
    from flexseg.inference.loading import describe_trained
    from flexseg.inference.model_files import model_file, packages_of
    from flexseg.model_file.onnx_file import onnx_file
    from flexseg.one_writer import exclusive
    from flexseg.own_results import claim_folder

    if output is not None:
        claim_folder(output, [trained])
    describe = partial(describe_trained, loaded)
    for package in packages_of(model_file(loaded)):
        target = (output or package.parent) / onnx_file(package).name
        with exclusive(target.parent):
            file = export_onnx(describe(package), package, target, loaded.path.parent)
        say(f"written: {file}")
