"""Palettes whose black is not the first entry: it is background, indices give the order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flexseg.config import load
from flexseg.dataset.labels import LabelMap
from flexseg.dataset.looks import look_at_mask
from flexseg.dataset.marks.label_tables import LabelTable
from flexseg.dataset.marks.other_background import black_index
from flexseg.dataset.meaning import meaning_of
from flexseg.derive.folders import derive_folders
from flexseg.files.images import MaskPixels, read_mask, write_png
from flexseg.planning.initialize import initialize
from support import flexseg

BLACK, RED, GREEN, BLUE = (0, 0, 0), (255, 0, 0), (0, 128, 0), (0, 0, 255)
IDS = np.full((24, 24), 2, np.uint8)
IDS[2:9, 2:9], IDS[11:18, 3:12] = 0, 1
PALETTE = [RED, GREEN, BLACK]


def _mask(ids: np.ndarray, palette: list[tuple[int, int, int]]) -> MaskPixels:
    return MaskPixels(ids.astype(np.uint8), np.array(palette, np.uint8), False, False, "P")


@pytest.mark.parametrize(
    ("ids", "palette", "index"),
    [
        (IDS, PALETTE, 2),
        (IDS + 1, [BLUE, *PALETTE], 3),  # no mask shows index 0
        ((IDS + 1) % 3, [BLACK, RED, GREEN], None),
        (IDS, [BLACK, RED, BLACK], None),
        (IDS > 1, [RED, BLACK], None),  # one class
    ],
    ids=["last", "0 not used", "first", "twice", "one class"],
)
def test_black_index(ids: np.ndarray, palette: list[tuple[int, int, int]], index: int) -> None:
    assert black_index([look_at_mask(_mask(ids, palette))] * 3) == index


def test_blended_edges_have_no_order_of_indices() -> None:
    """As a picture in colour that was reduced to a palette, white first."""
    rgb = np.zeros((96, 96, 3), np.uint8)
    rgb[20:60, 10:40], rgb[30:80, 50:85] = RED, GREEN
    small = Image.fromarray(rgb).resize((64, 64), Image.Resampling.BILINEAR)
    reduced = small.quantize(200)
    colors = np.array(reduced.getpalette(), np.uint8).reshape(-1, 3)
    look = look_at_mask(MaskPixels(np.asarray(reduced), colors[::-1], False, False, "P"))
    assert black_index([look] * 3) is None


def test_one_class_counts_by_its_color() -> None:
    meaning = meaning_of([look_at_mask(_mask(IDS > 1, [RED, BLACK]))] * 3, None, LabelTable())
    assert (meaning.background, meaning.classes[0].colors) == (None, (RED,))


def test_all_commands_agree(tmp_path: Path) -> None:
    """Red is index 0 and class 1, though green comes first among the colours."""
    for i in range(9):
        folders = [tmp_path / name for name in ("d/images", "d/masks", "pred")]
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(i)
        write_png(folders[0] / f"c{i}.png", rng.integers(0, 255, (24, 24, 3), np.uint8))
        ids = np.roll(IDS, i % 3, axis=1)
        write_png(folders[1] / f"c{i}.png", ids, [v for rgb in PALETTE for v in rgb])
        write_png(folders[2] / f"c{i}.png", ids)
    wanted = (IDS + 1) % 3

    initialize(tmp_path / "d", tmp_path / "p")
    config = tmp_path / "p" / "flexseg.toml"
    labels = LabelMap.from_config(load(config).experiment.class_sections)
    assert [c.values for c in labels.classes] == [(2,), (0,), (1,)]
    own = read_mask(tmp_path / "d" / "masks" / "c0.png")
    np.testing.assert_array_equal(labels.encode(own).labels, wanted)

    derived = derive_folders(tmp_path / "d/images", tmp_path / "d/masks", tmp_path / "out")
    assert any("index 2 is black" in note for note in derived.notes)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out/masks/c0.png")), wanted)

    folders = ("--predictions", tmp_path / "pred", "--masks", tmp_path / "d/masks")
    assert flexseg("evaluate", config, *folders, "-o", tmp_path / "scores") == 0
    rows = (tmp_path / "scores" / "cases.csv").read_text().splitlines()
    assert len(rows) > 9 and ",1.0" in rows[1]
