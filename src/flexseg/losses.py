"""Losses and training metrics by name, written in `keras.ops` for every backend.

Each function takes `y` and `p`, both float32 [B, H, W, C]: the target one-hot (or one 0/1
channel) and the predicted probabilities. It returns a scalar, or one value per image [B].
"Batch" in a docstring means that sums run over all images of the batch at once, as in the
original systems, so that the value depends on the batch size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from flexseg.backend import Tensor
from flexseg.errors import ConfigError
from flexseg.registry import Registry

Formula = Callable[[Tensor, Tensor], Tensor]
Head = Literal["binary", "multiclass", "any"]

EPSILON = 1e-7


@dataclass(frozen=True)
class Score:
    """A loss or metric of the registry.

    Attributes
    ----------
    formula : (y, p) to a scalar or a value per image.
    head : which networks it is for; the others get an error that proposes another.
    """

    formula: Formula
    head: Head


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


def _smooth_ratio(numerator: Tensor, denominator: Tensor, smooth: float) -> Tensor:
    return (numerator + smooth) / (denominator + smooth)


# --- cross-entropies -----------------------------------------------------------------------


@_loss("categorical_crossentropy", head="multiclass")
@_metric("categorical_crossentropy", head="multiclass")
def categorical_crossentropy(y: Tensor, p: Tensor) -> Tensor:
    """Mean over pixels of -sum_c y log p, with p renormalised to sum 1 (as in Keras)."""
    p = p / ops.maximum(ops.sum(p, axis=-1, keepdims=True), EPSILON)
    return ops.mean(-ops.sum(y * ops.log(_clip(p)), axis=-1), axis=(1, 2))


@_loss("binary_crossentropy", head="binary")
@_metric("binary_crossentropy", head="binary")
def binary_crossentropy(y: Tensor, p: Tensor) -> Tensor:
    """Mean over pixels of -(y log p + (1 - y) log(1 - p))."""
    p = _clip(p)
    return ops.mean(-(y * ops.log(p) + (1 - y) * ops.log(1 - p)), axis=(1, 2, 3))


def _crossentropy(y: Tensor, p: Tensor) -> Tensor:
    """The cross-entropy of the head: binary for one channel, categorical for several."""
    return binary_crossentropy(y, p) if p.shape[-1] == 1 else categorical_crossentropy(y, p)


@_loss("focal_loss", "focal", "categorical_focal_crossentropy", "binary_focal_crossentropy")
def focal_loss(y: Tensor, p: Tensor, gamma: float = 2.0) -> Tensor:
    """Mean of -(1 - p_t)^gamma log p_t; Lin et al. 2017, "Focal loss for dense object detection".

    p_t is the probability of the true class.
    """
    p = _clip(p)
    true = y * p + (1 - y) * (1 - p) if p.shape[-1] == 1 else ops.sum(y * p, axis=-1, keepdims=True)
    return ops.mean(-ops.power(1 - true, gamma) * ops.log(true), axis=(1, 2, 3))


# --- overlap scores of the original systems -------------------------------------------------


@_metric("dice_coef")
def dice_coef(y: Tensor, p: Tensor) -> Tensor:
    """(2 sum yp + 1) / (sum y + sum p + 1), batch; soft p."""
    return _smooth_ratio(2 * ops.sum(y * p), ops.sum(y) + ops.sum(p), 1.0)


@_loss("dice_loss")
def dice_loss(y: Tensor, p: Tensor) -> Tensor:
    """1 - dice_coef, batch."""
    return 1 - dice_coef(y, p)


@_loss("bce_dice_loss", head="binary")
def bce_dice_loss(y: Tensor, p: Tensor) -> Tensor:
    """(binary_crossentropy + dice_loss) / 2, the dice part over the batch."""
    return 0.5 * (binary_crossentropy(y, p) + dice_loss(y, p))


@_metric("iou_coef", "jacard_similarity", "jaccard_similarity")
def iou_coef(y: Tensor, p: Tensor) -> Tensor:
    """sum yp / sum(y + p - yp), batch, without smoothing; 1 where both are empty.

    The originals give NaN for 0/0; a sigmoid is never exactly 0, so published values hold.
    """
    intersection = ops.sum(y * p)
    union = ops.sum(y + p - y * p)
    empty = ops.cast(union < EPSILON, union.dtype)
    return (intersection + empty) / (union + empty)


@_loss("iou_loss", "jacard_loss", "jaccard_loss")
def iou_loss(y: Tensor, p: Tensor) -> Tensor:
    """1 - iou_coef, batch."""
    return 1 - iou_coef(y, p)


@_loss("bce_iou_loss", head="binary")
def bce_iou_loss(y: Tensor, p: Tensor) -> Tensor:
    """(binary_crossentropy + iou_loss) / 2, the overlap part over the batch."""
    return 0.5 * (binary_crossentropy(y, p) + iou_loss(y, p))


@_loss("ssim_loss")
def ssim_loss(y: Tensor, p: Tensor) -> Tensor:
    """1 - structural similarity of target and probability, per image.

    Wang et al. 2004: 11 x 11 Gaussian of sigma 1.5, K = (0.01, 0.03), values 0..1, valid
    borders. Needs images of at least 11 pixels.
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
    return 1 - ops.mean(luminance * (covariance + c2) / (variance + c2), axis=(1, 2, 3))


