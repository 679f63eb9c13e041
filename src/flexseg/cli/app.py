"""What all commands share: the application, its options, and what they print with."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer
from rich.logging import RichHandler
from rich.progress import Progress

from flexseg import __version__
from flexseg.cli.switches import Group
from flexseg.cli.terminal import LogFormatter, OnceOfData, Terminal
from flexseg.events import ProgressEvents, emit
from flexseg.machine import typed_command
from flexseg.storage.urls import with_urls

if TYPE_CHECKING:
    from flexseg.config import LoadedConfig
    from flexseg.dataset.candidates.answers import Answers, MaskValues
    from flexseg.errors import DataError

app = typer.Typer(
    name="flexseg",
    cls=Group,
    help="Medical image segmentation from one config file.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
logger = logging.getLogger(__name__)
console = Terminal()
errors = Terminal(stderr=True)

ConfigArgument = Annotated[
    Path,
    typer.Argument(
        help="Config file (antillia syntax, or TOML if named *.toml), or the folder of a config, "
        "of a run or of `auto`."
    ),
]
TrainedArgument = Annotated[
    Path,
    typer.Argument(
        metavar="TRAINED",
        help="Config file, folder of a run, a cross-validation or `auto`, or a model "
        "(best_model.h5, ensemble.json, model.onnx of `export`).",
    ),
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
        help="Override a value of the config; may be repeated. Paths are relative to the current "
        "folder.",
    ),
]
StrictOption = Annotated[
    bool, typer.Option("--strict", help="Treat unknown keys and other warnings as errors.")
]
BackendOption = Annotated[
    str | None,
    typer.Option(
        help="Engine: tensorflow, jax or torch (default: $KERAS_BACKEND, else the first one "
        "installed)."
    ),
]
RepairOption = Annotated[
    bool,
    typer.Option(
        "--repair",
        help="Keep the config's network, but train it as one would today; results go to "
        "`repaired` in the run's folder.",
    ),
]
TrainedRepairOption = Annotated[
    bool, typer.Option("--repair", help="Use the network trained by `train --repair`.")
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
        help="Split file: which cases are in train, valid and test (default: DATASET/split.json, "
        "else a new split).",
    ),
]
GroupOption = Annotated[
    str | None,
    typer.Option(
        metavar="REGEX", help="Finds the patient or volume in a file name; each stays in one split."
    ),
]
MasksOption = Annotated[
    str | None,
    typer.Option(
        "--masks", metavar="NAME", help="Name of the folder of masks, where several are possible."
    ),
]
MaskNameOption = Annotated[
    str | None,
    typer.Option(
        "--mask-name",
        metavar="PATTERN",
        show_default="found in the names",
        help="Name of the mask of the image {id}, e.g. '{id}_mask'; with *, as in '{id}_*', all "
        "matching masks are merged.",
    ),
]
MaskValuesOption = Annotated[
    str | None,
    typer.Option(
        "--mask-values",
        metavar="classes|objects",
        show_default="found in the masks",
        help="What the values of masks stand for: classes, or numbered objects of one class.",
    ),
]
ClassesOption = Annotated[
    str | None,
    typer.Option(
        "--classes",
        metavar="NAMES",
        show_default="found beside the masks, or generated",
        help="Names of the classes by id (not by mask value), e.g. '1=cytoplasm,2=nucleus'.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"flexseg {__version__}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Show warnings and errors only.")
    ] = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Medical image segmentation from one config file."""
    handler = RichHandler(console=errors, show_time=False, show_path=False, markup=False)
    handler.setFormatter(LogFormatter())
    handler.addFilter(OnceOfData())
    level = logging.DEBUG if debug else logging.WARNING if quiet else logging.INFO
    package = logging.getLogger("flexseg")
    package.handlers[:] = [handler]
    package.setLevel(level)
    package.propagate = False
    console.quiet = quiet
    state.debug = debug


@dataclass
class State:
    """Of the command that runs.

    Attributes
    ----------
    debug : tracebacks are shown.
    began : `time.monotonic()` of when it was typed: before Python started and all was imported.
    arguments : the words behind the program's name.
    """

    debug: bool = False
    began: float = 0.0
    arguments: Sequence[str] = ()

    def began_at(self) -> float:
        """`time.time()` of when it was typed."""
        return time.time() - (time.monotonic() - self.began)


state = State()


@contextmanager
def progress(what: str) -> Iterator[Callable[[float, float], None]]:
    """A bar on a terminal, events for programs, nothing elsewhere."""
    events = ProgressEvents(what)
    shown = errors.is_terminal and not console.quiet
    with Progress(console=errors, transient=True, disable=not shown) as bar:
        task = bar.add_task(what, total=None)

        def tell(done: float, total: float) -> None:
            bar.update(task, completed=done, total=total)
            events.tell(done, total)

        yield tell


def say(text: str) -> None:
    """Print text as it is: paths may hold what looks like markup, and must not be broken."""
    text = with_urls(text)
    console.print(text, markup=False, soft_wrap=True)
    emit("message", level="info", text=text)


def say_next(*arguments: str | Path, why: str = "") -> None:
    """Say which command comes next, as it is typed here.

    Parameters
    ----------
    why : what it does, where the command alone does not tell.
    """
    say(f"Next: {typed_command(*arguments)}" + (f"    {why}" if why else ""))


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


