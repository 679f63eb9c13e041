"""Both engines do the same: the device's batch against the workers' samples."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from flexseg.augment.device import DeviceAugmenter, Slots, slots_of, stack
from flexseg.augment.device_ops import ADJUST, augment
from flexseg.augment.fields import Affine, Displacement
from flexseg.augment.photometric import PHOTOMETRIC, Adjustment
from flexseg.augment.policy import Augmenter, Draw, Policy, RecipePolicy, VariantPolicy, variants_of
from flexseg.config.augmentation import AugmentationConfig
from flexseg.config.schema import Experiment
from flexseg.dataset.cases import Case

SIZE = (60, 44)
EVERYTHING = {
    name: 1.0
    for name, value in AugmentationConfig()
    if isinstance(value, float) and name not in ("barrel", "pincushion")
}
ALL_VARIANTS = {
    "model": {"generator": True},
    "augmentor": dict.fromkeys(("hflip", "vflip", "rotation", "deformation", "distortion", "sharpening", "brightening", "barrdistortion", "pincdistortion"), True)
    | {"shears": [0.1], "angles": [5, 90, 200]},
    "deformation": {"strength": "full", "alpha": 100, "sigmoids": [8, 10]},
    "distortion": {"gaussian_filter_rsigma": 10, "distortions": [0.05]},
    "barrdistortion": {"radius": 0.3, "amount": 0.3, "centers": [(0.3, 0.3), (0.5, 0.5)]},
    "pincdistortion": {"radius": 0.3, "amount": -0.3, "centers": [(0.4, 0.6)]},
}  # fmt: skip


def sample(seed: int, dtype: type = np.uint8) -> tuple[NDArray, NDArray[np.uint8]]:
    """A smooth colour image and a map of four classes."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: SIZE[0], : SIZE[1]].astype(np.float32)
    waves = [
        127
        + 100 * np.sin(x / rng.uniform(8, 14) + rng.uniform(0, 6)) * np.cos(y / rng.uniform(8, 14))
        for _ in range(3)
    ]
    labels = (x > SIZE[1] * rng.uniform(0.3, 0.7)) + 2 * (y > SIZE[0] * rng.uniform(0.3, 0.7))
    return np.stack(waves, axis=-1).astype(dtype), labels.astype(np.uint8)


def both(
    draws: list[Draw], slots: Slots, dtype: type = np.uint8
) -> tuple[list[tuple[NDArray, NDArray]], NDArray, NDArray]:
    """What the workers make of the draws, and images and labels of the device."""
    pairs = [sample(i, dtype) for i in range(len(draws))]
    expected = [draw.apply(*pair) for draw, pair in zip(draws, pairs, strict=True)]
    x = {"image": np.stack([p[0] for p in pairs]), **stack(draws, slots, SIZE)}
    x = {key: keras.ops.convert_to_tensor(value) for key, value in x.items()}
    labels = keras.ops.convert_to_tensor(np.stack([p[1] for p in pairs]))
    images, labels = augment(x, labels, slots)
    return expected, keras.ops.convert_to_numpy(images), keras.ops.convert_to_numpy(labels)


def assert_same(draws: list[Draw], slots: Slots, dtype: type = np.uint8, within: float = 2) -> None:
    expected, images, labels = both(draws, slots, dtype)
    assert images.dtype == np.float32
    assert labels.dtype == np.uint8
    for draw, (image, classes), found, found_classes in zip(
        draws, expected, images, labels, strict=True
    ):
        difference = np.abs(image.astype(np.float32) - found)
        assert np.quantile(difference, 0.9) <= within, draw.prefix
        # OpenCV rounds coordinates to 1/32 of a pixel: 8 grey levels where the border is a step.
        assert np.quantile(difference, 0.99) <= max(12, 2 * within), draw.prefix
        assert difference.mean() < 0.5, draw.prefix
        assert (classes != found_classes).mean() < 0.01, draw.prefix


