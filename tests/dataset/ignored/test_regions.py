"""Masks of their own say what is ignored, or what counts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from flexseg.augment.offline import multiply
from flexseg.config import load
from flexseg.dataset.cases import Case, case_mask
from flexseg.dataset.division.config_splits import find_splits
from flexseg.dataset.ignored.pixels import IGNORED, IgnoredPixels
from flexseg.dataset.labels import LabelClass, LabelMap
from flexseg.dataset.reading import Dataset
from flexseg.errors import DataError
from flexseg.files.images import read_mask, write_png
from flexseg.model_file.hdf5_weights import read_weights
from flexseg.training.trainer import Training
from support import flexseg

CONFIG = """
[model]
image_width = 32
image_height = 32
num_classes = {classes}
num_layers = 2
base_filters = 4
loss = "{loss}"
[dataset]
split = [0.5, 0.25, 0.25]
images_dir = "images"
masks_dir = "masks"
{regions}
[train]
epochs = 1
batch_size = 2
epoch_change_infer = false
oversample = 0.5
precision = "float32"
[augmentation]
enabled = true
rotation = 1.0
crop = 1.0
"""
KEPT = np.s_[:, :20]


def write_data(folder: Path, seed: int) -> None:
    """Images with an object on the left; the labels on the right are noise, another one per seed.

    `roi` holds what counts, `ignore` the opposite, at half the size.
    """
    rng, noise = np.random.default_rng(0), np.random.default_rng(seed)
    for i in range(8):
        mask = noise.integers(0, 3, (32, 40)).astype(np.uint8)
        mask[KEPT] = 0
        mask[8:20, 4:16] = 1 + i % 2
        image = (rng.normal(90, 20, (32, 40, 3)) + 60 * (mask[..., None] > 0)).clip(0, 255)
        image[:, 20:] = 90
        roi = np.zeros((32, 40), np.uint8)
        roi[KEPT] = 255
        ignore = (255 - roi)[::2, ::2] // 255
        for kind, pixels in (("images", image), ("masks", mask), ("roi", roi), ("ignore", ignore)):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            write_png(folder / kind / f"case{i}.png", pixels.astype(np.uint8))


def project(folder: Path, seed: int, regions: str, classes: int = 3) -> Path:
    write_data(folder, seed)
    loss = "dice_ce_loss"
    text = CONFIG.format(classes=classes, loss=loss, regions=regions)
    (folder / "a.toml").write_text(text, encoding="utf-8")
    return folder / "a.toml"


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("classes", [1, 3])
def test_wrong_labels_beneath_teach_nothing(tmp_path: Path, classes: int) -> None:
    """Bit for bit the same weights, whatever the masks say there, and whichever way it is said."""
    weights = []
    for seed, regions in ((1, 'roi_dir = "roi"'), (2, 'ignore_dir = "ignore"')):
        config = project(tmp_path / str(seed), seed, regions, classes)
        result = Training(load(config), Console(quiet=True)).run()
        weights.append([array for _, array in read_weights(result.weights)])
    assert (
        read_mask(tmp_path / "1/masks/case0.png").pixels[:, 20:]
        != read_mask(tmp_path / "2/masks/case0.png").pixels[:, 20:]
    ).any()
    for one, other in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_cases_have_their_files(tmp_path: Path) -> None:
    config = project(tmp_path, 0, 'roi_dir = "roi"')
    splits = find_splits(load(config).experiment.data)
    case = splits.cases["train"][0]
    assert case.roi == tmp_path / "roi" / case.image.name and case.roi in case.files
    ignored = case_mask(case).ignored
    assert ignored is not None
    np.testing.assert_array_equal(ignored[0], np.arange(40) >= 20)


def test_names_of_regions(tmp_path: Path) -> None:
    config = project(tmp_path, 0, "roi_dir = 'roi'\nregion_name = '{id}_mask'")
    with pytest.raises(DataError, match="8 of 8 images have no file in this folder") as error:
        find_splits(load(config).experiment.data)
    assert "region_name" in error.value.fix
    for path in (tmp_path / "roi").iterdir():
        path.rename(path.with_name(f"{path.stem}_mask.png"))
    cases = find_splits(load(config).experiment.data).cases["train"]
    assert all(case.roi and case.roi.stem == f"{case.id}_mask" for case in cases)


def test_a_region_of_another_shape_is_refused(tmp_path: Path) -> None:
    write_data(tmp_path, 0)
    write_png(tmp_path / "roi/case0.png", np.zeros((40, 32), np.uint8))
    case = Case("case0", *(tmp_path / k / "case0.png" for k in ("images", "masks")), "case0")
    with pytest.raises(DataError, match="The mask is 32 x 40 pixels, but its image is 40 x 32"):
        case_mask(replace(case, roi=tmp_path / "roi/case0.png"))


def test_lossy_and_indexed_regions(tmp_path: Path) -> None:
    write_data(tmp_path, 0)
    case = Case("case0", *(tmp_path / k / "case0.png" for k in ("images", "masks")), "case0")
    disc = np.zeros((32, 40), np.uint8)
    cv2.circle(disc, (20, 16), 12, 255, -1)
    Image.fromarray(disc).save(tmp_path / "a.jpg", quality=60)
    indexed = Image.fromarray(disc // 255)
    indexed.putpalette([0, 0, 0, 0, 0, 90])
    indexed.save(tmp_path / "a.png")
    for name in ("a.jpg", "a.png"):
        ignored = case_mask(replace(case, ignore=tmp_path / name)).ignored
        assert ignored is not None
        assert (ignored != (disc > 0)).mean() < (0.01 if name == "a.jpg" else 1e-9)


def test_evaluation_leaves_them_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Predictions that are right where it counts are perfect; the table says what was left out."""
    config = project(tmp_path, 0, 'roi_dir = "roi"')
    (tmp_path / "found").mkdir()
    for path in (tmp_path / "masks").iterdir():
        mask = read_mask(path).pixels.copy()
        mask[:, 20:] = 1
        write_png(tmp_path / "found" / path.name, mask)
    folders = ["--predictions", tmp_path / "found", "--masks", tmp_path / "masks"]
    assert flexseg("evaluate", config, *folders, "-o", tmp_path / "out") == 0
    rows = (tmp_path / "out/cases.csv").read_text(encoding="utf-8").splitlines()
    table = [dict(zip(rows[0].split(","), row.split(","), strict=True)) for row in rows[1:]]
    assert {row["dice"] for row in table if row["status"] == "scored"} == {"1.0"}
    assert {row["ignored_px"] for row in table} == {str(32 * 20)}
    text = " ".join(capsys.readouterr().out.split())
    assert "5,120 pixels (50.00%), in 8 of 8 cases, are ignored in the reference" in text


