"""Void is recognised in masks that nobody has explained, and nothing else is taken for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from flexseg.dataset.ignored.pixels import VOID, IgnoredPixels
from flexseg.dataset.ignored.void import find_void, void_value
from flexseg.dataset.looks import look_at_mask
from flexseg.dataset.marks.label_tables import LabelTable
from flexseg.dataset.meaning import meaning_of
from flexseg.dataset.reading import Dataset
from flexseg.derive.folders import derive_folders
from flexseg.derive.tiles import TileOptions, derive_tiles
from flexseg.derive.volumes import derive_volumes
from flexseg.files.images import MaskPixels, read_mask, write_png
from flexseg.files.volumes.volume import Volume
from flexseg.files.volumes.write import write_volume

VOC = np.zeros((256, 3), np.uint8)
VOC[1], VOC[2], VOC[15], VOC[255] = (128, 0, 0), (0, 128, 0), (192, 128, 128), VOID


def scene(value: int, void: int = 255, rim: bool = True) -> NDArray[np.int32]:
    """An object of a value, with a rim of void around it."""
    mask = np.zeros((20, 24), np.int32)
    if rim:
        mask[4:16, 4:18] = void
    mask[5:15, 5:17] = value
    return mask


def looked(*masks: Any, palette: NDArray[np.uint8] | None = None) -> list[Any]:
    return [look_at_mask(MaskPixels(np.asarray(m), palette, False, False, "")) for m in masks]


@pytest.mark.parametrize(
    ("sets", "names", "expected"),
    [
        ([{0, 1, 255}], {}, 255),
        ([{0, 1, 2, 255}, {0, 2}], {}, 255),
        ([{0, 1, 2, 65535}], {}, 65535),
        ([{0, 1, -1}], {}, -1),
        ([{0, 1, 2, 6}], {6: "Ignore"}, 6),
        ([{0, 1}, {0, 255}], {}, None),  # two ways to mark one class
        ([{0, 255}], {}, None),
        ([{0, 128, 255}], {}, None),
        ([{0, 50, 100, 255}], {}, None),
        ([set(range(256))], {}, None),  # shades
        ([{0, 1, 2}], {2: "lesion"}, None),
    ],
)
def test_values(sets: list[set[int]], names: dict[int, str], expected: int | None) -> None:
    assert void_value(sets, names) == expected


def test_indexed_masks_of_pascal_voc() -> None:
    """A subset of its 20 classes, whose numbers are far apart."""
    masks = looked(*(scene(v).astype(np.uint8) for v in (1, 15)), palette=VOC)
    assert find_void(masks, {}) == IgnoredPixels((255,))
    meaning = meaning_of(masks, None, LabelTable())
    assert len(meaning.classes) == 2 and meaning.ignored == IgnoredPixels((255,))
    finding = next(f for f in meaning.findings if f.code == "void")
    assert finding.what.startswith("10.00% of the mask pixels are 255")


def test_coloured_masks_of_pascal_voc() -> None:
    masks = looked(*(VOC[scene(v)] for v in (1, 2)))
    assert find_void(masks, {}) == IgnoredPixels((), (VOID,))
    assert len(meaning_of(masks, None, LabelTable()).classes) == 2


def test_the_only_colour_of_masks_is_their_class() -> None:
    masks = looked(VOC[np.where(scene(0) > 0, 255, 0)])
    assert find_void(masks, {}) is None


def test_one_class_and_void() -> None:
    masks = looked(scene(1).astype(np.uint8), scene(1, rim=False).astype(np.uint8))
    meaning = meaning_of(masks, None, LabelTable())
    assert [c.values for c in meaning.classes] == [(1,)]
    assert meaning.ignored == IgnoredPixels((255,))


def test_noise_beside_the_class_does_not_make_it_void() -> None:
    """Masks of 0 and 255 with single pixels of 1."""
    mask = scene(255, rim=False).astype(np.uint8)
    mask[::7, ::5] = np.where(mask[::7, ::5] == 0, 1, 255)
    assert find_void(looked(mask), {}) is None


def write_scenes(folder: Path, count: int = 4) -> None:
    rng = np.random.default_rng(0)
    for i in range(count):
        mask = scene(1 + i % 2).astype(np.uint8)
        image = rng.integers(0, 255, (20, 24, 3)).astype(np.uint8)
        for kind, pixels in (("images", image), ("masks", mask)):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            write_png(folder / kind / f"case{i}.png", pixels)


@pytest.mark.parametrize("colors", [False, True])
def test_derived_folders_keep_it(tmp_path: Path, colors: bool) -> None:
    from flexseg.derive.folders import FolderOptions

    write_scenes(tmp_path / "data")
    options = FolderOptions(mask_colors=colors)
    derive_folders(tmp_path / "data/images", tmp_path / "data/masks", tmp_path / "out", options)
    data = Dataset.open(tmp_path / "out")
    assert len(data.labels.foreground) == 2 and data.labels.ignored is not None
    ids = data.labels.encode(read_mask(tmp_path / "out/masks/case1.png")).labels
    np.testing.assert_array_equal(ids == 255, scene(2) == 255)
    tiles = derive_tiles(tmp_path / "out", tmp_path / "tiles", TileOptions(size=(16, 16)))
    again = Dataset.open(tiles.output)
    assert len(again.labels.foreground) == 2 and again.labels.ignored is not None


def test_tiles_of_nothing_but_void_are_empty(tmp_path: Path) -> None:
    write_scenes(tmp_path / "data")
    options = TileOptions(size=(4, 24), empty_every=0)
    tiles = derive_tiles(tmp_path / "data", tmp_path / "tiles", options)
    assert all(np.isin(read_mask(p).pixels, (1, 2)).any() for p in tiles.output.glob("masks/*"))


def test_volumes_with_an_ignore_label(tmp_path: Path) -> None:
    """As nnU-Net names it, and the slices that are cut of them."""
    rng = np.random.default_rng(0)
    for i in range(3):
        labels = np.zeros((6, 20, 24), np.uint8)
        labels[1:5] = scene(1 + i % 2, void=3)
        for kind, array in (
            ("imagesTr", rng.normal(size=labels.shape).astype(np.float32)),
            ("labelsTr", labels),
        ):
            (tmp_path / kind).mkdir(exist_ok=True)
            write_volume(tmp_path / kind / f"v{i}.nii.gz", Volume(array))
    content = {"labels": {"background": 0, "liver": 1, "tumour": 2, "ignore": 3}}
    (tmp_path / "dataset.json").write_text(json.dumps(content), encoding="utf-8")
    data = Dataset.open(tmp_path)
    assert [c.name for c in data.labels.foreground] == ["liver", "tumour"]
    assert data.labels.ignored == IgnoredPixels((3,))
    assert any(f.code == "void" for f in data.findings)
    derive_volumes(tmp_path / "imagesTr", tmp_path / "labelsTr", tmp_path / "slices")
    slices = Dataset.open(tmp_path / "slices")
    assert [c.name for c in slices.labels.foreground] == ["liver", "tumour"]
    first = next(iter(sorted((tmp_path / "slices/masks").glob("v0*2.png"))))
    ids = slices.labels.encode(read_mask(first)).labels
    assert np.count_nonzero(ids == 255) == 48
    assert set(np.unique(ids)) == {0, 1, 255}


def test_check_proposes_to_ignore_it(tmp_path: Path) -> None:
    from flexseg.checking.audit import audit
    from flexseg.config import load

    write_scenes(tmp_path)
    classes = "".join(
        f"\n[[mask.classes]]\nid = {i}\ncolor = [{i}, 0, 99]\nvalues = [{i}]\n" for i in (1, 2)
    )
    config = (
        "[model]\nnum_classes = 3\nimage_width = 24\nimage_height = 20\n"
        "[dataset]\nimages_dir = 'images'\nmasks_dir = 'masks'\n"
    )
    (tmp_path / "a.toml").write_text(config + classes, encoding="utf-8")
    findings = {f.code: f for f in audit(load(tmp_path / "a.toml")).findings}
    assert findings["unknown-colors"].fix == (
        "255 looks like void: [mask] ignore = [255] leaves it out."
    )
    report = audit(load(tmp_path / "a.toml", ["mask.ignore=255"]))
    findings = {f.code: f for f in report.findings}
    assert "unknown-colors" not in findings and report.exit_code == 0
    assert findings["ignored-pixels"].what.startswith("10.00% of the mask pixels")
    (tmp_path / "b.toml").write_text(config, encoding="utf-8")
    report = audit(load(tmp_path / "b.toml", ["mask.ignore=[0, 255, 1, 2]"]))
    assert "nothing-counts" in {f.code for f in report.findings} and report.exit_code == 3
