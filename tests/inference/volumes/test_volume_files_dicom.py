"""DICOM series through the prediction of volumes: the segmentation beside the labels."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from flexseg.config.infer import Infer3dConfig
from flexseg.errors import ConfigError
from flexseg.files.volumes.read import read_labels, read_volume
from flexseg.inference.program import Outcome
from flexseg.inference.volumes.volume_files import Description, infer_volumes
from flexseg.inference.volumes.volume_predictor import VolumePredictor
from flexseg.inference.volumes.volume_sources import volume_cases
from volume_models import WINDOW, copying

hd = pytest.importorskip("highdicom")
pydicom = pytest.importorskip("pydicom")


def predict(source: Path, output: Path, **keys: bool) -> Outcome[Description]:
    config = Infer3dConfig(output_dir=output, previews=[], **keys)  # type: ignore[arg-type]
    predictor = copying(read_volume(source).shape[1:], intensity=WINDOW)  # type: ignore[arg-type]
    return infer_volumes(VolumePredictor(predictor, config), volume_cases(source, output))


@pytest.fixture
def series(shared: Path, tmp_path: Path) -> Path:
    """A real series without a frame of reference."""
    folder = tmp_path / "series"
    folder.mkdir()
    for path in (shared / "data" / "dicom" / "hippo_study1").iterdir():
        dataset = pydicom.dcmread(path)
        del dataset.FrameOfReferenceUID
        dataset.save_as(folder / path.name)
    return folder


def test_segmentation_and_labels_agree(shared: Path, tmp_path: Path) -> None:
    result = predict(shared / "data" / "dicom" / "hippo_study1", tmp_path / "out")
    assert not result.failed
    labels = read_labels(tmp_path / "out" / "labels" / "hippo_study1.nii.gz")
    path = tmp_path / "out" / "labels" / "hippo_study1.seg.dcm"
    found = hd.seg.segread(path).get_volume(combine_segments=True, allow_missing_positions=True)
    xyz = np.argwhere(labels.array)[:, ::-1]
    points = (labels.affine @ np.column_stack([xyz, np.ones(len(xyz))]).T)[:3].T
    indices = np.rint(found.map_reference_to_indices(points)).astype(int)
    assert len(indices) == (found.array > 0).sum() > 1000
    assert (found.array[tuple(indices.T)] == 1).all()


def test_headers_that_do_not_suffice_spoil_nothing_else(series: Path, tmp_path: Path) -> None:
    result = predict(series, tmp_path / "out")
    assert "lacks: FrameOfReferenceUID" in result.failed["series"]
    assert result.files["series"]["voxels_per_class"]["foreground"] > 1000
    assert [p.name for p in (tmp_path / "out" / "labels").iterdir()] == ["series.nii.gz"]
    assert not predict(series, tmp_path / "other", dicom_seg=False).failed


def test_without_the_extra_nothing_begins(
    series: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(ConfigError, match="highdicom"):
        predict(series, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    predict(series, tmp_path / "out", dicom_seg=False)
    assert (tmp_path / "out" / "labels" / "series.nii.gz").exists()
