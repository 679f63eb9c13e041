"""Tiles: they cover each image, keep all values, and know their image."""

from __future__ import annotations

import csv
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from flexseg.checking.audit import audit
from flexseg.config import Severity, load
from flexseg.derive.dataset_writer import Derived
from flexseg.derive.tiles import TileOptions, derive_tiles, tile_starts
from flexseg.errors import ConfigError, DataError
from flexseg.files.images import read_image, read_mask
from flexseg.planning.initialize import initialize


def derive(dataset: Path, **options: Any) -> Derived:
    return derive_tiles(dataset, dataset.with_name("out"), TileOptions(**options))


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "manifest.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def assemble(folder: Path, group: str, shape: tuple[int, ...], kind: str) -> NDArray:
    """The image (or mask) of a group, put together from its tiles; -1 where none is."""
    whole = np.full(shape, -1)
    for row in rows_of(folder):
        if row["group"] == group:
            path = folder / row[kind]
            tile = read_image(path) if kind == "image" else read_mask(path).pixels
            top, left = int(row["top"]), int(row["left"])
            assert tile.shape[:2] == (int(row["height"]), int(row["width"]))
            whole[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
    return whole


@given(st.integers(1, 500), st.integers(1, 200), st.data())
def test_tiles_cover_a_side(length: int, size: int, data: st.DataObject) -> None:
    overlap = data.draw(st.integers(0, size - 1))
    starts = tile_starts(length, size, overlap)
    covered = np.zeros(length, int)
    for start in starts:
        assert start == 0 or start + size <= length
        covered[start : start + size] += 1
    assert covered.all()
    assert starts == sorted(set(starts))
    for one, following in pairwise(starts):
        assert one + size - following >= overlap


@pytest.mark.parametrize(("size", "overlap"), [((16, 16), 0), ((13, 21), 5), ((40, 48), 0)])
def test_tiles_assemble_to_the_image(
    make_dataset: Callable[..., Path], size: tuple[int, int], overlap: int
) -> None:
    dataset = make_dataset({"train": 2}, classes=3) / "train"
    derived = derive(dataset, size=size, overlap=overlap)
    for path in (dataset / "images").iterdir():
        image, mask = read_image(path), read_mask(dataset / "masks" / path.name)
        assert (assemble(derived.output, path.stem, image.shape, "image") == image).all()
        whole = assemble(derived.output, path.stem, mask.pixels.shape, "mask")
        assert (whole == mask.pixels).all()
    tile = next((derived.output / "masks").iterdir())
    stored = read_mask(tile).palette
    assert stored is not None
    assert stored[:3].tolist() == [[0, 0, 0], [0, 255, 0], [255, 0, 0]]


def test_empty_tiles_are_thinned_out(make_dataset: Callable[..., Path]) -> None:
    dataset = make_dataset({"train": 4}) / "train"
    every = derive(dataset, size=(10, 12))
    assert every.cases == 4 * 16
    none = derive(dataset, size=(10, 12), empty_every=0)
    assert (none.cases, none.empty) == (every.cases - every.empty, 0)
    assert all(read_mask(none.output / r["mask"]).pixels.any() for r in rows_of(none.output))
    third = derive(dataset, size=(10, 12), empty_every=3)
    assert 0 < third.empty < every.empty
    assert third.notes == [
        f"{every.empty - third.empty} tiles without label left out (--empty-every)."
    ]


def test_splits_stay_and_the_group_is_the_image(
    make_dataset: Callable[..., Path], tmp_path: Path
) -> None:
    dataset = make_dataset({"train": 4, "valid": 2, "test": 2})
    derived = derive(dataset, size=(20, 24))
    assert {r["image"].split("/")[0] for r in rows_of(derived.output)} == {"train", "valid", "test"}
    config = initialize(derived.output, tmp_path / "project")[0]
    report = audit(load(config, [f"dataset.group={derived.group}"]))
    assert [str(f) for f in report.findings if f.severity is not Severity.NOTE] == []
    assert [s["cases"] for s in report.splits] == [16, 8, 8]


def test_gray_and_wide_masks_keep_their_values(tmp_path: Path) -> None:
    for kind in ("images", "masks"):
        (tmp_path / "d" / kind).mkdir(parents=True)
    rng = np.random.default_rng(0)
    image = rng.integers(0, 65536, (30, 40)).astype(np.uint16)
    mask = rng.integers(0, 1000, (30, 40)).astype(np.uint16)
    Image.fromarray(image).save(tmp_path / "d" / "images" / "a.png")
    Image.fromarray(mask).save(tmp_path / "d" / "masks" / "a.png")
    derived = derive(tmp_path / "d", size=(16, 16))
    assert (assemble(derived.output, "a", (30, 40, 1), "image")[..., 0] == image).all()
    assert (assemble(derived.output, "a", (30, 40), "mask") == mask).all()


def test_black_is_the_background_wherever_it_stands_in_the_palette(tmp_path: Path) -> None:
    for kind in ("images", "masks"):
        (tmp_path / "d" / kind).mkdir(parents=True)
    Image.new("L", (32, 16)).save(tmp_path / "d" / "images" / "a.png")
    mask = Image.new("P", (32, 16), 1)
    mask.putpalette([255, 255, 255, 0, 0, 0])
    mask.paste(0, (0, 0, 5, 5))
    mask.save(tmp_path / "d" / "masks" / "a.png")
    derived = derive(tmp_path / "d", size=(16, 16), empty_every=0)
    assert [r["left"] for r in rows_of(derived.output)] == ["0"]


def test_small_images_stay_whole(make_dataset: Callable[..., Path]) -> None:
    dataset = make_dataset({"train": 1}) / "train"
    derived = derive(dataset)
    assert derived.cases == 1
    assert derived.notes == ["1 images are smaller than a tile and stay as they are: train_00."]


def test_options_and_data_that_are_wrong(make_dataset: Callable[..., Path]) -> None:
    dataset = make_dataset({"train": 1}) / "train"
    with pytest.raises(ConfigError, match="cannot overlap by 512"):
        derive(dataset, overlap=512)
    with pytest.raises(ConfigError, match="are empty"):
        derive(dataset, size=(0, 16))
    with pytest.raises(ConfigError, match="contains the input"):
        derive_tiles(dataset, dataset.parent)
    with pytest.raises(DataError, match="No image has a mask of its name"):
        derive(dataset, mask_name="{id}_mask")
    mask = dataset / "masks" / "train_00.png"
    Image.new("L", (5, 5)).save(mask)
    with pytest.raises(DataError, match="The mask is 5 x 5, its image 48 x 40"):
        derive(dataset, size=(16, 16))
