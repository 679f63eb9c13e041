"""The figures of a dataset, against datasets whose figures are known."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from flexseg.dataset.reading import Dataset, ImageDataset
from flexseg.files.images import read_image, read_mask, write_png
from flexseg.outputs import write_csv, write_json
from flexseg.planning.fingerprint import LIMIT, Fingerprint, Spread, describe, take_fingerprint


def opened(folder: Path) -> ImageDataset:
    data = Dataset.open(folder)
    assert isinstance(data, ImageDataset)
    return data


def fingerprint_of(folder: Path, limit: int = LIMIT) -> Fingerprint:
    data = opened(folder)
    return take_fingerprint(data, data.divide(), limit=limit)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Six RGB images of 60 x 80, two of 60 x 40: a bar of class 1, and in two cases squares of 2.

    Values of the channels: background 10, 20, 30, class 1 +100, class 2 +200; in training both.
    """
    ids = [f"case{i}" for i in range(8)]
    for i, name in enumerate(ids):
        labels = np.zeros((60, 80 if i < 6 else 40), np.uint8)
        labels[10:20, 5:25] = 1
        if i < 2:
            labels[30:34, 2:6] = 2
            labels[40:48, 8:16] = 2
        image = np.array([10, 20, 30], np.uint8) + 100 * labels[..., None]
        image[0, 0] = i  # no two images are the same
        for kind, pixels in (("images", image), ("masks", labels * np.uint8(100))):
            (tmp_path / "data" / kind).mkdir(parents=True, exist_ok=True)
            write_png(tmp_path / "data" / kind / f"{name}.png", pixels)
    split = {"train": ids[:4], "valid": ids[4:5], "test": ids[5:]}
    write_json(tmp_path / "data" / "split.json", split)
    return tmp_path / "data"


@pytest.fixture
def data(dataset: Path) -> ImageDataset:
    return opened(dataset)


def test_sizes_are_those_of_all_cases(data: ImageDataset) -> None:
    found = take_fingerprint(data, data.divide())
    assert found.cases == {"train": 4, "valid": 1, "test": 3}
    assert (found.heights, found.widths) == (Spread(60, 60, 60), Spread(40, 80, 80))
    assert (found.common_size, found.common_share) == ((60, 80), 0.75)
    assert (found.groups, found.group_cases) == (8, Spread(1, 1, 1))
    assert (found.channels, found.gray, found.dtypes) == (3, False, {"uint8": 8})
    assert (found.sampled, found.training) == (4, 4)
    assert found.spacing is None


def test_classes_are_those_of_training(data: ImageDataset) -> None:
    bar, squares = take_fingerprint(data, data.divide()).classes
    assert (bar.cases, bar.case_share, bar.pixel_share) == (4, 1.0, 200 / 4800)
    assert bar.objects == Spread(1, 1, 1)
    assert bar.object_pixels == Spread(200, 200, 200)
    assert bar.object_width == Spread(0.25, 0.25, 0.25)
    assert bar.object_breadth == Spread(10, 10, 10)
    assert (squares.cases, squares.case_share) == (2, 0.5)
    assert squares.pixel_share == pytest.approx(2 * 80 / (4 * 4800))
    assert squares.objects == Spread(2, 2, 2)
    assert squares.object_pixels is not None and squares.object_pixels.median == 40
    assert squares.object_width is not None and squares.object_width.high <= 8 / 60


def test_values_of_classes_and_of_all_pixels(data: ImageDataset) -> None:
    found = take_fingerprint(data, data.divide())
    for plus, figures in zip((100, 200), found.classes, strict=True):
        for base, channel in zip((10, 20, 30), figures.intensities, strict=True):
            assert (channel.mean, channel.std) == (base + plus, 0)
            assert (channel.low, channel.high) == (base + plus, base + plus)
    red = found.intensities[0]
    assert red.mean == pytest.approx(10 + (100 * 800 + 200 * 160) / (4 * 4800), abs=1)
    assert (red.low, red.high) == (10, 210)


def test_few_cases_stand_for_many(data: ImageDataset) -> None:
    progress: list[tuple[int, int]] = []
    found = take_fingerprint(data, data.divide(), lambda *done: progress.append(done), limit=2)
    assert (found.sampled, found.training) == (2, 4)
    assert progress == [(1, 2), (2, 2)]
    # The first and the last case are read; class shares are known of all.
    assert found.classes[1].objects == Spread(2, 2, 2)
    assert found.classes[1].cases == 2
    assert ("objects and values of", "2 of 4 training cases, evenly spread") in describe(found)


def test_plain_json(data: ImageDataset) -> None:
    found = take_fingerprint(data, data.divide())
    content = json.loads(json.dumps(found.as_dict()))
    assert content["classes"][0]["object_pixels"] == {"low": 200, "median": 200, "high": 200}


