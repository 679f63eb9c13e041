"""Losses and training metrics by name, written in `keras.ops` for every backend.

Each function takes `y` and `p`, both float32 [B, H, W, C]: the target one-hot (or one 0/1
channel) and the predicted probabilities. It returns a scalar, or one value per image [B].
"Batch" in a docstring means that sums run over all images of the batch at once, as in the
original systems, so that the value depends on the batch size.

The third argument `w`, float32 [B, H, W, 1], is 1 where a pixel counts and 0 where it is ignored;
None, which costs nothing: all count. Of what is left, values are as if there were nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from inspect import signature
from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from flexseg.backend import Tensor
from flexseg.dataset.ignored.pixels import IGNORED
from flexseg.errors import ConfigError
from flexseg.registry import Registry

Formula = Callable[..., Tensor]
Head = Literal["binary", "multiclass", "any"]

EPSILON = 1e-7
# The metric that scores cases as an evaluation does, see `dice`.
DICE = "dice"


@dataclass(frozen=True)
class Score:
    """A loss or metric of the registry.

    Attributes
    ----------
    formula : (y, p, w) to a scalar or a value per image, see the module; of (y, p) alone it is not
        for data with ignored pixels.
    head : which networks it is for; the others get an error that proposes another.
    """

    formula: Formula
    head: Head

    @property
    def leaves_out(self) -> bool:
        """Whether the formula can leave out pixels."""
        return "w" in signature(self.formula).parameters


LOSSES: Registry[Score] = Registry("loss")
METRICS: Registry[Score] = Registry("metric")


def _loss(name: str, *aliases: str, head: Head = "any") -> Callable[[Formula], Formula]:
    def add(formula: Formula) -> Formula:
        LOSSES.register(name, *aliases)(Score(formula, head))
        return formula

    return add


def _metric(name: str, *aliases: str, head: Head = "any") -> Callable[[Formula], Formula]:
    def add(formula: Formula) -> Formula:
        METRICS.register(name, *aliases)(Score(formula, head))
        return formula

    return add


def _clip(p: Tensor) -> Tensor:
    return ops.clip(p, EPSILON, 1 - EPSILON)


def _mean(values: Tensor, w: Tensor | None) -> Tensor:
    """Mean of [B, H, W] or [B, H, W, C] over the pixels of each image that count, 0 without any."""
    if w is None:
        return ops.mean(values, axis=tuple(range(1, len(values.shape))))
    of_pixels = ops.mean(values, axis=-1) if len(values.shape) == 4 else values
    w = w[..., 0]
    return ops.sum(of_pixels * w, axis=(1, 2)) / ops.maximum(ops.sum(w, axis=(1, 2)), 1.0)


def _counted(y: Tensor, p: Tensor, w: Tensor | None) -> tuple[Tensor, Tensor]:
    """Target and prediction for sums: 0 in both where pixels are ignored."""
    return (y, p) if w is None else (y * w, p * w)


def _smooth_ratio(numerator: Tensor, denominator: Tensor, smooth: float) -> Tensor:
    return (numerator + smooth) / (denominator + smooth)


# --- cross-entropies -----------------------------------------------------------------------


@_loss("categorical_crossentropy", head="multiclass")
@_metric("categorical_crossentropy", head="multiclass")
def categorical_crossentropy(y: Tensor, p: Tensor, w: Tensor | None = None) -> Tensor:
    """Mean over pixels of -sum_c y log p, with p renormalised to sum 1 (as in Keras)."""
    p = p / ops.maximum(ops.sum(p, axis=-1, keepdims=True), EPSILON)
    return _mean(-ops.sum(y * ops.log(_clip(p)), axis=-1), w)


@_loss("binary_crossentropy", head="binary")
@_metric("binary_crossentropy", head="binary")
def binary_crossentropy(y: Tensor, p: Tensor, w: Tensor | None = None) -> Tensor:
    """Mean over pixels of -(y log p + (1 - y) log(1 - p))."""
    p = _clip(p)
    return _mean(-(y * ops.log(p) + (1 - y) * ops.log(1 - p)), w)


def _crossentropy(y: Tensor, p: Tensor, w: Tensor | None = None) -> Tensor:
    """The cross-entropy of the head: binary for one channel, categorical for several."""
    return binary_crossentropy(y, p, w) if p.shape[-1] == 1 else categorical_crossentropy(y, p, w)


@_loss("focal_loss", "focal", "categorical_focal_crossentropy", "binary_focal_crossentropy")
def focal_loss(y: Tensor, p: Tensor, w: Tensor | None = None, gamma: float = 2.0) -> Tensor:
    """Mean of -(1 - p_t)^gamma log p_t; Lin et al. 2017, "Focal loss for dense object detection".

    p_t is the probability of the true class.
    """
    p = _clip(p)
    true = y * p + (1 - y) * (1 - p) if p.shape[-1] == 1 else ops.sum(y * p, axis=-1, keepdims=True)
    return _mean(-ops.power(1 - true, gamma) * ops.log(true), w)


# --- overlap scores of the original systems -------------------------------------------------


@_metric("dice_coef")
def dice_coef(y: Tensor, p: Tensor, w: Tensor | None = None) -> Tensor:
    """(2 sum yp + 1) / (sum y + sum p + 1), batch; soft p."""
    y, p = _counted(y, p, w)
    return _smooth_ratio(2 * ops.sum(y * p), ops.sum(y) + ops.sum(p), 1.0)


@_loss("dice_loss")
def dice_loss(y: Tensor, p: Tensor, w: Tensor | None = None) -> Tensor:
    """1 - dice_coef, batch."""
    return 1 - dice_coef(y, p, w)


@_loss("bce_dice_loss", head="binary")
def bce_dice_loss(y: Tensor, p: Tensor, w: Tensor | None = None) -> Tensor:
    """(binary_crossentropy + dice_loss) / 2, the dice part over the batch."""
    return 0.5 * (binary_crossentropy(y, p, w) + dice_loss(y, p, w))


@_metric("iou_coef", "jacard_similarity", "jaccard_similarity")
def iou_coef(y: Tensor, p: Tensor, w: Tensor | None = None) -> Tensor:
    """sum yp / sum(y + p - yp), batch, without smoothing; 1 where both are empty.

    The originals give NaN for 0/0; a sigmoid is never exactly 0, so published values hold.
    """
    y, p = _counted(y, p, w)
    intersection = ops.sum(y * p)
    union = ops.sum(y + p - y * p)
    empty = ops.cast(union < EPSILON, union.dtype)
    return (intersection + empty) / (union + empty)


@_loss("iou_loss", "jacard_loss", "jaccard_loss")
def iou_loss(y: Tensor, p: Tensor, w: Tensor | None = None) -> Tensor:
    """1 - iou_coef, batch."""
    return 1 - iou_coef(y, p, w)


@_loss("bce_iou_loss", head="binary")
def bce_iou_loss(y: Tensor, p: Tensor, w: Tensor | None = None) -> Tensor:
    """(binary_crossentropy + iou_loss) / 2, the overlap part over the batch."""
    return 0.5 * (binary_crossentropy(y, p, w) + iou_loss(y, p, w))


@_loss("ssim_loss")
def ssim_loss(y: Tensor, p: Tensor, w: Tensor | None = None) -> Tensor:
    """1 - structural similarity of target and probability, per image.

    Wang et al. 2004: 11 x 11 Gaussian of sigma 1.5, K = (0.01, 0.03), values 0..1, valid
    borders. Needs images of at least 11 pixels. A window with an ignored pixel does not count.
    """
    offsets = np.arange(11) - 5.0
    line = np.exp(-(offsets**2) / (2 * 1.5**2))
    window = np.outer(line, line)
    channels = int(p.shape[-1])
    kernel = ops.convert_to_tensor(
        np.repeat((window / window.sum())[:, :, None, None], channels, axis=2).astype("float32")
    )

    def blur(x: Tensor) -> Tensor:
        return ops.depthwise_conv(x, kernel, padding="valid")

    mean_y, mean_p = blur(y), blur(p)
    c1, c2 = 0.01**2, 0.03**2
    luminance = (2 * mean_y * mean_p + c1) / (mean_y**2 + mean_p**2 + c1)
    covariance = 2 * blur(y * p) - 2 * mean_y * mean_p
    variance = blur(y**2 + p**2) - mean_y**2 - mean_p**2
    whole = None if w is None else 1 - ops.max_pool(1 - w, 11, strides=1, padding="valid")
    # 1 - similarity within the mean: without any window the loss is 0.
    if whole is not None:
        return _mean(1 - luminance * (covariance + c2) / (variance + c2), whole)
    return 1 - ops.mean(luminance * (covariance + c2) / (variance + c2), axis=(1, 2, 3))


@_loss("basnet_hybrid_loss", head="binary")
def basnet_hybrid_loss(y: Tensor, p: Tensor, w: Tensor | None = None) -> Tensor:
    """(binary_crossentropy + ssim_loss + iou_loss) / 3; Qin et al. 2021, BASNet."""
    return (binary_crossentropy(y, p, w) + ssim_loss(y, p, w) + iou_loss(y, p, w)) / 3


@_metric("dice_coef_multiclass")
def dice_coef_multiclass(y: Tensor, p: Tensor, w: Tensor | None = None) -> Tensor:
    """(2 sum yp + 1) / (sum y + sum p + 1) over pixels and classes, per image.

    The background is included, so that for a softmax this is about the mean probability of
    the true class: soft pixel accuracy, not Dice. Kept to compare with published numbers.
    """
    y, p = _counted(y, p, w)
    axes = (1, 2, 3)
    return _smooth_ratio(
        2 * ops.sum(y * p, axis=axes), ops.sum(y, axis=axes) + ops.sum(p, axis=axes), 1.0
    )


@_loss("dice_loss_multiclass")
def dice_loss_multiclass(y: Tensor, p: Tensor, w: Tensor | None = None) -> Tensor:
    """1 - dice_coef_multiclass, per image."""
    return 1 - dice_coef_multiclass(y, p, w)


def _foreground(y: Tensor) -> Tensor:
    return y if y.shape[-1] == 1 else y[..., 1:]


@_metric("dice_coef_foreground")
def dice_coef_foreground(y: Tensor, p: Tensor, w: Tensor | None = None) -> Tensor:
    """Mean over foreground classes of the soft Dice of each image, smoothing 1e-6."""
    y, p = _counted(_foreground(y), _foreground(p), w)
    dice = _smooth_ratio(
        2 * ops.sum(y * p, axis=(1, 2)), ops.sum(y, axis=(1, 2)) + ops.sum(p, axis=(1, 2)), 1e-6
    )
    return ops.mean(dice, axis=-1)


@_metric("dice_coef_hybrid")
def dice_coef_hybrid(y: Tensor, p: Tensor, w: Tensor | None = None) -> Tensor:
    """Mean of dice_coef_multiclass and dice_coef_foreground, per image."""
    return 0.5 * (dice_coef_multiclass(y, p, w) + dice_coef_foreground(y, p, w))


def overlap(
    y: Tensor, p: Tensor, w: Tensor | None = None, threshold: float = 0.5
) -> tuple[Tensor, Tensor]:
    """Of hard labels, pixels [B, classes] of each image and foreground class: those that target and
    prediction have in common, and those of both together.

    Parameters
    ----------
    threshold : probability above which a pixel is foreground (one class only).
    """
    channels = int(p.shape[-1])
    if channels == 1:
        hard = ops.cast(p > threshold, "float32")
    else:
        hard = ops.one_hot(_most_probable(p), channels, dtype="float32")
    y, hard = _counted(_foreground(y), _foreground(hard), w)
    axes = (1, 2)
    return ops.sum(y * hard, axis=axes), ops.sum(y, axis=axes) + ops.sum(hard, axis=axes)


def _most_probable(p: Tensor) -> Tensor:
    """Class ids [B, H, W]; the first of equals. `argmax` over so few takes four times as long."""
    best = p[..., 0]
    ids = ops.zeros_like(best)
    for class_id in range(1, int(p.shape[-1])):
        ids = ops.where(p[..., class_id] > best, float(class_id), ids)
        best = ops.maximum(best, p[..., class_id])
    return ops.cast(ids, "int32")


def mean_dice(common: Tensor, both: Tensor) -> Tensor:
    """Mean over classes of the mean Dice over cases; cases and classes with nothing do not count.

    Parameters
    ----------
    common, both : pixels [cases, classes], see `overlap`. Without any at all the mean is 0.
    """
    shown = ops.cast(both > 0, "float32")
    cases = ops.sum(shown, axis=0)
    dice = ops.sum(2 * common / ops.maximum(both, 1.0), axis=0) / ops.maximum(cases, 1.0)
    return ops.sum(dice) / ops.maximum(ops.sum(ops.cast(cases > 0, "float32")), 1.0)


@_metric(DICE)
def dice(y: Tensor, p: Tensor, w: Tensor | None = None) -> Tensor:
    """Dice of hard labels as an evaluation has it: the mean over classes of the mean over cases,
    of those that have the class in mask or prediction.

    Cases of a validation are its images (all patches of one together), or its volumes where
    `[volume] images_dir` names them, whose slices are taken together. While training, whose samples
    come at random, as many pools of samples take their place. The best weights are then those of
    the highest `val_dice`.
    """
    return mean_dice(*overlap(y, p, w))


@_loss("categorical_focal_dice_loss", head="multiclass")
def categorical_focal_dice_loss(y: Tensor, p: Tensor, w: Tensor | None = None) -> Tensor:
    """categorical_crossentropy + 1 - mean over pixels of (2 sum_c yp + 1e-6) / (2 + 1e-6).

    The original's name; it is neither focal nor Dice: the second term is 1 - mean p_true.
    """
    pixel = _smooth_ratio(2 * ops.sum(y * p, axis=-1), ops.sum(y, -1) + ops.sum(p, -1), 1e-6)
    if w is not None:  # 1 - pixel within the mean: without any pixel the loss is 0
        return categorical_crossentropy(y, p, w) + _mean(1 - pixel, w)
    return categorical_crossentropy(y, p) + 1 - ops.mean(pixel, axis=(1, 2))


# --- losses that practitioners choose today -------------------------------------------------


@_loss("dice_ce_loss", "dice_ce", "dice_crossentropy_loss")
def dice_ce_loss(y: Tensor, p: Tensor, w: Tensor | None = None) -> Tensor:
    """Cross-entropy + (1 - soft Dice of the foreground classes over the batch).

    Isensee et al. 2021 (nnU-Net). Summing over the batch keeps images without a class from
    asking for the impossible; a class that is absent from target and prediction counts as 1.
    """
    y_f, p_f = _counted(_foreground(y), _foreground(p), w)
    axes = (0, 1, 2)
    dice = _smooth_ratio(
        2 * ops.sum(y_f * p_f, axis=axes), ops.sum(y_f, axis=axes) + ops.sum(p_f, axis=axes), 1.0
    )
    return _crossentropy(y, p, w) + 1 - ops.mean(dice)


@_loss("tversky_loss", "tversky")
def tversky_loss(
    y: Tensor, p: Tensor, w: Tensor | None = None, alpha: float = 0.3, beta: float = 0.7
) -> Tensor:
    """1 - TP / (TP + alpha FP + beta FN) of the foreground classes over the batch.

    Salehi et al. 2017; beta > alpha punishes missed pixels more than false ones. Smoothing 1.
    """
    y, p = _counted(_foreground(y), _foreground(p), w)
    axes = (0, 1, 2)
    true = ops.sum(y * p, axis=axes)
    false_positive = ops.sum((1 - y) * p, axis=axes)
    false_negative = ops.sum(y * (1 - p), axis=axes)
    index = _smooth_ratio(true, true + alpha * false_positive + beta * false_negative, 1.0)
    return 1 - ops.mean(index)


# --- further metrics ------------------------------------------------------------------------


@_metric("sensitivity", "recall", head="binary")
def sensitivity(y: Tensor, p: Tensor, w: Tensor | None = None) -> Tensor:
    """True positives / positives at threshold 0.5, batch."""
    y, p = _counted(y, p, w)
    return ops.sum(ops.round(y * p)) / (ops.sum(ops.round(y)) + EPSILON)


@_metric("specificity", head="binary")
def specificity(y: Tensor, p: Tensor, w: Tensor | None = None) -> Tensor:
    """True negatives / negatives at threshold 0.5, batch."""
    y, p = _counted(1 - y, 1 - p, w)
    return ops.sum(ops.round(y * p)) / (ops.sum(ops.round(y)) + EPSILON)


@_metric("binary_accuracy", head="binary")
def binary_accuracy(y: Tensor, p: Tensor, w: Tensor | None = None) -> Tensor:
    """Share of pixels that are right at threshold 0.5, the background included."""
    hit = ops.equal(y, ops.cast(p > 0.5, y.dtype))
    return _mean(ops.cast(hit, "float32"), w)


@_metric("categorical_accuracy", head="multiclass")
def categorical_accuracy(y: Tensor, p: Tensor, w: Tensor | None = None) -> Tensor:
    """Share of pixels whose most probable class is right, the background included."""
    hit = ops.equal(ops.argmax(y, axis=-1), ops.argmax(p, axis=-1))
    return _mean(ops.cast(hit, "float32"), w)


@_metric("accuracy", "acc")
def accuracy(y: Tensor, p: Tensor, w: Tensor | None = None) -> Tensor:
    """binary_accuracy or categorical_accuracy, as the head is."""
    return binary_accuracy(y, p, w) if p.shape[-1] == 1 else categorical_accuracy(y, p, w)


# --- from class ids to the formulas -----------------------------------------------------------


def one_hot_target(labels: Tensor, channels: int) -> Tensor:
    """Class ids [B, H, W] (any number type) as float32 [B, H, W, channels].

    One channel: 1 where the id is not 0.
    """
    if len(labels.shape) == 4:
        labels = labels[..., 0]
    labels = ops.cast(labels, "int32")
    if channels == 1:
        return ops.cast(labels > 0, "float32")[..., None]
    return ops.one_hot(labels, channels, dtype="float32")


def on_labels(score: Score, *, ignoring: bool = False) -> Formula:
    """`score` on class ids [B, H, W] uint8 and probabilities [B, H, W, C] of any float type.

    Parameters
    ----------
    ignoring : pixels with the id IGNORED do not count; otherwise there are none.
    """

    def on_ids(labels: Tensor, p: Tensor) -> Tensor:
        p = ops.cast(p, "float32")
        channels = int(p.shape[-1])
        if not ignoring:
            return score.formula(one_hot_target(labels, channels), p)
        counts = ops.not_equal(labels, IGNORED)
        known = ops.where(counts, labels, ops.zeros_like(labels))
        w = ops.reshape(ops.cast(counts, "float32"), (*ops.shape(p)[:3], 1))
        return score.formula(one_hot_target(known, channels), p, w)

    return on_ids


def counted_shares(labels: Tensor) -> Tensor:
    """The share of each image's pixels that count, [B] float32, by class ids [B, H, W]."""
    counts = ops.cast(ops.not_equal(labels, IGNORED), "float32")
    return ops.mean(counts, axis=tuple(range(1, len(labels.shape))))


