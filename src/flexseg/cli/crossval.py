"""`flexseg crossval`: as many trainings as folds, and one score of all cases."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Annotated

import typer

from flexseg.cli.app import (
    BackendOption,
    ConfigArgument,
    SetOption,
    StrictOption,
    console,
    open_config,
    progress,
    say,
)
from flexseg.cli.command import Task, long_command
from flexseg.cli.tables import number
from flexseg.errors import DataError
from flexseg.events import emit

if TYPE_CHECKING:
    from flexseg.checking.audit import CheckReport

logger = logging.getLogger(__name__)


@long_command(Task.TRAIN)
def crossval(
    config: ConfigArgument,
    folds: Annotated[
        int, typer.Option(metavar="K", help="Number of folds, and so of trainings.")
    ] = 5,
    overrides: SetOption = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue; finished folds are not trained again.")
    ] = False,
    processes: Annotated[
        int,
        typer.Option(
            min=1,
            help="Folds that are trained at a time and share the processors; worth it where one "
            "leaves them idle.",
        ),
    ] = 1,
    strict: StrictOption = False,
    backend: BackendOption = None,
) -> None:
    """Train K networks, score each on the fold it has not seen, and keep them as an ensemble."""
    loaded = open_config(config, overrides, strict, backend)
    from flexseg.checking.audit import audit_folds
    from flexseg.cli.printing import print_scores
    from flexseg.config.findings import amount
    from flexseg.report.html import write_report
    from flexseg.report.sources import find_source
    from flexseg.training.crossval import CrossValidation

    validation = CrossValidation(
        loaded, overrides or (), folds, console, resume=resume, processes=processes
    )
    with validation.alone():
        with progress("Reading the data") as on_case:
            audit = audit_folds(loaded, validation.division, on_case)
        _tell(audit)
        runs = validation.train(audited=audit.findings)
        with progress("Scoring") as on_case:
            result = validation.score(runs, on_case)
    for fold in result.summary.folds or ():
        say(f"fold {fold.fold}: Dice {number(fold.dice)} over {amount(fold.cases, 'case')}")
    print_scores(console, result.summary)
    html, _, _ = write_report(find_source(validation.folder), audit=audit.as_dict())
    places = {"folder": result.evaluation, "report": html, "ensemble": result.ensemble}
    emit("result", **places, summary=result.summary.as_dict())
    say(f"Results: {result.evaluation}\nReport: {html}\nEnsemble: {result.ensemble}")


def _tell(audit: CheckReport) -> None:
    """Log what was found about the data: a leak is better known before hours of training.

    Raises
    ------
    DataError : a file cannot be used.
    """
    from flexseg.config.findings import Severity

    for finding in audit.findings:
        if finding.scope != "data":
            continue  # told when the config was read
        if finding.severity is Severity.ERROR:
            raise DataError(finding.what, finding.fix, finding.where)
        level = logging.WARNING if finding.severity is Severity.WARNING else logging.INFO
        logger.log(level, "%s: %s", finding.where, finding.what)