def test_in_words(data: ImageDataset) -> None:
    lines = dict(describe(take_fingerprint(data, data.divide())))
    assert lines["cases"] == "4 train, 1 valid, 3 test"
    assert lines["size"] == (
        "80 x 60 (width x height, median), from 40 x 60 to 80 x 60; 75 % are 80 x 60"
    )
    assert lines["class 1"] == (
        "4.2 % of the pixels, in 100 % of the cases; 1 object per case, of 200 pixels (200), "
        "25 % of the image wide"
    )
    assert "groups" not in lines
    assert "nothing to find" not in lines


def test_classes_that_training_does_not_show(dataset: Path) -> None:
    ids = [f"case{i}" for i in range(8)]
    write_json(dataset / "split.json", {"train": ids[2:6], "valid": ids[:2], "test": ids[6:]})
    found = fingerprint_of(dataset)
    assert (found.classes[1].cases, found.classes[1].objects) == (0, None)
    assert found.classes[1].intensities == ()
    assert dict(describe(found))["class 2"] == "in no training case"
    assert json.dumps(found.as_dict())


def test_gray_values_of_sixteen_bits_in_groups(dataset: Path) -> None:
    (dataset / "split.json").unlink()
    for i, path in enumerate(sorted((dataset / "images").iterdir())):
        pixels = read_image(path)[..., 1].astype(np.uint16) * 100
        stem = f"p{i // 2}_{i % 2}"
        tifffile.imwrite(dataset / "images" / f"{stem}.tif", pixels)
        path.unlink()
        (dataset / "masks" / path.name).rename(dataset / "masks" / f"{stem}.png")
    found = fingerprint_of(dataset)
    assert (found.channels, found.gray, found.dtypes) == (1, True, {"uint16": 8})
    assert (found.groups, found.group_cases) == (4, Spread(2, 2, 2))
    lines = dict(describe(found))
    assert lines["groups"] == "4, of 2 cases each"
    assert lines["channels"] == "1 (grey)"
    assert lines["values"].startswith("uint16, 99 % of them from ")


def test_masks_of_another_resolution(dataset: Path) -> None:
    """Objects are measured in the mask's own pixels, values below it in the image's."""
    for path in (dataset / "masks").iterdir():
        labels = read_mask(path).pixels
        write_png(path, labels.repeat(2, axis=0).repeat(2, axis=1))
    bar = fingerprint_of(dataset).classes[0]
    assert bar.object_pixels == Spread(800, 800, 800)
    assert bar.object_width == Spread(0.25, 0.25, 0.25)
    assert [c.mean for c in bar.intensities] == [110, 120, 130]


def test_spacing_of_a_derived_dataset(dataset: Path) -> None:
    header = ("image", "row_spacing_mm", "column_spacing_mm", "slice_spacing_mm")
    rows = [(f"images/case{i}.png", 0.5 + i % 2, 0.75, 5) for i in range(8)]
    write_csv(dataset / "manifest.csv", header, rows)
    found = fingerprint_of(dataset)
    assert found.spacing == (Spread(0.5, 1.0, 1.5), Spread(0.75, 0.75, 0.75))
    assert found.slice_spacing == Spread(5, 5, 5)
    assert dict(describe(found))["pixel size"] == "1 x 0.75 mm, slices 5 mm apart"


@pytest.mark.parametrize("text", ["image\n", "nothing", "image,row_spacing_mm\ncase0.png,x\n"])
def test_a_manifest_without_spacing(dataset: Path, text: str) -> None:
    (dataset / "manifest.csv").write_text(text)
    assert fingerprint_of(dataset).spacing is None


def test_crumbs_of_compression_are_no_objects(make_dataset: Callable[..., Path]) -> None:
    dataset = make_dataset({"": 12}, size=(80, 96))
    for path in list(dataset.rglob("masks/*.png")):
        bright = read_mask(path).pixels * np.uint8(255)
        cv2.imwrite(str(path.with_suffix(".jpg")), bright, [cv2.IMWRITE_JPEG_QUALITY, 40])
        path.unlink()
    found: Fingerprint = fingerprint_of(dataset)
    assert found.classes[0].objects == Spread(1, 1, 1)


def test_real_data(shared: Path) -> None:
    """A cell per image, its nucleus within; nuclei images are grey, though stored as RGBA."""
    cells, nuclei = fingerprint_of(shared / "data" / "wbc", limit=40).classes
    assert cells.case_share == nuclei.case_share == 1
    assert cells.objects is not None and cells.objects.median == 1
    assert cells.pixel_share > nuclei.pixel_share > 0.05
    for cell, nucleus in zip(cells.intensities, nuclei.intensities, strict=True):
        assert nucleus.mean <= cell.mean + 1
