"""All metrics of one case: what happens with empty references and missed objects."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from flexseg.config.schema import EvalConfig
from flexseg.evaluation.metrics.metric import all_metrics
from flexseg.evaluation.metrics.surface import surface_scores
from flexseg.evaluation.scoring import ClassScores, Measures, score_case

SHAPE = (30, 40)
NOTHING = np.zeros(SHAPE, np.uint8)


def _box(top: int, left: int, label: int = 1) -> NDArray[np.uint8]:
    labels = np.zeros(SHAPE, np.uint8)
    labels[top : top + 10, left : left + 10] = label
    return labels


def _score(
    reference: NDArray[np.uint8], prediction: NDArray[np.uint8], **measures: Any
) -> ClassScores:
    return score_case(reference, prediction, 2, Measures(**measures)).classes[0]


def _in_means(scores: ClassScores) -> dict[str, float]:
    status = np.array([scores.counts.status])
    return {
        metric.name: float(metric.counted(np.array([scores.values[metric.name]]), status)[0])
        for metric in all_metrics()
    }


class TestEmptyCells:
    def test_missed_object_is_as_far_as_can_be(self) -> None:
        scores = _score(_box(3, 3), NOTHING)
        values = scores.values
        assert (values["dice"], values["nsd"], values["lesion_f1"]) == (0, 0, 0)
        assert values["hd95"] == values["assd"] == 50
        assert values["area_error"] == -1
        in_mm = _score(_box(3, 3), NOTHING, spacing=(2.0, 0.5)).values
        assert in_mm["hd95"] == pytest.approx(math.hypot(60, 20))
        assert math.isnan(values["precision"])
        means = _in_means(scores)
        assert (means["precision"], means["lesion_precision"], means["hd95"]) == (0, 0, 50)

    def test_false_positive_has_no_distance(self) -> None:
        scores = _score(NOTHING, _box(3, 3))
        values = scores.values
        assert (scores.counts.status, values["dice"], values["lesion_f1"]) == (
            "false positive",
            0,
            0,
        )
        undefined = ("hd95", "assd", "nsd", "recall", "area_error", "lesion_recall")
        assert all(math.isnan(values[name]) for name in undefined)
        assert values["specificity"] == pytest.approx(1 - 100 / 1200)
        assert all(math.isnan(v) for v in _in_means(scores).values())

    def test_absent_is_undefined_but_for_specificity(self) -> None:
        values = dict(_score(NOTHING, NOTHING).values)
        assert values.pop("specificity") == 1
        assert all(math.isnan(v) for v in values.values())

    def test_whole_image(self) -> None:
        full = np.ones(SHAPE, np.uint8)
        values = _score(full, full).values
        assert (values["dice"], values["hd95"], values["nsd"]) == (1, 0, 1)
        assert math.isnan(values["specificity"])


def test_values_have_the_names_of_the_metrics() -> None:
    assert tuple(_score(NOTHING, NOTHING).values) == tuple(m.name for m in all_metrics())


def test_classes_do_not_see_each_other() -> None:
    reference = np.maximum(_box(0, 0, 1), _box(15, 20, 2))
    prediction = np.maximum(_box(0, 2, 1), _box(15, 20, 2))
    one, two = score_case(reference, prediction, 3, Measures()).classes
    assert one.values["hd95"] == 2
    assert two.values["dice"] == two.values["nsd"] == 1
    result = score_case(reference, prediction, 3, Measures())
    assert result.matrix.tolist() == [[980, 20, 0], [20, 80, 0], [0, 0, 100]]


def test_spacing_and_tolerance() -> None:
    a, b = _box(5, 5), _box(5, 8)
    assert _score(a, b, tolerance=2.9).values["nsd"] < 1
    assert _score(a, b, tolerance=3.0).values["nsd"] == 1
    in_mm = _score(a, b, spacing=(1.0, 0.5), tolerance=1.5).values
    assert (in_mm["hd95"], in_mm["nsd"]) == (1.5, 1)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_the_box_around_an_object_changes_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    reference, prediction = np.zeros((2, *SHAPE), np.uint8)
    top, left = rng.integers(0, 20), rng.integers(0, 30)
    for labels in (reference, prediction):
        labels[top : top + 10, left : left + 10] = rng.random((10, 10)) < 0.4
    if not (reference.any() and prediction.any()):
        return
    found = _score(reference, prediction).values
    whole = surface_scores(reference == 1, prediction == 1, (1.0, 1.0), 2.0)
    assert (found["hd95"], found["assd"], found["nsd"]) == (whole.hd95, whole.assd, whole.nsd)


def test_volumes() -> None:
    reference = np.zeros((6, 20, 20), np.uint8)
    reference[1:4, 5:15, 5:15] = 1
    prediction = np.roll(reference, 1, axis=0)
    scores = _score(reference, prediction, spacing=(3.0, 1.0, 1.0), tolerance=3.0)
    assert scores.values["hd95"] == 3
    assert scores.values["dice"] == pytest.approx(2 / 3)
    assert scores.lesions.reference == 1


def test_probabilities() -> None:
    reference = _box(5, 5)
    p = np.where(reference == 1, 0.9, 0.1).astype(np.float32)[..., None]
    result = score_case(reference, reference, 2, Measures(), p)
    values = result.classes[0].values
    assert values["brier"] == pytest.approx(0.01, abs=1e-6)
    assert values["ece"] == pytest.approx(0.1, abs=1e-6)
    assert result.calibration is not None
    assert result.calibration.ece == pytest.approx(0.1, abs=1e-6)
    assert int(result.calibration.pixels.sum()) == reference.size
    both = np.concatenate([1 - p, p], axis=-1)
    again = score_case(reference, reference, 2, Measures(), both)
    assert again.classes[0].values == pytest.approx(values, nan_ok=True)


def test_measures_of_a_config() -> None:
    default = Measures.from_config(EvalConfig())
    assert (default.units, default.steps(3), default.tolerance) == ("px", (1.0, 1.0, 1.0), 2.0)
    config = EvalConfig.model_validate({"spacing": [0.5, 0.7], "tolerance": 1, "lesion_sizes": [5]})
    measures = Measures.from_config(config)
    assert (measures.units, measures.steps(2), measures.lesion_sizes) == ("mm", (0.5, 0.7), (5,))


class TestIgnoredPixels:
    """Half of the image is ignored: scores are those of the other half."""

    def _halves(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        reference, prediction = _box(3, 3), _box(5, 4)
        reference[15:], prediction[20:25, 20:30] = 255, 1
        return reference, prediction

    def test_everything_is_as_without_them(self) -> None:
        reference, prediction = self._halves()
        probabilities = np.random.default_rng(0).uniform(size=(*SHAPE, 1)).astype(np.float32)
        found = score_case(reference, prediction, 2, Measures(), probabilities)
        expected = score_case(reference[:15], prediction[:15], 2, Measures(), probabilities[:15])
        np.testing.assert_array_equal(found.matrix, expected.matrix)
        assert found.classes[0].values == pytest.approx(expected.classes[0].values)
        assert found.calibration is not None and expected.calibration is not None
        assert found.calibration.calibration() == expected.calibration.calibration()
        assert found.ignored == 15 * 40 and expected.ignored == 0

    def test_a_missed_object_is_as_far_as_the_whole_image(self) -> None:
        reference, _ = self._halves()
        assert _score(reference, NOTHING).values["hd95"] == 50

    def test_a_void_rim_forgives_what_lies_on_it_and_not_what_lies_beyond(self) -> None:
        """As around the objects of PASCAL VOC: the rim of 2 pixels is neither right nor wrong."""
        reference = np.full(SHAPE, 0, np.uint8)
        reference[8:22, 8:22], reference[10:20, 10:20] = 255, 1
        within = np.zeros(SHAPE, np.uint8)
        within[9:21, 9:21] = 1
        beyond = np.zeros(SHAPE, np.uint8)
        beyond[10:20, 10:26] = 1
        assert _score(reference, within).values["dice"] == 1
        assert _score(reference, within).values["hd95"] == 0
        assert _score(reference, beyond).counts.false_positive == 40
        assert _score(reference, beyond).values["hd95"] == 6

    def test_nothing_counts(self) -> None:
        result = score_case(np.full(SHAPE, 255, np.uint8), _box(3, 3), 2, Measures())
        assert result.matrix.sum() == 0 and result.classes[0].counts.status == "absent"

    def test_an_open_prediction_is_background(self) -> None:
        reference, prediction = _box(3, 3), _box(3, 3)
        prediction[3:13, 3:8] = 255
        assert _score(reference, prediction).counts.false_negative == 50

    @given(st.integers(0, 2**32 - 1))
    @settings(max_examples=20, deadline=None)
    def test_what_is_predicted_there_does_not_matter(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        reference = rng.choice([0, 1, 2, 255], SHAPE).astype(np.uint8)
        first = rng.integers(0, 3, SHAPE).astype(np.uint8)
        second = np.where(reference == 255, rng.integers(0, 3, SHAPE), first).astype(np.uint8)
        a, b = (score_case(reference, p, 3, Measures()) for p in (first, second))
        np.testing.assert_array_equal(a.matrix, b.matrix)
        for one, other in zip(a.classes, b.classes, strict=True):
            np.testing.assert_equal(dict(one.values), dict(other.values))
            np.testing.assert_equal(one.lesions.sizes, other.lesions.sizes)
