"""Losses and metrics: known numbers, and the contract that every registered one keeps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from flexseg.dataset.ignored.pixels import IGNORED
from flexseg.errors import ConfigError
from flexseg.losses import (
    LOSSES,
    METRICS,
    Score,
    get_loss,
    get_metric,
    keras_loss,
    keras_metric,
    one_hot_target,
    weighted_mean,
)

HEADS = {"binary": 1, "multiclass": 3}
SIZE = (14, 12)


def _entries(registry: Any) -> list[Any]:
    """(name, channels) for each entry and each head that it is for."""
    return [
        pytest.param(name, channels, id=f"{name}-{head}")
        for name in registry
        for head, channels in HEADS.items()
        if registry.get(name).head in ("any", head)
    ]


@pytest.fixture(autouse=True)
def float32() -> Iterator[None]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    yield
    keras.config.set_dtype_policy(before)


def _labels(channels: int) -> NDArray[np.uint8]:
    """Two different images in which every class occurs."""
    labels = np.zeros((2, *SIZE), np.uint8)
    labels[0, 2:8, 3:9] = 1
    labels[1, 5:7, 1:11] = 1
    if channels > 1:
        labels[:, 10:13, 2:10] = 2
    return labels


def _one_hot(labels: NDArray[np.uint8], channels: int) -> NDArray[np.float32]:
    if channels == 1:
        return (labels > 0).astype(np.float32)[..., None]
    return np.eye(channels, dtype=np.float32)[labels]


def _random_probabilities(channels: int, seed: int = 0) -> NDArray[np.float32]:
    logits = np.random.default_rng(seed).normal(size=(2, *SIZE, channels))
    if channels == 1:
        return (1 / (1 + np.exp(-logits))).astype(np.float32)
    e = np.exp(logits)
    return (e / e.sum(-1, keepdims=True)).astype(np.float32)


def _loss(name: str, labels: Any, p: Any) -> float:
    return weighted_mean(get_loss(name, p.shape[-1]), labels, p)


def _metric(name: str, labels: Any, p: Any) -> float:
    return weighted_mean(get_metric(name, p.shape[-1]), labels, p)


class FreeProbabilities(keras.layers.Layer):
    """Outputs trainable probabilities."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.logits = self.add_weight(shape=(*SIZE, channels), name="logits")
        self.head = keras.activations.sigmoid if channels == 1 else keras.activations.softmax

    def call(self, x: Any) -> Any:
        return self.head(x + self.logits)


def _step(
    name: str, channels: int, rate: float, labels: NDArray[np.uint8] | None = None
) -> tuple[float, float, NDArray]:
    """Loss before and after one step of gradient descent, and the gradient of the logits.

    Some of `labels` may be ignored; without them none are.
    """
    ignoring = labels is not None
    labels = _labels(channels)[:1] if labels is None else labels
    start = np.random.default_rng(1).normal(size=(*SIZE, channels)).astype(np.float32)
    layer = FreeProbabilities(channels)
    layer.logits.assign(start)
    inputs = keras.Input((*SIZE, channels))
    model = keras.Model(inputs, layer(inputs))
    loss = keras_loss(name, channels, ignoring=ignoring)
    model.compile(optimizer=keras.optimizers.SGD(rate), loss=loss, jit_compile=False)
    x = np.zeros((1, *SIZE, channels), np.float32)
    before = float(np.mean(model.train_on_batch(x, labels)))
    after = float(np.mean(model.test_on_batch(x, labels)))
    moved = keras.ops.convert_to_numpy(layer.logits) - start
    return before, after, -moved / rate


