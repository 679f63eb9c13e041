"""How a network is trained that nobody has planned: the values that paid most when measured.

`plan` writes them into its configs, each with its reason, and `repair` gives them to old configs,
whose networks it keeps.
"""

from __future__ import annotations

from typing import Any

from flexseg.config.text import Choice
from flexseg.dataset.quality.orientation import Orientation
from flexseg.planning.network import Shape
from flexseg.planning.planned_data import Kind, PlannedData

# [model] keys of a planned network, and why.
NETWORK: tuple[tuple[str, Any, str], ...] = (
    ("model", "UNet", "residual blocks gained nothing in the same time"),
    ("base_kernels", [3, 3], "small kernels, many levels"),
    ("normalization", True, "batch normalisation: steady, and fast on a CPU"),
    ("input_normalize", "standardize", "each image to mean 0 and variance 1"),
)
_EACH_CHANNEL = "standardize_channels"
LOSS = "dice_ce_loss"
OPTIMIZER = "AdamW"
LEARNING_RATE = 1e-3
# For networks that a higher one makes diverge: without normalisation layers, transformers, and
# encoders that are trained already.
GENTLE_LEARNING_RATE = 5e-4
SCHEDULE = "cosine"
# Share of the training in which the learning rate rises.
WARMUP = 0.1
# A training that begins with an earlier network: its highest rate by that of a fresh one, and the
# share of the time in which it rises. The clock gives it what time there is.
WARM_RATE = 0.5
WARM_WARMUP = 0.05
# Smaller batches are raised to it. On a CPU larger ones only make fewer steps of the same time.
SMALLEST_BATCH = 2
# Keys of [augmentation] beside its defaults.
AUGMENTATION: dict[str, Any] = {}
# Keys of [augmentation] for images of other cameras, stains and scanners, and why.
_OTHER_DEVICES: dict[Kind, tuple[dict[str, Any], str]] = {
    "stained": (
        {"color": 0.2, "stain": 0.2, "bias": 0.2},
        "bright images in colour: other stains, lamps and cameras have other colours",
    ),
    "colored": (
        {"color": 0.2, "bias": 0.2},
        "images in colour: other lamps and cameras have other colours",
    ),
    "gray": ({}, ""),
    "CT": ({"window": 0.2}, "CT: other tubes and contrast agents shift the window"),
    "MR": (
        {"bias": 0.2, "curve": 0.2},
        "MR: other coils and sequences have other bias fields and contrasts",
    ),
}
# Of a harmless flip.
FLIP = 0.5
# Average predictions over the flips that training has seen.
TTA = True

# A class in fewer of the images than this is shown more often than it comes.
_RARE = 0.3
_OVERSAMPLE = 0.33


def recipe_choices(data: PlannedData, shape: Shape) -> list[Choice]:
    """Network, loss, optimizer, schedule, augmentation, test-time augmentation."""
    return [
        *_network(data),
        *_optimization(data),
        *_augmentation(data),
        *_prediction(data, shape),
        *_search(shape),
    ]


def _network(data: PlannedData) -> list[Choice]:
    choices = {key: Choice("model", key, value, reason) for key, value, reason in NETWORK}
    if data.separate_channels:
        why = "each channel to mean 0 and variance 1: each is measured in its own way"
        choices["input_normalize"] = Choice("model", "input_normalize", _EACH_CHANNEL, why)
    elif data.kind in ("stained", "colored"):
        why = "each channel to mean 0 and variance 1: this removes the tint of a stain or lamp"
        choices["input_normalize"] = Choice("model", "input_normalize", _EACH_CHANNEL, why)
    return [*choices.values()]


def _optimization(data: PlannedData) -> list[Choice]:
    choices = [
        Choice("model", "loss", LOSS, "the overlap, and steady steps"),
        Choice("model", "metrics", ["dice"], "of cases; the best weights have the highest"),
        Choice("model", "optimizer", OPTIMIZER, "better than SGD in little time"),
        Choice("model", "learning_rate", LEARNING_RATE, "the highest of the schedule"),
        Choice("train", "run_dir", "run", "all results; earlier ones are moved aside"),
        Choice("train", "schedule", SCHEDULE,
               "the learning rate follows the clock and is 0 when the time is over"),
        Choice("train", "warmup", WARMUP, "share of the time in which it rises"),
        Choice("train", "ema", 0.0,
               "weights are not averaged: with a rate that falls to 0, that gained nothing"),
        Choice("train", "patience", 0, "the clock ends the training, nothing else"),
        Choice("train", "epoch_change_infer", False, "no pictures while the clock runs"),
    ]  # fmt: skip
    if data.rarest < _RARE:
        why = f"the rarest class is in only {100 * data.rarest:.0f} % of the training images"
        choices.append(Choice("train", "oversample", _OVERSAMPLE, why))
    return choices


def _augmentation(data: PlannedData) -> list[Choice]:
    why = "it pays in long trainings, and costs nothing in short ones"
    choices = [Choice("augmentation", "enabled", True, why)]
    choices += flip_choices(data.orientation)
    choices += [Choice("augmentation", key, value, "") for key, value in AUGMENTATION.items()]
    keys, why = _OTHER_DEVICES[data.kind]
    for number, (key, value) in enumerate(keys.items()):
        choices.append(Choice("augmentation", key, value, why if number == 0 else ""))
    return choices


def flip_choices(orientation: Orientation) -> list[Choice]:
    """Flips that are harmless, each with its reason, and by which angles images are turned."""
    choices = [
        Choice("augmentation", flip, FLIP if judged.harmless else 0.0, judged.reason)
        for flip, judged in orientation.flips.items()
    ]
    if orientation.why_not:
        why = "not upside down, as a flip is left out"
        choices.append(Choice("augmentation", "rotation_degrees", [*orientation.degrees], why))
    return choices


def _prediction(data: PlannedData, shape: Shape) -> list[Choice]:
    views = data.orientation.views
    choices = []
    if TTA and views and not data.volumes:
        why = "mean of the predictions of the image and its mirror images"
        choices.append(Choice("infer", "tta", views, why))
    batch = min(16, shape.batch)
    if not data.volumes:
        choices.append(Choice("eval", "batch_size", batch, "images that are predicted at once"))
    return choices


def _search(shape: Shape) -> list[Choice]:
    space = {
        "model.learning_rate": {"low": 0.0003, "high": 0.01, "log": True},
        "model.base_filters": [16, 32],
        "train.batch_size": [shape.batch // 2, shape.batch, 2 * shape.batch],
        "augmentation.rotation": {"low": 0.0, "high": 0.6},
        "augmentation.scaling": {"low": 0.0, "high": 0.6},
    }
    return [Choice("tune", "space", space, "what `flexseg tune` may vary")]
