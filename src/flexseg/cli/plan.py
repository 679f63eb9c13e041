"""`flexseg plan` and `flexseg auto`: from a folder to a config, and to a trained network."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from flexseg.cli.app import (
    BackendOption,
    ClassesOption,
    DatasetArgument,
    GroupOption,
    MaskNameOption,
    MasksOption,
    MaskValuesOption,
    SplitFileOption,
    answers_of,
    console,
    require_paths,
    say,
    say_next,
    select_backend,
    state,
)
from flexseg.cli.command import Task, long_command
from flexseg.cli.tables import Table, fixed, texts
from flexseg.events import emit
from flexseg.machine import near, real_path

if TYPE_CHECKING:
    from flexseg.planning.plan import Plan

Device = Literal["auto", "cpu"]
DeviceOption = Annotated[
    Device, typer.Option(help="'cpu': use no GPU, and plan the time accordingly.")
]

FromOption = Annotated[
    Path | None,
    typer.Option(
        "--from",
        metavar="NETWORK",
        help="Continue from an earlier network: its package, run folder or config. Its split is "
        "extended.",
    ),
]


@long_command(Task.TRAIN)
def plan(
    dataset: DatasetArgument,
    duration: Annotated[
        str,
        typer.Option("--time", metavar="TIME", help="Time for the training, e.g. 90s, 10m, 1h30m."),
    ] = "10m",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder for the config (default: <dataset>_flexseg)."),
    ] = None,
    split: SplitFileOption = None,
    group: GroupOption = None,
    masks: MasksOption = None,
    mask_name: MaskNameOption = None,
    mask_values: MaskValuesOption = None,
    classes: ClassesOption = None,
    start_from: FromOption = None,
    device: DeviceOption = "auto",
    backend: BackendOption = None,
) -> None:
    """Look at a dataset and write a config for the given time, with a reason for each value."""
    seconds = _seconds(duration)
    folder, answers = _folder(dataset, output), answers_of(masks, mask_name, mask_values, classes)
    _look_before(dataset, folder, split, start_from)
    _select(device, backend)
    from flexseg.planning.plan import make_plan

    made = make_plan(
        dataset,
        folder,
        seconds,
        split_file=split,
        group=group,
        answers=answers,
        stage=say,
        start_from=start_from,
    )
    _print(made)
    emit("result", config=made.config, facts=dict(made.facts), seconds=made.seconds)
    say(f"Written: {made.config}")
    say_next("train", made.config)


@long_command(Task.TRAIN)
def auto(
    dataset: DatasetArgument,
    duration: Annotated[
        str,
        typer.Option(
            "--time",
            metavar="TIME",
            help="Time for everything together, e.g. 90s, 10m, 1h30m; --resume keeps the time as "
            "planned.",
        ),
    ] = "10m",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder for all results (default: <dataset>_flexseg)."),
    ] = None,
    split: SplitFileOption = None,
    group: GroupOption = None,
    masks: MasksOption = None,
    mask_name: MaskNameOption = None,
    mask_values: MaskValuesOption = None,
    classes: ClassesOption = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue an interrupted run where it stopped.")
    ] = False,
    start_from: FromOption = None,
    device: DeviceOption = "auto",
    backend: BackendOption = None,
) -> None:
    """Check, plan, train, tune the postprocessing, evaluate and report within the given time."""
    started = state.began
    seconds = _seconds(duration)
    folder, answers = _folder(dataset, output), answers_of(masks, mask_name, mask_values, classes)
    if resume:
        from flexseg.one_writer import exclusive
        from flexseg.planning.earlier_results import require_unfinished

        with exclusive(folder):
            require_unfinished(folder)
    else:
        _look_before(dataset, folder, split, start_from)
    _select(device, backend)
    from flexseg.cli.printing import print_scores
    from flexseg.config.durations import format_duration
    from flexseg.config.findings import amount
    from flexseg.planning.auto import Auto

    pipeline = Auto(folder, seconds, started, console)
    with pipeline.alone():
        if not resume:
            made = pipeline.plan(
                dataset, split_file=split, group=group, answers=answers, start_from=start_from
            )
            _print(made)
        result = pipeline.run(resume=resume)
    print_scores(console, result.summary)
    emit(
        "result",
        report=result.report,
        model=result.model,
        config=pipeline.config,
        steps=result.steps,
        epochs=result.epochs,
        summary=result.summary.as_dict(),
    )
    took = format_duration(time.monotonic() - started)
    given = "after the interruption" if resume else f"of {format_duration(pipeline.seconds)}"
    trained = f"{amount(result.steps, 'step')} in {amount(result.epochs, 'epoch')}"
    say(
        f"Report: {near(result.report)}\nModel: {near(result.model)}\n"
        f"Config: {near(pipeline.config)}\nTraining: {trained}\nTook {took} {given}."
    )
    if any(verdict.grade == "failed" for verdict in result.summary.verdicts):
        say("A class has failed: the report shows the worst cases, and what may help (What next).")
    say_next(*result.predict, "-i", "FOLDER", "-o", "RESULT")


def _seconds(duration: str) -> float:
    from flexseg.config.durations import parse_duration

    return parse_duration(duration)


def _look_before(dataset: Path, output: Path, split: Path | None, start_from: Path | None) -> None:
    """Refuse what is wrong with paths before the engine is imported, which takes seconds."""
    from flexseg.one_writer import exclusive
    from flexseg.planning.earlier_results import refuse_results
    from flexseg.runs.given import find_given

    require_paths((dataset, split))
    if start_from is not None:
        find_given(start_from, "--from")
    with exclusive(output):
        refuse_results(output, dataset)


def _select(device: Device, backend: str | None) -> None:
    if device == "cpu":
        # Read by the engines when they are imported.
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
        os.environ["JAX_PLATFORMS"] = "cpu"
    select_backend(backend)


def _folder(dataset: Path, output: Path | None) -> Path:
    if output is not None:
        return output
    place = real_path(dataset)
    return place.with_name(f"{place.name}_flexseg")


def _print(made: Plan) -> None:
    from rich.markup import escape

    from flexseg.config.durations import format_duration
    from flexseg.config.findings import Severity, choices_told

    table = Table([*fixed("fact"), *texts("found")], header=False)
    for name, text in made.facts:
        table.add(name, text)
    model = made.loaded.experiment.model
    options = model.model_dump()
    patches = "" if made.loaded.experiment.image.patch_scale is None else "patches of "
    table.rule()
    table.add(
        "network",
        f"{model.model}, {patches}{model.image_width} x {model.image_height} pixels, "
        f"{options['num_layers']} levels from {options['base_filters']} filters, "
        f"{made.step.parameters:,} parameters",
    )
    each = made.steps * made.step.batch / made.training
    times = f"{each:,.0f}" if each >= 100 else f"{each:.2g}"
    table.add(
        "training",
        f"{format_duration(made.seconds)}, about {made.steps:,.0f} steps of "
        f"{made.step.batch} images, each training image about {times} times",
    )
    table.print(console)
    for finding in choices_told(made.findings):
        color = "cyan" if finding.severity is Severity.NOTE else "yellow"
        console.print(f"[{color}]{escape(finding.what)}[/] {escape(finding.fix)}")