@keras.saving.register_keras_serializable("flexseg")
class LabelLoss(keras.losses.Loss):
    """A loss by its name as Keras' class, on class ids [B, H, W] and probabilities [B, H, W, C].

    Keras squeezes the channel of one-class predictions when it wraps a plain function.

    Parameters
    ----------
    score : one of LOSSES.
    ignoring : see `on_labels`. An image then weighs as much as the share of its pixels that
        count, so that all pixels of a batch weigh alike, as nnU-Net's ignore label has it.
    """

    def __init__(
        self, score: str, ignoring: bool = False, name: str | None = None, **keys: Any
    ) -> None:
        super().__init__(name=name or score, **keys)
        self.score = score
        self.ignoring = ignoring
        self.function = on_labels(LOSSES.get(score), ignoring=ignoring)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """The loss per image [B], or one scalar."""
        value = self.function(y_true, y_pred)
        if not self.ignoring or not len(value.shape):
            return value
        shares = counted_shares(y_true)
        return value * shares / ops.maximum(ops.mean(shares), EPSILON)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return super().get_config() | {"score": self.score, "ignoring": self.ignoring}


@keras.saving.register_keras_serializable("flexseg")
class LabelMetric(keras.metrics.MeanMetricWrapper):
    """The mean of a loss or metric over batches, on class ids [B, H, W] and probabilities.

    Parameters
    ----------
    score : one of METRICS or LOSSES.
    ignoring : see `LabelLoss`; here the pixels of all batches weigh alike.
    """

    def __init__(
        self, score: str, ignoring: bool = False, name: str | None = None, dtype: Any = None
    ) -> None:
        function = on_labels(_registry_of(score).get(score), ignoring=ignoring)
        super().__init__(function, name=name or score, dtype=dtype)
        self.score = score
        self.ignoring = ignoring

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor = None) -> Tensor:
        """Add a batch."""
        if not self.ignoring:
            return super().update_state(y_true, y_pred, sample_weight)
        value, shares = self._fn(y_true, y_pred), counted_shares(y_true)
        # The wrapper would take the function's value without its weight of the images.
        return keras.metrics.Mean.update_state(
            self, value, shares if len(value.shape) else ops.mean(shares)
        )

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            "score": self.score,
            "ignoring": self.ignoring,
            "name": self.name,
            "dtype": self.dtype,
        }


