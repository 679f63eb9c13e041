"""What is drawn for which sample: counts, names, probabilities, ranges, repeatability."""

from __future__ import annotations

import pickle
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from augment_contract import random_image, random_labels
from hypothesis import given, settings
from hypothesis import strategies as st

from flexseg.augment.fields import Affine, Radial, coordinates, identity
from flexseg.augment.geometric import noise_rms
from flexseg.augment.policy import (
    Augmenter,
    Draw,
    Move,
    Policy,
    RecipePolicy,
    VariantPolicy,
    policy_of,
    refuse_unscaled,
    variants_of,
)
from flexseg.batches.batch_plan import BatchPlan
from flexseg.config import Experiment
from flexseg.config.augmentation import AugmentationConfig
from flexseg.dataset.cases import Case
from flexseg.errors import DataError
from flexseg.files.images import read_image

TRANSFORMS = (
    "crop", "hflip", "vflip", "shear", "rotation", "scaling", "barrel", "pincushion", "elastic",
    "noise", "blur", "low_resolution", "sharpening", "contrast", "gamma", "brightness",
    "window", "curve", "color", "stain", "bias",
)  # fmt: skip
NEVER = dict.fromkeys(TRANSFORMS, 0.0)
ALWAYS = dict.fromkeys(TRANSFORMS, 1.0)
LABELS = random_labels((40, 56), [0, 1, 2])
EVERYTHING: dict[str, dict[str, Any]] = {
    "augmentor": {
        "angles": [90, 45.5],
        "shrinks": [0.8],
        "shears": [0.1],
        "deformation": True,
        "distortion": True,
        "sharpening": True,
        "brightening": True,
        "barrdistortion": True,
        "pincdistortion": True,
    },
    "deformation": {"sigmoids": [8, 10]},
    "barrdistortion": {"radius": 0.3, "amount": 0.3, "centers": [(0.3, 0.3), (0.7, 0.7)]},
    "pincdistortion": {"radius": 0.3, "amount": -0.3},
}


def recipe(**keys: Any) -> RecipePolicy:
    return RecipePolicy(AugmentationConfig(enabled=True, **keys))


def same(a: Draw, b: Draw) -> bool:
    size = LABELS.shape
    fields = np.array_equal(coordinates(a.steps, size), coordinates(b.steps, size))
    others = [(d.adjustments, d.border, d.interpolation, d.prefix) for d in (a, b)]
    return fields and others[0] == others[1]


switches = st.fixed_dictionaries(
    {
        name: st.booleans()
        for name in (
            "hflip", "vflip", "rotation", "deformation", "distortion", "sharpening",
            "brightening", "barrdistortion", "pincdistortion",
        )
    }
)  # fmt: skip
several = st.lists(st.floats(0.125, 1, width=16), max_size=3)
centers = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=3)


@given(switches, several, several, several, several, several, centers, centers)
@settings(max_examples=60, deadline=None)
def test_as_many_variants_as_the_originals_have(
    on: dict[str, bool],
    angles: list[float],
    shrinks: list[float],
    shears: list[float],
    sigmoids: list[float],
    distortions: list[float],
    barrel: list[tuple[float, float]],
    pincushion: list[tuple[float, float]],
) -> None:
    """Section 6.2 of the description."""
    experiment = Experiment.model_validate(
        {
            "augmentor": {**on, "angles": angles, "shrinks": shrinks, "shears": shears},
            "deformation": {"sigmoids": sigmoids},
            "distortion": {"distortions": distortions},
            "barrdistortion": {"centers": barrel},
            "pincdistortion": {"centers": pincushion, "amount": -0.3},
        }
    )
    expected = (
        on["hflip"]
        + on["vflip"]
        + on["rotation"] * len(angles)
        + len(shrinks)
        + len(shears) * (1 + on["hflip"] + on["vflip"] + (on["hflip"] and on["vflip"]))
        + on["deformation"] * len(sigmoids)
        + on["distortion"] * len(distortions)
        + on["barrdistortion"] * len(barrel)
        + on["pincdistortion"] * len(pincushion)
        + on["sharpening"]
        + on["brightening"]
    )
    assert len(variants_of(experiment.variants)) == expected


