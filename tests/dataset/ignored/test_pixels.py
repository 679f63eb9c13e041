"""Ignored pixels in masks of every storage, and what of a config cannot be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from pydantic import ValidationError

from config_parts import labels_of
from flexseg.config import Experiment
from flexseg.dataset.ignored.pixels import IGNORED, VOID
from flexseg.dataset.labels import LabelMap
from flexseg.files.images import MaskPixels, read_mask, write_png

IDS = np.array([[0, 1, 2], [IGNORED, 2, 0]], np.uint8)
CLASSES = [
    {"id": 1, "color": [0, 255, 0], "values": [1]},
    {"id": 2, "color": [255, 0, 0], "values": [2]},
]
COLORS = np.zeros((256, 3), np.uint8)
COLORS[1], COLORS[2], COLORS[255] = (0, 255, 0), (255, 0, 0), VOID
# The palette of other classes, where void is white.
OTHERS = np.zeros((256, 3), np.uint8)
OTHERS[1], OTHERS[2], OTHERS[255] = (9, 9, 200), (200, 9, 9), (255, 255, 255)


def label_map(count: int = 3, **mask: Any) -> LabelMap:
    content = {"model": {"num_classes": count}, "mask": {"classes": CLASSES} | mask}
    return labels_of(Experiment.model_validate(content))


def stored(pixels: NDArray, palette: NDArray[np.uint8] | None = None) -> MaskPixels:
    return MaskPixels(pixels, palette, False, False, "test")


@pytest.mark.parametrize(
    ("ignore", "mask"),
    [
        (255, stored(IDS)),
        (255, stored(IDS.astype(np.uint16))),
        (-1, stored(np.where(IDS == IGNORED, -1, IDS.astype(np.int32)))),
        (255, stored(IDS.astype(np.float32))),
        (65535, stored(np.where(IDS == IGNORED, 65535, IDS.astype(np.uint16)))),
        (255, stored(np.repeat(IDS[..., None], 3, axis=-1))),
        (255, stored(IDS, COLORS)),
        (255, stored(IDS, OTHERS)),
        ("#e0e0c0", stored(IDS, COLORS)),
        ("#e0e0c0", stored(COLORS[IDS])),
        ([VOID, 7], stored(COLORS[IDS])),
        ("#ffffff", stored(IDS)),
    ],
)
def test_values_and_colours(ignore: Any, mask: MaskPixels) -> None:
    found = label_map(ignore=ignore).encode(mask)
    np.testing.assert_array_equal(found.labels, IDS)
    assert not found.unknown


def test_the_other_pixels_are_read_as_if_they_were_all() -> None:
    """The threshold of 0 and 1 is another one than that of 0, 1 and 255."""
    gray = np.array([[0, 1, 255]], np.uint8)
    labels = label_map(1, classes=[], ignore=255)
    assert labels.encode(stored(gray)).labels.tolist() == [[0, 1, IGNORED]]
    assert labels.encode(stored(gray[:, 2:])).labels.tolist() == [[IGNORED]]


def test_unknown_pixels_are_counted_without_the_ignored_ones() -> None:
    found = label_map(ignore=255).encode(stored(np.array([[9, 255, 254]], np.uint8)))
    assert found.unknown == {9: 1, 254: 1}
    assert found.labels.tolist() == [[2, IGNORED, IGNORED]]


def test_only_what_is_drawn_counts() -> None:
    drawn = [{"id": 0, "name": "normal", "color": [0, 0, 255], "values": [3]}, *CLASSES]
    labels = label_map(classes=drawn, annotated_only=True)
    found = labels.encode(stored(np.array([[0, 1, 2, 3]], np.uint8)))
    assert found.labels.tolist() == [[IGNORED, 1, 2, 0]]
    colors = np.array([[[0, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)
    assert labels.encode(stored(colors)).labels.tolist() == [[IGNORED, 1, 0]]
    scores = np.array([[[0, 0, 0], [0, 1, 0], [1, 0, 0]]], np.float32)
    one_hot = MaskPixels(scores, None, False, True, "one-hot")
    assert labels.encode(one_hot).labels.tolist() == [[IGNORED, 1, 0]]


@pytest.mark.parametrize(
    ("mask", "match"),
    [
        ({"ignore": 2}, "both ignored and the class 2"),
        ({"ignore": "#00ff00"}, "both ignored and the class 1"),
        ({"ignore": 7, "classes": [{"id": 1, "color": [7, 7, 7]}]}, "both ignored and the class 1"),
        ({"annotated_only": True, "classes": CLASSES[:1]}, "two drawn classes"),
        ({"ignore": True}, "valid integer"),
        ({"ignore": "void"}, "ignore"),
    ],
)
def test_what_cannot_be(mask: dict[str, Any], match: str) -> None:
    count = len(mask.get("classes", CLASSES))
    with pytest.raises(ValidationError, match=match):
        label_map(1 if count == 1 else 3, **mask)


@settings(max_examples=25, deadline=None)
@given(
    hnp.arrays(np.uint8, (5, 7), elements=st.sampled_from([0, 1, 2, IGNORED])),
    st.sampled_from([255, 7, "#e0e0c0", "#123456"]),
)
def test_written_masks_are_read_back(
    tmp_path_factory: pytest.TempPathFactory, ids: NDArray[np.uint8], ignore: int | str
) -> None:
    labels = label_map(ignore=ignore)
    path: Path = tmp_path_factory.mktemp("mask") / "a.png"
    write_png(path, ids, labels.palette)
    np.testing.assert_array_equal(labels.encode(read_mask(path)).labels, ids)
    np.testing.assert_array_equal(
        labels.encode(stored(labels.colorize(ids))).labels[ids != IGNORED], ids[ids != IGNORED]
    )


def test_dictionary_round_trip() -> None:
    labels = label_map(ignore=[255, "#e0e0c0"])
    assert LabelMap.from_dict(labels.as_dict()) == labels
    assert "ignored" not in label_map().as_dict()