def test_augmented_copies_show_them(tmp_path: Path) -> None:
    """Copies carry what was in two files in one mask, with 255 for what is ignored."""
    config = project(tmp_path, 0, 'ignore_dir = "ignore"')
    multiply(load(config), tmp_path / "out", copies=1)
    colors = ((0, 0, 0), *((i, i, i) for i in (1, 2)))
    classes = tuple(LabelClass(i, str(i), (rgb,)) for i, rgb in enumerate(colors))
    labels = LabelMap(classes, binary=False, ignored=IgnoredPixels((255,)))
    shares: list[float] = []
    for split in ("train", "valid"):
        for path in (tmp_path / "out" / split / "masks").iterdir():
            pixels = read_mask(path).pixels
            shares.append((labels.encode(read_mask(path)).labels == IGNORED).mean())
            assert set(np.unique(pixels)) <= {0, 1, 2, 255}
    assert max(shares) < 1 and np.count_nonzero(shares) > len(shares) / 2


def test_tiles_show_them(tmp_path: Path) -> None:
    """Masks of classes and of what counts become one, which `plan` reads again."""
    write_data(tmp_path / "data", 0)
    (tmp_path / "data/roi").rename(tmp_path / "roi")
    (tmp_path / "data/ignore").rename(tmp_path / "ignore")
    size, out = ("--size", "16"), tmp_path / "tiles"
    regions = ("--roi", tmp_path / "roi")
    assert flexseg("derive", "tiles", tmp_path / "data", "-o", out, *size, *regions) == 0
    data = Dataset.open(out)
    assert len(data.labels.foreground) == 2 and data.labels.ignored == IgnoredPixels((255,))
    right = data.labels.encode(read_mask(out / "masks/case0_y00000_x00024.png")).labels
    left = data.labels.encode(read_mask(out / "masks/case0_y00000_x00000.png")).labels
    assert (right == IGNORED).all()
    assert set(np.unique(left)) == {0, 1}
