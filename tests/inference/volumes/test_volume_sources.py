"""Which volumes are predicted, and what they are called."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from flexseg.inference.volumes.volume_sources import holds_volumes, volume_cases
from volume_models import three_volumes


@pytest.fixture
def volumes(tmp_path: Path) -> Path:
    return three_volumes(tmp_path / "volumes")


def test_names_are_unique(tmp_path: Path) -> None:
    for name in ("x/t1.nii.gz", "y/t1.nii.gz", "y/t1.mha", "t2.nii"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    cases = volume_cases(tmp_path, tmp_path / "out")
    assert {str(c.path.relative_to(tmp_path)): (c.name, c.folder) for c in cases} == {
        "t2.nii": ("t2", "t2.nii"),
        "x/t1.nii.gz": ("x_t1", "x_t1"),
        "y/t1.mha": ("t1.mha", "t1.mha"),
        "y/t1.nii.gz": ("y_t1", "y_t1"),
    }


def test_what_is_predicted_as_volumes(volumes: Path, tmp_path: Path, caplog: Any) -> None:
    assert holds_volumes(volumes)
    assert holds_volumes(volumes / "a.nii.gz")
    images = tmp_path / "images"
    images.mkdir()
    Image.new("L", (4, 4)).save(images / "a.png")
    np.save(images / "b.npy", np.zeros((4, 4, 3)))
    assert not holds_volumes(images)
    assert not holds_volumes(images / "b.npy")
    assert not holds_volumes(tmp_path / "none")
    (images / "v.mha").touch()
    assert not holds_volumes(images)
    assert "volumes beside the images are not predicted (1): v.mha" in caplog.text


def test_series_folder(shared: Path) -> None:
    folder = shared / "data" / "dicom" / "hippo_study1"
    assert holds_volumes(folder)
    [case] = volume_cases(folder, Path("out"))
    assert case.name == "hippo_study1"