def keras_loss(name: str, channels: int, *, ignoring: bool = False) -> LabelLoss:
    """The loss called `name` for a network of `channels` outputs, as Keras takes it.

    Raises
    ------
    ConfigError : see `get_loss`.
    """
    get_loss(name, channels, ignoring=ignoring)
    return LabelLoss(name, ignoring)


def keras_metric(name: str, channels: int, *, ignoring: bool = False) -> LabelMetric:
    """The metric called `name`, see `keras_loss`; every loss can be a metric too."""
    get_metric(name, channels, ignoring=ignoring)
    return LabelMetric(name, ignoring)


def get_loss(name: str, channels: int, *, ignoring: bool = False) -> Formula:
    """The loss called `name` for a network of `channels` outputs, see `on_labels`.

    Raises
    ------
    ConfigError : unknown name, a loss for another kind of head, or one that cannot leave out
        pixels while some are to be ignored.
    """
    return _get(LOSSES, name, channels, "[model] loss", ignoring=ignoring)


def get_metric(name: str, channels: int, *, ignoring: bool = False) -> Formula:
    """The metric called `name`, see `get_loss`; every loss can be a metric too."""
    return _get(_registry_of(name), name, channels, "[model] metrics", ignoring=ignoring)


def _registry_of(metric: str) -> Registry[Score]:
    return LOSSES if metric in LOSSES and metric not in METRICS else METRICS


