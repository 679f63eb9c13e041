"""The quality of volumes whose axes are averaged, from its calibration to the table."""

from __future__ import annotations

import csv
import logging
from pathlib import Path

import numpy as np
import pytest

from flexseg.config.schema import Experiment
from flexseg.dataset.cases import Case
from flexseg.evaluation.postprocessing.volume_quality import averages_axes, quality_of_axes
from flexseg.files.volumes.read import write_volume
from flexseg.files.volumes.volume import Volume
from flexseg.inference.trust.conformal import Trust
from flexseg.inference.volumes.volume_files import infer_volumes
from flexseg.inference.volumes.volume_predictor import VolumePredictor
from flexseg.inference.volumes.volume_sources import volume_cases
from volume_models import WINDOW, copying, noise

AXES = ("axial", "coronal", "sagittal")


@pytest.fixture
def project(tmp_path: Path) -> Experiment:
    """Twelve volumes of noise, whose bright voxels are the class."""
    for kind in ("images", "labels"):
        (tmp_path / kind).mkdir()
    for seed in range(12):
        array = noise((6, 6, 6), seed)
        write_volume(tmp_path / "images" / f"v{seed}.nii.gz", Volume(array, (2.0, 5.0, 10.0)))
        labels = Volume((array > 0).astype(np.uint8), (2.0, 5.0, 10.0))
        write_volume(tmp_path / "labels" / f"v{seed}.nii.gz", labels)
    return Experiment.model_validate(
        {
            "volume": {"images_dir": tmp_path / "images", "masks_dir": tmp_path / "labels"},
            "infer3d": {"average_axes": True, "output_dir": tmp_path / "out", "previews": []},
        }
    )


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "out/predictions.csv").open(encoding="utf-8-sig") as table:
        return list(csv.DictReader(table))


def test_from_unseen_volumes_to_the_table(
    project: Experiment,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Commands that were tested before keep the messages to themselves.
    monkeypatch.setattr(logging.getLogger("flexseg"), "propagate", True)
    assert averages_axes(project)
    predictor = copying((6, 6), intensity=WINDOW, axes=[*AXES])
    slices = [
        Case(f"v{seed}_000{i}", tmp_path / "a.png", tmp_path / "b.png", f"v{seed}")
        for seed in range(12)
        for i in range(6)
    ]
    parts = [(predictor, slices[:36]), (predictor, slices[36:])]
    quality, axes = quality_of_axes(parts, project)
    assert axes == AXES
    assert quality[1].cases == 12 and quality[1].radius is not None
    trust = Trust.from_dict(Trust({3: quality}, axes=axes).as_dict())
    seeing = VolumePredictor(predictor.with_trust(trust), project.infer3d)
    cases = volume_cases(tmp_path / "images", tmp_path / "out")
    infer_volumes(seeing, cases)
    rows = rows_of(tmp_path)
    assert len(rows) == 12
    for row in rows:
        assert float(row["volume_ml"]) == pytest.approx(int(row["pixels"]) / 10)
        assert float(row["dice"]) == 1 and row["flag"] == "green"
    plain = project.infer3d.model_copy(update={"average_axes": False})
    with caplog.at_level(logging.INFO, "flexseg"):
        infer_volumes(VolumePredictor(predictor.with_trust(trust), plain), cases)
    assert "learned with other axes" in caplog.text
    assert {row["dice"] for row in rows_of(tmp_path)} == {""}
    infer_volumes(VolumePredictor(predictor.with_trust(Trust({3: quality})), plain), cases)
    assert {row["flag"] for row in rows_of(tmp_path)} == {"green"}


def test_nothing_is_learned_where_no_axes_are_averaged(project: Experiment) -> None:
    plain = project.infer3d.model_copy(update={"average_axes": False})
    assert not averages_axes(project.model_copy(update={"infer3d": plain}))
