"""COCO: polygons and run lengths on known answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from flexseg.derive.annotations.annotated_dataset import AnnotationOptions, derive_annotations
from flexseg.derive.annotations.coco import decode_run_lengths
from flexseg.derive.annotations.outlines import fill_polygon
from flexseg.derive.dataset_writer import Derived
from flexseg.errors import DataError
from flexseg.files.images import read_mask


def runs_of(mask: NDArray[np.bool_]) -> list[int]:
    flat = mask.T.reshape(-1)
    runs, value = [0], False
    for pixel in flat:
        if pixel != value:
            runs.append(0)
            value = bool(pixel)
        runs[-1] += 1
    return runs


def test_a_polygon_covers_the_pixels_whose_centres_it_holds() -> None:
    square = fill_polygon([2, 1, 6, 1, 6, 4, 2, 4], (5, 8))
    expected = np.zeros((5, 8), bool)
    expected[1:4, 2:6] = True
    np.testing.assert_array_equal(square, expected)
    assert not fill_polygon([2.6, 1.6, 3.4, 1.6, 3.4, 2.4, 2.6, 2.4], (5, 8)).any()
    outside = fill_polygon([-3, -3, 20, -3, 20, 20, -3, 20], (5, 8))
    assert outside.all()
    assert not fill_polygon([-9, -9, -3, -9, -3, -3], (5, 8)).any()


def test_a_large_circle_has_the_area_of_a_circle() -> None:
    angle = np.linspace(0, 2 * np.pi, 721)[:-1]
    points = np.stack([100 + 80 * np.cos(angle), 90 + 80 * np.sin(angle)], axis=1).reshape(-1)
    circle = fill_polygon(points.tolist(), (180, 200))
    assert circle.sum() == pytest.approx(np.pi * 80**2, rel=2e-3)
    rows, columns = np.mgrid[:180, :200] + 0.5
    inside = (columns - 100) ** 2 + (rows - 90) ** 2 < 80**2
    assert (circle != inside).sum() < 20


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 99), st.floats(0, 1))
def test_run_lengths_go_down_the_columns(height: int, width: int, seed: int, share: float) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < share
    np.testing.assert_array_equal(decode_run_lengths(runs_of(mask), mask.shape), mask)


def test_compressed_run_lengths() -> None:
    """Text written by pycocotools for rows 1 to 3, columns 2 to 5, of 5 x 7 pixels."""
    expected = np.zeros((5, 7), bool)
    expected[1:4, 2:6] = True
    np.testing.assert_array_equal(decode_run_lengths(";32000004", (5, 7)), expected)
    with pytest.raises(ValueError, match="add up to 35, expected 30"):
        decode_run_lengths(";32000004", (5, 6))


def annotation(image: int, category: int, segmentation: Any, **more: Any) -> dict[str, Any]:
    return {
        "id": 7,
        "image_id": image,
        "category_id": category,
        "segmentation": segmentation,
        **more,
    }


def write_coco(folder: Path, annotations: list[dict[str, Any]]) -> Path:
    """Two images of 8 x 6 pixels, one of them in a sub-folder, and categories 18 and 3."""
    for name in ("a.png", "sub/b.png"):
        (folder / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 6), "gray").save(folder / "images" / name)
    content = {
        "images": [
            {"id": 1, "file_name": "a.png", "width": 8, "height": 6},
            {"id": 2, "file_name": "sub\\b.png", "width": 8, "height": 6},
        ],
        "annotations": annotations,
        "categories": [{"id": 18, "name": "dog"}, {"id": 3, "name": "cat"}],
    }
    path = folder / "instances.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def derive(folder: Path, annotations: list[dict[str, Any]], **options: Any) -> Derived:
    path = write_coco(folder, annotations)
    return derive_annotations(
        path, folder / "images", folder / "out", AnnotationOptions(**options), format_name="coco"
    )


def test_annotations_become_masks(tmp_path: Path) -> None:
    small = np.zeros((6, 8), bool)
    small[2, 3] = True
    derived = derive(
        tmp_path,
        [
            annotation(1, 18, {"size": [6, 8], "counts": runs_of(small)}),
            annotation(1, 3, [[1, 1, 5, 1, 5, 5, 1, 5], [6, 0, 8, 0, 8, 2, 6, 2]]),
            annotation(1, 3, [], bbox=[0, 0, 3, 3]),
        ],
    )
    expected = np.zeros((6, 8), int)
    expected[1:5, 1:5] = expected[0:2, 6:8] = 1
    expected[2, 3] = 2
    np.testing.assert_array_equal(read_mask(tmp_path / "out" / "masks" / "a.png").pixels, expected)
    assert not read_mask(tmp_path / "out" / "masks" / "sub_b.png").pixels.any()
    assert [(c.id, c.name, c.values) for c in derived.classes[1:]] == [
        (1, "cat", (3,)),
        (2, "dog", (18,)),
    ]
    assert (derived.cases, derived.empty) == (2, 1)
    assert derived.notes == [
        "1 pixel is in several classes; the upper or smaller one counts.",
        "1 annotation without an outline (boxes or key points only) was left out.",
    ]


def test_images_that_are_missing_are_listed(tmp_path: Path) -> None:
    path = write_coco(tmp_path, [])
    (tmp_path / "images" / "a.png").unlink()
    derived = derive_annotations(path, tmp_path / "images", tmp_path / "out", format_name="coco")
    assert derived.notes == ["Listed images are missing (1): a.png."]
    (tmp_path / "images" / "sub" / "b.png").unlink()
    path.write_text(path.read_text().replace("b.png", "b" * 5000))
    with pytest.raises(DataError, match=r"None of the 2 annotated images is there, e\.g\. a\.png"):
        derive_annotations(path, tmp_path / "images", tmp_path / "out", format_name="coco")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (annotation(9, 3, [[0, 0, 1, 0, 1, 1]]), "refers to image 9"),
        (annotation(1, 5, [[0, 0, 1, 0, 1, 1]]), "refers to category 5"),
        (annotation(1, 3, []) | {"image_id": [1]}, "not a valid COCO instance file"),
        (annotation(1, 3, [[0, 0, 1]]), "a polygon of 3 numbers"),
        (annotation(1, 3, [[0, 0, float("nan"), 0, 1, 1]]), "NaN"),
        (annotation(1, 3, {"size": [6, 8], "counts": [3]}), "add up to 3, expected 48"),
        (annotation(1, 3, {"size": [8, 6], "counts": [48]}), "its size is"),
        (annotation(1, 3, {"counts": [48]}), "cannot be read"),
        (annotation(1, 3, {"size": [float("inf"), 8], "counts": [48]}), "cannot be read"),
    ],
)
def test_annotations_that_are_wrong(tmp_path: Path, wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        derive(tmp_path, [wrong])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"images": []}', '{"images": 3}'])
def test_files_that_are_no_coco(tmp_path: Path, content: str) -> None:
    path = tmp_path / "a.json"
    with pytest.raises(DataError, match="no such file"):
        derive_annotations(path, tmp_path, tmp_path / "out", format_name="coco")
    path.write_text(content)
    with pytest.raises(DataError, match="not a valid COCO instance file"):
        derive_annotations(path, tmp_path, tmp_path / "out", format_name="coco")


def test_images_of_another_size(tmp_path: Path) -> None:
    path = write_coco(tmp_path, [])
    Image.new("RGB", (4, 4)).save(tmp_path / "images" / "a.png")
    with pytest.raises(DataError, match="The image is 4 x 4 pixels, but the annotations say 8 x 6"):
        derive_annotations(path, tmp_path / "images", tmp_path / "out", format_name="coco")


def test_names_of_files_on_another_computer(tmp_path: Path) -> None:
    """An absolute path is looked for by its name, even where such a file happens to exist."""
    path = write_coco(tmp_path, [])
    elsewhere = tmp_path / "elsewhere" / "a.png"
    elsewhere.parent.mkdir()
    Image.new("RGB", (4, 4)).save(elsewhere)
    content = json.loads(path.read_text())
    content["images"] = [{"id": 1, "file_name": str(elsewhere)}]
    path.write_text(json.dumps(content))
    derived = derive_annotations(path, tmp_path / "images", tmp_path / "out", format_name="coco")
    (written,) = (derived.output / "images").iterdir()
    with Image.open(written) as image:
        assert image.size == (8, 6)
