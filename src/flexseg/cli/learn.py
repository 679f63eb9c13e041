"""`flexseg learn`: train on corrections, and keep the model that is not worse."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flexseg.cli.app import BackendOption, console, require_paths, say, say_next, select_backend
from flexseg.cli.command import Task, long_command
from flexseg.cli.tables import Table, fixed, numbers, texts
from flexseg.errors import ConfigError
from flexseg.events import emit
from flexseg.machine import user_name

if TYPE_CHECKING:
    from flexseg.learning.versions import Versions


@long_command(Task.TRAIN)
def learn(
    folder: Annotated[
        Path,
        typer.Argument(help="Folder of the model that learns: corrections, cases, versions."),
    ],
    model: Annotated[
        Path | None,
        typer.Option(
            "--model",
            help="The trained model to begin with: a package, or the folder of a run or of `auto`.",
            show_default="the folder's current version",
        ),
    ] = None,
    corrections: Annotated[
        Path | None,
        typer.Option(
            "--corrections",
            metavar="DATASET",
            help="Add the images and corrected masks (volumes and labels) of this folder first.",
        ),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            "--classes",
            metavar="NAMES",
            help="Begin without a model, with these classes: '1=nucleus,2=cytoplasm'.",
        ),
    ] = None,
    duration: Annotated[
        str, typer.Option("--time", metavar="TIME", help="Time for the training, e.g. 60s, 10m.")
    ] = "1m",
    by: Annotated[
        str | None,
        typer.Option("--by", help="Who corrected them.", show_default="your user name"),
    ] = None,
    back_to: Annotated[
        int | None,
        typer.Option("--back-to", metavar="N", help="Only make version N the current one again."),
    ] = None,
    backend: BackendOption = None,
) -> None:
    """Learn from corrected masks: train on, compare, and take the new model unless it is worse.

    The cases of the model's training keep their split, a quarter of the corrections joins the
    validation cases, and none joins the test cases.
    """
    require_paths((model, corrections))
    from flexseg.config.durations import format_duration, parse_duration
    from flexseg.config.findings import amount
    from flexseg.learning.versions import Versions

    if back_to is not None:
        _print(Versions.open(folder).back_to(back_to))
        return
    seconds = parse_duration(duration)
    select_backend(backend)
    from flexseg.learning.corrections import CORRECTIONS, Corrections
    from flexseg.learning.given_corrections import add_dataset
    from flexseg.learning.learning_round import LearningRound, begin, kinds_of, labels_of

    if model is not None:
        begin(folder, model)
    place = folder / CORRECTIONS
    if corrections is not None:
        store = Corrections(place, labels_of(folder, classes))
        current = Versions.open(folder).current
        version = str(current) if current else ""
        who = by or user_name()
        if who is None:
            raise ConfigError(
                "It is not known who has corrected: this account has no name.",
                "Give a name.",
                "--by",
            )
        count = add_dataset(store, corrections, who, version, kinds_of(folder))
        say(f"{amount(count, 'correction')} added.")
    done = LearningRound(folder, seconds, console, _stage).run()
    versions = Versions.open(folder)
    emit(
        "result",
        version=done.version.number,
        taken=done.version.taken,
        current=versions.current,
        model=versions.model(),
        acceptance=None if done.acceptance is None else done.acceptance.as_dict(),
        test=done.version.test,
        test_looks=versions.test_looks,
        seconds=round(done.seconds, 1),
    )
    if done.acceptance is not None:
        say(done.acceptance.reason)
    _print(versions)
    say(f"Took {format_duration(done.seconds)}.")
    say_next("infer", versions.model(), "-i", "FOLDER", "-o", "RESULT")


def _stage(text: str) -> None:
    emit("stage", text=text)
    console.print(f"[bold]{text}[/]", highlight=False)


def _print(versions: Versions) -> None:
    table = Table(
        [*numbers("version"), *fixed(""), *numbers("corrections", "test Dice"), *texts("why")]
    )
    for one in versions.versions:
        test = "" if one.test is None else f"{one.test:.3f}"
        mark = "current" if one.number == versions.current else "" if one.taken else "not taken"
        why = str(one.decision.get("reason", "")) or ("first" if one.parent is None else "")
        table.add(str(one.number), mark, str(one.corrections), test, why)
    table.print(console)
    if versions.test_looks:
        often = "once" if versions.test_looks == 1 else f"{versions.test_looks} times"
        say(f"The test cases have been scored {often}; the choice never depends on them.")
