"""What a search leaves behind: a table of its trials, the best config, and not too many files."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from flexseg.config.durations import format_duration
from flexseg.config.load import load
from flexseg.config.text import differences, write_config
from flexseg.errors import ConfigError, FlexsegError, ResourceError, TrainingError
from flexseg.outputs import write_csv
from flexseg.search.space import Parameter, as_text, override
from flexseg.search.study import State, TrialRecord

logger = logging.getLogger(__name__)

BEST_RUN = "best"
# So many failed trials one after the other end the search.
_FAILURES = 10


@dataclass(frozen=True)
class Found:
    """What a search has found.

    Attributes
    ----------
    best : the trial of the best score; None if none was finished.
    start : that of the config as it is, once it is finished.
    importance : share of each key in the differences between scores; empty if unknown.
    config : `best.toml`.
    """

    folder: Path
    metric: str
    maximize: bool
    minutes: float
    parameters: tuple[Parameter, ...]
    trials: list[TrialRecord]
    best: TrialRecord | None
    start: TrialRecord | None
    importance: dict[str, float]
    config: Path
    table: Path


def keep_small(folder: Path, ended: Sequence[TrialRecord], best: TrialRecord | None) -> None:
    """Of trials that have ended keep tables, curves and logs; weights of the best one only.

    A network's training state is three times as large as the network, and trials are many.
    """
    for trial in ended:
        models = folder / f"trial_{trial.number}" / "models"
        if not models.is_dir():
            continue
        if best is None or trial.number != best.number:
            shutil.rmtree(models, ignore_errors=True)
            continue
        for pattern in ("checkpoint*", "cache_*.bin"):
            for file in models.glob(pattern):
                file.unlink(missing_ok=True)


def write_results(found: Found, config: Path, overrides: Sequence[str]) -> None:
    """Write `trials.csv`, and `best.toml` once a trial is finished.

    Parameters
    ----------
    config : the file that the search varies, read with `overrides`.
    """
    names = [p.name for p in found.parameters]
    shared = any(t.host for t in found.trials)
    rows = [
        (
            t.number,
            t.state,
            t.score,
            round(t.seconds / 60, 2),
            t.epochs,
            *(as_text(t.values[name]) if name in t.values else None for name in names),
            "the config as it is" if t.is_start and not t.reason else t.reason,
            *([t.host] if shared else []),
        )
        for t in found.trials
    ]
    header = ("trial", "state", found.metric, "minutes", "epochs", *names, "reason")
    header += ("host",) if shared else ()
    write_csv(found.table, header, rows)
    if found.best is not None:
        _write_best(found, found.best, config, overrides)


def _write_best(found: Found, best: TrialRecord, config: Path, overrides: Sequence[str]) -> None:
    values = [override(name, value) for name, value in best.values.items()]
    run_dir = f"train.run_dir={found.folder / BEST_RUN}"
    tuned = load(config, [*overrides, *values, run_dir], run_code=True)
    comments = {p.name: _comment(p.start, best.values[p.name]) for p in found.parameters}
    for name, share in found.importance.items():
        comments[name] += f"; {share:.0%} of the differences between trials"
    ended = sum(t.state is not State.RUNNING for t in found.trials)
    head = [
        f"The best of {ended} trials of {format_duration(60 * found.minutes)} by `flexseg tune`, "
        f"trial {best.number}: {found.metric} {best.score:.4f}"
        + (f" (as it was: {found.start.score:.4f})." if found.start else "."),
        f"From {config.name}. Paths of inputs are relative to this file; results go to run_dir.",
    ]
    if ":" in tuned.experiment.model.model:
        head.append("The module of the network must lie next to this file, or be installed.")
    try:
        inexpressible = write_config(found.config, tuned, head=head, comments=comments)
        other = [n for n in differences(found.config, tuned) if f"{n}=none" not in inexpressible]
    except ConfigError as error:
        inexpressible, other = [], [str(error)]
    if inexpressible:
        logger.warning("%s needs --set %s.", found.config.name, " --set ".join(inexpressible))
    if other:
        logger.warning(
            "%s does not hold all that the config says: %s. Use the config with --set %s instead.",
            found.config.name,
            ", ".join(other),
            " --set ".join(values),
        )


def _comment(before: object, now: object) -> str:
    return "as it was" if repr(before) == repr(now) else f"was {as_text(before)}"


def line_of(trial: TrialRecord, best: TrialRecord | None, metric: str) -> str:
    """One trial for the terminal."""
    what = "as it is" if trial.is_start else ""
    if not what:
        what = ", ".join(
            f"{name.partition('.')[2]} {as_text(value)}" for name, value in trial.values.items()
        )
    score = "" if trial.score is None else f" {metric} {trial.score:.4f}"
    mark = " (best so far)" if best is not None and trial.number == best.number else ""
    state = "" if trial.state is State.FINISHED else f" {trial.state}: {trial.reason}"
    name = f"trial {trial.number} of {trial.host}" if trial.host else f"trial {trial.number}"
    return f"{name}:{score}{mark}{state}  [{format_duration(trial.seconds)}]  {what}"


def raise_if_hopeless(trials: list[TrialRecord]) -> None:
    """End a search whose config cannot be trained, or that finds nothing that can.

    Raises
    ------
    TrainingError, ResourceError : names the last reason.
    """
    ended = [t for t in trials if t.state is not State.RUNNING]
    start = [t for t in ended if t.is_start]
    if start and start[-1].state is State.FAILED:
        raise _kind_of(start[-1])(
            f"The config as it is cannot be trained: {start[-1].reason}.".replace("..", "."),
            "Correct it, then run the same command again; `flexseg train` shows more.",
        )
    if len(ended) >= _FAILURES and all(t.state is State.FAILED for t in ended[-_FAILURES:]):
        raise _kind_of(ended[-1])(
            f"The last {_FAILURES} trials failed: {ended[-1].reason}.".replace("..", "."),
            "Leave such values out of [tune] space; trials.csv gives the reasons.",
        )


def _kind_of(failed: TrialRecord) -> type[FlexsegError]:
    """What a search ends by whose trials fail as this one did."""
    lacks = failed.exit_code == ResourceError.exit_code
    return ResourceError if lacks else TrainingError