@pytest.mark.parametrize(("name", "channels"), _entries(LOSSES))
class TestLossContract:
    def test_gradient_leads_down(self, name: str, channels: int) -> None:
        before, after, gradient = _step(name, channels, rate=0.5)
        assert np.isfinite(gradient).all()
        assert np.abs(gradient).max() > 1e-6
        assert after < before

    def test_perfect_prediction_is_the_optimum(self, name: str, channels: int) -> None:
        labels = _labels(channels)
        perfect = _loss(name, labels, _one_hot(labels, channels))
        good = 0.9 * _one_hot(labels, channels) + 0.1 * _random_probabilities(channels)
        assert perfect == pytest.approx(0, abs=1e-4)
        assert perfect < _loss(name, labels, good)
        assert _loss(name, labels, good) < _loss(name, labels, _random_probabilities(channels))

    @pytest.mark.parametrize("predicted", ["nothing", "everything"])
    def test_empty_mask_is_finite(self, name: str, channels: int, predicted: str) -> None:
        labels = np.zeros((2, *SIZE), np.uint8)
        everything = np.full_like(labels, channels - 1 or 1)
        p = _one_hot(everything if predicted == "everything" else labels, channels)
        value = _loss(name, labels, p)
        assert np.isfinite(value)
        if predicted == "nothing":
            assert value == pytest.approx(0, abs=1e-4)
        else:
            assert value > 0.3


@pytest.mark.parametrize(("name", "channels"), _entries(METRICS))
class TestMetricContract:
    def test_perfect_prediction_is_the_best(self, name: str, channels: int) -> None:
        labels = _labels(channels)
        perfect = _metric(name, labels, _one_hot(labels, channels))
        random = _metric(name, labels, _random_probabilities(channels))
        if name.endswith("crossentropy"):
            assert perfect == pytest.approx(0, abs=1e-5) and random > 0.3
        else:
            assert perfect == pytest.approx(1, abs=1e-5)
            assert 0 <= random < 0.9

    def test_empty_mask_is_finite(self, name: str, channels: int) -> None:
        labels = np.zeros((2, *SIZE), np.uint8)
        for p in (_one_hot(labels, channels), _random_probabilities(channels)):
            assert np.isfinite(_metric(name, labels, p))

    def test_keras_reports_the_same_value(self, name: str, channels: int) -> None:
        labels, p = _labels(channels), _random_probabilities(channels)
        inputs = keras.Input((*SIZE, channels))
        model = keras.Model(inputs, keras.layers.Identity()(inputs))
        loss, metric = keras_loss("dice_loss", channels), keras_metric(name, channels)
        model.compile(loss=loss, metrics=[metric], jit_compile=False)
        reported = model.evaluate(p, labels, verbose=0, return_dict=True)
        assert reported[name] == pytest.approx(_metric(name, labels, p), rel=1e-4)


