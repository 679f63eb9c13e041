"""Parts dropped and holes filled, checked against known answers and a plain definition."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from pydantic import ValidationError
from scipy import ndimage

from config_parts import labels_of
from flexseg.config.infer import PostprocessConfig
from flexseg.config.schema import Experiment
from flexseg.errors import ConfigError
from flexseg.inference.postprocess import Postprocessing, Steps, fill_holes

LABELS = labels_of(
    Experiment.model_validate(
        {
            "model": {"num_classes": 3},
            "mask": {
                "classes": [
                    {"id": 1, "name": "organ", "color": [0, 255, 0]},
                    {"id": 2, "name": "tumour", "color": [255, 0, 0]},
                ]
            },
        }
    )
)


def _map(text: str) -> NDArray[np.uint8]:
    """Class ids from rows of digits; '.' is the background."""
    rows = [row.strip() for row in text.strip().splitlines()]
    return np.array([[int(c) for c in row.replace(".", "0")] for row in rows], np.uint8)


def _steps(**keys: Any) -> Postprocessing:
    return Postprocessing({1: Steps(**keys)})


label_maps = st.one_of(
    arrays.arrays(
        np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 2)
    ),
    arrays.arrays(np.uint8, st.tuples(*[st.integers(1, 5)] * 3), elements=st.integers(0, 2)),
)
all_steps = st.builds(
    Postprocessing,
    st.dictionaries(
        st.sampled_from([1, 2]), st.builds(Steps, st.booleans(), st.integers(0, 6), st.booleans())
    ),
)


class TestParts:
    def test_largest_part_of_a_class(self) -> None:
        before = _map(
            """
            11...2
            11..2.
            ......
            1..222
            """
        )
        after = before.copy()
        after[3, 0] = 0
        np.testing.assert_array_equal(_steps(largest_component=True)(before), after)

    def test_corners_connect(self) -> None:
        before = _map("1..\n.1.\n..1")
        np.testing.assert_array_equal(_steps(min_size=3)(before), before)
        volume = np.zeros((3, 3, 3), np.uint8)
        volume[0, 0, 0] = volume[1, 1, 1] = volume[2, 2, 2] = 1
        np.testing.assert_array_equal(_steps(min_size=3)(volume), volume)
        assert not _steps(min_size=4)(volume).any()

    def test_smallest_size(self) -> None:
        before = _map("11.1.111")
        assert _steps(min_size=1)(before) is before
        assert _steps(min_size=2)(before).tolist() == [[1, 1, 0, 0, 0, 1, 1, 1]]
        assert _steps(min_size=3)(before).tolist() == [[0, 0, 0, 0, 0, 1, 1, 1]]
        assert not _steps(min_size=4)(before).any()

    def test_of_equal_parts_the_first_stays(self) -> None:
        assert _steps(largest_component=True)(_map("11.11")).tolist() == [[1, 1, 0, 0, 0]]

    def test_a_volume_is_one_though_its_slices_are_not(self) -> None:
        volume = np.zeros((3, 5, 5), np.uint8)
        volume[0, 2, :] = 1
        volume[1, 2, [0, 4]] = 1
        process = _steps(largest_component=True)
        np.testing.assert_array_equal(process(volume), volume)
        assert process(volume[1]).sum() == 1


class TestHoles:
    def test_background_inside_of_a_class(self) -> None:
        before = _map(
            """
            111..
            1.1..
            111..
            """
        )
        assert _steps(fill_holes=True)(before)[1, 1] == 1
        assert Postprocessing({2: Steps(fill_holes=True)})(before) is before

    def test_other_classes_inside_stay(self) -> None:
        before = _map(
            """
            .......
            .11111.
            .12.21.
            .12.21.
            .1111..
            """
        )
        ring = _map(
            """
            11111
            12221
            12.21
            12221
            11111
            """
        )
        # Between both classes: whose hole it is cannot be told.
        assert _steps(fill_holes=True)(before) is before
        assert _steps(fill_holes=True)(ring) is ring
        assert Postprocessing({2: Steps(fill_holes=True)})(ring)[2, 2] == 2

    def test_open_regions_are_no_holes(self) -> None:
        for text in ("1.1\n1.1\n111", "1111\n1..1\n11.1", "11.\n..1\n11."):
            before = _map(text)
            assert _steps(fill_holes=True)(before) is before
        # Sides alone connect the background: a corner is no way out.
        closed = _map(".1.\n1.1\n.1.")
        assert _steps(fill_holes=True)(closed).tolist() == [[0, 1, 0], [1, 1, 1], [0, 1, 0]]

    def test_a_tube_is_open_in_the_volume_only(self) -> None:
        volume = np.ones((4, 5, 5), np.uint8)
        volume[:, 2, 2] = 0
        process = _steps(fill_holes=True)
        assert process(volume) is volume
        assert process(volume[0]).all()
        volume[[0, 3], 2, 2] = 1
        assert process(volume).all()

    @pytest.mark.parametrize("axis", [0, 1, 2])
    def test_a_volume_of_one_slice_is_an_image(self, axis: int) -> None:
        ring = np.ones((3, 3), np.uint8)
        ring[1, 1] = 0
        assert _steps(fill_holes=True)(np.expand_dims(ring, axis)).all()

    @given(labels=label_maps, class_id=st.sampled_from([1, 2]))
    def test_against_the_definition(self, labels: NDArray[np.uint8], class_id: int) -> None:
        expected = labels.copy()
        regions, count = ndimage.label(labels == 0)
        for region in range(1, count + 1):
            inside = regions == region
            ring = ndimage.binary_dilation(inside) & ~inside
            faces = [np.take(inside, i, axis).any() for axis in range(labels.ndim) for i in (0, -1)]
            if not any(faces) and set(labels[ring]) == {class_id}:
                expected[inside] = class_id
        np.testing.assert_array_equal(fill_holes(labels, [class_id]), expected)


class TestAllSteps:
    def test_dropped_parts_leave_holes_that_are_filled(self) -> None:
        before = _map(
            """
            11111
            11211
            11111
            """
        )
        process = Postprocessing({1: Steps(fill_holes=True), 2: Steps(min_size=2)})
        assert (process(before) == 1).all()

    @given(labels=label_maps, process=all_steps)
    def test_once_is_enough(self, labels: NDArray[np.uint8], process: Postprocessing) -> None:
        once = process(labels)
        np.testing.assert_array_equal(process(once), once)

    @given(labels=label_maps, process=all_steps)
    def test_only_between_class_and_background(
        self, labels: NDArray[np.uint8], process: Postprocessing
    ) -> None:
        before = labels.copy()
        after = process(labels)
        np.testing.assert_array_equal(labels, before)
        assert after.shape == labels.shape and after.dtype == np.uint8
        changed = after != labels
        assert (
            (after == 0) | (labels == 0) | ~changed | np.isin(labels, list(process.steps))
        ).all()
        assert set(np.unique(after)) <= set(np.unique(labels)) | {0}
        for class_id in {1, 2} - set(process.steps):
            assert (after[labels == class_id] == class_id).all()

    @given(labels=label_maps)
    def test_without_steps_nothing_changes(self, labels: NDArray[np.uint8]) -> None:
        process = Postprocessing.from_config(PostprocessConfig(), LABELS)
        assert process(labels) is labels


class TestConfig:
    def test_every_class_or_those_named(self) -> None:
        config = PostprocessConfig.model_validate(
            {"largest_component": "organ", "fill_holes": True, "min_size": {"tumour": 20}}
        )
        process = Postprocessing.from_config(config, LABELS)
        assert process.steps == {1: Steps(True, 0, True), 2: Steps(False, 20, True)}
        ids = {c.name: c.id for c in LABELS.classes}
        assert Postprocessing.from_dict(process.as_dict(LABELS), ids) == process
        config = PostprocessConfig(min_size=7)
        assert Postprocessing.from_config(config, LABELS).steps == {
            1: Steps(min_size=7),
            2: Steps(min_size=7),
        }

    @pytest.mark.parametrize("key", ["largest_component", "fill_holes", "min_size"])
    def test_unknown_class(self, key: str) -> None:
        value: Any = {"liver": 3} if key == "min_size" else ["organ", "liver"]
        config = PostprocessConfig.model_validate({key: value})
        with pytest.raises(ConfigError) as caught:
            Postprocessing.from_config(config, LABELS)
        assert str(caught.value) == (
            f"[postprocess] {key}: 'liver' is not a class. The classes are: 'organ', 'tumour'."
        )

    def test_the_background_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="'background' is the background"):
            Postprocessing.from_config(PostprocessConfig(fill_holes=["background"]), LABELS)

    def test_negative_size(self) -> None:
        with pytest.raises(ValidationError):
            PostprocessConfig.model_validate({"min_size": {"organ": -1}})
