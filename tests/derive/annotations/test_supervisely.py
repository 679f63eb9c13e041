"""Points of Supervisely: indices of pixels where all are whole numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from flexseg.derive.annotations.supervisely import read_supervisely

DIAMOND = [[5, 1], [9, 5], [5, 9], [1, 5]]


def masks(folder: Path, *objects: tuple[str, list[list[float]]]) -> list[NDArray[np.bool_]]:
    """The pixels of each object, in an image of 12 x 12."""
    (folder / "images").mkdir()
    Image.new("L", (12, 12)).save(folder / "images" / "a.png")
    content: dict[str, Any] = {
        "size": {"height": 12, "width": 12},
        "objects": [
            {"classTitle": "c", "geometryType": kind, "points": {"exterior": points}}
            for kind, points in objects
        ],
    }
    (folder / "ann").mkdir()
    (folder / "ann" / "a.png.json").write_text(json.dumps(content), encoding="utf-8")
    (image,) = read_supervisely(folder / "ann", folder / "images").images
    return [mark.outline.mask((12, 12)) for mark in image.marks]


def box(start: int, end: int) -> NDArray[np.bool_]:
    expected = np.zeros((12, 12), bool)
    expected[start:end, start:end] = True
    return expected


def test_whole_numbers_are_indices(tmp_path: Path) -> None:
    """The diamond is as wide above its middle as below: vertices are centres of pixels."""
    diamond, square = masks(tmp_path, ("polygon", DIAMOND), ("rectangle", [[6.0, 6.0], [2.0, 2.0]]))
    rows = np.flatnonzero(diamond.any(axis=1))
    assert diamond.sum(axis=1)[4] == diamond.sum(axis=1)[6]
    assert abs((rows[0] + rows[-1]) / 2 - 5) <= 0.5
    np.testing.assert_array_equal(square, box(2, 7))


def test_fractions_count_as_they_stand(tmp_path: Path) -> None:
    """Of all objects, once one has some."""
    _, square = masks(
        tmp_path, ("polygon", [[5.5, 1], *DIAMOND[1:]]), ("rectangle", [[2, 2], [6, 6]])
    )
    np.testing.assert_array_equal(square, box(2, 6))
