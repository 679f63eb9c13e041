"""What `flexseg auto` and `plan` find in the folder of their results, and what can follow."""

from __future__ import annotations

from pathlib import Path

from flexseg.errors import ConfigError
from flexseg.machine import typed_command
from flexseg.runs.given import CONFIG, MANIFEST, REPORT, RUN


def refuse_results(output: Path, dataset: Path) -> None:
    """Nothing of an earlier plan is written over.

    Raises
    ------
    ConfigError : it is there, and which commands go on from it.
    """
    if not (output / CONFIG).exists():
        return
    if (output / REPORT).exists():
        problem = "The folder holds the results of a finished `flexseg auto`."
        use = f"Use it: {typed_command('infer', output, '-i', 'FOLDER', '-o', 'RESULT')}"
    elif (output / RUN / MANIFEST).exists():
        problem = "The folder holds an interrupted `flexseg auto`, or the training of a plan."
        use = f"Continue it: {typed_command('auto', dataset, '-o', output, '--resume')}"
    else:
        problem = "The folder already holds a plan."
        use = f"Train it: {typed_command('train', output)}"
    raise ConfigError(problem, f"{use}; or give another --output folder.", str(output))


def require_unfinished(output: Path) -> None:
    """There is a plan to go on with, whose report, which comes last, is not written yet.

    Raises
    ------
    ConfigError : there is none, or it is finished.
    """
    config, report = output / CONFIG, output / REPORT
    if not config.exists():
        raise ConfigError(
            "There is no interrupted run to continue in this folder.",
            "Leave --resume out.",
            str(config),
        )
    if report.exists():
        use = typed_command("infer", output, "-i", "FOLDER", "-o", "RESULT")
        raise ConfigError(
            "This run is finished.",
            f"Look at its report, use it ({use}), or give another --output folder.",
            str(report),
        )
