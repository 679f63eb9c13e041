"""`flexseg quantize`: the network in 8-bit integers, and what that costs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flexseg.cli.app import (
    BackendOption,
    SetOption,
    StrictOption,
    TrainedArgument,
    TrainedRepairOption,
    console,
    open_trained,
    progress,
    say,
)
from flexseg.cli.command import Task, long_command
from flexseg.cli.tables import Table, number, numbers, texts, with_interval
from flexseg.events import emit

if TYPE_CHECKING:
    from flexseg.evaluation.quantize import Quantized


@long_command(Task.PREDICT)
def quantize(
    trained: TrainedArgument,
    overrides: SetOption = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the int8 network beside the model.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Folder for the scores (default: in the run's folder)."
        ),
    ] = None,
    repair: TrainedRepairOption = False,
    strict: StrictOption = False,
    backend: BackendOption = None,
) -> None:
    """Convert the network to int8 for OpenVINO, and show what that costs on the validation set."""
    loaded = open_trained(trained, overrides, strict, backend, repaired=repair)
    from flexseg.config.load import input_paths
    from flexseg.evaluation.compare_files import as_dict
    from flexseg.evaluation.quantize import quantize as quantize_model
    from flexseg.own_results import claim_folder

    if output is not None:
        claim_folder(output, input_paths(loaded.experiment, loaded.path))
    folder = output or loaded.experiment.train.run_dir / "quantization"
    with progress("Predicting") as on_case:
        result = quantize_model(loaded, folder, keep=keep, on_case=on_case)
    speed = {"seconds": result.seconds, "labels_equal": result.agreement}
    emit("result", **as_dict(result.comparison) | speed)
    _print(result)


def _print(result: Quantized) -> None:
    from flexseg.config.findings import amount

    comparison = result.comparison
    first = comparison.runs[0]
    console.print(
        f"[bold]Dice on {amount(len(first.cases), 'validation case')}, plain and int8.[/]"
    )
    values = numbers("plain", "int8", "int8 - plain", "better", "worse", "equal")
    table = Table([*texts("class"), *values])
    means = {s.name: s.classes | {"mean of classes": s.mean} for s in comparison.standings}
    for d in comparison.differences:
        pair = [number(means[run].get(d.class_name)) for run in (d.first, d.second)]
        change = with_interval(d.mean, d.ci95, sign=True)
        table.add(d.class_name, *pair, change, d.better, d.worse, d.equal)
    table.print(console)
    seconds = result.seconds
    say(
        f"{result.agreement:.2%} of the labels are equal. An image takes {seconds['plain']:.4f} s "
        f"plain, {seconds['int8']:.4f} s int8."
    )
    for note in comparison.notes:
        say(f"Note: {note}")
    say(f"Scores of all cases: {result.folder}")
    if result.kept is None:
        say("The int8 network was not kept; --keep stores it beside the model.")
    else:
        say(f"Kept: {result.kept}\nSet [infer] int8 = true to predict with it.")
