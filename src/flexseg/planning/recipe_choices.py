"""What a config says of the network and its training, with the reasons: the recipe."""

from __future__ import annotations

from flexseg.config.text import Choice
from flexseg.planning import recipe
from flexseg.planning.network import Shape
from flexseg.planning.planned_data import PlannedData

# A class in fewer of the images than this is shown more often than it comes.
_RARE = 0.3
_OVERSAMPLE = 0.33
# Where up and down are what they are, images are turned by no more than this.
_UPRIGHT = (-20.0, 20.0)


def recipe_choices(data: PlannedData, shape: Shape) -> list[Choice]:
    """Network, loss, optimizer, schedule, augmentation, test-time augmentation."""
    return [
        *_network(),
        *_optimization(data),
        *_augmentation(data),
        *_prediction(data, shape),
        *_search(shape),
    ]


def _network() -> list[Choice]:
    return [Choice("model", key, value, reason) for key, value, reason in recipe.NETWORK]


def _optimization(data: PlannedData) -> list[Choice]:
    choices = [
        Choice("model", "loss", recipe.LOSS, "the overlap, and steady steps"),
        Choice("model", "metrics", ["dice_coef_foreground"], ""),
        Choice("model", "optimizer", recipe.OPTIMIZER, "in little time better than SGD"),
        Choice("model", "learning_rate", recipe.LEARNING_RATE, "the highest of the schedule"),
        Choice("train", "run_dir", "run", "all results; earlier ones move aside"),
        Choice("train", "schedule", recipe.SCHEDULE,
               "the learning rate follows the clock and is 0 when the time is over"),
        Choice("train", "warmup", recipe.WARMUP, "share of the time in which it rises"),
        Choice("train", "ema", 0.0,
               "weights are not averaged: beside a rate that falls to 0 it gained nothing"),
        Choice("train", "patience", 0, "the clock ends the training, nothing else"),
        Choice("train", "epoch_change_infer", False, "no pictures while the clock runs"),
    ]  # fmt: skip
    if data.rarest < _RARE:
        why = f"the rarest class is in {100 * data.rarest:.0f} % of the training images only"
        choices.append(Choice("train", "oversample", _OVERSAMPLE, why))
    return choices


def _augmentation(data: PlannedData) -> list[Choice]:
    why = "in many minutes it pays, in few it costs nothing"
    choices = [Choice("augmentation", "enabled", True, why)]
    choices += [
        Choice("augmentation", flip, probability, reason)
        for flip, (probability, reason) in data.flips.items()
    ]
    choices += [
        Choice("augmentation", key, value, "") for key, value in recipe.AUGMENTATION.items()
    ]
    if any(probability == 0 for probability, _ in data.flips.values()):
        choices.append(
            Choice("augmentation", "rotation_degrees", list(_UPRIGHT), "the images have one way up")
        )
    return choices


def _prediction(data: PlannedData, shape: Shape) -> list[Choice]:
    flips = [flip for flip, (probability, _) in data.flips.items() if probability]
    both = len(flips) == 2
    choices = []
    if recipe.TTA and flips and not data.volumes:
        views = ["flips"] if both else flips
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