def open_config(
    path: Path,
    overrides: Sequence[str] | None = None,
    strict: bool = False,
    backend: str | None = None,
    *,
    inputs: Iterable[Path | None] = (),
) -> LoadedConfig:
    """Select the engine, and load the config that a path means, as its file says.

    What is wrong with the path, the file or the options is told before Keras is imported, which
    takes seconds; the options of the network take it.

    Parameters
    ----------
    path : see `find_given`.
    inputs : further paths that have to exist.

    Raises
    ------
    FlexsegError : anything that the user can act on.
    """
    from flexseg.config import load
    from flexseg.runs.trained import config_file

    file = config_file(path)

    def read(*, run_code: bool) -> LoadedConfig:
        return load(file, overrides or (), strict=strict, run_code=run_code)

    return _with_trust(_told(_in_two_steps(read, backend, inputs)))


def open_trained(
    path: Path,
    overrides: Sequence[str] | None = None,
    strict: bool = False,
    backend: str | None = None,
    *,
    repaired: bool = False,
    alone: bool = False,
    keras: bool = True,
    inputs: Iterable[Path | None] = (),
) -> LoadedConfig:
    """As `open_config`, the config with which a trained network is used.

    Parameters
    ----------
    repaired : the network that `flexseg train --repair` has trained.
    alone : see `trained_config`.
    keras : False: the command can do without Keras, where none is installed.
    """
    from flexseg.runs.trained import trained_config

    def read(*, run_code: bool) -> LoadedConfig:
        return trained_config(path, overrides or (), strict=strict, run_code=run_code, alone=alone)

    loaded = _in_two_steps(read, backend, inputs, keras=keras)
    return _with_trust(_told(loaded, repaired=repaired))


def open_predicting(
    path: Path,
    overrides: Sequence[str] | None = None,
    strict: bool = False,
    backend: str | None = None,
    *,
    repaired: bool = False,
    source: Path | None = None,
) -> LoadedConfig:
    """As `open_trained`, for commands that need nothing but a model and what it is to predict."""
    return open_trained(
        path,
        overrides,
        strict,
        backend,
        repaired=repaired,
        alone=True,
        keras=False,
        inputs=(source,),
    )


def read_config(
    path: Path, overrides: Sequence[str] | None = None, strict: bool = False
) -> LoadedConfig:
    """As `open_config`, without the network and its engine."""
    from flexseg.config import load
    from flexseg.runs.trained import config_file

    return _told(load(config_file(path), overrides or (), strict=strict))


def read_trained(
    path: Path,
    overrides: Sequence[str] | None = None,
    strict: bool = False,
    *,
    repaired: bool = False,
) -> LoadedConfig:
    """As `open_trained`, without the network and its engine."""
    from flexseg.runs.trained import trained_config

    loaded = trained_config(path, overrides or (), strict=strict, run_code=False)
    return _told(loaded, repaired=repaired)


def _in_two_steps(
    read: Callable[..., LoadedConfig],
    backend: str | None,
    inputs: Iterable[Path | None],
    *,
    keras: bool = True,
) -> LoadedConfig:
    """Read a config without what Keras knows, and then with it."""
    from flexseg.backend import installed

    require_paths(inputs)
    loaded = read(run_code=False)
    if not keras and backend is None and not installed():
        return loaded
    select_backend(backend)
    import flexseg.models  # noqa: F401 - registers the networks

    return read(run_code=True)


def _with_trust(loaded: LoadedConfig) -> LoadedConfig:
    from flexseg.runs.manifest import trained_own_network

    run_dir = loaded.experiment.train.run_dir
    trust = partial(trained_own_network, config_file=loaded.path, run_dir=run_dir)
    return replace(loaded, trust=trust)


def require_paths(paths: Iterable[Path | None]) -> None:
    """Refuse paths at which there is nothing.

    Raises
    ------
    ConfigError, DataError : there is none, or it is a link to nothing.
    """
    from flexseg.errors import ConfigError
    from flexseg.files.entries import require_file
    from flexseg.near_paths import check_path

    for path in paths:
        if path is not None and not path.exists():
            if path.is_symlink():
                require_file(path)  # says where it leads
            raise ConfigError("There is no such file or folder.", check_path(path), str(path))


def _told(loaded: LoadedConfig, *, repaired: bool = False) -> LoadedConfig:
    """The config, or its repaired one, once the warnings about it are logged."""
    from flexseg.config import Severity

    for finding in loaded.findings:
        if finding.severity is Severity.WARNING:
            logger.warning("%s: %s %s", finding.where, finding.what, finding.fix)
    if not repaired:
        return loaded
    from flexseg.planning.repair import recorded

    return recorded(loaded).loaded


def with_time(overrides: list[str] | None, duration: str | None) -> list[str]:
    """The overrides with the time that a training may take."""
    if duration is None:
        return list(overrides or ())
    from flexseg.config.durations import parse_duration

    return [*(overrides or ()), f"train.minutes={parse_duration(duration) / 60!r}"]


def select_backend(name: str | None) -> None:
    from flexseg.backend import select

    select(name)