@_loss("basnet_hybrid_loss", head="binary")
def basnet_hybrid_loss(y: Tensor, p: Tensor) -> Tensor:
    """(binary_crossentropy + ssim_loss + iou_loss) / 3; Qin et al. 2021, BASNet."""
    return (binary_crossentropy(y, p) + ssim_loss(y, p) + iou_loss(y, p)) / 3


@_metric("dice_coef_multiclass")
def dice_coef_multiclass(y: Tensor, p: Tensor) -> Tensor:
    """(2 sum yp + 1) / (sum y + sum p + 1) over pixels and classes, per image.

    The background is included, so that for a softmax this is about the mean probability of
    the true class: soft pixel accuracy, not Dice. Kept to compare with published numbers.
    """
    axes = (1, 2, 3)
    return _smooth_ratio(
        2 * ops.sum(y * p, axis=axes), ops.sum(y, axis=axes) + ops.sum(p, axis=axes), 1.0
    )


@_loss("dice_loss_multiclass")
def dice_loss_multiclass(y: Tensor, p: Tensor) -> Tensor:
    """1 - dice_coef_multiclass, per image."""
    return 1 - dice_coef_multiclass(y, p)


def _foreground(y: Tensor) -> Tensor:
    return y if y.shape[-1] == 1 else y[..., 1:]


@_metric("dice_coef_foreground")
def dice_coef_foreground(y: Tensor, p: Tensor) -> Tensor:
    """Mean over foreground classes of the soft Dice of each image, smoothing 1e-6."""
    y, p = _foreground(y), _foreground(p)
    dice = _smooth_ratio(
        2 * ops.sum(y * p, axis=(1, 2)), ops.sum(y, axis=(1, 2)) + ops.sum(p, axis=(1, 2)), 1e-6
    )
    return ops.mean(dice, axis=-1)


@_metric("dice_coef_hybrid")
def dice_coef_hybrid(y: Tensor, p: Tensor) -> Tensor:
    """Mean of dice_coef_multiclass and dice_coef_foreground, per image."""
    return 0.5 * (dice_coef_multiclass(y, p) + dice_coef_foreground(y, p))


@_loss("categorical_focal_dice_loss", head="multiclass")
def categorical_focal_dice_loss(y: Tensor, p: Tensor) -> Tensor:
    """categorical_crossentropy + 1 - mean over pixels of (2 sum_c yp + 1e-6) / (2 + 1e-6).

    The original's name; it is neither focal nor Dice: the second term is 1 - mean p_true.
    """
    pixel = _smooth_ratio(2 * ops.sum(y * p, axis=-1), ops.sum(y, -1) + ops.sum(p, -1), 1e-6)
    return categorical_crossentropy(y, p) + 1 - ops.mean(pixel, axis=(1, 2))


# --- losses that practitioners choose today -------------------------------------------------


@_loss("dice_ce_loss", "dice_ce", "dice_crossentropy_loss")
def dice_ce_loss(y: Tensor, p: Tensor) -> Tensor:
    """Cross-entropy + (1 - soft Dice of the foreground classes over the batch).

    Isensee et al. 2021 (nnU-Net). Summing over the batch keeps images without a class from
    asking for the impossible; a class that is absent from target and prediction counts as 1.
    """
    y_f, p_f = _foreground(y), _foreground(p)
    axes = (0, 1, 2)
    dice = _smooth_ratio(
        2 * ops.sum(y_f * p_f, axis=axes), ops.sum(y_f, axis=axes) + ops.sum(p_f, axis=axes), 1.0
    )
    return _crossentropy(y, p) + 1 - ops.mean(dice)


@_loss("tversky_loss", "tversky")
def tversky_loss(y: Tensor, p: Tensor, alpha: float = 0.3, beta: float = 0.7) -> Tensor:
    """1 - TP / (TP + alpha FP + beta FN) of the foreground classes over the batch.

    Salehi et al. 2017; beta > alpha punishes missed pixels more than false ones. Smoothing 1.
    """
    y, p = _foreground(y), _foreground(p)
    axes = (0, 1, 2)
    true = ops.sum(y * p, axis=axes)
    false_positive = ops.sum((1 - y) * p, axis=axes)
    false_negative = ops.sum(y * (1 - p), axis=axes)
    index = _smooth_ratio(true, true + alpha * false_positive + beta * false_negative, 1.0)
    return 1 - ops.mean(index)