def test_variants_have_the_originals_names() -> None:
    """Section 6.4 of the description."""
    assert [v.prefix for v in variants_of(Experiment.model_validate(EVERYTHING).variants)] == [
        "hfliped_",
        "vfliped_",
        "rotated_90_",
        "rotated_45.5_",
        "shrinked_0_8_",
        "sheared_0_1_",
        "hflipped_sheared_0_1_",
        "vflipped_sheared_0_1_",
        "hvflipped_sheared_0_1_",
        "deformed_alpha_1300_sigmoid_8_",
        "deformed_alpha_1300_sigmoid_10_",
        "distorted_0.02_rsigma0.5_sigma40_",
        "barrdistorted_101_0.3_0.3_",
        "barrdistorted_102_0.3_0.3_",
        "pincdistorted_101_0.3_-0.3_",
        "sharpened_1_",
        "brightened_1.2_10",
    ]


def test_variants_do_what_their_names_say() -> None:
    by_name = {v.prefix: v for v in variants_of(Experiment.model_validate(EVERYTHING).variants)}
    rng = np.random.default_rng(0)
    size = (64, 64)
    image, labels = random_image(size), random_labels(size, [0, 1, 2])
    turned, moved = by_name["rotated_90_"].draw(rng, size).apply(image, labels)
    np.testing.assert_array_equal(turned, np.rot90(image))
    np.testing.assert_array_equal(moved, np.rot90(labels))
    sheared, _ = by_name["sheared_0_1_"].draw(rng, size).apply(image, labels)
    for prefix, axes in (("hflipped", 1), ("vflipped", 0), ("hvflipped", (0, 1))):
        flipped, _ = by_name[f"{prefix}_sheared_0_1_"].draw(rng, size).apply(image, labels)
        # Places between pixels are rounded to 1/32 in either direction.
        np.testing.assert_allclose(
            flipped.astype(int), np.flip(sheared, axes).astype(int), atol=2 * 255 // 32
        )
    assert len(by_name["barrdistorted_102_0.3_0.3_"].draw(rng, size).steps) == 2
    for name in ("sharpened_1_", "brightened_1.2_10"):
        _, untouched = by_name[name].draw(rng, size).apply(image, labels)
        np.testing.assert_array_equal(untouched, labels)


def test_original_and_variants_are_equally_probable() -> None:
    variants = variants_of(Experiment.model_validate({"augmentor": {"shears": [0.1]}}).variants)
    policy = VariantPolicy(variants)
    rng, draws = np.random.default_rng(0), 6000
    counts = Counter(policy.draw(rng, LABELS).prefix for _ in range(draws))
    assert set(counts) == {"", *(v.prefix for v in variants)}
    p = 1 / (1 + len(variants))
    for count in counts.values():
        assert count == pytest.approx(draws * p, abs=5 * np.sqrt(draws * p * (1 - p)))


POLICIES = {
    "recipe": recipe(**ALWAYS),
    "variants": VariantPolicy(variants_of(Experiment.model_validate(EVERYTHING).variants)),
}


@pytest.mark.parametrize("name", POLICIES)
def test_draws_depend_on_seed_epoch_and_position_alone(name: str) -> None:
    policy = POLICIES[name]
    keys = [(s, e, p) for s in (1, 2) for e in (0, 1) for p in range(6)]
    forwards = {k: Augmenter(policy, k[0]).draw(LABELS, k[1], k[2]) for k in keys}
    backwards = {k: Augmenter(policy, k[0]).draw(LABELS, k[1], k[2]) for k in reversed(keys)}
    assert all(same(forwards[k], backwards[k]) for k in keys)
    if name == "recipe":
        firsts = [forwards[k] for k in keys]
        assert not any(same(a, b) for i, a in enumerate(firsts) for b in firsts[:i])
    else:
        assert len({draw.prefix for draw in forwards.values()}) > 6


