"""What the repair of an old config changes, part by part: the rules and their reasons."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from flexseg.augment.photometric import PHOTOMETRIC
from flexseg.augment.policy import RecipePolicy, refuse_unscaled
from flexseg.config.augmentation import AugmentationConfig
from flexseg.config.model import ModelConfig
from flexseg.config.schema import Experiment
from flexseg.dataset.cases import Case
from flexseg.dataset.quality.orientation import Orientation
from flexseg.errors import DataError
from flexseg.planning import recipe
from flexseg.planning.repair_draft import Draft, from_shell

_PIXELS_ALONE = "counts pixels one by one, so that small objects hardly weigh in it"
_OVERLAP_ALONE = "has no term for single pixels, which makes training unsteady"
_BACKGROUND = "counts the background as a class, which outweighs the others"
# What is wrong with losses of the originals; with one class and with several.
_LOSSES_ONE_CLASS = {
    "binary_crossentropy": _PIXELS_ALONE,
    "dice_loss": _OVERLAP_ALONE,
    "dice_loss_multiclass": _OVERLAP_ALONE,
    "iou_loss": _OVERLAP_ALONE,
    "ssim_loss": _OVERLAP_ALONE,
}
_LOSSES_MANY_CLASSES = {
    "categorical_crossentropy": _PIXELS_ALONE,
    "categorical_focal_dice_loss": "is neither focal nor Dice: its terms count pixels one by one",
    "dice_loss": _BACKGROUND,
    "dice_loss_multiclass": _BACKGROUND,
    "iou_loss": _BACKGROUND,
    "ssim_loss": _BACKGROUND,
}
# Networks without normalisation, with the key that would switch it on.
_PLAIN = {"UNet": "normalization", "TransUNet": "batch_norm", "U2Net": "", "SharpUNet": ""}
# Of which the original programs read [model] input_normalize.
_SCALABLE = ("UNet",)
_TRANSFORMERS = ("SwinUNet", "TransUNet", "SegFormer")


def repair_scale(draft: Draft) -> None:
    """Pixels as 0..1 where the original programs can do so too, so that weights fit them."""
    model = draft.result.model
    if model.input_normalize is False and _network(model) in _SCALABLE:
        draft.set(
            "model",
            "input_normalize",
            True,
            "pixels of 0..255 saturate the network at its start, so that it learns at a tiny rate "
            "or not at all; the weights keep their shapes, and fit the original program with this "
            "key set there too",
        )


def repair_loss(draft: Draft) -> None:
    """Cross-entropy and Dice of the foreground instead of what lacks one of them."""
    model = draft.result.model
    wrong = _LOSSES_ONE_CLASS if draft.result.is_binary else _LOSSES_MANY_CLASSES
    if reason := wrong.get(model.loss.lower()):
        draft.set(
            "model",
            "loss",
            recipe.LOSS,
            f"{model.loss} {reason}; cross-entropy and the Dice of the foreground together do not",
        )


def repair_schedule(draft: Draft) -> None:
    """Learning rate and what moves the weights: one decision, of which no part goes alone."""
    train = draft.result.train
    if train.schedule == "constant" or from_shell(draft.sources, "train", "schedule"):
        draft.set("model", "optimizer", recipe.OPTIMIZER, "Adam with decoupled weight decay")
        if not is_saturated(draft.result.model):
            rate, why = highest_rate(draft.result.model)
            draft.set("model", "learning_rate", rate, why)
        draft.set(
            "train",
            "schedule",
            recipe.SCHEDULE,
            "the learning rate falls to 0 at the end, however long the training is",
        )
        draft.set("train", "warmup", recipe.WARMUP, "it rises first, so that the start is steady")
    if draft.result.train.schedule != "constant":
        if draft.result.train.learning_rate_reducer:
            draft.set("train", "learning_rate_reducer", False, "the schedule takes its place")
        if draft.result.train.patience > 0:
            why = "the schedule ends the training; the best epoch is kept in any case"
            draft.set("train", "patience", 0, why)


def highest_rate(model: ModelConfig) -> tuple[float, str]:
    """The highest learning rate of a schedule that a network bears, and why."""
    gentle = {
        "it has no normalisation layers": is_plain(model),
        "it is a transformer": _network(model) in _TRANSFORMERS,
        "its encoder is trained already": _is_pretrained(model),
    }
    for reason, holds in gentle.items():
        if holds:
            rate = recipe.GENTLE_LEARNING_RATE
            if model.optimizer != "SGD" and rate < model.learning_rate <= recipe.LEARNING_RATE:
                rate = model.learning_rate  # the old config knows that the network bears it
            return rate, f"the highest of the schedule; gentle, as {reason}"
    return recipe.LEARNING_RATE, "the highest of the schedule"


def _network(model: ModelConfig) -> str:
    """The network's short name; empty for a builder of the user's own."""
    from flexseg.models.architecture import MODELS
    from flexseg.models.build import architecture_of

    if ":" in model.model:
        return ""
    architecture_of(model)  # refuses an unknown name as a training would
    return MODELS.canonical(model.model)


def is_plain(model: ModelConfig) -> bool:
    """Whether a network has no normalisation between its convolutions, as far as is known."""
    name = _network(model)
    if not name:
        return True
    key = _PLAIN.get(name)
    return key is not None and not (key and getattr(model, key))


def is_saturated(model: ModelConfig) -> bool:
    """Whether a network gets pixels of 0..255 that no layer normalises.

    Its first outputs are then probabilities of 0 and 1, whose loss has no gradient; only the small
    rate that it was made to work with leads out of that.
    """
    return model.input_normalize is False and is_plain(model)


def _is_pretrained(model: ModelConfig) -> bool:
    from flexseg.models.architecture import MODELS
    from flexseg.models.options import pretrained_weights

    name = _network(model)
    return bool(name and pretrained_weights(model) and MODELS.get(name).backbone(model))


def repair_batches(draft: Draft) -> None:
    """Batches that are large enough, of cases in a new order."""
    train = draft.result.train
    size = train.batch_size
    if size != "auto" and size < recipe.SMALLEST_BATCH:
        images = "one image" if size == 1 else f"{size} images"
        why = f"gradient and Dice of {images} are noisy"
        draft.set("train", "batch_size", recipe.SMALLEST_BATCH, why)
    if not train.shuffle:
        draft.set("train", "shuffle", True, "batches of neighbouring images are all alike")


def repair_augmentation(draft: Draft, cases: Sequence[Case], orientation: Orientation) -> None:
    """[augmentation], as far as the old config and the data allow."""
    experiment = draft.result
    if experiment.augmentation.enabled:
        return
    variants = experiment.model.generator and experiment.generator.augmentation
    before = "one of its variants at a time" if variants else "the same pixels in every epoch"
    why = f"an image showed {before}; now it varies in all ways, differently in every epoch"
    if not draft.set("augmentation", "enabled", True, why):
        return
    for key, value in recipe.AUGMENTATION.items():
        draft.set("augmentation", key, value, "of the recipe")
    _keep_geometry(draft)
    _heed_orientation(draft, orientation)
    if cases:
        _heed_scale(draft, cases)


def _keep_geometry(draft: Draft) -> None:
    """What the old config has switched off, or limited, stays so."""
    old = draft.result.augmentor
    for key in ("hflip", "vflip", "rotation"):
        if draft.given("augmentor", key) and not getattr(old, key):
            draft.set("augmentation", key, 0.0, f"[augmentor] {key} is off")
    if old.rotation and draft.given("augmentor", "angles") and old.angles:
        widest = max(abs((angle + 180) % 360 - 180) for angle in old.angles)
        why = f"[augmentor] angles are {widest:g} degrees at most"
        draft.set("augmentation", "rotation_degrees", (-widest, widest), why)


def _heed_orientation(draft: Draft, orientation: Orientation) -> None:
    """Switch off the flips that are not harmless, and turns upside down with them."""
    for flip, judged in orientation.flips.items():
        if not judged.harmless:
            draft.set("augmentation", flip, 0.0, judged.reason)
    (low, high), (least, most) = draft.result.augmentation.rotation_degrees, orientation.degrees
    if low < least or high > most:
        why = "not upside down, as a flip is left out"
        limits = (max(low, least), min(high, most))
        draft.set("augmentation", "rotation_degrees", limits, why)


def _heed_scale(draft: Draft, cases: Sequence[Case]) -> None:
    """Values of an unknown scale do not vary."""
    try:
        e = draft.result
        size = (e.model.image_height, e.model.image_width)
        refuse_unscaled(RecipePolicy(e.augmentation), e.image, size, cases)
    except DataError:
        why = "the range of the images' values is unknown; set [image] window to vary them"
        for key in PHOTOMETRIC:
            draft.set("augmentation", key, 0.0, why)


def repair_views(draft: Draft, orientation: Orientation) -> None:
    """Predictions averaged over the flips that training has seen and that are harmless."""
    augmentation = draft.result.augmentation
    if not (recipe.TTA and augmentation.enabled) or draft.given("infer", "tta"):
        return
    if draft.result.infer.tta:
        return
    views = _flipped_views(augmentation, orientation)
    if views:
        why = "the mean over mirrored images is better, as training mirrors them too; it takes "
        times = "four times" if len(views) == 1 and views[0] == "flips" else "twice"
        draft.set("infer", "tta", views, f"{why}{times} as long to predict")


def _flipped_views(augmentation: AugmentationConfig, orientation: Orientation) -> list[str]:
    flips: list[str] = [flip for flip in orientation.harmless if getattr(augmentation, flip) > 0]
    return ["flips"] if len(flips) == 2 else flips


def notes(experiment: Experiment) -> Iterator[str]:
    """What would help, and is not the repair's to change."""
    model, dataset = experiment.model, experiment.dataset
    key = _PLAIN.get(_network(model), "")
    if key and is_plain(model):
        yield (
            f"[model] {key} = true (batch normalisation) would help this network, but make it "
            "another one, which cannot load the old weights; the repair leaves it."
        )
    if is_saturated(model):
        yield (
            "The network takes pixels as 0..255 and has no normalisation, so that it tolerates "
            "only a small learning rate: that of the old config stays."
        )
    if dataset.group is None:
        yield (
            "Without [dataset] group, each image counts as a patient of its own. If several are "
            "of one patient, name the group, so that splits and intervals respect it."
        )
    valid, test = experiment.valid.images_dir, experiment.test.images_dir
    if valid is not None and valid == test:
        yield (
            "The validation images are the test images, so that the best epoch is chosen on the "
            "test set, for both configs. The repair keeps the splits: name other validation "
            "images."
        )
