"""From a folder of data to a config for the time at hand, each value with its reason."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from flexseg import backend
from flexseg.config.durations import format_duration
from flexseg.config.findings import Finding
from flexseg.config.load import LoadedConfig, load
from flexseg.config.schema import Experiment
from flexseg.config.text import Choice, config_text
from flexseg.dataset.candidates.answers import NO_ANSWERS, Answers
from flexseg.errors import ConfigError
from flexseg.one_writer import alone_in
from flexseg.outputs import make_folder, set_aside, write_json, write_text
from flexseg.own_results import claim_file, json_with
from flexseg.planning.continued.extended_division import EXTENDED
from flexseg.planning.continued.plan_start import PlanStart
from flexseg.planning.initialize import CONFIG_NAME, claim_scripts, write_scripts
from flexseg.planning.network import NARROW, Shape, fit_to_time, natural_shape, shape_choices
from flexseg.planning.planned_data import PlannedData, read_data, sections_of
from flexseg.planning.recipe import recipe_choices
from flexseg.planning.sizes.patch_sizes import patches_instead, validated
from flexseg.planning.timing import StepTime, time_step
from flexseg.runs.given import FINGERPRINT

logger = logging.getLogger(__name__)

# How often the network is validated, and after how many seconds at the latest, if that takes no
# more than this share of the time; less often than the fewest where these would take too much.
_VALIDATIONS = 25
_FEWEST_VALIDATIONS = 5
_BETWEEN_VALIDATIONS = 600.0
_VALIDATION_SHARE = 0.06
_LARGEST_VALIDATION_SHARE = 0.25
# A training of fewer steps teaches a network next to nothing.
_FEWEST_STEPS = 100
Stage = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """A config that was written, and what it was made from.

    Attributes
    ----------
    facts : figures of the dataset in words, (name, value).
    findings : what a user should know of the data.
    seconds : for the training.
    step : what a training step takes here.
    training : number of training images.
    """

    loaded: LoadedConfig
    facts: list[tuple[str, str]]
    findings: tuple[Finding, ...]
    choices: list[Choice]
    seconds: float
    step: StepTime
    training: int

    @property
    def config(self) -> Path:
        """The file."""
        return self.loaded.path

    @property
    def steps(self) -> float:
        """Steps that the time suffices for, once the network is built and compiled."""
        return max(0.0, self.seconds - self.step.starting) / self.step.seconds


@alone_in("output")
def make_plan(
    dataset: Path,
    output: Path,
    seconds: float,
    *,
    split_file: Path | None = None,
    group: str | None = None,
    answers: Answers = NO_ANSWERS,
    stage: Stage = lambda text: None,
    training: Callable[[PlannedData, StepTime, Shape], float] | None = None,
    start_from: Path | None = None,
    neighbours: int | None = None,
) -> Plan:
    """Look at a dataset and write `output`/flexseg.toml for it.

    Parameters
    ----------
    dataset : folder of images and masks, or of volumes and label volumes.
    seconds : for the training.
    split_file, group, answers : see `Dataset.open` and `Dataset.divide`.
    stage : told what is going on.
    training : tells the seconds for the training when all costs are known, where `seconds` is for
        more than that.
    start_from : an earlier network, which is taken, and whose division is extended; see
        `find_network`.
    neighbours : see `read_data`.

    Raises
    ------
    ConfigError : there is a config in `output` already.
    DataError : the data cannot be used.
    """
    target = output / CONFIG_NAME
    if target.exists():
        raise ConfigError(
            "There is already a config.", "Remove it, or give another --output folder.", str(target)
        )
    claim_scripts(output)
    start = None if start_from is None else _opened(start_from)
    stage("Looking at the data")
    data = read_data(
        dataset,
        output,
        split_file=split_file,
        group=group,
        stage=stage,
        neighbours=neighbours,
        answers=answers,
        earlier=None if start is None else start.parts_of,
        names={} if start is None else start.names,
    )
    backend.select(None)
    stage("Measuring a training step")
    width, height = (side / data.resolution.enlarged for side in data.size)
    natural = natural_shape(width, height, data.training)
    shape, why_size, why_filters, step = _shape(data, natural, seconds, start)
    for_training = training(data, step, shape) if training else seconds
    _warn_of_little_time(step, for_training)
    _warn_of_others(step)
    if start is not None and not data.seen:
        logger.warning(
            "The network of %s has seen none of the training cases. Starting from a network of "
            "other images may be worse than starting from scratch: compare with a plan without "
            "it.",
            start.network.file,
        )
    choices = [
        *_network_choices(data, shape, start, why_size, why_filters),
        *_duration(data, step, for_training, shape),
    ]
    facts = [*data.facts, *_start_facts(data, start)]
    make_folder(output)
    head = [
        f"Plan of flexseg for {dataset.name} and {format_duration(for_training)} of training on "
        "this machine.",
        *(f"{name}: {text}" for name, text in facts),
        "",
        "`flexseg train` trains it; you may change any value.",
    ]
    claim_file(output / FINGERPRINT, "fingerprint of a plan", json_with("findings"))
    set_aside(output / FINGERPRINT)
    findings = [finding.as_dict() for finding in data.findings]
    write_json(output / FINGERPRINT, data.fingerprint | {"findings": findings})
    write_scripts(output, volumes=data.volumes > 0)
    write_text(target, config_text(head, choices, data.classes, target.parent))
    loaded = load(target)
    return Plan(loaded, facts, data.findings, choices, for_training, step, data.training)


def _opened(path: Path) -> PlanStart:
    backend.select(None)
    return PlanStart.open(path)


def _start_facts(data: PlannedData, start: PlanStart | None) -> list[tuple[str, str]]:
    """What the plan goes on with, and how many cases it had."""
    if start is None:
        return []
    counts = [f.what for f in data.findings if f.code == EXTENDED]
    return [("goes on with", " ".join((f"{start.network.file}.", *counts)))]


def _network_choices(
    data: PlannedData,
    shape: Shape,
    start: PlanStart | None,
    why_size: str = "",
    why_filters: str = "",
) -> list[Choice]:
    """All of the config but how long it is trained."""
    sized = shape_choices(shape, why_size, why_filters)
    choices = [*data.choices, *sized, *recipe_choices(data, shape)]
    return choices if start is None else start.applied(choices, data.seen)


def _shape(
    data: PlannedData, natural: Shape, seconds: float, start: PlanStart | None
) -> tuple[Shape, str, str, StepTime]:
    """The network that the time suffices for, and what its steps take."""
    natural = natural if start is None else start.fitted(natural)
    step = _measured(data, natural, start)
    shape, why_size, why_filters = fit_to_time(
        natural,
        step.seconds / natural.batch,
        seconds,
        data.resolution.ceiling,
        data.training,
        None if start is None else start.size(data.seen),
    )
    # What knows whole slices goes on with them, by which volumes are predicted.
    if not data.volumes and not (start is not None and start.preprocessing.of_slices):
        per_image = step.seconds / natural.batch
        patches = patches_instead(natural, shape, per_image, seconds, data.resolution, data.size)
        if patches is not None:
            shape, why_size = patches
            why_filters = NARROW
    if start is not None:
        shape = start.fitted(shape)
    if step.busy:
        why_size += f"; {step.busy}"
    if shape == natural:
        return shape, why_size, why_filters, step
    return shape, why_size, why_filters, _measured(data, shape, start)


def _measured(data: PlannedData, shape: Shape, start: PlanStart | None) -> StepTime:
    """Steps of the network in this shape."""
    choices = _network_choices(data, shape, start)
    experiment = Experiment.model_validate(sections_of(choices, data.classes))
    return time_step(experiment, steps=3)


def _warn_of_little_time(step: StepTime, seconds: float) -> None:
    needed = step.starting + _FEWEST_STEPS * step.seconds
    if seconds < needed:
        logger.warning(
            "%s of training is very little: building the network takes about %.0f s of it, and a "
            "step takes %.2f s. Below %s, it hardly learns anything.",
            format_duration(seconds),
            step.starting,
            step.seconds,
            format_duration(needed),
        )


def _warn_of_others(step: StepTime) -> None:
    if step.busy:
        logger.warning(
            "A training step takes %.2f s here, but %s: the plan is for a machine this busy. "
            "Once they have finished, a new plan may allow larger images or a larger network.",
            step.seconds,
            step.busy,
        )


def _duration(data: PlannedData, step: StepTime, seconds: float, shape: Shape) -> list[Choice]:
    """How long, and how often validated."""
    batches = -(-validated(shape, data.size, data.validation) // step.batch)
    validation = batches * step.validation + 0.5
    times = int(_VALIDATION_SHARE * seconds / validation)
    most = max(_VALIDATIONS, int(seconds / _BETWEEN_VALIDATIONS))
    times = min(most, max(_FEWEST_VALIDATIONS, times))
    times = max(1, min(times, int(_LARGEST_VALIDATION_SHARE * seconds / validation)))
    steps = max(1, int((seconds / times - validation) / step.seconds))
    busy = f" ({step.busy})" if step.busy else ""
    return [
        Choice(
            "train", "minutes", round(seconds / 60, 3),
            "the time for the training, validation and saving included",
        ),
        Choice(
            "train", "epoch_steps", steps,
            f"a step takes {1000 * step.seconds:.0f} ms here{busy}: the network is validated about "
            f"{times} time{'s' if times > 1 else ''}",
        ),
    ]  # fmt: skip
