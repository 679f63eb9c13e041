"""The command line: one thin function per command.

Heavy modules are imported inside the commands, so that `flexseg --help` answers at once.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.logging import RichHandler
from rich.markup import escape
from rich.progress import Progress

from flexseg import __version__
from flexseg.errors import ConfigError, FlexsegError, ResourceError

if TYPE_CHECKING:
    from flexseg.config import LoadedConfig

app = typer.Typer(
    name="flexseg",
    help="Medical image segmentation from one config file.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
logger = logging.getLogger(__name__)
console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)

ConfigArgument = Annotated[
    Path, typer.Argument(help="Config file: antillia syntax, or TOML if it is named *.toml.")
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
        help="tensorflow, jax or torch [default: $KERAS_BACKEND, else the first installed]."
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
    level = logging.DEBUG if debug else logging.WARNING if quiet else logging.INFO
    package = logging.getLogger("flexseg")
    package.handlers[:] = [handler]
    package.setLevel(level)
    package.propagate = False
    console.quiet = quiet
    _state["debug"] = debug


_state: dict[str, bool] = {"debug": False}


@contextmanager
def _progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal, nothing elsewhere."""
    with Progress(console=errors, transient=True, disable=not errors.is_terminal) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@app.command()
def check(
    config: ConfigArgument,
    overrides: SetOption = None,
    no_data: Annotated[bool, typer.Option("--no-data", help="Check the config alone.")] = False,
    strict: StrictOption = False,
    as_json: JsonOption = False,
) -> None:
    """Check a config and the data it points to, before any training.

    Exit code 0: it can run. 2: the config is wrong. 3: the data is wrong.
    """
    _select_backend(None)
    from flexseg.checking.audit import audit
    from flexseg.config import load
    from flexseg.reporting import print_check

    try:
        loaded = load(config, overrides or (), strict=strict)
    except ConfigError as error:
        if as_json:
            typer.echo(json.dumps({"ok": False, **error.as_dict()}, indent=2))
            raise typer.Exit(error.exit_code) from None
        raise
    with _progress("Checking the data") as on_case:
        report = audit(loaded, with_data=not no_data, on_case=on_case)
    if as_json:
        typer.echo(json.dumps(report.as_dict(), indent=2, default=str))
    else:
        print_check(console, report)
    raise typer.Exit(report.exit_code)


@app.command()
def schema(
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write.")] = None,
) -> None:
    """Write the JSON Schema of the config."""
    from flexseg.config import Experiment
    from flexseg.outputs import set_aside, write_text

    text = json.dumps(Experiment.model_json_schema(), indent=2)
    if output is None:
        typer.echo(text)
    else:
        set_aside(output)
        write_text(output, text + "\n")
        _say(f"written: {output}")


@app.command()
def init(
    dataset: Annotated[
        Path, typer.Argument(help="Folder with images/ and masks/, or train/, valid/, test/.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of the new config and scripts.")
    ] = Path(),
    size: Annotated[int | None, typer.Option(help="Size of the network's input in pixels.")] = None,
) -> None:
    """Write a commented config for a folder of images and masks, and start scripts."""
    from flexseg.data.initialize import initialize

    for path in initialize(dataset, output, size):
        _say(f"written: {path}")


@app.command()
def train(
    config: ConfigArgument,
    overrides: SetOption = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an interrupted training.")
    ] = False,
    strict: StrictOption = False,
    backend: BackendOption = None,
) -> None:
    """Train the network of a config."""
    _select_backend(backend)
    from flexseg.training.trainer import Training

    run = Training(_load(config, overrides, strict), console).run(resume=resume)
    _say(f"Best epoch {run.best_epoch + 1}: val_loss {run.best_loss:.4f}\nWeights: {run.weights}")


@app.command()
def evaluate(
    config: ConfigArgument,
    overrides: SetOption = None,
    predictions: Annotated[
        Path | None, typer.Option(help="Score this folder of masks instead of the model.")
    ] = None,
    masks: Annotated[Path | None, typer.Option(help="Reference masks for --predictions.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder of the results.")
    ] = None,
    strict: StrictOption = False,
    backend: BackendOption = None,
) -> None:
    """Score the trained model, or any folder of masks, per case and class."""
    from flexseg.reporting import print_scores

    loaded = _load(config, overrides, strict)
    if (predictions is None) != (masks is None):
        raise ConfigError(
            "--predictions and --masks belong together.", "Give both, or none of them."
        )
    if predictions is not None and masks is not None:
        from flexseg.evaluation.evaluate import score_folders, write_evaluation

        scores, lonely = score_folders(predictions, masks, loaded.experiment)
        name = f"evaluation_{predictions.resolve().name}"
        folder = output or loaded.experiment.train.run_dir / name
        summary = write_evaluation(scores, folder, loaded.experiment.eval.bootstrap)
        if lonely:
            logger.warning("%d file(s) without partner: %s", len(lonely), ", ".join(lonely))
    else:
        _select_backend(backend)
        from flexseg.evaluation.run import evaluate as evaluate_trained

        run_dir = loaded.experiment.train.run_dir
        folder = output or run_dir / "evaluation"
        legacy_csv = (output or run_dir) / "evaluation.csv"
        with _progress("Evaluating") as on_case:
            summary = evaluate_trained(loaded, folder, legacy_csv, on_case)
    print_scores(console, summary)
    _say(f"Results: {folder}")


