"""The contact sheet of augmentation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from config_parts import labels_of
from flexseg.augment import preview
from flexseg.augment.multiplication import Multiplication
from flexseg.augment.pairs import ScaledPair
from flexseg.config import load
from flexseg.config.augmentation import AugmentationConfig
from flexseg.config.schema import Experiment
from flexseg.dataset.cases import Case

CONFIG = """
[model]
image_width = 48
image_height = 40
num_classes = 2
[train]
images_dir = "dataset/train/images"
masks_dir = "dataset/train/masks"
[valid]
images_dir = "dataset/valid/images"
masks_dir = "dataset/valid/masks"
"""
CASE = Case("x", Path("x.png"), Path("x.png"), "x")
STRONG = AugmentationConfig(
    enabled=True,
    **dict.fromkeys(preview.RANGES, 0.5),
)


def disc(dtype: str = "uint8") -> ScaledPair:
    """A bright disc off the centre, whose mask is known from the image alone."""
    rows, columns = np.mgrid[:96, :128]
    labels = ((rows - 40) ** 2 + (columns - 80) ** 2 < 22**2).astype(np.uint8)
    image = np.repeat(labels[..., None] * 200, 3, axis=2).astype(dtype)
    return ScaledPair(image, labels, image.dtype, None)


def test_every_transform_of_the_recipe_can_be_shown() -> None:
    """A key with a default range belongs to the transform that it is named after."""
    fields = AugmentationConfig.model_fields
    parts = {"crop_foreground", "scaling_separate", "gamma_inverted", "curve_separate"}
    parts.add("curve_inverted")
    probabilities = {name for name, f in fields.items() if f.annotation is float} - parts
    assert probabilities == set(preview.RANGES)
    ranges = {limits[0] for limits in preview.RANGES.values() if limits}
    assert ranges <= set(fields)


def test_each_transform_is_shown_and_does_something() -> None:
    pair = disc()
    draws = dict(preview._recipe_draws(STRONG, 0, CASE, pair.labels))
    shown = {caption.split(" ")[0] for caption in draws}
    assert shown == {"original", "draw", *preview.RANGES}
    assert [c for c in draws if c.startswith("rotation")] == ["rotation -60", "rotation 60"]
    assert [c for c in draws if c.startswith("noise")] == ["noise 0.1"]  # 0 would show nothing
    for caption, draw in draws.items():
        image, _ = draw.apply(pair.image, pair.labels)
        assert np.array_equal(image, pair.image) == (caption == "original"), caption


def test_outlines_lie_where_the_image_says() -> None:
    """The filled outline of every tile is the bright part of its image."""
    pair = disc()
    labels = labels_of(Experiment())
    for caption, draw in preview._recipe_draws(STRONG, 0, CASE, pair.labels):
        if caption.startswith(("noise", "draw")):
            continue
        (tile,) = preview._tiles(pair, iter([(caption, draw)]))
        bright = tile.image.min(axis=2) > 90
        assert (bright == (tile.labels == 1)).mean() > 0.985, caption
        drawn = preview._outlined(tile.image, tile.labels, labels)
        line = (drawn != preview._outlined(tile.image, 0 * tile.labels, labels)).any(axis=2)
        assert line.any(), caption


def test_a_variant_sheet(tmp_path: Path, make_dataset: Callable[..., Path]) -> None:
    make_dataset({"train": 5, "valid": 2})
    path = tmp_path / "a.toml"
    path.write_text(CONFIG, encoding="utf-8")
    loaded = load(path)
    written = preview.draw_preview(loaded, tmp_path / "out", cases=2)
    with Image.open(written.path) as one:
        small = one.size
    e = loaded.experiment
    assert Multiplication.from_config(0, e.augmentation, e.variants).per_case == 7
    preview.draw_preview(loaded, tmp_path / "out", cases=3)
    with Image.open(written.path) as two:
        assert two.width == small[0] and two.height > small[1]
    (tmp_path / "dataset/train/images/train_00.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    (error,) = preview.draw_preview(loaded, tmp_path / "third", cases=2).failed
    assert "train_00.png" in str(error)
    assert len(list((tmp_path / "out").glob("augmentation_preview.png_*_bak"))) == 1
    # 7 tiles beside each other, and the legend in the class's colour.
    assert small[0] > 7 * 200


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_dull_images_are_stretched_all_alike(dtype: str) -> None:
    pair = disc(dtype)
    dull = ScaledPair((pair.image / 10).astype(dtype), pair.labels, pair.dtype, None)
    recipe = STRONG.model_copy(update=dict.fromkeys(preview.RANGES, 0.0) | {"brightness": 1.0})
    tiles = list(preview._tiles(dull, preview._recipe_draws(recipe, 0, CASE, pair.labels)))
    original, darker, brighter = (int(tile.image.max()) for tile in tiles[:3])
    assert original == 255 and 180 < darker < 200 and brighter == 255


def test_grey_classes_get_an_outline_in_colour() -> None:
    one = Experiment.model_validate({"model": {"num_classes": 1}})
    labels = labels_of(one)
    color = preview._line_color(labels, labels.foreground[0])
    assert max(color) - min(color) > 100


def test_captions_stay_within_their_tile() -> None:
    font = preview.ImageFont.load_default(15)
    text = "draw 1: " + ", ".join(["deformation"] * 12)
    lines = preview._wrapped(text, font)
    assert len(lines) == 2 and all(font.getlength(line) <= 240 for line in lines)
    assert lines[1].endswith("...")
