"""Everything in one go and in time: plan, check, train, postprocessing, evaluation, report."""

from __future__ import annotations

import json
import logging
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from flexseg.checking.audit import CheckReport, audit
from flexseg.config.durations import clock_text, format_duration
from flexseg.config.findings import Severity, warnings
from flexseg.config.load import LoadedConfig, load
from flexseg.config.schema import Experiment
from flexseg.dataset.candidates.answers import NO_ANSWERS, Answers
from flexseg.dataset.division.config_splits import find_splits
from flexseg.evaluation.postprocessing.tuning import tune
from flexseg.evaluation.summary import EvaluationSummary
from flexseg.evaluation.trained_images import evaluate
from flexseg.events import emit
from flexseg.inference.engines.onnx_export import export_seconds
from flexseg.model_file.model_description import read_seen
from flexseg.model_file.seen_images import SeenImages
from flexseg.one_writer import exclusive
from flexseg.outputs import make_folder
from flexseg.planning.earlier_results import refuse_results, require_unfinished
from flexseg.planning.initialize import CONFIG_NAME
from flexseg.planning.network import Shape
from flexseg.planning.plan import Plan, make_plan
from flexseg.planning.planned_data import PlannedData
from flexseg.planning.sizes.patch_sizes import windows_of
from flexseg.planning.timing import StepTime
from flexseg.report.html import write_report
from flexseg.report.sources import find_source
from flexseg.runs.given import EVALUATION, FINGERPRINT, ORIGINAL_SCORES, REPORT
from flexseg.runs.manifest import Manifest
from flexseg.runs.seen import refuse_seen_tests
from flexseg.runs.tracking import Tracker
from flexseg.runs.trained import find_network
from flexseg.training.trainer import Training

logger = logging.getLogger(__name__)

# What comes after the training, in seconds: starting (engines, tables, report), and per pixel of a
# case or voxel of a volume for scores and pictures; predictions take Keras' time for a validation.
_STARTING = 8.0
_PER_PIXEL = 5e-7
_PER_VOXEL = 2e-7
# On a slow or busy machine starting takes so many times as long as the start of the command did,
# which is work of the same kind: 8 seconds where that takes five.
_STARTS = 1.6
# Predicting and scoring may take so many times as long: others use the machine too.
_MARGIN = 1.5
# Views of test-time augmentation.
_VIEWS = 4
# The training gets this share of the time at least.
_LEAST_TRAINING = 0.5


@dataclass(frozen=True)
class AutoResult:
    """What a person wants of it.

    Attributes
    ----------
    summary : of the evaluation.
    steps, epochs : of the training.
    predict : the command for new images or volumes, without these, and its first argument.
    """

    summary: EvaluationSummary
    report: Path
    model: Path
    steps: int
    epochs: int
    predict: tuple[str, Path]