def test_a_case_meets_other_variants_in_other_epochs() -> None:
    """Also with one case per batch, where batches and positions have the same numbers."""
    plan = BatchPlan(3, 1, seed=137, steps=20)
    augmenter = Augmenter(POLICIES["variants"], 137)
    met: dict[int, set[str]] = {case: set() for case in range(3)}
    for epoch in range(3):
        for batch in range(len(plan)):
            (case,) = plan.indices(epoch, batch)
            met[case].add(augmenter.draw(LABELS, epoch, batch).prefix)
    assert min(len(prefixes) for prefixes in met.values()) > 8


@pytest.mark.parametrize("name", POLICIES)
def test_batches_can_be_split_in_any_way(name: str) -> None:
    """So results do not depend on the number of workers."""
    augmenter = pickle.loads(pickle.dumps(Augmenter(POLICIES[name], 7)))  # noqa: S301
    pairs = [
        (random_image((24, 30), seed=i), random_labels((24, 30), [0, 1, 2], i)) for i in range(6)
    ]
    images, labels = augmenter.batch([], pairs, 3, 0)
    for start, end in ((0, 1), (1, 4), (4, 6)):
        part, classes = augmenter.batch([], pairs[start:end], 3, start)
        np.testing.assert_array_equal(part, images[start:end])
        np.testing.assert_array_equal(classes, labels[start:end])


@pytest.mark.parametrize("name", POLICIES)
def test_draws_can_be_sent_to_another_process(name: str) -> None:
    for position in range(8):
        draw = Augmenter(POLICIES[name], 1).draw(LABELS, 0, position)
        assert same(pickle.loads(pickle.dumps(draw)), draw)  # noqa: S301


def test_nothing_happens_at_probability_zero_and_everything_at_one() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        nothing = recipe(**NEVER).draw(rng, LABELS)
        assert nothing == Draw()
        everything = recipe(**ALWAYS).draw(rng, LABELS)
        assert everything.prefix == (
            "crop_hflip_vflip_shear_rotation_scaling_radial_radial_deformation_"
            "noise_blur_low_resolution_sharpening_contrast_gamma_brightness_"
            "window_curve_color_stain_bias_"
        )


@pytest.mark.parametrize("name", TRANSFORMS)
def test_probabilities_hold(name: str) -> None:
    policy = recipe(**(NEVER | {name: 0.3}))
    rng, draws = np.random.default_rng(0), 1500
    happened = sum(policy.draw(rng, LABELS).prefix != "" for _ in range(draws))
    assert happened == pytest.approx(0.3 * draws, abs=5 * np.sqrt(draws * 0.21))


# Transform, key of its range, and the parameter drawn from it.
RANGES = (
    ("shear", "shear_factor", (-0.2, -0.1), "factor"),
    ("rotation", "rotation_degrees", (5, 6), "angle"),
    ("scaling", "scaling_factor", (1.1, 1.2), "x"),
    ("crop", "crop_share", (0.5, 0.6), "share"),
    ("barrel", "barrel_amount", (0.2, 0.3), "amount"),
    ("barrel", "radial_radius", (0.2, 0.3), "radius"),
    ("noise", "noise_std", (0.1, 0.2), "std"),
    ("blur", "blur_sigma", (1.0, 1.1), "sigma"),
    ("low_resolution", "low_resolution_scale", (0.6, 0.7), "scale"),
    ("sharpening", "sharpening_k", (0.1, 0.2), "k"),
    ("contrast", "contrast_factor", (1.1, 1.2), "factor"),
    ("gamma", "gamma_exponent", (1.3, 1.4), "exponent"),
    ("brightness", "brightness_factor", (0.8, 0.9), "factor"),
    ("window", "window_low", (0.0, 0.1), "low"),
    ("curve", "curve_strength", (0.4, 0.6), "strength"),
    ("color", "color_strength", (0.1, 0.2), "strength"),
    ("stain", "stain_offset", (0.1, 0.2), "offset"),
    ("bias", "bias_strength", (0.1, 0.2), "strength"),
)


