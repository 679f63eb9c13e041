"""Pictures of volume cases: which slice, in which proportions, and what the report calls things."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from config_parts import labels_of
from flexseg.config.schema import Experiment
from flexseg.errors import DataError
from flexseg.evaluation.case_scores import FILES_TABLE, write_evaluation
from flexseg.evaluation.scoring import Measures
from flexseg.evaluation.volume_scores import score_volume_folders
from flexseg.files.volumes.read import write_volume
from flexseg.files.volumes.volume import Volume
from flexseg.outputs import write_csv
from flexseg.report.case_pictures import draw_cases
from flexseg.report.content import gather
from flexseg.report.html import render
from flexseg.report.sources import find_source
from flexseg.report.volume_pictures import VolumeSlice, is_volume, volume_slice

SHAPE = (8, 10, 12)
LABELS = labels_of(
    Experiment.model_validate(
        {
            "model": {"num_classes": 3},
            "mask": {
                "classes": [
                    {"id": 0, "name": "background", "color": (0, 0, 0)},
                    {"id": 1, "name": "ball", "color": (0, 255, 0)},
                    {"id": 2, "name": "box", "color": (255, 0, 0)},
                ]
            },
        }
    )
)


def _truth() -> NDArray[np.uint8]:
    """Class 1 in slices 2 to 5, most of it in slice 4; a voxel of class 2."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[2:6, 3:5, 3:5] = 1
    labels[4, 2:7, 2:8] = 1
    labels[4, 8, 9] = 2
    return labels


def _write(path: Path, array: NDArray, spacing: tuple[float, float, float], order: str) -> Path:
    path.parent.mkdir(exist_ok=True, parents=True)
    write_volume(path, Volume(array, spacing).oriented(order))
    return path


def _slice(
    folder: Path,
    spacing: tuple[float, float, float] = (1, 1, 1),
    truth: NDArray[np.uint8] | None = None,
    **given: Any,
) -> VolumeSlice:
    """Of an image, a reference and a prediction in three orders of voxels."""
    truth = _truth() if truth is None else truth
    grey = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE)
    files = {
        "image": _write(folder / "i.nii.gz", grey, spacing, "LPS"),
        "reference": _write(folder / "r.nii.gz", truth, spacing, "RAS"),
        "prediction": _write(folder / "p.nii.gz", np.roll(truth, 1, axis=2), spacing, "ASL"),
    } | given
    found = volume_slice(files["image"], files["reference"], files["prediction"], LABELS, own=True)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.nii.gz", True), ("a.nrrd", True), ("a.png", False), ("a.npy", False), ("a", False)],
)
def test_volumes_by_name(name: str, expected: bool) -> None:
    assert is_volume(Path(name)) is expected


def test_the_slice_with_most_of_the_reference(tmp_path: Path) -> None:
    found = _slice(tmp_path)
    assert found.title == "axial slice 5 of 8"
    assert found.reference is not None and found.prediction is not None
    np.testing.assert_array_equal(found.reference, _truth()[4])
    np.testing.assert_array_equal(found.prediction, np.roll(_truth()[4], 1, axis=1))
    assert found.image is not None and found.image.shape == (10, 12, 3)
    assert int(found.image[-1, -1, 0]) > int(found.image[0, 0, 0])


@pytest.mark.parametrize(
    ("spacing", "title", "size"),
    [
        ((1, 1, 4), "axial", (10, 12)),
        ((1, 2, 4), "axial", (20, 12)),
        ((1, 4, 1), "coronal", (8, 12)),
        ((4, 1, 2), "sagittal", (16, 10)),
    ],
)
def test_it_lies_in_the_plane_of_the_smallest_voxels(
    tmp_path: Path, spacing: tuple[float, float, float], title: str, size: tuple[int, int]
) -> None:
    found = _slice(tmp_path, spacing)
    assert found.title.startswith(title)
    assert found.image is not None and found.reference is not None
    assert found.image.shape[:2] == found.reference.shape == size


def test_without_labels_the_middle(tmp_path: Path) -> None:
    found = _slice(tmp_path, truth=np.zeros(SHAPE, np.uint8))
    assert found.title == "axial slice 5 of 8"


def test_without_an_image_the_labels_alone(tmp_path: Path) -> None:
    found = _slice(tmp_path, image=None)
    assert found.image is None
    assert found.reference is not None and found.reference.max() == 2


def test_nothing_to_show() -> None:
    assert volume_slice(None, None, None, LABELS, own=True) is None


def test_another_grid_is_refused(tmp_path: Path) -> None:
    other = _write(tmp_path / "o.nii.gz", _truth(), (1, 1, 2), "LPS")
    with pytest.raises(DataError, match="another grid"):
        _slice(tmp_path, reference=other)


@pytest.fixture
def evaluation(tmp_path: Path) -> Path:
    """Two scored volumes: of one nothing was found, of the other all."""
    for name, found in (("a", np.zeros(SHAPE, np.uint8)), ("b", _truth())):
        grey = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE)
        _write(tmp_path / "images" / f"{name}.nii.gz", grey, (1, 1, 2), "LPS")
        _write(tmp_path / "masks" / f"{name}.nii.gz", _truth(), (1, 1, 2), "LPS")
        _write(tmp_path / "found" / f"{name}.nii.gz", found, (1, 1, 2), "LPS")
    scores, _ = score_volume_folders(tmp_path / "found", tmp_path / "masks", LABELS, Measures())
    write_evaluation(scores, tmp_path / "scored", 100)
    return tmp_path / "scored"


class TestReport:
    def test_pictures_of_volumes(self, evaluation: Path, tmp_path: Path) -> None:
        rows = [
            (name, *(tmp_path / kind / f"{name}.nii.gz" for kind in ("images", "masks")))
            for name in ("a", "b")
        ]
        write_csv(evaluation / FILES_TABLE, ("case", "image", "mask"), rows)
        source = find_source(evaluation)
        drawn = draw_cases(source, gather(source))
        assert set(drawn) == {"a", "b"}
        names = [panel.name for panel in drawn["b"].panels]
        assert names == ["Image, axial slice 5 of 8", "Reference", "Prediction", "Difference"]
        assert not any("picture" in m.what for m in source.missing)

    def test_without_images_the_labels_are_drawn(self, evaluation: Path) -> None:
        source = find_source(evaluation)
        drawn = draw_cases(source, gather(source))
        names = [panel.name for panel in drawn["a"].panels]
        assert names == ["Reference", "Prediction", "Difference"]

    def test_a_reference_that_was_not_scored_is_not_drawn(
        self, evaluation: Path, tmp_path: Path
    ) -> None:
        less = _truth()
        less[4, 2] = 0
        _write(tmp_path / "masks" / "a.nii.gz", less, (1, 1, 2), "LPS")
        source = find_source(evaluation)
        report = gather(source)
        assert set(draw_cases(source, report)) == {"b"}
        assert any("when it was scored" in m.why for m in report.missing)

    def test_words_for_volumes(self, evaluation: Path) -> None:
        report = gather(find_source(evaluation))
        assert report.evaluation is not None and report.evaluation.volumes
        page = render(report, {}, [], None)
        assert "Volume error" in page and "Area error" not in page
        assert "the common volume" in page
        assert "the volume&#39;s diagonal" in page
        assert "nothing predicted; 0.08 ml in the reference" in page
        assert "0.08 for 0.08 ml" in page
        assert " px" not in page.split("<main")[1].split("</main")[0]