def test_an_object_at_the_border_pixel_is_not_repeated_on_the_device_either() -> None:
    draw = Draw((Affine(((1.0, 0.0, 9.0), (0.0, 1.0, 0.0))),), border="pixel")
    image, labels = sample(0)
    for corner, beyond in ((0, 0), (3, 0), (255, 255)):
        classes = labels.copy()
        classes[:4, :4] = corner
        expected, moved = draw.apply(image, classes)
        x = {"image": image[None], **stack([draw], Slots(), SIZE)}
        x = {key: keras.ops.convert_to_tensor(value) for key, value in x.items()}
        found, found_classes = augment(x, keras.ops.convert_to_tensor(classes[None]), Slots())
        assert np.array_equal(keras.ops.convert_to_numpy(found_classes)[0], moved)
        assert np.array_equal(keras.ops.convert_to_numpy(found)[0], expected)
        assert (moved[:, -9:] == beyond).all()
        assert (expected[:, -9:] == (image[2, 2] if corner == 0 else 0)).all()


def test_every_value_transform_has_its_other_half() -> None:
    assert set(ADJUST) == set(PHOTOMETRIC)


def test_variants_are_the_same_on_both_engines() -> None:
    experiment = Experiment.model_validate(ALL_VARIANTS)
    policy = VariantPolicy(variants_of(experiment.variants))
    rng = np.random.default_rng(3)
    draws = [Draw(), *(variant.draw(rng, SIZE) for variant in policy.variants)]
    assert len(draws) == 1 + 1 + 1 + 3 + 1 + 4 + 2 + 1 + 2 + 1 + 1 + 1
    assert_same(draws, slots_of(policy, SIZE))


@pytest.mark.parametrize("border", ["reflect", "edge", "constant"])
@pytest.mark.parametrize("interpolation", ["bilinear", "cubic"])
@pytest.mark.parametrize("ring", ["barrel", "pincushion"])
def test_recipes_are_the_same_on_both_engines(border: str, interpolation: str, ring: str) -> None:
    """All transforms of a recipe at once, in one field and one chain of values."""
    chosen = EVERYTHING | {ring: 1.0, "border": border, "interpolation": interpolation}
    config = AugmentationConfig.model_validate({"enabled": True, **chosen, "noise_std": (0, 0.05)})
    policy = RecipePolicy(config)
    augmenter = Augmenter(policy, 7)
    draws = [augmenter.draw(sample(i)[1], 0, i) for i in range(3)]
    assert all(len(draw.adjustments) == len(ADJUST) for draw in draws)
    # Sharpening of a sharpened difference of half a grey level is several grey levels.
    assert_same(draws, slots_of(policy, SIZE), within=8)


# What each transform of values is compared with.
VALUES: dict[str, dict[str, float]] = {
    "noise": {"std": 0.2, "seed": 123456789},
    "blur": {"sigma": 0.9},
    "low_resolution": {"scale": 0.6},
    "sharpening": {"k": 0.5},
    "contrast": {"factor": 1.3},
    "gamma": {"exponent": 0.7, "inverted": 1.0},
    "brightness": {"factor": 1.2, "offset": 10.0},
    "window": {"low": 0.05, "high": 1.1},
    "curve": {"strength": 0.8, "separate": 1.0, "inverted": 1.0, "seed": 123456789},
    "color": {"strength": 0.3, "seed": 123456789},
    "stain": {"strength": 0.3, "offset": 0.1, "seed": 123456789},
    "bias": {"strength": 0.3, "seed": 123456789},
}


@pytest.mark.parametrize("name", list(PHOTOMETRIC))
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_values_are_the_same_on_both_engines(name: str, dtype: type) -> None:
    parameters = VALUES[name]
    draws = [Draw(), Draw(adjustments=(Adjustment(name, parameters),))]
    expected, images, labels = both(draws, Slots(adjustments=(name,), blur_reach=3), dtype)
    for (image, classes), found, found_classes in zip(expected, images, labels, strict=True):
        assert np.array_equal(classes, found_classes)
        assert np.abs(image - found).max() <= (1 if dtype == np.uint8 else 0.01)
    assert np.abs(images[1] - sample(1, dtype)[0]).mean() > 0.2


