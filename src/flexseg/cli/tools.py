"""`flexseg tools`: what the small programs of the original projects did."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flexseg.cli.app import app, say, tell_failed
from flexseg.cli.command import Task, command
from flexseg.cli.switches import Group

tools_app = typer.Typer(
    cls=Group,
    help="Small tools of the original projects: sheets, videos, curves, samples, npz, scripts.",
    no_args_is_help=True,
)
app.add_typer(tools_app, name="tools", rich_help_panel=Task.LOOK)

FileOutput = Annotated[
    Path, typer.Option("--output", "-o", help="File to write; an earlier one is moved aside.")
]
FolderOutput = Annotated[
    Path, typer.Option("--output", "-o", help="Folder to write; an earlier one is moved aside.")
]
PicturesArgument = Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder of pictures.")]


@command(Task.LOOK, into=tools_app)
def sheet(
    folder: PicturesArgument,
    output: FileOutput = Path("sheet.png"),
    count: Annotated[
        int,
        typer.Option(
            "-n",
            "--count",
            min=1,
            max=1000,
            help="Maximum number of pictures, evenly spaced in the folder.",
        ),
    ] = 18,
) -> None:
    """Draw a contact sheet of a folder: predictions, overlays, images or masks."""
    from flexseg.config.findings import amount
    from flexseg.dataset.statistics import draw_sheet

    drawn = draw_sheet(folder, output, count)
    more = (
        f"; --count {min(drawn.found, 1000)} shows more" if count < min(drawn.found, 1000) else ""
    )
    say(f"Written: {output}, {drawn.shown} of {amount(drawn.found, 'picture')} shown{more}")
    tell_failed(drawn.failed)


@command(Task.LOOK, into=tools_app)
def video(
    folder: PicturesArgument,
    output: FileOutput = Path("video.mp4"),
    fps: Annotated[float, typer.Option(min=0.1, max=240, help="Pictures per second.")] = 10,
) -> None:
    """Make a video (.mp4 or .gif) of a folder of pictures, e.g. overlays."""
    from flexseg.config.findings import amount
    from flexseg.inference.pictures.video import video_of_folder

    frames = video_of_folder(folder, output, fps)
    say(f"Written: {output}, {amount(frames.shown, 'picture')}")
    tell_failed(frames.failed)


@command(Task.LOOK, into=tools_app)
def curves(
    table: Annotated[
        Path,
        typer.Argument(
            metavar="CSV", help="Table of the curves: train_losses.csv or train_metrics.csv."
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="PNG to write.", show_default="beside the table"),
    ] = None,
) -> None:
    """Redraw the curves of a training."""
    from flexseg.training.callbacks.curves import curves_of_csv

    path = output or table.with_suffix(".png")
    curves_of_csv(table, path)
    say(f"Written: {path}")


@command(Task.LOOK, into=tools_app)
def sample(
    images: Annotated[Path, typer.Argument(metavar="IMAGES", help="Folder of images.")],
    masks: Annotated[Path, typer.Argument(metavar="MASKS", help="Folder of their masks.")],
    output: FolderOutput = Path("mini_test"),
    count: Annotated[int, typer.Option("-n", "--count", min=1, help="Number of pairs.")] = 20,
    seed: Annotated[int, typer.Option(help="Another number draws other pairs.")] = 137,
) -> None:
    """Copy some pairs, drawn at random, into a folder as `mini_test`."""
    from flexseg.config.findings import amount
    from flexseg.derive.samples import sample_pairs

    pairs = sample_pairs(images, masks, output, count, seed)
    say(f"Written: {output}, {amount(pairs, 'pair')}")


@command(Task.LOOK, into=tools_app)
def npz(
    config: Annotated[
        Path, typer.Argument(metavar="CONFIG", help="Config whose [mask] says what the masks mean.")
    ],
    masks: Annotated[Path, typer.Argument(metavar="MASKS", help="Folder of masks.")],
    output: FolderOutput,
) -> None:
    """Write masks as .npz files with a one-hot array `mask`."""
    from flexseg.config import load
    from flexseg.config.findings import amount
    from flexseg.dataset.labels import LabelMap
    from flexseg.derive.samples import export_categorized

    labels = LabelMap.from_config(load(config).experiment.class_sections)
    exported = export_categorized(masks, output, labels)
    say(f"Written: {output}, {amount(exported.masks, 'mask')}")
    tell_failed(exported.failed)


@command(Task.LOOK, into=tools_app)
def scripts(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="Config of an old project.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder.", show_default="that of the config"),
    ] = None,
) -> None:
    """Write start scripts (.bat and .sh) that run flexseg for an old project."""
    from flexseg.config import load
    from flexseg.runs.start_scripts import write_start_scripts

    load(config)
    for path in write_start_scripts(config.absolute(), output or config.absolute().parent):
        say(f"Written: {path}")
