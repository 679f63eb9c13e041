"""`flexseg export`: a trained model as a folder that predicts without flexseg."""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from flexseg.cli.app import (
    BackendOption,
    TrainedArgument,
    errors,
    open_trained,
    progress,
    require_paths,
    say,
)
from flexseg.cli.command import Task, long_command
from flexseg.errors import ConfigError
from flexseg.events import emit

if TYPE_CHECKING:
    from flexseg.export.artefact import Export


Format = Literal[
    "onnx",
    "openvino",
    "saved-model",
    "litert",
    "bioimageio",
    "triton",
    "mlflow",
    "html",
    "network",
    "keras",
]
# Only the network, beside the model.
_ALONE = ("network", "keras")
Pixels = Literal["uint8", "uint16", "float32"]
Precision = Literal["float32", "float16", "int8"]


@long_command(Task.SHARE)
def export(
    trained: TrainedArgument,
    to: Annotated[
        Format,
        typer.Option(
            "--to",
            help="network: only the network as ONNX beside the model, from which flexseg predicts "
            "without Keras; keras: only the network as a file that Keras opens; others: a folder "
            "that predicts raw images anywhere, checked to predict as flexseg does (html: with a "
            "page that does so in a browser).",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Folder for the export (default: NAME-FORMAT beside the model; for the network "
            "alone, the model's folder).",
        ),
    ] = None,
    cases: Annotated[
        Path | None,
        typer.Option(
            help="Images, or a dataset with masks, on which the export is checked.",
            show_default="the cases that the config evaluates, else generated images",
        ),
    ] = None,
    pixels: Annotated[
        Pixels | None,
        typer.Option(
            help="Type of the images that the export takes.", show_default="that of the first case"
        ),
    ] = None,
    licence: Annotated[
        str | None, typer.Option("--license", help="Licence of the model, e.g. cc-by-4.0.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Write the export even if it predicts differently.")
    ] = False,
    precision: Annotated[
        Precision,
        typer.Option(
            help="Arithmetic of the network: float32, float16 for GPUs, or int8, whose ranges are "
            "set by images of the training.",
        ),
    ] = "float32",
    float64: Annotated[
        bool,
        typer.Option(
            "--float64/--no-float64",
            help="Whether the graph may compute in float64, which TensorRT and DirectML lack: "
            "OpenCV's rounding of a few positions takes it.",
        ),
    ] = True,
    backend: BackendOption = None,
) -> None:
    """Write a trained model as a folder that predicts without flexseg, with a proof of equality.

    The file model.onnx takes images of any size as they are stored and gives labels and
    probabilities at that size. `flexseg infer model.onnx` predicts with it as well.
    """
    require_paths((cases,))
    loaded = open_trained(trained, backend=backend, alone=True)
    from flexseg.export.network_in_keras import SUFFIX, export_keras
    from flexseg.inference.engines.onnx_export import export_onnx
    from flexseg.inference.loading import describe_trained
    from flexseg.inference.model_files import is_onnx, model_file, packages_of
    from flexseg.model_file.onnx_file import onnx_file
    from flexseg.one_writer import exclusive
    from flexseg.own_results import claim_folder

    model = model_file(loaded)
    if is_onnx(model):
        raise ConfigError(
            "This is already ONNX.",
            "Give the package or the run from which it was made.",
            str(model),
        )
    folder, alone = output, to in _ALONE
    if not alone:
        folder = output or model.with_name(f"{model.stem}-{to}")
        if find_spec("onnx") is not None:  # else the conversion says what it takes
            from flexseg.export.artefacts.artefact_formats import FORMATS

            FORMATS[to].require(licence)
    if folder is not None:
        claim_folder(folder, [trained, *([cases] if cases else [])])
    describe = partial(describe_trained, loaded)
    networks = []
    with ExitStack() as stack:
        for package in packages_of(model):
            place = package.parent
            if alone and output is not None:
                place = output
            elif not alone and not os.access(place, os.W_OK):
                place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            name = package.with_suffix(SUFFIX).name if to == "keras" else onnx_file(package).name
            target = place / name
            write = export_keras if to == "keras" else export_onnx
            with exclusive(target.parent):
                file = write(describe(package), package, target, loaded.path.parent)
            if alone or place == package.parent:
                say(f"Written: {file}")
            networks.append(file)
        if not alone and folder is not None:
            from flexseg.export.exporting import export_model

            with progress("Comparing") as on_case:
                made = export_model(
                    loaded,
                    networks,
                    folder,
                    kind=to,
                    cases=cases,
                    pixels=pixels,
                    licence=licence,
                    force=force,
                    float64=float64,
                    precision=precision,
                    on_case=on_case,
                )
            emit("result", folder=made.folder, **made.parity.as_dict())
            _tell(made)


def _tell(made: Export) -> None:
    from flexseg.config.findings import amount

    parity = made.parity
    for problem in made.problems:
        errors.print(f"[yellow]Not proven:[/] {problem}.", soft_wrap=True)
    what = amount(parity.cases, "image")
    text = (
        f"{parity.equal_labels:.3%} of the labels are equal on {what} ({parity.what}); "
        f"probabilities differ by at most {parity.largest_difference:.1g}."
    )
    if (d := parity.dice) is not None:
        text += f" The mean Dice differs by {d.difference:+.5f}{d.ends}."
    seconds = parity.seconds
    say(text)
    if (v := parity.volumes) is not None:
        text = (
            f"{v.equal_labels:.3%} of the labels of {amount(v.volumes, 'whole volume')} are equal."
        )
        if (d := v.dice) is not None:
            text += f" Their mean Dice differs by {d.difference:+.5f}{d.ends}."
        say(text)
    say(f"An image takes {seconds['export']:.3f} s, with flexseg {seconds['flexseg']:.3f} s.")
    say(f"Export: {made.folder}")