class Auto:
    """From a dataset to a report.

    Parameters
    ----------
    output : folder of config and results.
    seconds : for everything.
    started : `time.monotonic()` of when they begin.
    """

    def __init__(self, output: Path, seconds: float, started: float, console: Console) -> None:
        self.output = output
        self.config = output / CONFIG_NAME
        self.report = output / REPORT
        self.seconds = seconds
        self.started = started
        self._starting = max(_STARTING, _STARTS * (time.monotonic() - started))
        self.console = console
        # Seconds that are needed after the training, known when it is planned.
        self._after: float | None = None
        # Codes of the findings that the plan has told of.
        self._told: set[str] = set()

    def alone(self) -> AbstractContextManager[None]:
        """Hold the folder, from the plan to the report, see `exclusive`."""
        return exclusive(self.output)

    def plan(
        self,
        dataset: Path,
        *,
        split_file: Path | None,
        group: str | None,
        answers: Answers = NO_ANSWERS,
        start_from: Path | None = None,
    ) -> Plan:
        """Write the config.

        Raises
        ------
        ConfigError, DataError : see `make_plan`.
        """
        refuse_results(self.output, dataset)
        made = make_plan(
            dataset,
            self.output,
            self.seconds,
            split_file=split_file,
            group=group,
            answers=answers,
            stage=self._stage,
            training=self._for_training,
            start_from=start_from,
        )
        self._told = {finding.code for finding in made.findings}
        return made

    def run(self, *, resume: bool = False) -> AutoResult:
        """Check the data, train, choose the postprocessing, evaluate and report.

        Parameters
        ----------
        resume : go on with the config that is there.

        Raises
        ------
        FlexsegError : anything that the user can act on; `Interrupted` after a signal.
        """
        if resume:
            require_unfinished(self.output)
        loaded = load(self.config)
        train = loaded.experiment.train
        with self.alone(), exclusive(train.run_dir, train.model_dir):
            return self._run(loaded, resume=resume)

    def _run(self, loaded: LoadedConfig, *, resume: bool) -> AutoResult:
        self._stage("Checking the data")
        # Slices of volumes were cut and divided by ourselves; to look at all of them takes minutes.
        checked = audit(loaded, with_data=loaded.experiment.volume.images_dir is None)
        for finding in checked.findings:
            if finding.severity is Severity.ERROR:
                raise finding.as_error()
        for finding in warnings(checked.findings):
            if finding.code not in self._told:
                logger.warning("%s: %s %s", finding.where, finding.what, finding.fix)
        run_dir = loaded.experiment.train.run_dir
        earlier = Manifest.find(run_dir) if resume else None
        minutes = _minutes_of(earlier) if earlier else None
        if self._after is not None:
            minutes = self._training_seconds(self._after) / 60
        if minutes is not None:
            loaded = load(self.config, [f"train.minutes={minutes:.4f}"])
        e = loaded.experiment
        _refuse_seen_tests(e)
        self._stage("Training")
        # Planning, checking and what comes afterwards have their own part of the time.
        began = time.monotonic()
        run = Training(loaded, self.console, started=began).run(resume=earlier is not None)
        self._stage("Choosing the postprocessing on the validation set")
        tune(loaded, e.train.run_dir / "postprocessing", views=False)
        self._stage(f"Evaluating on the {e.model.evaluation} split")
        folder = e.train.run_dir / EVALUATION
        summary = evaluate(loaded, folder, e.train.run_dir / ORIGINAL_SCORES)
        tracker = Tracker(Manifest.start(e.train.run_dir, loaded), e.train.mlflow)
        tracker.evaluation(folder, summary.as_dict())
        make_folder(self.output)
        report, _, _ = write_report(
            find_source(e.train.run_dir), self.report, self._findings(checked)
        )
        command = "infer" if e.volume.images_dir is None else "infer3d"
        epochs = len(run.history["loss"])
        predict = (command, self.output)
        return AutoResult(summary, report, run.weights, run.steps, epochs, predict)

    def _findings(self, checked: CheckReport) -> dict[str, Any] | None:
        """What the report says of the data: the audit's words, and what only the plan has seen.

        The plan has read files that it has left out, and whole volumes, which are not audited.
        """
        content = checked.as_dict()
        known = {finding["code"] for finding in content["findings"]}
        try:
            text = (self.output / FINGERPRINT).read_text(encoding="utf-8")
            planned = [f for f in json.loads(text)["findings"] if f["code"] not in known]
        except (OSError, ValueError, KeyError, TypeError):
            planned = []
            if checked.loaded.experiment.volume.images_dir is not None:
                return None
        return content | {"findings": [*content["findings"], *planned]}

    def _stage(self, text: str) -> None:
        passed = time.monotonic() - self.started
        emit("stage", text=text, seconds=round(passed, 1))
        self.console.print(f"[bold]{text}[/] ({clock_text(passed)})", highlight=False)

    def _for_training(self, data: PlannedData, step: StepTime, shape: Shape) -> float:
        """The seconds for the training, which leave enough for what comes after it."""
        self._after = after_training(data, step, shape, self._starting)
        least = _LEAST_TRAINING * self.seconds
        if self._training_seconds(self._after) <= least:
            logger.warning(
                "There is not enough time for everything: the training gets %s, and the whole "
                "will take about %s.",
                format_duration(least),
                format_duration(time.monotonic() - self.started + least + self._after),
            )
        return self._training_seconds(self._after)

    def _training_seconds(self, after: float) -> float:
        """What is left for the training, if `after` seconds are needed for the rest."""
        left = self.seconds - (time.monotonic() - self.started) - after
        return max(left, _LEAST_TRAINING * self.seconds)


def _refuse_seen_tests(e: Experiment) -> None:
    """The evaluation at the end would refuse such test cases: the time until then is saved."""
    if e.model.evaluation != "test" or e.volume.images_dir is not None:
        return
    splits = find_splits(e.data).cases
    images = ([case.image for case in splits.get(s, ())] for s in ("train", "valid"))
    seen = SeenImages.of(*images)
    if e.train.start_from is not None:
        seen |= read_seen(find_network(e.train.start_from, "[train] start_from").file)
    refuse_seen_tests(splits.get("test", ()), seen.all)


def _minutes_of(earlier: Manifest) -> float | None:
    """The time that an interrupted training was given; None if its manifest does not say."""
    minutes = earlier.config.get("train", {}).get("minutes")
    return float(minutes) if isinstance(minutes, int | float) else None


def after_training(data: PlannedData, step: StepTime, shape: Shape, starting: float) -> float:
    """Seconds for the check of the data before and for all that follows the training.

    Parameters
    ----------
    starting : seconds of what does not depend on the data.
    """
    prediction = step.validation / step.batch
    if data.volumes:
        # Of averaged axes the quality is learned from whole volumes once more.
        averaged = any(choice.key == "average_axes" for choice in data.choices)
        predicted = data.volumes + (2 if averaged else 1) * data.validation
        scored = data.size[0] ** 2 * data.volumes * _PER_VOXEL
    else:
        windows = windows_of(shape, data.size)
        predicted = _VIEWS * (data.validation + data.test) * windows
        scored = data.size[0] * data.size[1] * (data.test + data.validation) * _PER_PIXEL
    starting += export_seconds(step.parameters)
    return starting + _MARGIN * (prediction * predicted + scored)
