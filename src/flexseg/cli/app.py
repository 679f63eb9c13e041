"""What all commands share: the application, its options, and what they print with."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer
from rich.logging import RichHandler
from rich.progress import Progress

from flexseg import __version__
from flexseg.cli.terminal import LogFormatter, Terminal

if TYPE_CHECKING:
    from flexseg.config import LoadedConfig
    from flexseg.dataset.candidates.answers import Answers, MaskValues
    from flexseg.errors import DataError

app = typer.Typer(
    name="flexseg",
    help="Medical image segmentation from one config file.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
logger = logging.getLogger(__name__)
console = Terminal()
errors = Terminal(stderr=True)

ConfigArgument = Annotated[
    Path, typer.Argument(help="Config file: antillia syntax, or TOML if it is named *.toml.")
]
DatasetArgument = Annotated[
    Path,
    typer.Argument(
        help="Folder of images and masks, of volumes and label volumes, or an export of an "
        "annotation tool."
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="SECTION.KEY=VALUE",
        help="Override a value of the config; may be repeated. Paths are relative to here.",
    ),
]
StrictOption = Annotated[
    bool, typer.Option("--strict", help="Unknown keys and other warnings are errors.")
]
BackendOption = Annotated[
    str | None,
    typer.Option(
        help="tensorflow, jax or torch (default: $KERAS_BACKEND, else the first installed)."
    ),
]
RepairOption = Annotated[
    bool,
    typer.Option(
        "--repair",
        help="Keep the config's network, train it as one would today; results go to a folder "
        "`repaired` in the run's.",
    ),
]
TrainedRepairOption = Annotated[
    bool, typer.Option("--repair", help="Take the network that `train --repair` has trained.")
]
TimeOption = Annotated[
    str | None,
    typer.Option(
        "--time",
        metavar="DURATION",
        help="Time for the training, e.g. 90s, 10m, 1h30m (\\[train] minutes).",
    ),
]
SplitFileOption = Annotated[
    Path | None,
    typer.Option(
        "--split",
        metavar="FILE",
        help="Who is in train, valid and test (default: DATASET/split.json, else a new split).",
    ),
]
GroupOption = Annotated[
    str | None,
    typer.Option(
        metavar="REGEX", help="Finds patient or volume in a file name; none is in two splits."
    ),
]
MasksOption = Annotated[
    str | None,
    typer.Option("--masks", metavar="NAME", help="Folder of masks, where several may be it."),
]
MaskNameOption = Annotated[
    str | None,
    typer.Option(
        "--mask-name",
        metavar="PATTERN",
        show_default="found in the names",
        help="Name of the mask of the image {id}, e.g. '{id}_mask'; with *, as in '{id}_*', all "
        "that fit mark together.",
    ),
]
MaskValuesOption = Annotated[
    str | None,
    typer.Option(
        "--mask-values",
        metavar="classes|objects",
        show_default="found in the masks",
        help="What values of masks are: classes, or the numbers of objects of one class.",
    ),
]
ClassesOption = Annotated[
    str | None,
    typer.Option(
        "--classes",
        metavar="NAMES",
        show_default="found beside the masks, or made up",
        help="Names of classes by their ids (no values of masks), e.g. '1=cytoplasm,2=nucleus'.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"flexseg {__version__}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Warnings and errors only.")] = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Medical image segmentation from one config file."""
    handler = RichHandler(console=errors, show_time=False, show_path=False, markup=False)
    handler.setFormatter(LogFormatter())
    level = logging.DEBUG if debug else logging.WARNING if quiet else logging.INFO
    package = logging.getLogger("flexseg")
    package.handlers[:] = [handler]
    package.setLevel(level)
    package.propagate = False
    console.quiet = quiet
    state["debug"] = debug


state: dict[str, bool] = {"debug": False}


@contextmanager
def progress(what: str) -> Iterator[Callable[[float, int], None]]:
    """A bar on a terminal, nothing elsewhere."""
    with Progress(console=errors, transient=True, disable=not errors.is_terminal) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def say(text: str) -> None:
    """Print text as it is: paths may hold what looks like markup, and must not be broken."""
    console.print(text, markup=False, soft_wrap=True)


def tell_failed(failed: Sequence[DataError]) -> None:
    """End with exit code 3 if files were left out of what was done, and say which and why.

    Raises
    ------
    DataError : there are such files.
    """
    from flexseg.dataset.parallel import together

    if failed:
        raise together(failed, stopped=False)


def answers_of(
    masks: str | None,
    mask_name: str | None = None,
    mask_values: str | None = None,
    classes: str | None = None,
) -> Answers:
    """What the options say of a folder of data. Raises ConfigError if one is wrong."""
    from flexseg.dataset.candidates.answers import Answers
    from flexseg.dataset.marks.class_names import parse_class_names

    names = {} if classes is None else parse_class_names(classes, "--classes")
    return Answers(masks, mask_name, cast("MaskValues | None", mask_values), names)


def load_config(
    config: Path,
    overrides: list[str] | None,
    strict: bool,
    repaired: bool = False,
    *,
    network: bool = True,
) -> LoadedConfig:
    """Load a config and log the warnings about it.

    Parameters
    ----------
    repaired : as `flexseg train --repair` has trained it.
    network : whether the command has to do with the network, whose options are then checked. To
        know them takes Keras, so that the backend must be selected before.
    """
    from flexseg.config import Severity, load

    if network:
        import flexseg.models  # noqa: F401 - registers the networks

    loaded = load(config, overrides or (), strict=strict, run_code=network)
    for finding in loaded.findings:
        if finding.severity is Severity.WARNING:
            logger.warning("%s: %s %s", finding.where, finding.what, finding.fix)
    if repaired:
        from flexseg.planning.repair import recorded

        loaded = recorded(loaded).loaded
    if network:
        from flexseg.runs.manifest import trained_own_network

        run_dir = loaded.experiment.train.run_dir
        trust = partial(trained_own_network, config_file=loaded.path, run_dir=run_dir)
        loaded = replace(loaded, trust=trust)
    return loaded


def with_time(overrides: list[str] | None, duration: str | None) -> list[str]:
    """The overrides with the time that a training may take."""
    if duration is None:
        return list(overrides or ())
    from flexseg.config.durations import parse_duration

    return [*(overrides or ()), f"train.minutes={parse_duration(duration) / 60!r}"]


def select_backend(name: str | None) -> None:
    from flexseg.backend import select

    select(name)
