"""A first config for a folder of data, with scripts that start the steps."""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Callable
from pathlib import Path

from flexseg.config.findings import Severity, choices_told
from flexseg.config.text import Choice, config_text
from flexseg.dataset.candidates.answers import NO_ANSWERS, Answers
from flexseg.dataset.marks.made_up_names import is_made_up
from flexseg.errors import ConfigError
from flexseg.one_writer import alone_in
from flexseg.outputs import make_folder, write_text
from flexseg.own_results import claim_files
from flexseg.planning.planned_data import PlannedData, read_data
from flexseg.planning.recipe import flip_choices
from flexseg.runs import start_scripts
from flexseg.runs.given import CONFIG

logger = logging.getLogger(__name__)

CONFIG_NAME = CONFIG
_STEPS = {"1.train": "train", "2.evaluate": "evaluate", "3.infer": "infer"}


@alone_in("output")
def initialize(
    dataset: Path,
    output: Path,
    *,
    split_file: Path | None = None,
    group: str | None = None,
    size: int | None = None,
    neighbours: int | None = None,
    answers: Answers = NO_ANSWERS,
    stage: Callable[[str], None] = lambda text: None,
) -> list[Path]:
    """Write `flexseg.toml` and start scripts (.bat, .sh) into `output`; returns the files.

    What is wrong with the data, files that are left out above all, goes to the logger.

    Parameters
    ----------
    dataset : folder of images and masks, or of volumes and label volumes, whose slices are cut
        into `output`.
    split_file, group, neighbours, answers, stage : see `read_data`.
    size : longer side of the network's input in pixels.

    Raises
    ------
    DataError : the folder has no pairs of images and masks, too few, or no neighbouring slices.
    ConfigError : a config is already there.
    """
    target = output / CONFIG_NAME
    if target.exists():
        raise ConfigError(
            "There is already a config.", "Remove it, or give another --output folder.", str(target)
        )
    claim_scripts(output)
    data = read_data(
        dataset,
        output,
        split_file=split_file,
        group=group,
        stage=stage,
        neighbours=neighbours,
        answers=answers,
    )
    for finding in choices_told(data.findings):
        level = logging.INFO if finding.severity is Severity.NOTE else logging.WARNING
        logger.log(level, "%s", f"{finding.what} {finding.fix}".rstrip())
    make_folder(output)
    choices = [*data.choices, *_network(data, size), *_training(data)]
    scripts = write_scripts(output, volumes=data.volumes > 0)
    # Last: where it is, the folder is complete and not written again.
    write_text(target, config_text(_head(data), choices, data.classes, output))
    return [target, *scripts]


def _head(data: PlannedData) -> list[str]:
    lines = [
        "Configuration of flexseg. `flexseg check` tells what it does with your data; `flexseg "
        "schema` lists all keys. Paths of inputs are relative to this file, those of outputs to "
        "[train] run_dir.",
        *(f"{name}: {text}" for name, text in data.facts),
    ]
    if any(is_made_up(c["name"], c["id"]) for c in data.classes):
        lines.append("Give the classes their real names.")
    if not any((c.section, c.key) == ("dataset", "group") for c in data.choices):
        lines.append(
            "Several images per patient or volume? Say in [dataset] group how its name is found, "
            "so that they stay in one split, e.g. group = '^(p[0-9]+)_' for p012_slice3.png."
        )
    return lines


def _network(data: PlannedData, size: int | None) -> list[Choice]:
    width, height, levels = _shape(data.size, size)
    multiple = 2 ** (levels - 1)
    return [
        Choice("model", "model", "TensorFlowFlexUNet", ""),
        Choice("model", "image_width", width, f"multiples of {multiple} = 2^(num_layers - 1)"),
        Choice("model", "image_height", height, ""),
        Choice("model", "num_layers", levels, ""),
        Choice("model", "base_filters", 16, ""),
        Choice("model", "base_kernels", [3, 3],
               "wider first kernels, e.g. [9, 9], see more and cost more"),
        Choice("model", "normalization", True, "batch normalisation: faster, steadier training"),
        Choice("model", "dropout_rate", 0.02, ""),
        Choice("model", "learning_rate", 0.001, ""),
        Choice("model", "loss", "dice_ce_loss", "Dice + cross-entropy"),
        Choice("model", "metrics", ["dice"], "of cases; the best weights have the highest"),
    ]  # fmt: skip


def _training(data: PlannedData) -> list[Choice]:
    return [
        Choice("train", "run_dir", "run", "all results go here; earlier ones are moved aside"),
        Choice("train", "epochs", 60, ""),
        Choice("train", "batch_size", 4, ""),
        Choice("train", "patience", 15, "stop after so many epochs without a better val_loss"),
        Choice("train", "learning_rate_reducer", True, ""),
        Choice("train", "reducer_patience", 5, ""),
        Choice("augmentation", "enabled", True, "`flexseg augment --preview` draws what it does"),
        *flip_choices(data.orientation),
        Choice("infer", "overlay_alpha", 0.4, ""),
    ]


def _shape(median: tuple[float, float], size: int | None) -> tuple[int, int, int]:
    """Width and height that the levels can halve, and the number of levels."""
    longest = size or min(512, max(median))
    levels = max(3, min(6, int(math.log2(max(longest, 32) / 8))))
    multiple = 2 ** (levels - 1)
    ratio = median[0] / median[1]
    sides = (longest, longest / ratio) if ratio >= 1 else (longest * ratio, longest)
    width, height = (max(multiple, round(side / multiple) * multiple) for side in sides)
    return width, height, levels


def claim_scripts(output: Path) -> None:
    """Refuse to write over scripts that are not ours, see `claim_files`."""
    claim_files(output, (f"{script}{end}" for script in _STEPS for end in (".bat", ".sh")))


def write_scripts(output: Path, *, volumes: bool) -> list[Path]:
    """The scripts that start the steps by a double click."""
    written: list[Path] = []
    for script, command in _STEPS.items():
        program = "infer3d" if command == "infer" and volumes else command
        # The interpreter by its path: a double click knows nothing of virtual environments.
        words = [sys.executable, "-m", "flexseg", program, CONFIG_NAME]
        written += start_scripts.write_scripts(output, script, words, pause=True)
    return written
