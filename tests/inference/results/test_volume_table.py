"""The table of label volumes: counts, millilitres, and slices along the array's own axes."""

from __future__ import annotations

import numpy as np
import pytest

from config_parts import labels_of
from flexseg.config import Experiment
from flexseg.files.volumes.volume import Volume
from flexseg.inference.results.volume_table import VOLUME_HEADER, volume_rows
from volume_models import ORIENTATIONS, oblique

LABELS = labels_of(Experiment.model_validate({"model": {"num_classes": 4}}))


def rows(volume: Volume) -> list[dict[str, object]]:
    return [dict(zip(VOLUME_HEADER, row, strict=True)) for row in volume_rows("a", volume, LABELS)]


def test_a_known_volume() -> None:
    """Axes z, y, x of an LPS volume are axial, coronal, sagittal."""
    array = np.zeros((10, 20, 30), np.uint8)
    array[2:5, 7:8, 11:29] = 1
    array[9, 19, [0, 29]] = 3
    first, second, third = rows(Volume(array, (0.5, 2.0, 3.0)))
    assert first == {
        "case": "a", "class_id": 1, "class": "class 1", "voxels": 54, "volume_ml": 0.162,
        "axial_first": 2, "axial_last": 4, "coronal_first": 7, "coronal_last": 7,
        "sagittal_first": 11, "sagittal_last": 28,
    }  # fmt: skip
    assert (second["voxels"], second["volume_ml"]) == (0, 0)
    assert all(second[key] is None for key in VOLUME_HEADER[5:])
    assert [third[key] for key in VOLUME_HEADER[5:]] == [9, 9, 19, 19, 0, 29]
    assert third["volume_ml"] == pytest.approx(2 * 0.5 * 2 * 3 / 1000)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_axes_have_the_names_of_their_directions(orientation: str) -> None:
    lps = oblique((5, 6, 7))
    labels = np.zeros(lps.shape, np.uint8)
    labels[1:3, 2:6, 4] = 2
    volume = lps.with_array(labels).oriented(orientation)
    row = rows(volume)[1]
    assert row["volume_ml"] == pytest.approx(8 * 0.5 * 0.7 * 7.5 / 1000)
    expected = {"SI": (1, 2, 5), "AP": (2, 5, 6), "LR": (4, 4, 7)}
    for cut, ends in (("axial", "SI"), ("coronal", "AP"), ("sagittal", "LR")):
        first, last, length = expected[ends]
        if not set(orientation) & {"S", "P", "L"} & set(ends):  # counted from the other end
            first, last = length - 1 - last, length - 1 - first
        assert (row[f"{cut}_first"], row[f"{cut}_last"]) == (first, last)


def test_a_tilted_gantry_makes_voxels_smaller() -> None:
    tilt = 0.3
    direction = (1.0, 0.0, 0.0, 0.0, 1.0, np.sin(tilt), 0.0, 0.0, np.cos(tilt))
    volume = Volume(np.ones((2, 2, 2), np.uint8), (1, 1, 1000), direction=direction)
    assert rows(volume)[0]["volume_ml"] == pytest.approx(8 * np.cos(tilt), abs=1e-6)