@pytest.mark.parametrize(("name", "key", "limits", "parameter"), RANGES)
def test_parameters_fill_their_range(
    name: str, key: str, limits: tuple[float, float], parameter: str
) -> None:
    policy = recipe(**(NEVER | {name: 1.0, key: limits}))
    rng = np.random.default_rng(0)
    values = []
    for _ in range(200):
        moves = policy._moves(rng, LABELS)
        drawn = [*moves, *policy._adjustments(rng)]
        (only,) = drawn
        values.append(only.parameters[parameter])
    low, high = limits
    assert low <= min(values) and max(values) <= high
    assert max(values) - min(values) > 0.9 * (high - low)


def test_barrel_and_pincushion_differ_in_their_sign() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        (barrel,) = recipe(**(NEVER | {"barrel": 1.0})).draw(rng, LABELS).steps
        (pincushion,) = recipe(**(NEVER | {"pincushion": 1.0})).draw(rng, LABELS).steps
        assert isinstance(barrel, Radial) and 0.1 <= barrel.amount <= 0.5
        assert isinstance(pincushion, Radial) and -0.5 <= pincushion.amount <= -0.1
        for step in (barrel, pincushion):
            assert 0.3 * 56 <= step.center[0] <= 0.7 * 56
            assert 0.3 * 40 <= step.center[1] <= 0.7 * 40


def test_scaling_is_alike_along_both_axes_unless_told_otherwise() -> None:
    rng = np.random.default_rng(0)
    for share, alike in ((0.0, True), (1.0, False)):
        policy = recipe(**(NEVER | {"scaling": 1.0, "scaling_separate": share}))
        for _ in range(10):
            (move,) = policy._moves(rng, LABELS)
            assert (move.parameters["x"] == move.parameters["y"]) is alike


def test_elastic_shift_is_a_share_of_the_longer_side() -> None:
    labels = np.zeros((128, 256), np.uint8)
    policy = recipe(
        **(NEVER | {"elastic": 1.0, "elastic_shift": (0.02, 0.02), "elastic_sigma": (0.03, 0.03)})
    )
    (move,) = policy._moves(np.random.default_rng(0), labels)
    sigma = 0.03 * 256
    assert move.parameters == pytest.approx(
        {"sigma": sigma, "alpha": 0.02 * 256 / noise_rms(sigma)}
    )
    draws = [policy.draw(np.random.default_rng(i), labels) for i in range(8)]
    fields = [coordinates(d.steps, (128, 256)) - identity((128, 256)) for d in draws]
    middle = np.array(fields)[:, 32:-32, 32:-32]
    assert np.sqrt(np.mean(middle**2)) == pytest.approx(0.02 * 256, rel=0.1)


def test_crops_on_the_foreground_show_every_class_equally_often() -> None:
    labels = np.zeros((101, 101), np.uint8)
    labels[20:60, 20:60] = 3
    labels[70, 70] = 200
    labels[30:32, 70:72] = 1
    policy = recipe(**(NEVER | {"crop": 1.0, "crop_share": (0.2, 0.2), "crop_foreground": 1.0}))
    rng, draws = np.random.default_rng(0), 600
    counts: Counter[int] = Counter()
    for _ in range(draws):
        (step,) = policy.draw(rng, labels).steps
        assert isinstance(step, Affine)
        x, y = step.map(np.full((1, 1, 2), 50, np.float32), (101, 101))[0, 0]
        counts[int(labels[round(float(y)), round(float(x))])] += 1
    assert set(counts) == {1, 3, 200}
    for count in counts.values():
        assert count == pytest.approx(draws / 3, abs=5 * np.sqrt(draws * 2 / 9))


