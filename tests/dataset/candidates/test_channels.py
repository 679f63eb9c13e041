from __future__ import annotations

from pathlib import Path

import numpy as np

from flexseg.dataset.candidates.answers import Answers
from flexseg.dataset.candidates.channels import other_channels
from flexseg.dataset.reading import Dataset, VolumeDataset
from flexseg.files.images import write_png
from flexseg.files.volumes.volume import Volume
from flexseg.files.volumes.write import write_volume


def test_names(tmp_path: Path) -> None:
    """Numbers are of channels where masks are named without them, or `dataset.json` says so."""
    file = tmp_path / "dataset.json"
    names = ["a_0000", "a_0001", "b_0000", "c_0001", "a_001", "a"]
    first = {"a_0000": ["a"], "b_0000": ["b"]}
    assert other_channels(names, first, file) == ["a_0001"]
    assert other_channels(names, {"a": ["a"], "a_001": ["a_001"]}, file) == []
    camera = [f"DSC_{i:04d}" for i in range(4)]
    assert other_channels(camera, {name: [f"{name}_gt"] for name in camera[:3]}, file) == []
    assert other_channels(["x_0000_0000", "x_0000_0001"], {"x_0000_0000": ["x_0000"]}, file) == []
    file.write_text('{"channel_names": {"0": "T1", "1": "T2"}}')
    numbered = {"a_0000": ["a_0000_gt"]}
    assert other_channels(["a_0000", "a_0001", "a_0002"], numbered, file) == ["a_0001"]


def test_an_image_of_a_camera_without_mask(tmp_path: Path) -> None:
    """A number of four digits is no channel: the image is told by its name."""
    for i in range(6):
        pixels = np.zeros((8, 8), np.uint8)
        pixels[2:5, 1:6] = 1
        for folder, end in (("images", ""), ("masks", "_gt")):
            (tmp_path / folder).mkdir(exist_ok=True)
            write_png(tmp_path / folder / f"DSC_{i:04d}{end}.png", pixels * (40 + i))
    (tmp_path / "masks" / "DSC_0005_gt.png").unlink()
    data = Dataset.open(tmp_path)
    assert "other-channels" not in {finding.code for finding in data.findings}
    assert any("DSC_0005.png" in finding.what for finding in data.findings)


def test_images(tmp_path: Path) -> None:
    """One channel is used, and it is said which; another one can be chosen."""
    for i in range(5):
        mask = np.zeros((8, 8), np.uint8)
        mask[2:5, 1:6] = 1
        for channel in range(3):
            path = tmp_path / "imagesTr" / f"c{i}_000{channel}.png"
            path.parent.mkdir(exist_ok=True)
            write_png(path, mask * 50 + i + channel)
        (tmp_path / "labelsTr").mkdir(exist_ok=True)
        write_png(tmp_path / "labelsTr" / f"c{i}.png", mask)
    data = Dataset.open(tmp_path)
    assert [case.id for case in data.cases] == [f"c{i}_0000" for i in range(5)]
    (found,) = [f for f in data.findings if f.severity == "warning"]
    assert found.code == "other-channels" and "c0_0000.png. 10 files" in found.what
    other = Dataset.open(tmp_path, answers=Answers(mask_name="{id:_0001=}"))
    assert [case.id for case in other.cases] == [f"c{i}_0001" for i in range(5)]


def test_volumes(tmp_path: Path) -> None:
    labels = np.zeros((3, 8, 8), np.uint8)
    labels[1, 2:5] = 1
    for folder in ("imagesTr", "labelsTr"):
        (tmp_path / folder).mkdir()
    for i in range(3):
        for channel in range(2):
            path = tmp_path / "imagesTr" / f"b_{i:03d}_000{channel}.nii.gz"
            write_volume(path, Volume(labels * np.int16(9) + np.int16(i + channel)))
        write_volume(tmp_path / "labelsTr" / f"b_{i:03d}.nii.gz", Volume(labels))
    data = Dataset.open(tmp_path)
    assert isinstance(data, VolumeDataset) and {pair.files for pair in data.pairs.pairs} == {2}
    assert "other-channels" not in {finding.code for finding in data.findings}
    for path in (tmp_path / "imagesTr").glob("*_0000.nii.gz"):
        path.unlink()
    data = Dataset.open(tmp_path)
    assert [case.image.name for case in data.cases] == [f"b_00{i}_0001.nii.gz" for i in range(3)]
    assert "other-channels" not in {finding.code for finding in data.findings}
