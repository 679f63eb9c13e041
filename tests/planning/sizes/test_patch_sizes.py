"""Patches where whole images lose what is to be found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from flexseg.files.images import write_png
from flexseg.planning import plan as plan_module
from flexseg.planning.auto import after_training
from flexseg.planning.network import natural_shape, shape_of
from flexseg.planning.planned_data import read_data
from flexseg.planning.sizes.patch_sizes import patches_instead, validated, windows_of
from flexseg.planning.sizes.resolution import Resolution
from flexseg.planning.timing import StepTime

STEP = StepTime(0.01, 0.01, 0.004, 1.0, 8, 1000)


def lines(side: int, period: int = 16, width: int = 1) -> np.ndarray:
    """A grid of lines."""
    at = np.arange(side) % period < width
    return (at[:, None] | at[None, :]).astype(np.uint8)


def resolution_of(mask: np.ndarray) -> Resolution:
    part = mask[:512, :512]
    small = mask[:: max(1, len(mask) // 1024), :: max(1, len(mask) // 1024)]
    return Resolution((small,), 2, parts=(part,))


def test_lines_in_large_images_ask_for_patches_at_their_own_size() -> None:
    natural = natural_shape(1024, 1024, 100)
    found = patches_instead(
        natural, natural, 0.25, 3000.0, resolution_of(lines(1024)), (1024, 1024)
    )
    assert found is not None
    shape, why = found
    assert (shape.width, shape.height, shape.patch_scale) == (256, 256, 1.0)
    assert "patches of 256 x 256 of the images at their own size: masks keep a Dice of 1.000" in why
    assert "time for 48,000 patches; whole images of 512 x 512 keep 0." in why


def test_little_time_takes_smaller_patches() -> None:
    natural = natural_shape(1024, 1024, 100)
    found = patches_instead(natural, natural, 0.25, 60.0, resolution_of(lines(1024)), (1024, 1024))
    assert found is not None and found[0].width == 128


@pytest.mark.parametrize(
    ("mask", "size"),
    [(lines(256), (256.0, 256.0)), (np.ones((1024, 1024), np.uint8), (1024.0, 1024.0))],
    ids=["images that are seen at their own size", "large objects"],
)
def test_where_whole_images_keep_the_masks_they_are_taken(
    mask: np.ndarray, size: tuple[float, float]
) -> None:
    natural = natural_shape(*size, 100)
    found = resolution_of(mask)
    for seconds in (10.0, 300.0, 1e5):
        for whole in (natural, shape_of(96, 96, 100)):
            assert patches_instead(natural, whole, 0.25, seconds, found, size) is None


def test_an_enlarged_set_gets_the_patches_that_it_had() -> None:
    natural = natural_shape(1024, 1024, 100)
    own = resolution_of(lines(1024))
    first = patches_instead(natural, natural, 0.25, 3000.0, own, (1024, 1024))
    twice = patches_instead(natural, natural, 0.25, 3000.0, replace(own, enlarged=2), (2048, 2048))
    assert first is not None and twice is not None
    assert replace(first[0], patch_scale=0.5) == twice[0]


def test_windows_of_an_image() -> None:
    patch = replace(shape_of(128, 128, 100), patch_scale=1.0)
    # A quarter of 128 is shared: steps of 96 pixels.
    assert windows_of(patch, (320, 224)) == 3 * 2
    assert windows_of(replace(patch, patch_scale=0.5), (640, 448)) == 3 * 2
    assert windows_of(shape_of(128, 128, 100), (320, 224)) == 1
    assert validated(patch, (320, 224), 10) == 10 * 3 * 2
    assert validated(patch, (320, 224), 1000) == 512
    assert validated(shape_of(128, 128, 100), (320, 224), 1000) == 1000


def write_set(folder: Path, side: int) -> Path:
    rng = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    for number in range(12):
        mask = np.roll(lines(side), number % 7, axis=0)
        image = (rng.integers(0, 90, mask.shape) + 120 * mask).astype(np.uint8)
        write_png(folder / f"images/{number}.png", image[..., None])
        write_png(folder / f"masks/{number}.png", mask, [0, 0, 0, 255, 255, 255])
    return folder


def test_a_plan_chooses_patches_says_why_and_counts_their_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan_module, "time_step", lambda *_, **__: STEP)
    plan = plan_module.make_plan(write_set(tmp_path / "data", 768), tmp_path / "out", 300.0)
    e = plan.loaded.experiment
    assert e.image.patch_scale == 1.0
    assert e.model.image_width == e.model.image_height <= 256
    text = plan.config.read_text(encoding="utf-8").replace("\n# ", " ")
    assert "of the images at their own size: masks keep a Dice of 1.000" in text
    assert "whole images of 512 x 512 keep 0." in text
    data = read_data(
        tmp_path / "data", tmp_path / "out2", split_file=None, group=None, stage=lambda _: None
    )
    whole = shape_of(256, 256, 100)
    patches = replace(whole, patch_scale=1.0)
    more = after_training(data, STEP, patches, 8) - after_training(data, STEP, whole, 8)
    images = 4 * (data.validation + data.test)
    assert more == pytest.approx(1.5 * images * (16 - 1) * STEP.validation / STEP.batch)