def _get(
    registry: Registry[Score], name: str, channels: int, where: str, *, ignoring: bool
) -> Formula:
    score = registry.get(name)
    head = "binary" if channels == 1 else "multiclass"
    if score.head not in ("any", head):
        fitting = ", ".join(n for n in registry if registry.get(n).head in ("any", head))
        raise ConfigError(
            f"{name!r} is for {'one class' if score.head == 'binary' else 'several classes'}, "
            f"but num_classes = {channels}.",
            f"Choose one of: {fitting}.",
            where,
        )
    if ignoring and not score.leaves_out:
        raise ConfigError(
            f"{name!r} has no argument w, so it cannot leave out the pixels that [mask] ignores.",
            "Add w: Tensor | None = None to its formula, see flexseg.losses, or choose another.",
            where,
        )
    return on_labels(score, ignoring=ignoring)


def weighted_mean(function: Formula, labels: Any, p: Any) -> float:
    """The value of a loss or metric for one batch, as Keras averages it; ignored pixels of
    images have no weight."""
    value = ops.convert_to_numpy(function(ops.convert_to_tensor(labels), ops.convert_to_tensor(p)))
    shares = (np.asarray(labels) != IGNORED).mean(axis=(1, 2))
    if value.ndim and shares.min() < 1 and shares.any():
        return float(np.average(value, weights=shares))
    return float(np.mean(value))
