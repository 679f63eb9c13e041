"""Images of nnU-Net's layout, whose channels are files: all channels are seen and learned."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from flexseg.config.findings import choices_told
from flexseg.dataset.candidates.answers import Answers
from flexseg.dataset.reading import Dataset, ImageDataset, VolumeDataset
from flexseg.errors import ConfigError, DataError
from flexseg.files.images import read_image, write_png
from flexseg.files.volumes.read import read_labels
from flexseg.files.volumes.volume import Volume
from flexseg.files.volumes.write import write_volume
from support import flexseg


def write_case(
    folder: Path, number: int, *, volume: bool, labels: bool = True, side: int = 32
) -> np.ndarray:
    """Two channels of noise, with a bright box in the second one only; returns the box."""
    random = np.random.default_rng(number)
    box = np.zeros((6 if volume else 1, side, side), np.uint8)
    y, x = random.integers(1, side - 9, 2)
    box[1 if volume else 0 : 5, y : y + 8, x : x + 8] = 1
    for channel in range(2):
        noise = random.integers(60, 120, box.shape) * (1 if channel else 5 * volume + 1)
        values = noise + box * 120 * channel
        name = folder / ("imagesTr" if labels else "imagesTs") / f"c{number}_000{channel}"
        name.parent.mkdir(parents=True, exist_ok=True)
        if volume:
            image = Volume(values.astype(np.int16), (1, 1, 3))
            write_volume(name.with_name(f"{name.name}.nii.gz"), image)
        else:
            write_png(name.with_name(f"{name.name}.png"), values[0].astype(np.uint8))
    (folder / "labelsTr").mkdir(exist_ok=True)
    if labels and volume:
        write_volume(folder / "labelsTr" / f"c{number}.nii.gz", Volume(box, (1, 1, 3)))
    elif labels:
        write_png(folder / "labelsTr" / f"c{number}.png", box[0])
    return box


def describe(folder: Path, channels: int) -> None:
    names = {str(i): f"T{i}" for i in range(channels)}
    content = {"channel_names": names, "labels": {"background": 0, "lesion": 1}}
    (folder / "dataset.json").write_text(json.dumps(content))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for i in range(5):
        write_case(tmp_path / "d", i, volume=False, side=16)
    return tmp_path / "d"


class TestImages:
    def test_stacked(self, images: Path, tmp_path: Path) -> None:
        describe(images, 2)
        data = Dataset.open(images, arrays=tmp_path / "arrays")
        assert isinstance(data, ImageDataset) and data.channel_files and data.channels == 2
        assert [case.id for case in data.cases] == [f"c{i}" for i in range(5)]
        assert data.classes[1].name == "lesion"
        assert not [f for f in data.findings if f.severity == "warning"]
        pixels = read_image(data.cases[0].image)
        second = read_image(images / "imagesTr" / "c0_0001.png")[..., 0]
        assert pixels.shape == (16, 16, 2) and (pixels[..., 1] == second).all()
        sections = data.sections(data.divide())
        assert sections["image"]["channel_files"] and sections["model"]["image_channels"] == 2
        assert "arrays" in repr(data)

    def test_lacking_channels(self, images: Path, tmp_path: Path) -> None:
        (images / "imagesTr" / "c3_0001.png").unlink()
        data = Dataset.open(images, arrays=tmp_path / "arrays")
        assert [case.id for case in data.cases] == ["c0", "c1", "c2", "c4"]
        assert data.left_out == ("c3_0000.png: c3_0001.png is missing",)
        assert any("c3_0001.png" in f"{f.what}{f.items}" for f in data.findings)
        describe(images, 3)
        with pytest.raises(DataError, match="Every image lacks at least one of its 3 channels"):
            Dataset.open(images, arrays=tmp_path / "arrays")

    def test_one_channel(self, images: Path, tmp_path: Path) -> None:
        """A user's name, or a description of one channel, counts more than the files."""
        first = Answers(mask_name="{id:_0000=}")
        data = Dataset.open(images, answers=first, arrays=tmp_path / "arrays")
        assert data.cases[0].id == "c0_0000"
        describe(images, 1)
        assert Dataset.open(images, arrays=tmp_path / "arrays").cases[0].id == "c0_0000"
        assert not (tmp_path / "arrays").exists()

    def test_slices_are_no_channels(self, tmp_path: Path) -> None:
        """Where masks have numbers as well, these are numbers of slices."""
        for i in range(4):
            for kind in ("images", "masks"):
                (tmp_path / kind).mkdir(exist_ok=True)
                mask = np.zeros((8, 8), np.uint8)
                mask[2:5, i : i + 3] = 1
                write_png(tmp_path / kind / f"v_000{i}.png", mask)
        data = Dataset.open(tmp_path, arrays=tmp_path / "arrays")
        assert len(data.cases) == 4 and not (tmp_path / "arrays").exists()

    def test_not_among_the_images(self, images: Path) -> None:
        with pytest.raises(ConfigError, match="--output"):
            Dataset.open(images, arrays=images / "imagesTr" / "arrays")

    def test_sizes(self, images: Path, tmp_path: Path) -> None:
        write_png(images / "imagesTr" / "c2_0001.png", np.zeros((9, 9), np.uint8))
        with pytest.raises(DataError, match=r"this is 9 x 9, c2_0000\.png 16 x 16"):
            Dataset.open(images, arrays=tmp_path / "arrays")


def test_volumes(tmp_path: Path) -> None:
    for i in range(4):
        write_case(tmp_path, i, volume=True, side=16)
    data = Dataset.open(tmp_path)
    assert isinstance(data, VolumeDataset)
    assert [pair.files for pair in data.pairs.pairs] == [2] * 4 and not data.left_out
    (tmp_path / "imagesTr" / "c2_0001.nii.gz").unlink()
    data = Dataset.open(tmp_path)
    assert [case.id for case in data.cases] == ["c0", "c1", "c3"]
    assert "c2_0001.nii.gz" in data.left_out[0]
    assert data.left_out[0] in [finding.what for finding in choices_told(data.findings)]


@pytest.mark.long
@pytest.mark.parametrize("volume", [False, True])
def test_all_channels_are_learned(tmp_path: Path, volume: bool) -> None:
    """The box is in the second channel only; new cases have the same layout."""
    data, project = tmp_path / "d", tmp_path / "p"
    for i in range(14):
        write_case(data, i, volume=volume)
    box = write_case(data, 14, volume=volume, labels=False)
    write_case(data, 15, volume=volume, labels=False)
    suffix = ".nii.gz" if volume else ".png"
    (data / "imagesTs" / f"c15_0001{suffix}").unlink()
    describe(data, 2)
    assert flexseg("init", data, "-o", project, "--size", "32") == 0
    config, values = project / "flexseg.toml", ["model.base_filters=8", "model.num_layers=3"]
    values += ["train.epochs=40" if not volume else "train.epochs=12", "train.patience=0"]
    options = [text for value in values for text in ("--set", value)]
    assert flexseg("train", config, *options) == 0
    assert flexseg("evaluate", config, *options) == 0
    program = "infer3d" if volume else "infer"
    result = tmp_path / "r"
    assert flexseg(program, config, *options, "-i", data / "imagesTs", "-o", result) == 3
    if volume:
        found = read_labels(result / "labels" / "c14.nii.gz").array
    else:
        found = read_image(result / "c14.png")[None, ..., 0] > 0
    assert 2 * (found & box).sum() / (found.sum() + box.sum()) > 0.8