@app.command()
def infer(
    config: ConfigArgument,
    overrides: SetOption = None,
    source: Annotated[
        Path | None, typer.Option("--input", "-i", help="Folder or file [default: [infer]].")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder of the masks.")
    ] = None,
    strict: StrictOption = False,
    backend: BackendOption = None,
) -> None:
    """Predict masks and overlays for a folder of images or one file."""
    _select_backend(backend)
    from flexseg.inference.run import infer as infer_trained

    loaded = _load(config, overrides, strict)
    with _progress("Predicting") as on_image:
        result = infer_trained(loaded, source, output, on_image)
    _say(f"{len(result.areas)} image(s) predicted.")
    for folder in result.targets.folders():
        _say(f"  {folder}")
    if result.failed:
        for reason in result.failed.values():
            errors.print(f"[red]not predicted:[/] {escape(reason)}")
        raise typer.Exit(3)


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
    _select_backend(None)
    from flexseg.inspecting import inspect_config, inspect_package

    if _is_package(source, overrides):
        inspection = inspect_package(source, output)
    else:
        inspection = inspect_config(_load(source, overrides, strict), output)
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
        typer.Option("--output", "-o", help="Package to write [default: the config's model]."),
    ] = None,
    strict: StrictOption = False,
) -> None:
    """Make a model package of weights that an original system has trained."""
    _select_backend(None)
    from flexseg.models.transfer import import_weights as make_package

    target = make_package(source, _load(config, overrides, strict), output)
    _say(f"written: {target}")


@app.command("export-weights")
def export_weights(
    source: Annotated[Path, typer.Argument(help="Config, or a model package (best_model.h5).")],
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write, *.h5.")],
    overrides: SetOption = None,
    strict: StrictOption = False,
) -> None:
    """Write weights in the layout that the original systems read (Keras 2 HDF5)."""
    _select_backend(None)
    from flexseg.inference.run import load_trained
    from flexseg.models.package import ModelPackage
    from flexseg.models.transfer import export_weights as write_weights

    if _is_package(source, overrides):
        package = ModelPackage.load(source)
    else:
        package = load_trained(_load(source, overrides, strict))
    _say(f"written: {write_weights(package, output)}")


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
    _select_backend(None)
    from flexseg.catalogue import CATALOGUE

    entries = CATALOGUE[kind]()
    if as_json:
        typer.echo(json.dumps(entries, indent=2, default=str))
    else:
        from flexseg.reporting import print_catalogue

        print_catalogue(console, kind, entries)


@app.command()
def stats(
    dataset: Annotated[Path, typer.Argument(help="Folder with train/, valid/, test/ or images/.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder of the pictures.")
    ] = None,
) -> None:
    """Draw how many images a dataset has, and contact sheets of images and masks."""
    from flexseg.data.statistics import draw_statistics

    for path in draw_statistics(dataset, output or Path()):
        _say(f"written: {path}")


@app.command()
def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the demo.")] = Path(
        "demo"
    ),
) -> None:
    """Train, evaluate and infer on brain MRI that the package nilearn ships (extra `demo`)."""
    _select_backend(None)
    from flexseg.demo import run_demo

    run_demo(output, console)


def _say(text: str) -> None:
    """Print text as it is: paths may hold what looks like markup, and must not be broken."""
    console.print(text, markup=False, soft_wrap=True)


def _load(config: Path, overrides: list[str] | None, strict: bool) -> LoadedConfig:
    """Load a config and log the warnings about it."""
    from flexseg.config import Severity, load

    loaded = load(config, overrides or (), strict=strict)
    for finding in loaded.findings:
        if finding.severity is Severity.WARNING:
            logger.warning("%s: %s %s", finding.where, finding.what, finding.fix)
    return loaded


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


def _select_backend(name: str | None) -> None:
    from flexseg.backend import select

    select(name)


def main(arguments: list[str] | None = None) -> Any:
    """Entry point: runs a command, prints errors without a traceback, sets the exit code."""
    try:
        app(args=arguments, standalone_mode=True)
    except FlexsegError as error:
        if _state["debug"]:
            errors.print_exception()
        place = f"[bold]{escape(error.where)}[/]\n" if error.where else ""
        errors.print(
            f"[bold red]Error:[/] {place}{escape(error.problem)}\n"
            f"[bold]Fix:[/] {escape(error.fix)}",
            soft_wrap=True,
        )
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        errors.print("Interrupted.")
        sys.exit(130)
    except OSError as error:
        if _state["debug"]:
            errors.print_exception()
        errors.print(
            f"[bold red]Error:[/] {escape(str(error.filename or ''))}\n"
            f"{escape(error.strerror or str(error))}.\n[bold]Fix:[/] Check the path, its "
            "permissions, the free space, and whether another program has it open.",
            soft_wrap=True,
        )
        sys.exit(4)
    except Exception as error:
        if _state["debug"]:
            errors.print_exception()
        errors.print(
            f"[bold red]Error:[/] {escape(f'{type(error).__name__}: {error}')}\n[bold]Fix:[/] This "
            "should not happen; run again with `flexseg --debug ...` and report what it prints.",
            soft_wrap=True,
        )
        sys.exit(1)


if __name__ == "__main__":
    main()
