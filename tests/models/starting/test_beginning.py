"""Known answers: what a network predicts that has begun with another one and not trained yet."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from flexseg.config.schema import Experiment
from flexseg.errors import ConfigError
from flexseg.models.package import ModelPackage
from flexseg.models.starting.beginning import NEW, TAKEN, begin_with

RNG = np.random.default_rng(0)
GRAY = RNG.integers(0, 256, (2, 16, 16, 1)).astype(np.float32)
SWIN = {
    "model": "SwinUNet", "filter_num_begin": 4, "depth": 2, "patch_size": 2, "num_heads": [2, 2],
    "window_size": [2, 2], "num_mlp": 8, "stack_num_down": 1, "stack_num_up": 1,
}  # fmt: skip


def package(*names: str, **model: Any) -> ModelPackage:
    """A small network whose biases and statistics are not those of a fresh one."""
    keys = {"model": "UNet", "num_layers": 2, "base_filters": 2, "normalization": True}
    keys = model if "model" in model else keys | model
    experiment = Experiment.model_validate(
        {
            "model": {
                "image_width": 16,
                "image_height": 16,
                "image_channels": 1,
                "num_classes": len(names) + (len(names) > 1),
                **keys,
            },
            "mask": {
                "classes": [
                    {"id": i, "name": name, "color": [i, 0, 0]}
                    for i, name in enumerate(names, start=1)
                ]
            },
        }
    )
    made = ModelPackage.create(experiment)
    for weight in made.model.weights:
        if len(weight.shape) == 1:
            weight.assign(RNG.uniform(0.2, 1, weight.shape))
    return made


def predicted(made: ModelPackage, images: NDArray = GRAY) -> NDArray:
    return np.asarray(made.model(images))


def test_the_same_network_predicts_bit_for_bit_the_same() -> None:
    old, new = package("a", "b"), package("a", "b")
    assert not np.array_equal(predicted(old), predicted(new))
    beginning = begin_with(new, old)
    np.testing.assert_array_equal(predicted(new), predicted(old))
    assert beginning.share == 1
    assert {layer.how for layer in beginning.layers} == {TAKEN}
    assert len(beginning.lines()) == 1 and beginning.values == new.model.count_params()


def test_permuted_classes_are_found_by_name() -> None:
    old, new = package("a", "b"), package("B", "a")
    begin_with(new, old)
    np.testing.assert_allclose(predicted(new)[..., [0, 2, 1]], predicted(old), atol=1e-6)


def test_the_scores_of_old_classes_stay_when_one_joins() -> None:
    old, new = package("a", "b"), package("a", "c", "b")
    beginning = begin_with(new, old)
    before, after = np.log(predicted(old)), np.log(predicted(new))
    np.testing.assert_allclose(
        after[..., [1, 3]] - after[..., :1], before[..., 1:] - before[..., :1], atol=1e-4
    )
    head = beginning.layers[-1]
    assert head.how == "classes taken: background, a, b; classes new: c"
    assert head.taken == head.values * 3 // 4
    assert any("did not have, which begin with new weights: c" in x for x in beginning.notes)


@pytest.mark.parametrize("model", [{}, SWIN], ids=["UNet", "SwinUNet"])
def test_one_class_becomes_two_and_back_exactly(model: dict[str, Any]) -> None:
    old = package("a", **model)
    two = package("a", "b", **model)
    begin_with(two, old)
    shares = predicted(two)
    np.testing.assert_allclose(
        shares[..., 1] / (shares[..., 0] + shares[..., 1]), predicted(old)[..., 0], atol=1e-5
    )
    back = package("a", **model)
    begin_with(back, two)
    np.testing.assert_allclose(predicted(back), predicted(old), atol=1e-5)


@pytest.mark.parametrize("model", [{}, SWIN], ids=["UNet", "SwinUNet"])
def test_gray_images_are_the_same_to_a_colour_network(model: dict[str, Any]) -> None:
    old, new = package("a", **model), package("a", **model, image_channels=3)
    begin_with(new, old)
    shown = np.repeat(GRAY, 3, axis=-1)
    np.testing.assert_allclose(predicted(new, shown), predicted(old), atol=1e-5)
    back = package("a", **model)
    assert "channels 3 -> 1" in {layer.how for layer in begin_with(back, new).layers}
    np.testing.assert_allclose(predicted(back), predicted(old), atol=1e-5)


def test_a_network_without_places_takes_any_size_as_it_is() -> None:
    old, new = package("a"), package("a", image_width=32, image_height=24)
    assert begin_with(new, old).share == 1
    for ours, theirs in zip(new.model.weights, old.model.weights, strict=True):
        np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))


def test_places_are_resized_and_tables_of_windows_are_those_of_the_new_size() -> None:
    old, new = package("a", **SWIN), package("a", **SWIN, image_width=32, image_height=32)
    tables = [np.asarray(w) for w in new.model.weights if "tables" in w.path]
    beginning = begin_with(new, old)
    assert "places resized" in {layer.how for layer in beginning.layers}
    after = [np.asarray(w) for w in new.model.weights if "tables" in w.path]
    assert tables and all(np.array_equal(a, b) for a, b in zip(tables, after, strict=True))


def test_another_class_leaves_a_fresh_head() -> None:
    old, new = package("a"), package("z")
    beginning = begin_with(new, old)
    assert [(x.layer, x.how) for x in beginning.layers if x.how != TAKEN] == [
        ("logits", "classes new: z")
    ]
    assert beginning.layers[-1].taken == 0


def test_a_class_by_another_name_may_be_renamed_on_either_side() -> None:
    beginning = begin_with(package("b", "nodule"), package("foreground", "b"), file="x/run")
    advice = beginning.lines()[-1]
    assert "`flexseg rename x/run 1=nodule`" in advice and "`--classes 2=foreground`" in advice
    assert len(begin_with(package("a", "b"), package("a")).notes) == 1


def test_a_level_more_begins_anew() -> None:
    deeper = package("a", num_layers=3)
    beginning = begin_with(deeper, package("a", num_layers=2))
    assert {layer.how for layer in beginning.layers} == {TAKEN, NEW}
    assert {layer.how for layer in begin_with(package("a"), deeper).layers} >= {TAKEN}


def test_networks_that_do_not_fit_are_refused_and_unchanged() -> None:
    old, new = package("a"), package("a", base_filters=3)
    before = predicted(new)
    with pytest.raises(ConfigError, match=r"base_filters = 3.*base_filters = 2"):
        begin_with(new, old)
    np.testing.assert_array_equal(predicted(new), before)
    with pytest.raises(ConfigError, match="a network UNet, but the config has a SwinUNet"):
        begin_with(package("a", **SWIN), old)


def test_another_scale_of_pixels_is_told() -> None:
    beginning = begin_with(package("a", input_normalize=True), package("a"))
    assert any("input_normalize" in note for note in beginning.notes)
