"""Masks that are wrong as a whole are refused by every command, with an example."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from flexseg.dataset.cases import Case
from flexseg.dataset.ignored.pixels import IgnoredPixels
from flexseg.dataset.labels import LabelClass, LabelMap
from flexseg.dataset.looks import look_at_mask
from flexseg.dataset.marks.guard import filled_error, require_counted, require_marks
from flexseg.dataset.meaning import find_meaning
from flexseg.dataset.reading import Dataset
from flexseg.derive.folders import derive_folders
from flexseg.derive.tiles import TileOptions, derive_tiles
from flexseg.errors import DataError
from flexseg.files.images import read_mask, write_png

TWO = LabelMap.of_foreground(
    [LabelClass(1, "a", ((255, 0, 0),), (1,)), LabelClass(2, "b", ((0, 255, 0),), (2,))]
)
EMPTY, FULL = np.zeros((16, 16), np.uint8), np.ones((16, 16), np.uint8)
MARKED = EMPTY.copy()
MARKED[4:9, 3:9] = 1
MIXED = FULL + MARKED


def _cases(folder: Path, *masks: np.ndarray) -> list[Case]:
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    cases = []
    for i, mask in enumerate(masks):
        image, path = (folder / name / f"c{i}.png" for name in ("images", "masks"))
        write_png(image, np.random.default_rng(i).integers(0, 255, (16, 16, 3), np.uint8))
        write_png(path, mask)
        cases.append(Case(f"c{i}", image, path, f"c{i}"))
    return cases


@pytest.mark.parametrize("mask", [FULL * 255, MIXED], ids=["one class", "two classes"])
def test_no_background_in_any_mask(tmp_path: Path, mask: np.ndarray) -> None:
    _cases(tmp_path, *[mask] * 6)
    tiles = TileOptions(size=(8, 8))
    for command in (
        lambda: Dataset.open(tmp_path),
        lambda: derive_folders(tmp_path / "images", tmp_path / "masks", tmp_path / "out"),
        lambda: derive_tiles(tmp_path, tmp_path / "tiles", tiles),
    ):
        with pytest.raises(DataError, match=r"no background at all: .* of c0\.png") as caught:
            command()
        assert "background" in caught.value.fix
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["image", "marks drawn on it", "compressed", "cut out"])
def test_photographs_are_no_masks(tmp_path: Path, kind: str) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (60, 80, 3), np.uint8)
    disc = cv2.circle(np.zeros((60, 80), np.uint8), (40, 30), 20, 255, -1)
    photograph = cv2.GaussianBlur(noise, (0, 0), 4)
    photograph = cv2.normalize(photograph, None, 20, 250, cv2.NORM_MINMAX) | noise // 32
    if kind == "marks drawn on it":
        photograph[disc > 0] = photograph[disc > 0] // 2 + (0, 127, 0)
    if kind == "cut out":
        photograph = np.dstack([photograph, disc])
    path = tmp_path / ("a.jpg" if kind == "compressed" else "a.png")
    Image.fromarray(photograph).save(path)
    looks = [look_at_mask(read_mask(path))] * 4
    with pytest.raises(DataError, match="4 of 4 masks look like photographs"):
        find_meaning(looks)
    Image.fromarray(disc).save(path)
    assert len(find_meaning([look_at_mask(read_mask(path))] * 4).classes) == 1


def test_smooth_compressed_photographs_in_the_place_of_masks(tmp_path: Path) -> None:
    """Many of their colours are so rare that they are counted together."""
    rng = np.random.default_rng(0)
    _cases(tmp_path, *[MARKED * 255] * 4)
    for path in (tmp_path / "masks").iterdir():
        photograph = rng.normal(110, 14, (128, 160, 3)) + np.linspace(0, 30, 160)[:, None]
        photograph = cv2.GaussianBlur(photograph.clip(0, 255).astype(np.uint8), (0, 0), 1)
        Image.fromarray(photograph).save(path.with_suffix(".jpg"), quality=92)
        path.unlink()
    for path in (tmp_path / "images").iterdir():
        Image.fromarray(np.kron(MARKED * 255, np.ones((8, 10), np.uint8))).save(path)
    with pytest.raises(DataError, match="look like photographs") as caught:
        Dataset.open(tmp_path)
    assert "swapped" in caught.value.fix


def test_background_that_was_taken_for_void_is_told(tmp_path: Path) -> None:
    """-1 and 1, and 255 around the classes 0 and 1."""
    _cases(tmp_path / "a", *[MARKED] * 6)
    for path in (tmp_path / "a" / "masks").iterdir():
        np.save(path.with_suffix(".npy"), MARKED.astype(np.int16) * 2 - 1)
        path.unlink()
    with pytest.raises(DataError, match=r"no background at all besides what is ignored \(-1\)"):
        Dataset.open(tmp_path / "a")
    around = np.where(MARKED > 0, np.uint8(np.arange(16) > 5), np.uint8(255))
    _cases(tmp_path / "b", *[around] * 6)
    (void,) = [f for f in Dataset.open(tmp_path / "b").findings if f.code == "void"]
    assert void.fix.endswith("if it is the background, with id = 0.")


def test_one_mask_with_background_is_enough(tmp_path: Path) -> None:
    _cases(tmp_path, FULL * 255, FULL * 255, MARKED * 255, FULL * 255)
    assert len(Dataset.open(tmp_path).classes) == 2
    assert filled_error([], [], TWO) is None
    assert filled_error([Path("a"), Path("b")], [[0, 5, 5], [1, 9, 0]], TWO) is None
    # Nothing of the first mask counts.
    assert filled_error([Path("a"), Path("b")], [[0, 0, 0], [0, 9, 0]], TWO) is not None


def test_a_training_reads_masks_until_they_show_both(tmp_path: Path) -> None:
    require_marks(_cases(tmp_path / "a", EMPTY, MARKED), TWO)
    require_marks(_cases(tmp_path / "b", FULL, EMPTY), TWO)
    broken = _cases(tmp_path / "c", MARKED, EMPTY)
    broken[1].mask.write_bytes(b"")
    require_marks(broken, TWO)  # what comes later is not read
    with pytest.raises(DataError, match="All training masks \\(3\\) are empty"):
        require_marks(_cases(tmp_path / "d", EMPTY, EMPTY, EMPTY), TWO)
    with pytest.raises(DataError, match="All 2 masks are foreground everywhere"):
        require_marks(_cases(tmp_path / "e", FULL, MIXED), TWO)


def test_a_validation_has_pixels_that_count(tmp_path: Path) -> None:
    void = replace(TWO, ignored=IgnoredPixels.of([255]))
    ignored = _cases(tmp_path / "a", FULL * 255, FULL * 255)
    with pytest.raises(DataError, match="All pixels of the validation masks \\(2\\) are ignored"):
        require_counted(ignored, void)
    require_counted([*ignored, *_cases(tmp_path / "b", EMPTY)], void)
    require_counted([], void)


def test_masks_that_are_ignored_everywhere(tmp_path: Path) -> None:
    """Beside others that are not."""
    both = MIXED - 1 + (np.arange(16) > 12).astype(np.uint8) * 2
    rim = both.copy()
    rim[:3] = 255
    _cases(tmp_path, rim, FULL * 255, rim, rim)
    data = Dataset.open(tmp_path)
    assert data.labels.ignored == IgnoredPixels.of([255])
    assert len(data.cases) == 4
