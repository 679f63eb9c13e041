"""What to do after a report, with the commands."""

from __future__ import annotations

import math
from pathlib import Path

from flexseg.config.durations import format_duration
from flexseg.config.load import LoadedConfig
from flexseg.evaluation.metrics.verdict import GOOD_GROUPS
from flexseg.report.sources import ReportSource, advice_folder
from flexseg.report.structure import Evaluation, NextStep
from flexseg.runs.given import ADVICE_FILE as ADVICE
from flexseg.runs.given import FINGERPRINT


def next_steps(source: ReportSource, e: Evaluation | None) -> list[NextStep]:
    """The steps that fit the verdicts; none where no training and config are known.

    The commands are those of the folder of the config.
    """
    if source.loaded is None or source.run_dir is None:
        return []
    config = _quoted(source.loaded.path.name)
    repaired = " --repair" if source.manifest is not None and source.manifest.repair else ""
    if e is None:
        return [NextStep("Score the network on cases that it has not seen.",
                         f"flexseg evaluate {config}{repaired}")]  # fmt: skip
    volumes = source.loaded.experiment.volume.images_dir is not None
    grades = {one.grade for one in e.verdicts}
    steps = []
    if "failed" in grades:
        look = (
            "Look at the worst cases above: check that image and mask belong together. Then "
            "check all data."
        )
        steps.append(NextStep(look, f"flexseg check {config}"))
        steps.append(_longer(source.loaded, config))
    asked = (advice_folder(source) / ADVICE).is_file()
    if grades - {"good"} and not asked and not repaired:
        advice = (
            "Find out whether more cases or a longer training would help, and which cases fail."
        )
        steps.append(NextStep(advice, f"flexseg advise {config} --time 10m"))
    few = any(c.groups_with_reference < GOOD_GROUPS for c in e.classes)
    if few and not e.out_of_fold and not volumes and not repaired:
        all_cases = "The test cases are few: score every case by a network that has not seen it."
        steps.append(NextStep(all_cases, f"flexseg crossval {config}"))
    if grades & {"good", "usable with checking"}:
        checked = "" if grades == {"good"} else ", and check the masks one by one"
        infer = f"flexseg {'infer3d' if volumes else 'infer'} {config}"
        command = f"{infer} --input IMAGES --output MASKS{repaired}"
        steps.append(NextStep(f"Predict new images of the same kind{checked}.", command))
    run = _run(source.run_dir, source.loaded.path)
    other = "Compare with another training on the same test cases."
    steps.append(NextStep(other, f"flexseg compare {run} OTHER_RUN"))
    return steps


def _longer(loaded: LoadedConfig, config: str) -> NextStep:
    """A longer training; for a config that was planned, a plan for more time."""
    minutes = loaded.experiment.train.minutes
    longer = format_duration(60 * max(10, math.ceil(5 * minutes))) if minutes else "60m"
    if (loaded.path.parent / FINGERPRINT).is_file():
        planned = "Plan for more time, which also allows larger images and a larger network."
        return NextStep(planned, f"flexseg auto DATASET --time {longer} --output OTHER")
    falling = "Train for longer, if the training curves are still falling at the end."
    return NextStep(falling, f"flexseg train {config} --time {longer}")


def _run(folder: Path, config: Path) -> str:
    """The folder of a run as seen from that of its config; of one elsewhere only its name."""
    home = config.absolute().parent
    inside = folder.is_relative_to(home)
    return _quoted(folder.relative_to(home).as_posix() if inside else folder.name)


def _quoted(name: str) -> str:
    """A name as it is typed into a terminal."""
    return f'"{name}"' if " " in name else name