def _left_of(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Labels with as much again on their right, all of it ignored."""
    return np.concatenate([labels, np.full_like(labels, IGNORED)], axis=2)


@pytest.mark.parametrize(("name", "channels"), [*_entries(LOSSES), *_entries(METRICS)])
class TestIgnoredPixels:
    def test_value_is_that_of_the_image_without_them(self, name: str, channels: int) -> None:
        labels, p = _labels(channels), _random_probabilities(channels)
        get = get_loss if name in LOSSES else get_metric
        wide = np.concatenate([p, _random_probabilities(channels, seed=3)], axis=2)
        found = weighted_mean(get(name, channels, ignoring=True), _left_of(labels), wide)
        assert found == pytest.approx(
            weighted_mean(get(name, channels), labels, p), rel=1e-5, abs=1e-7
        )

    def test_what_is_predicted_there_does_not_matter(self, name: str, channels: int) -> None:
        labels = _left_of(_labels(channels))
        p = np.concatenate([_random_probabilities(channels)] * 2, axis=2)
        other = p.copy()
        other[labels == IGNORED] = _one_hot(np.zeros((1, 1), np.uint8), channels)[0, 0]
        get = get_loss if name in LOSSES else get_metric
        function = get(name, channels, ignoring=True)
        assert weighted_mean(function, labels, p) == weighted_mean(function, labels, other)

    def test_an_image_of_nothing_else_has_no_weight(self, name: str, channels: int) -> None:
        labels, p = _labels(channels), _random_probabilities(channels)
        labels[1] = IGNORED
        for make, first in ((keras_loss, name in LOSSES), (keras_metric, True)):
            if not first:
                continue
            both, one = (make(name, channels, ignoring=True) for _ in range(2))
            values = (both(labels, p), one(labels[:1], p[:1]))
            assert float(values[0]) == pytest.approx(float(values[1]), rel=1e-5, abs=1e-7)


@pytest.mark.parametrize(("name", "channels"), _entries(LOSSES))
def test_ignored_pixels_have_no_gradient(name: str, channels: int) -> None:
    labels = _labels(channels)[:1]
    labels[:, :, -1] = IGNORED
    _, _, gradient = _step(name, channels, rate=0.5, labels=labels)
    assert (gradient[:, -1] == 0).all()
    assert np.isfinite(gradient).all() and np.abs(gradient[:, :-1]).max() > 1e-6


def test_pixels_of_all_images_weigh_alike() -> None:
    """A single pixel that counts in the first image, all in the second, as nnU-Net has it."""
    labels, p = _labels(3), _random_probabilities(3)
    labels[0].flat[1:] = IGNORED
    true = np.take_along_axis(p, np.minimum(labels, 2)[..., None].astype(int), axis=-1)[..., 0]
    expected = -np.log(true[labels != IGNORED]).mean()
    name = "categorical_crossentropy"
    loss = keras_loss(name, 3, ignoring=True)(labels, p)
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    metric = keras_metric(name, 3, ignoring=True)
    metric.update_state(labels[:1], p[:1])
    metric.update_state(labels[1:], p[1:])
    assert float(metric.result()) == pytest.approx(expected, rel=1e-5)


def test_a_loss_that_cannot_leave_out_pixels_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    everywhere = Score(lambda y, p: keras.ops.mean(y - p), "any")
    monkeypatch.setitem(LOSSES._entries, "everywhere", everywhere)
    monkeypatch.setitem(LOSSES._aliases, "everywhere", "everywhere")
    get_loss("everywhere", 1)
    with pytest.raises(ConfigError, match="cannot leave out"):
        get_loss("everywhere", 1, ignoring=True)


class TestFormulas:
    """Numbers computed in NumPy from the formulas that the original systems document."""

    def test_dice_coef_sums_over_the_batch(self) -> None:
        labels, p = _labels(1), _random_probabilities(1)
        y = _one_hot(labels, 1).astype(np.float64)
        batch = (2 * (y * p).sum() + 1) / (y.sum() + p.sum() + 1)
        by_image = np.mean(
            [(2 * (a * b).sum() + 1) / (a.sum() + b.sum() + 1) for a, b in zip(y, p, strict=True)]
        )
        assert abs(batch - by_image) > 1e-3
        assert _metric("dice_coef", labels, p) == pytest.approx(batch, rel=1e-5)
        assert _loss("dice_loss", labels, p) == pytest.approx(1 - batch, rel=1e-5)

    def test_iou_is_over_the_batch_and_not_smoothed(self) -> None:
        labels, p = _labels(1), _random_probabilities(1)
        y = _one_hot(labels, 1).astype(np.float64)
        expected = (y * p).sum() / (y + p - y * p).sum()
        for name in ("iou_coef", "jacard_similarity"):
            assert _metric(name, labels, p) == pytest.approx(expected, rel=1e-5)
        for name in ("iou_loss", "jacard_loss"):
            assert _loss(name, labels, p) == pytest.approx(1 - expected, rel=1e-5)

    def test_iou_of_nothing_with_nothing_is_one(self) -> None:
        nothing = np.zeros((1, 4, 4, 1), np.float32)
        assert _metric("iou_coef", nothing[..., 0].astype(np.uint8), nothing) == 1

    def test_iou_of_one_wrong_pixel_with_nothing_is_zero(self) -> None:
        p = np.zeros((1, 4, 4, 1), np.float32)
        p[0, 1, 2] = 1
        assert _metric("iou_coef", np.zeros((1, 4, 4), np.uint8), p) == 0

    def test_dice_coef_multiclass_is_the_mean_probability_of_the_truth(self) -> None:
        labels, p = _labels(3), _random_probabilities(3)
        true = np.take_along_axis(p, labels[..., None].astype(int), axis=-1)
        area = labels[0].size
        expected = np.mean((2 * true.sum(axis=(1, 2, 3)) + 1) / (2 * area + 1))
        assert _metric("dice_coef_multiclass", labels, p) == pytest.approx(expected, rel=1e-5)
        assert _loss("dice_loss_multiclass", labels, p) == pytest.approx(1 - expected, rel=1e-5)

    def test_dice_coef_multiclass_flatters_an_empty_prediction(self) -> None:
        labels = np.zeros((1, 100, 100), np.uint8)
        labels[0, :10, :10] = 1  # 1 % of the image, all of it missed
        p = _one_hot(np.zeros_like(labels), 2)
        assert _metric("dice_coef_multiclass", labels, p) == pytest.approx(0.99, abs=1e-4)
        assert _metric("dice_coef_foreground", labels, p) == pytest.approx(0, abs=1e-4)
        assert _metric("dice_coef_hybrid", labels, p) == pytest.approx(0.495, abs=1e-4)

    def test_dice_coef_foreground_is_by_image_and_class(self) -> None:
        labels, p = _labels(3), _random_probabilities(3)
        y = _one_hot(labels, 3).astype(np.float64)
        dice = (2 * (y * p).sum((1, 2)) + 1e-6) / (y.sum((1, 2)) + p.sum((1, 2)) + 1e-6)
        expected = dice[:, 1:].mean()
        assert _metric("dice_coef_foreground", labels, p) == pytest.approx(expected, rel=1e-5)

    def test_sums_of_losses(self) -> None:
        labels, p = _labels(1), _random_probabilities(1)
        y = _one_hot(labels, 1).astype(np.float64)
        bce = -np.mean(y * np.log(p) + (1 - y) * np.log(1 - p))
        dice = 1 - (2 * (y * p).sum() + 1) / (y.sum() + p.sum() + 1)
        iou = 1 - (y * p).sum() / (y + p - y * p).sum()
        ssim = np.mean([1 - _ssim(a[..., 0], b[..., 0]) for a, b in zip(y, p, strict=True)])
        expected = {
            "bce_dice_loss": (bce + dice) / 2,
            "bce_iou_loss": (bce + iou) / 2,
            "basnet_hybrid_loss": (bce + ssim + iou) / 3,
            "dice_ce_loss": bce + dice,
        }
        for name, value in expected.items():
            assert _loss(name, labels, p) == pytest.approx(value, rel=1e-4), name

    def test_categorical_focal_dice_loss(self) -> None:
        labels, p = _labels(3), _random_probabilities(3)
        y = _one_hot(labels, 3).astype(np.float64)
        cce = -np.mean((y * np.log(p)).sum(-1))
        pixel = (2 * (y * p).sum(-1) + 1e-6) / (y.sum(-1) + p.sum(-1) + 1e-6)
        expected = cce + 1 - pixel.mean()
        assert _loss("categorical_focal_dice_loss", labels, p) == pytest.approx(expected, rel=1e-5)

    @pytest.mark.parametrize("channels", [1, 3])
    def test_focal_loss_weighs_easy_pixels_down(self, channels: int) -> None:
        labels, p = _labels(channels), _random_probabilities(channels)
        y = _one_hot(labels, channels).astype(np.float64)
        true = (y * p + (1 - y) * (1 - p)) if channels == 1 else (y * p).sum(-1)
        expected = np.mean(-((1 - true) ** 2) * np.log(true))
        assert _loss("focal_loss", labels, p) == pytest.approx(expected, rel=1e-4)

    def test_tversky_punishes_missed_pixels_more(self) -> None:
        labels = np.zeros((1, 10, 10), np.uint8)
        labels[0, :, :4] = 1
        too_small, too_large = np.zeros((2, 1, 10, 10), np.uint8)
        too_small[0, :, :2] = 1  # 20 found, 20 missed
        too_large[0, :, :6] = 1  # 40 found, 20 too many
        missed = _loss("tversky_loss", labels, _one_hot(too_small, 1))
        invented = _loss("tversky_loss", labels, _one_hot(too_large, 1))
        assert missed == pytest.approx(1 - 21 / (20 + 0.7 * 20 + 1), rel=1e-5)
        assert invented == pytest.approx(1 - 41 / (40 + 0.3 * 20 + 1), rel=1e-5)

    def test_sensitivity_and_specificity_are_pooled_at_one_half(self) -> None:
        labels = np.zeros((2, 10, 10), np.uint8)
        labels[0, :, :6] = 1  # 60 pixels
        labels[1, :, :2] = 1  # 20 pixels
        p = np.full((2, 10, 10, 1), 0.2, np.float32)
        p[0, :, :3] = 0.8  # 30 found
        p[1, :, :3] = 0.6  # 20 found, 10 invented
        assert _metric("sensitivity", labels, p) == pytest.approx(50 / 80, abs=1e-5)
        assert _metric("recall", labels, p) == pytest.approx(50 / 80, abs=1e-5)
        assert _metric("specificity", labels, p) == pytest.approx(110 / 120, abs=1e-5)
        assert _metric("binary_accuracy", labels, p) == pytest.approx(160 / 200, abs=1e-5)
        assert _metric("accuracy", labels, p) == pytest.approx(160 / 200, abs=1e-5)

    def test_categorical_accuracy(self) -> None:
        labels = _labels(3)
        wrong = labels.copy()
        wrong[0, 0, :6] = 2
        p = _one_hot(wrong, 3)
        expected = 1 - 6 / labels.size
        assert _metric("categorical_accuracy", labels, p) == pytest.approx(expected, abs=1e-6)
        assert _metric("acc", labels, p) == pytest.approx(expected, abs=1e-6)


def _ssim(a: NDArray, b: NDArray) -> float:
    """Structural similarity by the definition, one window after the other."""
    offsets = np.arange(-5, 6)
    gauss = np.exp(-(offsets[:, None] ** 2 + offsets[None] ** 2) / (2 * 1.5**2))
    gauss /= gauss.sum()
    values = []
    for i in range(a.shape[0] - 10):
        for j in range(a.shape[1] - 10):
            u, v = a[i : i + 11, j : j + 11].astype(float), b[i : i + 11, j : j + 11].astype(float)
            mu, mv = (gauss * u).sum(), (gauss * v).sum()
            var_u, var_v = (gauss * (u - mu) ** 2).sum(), (gauss * (v - mv) ** 2).sum()
            covariance = (gauss * (u - mu) * (v - mv)).sum()
            luminance = (2 * mu * mv + 1e-4) / (mu**2 + mv**2 + 1e-4)
            values.append(luminance * (2 * covariance + 9e-4) / (var_u + var_v + 9e-4))
    return float(np.mean(values))


class TestSsim:
    @pytest.mark.parametrize("channels", [1, 3])
    def test_against_the_definition(self, channels: int) -> None:
        labels, p = _labels(channels), _random_probabilities(channels)
        y = _one_hot(labels, channels)
        expected = 1 - np.mean(
            [_ssim(y[b, ..., c], p[b, ..., c]) for b in range(2) for c in range(channels)]
        )
        assert _loss("ssim_loss", labels, p) == pytest.approx(expected, abs=1e-4)

    def test_identical_images_score_zero(self) -> None:
        labels = _labels(1)
        assert _loss("ssim_loss", labels, _one_hot(labels, 1)) == pytest.approx(0, abs=1e-5)

    def test_opposite_images_score_more_than_one(self) -> None:
        labels = _labels(1)
        assert _loss("ssim_loss", labels, 1 - _one_hot(labels, 1)) > 1


class TestKerasBuiltins:
    @pytest.mark.parametrize("seed", [0, 1, 2])
    def test_categorical_crossentropy(self, seed: int) -> None:
        labels, p = _labels(3), _random_probabilities(3, seed=seed)
        builtin = keras.losses.CategoricalCrossentropy()(_one_hot(labels, 3), p)
        expected = float(keras.ops.convert_to_numpy(builtin))
        assert _loss("categorical_crossentropy", labels, p) == pytest.approx(expected, rel=1e-5)

    def test_categorical_crossentropy_renormalises(self) -> None:
        labels, p = _labels(3), 0.5 * _random_probabilities(3)
        builtin = keras.losses.CategoricalCrossentropy()(_one_hot(labels, 3), p)
        expected = float(keras.ops.convert_to_numpy(builtin))
        assert _loss("categorical_crossentropy", labels, p) == pytest.approx(expected, rel=1e-5)

    @pytest.mark.parametrize("seed", [0, 1, 2])
    def test_binary_crossentropy(self, seed: int) -> None:
        labels, p = _labels(1), _random_probabilities(1, seed=seed)
        builtin = keras.losses.BinaryCrossentropy()(_one_hot(labels, 1), p)
        expected = float(keras.ops.convert_to_numpy(builtin))
        assert _loss("binary_crossentropy", labels, p) == pytest.approx(expected, rel=1e-5)
        assert _metric("binary_crossentropy", labels, p) == pytest.approx(expected, rel=1e-5)

    def test_wrong_and_certain_costs_as_much_as_in_keras(self) -> None:
        labels = _labels(3)
        p = _one_hot((labels + 1) % 3, 3)
        builtin = keras.losses.CategoricalCrossentropy()(_one_hot(labels, 3), p)
        expected = float(keras.ops.convert_to_numpy(builtin))
        assert expected > 10
        assert _loss("categorical_crossentropy", labels, p) == pytest.approx(expected, rel=1e-4)


class TestLabels:
    @given(
        channels=st.integers(2, 5),
        dtype=st.sampled_from(["uint8", "int32", "float32"]),
        trailing=st.booleans(),
        data=st.data(),
    )
    @settings(max_examples=20, deadline=None)
    def test_one_hot_of_any_number_type(
        self, channels: int, dtype: str, trailing: bool, data: st.DataObject
    ) -> None:
        ids = data.draw(st.lists(st.integers(0, channels - 1), min_size=6, max_size=6))
        labels = np.array(ids).reshape(1, 2, 3)
        given_labels = labels[..., None] if trailing else labels
        target = one_hot_target(keras.ops.convert_to_tensor(given_labels.astype(dtype)), channels)
        array = keras.ops.convert_to_numpy(target)
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, np.eye(channels, dtype=np.float32)[labels])

    def test_one_channel_means_not_the_background(self) -> None:
        labels = np.array([[[0, 1, 255]]], np.uint8)
        target = one_hot_target(keras.ops.convert_to_tensor(labels), 1)
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(target)[0, 0, :, 0], [0, 1, 1])

    def test_half_precision_probabilities_are_scored_in_float32(self) -> None:
        labels, p = _labels(1), _random_probabilities(1).astype(np.float16)
        expected = _loss("bce_dice_loss", labels, p.astype(np.float32))
        assert _loss("bce_dice_loss", labels, p) == pytest.approx(expected, rel=1e-6)


class TestNames:
    @pytest.mark.parametrize(
        ("name", "channels", "proposed"),
        [
            ("categorical_crossentropy", 1, "bce_dice_loss"),
            ("bce_dice_loss", 3, "categorical_crossentropy"),
        ],
    )
    def test_wrong_head_names_the_alternatives(
        self, name: str, channels: int, proposed: str
    ) -> None:
        with pytest.raises(ConfigError) as caught:
            get_loss(name, channels)
        assert f"num_classes = {channels}" in caught.value.problem
        assert proposed in caught.value.fix
        assert name not in caught.value.fix
        assert caught.value.where == "[model] loss"

    def test_misspelt_name_gets_the_nearest(self) -> None:
        with pytest.raises(ConfigError, match=r"'bce_dice_los' is not a known loss.*bce_dice_loss"):
            get_loss("bce_dice_los", 1)
        with pytest.raises(ConfigError, match="not a known metric"):
            get_metric("qwertz", 1)

    def test_a_loss_can_be_a_metric(self) -> None:
        labels, p = _labels(1), _random_probabilities(1)
        assert _metric("dice_loss", labels, p) == _loss("dice_loss", labels, p)

    def test_names_of_the_original_systems_are_known(self) -> None:
        losses = "dice_loss bce_dice_loss iou_loss jacard_loss bce_iou_loss ssim_loss"
        losses += " basnet_hybrid_loss categorical_crossentropy binary_crossentropy"
        losses += " dice_loss_multiclass categorical_focal_dice_loss"
        metrics = "dice_coef iou_coef jacard_similarity sensitivity specificity binary_accuracy"
        metrics += " dice_coef_multiclass dice_coef_foreground dice_coef_hybrid"
        assert [name for name in losses.split() if name not in LOSSES] == []
        assert [name for name in metrics.split() if name not in METRICS] == []
