"""Pictures of a dataset."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from flexseg.dataset import statistics
from flexseg.dataset.statistics import draw_sheet, draw_statistics
from flexseg.errors import DataError
from flexseg.files.display import class_colors, displayable, distinct_color
from flexseg.files.images import MaskPixels, read_image, write_png
from flexseg.files.volumes.volume import Volume
from flexseg.files.volumes.write import write_volume


def test_files_for_each_split(make_dataset: Callable[..., Path], tmp_path: Path) -> None:
    written = draw_statistics(make_dataset(), tmp_path / "out").files
    expected = ["dataset_Statistics.png"]
    for split in ("train", "valid", "test"):
        expected += [f"{split}_images_sample.png", f"{split}_masks_sample.png"]
    assert [p.name for p in written] == expected
    assert all(read_image(p).size for p in written)


def test_counts_are_those_of_the_folders(
    make_dataset: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: dict[str, int] = {}
    monkeypatch.setattr(
        statistics, "_draw_counts", lambda path, counts, title: drawn.update(counts)
    )
    draw_statistics(make_dataset({"train": 3, "test": 2}), tmp_path / "out")
    assert drawn == {"train": 3, "test": 2}


def test_contact_sheets_show_images_and_masks_at_the_same_place(tmp_path: Path) -> None:
    """A red image beside a blue one; their masks have the class in the left and right one."""
    for kind in ("images", "masks"):
        (tmp_path / "set" / kind).mkdir(parents=True)
    for name, color, value in (("a", (200, 0, 0), 255), ("b", (0, 0, 200), 0)):
        write_png(tmp_path / "set" / "images" / f"{name}.png", np.full((8, 8, 3), color, np.uint8))
        write_png(tmp_path / "set" / "masks" / f"{name}.png", np.full((8, 8), value, np.uint8))
    _, images, masks = draw_statistics(tmp_path / "set", tmp_path / "out").files
    sheet, mask_sheet = read_image(images), read_image(masks)
    assert sheet.shape == mask_sheet.shape
    middle = sheet.shape[1] // 2
    assert (sheet[60, 60] == (200, 0, 0)).all()
    assert (sheet[60, middle + 60] == (0, 0, 200)).all()
    assert mask_sheet[60, 60].tolist() == [255] * 3
    assert mask_sheet[60, middle + 60].tolist() == [0] * 3


@pytest.mark.parametrize("suffix", ["png", "nii.gz"])
def test_files_of_channels_are_told(tmp_path: Path, suffix: str) -> None:
    side = 8
    for kind, ends in (("imagesTr", ("_0000", "_0001", "_0002")), ("labelsTr", ("",))):
        (tmp_path / kind).mkdir()
        for i in range(3):
            for end in ends:
                path = tmp_path / kind / f"c{i}{end}.{suffix}"
                pixels = np.zeros((side, side), np.uint8)
                pixels[2:5, 2:5] = 1
                if suffix == "png":
                    write_png(path, pixels)
                else:
                    write_volume(path, Volume(np.stack([pixels] * 3), (1, 1, 1)))
    drawn = draw_statistics(tmp_path, tmp_path / "out")
    assert [note for note in drawn.notes if note.startswith("Each image has 3 channels")]
    assert len(drawn.files) == 3 and not drawn.failed


def test_names_stand_close_below_their_own_pictures(tmp_path: Path) -> None:
    for i in range(7):  # two rows
        write_png(tmp_path / f"{i}.png", np.full((60, 192, 3), (200, 0, 0), np.uint8))
    assert draw_sheet(tmp_path, tmp_path / "sheet.png", 18).shown == 7
    column = read_image(tmp_path / "sheet.png")[:, 12:40]
    red = np.flatnonzero((column == (200, 0, 0)).all(axis=(1, 2)))
    text = np.flatnonzero((np.ptp(column, axis=1) > 0).any(axis=1))
    first_row_ends, second_row_begins = red[59], red[60]
    first_name = text[text < second_row_begins]
    assert 0 < first_name.min() - first_row_ends < second_row_begins - first_name.max()


def test_sample_is_spread_evenly_over_many_cases(
    make_dataset: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: dict[str, list[str]] = {}

    def note(path: Path, tiles: list[tuple[str, object]]) -> Path:
        shown[path.name] = [name for name, _ in tiles]
        return path

    monkeypatch.setattr(statistics, "_write_sheet", note)
    draw_statistics(make_dataset({"train": 52}, size=(20, 20)), tmp_path / "out")
    names = shown["train_images_sample.png"]
    assert names == shown["train_masks_sample.png"]
    assert names == [f"train_{3 * i:02d}" for i in range(18)]


def test_earlier_pictures_move_aside(make_dataset: Callable[..., Path], tmp_path: Path) -> None:
    dataset = make_dataset({"train": 2})
    (tmp_path / "dataset_Statistics.png").write_bytes(b"\x89PNG mine")
    draw_statistics(dataset, tmp_path)
    kept = tmp_path.glob("dataset_Statistics.png_*_bak")
    assert [p.read_bytes() for p in kept] == [b"\x89PNG mine"]


def test_images_without_masks_have_one_sheet(
    make_dataset: Callable[..., Path], tmp_path: Path
) -> None:
    dataset = make_dataset({"train": 2})
    for path in (dataset / "train" / "masks").iterdir():
        path.unlink()
    names = [p.name for p in draw_statistics(dataset, tmp_path / "out").files]
    assert names == ["dataset_Statistics.png", "train_images_sample.png"]


def test_a_folder_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder") as caught:
        draw_statistics(tmp_path / "none", tmp_path)
    assert caught.value.where == str(tmp_path / "none")


def test_wide_pixels_are_stretched_for_the_eye() -> None:
    ramp = np.linspace(-1000, 3000, 1000, dtype=np.float32).reshape(10, 100, 1)
    shown = displayable(ramp)
    assert (shown.shape, shown.dtype) == ((10, 100, 3), np.uint8)
    assert (shown.min(), shown.max()) == (0, 255)
    assert np.abs(shown[5, 0].astype(int) - 127).max() <= 1
    color = np.random.default_rng(0).integers(0, 256, (4, 4, 4), dtype=np.uint8)
    assert np.array_equal(displayable(color), color[..., :3])


@pytest.mark.parametrize("count", [1, 2, 7, 30])
def test_colors_are_distinct(count: int) -> None:
    colors = [distinct_color(i, count) for i in range(count)]
    assert len(set(colors)) == count
    assert all(max(c) - min(c) > 150 for c in colors)


def test_masks_of_unknown_meaning_become_visible() -> None:
    """Ids 0, 1, 2 are all black to the eye; 0/255 and colours stay what they are."""
    ids = np.array([[0, 1, 2]], np.uint8)

    def shown(pixels: np.ndarray, palette: np.ndarray | None = None, one_hot: bool = False) -> list:
        return class_colors(MaskPixels(pixels, palette, False, one_hot, ""))[0].tolist()

    colors = shown(ids)
    assert colors[0] == [0, 0, 0]
    assert len({tuple(c) for c in colors}) == 3
    assert shown(np.eye(3)[ids], one_hot=True) == colors
    assert shown(np.array([[0, 255]], np.uint8)) == [[0] * 3, [255] * 3]
    palette = np.array([[9, 8, 7], [1, 2, 3], [4, 5, 6]], np.uint8)
    assert shown(ids, palette) == palette.tolist()
    assert shown(palette[ids]) == palette.tolist()


def test_cases_that_cannot_be_read_are_told_and_the_others_drawn(
    make_dataset: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = make_dataset({"train": 4})
    image, *_ = sorted((dataset / "train" / "images").iterdir())
    *_, mask = sorted((dataset / "train" / "masks").iterdir())
    image.write_bytes(b"no image")
    mask.write_bytes(b"no image")
    shown: list[list[str]] = []

    def note(path: Path, tiles: list[tuple[str, object]]) -> Path:
        shown.append([name for name, _ in tiles])
        return path

    monkeypatch.setattr(statistics, "_write_sheet", note)
    drawn = draw_statistics(dataset, tmp_path / "out")
    assert {Path(error.where) for error in drawn.failed} == {image, mask}
    assert shown[0] == shown[1]
    assert len(shown[0]) == 2
