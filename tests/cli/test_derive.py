"""`flexseg derive`: what it says, and its exit codes."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

import flexseg.cli.derive  # noqa: F401 - registers the command
from flexseg.cli import main

RECIPES = Path(__file__).parents[2] / "docs" / "how-to" / "derive.md"


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str]:
    with pytest.raises(SystemExit) as stop:
        main(["derive", *map(str, arguments)])
    out, err = capsys.readouterr()
    return int(stop.value.code or 0), " ".join((out + err).split())


@pytest.fixture
def volumes(tmp_path: Path) -> Path:
    """`img/s1.nii` and `seg/s1_seg.nii`, of 4 slices, 2 of them with label 1."""
    image = np.random.default_rng(0).integers(-1000, 1000, (4, 16, 16)).astype(np.int16)
    labels = np.zeros(image.shape, np.uint8)
    labels[1:3, 4:9, 5:9] = 1
    for folder, name, array in (("img", "s1.nii", image), ("seg", "s1_seg.nii", labels)):
        (tmp_path / folder).mkdir()
        sitk.WriteImage(sitk.GetImageFromArray(array), str(tmp_path / folder / name))
    return tmp_path


def test_volumes(volumes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = volumes / "out"
    code, text = run(
        capsys, "volumes", volumes / "img", volumes / "seg", "-o", out, "--label-name", "{id}_seg",
        "--window", "-600/1500", "--label", "1=spleen", "--empty-every", "2", "--rotate", "90",
    )  # fmt: skip
    assert code == 0
    assert f"3 slices in {out}, 2 with labels and 1 without." in text
    assert "Classes: 1 spleen" in text
    assert "- Grey values: window -1350 to 150." in text
    assert "- 1 slice without labels was left out (--empty-every)." in text
    assert f"init {out} -o PROJECT" in text
    assert r"group = '^(.*)_\d+$'" in text
    assert len(list((out / "images").iterdir())) == 3
    described = json.loads((out / "dataset.json").read_text(encoding="utf-8"))
    assert described["parameters"]["rotate"] == 90


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        (
            "--axis",
            "top",
            "--axis 'top' does not name axes. Fix: Give axial, coronal or sagittal, several",
        ),
        ("--bits", "12", "12 is not a possible value. Fix: Give one of 8, 16."),
        ("--rotate", "45", "45 is not a possible value"),
        ("--window", "soft", "'soft' is not a window"),
        ("--geometry", "any", "Give one of strict, voxels, resample"),
        ("--label", "spleen", "'spleen' does not name a class"),
        ("--label-name", "seg", "'seg' is not a name pattern"),
        ("--output", ".", "contains the input"),
    ],
)
def test_wrong_options_are_usage_errors(
    volumes: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    option: str,
    value: str,
    message: str,
) -> None:
    monkeypatch.chdir(volumes)
    code, text = run(capsys, "volumes", "img", "seg", "-o", "out", option, value)
    assert code == 2
    assert message in text


def test_wrong_data(volumes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (volumes / "seg" / "s1_seg.nii").rename(volumes / "seg" / "another.nii")
    code, text = run(capsys, "volumes", volumes / "img", volumes / "seg", "-o", volumes / "out")
    assert code == 3
    assert "No volume has labels" in text
    assert "Fix:" in text
    code, text = run(capsys, "volumes", volumes / "x", volumes / "seg", "-o", volumes / "out")
    assert code == 3
    assert "There is no such file or folder" in text


def test_folders_coco_and_tiles(
    make_dataset: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = make_dataset({"train": 3}, classes=3) / "train"
    code, text = run(
        capsys, "folders", source / "images", source / "masks", "-o", tmp_path / "f",
        "--color", "0,255,0=disc", "--color", "red=square", "--patient", "^(train)",
    )  # fmt: skip
    assert code == 0
    assert "Classes: 1 disc, 2 square" in text
    assert "group = '^(train)'" in text
    code, text = run(capsys, "tiles", tmp_path / "f", "-o", tmp_path / "t", "--size", "24x20")
    assert code == 0
    assert f"12 tiles in {tmp_path / 't'}" in text
    with Image.open(tmp_path / "t" / "images" / "train_00_y00020_x00024.png") as tile:
        assert tile.size == (24, 20)
    code, text = run(capsys, "tiles", tmp_path / "f", "-o", tmp_path / "t", "--size", "big")
    assert (code, "'big' is not a size" in text) == (2, True)
    outline = {
        "id": 1, "image_id": 1, "category_id": 1, "segmentation": [[0, 0, 9, 0, 9, 9]],
    }  # fmt: skip
    content = {
        "images": [{"id": 1, "file_name": "train_00.png"}],
        "annotations": [outline],
        "categories": [{"id": 1, "name": "cell"}],
    }
    (tmp_path / "c.json").write_text(json.dumps(content))
    code, text = run(
        capsys, "coco", tmp_path / "c.json", source / "images", "-o", tmp_path / "c", "--bits", "8"
    )
    assert code == 0
    assert "Classes: 1 cell" in text
    assert "Several images per patient?" in text


def write_sources(folder: Path) -> None:
    """The five layouts that the recipes assume, in small."""
    labels = np.zeros((4, 16, 16), np.uint8)
    labels[1:3, 4:9, 5:9] = 1
    image = np.random.default_rng(0).integers(-1000, 1000, labels.shape).astype(np.int16)
    volumes = {
        "tr_im.nii.gz": image,
        "tr_mask.nii.gz": labels * np.array([1, 1, 2, 3], np.uint8)[:, None, None],
        "Task09_Spleen/imagesTr/spleen_2.nii.gz": image,
        "Task09_Spleen/labelsTr/spleen_2.nii.gz": labels,
        "MS/Patient-7/7-T2.nii": image,
        "MS/Patient-7/7-LesionSeg-T2.nii": labels,
        "MS/Patient-7/7-Flair.nii": image,
    }
    pictures = {
        "V2/CT_Images/30.tif": image[1].astype(np.uint8),
        "V2/CT_Masks/30.png": labels[1] * 255,
        "OTU_2d/images/1.JPG": image[1].astype(np.uint8),
        "OTU_2d/annotations/1_binary.PNG": labels[1],
        "OTU_2d/annotations/1.PNG": labels[1] * 38,
    }
    for name in (*volumes, *pictures):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
    for name, array in volumes.items():
        sitk.WriteImage(sitk.GetImageFromArray(array), str(folder / name))
    for name, pixels in pictures.items():
        Image.fromarray(pixels).save(folder / name)


def test_recipes_of_the_documentation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = RECIPES.read_text(encoding="utf-8").partition("## The sources")[2]
    recipes = re.findall(r"^flexseg derive (.*)$", text, re.MULTILINE)
    assert len(recipes) == 5
    write_sources(tmp_path)
    monkeypatch.chdir(tmp_path)
    for recipe in recipes:
        code, said = run(capsys, *shlex.split(recipe))
        assert code == 0, said
    cases = {
        p.parent.name: len(p.read_text().splitlines()) - 1 for p in tmp_path.glob("*/manifest.csv")
    }
    assert cases == {"covid": 4, "lung": 1, "spleen": 3, "ovarian": 1, "ms-t2": 4}
