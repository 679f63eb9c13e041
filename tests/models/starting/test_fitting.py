"""Weights for other classes, channels and sizes."""

from __future__ import annotations

import numpy as np
import pytest

from flexseg.config.model import ModelConfig
from flexseg.dataset.labels import LabelClass, LabelMap
from flexseg.models.starting.fitting import (
    ClassRows,
    Row,
    input_axis,
    with_channels,
    with_inputs,
    with_outputs,
    with_places,
)


def labels(*names: str) -> LabelMap:
    found = [LabelClass(i, name, ((i, 0, 0),)) for i, name in enumerate(names, start=1)]
    return LabelMap.of_foreground(found)


def rows(old: LabelMap, new: LabelMap, **keys: object) -> ClassRows:
    config = ModelConfig.model_validate(keys)
    return ClassRows.of(old, new, config, config)


def test_outputs_go_by_the_name_of_the_class() -> None:
    found = rows(labels("a", "b"), labels("B ", "new", "a"))
    assert found.plain == (Row("copy", 0), Row("copy", 2), Row("new"), Row("copy", 1))
    assert found.scores == found.plain
    assert rows(labels("a", "b"), labels("a", "b")).same
    assert not rows(labels("a"), labels("b")).same


def test_one_class_with_a_sigmoid_is_two_with_a_softmax() -> None:
    grown = rows(labels("a"), labels("a", "b"))
    assert grown.scores == (Row("zero"), Row("copy", 0), Row("new"))
    cut = rows(labels("a", "b"), labels("b"))
    assert cut.scores == (Row("difference", 2),)
    assert cut.plain == (Row("copy", 2),)
    kept = rows(labels("a"), labels("a", "b"), multiclass_activation="sigmoid")
    assert kept.scores == (Row("new"), Row("copy", 0), Row("new"))
    unknown = rows(labels("a"), labels("c", "b"))
    assert {row.kind for row in unknown.scores} == {"new"}


def test_outputs_and_inputs_of_new_classes() -> None:
    values = np.arange(6.0).reshape(2, 3)  # 2 inputs, 3 classes
    fresh = np.full((2, 2), -1.0)
    found = with_outputs(values, fresh, 1, (Row("copy", 2), Row("new")), 3)
    np.testing.assert_array_equal(found, [[2, -1], [5, -1]])
    found = with_outputs(values, fresh, 1, (Row("zero"), Row("difference", 1)), 3)
    np.testing.assert_array_equal(found, [[0, 1], [0, 1]])
    # Two maps of each of three classes, joined class by class within.
    inputs = np.arange(6.0)[:, None]
    found = with_inputs(inputs, 0, (Row("copy", 2), Row("new")), 3)
    assert found is not None
    np.testing.assert_array_equal(found[:, 0], [2, 0, 5, 0])
    assert with_inputs(inputs, 0, (Row("copy", 0),), 4) is None


@pytest.mark.parametrize(("old", "new"), [(1, 3), (3, 1), (3, 6), (2, 1)])
def test_images_of_equal_channels_give_the_same(old: int, new: int) -> None:
    patches = 4
    values = np.random.default_rng(0).normal(size=(patches * old, 5))
    found = with_channels(values, 0, old, new)
    assert found is not None and found.shape == (patches * new, 5)
    gray = np.arange(1.0, patches + 1)
    np.testing.assert_allclose(np.repeat(gray, new) @ found, np.repeat(gray, old) @ values)


def test_places_are_interpolated() -> None:
    ramp = np.repeat(np.arange(4.0), 2).reshape(8, 1)  # 4 rows of 2 columns
    found = with_places(ramp, 32, 2.0, 2.0, square=False)
    assert found is not None
    grid = found.reshape(8, 4)
    np.testing.assert_allclose(grid, np.repeat(grid[:, :1], 4, axis=1))
    np.testing.assert_allclose(grid[1:7, 0], np.arange(0.25, 3, 0.5))
    assert with_places(np.ones((9, 2)), 25, 2.0, 2.0, square=True) is not None
    assert with_places(np.ones((7, 2)), 25, 2.0, 1.0, square=False) is None


def test_the_axis_of_inputs() -> None:
    assert input_axis("Conv2D", 4) == 2
    assert input_axis("Conv2DTranspose", 4) == 3
    assert input_axis("Conv2D", 1) is None
    assert input_axis("DepthwiseConv2D", 4) is None