def test_nothing_drawn_changes_nothing() -> None:
    """Even where every slot is there."""
    policy = RecipePolicy(AugmentationConfig.model_validate(EVERYTHING | {"barrel": 0.5}))
    _, images, labels = both([Draw(), Draw()], slots_of(policy, SIZE), np.float32)
    for i in range(2):
        image, classes = sample(i, np.float32)
        assert np.abs(images[i] - image).max() < 1e-3
        assert np.array_equal(labels[i], classes)


def test_slots_hold_whatever_is_drawn() -> None:
    config = AugmentationConfig.model_validate(
        {name: 0.5 for name, value in AugmentationConfig() if isinstance(value, float)}
    )
    policies: list[Policy] = [
        RecipePolicy(config),
        RecipePolicy(AugmentationConfig()),
        VariantPolicy(variants_of(Experiment.model_validate(ALL_VARIANTS).variants)),
    ]
    for policy in policies:
        slots = slots_of(policy, SIZE)
        form = None
        for position in range(40):
            draw = Augmenter(policy, 1).draw(sample(0)[1], 0, position)
            assert {a.name for a in draw.adjustments} <= set(slots.adjustments)
            arrays = {k: (v.shape, v.dtype) for k, v in stack([draw], slots, SIZE).items()}
            form = form or arrays
            assert arrays == form


def test_a_policy_that_draws_out_of_order_is_refused() -> None:
    move = Displacement(np.zeros((4, 4, 2), np.float32))
    turn = Affine(((0.0, 1.0, 0.0), (1.0, 0.0, 0.0)))
    with pytest.raises(ValueError, match="affine, radial, elastic"):
        stack([Draw((move, turn))], Slots(grid=(4, 4)), SIZE)


def test_batches_for_the_device_are_drawn_as_in_the_workers(tmp_path: Path) -> None:
    policy = RecipePolicy(AugmentationConfig())
    augmenter = Augmenter(policy, 5)
    device = DeviceAugmenter(augmenter, slots_of(policy, SIZE))
    cases = [Case(str(i), tmp_path, tmp_path, "g") for i in range(3)]
    pairs = [sample(i) for i in range(3)]
    x, y = device.batch(cases, pairs, 2, 6)
    draws = [augmenter.draw(labels, 2, 6 + i) for i, (_, labels) in enumerate(pairs)]
    for key, value in stack(draws, device.slots, SIZE).items():
        assert np.array_equal(x[key], value), key
    assert np.array_equal(x["image"], np.stack([image for image, _ in pairs]))
    assert np.array_equal(y, np.stack([labels for _, labels in pairs]))


def test_the_step_augments_and_the_validation_does_not(
    make_dataset: Callable[..., Path],
) -> None:
    """A network that counts what it sees."""
    from flexseg.training.augmenting import Augmenting

    darker = {"brightness": 1.0, "brightness_factor": (0.3, 0.4)}
    policy = RecipePolicy(AugmentationConfig.model_validate(darker))
    slots = slots_of(policy, SIZE)
    inputs = keras.Input((*SIZE, 3))
    kernel = keras.initializers.Constant(0.005)
    outputs = keras.layers.Conv2D(
        1, 1, activation="sigmoid", use_bias=False, kernel_initializer=kernel
    )(inputs)
    model = Augmenting(inputs, outputs)
    model.slots = slots
    model.compile(keras.optimizers.SGD(0.0), keras.losses.BinaryCrossentropy())
    pairs = [sample(i, np.float32) for i in range(2)]
    augmenter = Augmenter(policy, 5)
    x, y = DeviceAugmenter(augmenter, slots).batch([], pairs, 0, 0)
    done = [augmenter.draw(p[1], 0, i).apply(*p) for i, p in enumerate(pairs)]
    expected = model.test_on_batch(
        np.stack([image for image, _ in done]), np.stack([labels for _, labels in done]) / 1.0
    )
    plain = model.test_on_batch(x["image"], y / 1.0)
    model.reset_metrics()
    found = model.train_on_batch(x, y / 1.0)
    assert found == pytest.approx(expected, rel=0.02)
    assert found != pytest.approx(plain, rel=0.02)
