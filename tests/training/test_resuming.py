"""What an interrupted training goes on with."""

from __future__ import annotations

from pathlib import Path

import pytest

from flexseg.config import load
from flexseg.training import checkpoint
from flexseg.training.job import TrainingJob
from flexseg.training.resuming import as_begun

BASE = """
[model]
model = "TensorflowUNet"
image_width = 32
image_height = 32
image_channels = 3
[dataset]
datasetclass = "BaseImageMaskDataset"
resize_interpolation = "cv2.INTER_CUBIC"
"""


@pytest.mark.parametrize("begun", ["cubic", "scikit-image"])
def test_images_are_resized_as_before_the_interruption(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begun: str
) -> None:
    """Versions before this one read a key that the originals' class does not read."""
    (tmp_path / "old.config").write_text(BASE)
    job = TrainingJob.from_config(load(tmp_path / "old.config"))
    assert job.reader.preprocessing.interpolation == "scikit-image"
    assert as_begun(job, tmp_path / "none.npz") is job
    (tmp_path / "checkpoint.npz").touch()
    progress = checkpoint.Progress(signature={"preprocessing.interpolation": begun})
    monkeypatch.setattr(checkpoint, "read_progress", lambda file: progress)
    resumed = as_begun(job, tmp_path / "checkpoint.npz")
    assert resumed.reader.preprocessing.interpolation == begun