def test_crops_of_an_image_without_foreground_lie_anywhere() -> None:
    policy = recipe(**(NEVER | {"crop": 1.0, "crop_foreground": 1.0}))
    rng = np.random.default_rng(0)
    corners = {
        policy.draw(rng, np.zeros((30, 30), np.uint8)).steps[0].rows[0][2] for _ in range(20)
    }
    assert len(corners) > 10


@given(st.integers(0, 2**32), st.sampled_from([1, 3, 5]), st.sampled_from([np.uint8, np.float32]))
@settings(max_examples=20, deadline=None)
def test_all_at_once_keeps_types_and_labels(seed: int, channels: int, dtype: type) -> None:
    size = (33, 47)
    image, labels = random_image(size, channels, dtype), random_labels(size, [0, 4, 9])
    draw = recipe(**ALWAYS, border="edge", interpolation="cubic").draw(
        np.random.default_rng(seed), labels
    )
    result, moved = draw.apply(image, labels)
    assert (result.dtype, result.shape) == (image.dtype, image.shape)
    assert result.min() >= 0 and result.max() <= 255
    assert moved.dtype == np.uint8 and set(np.unique(moved)) <= {0, 4, 9}


def test_moves_come_from_the_registry() -> None:
    (step,) = Move("hflip").steps(np.random.default_rng(0), (4, 6))
    assert step == Affine(((-1, 0, 5.0), (0, 1, 0.0)))


def drawn(e: Experiment) -> Policy | None:
    return policy_of(e.augmentation, e.trained_variants)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, type(None)),
        ({"model": {"generator": True}}, VariantPolicy),
        ({"model": {"generator": True}, "generator": {"augmentation": False}}, type(None)),
        ({"augmentation": {"enabled": True}}, RecipePolicy),
        ({"model": {"generator": True}, "augmentation": {"enabled": True}}, RecipePolicy),
        (
            {
                "model": {"generator": True},
                "augmentor": {"hflip": False, "vflip": False, "rotation": False, "shrinks": []},
            },
            type(None),
        ),
    ],
)
def test_which_policy_a_config_has(keys: dict[str, Any], expected: type) -> None:
    assert type(drawn(Experiment.model_validate(keys))) is expected


def test_complex_images_are_left_to_their_reader(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((4, 4), np.complex64))
    case = Case("a", tmp_path / "a.npy", tmp_path / "a.npy", "a")
    experiment = Experiment.model_validate({"augmentation": {"enabled": True}})
    refuse_unscaled(drawn(experiment), experiment.image, (32, 32), [case])
    with pytest.raises(DataError, match="complex64, not numbers"):
        read_image(case.image)


@pytest.mark.parametrize("dtype", [np.float32, np.int16])
def test_values_without_a_scale_are_not_varied(tmp_path: Path, dtype: type) -> None:
    """Hounsfield units cut to 0..255 would be another image."""
    np.save(tmp_path / "hu.npy", np.zeros((4, 4), dtype))
    np.save(tmp_path / "wide.npy", np.zeros((4, 4), np.uint16))
    hu, wide = (Case(n, tmp_path / f"{n}.npy", tmp_path / f"{n}.npy", n) for n in ("hu", "wide"))
    flips = {"enabled": True} | {
        name: 0.0
        for name, value in AugmentationConfig()
        if isinstance(value, float) and name != "hflip"
    }
    for sections, refused in (
        ({"augmentation": {"enabled": True}}, True),
        ({"augmentation": {"enabled": True}, "image": {"window": (-160, 240)}}, False),
        ({"augmentation": flips}, False),
        ({}, False),
    ):
        experiment = Experiment.model_validate(sections)
        refuse_unscaled(drawn(experiment), experiment.image, (32, 32), [wide])
        if refused:
            with pytest.raises(DataError, match="range is unknown"):
                refuse_unscaled(drawn(experiment), experiment.image, (32, 32), [wide, hu])
        else:
            refuse_unscaled(drawn(experiment), experiment.image, (32, 32), [wide, hu])
