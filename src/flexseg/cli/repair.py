"""What the commands do and print with `--repair`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from flexseg.cli.app import console, say
from flexseg.errors import ConfigError

if TYPE_CHECKING:
    from flexseg.config import LoadedConfig
    from flexseg.planning.repair import Repaired
    from flexseg.training.distributed.sharing import Sharing
    from flexseg.training.trainer import Training


def repaired_training(
    loaded: LoadedConfig, *, resume: bool, started: float, sharing: Sharing | None = None
) -> Training:
    """The training of the repaired config; prints what is repaired.

    Parameters
    ----------
    sharing : see `Training`.

    Raises
    ------
    ConfigError : there is nothing to repair.
    DataError : there is no repaired training to go on with.
    """
    from flexseg.planning.repair import recorded, repair
    from flexseg.training.trainer import Training

    repaired = recorded(loaded) if resume else repair(loaded)
    if not repaired.changes:
        raise ConfigError(
            "There is nothing to repair: the config already trains as the repair would.",
            "Train it without --repair.",
            str(loaded.path),
        )
    print_repair(repaired)
    training = Training(repaired.loaded, console, started=started, sharing=sharing)
    repaired.note_in(training.manifest)
    folder = repaired.loaded.experiment.train.run_dir
    training.tracker.name = f"{folder.parent.name or loaded.path.stem}/{folder.name}"
    return training


def print_repair(repaired: Repaired) -> None:
    """The changes with their reasons, and what is left alone."""
    from rich.markup import escape
    from rich.padding import Padding

    from flexseg.config.findings import amount

    if not repaired.changes:
        say("Nothing to repair: the config already trains as the repair would.")
        return
    model = repaired.loaded.experiment.model
    console.print(
        f"[bold]Repaired config:[/] {escape(model.model)} stays as it is; "
        f"{amount(len(repaired.changes), 'value')} of its training "
        f"{'changes' if len(repaired.changes) == 1 else 'change'}."
    )
    for change in repaired.changes:
        values = f"{_shown(change.before)} -> {_shown(change.after)}"
        console.print(f"  [bold]{escape(change.name)}[/]  {escape(values)}")
        console.print(Padding(f"[dim]{escape(change.reason)}[/]", (0, 0, 0, 6)))
    for note in repaired.notes:
        say(f"Note: {note}")
    say(f"Results: {repaired.loaded.experiment.train.run_dir}")


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(map(_shown, value)) + "]"
    if isinstance(value, float):
        return f"{value:g}"
    return str(value).lower() if isinstance(value, bool) else str(value)


def tell_difference(run_dir: Path, evaluation: Path) -> None:
    """One sentence on how the repaired config compares with the old one."""
    from flexseg.report.repaired import compare_with_original

    comparison = compare_with_original(run_dir, evaluation)
    say(f"Old config and repaired: {comparison.verdict or comparison.why_not}")
