"""Planted mistakes are found and named, hard cases are not suspicious."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from flexseg.dataset.ignored.pixels import IGNORED
from flexseg.dataset.labels import LabelMap
from flexseg.evaluation.review.ranking import Kind, rank
from planted_mistakes import LABELS, cells, evidence, judged, predicted, right

TRUE = cells(100)


def _shifted() -> NDArray[np.uint8]:
    return np.pad(TRUE, ((0, 6), (8, 0)))[6:, :-8]


def _without_first_cell() -> NDArray[np.uint8]:
    labels = TRUE.copy()
    labels[:32, :32] = 0
    return labels


def _with_one_more() -> NDArray[np.uint8]:
    labels = TRUE.copy()
    labels[38:58, 38:58] = TRUE[7:27, 7:27]
    return labels


def _first_exchanged() -> NDArray[np.uint8]:
    labels = TRUE.copy()
    labels[:32, :32] = np.array([0, 2, 1], np.uint8)[TRUE[:32, :32]]
    return labels


def _outlined_too_widely() -> NDArray[np.uint8]:
    wide = cv2.dilate((TRUE > 0).astype(np.uint8), np.ones((7, 7), np.uint8))
    return np.where(TRUE > 0, TRUE, wide)


@pytest.mark.parametrize(
    ("annotation", "kind", "evidence"),
    [
        (_shifted(), "shifted", "12% of the width to the left and 9% of the height down"),
        (np.array([0, 2, 1], np.uint8)[TRUE], "classes exchanged", '"cytoplasm" and "nucleus"'),
        (_without_first_cell(), "object missing", 'annotated as "background"'),
        (_with_one_more(), "object invented", 'sure of "background"'),
        (
            _first_exchanged(),
            "object of another class",
            'annotated as "cytoplasm", but the network is sure of "nucleus"',
        ),
        (
            _outlined_too_widely(),
            "disagrees altogether",
            "though the network is sure",
        ),
    ],
)
def test_a_mistake_is_first_and_named(
    annotation: NDArray[np.uint8], kind: Kind, evidence: str
) -> None:
    found = judged(np.ascontiguousarray(annotation), predicted(TRUE))
    assert found.suspicious and found.kind == kind
    assert evidence in found.evidence


def test_the_mask_of_another_case_is_named_with_it() -> None:
    found = judged(cells(7), predicted(TRUE[::-1, ::-1].copy()))
    assert found.kind == "mask of another case" and "right_7 " in found.evidence


@pytest.mark.parametrize("blur", [3.0, 6.0])
def test_an_unsure_network_says_nothing_of_the_annotation(blur: float) -> None:
    """A hard case: blurred, and half of it not recognised."""
    seen = TRUE.copy()
    seen[:, 32:] = 0
    unsure = 0.5 * predicted(seen, blur) + 0.5 * predicted(TRUE, blur)
    assert not judged(TRUE, unsure.astype(np.float32)).suspicious


def test_a_network_that_marks_all_has_failed() -> None:
    """It is sure, and wrong: no object of the set is so large."""
    everywhere = np.zeros((*TRUE.shape, 3), np.float32)
    everywhere[..., 1] = 1
    assert not judged(TRUE, everywhere).suspicious


def test_what_is_ignored_is_not_missing() -> None:
    ignored = np.where(_without_first_cell() != TRUE, np.uint8(IGNORED), TRUE)
    assert judged(ignored, predicted(TRUE)).score < 1


def test_several_mistakes_do_not_hide_each_other() -> None:
    wrong = [
        evidence(f"wrong_{i}", np.roll(cells(i), (9, -9), (0, 1)), predicted(cells(i)))
        for i in range(30, 35)
    ]
    ranked = rank([*right(25), *wrong], LABELS)
    assert {one.case.id for one in ranked[:5]} == {f"wrong_{i}" for i in range(30, 35)}
    assert [one.suspicious for one in ranked] == [True] * 5 + [False] * 25


def test_right_annotations_of_a_set_without_differences() -> None:
    assert not any(one.suspicious for one in rank(right(12), LABELS))
    assert rank([], LABELS) == []


def test_one_sigmoid_channel_and_empty_annotations() -> None:
    """No class in the annotation, none predicted: nothing to say."""
    empty = np.zeros((16, 16), np.uint8)
    p = np.full((16, 16, 1), 0.01, np.float32)
    found = [evidence(str(i), empty, p) for i in range(3)]
    one_class = LabelMap(LABELS.classes[:2], binary=True)
    assert [one.score for one in rank(found, one_class)] == [0, 0, 0]
