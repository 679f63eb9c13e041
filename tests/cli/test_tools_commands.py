"""The small tools of the original projects, by the command line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from support import flexseg

CONFIG = """
[model]
model = "TensorFlowFlexUNet"
num_classes = 3
[mask]
rgb_map = {(0,0,0): 0, (0,255,0): 1, (255,0,0): 2}
"""


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Three pictures, and masks of two classes in colour."""
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
    for i in range(3):
        image = np.full((20, 24, 3), 60 * i, np.uint8)
        mask = np.zeros((20, 24, 3), np.uint8)
        mask[4:10, 4:12] = (0, 255, 0)
        mask[12:16, 4:8] = (255, 0, 0)
        Image.fromarray(image).save(tmp_path / f"images/{i}.png")
        Image.fromarray(mask).save(tmp_path / f"masks/{i}.png")
    return tmp_path


def test_a_sheet_and_a_video_of_any_folder(pictures: Path) -> None:
    assert flexseg("tools", "sheet", pictures / "masks", "-o", pictures / "s.png") == 0
    assert Image.open(pictures / "s.png").size[0] > 300
    assert flexseg("tools", "video", pictures / "images", "-o", pictures / "v.gif") == 0
    assert getattr(Image.open(pictures / "v.gif"), "n_frames", 1) == 3


def test_a_sheet_says_how_many_of_the_pictures_it_shows(
    pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ("tools", "sheet", pictures / "images", "-o", pictures / "s.png")
    assert flexseg(*line, "--count", "2") == 0
    assert "2 of 3 pictures shown; --count 3 shows more" in capsys.readouterr().out
    assert flexseg(*line) == 0
    assert capsys.readouterr().out.rstrip().endswith("3 of 3 pictures shown")


@pytest.mark.parametrize("tool", ["sheet", "video"])
def test_a_folder_without_pictures_is_told_by_what_it_has(
    pictures: Path, tool: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert flexseg("tools", tool, pictures, "-o", pictures / "x.gif") == 3
    told = " ".join(capsys.readouterr().err.split())
    assert "2 folders (images/, masks/)" in told
    assert "Give one of them" in told
    (pictures / "none").mkdir()
    assert flexseg("tools", tool, pictures / "none", "-o", pictures / "x.gif") == 3
    assert "the folder is empty" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("tool", ["sheet", "video", "npz", "distortion"])
def test_a_damaged_file_is_named_and_the_others_are_shown(
    pictures: Path, tool: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for kind in ("images", "masks"):
        path = pictures / kind / "1.png"
        path.write_bytes(path.read_bytes()[:40])
    (pictures / "a.config").write_text(CONFIG, encoding="utf-8")
    distortion = '[distortion]\nimages_dir = "images"\noutput_dir = "out"\n'
    (pictures / "d.config").write_text(distortion + "distortions = [0.02]\n", encoding="utf-8")
    line, result = {
        "sheet": (("tools", "sheet", pictures / "images"), "out.png"),
        "video": (("tools", "video", pictures / "images"), "out.gif"),
        "npz": (("tools", "npz", pictures / "a.config", pictures / "masks"), "out"),
        "distortion": (("augment", pictures / "d.config"), "out"),
    }[tool]
    assert flexseg(*line, "-o", pictures / result) == 3
    assert "1.png" in capsys.readouterr().err
    assert (pictures / result).exists()
    if result == "out":
        stems = {path.stem[-1] for path in (pictures / "out").iterdir() if path.suffix != ".csv"}
        assert stems == {"0", "2"}
    for kind in ("images", "masks"):
        for path in (pictures / kind).iterdir():
            path.write_bytes(b"nothing")
    assert flexseg(*line, "-o", pictures / f"new_{result}") == 3
    assert not (pictures / f"new_{result}").exists()


def test_a_picture_of_another_size_is_left_out_of_a_video(
    pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (30, 30)).save(pictures / "images/1.png")
    assert flexseg("tools", "video", pictures / "images", "-o", pictures / "v.gif") == 3
    assert "30 x 30 pixels" in capsys.readouterr().err
    assert getattr(Image.open(pictures / "v.gif"), "n_frames", 1) == 2


def test_curves_of_the_original_spelling(tmp_path: Path) -> None:
    (tmp_path / "train_metrics.csv").write_text("epoch,a,b,\n0, 0.1, 0.2\n1, 0.3, 0.4\n")
    assert flexseg("tools", "curves", tmp_path / "train_metrics.csv") == 0
    assert Image.open(tmp_path / "train_metrics.png").size == (800, 600)
    (tmp_path / "b.csv").write_text("x,y\n1,2\n")
    assert flexseg("tools", "curves", tmp_path / "b.csv") == 3


def test_a_sample_is_the_same_again(pictures: Path) -> None:
    for name in ("a", "b"):
        where = (pictures / "images", pictures / "masks", "-o", pictures / name, "-n", "2")
        assert flexseg("tools", "sample", *where) == 0
    names = [sorted(p.name for p in (pictures / n / "images").iterdir()) for n in ("a", "b")]
    assert names[0] == names[1]
    assert names[0] == sorted(p.name for p in (pictures / "a/masks").iterdir())
    assert len(names[0]) == 2


def test_categorized_masks(pictures: Path) -> None:
    config = pictures / "a.config"
    config.write_text(CONFIG, encoding="utf-8")
    assert flexseg("tools", "npz", config, pictures / "masks", "-o", pictures / "n") == 0
    mask = np.load(pictures / "n/0.npz")["mask"]
    assert (mask.shape, mask.dtype) == ((20, 24, 3), np.float32)
    assert mask.sum(axis=(0, 1)).tolist() == [480 - 48 - 16, 48, 16]


def test_start_scripts(pictures: Path) -> None:
    config = pictures / "train_eval_infer.config"
    config.write_text("")
    assert flexseg("tools", "scripts", config) == 0
    names = {p.name for p in pictures.glob("*.sh")} | {p.name for p in pictures.glob("*.bat")}
    assert len(names) == 16
    assert (
        b"flexseg train train_eval_infer.config %*\r\n" in (pictures / "1.train.bat").read_bytes()
    )
    if sys.platform == "win32":
        return
    # A program of the name `flexseg` that tells what it is called with.
    (pictures / "bin").mkdir()
    program = pictures / "bin/flexseg"
    program.write_text('#!/bin/sh\necho "$PWD $@"\n')
    program.chmod(0o755)
    path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
    said = subprocess.run(
        [str(pictures / "3.infer.sh"), "--force"],
        env={**os.environ, "PATH": path}, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert said.split() == [str(pictures.resolve()), "infer", config.name, "--force"]