# --- further metrics ------------------------------------------------------------------------


@_metric("sensitivity", "recall", head="binary")
def sensitivity(y: Tensor, p: Tensor) -> Tensor:
    """True positives / positives at threshold 0.5, batch."""
    return ops.sum(ops.round(y * p)) / (ops.sum(ops.round(y)) + EPSILON)


@_metric("specificity", head="binary")
def specificity(y: Tensor, p: Tensor) -> Tensor:
    """True negatives / negatives at threshold 0.5, batch."""
    return ops.sum(ops.round((1 - y) * (1 - p))) / (ops.sum(ops.round(1 - y)) + EPSILON)


@_metric("binary_accuracy", head="binary")
def binary_accuracy(y: Tensor, p: Tensor) -> Tensor:
    """Share of pixels that are right at threshold 0.5, the background included."""
    hit = ops.equal(y, ops.cast(p > 0.5, y.dtype))
    return ops.mean(ops.cast(hit, "float32"), axis=(1, 2, 3))


@_metric("categorical_accuracy", head="multiclass")
def categorical_accuracy(y: Tensor, p: Tensor) -> Tensor:
    """Share of pixels whose most probable class is right, the background included."""
    hit = ops.equal(ops.argmax(y, axis=-1), ops.argmax(p, axis=-1))
    return ops.mean(ops.cast(hit, "float32"), axis=(1, 2))


@_metric("accuracy", "acc")
def accuracy(y: Tensor, p: Tensor) -> Tensor:
    """binary_accuracy or categorical_accuracy, as the head is."""
    return binary_accuracy(y, p) if p.shape[-1] == 1 else categorical_accuracy(y, p)


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


def on_labels(score: Score) -> Formula:
    """`score` on class ids [B, H, W] uint8 and probabilities [B, H, W, C] of any float type."""

    def on_ids(labels: Tensor, p: Tensor) -> Tensor:
        p = ops.cast(p, "float32")
        return score.formula(one_hot_target(labels, int(p.shape[-1])), p)

    return on_ids


@keras.saving.register_keras_serializable("flexseg")
class LabelLoss(keras.losses.Loss):
    """A loss by its name as Keras' class, on class ids [B, H, W] and probabilities [B, H, W, C].

    Keras squeezes the channel of one-class predictions when it wraps a plain function.

    Parameters
    ----------
    score : one of LOSSES.
    """

    def __init__(self, score: str, name: str | None = None, **keys: Any) -> None:
        super().__init__(name=name or score, **keys)
        self.score = score
        self.function = on_labels(LOSSES.get(score))

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """The loss per image [B], or one scalar."""
        return self.function(y_true, y_pred)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return super().get_config() | {"score": self.score}


@keras.saving.register_keras_serializable("flexseg")
class LabelMetric(keras.metrics.MeanMetricWrapper):
    """The mean of a loss or metric over batches, on class ids [B, H, W] and probabilities.

    Parameters
    ----------
    score : one of METRICS or LOSSES.
    """

    def __init__(self, score: str, name: str | None = None, dtype: Any = None) -> None:
        super().__init__(on_labels(_registry_of(score).get(score)), name=name or score, dtype=dtype)
        self.score = score

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"score": self.score, "name": self.name, "dtype": self.dtype}


def keras_loss(name: str, channels: int) -> LabelLoss:
    """The loss called `name` for a network of `channels` outputs, as Keras takes it.

    Raises
    ------
    ConfigError : unknown name, or a loss for another kind of head.
    """
    get_loss(name, channels)
    return LabelLoss(name)


def keras_metric(name: str, channels: int) -> LabelMetric:
    """The metric called `name`, see `keras_loss`; every loss can be a metric too."""
    get_metric(name, channels)
    return LabelMetric(name)


def get_loss(name: str, channels: int) -> Formula:
    """The loss called `name` for a network of `channels` outputs.

    Raises
    ------
    ConfigError : unknown name, or a loss for another kind of head.
    """
    return _get(LOSSES, name, channels, "[model] loss")


def get_metric(name: str, channels: int) -> Formula:
    """The metric called `name`, see `get_loss`; every loss can be a metric too."""
    return _get(_registry_of(name), name, channels, "[model] metrics")


def _registry_of(metric: str) -> Registry[Score]:
    return LOSSES if metric in LOSSES and metric not in METRICS else METRICS


def _get(registry: Registry[Score], name: str, channels: int, where: str) -> Formula:
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
    return on_labels(score)


def weighted_mean(function: Formula, labels: Any, p: Any) -> float:
    """The value of a loss or metric for one batch, as Keras averages it."""
    value = function(ops.convert_to_tensor(labels), ops.convert_to_tensor(p))
    return float(np.mean(ops.convert_to_numpy(value)))
