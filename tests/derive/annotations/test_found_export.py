"""Exports are recognised where a dataset of masks is expected, and masks are made of them."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from annotation_exports import BUILDERS, HEIGHT, WIDTH, scene
from flexseg.config import load
from flexseg.dataset.candidates.answers import NO_ANSWERS
from flexseg.derive.annotations.export import FORMATS
from flexseg.derive.annotations.found_export import find_export
from flexseg.errors import DataError
from flexseg.files.images import read_mask, write_png
from support import flexseg

SIZE = (HEIGHT, WIDTH)
NAMES = ["a.png", "b.png", "c.png", "d.png"]
each = pytest.mark.parametrize("name", sorted(FORMATS))


def write_images(folder: Path, names: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(names):
        random = np.random.default_rng(i)
        pixels = random.integers(0, 60, (*SIZE, 3)) + 90 * scene()[..., None]
        Image.fromarray(pixels.astype(np.uint8)).save(folder / name)


@each
def test_init_makes_masks(tmp_path: Path, name: str) -> None:
    data, project = tmp_path / "d", tmp_path / "p"
    BUILDERS[name](data / "export", NAMES, SIZE)
    write_images(data / "images", NAMES)
    assert flexseg("init", data, "-o", project) == 0
    e = load(project / "flexseg.toml").experiment
    ids = {c.name: c.id for c in e.mask.classes}
    assert set(ids) >= {"organ", "lesion"}
    expected = np.array([0, ids["organ"], ids["lesion"]], np.uint8)[scene()]
    folder = project / "annotated"
    np.testing.assert_array_equal(read_mask(folder / "masks" / "a.png").pixels, expected)
    assert sorted(p.name for p in (folder / "images").iterdir()) == NAMES


@each
def test_beside_the_images(tmp_path: Path, name: str) -> None:
    """Annotations and images in one folder; the command does the same."""
    BUILDERS[name](tmp_path / "d", NAMES, SIZE)
    write_images(tmp_path / "d", NAMES)
    export = find_export(tmp_path / "d", NO_ANSWERS)
    assert export is not None and export.format_name == name
    assert flexseg(*shlex.split(export.command)[1:], tmp_path / "new") == 0
    assert len(list((tmp_path / "new" / "masks").iterdir())) == len(NAMES)


def test_a_file(tmp_path: Path) -> None:
    file = BUILDERS["coco"](tmp_path / "d", NAMES, SIZE)
    write_images(tmp_path / "d" / "images", NAMES)
    found = find_export(file, NO_ANSWERS)
    assert found is not None and found.images == tmp_path / "d" / "images"
    (tmp_path / "d" / "other.json").write_text("{}")
    assert find_export(tmp_path / "d" / "other.json", NO_ANSWERS) is None


def test_splits_of_folders_are_kept(tmp_path: Path) -> None:
    """YOLO's images/train, images/val and images/test stay so."""
    data = tmp_path / "d"
    for split, names in (("train", NAMES[:2]), ("val", NAMES[2:3]), ("test", NAMES[3:])):
        BUILDERS["yolo"](data / "one" / split, names, SIZE)
        write_images(data / "images" / split, names)
        (data / "labels").mkdir(exist_ok=True)
        (data / "one" / split / "labels").rename(data / "labels" / split)
    (data / "one" / "train" / "data.yaml").rename(data / "data.yaml")
    assert flexseg("init", data, "-o", tmp_path / "p") == 0
    parts = json.loads((tmp_path / "p" / "annotated" / "split.json").read_text())
    assert parts == {"train": ["train_a", "train_b"], "valid": ["val_c"], "test": ["test_d"]}


def test_several_exports(tmp_path: Path) -> None:
    for i in range(2):
        BUILDERS["coco"](tmp_path / f"part{i}", NAMES, SIZE)
        write_images(tmp_path / f"part{i}", NAMES)
    with pytest.raises(DataError, match="holds 2 exports") as caught:
        find_export(tmp_path, NO_ANSWERS)
    for i in range(2):
        assert f"{tmp_path}/part{i}/instances.json {tmp_path}/part{i} " in caught.value.fix


def test_masks_count_more(tmp_path: Path) -> None:
    """A dataset with masks is none, whatever else lies in it; nor is a folder of images alone."""
    BUILDERS["coco"](tmp_path / "d", NAMES, SIZE)
    write_images(tmp_path / "d" / "images", NAMES)
    (tmp_path / "d" / "masks").mkdir()
    for name in NAMES:
        write_png(tmp_path / "d" / "masks" / name, scene())
    assert find_export(tmp_path / "d", NO_ANSWERS) is None
    write_images(tmp_path / "alone", NAMES)
    assert find_export(tmp_path / "alone", NO_ANSWERS) is None
    assert find_export(tmp_path / "missing", NO_ANSWERS) is None
