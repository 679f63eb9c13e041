"""Labels on the grid of their image, or not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from flexseg.errors import DataError
from flexseg.files.volumes.geometry import GeometryRule, match_label, same_grid
from flexseg.files.volumes.volume import Volume
from synthetic_volumes import OBLIQUE, ORDERS, TILTED, make, ramp


@pytest.mark.parametrize("order", ORDERS[::3])
@pytest.mark.parametrize("direction", [OBLIQUE, TILTED])
def test_labels_in_another_order_are_reordered(
    tmp_path: Path, order: str, direction: tuple[float, ...]
) -> None:
    image = make(direction)
    matched, resampled = match_label(image.oriented(order), image, GeometryRule.STRICT, tmp_path)
    np.testing.assert_array_equal(matched.array, image.array)
    assert matched.origin == image.origin
    assert not resampled


def test_other_grids_need_a_rule(tmp_path: Path) -> None:
    image = Volume(np.zeros((4, 8, 8), np.int16))
    label = Volume((ramp((4, 8, 8)) % 3).astype(np.uint8), origin=(2.0, 0.0, 0.0))
    with pytest.raises(DataError, match="another grid than the image: origin 2 x 0 x 0") as error:
        match_label(label, image, GeometryRule.STRICT, tmp_path)
    assert "--geometry resample" in error.value.fix
    matched, resampled = match_label(label, image, GeometryRule.RESAMPLE, tmp_path)
    assert resampled
    np.testing.assert_array_equal(matched.array[..., 2:], label.array[..., :6])
    assert not matched.array[..., :2].any()
    taken, _ = match_label(label, image, GeometryRule.VOXELS, tmp_path)
    np.testing.assert_array_equal(taken.array, label.array)
    assert taken.origin == image.origin


def test_resampling_onto_sheared_slices(tmp_path: Path) -> None:
    """Every voxel of the image takes the label at its place, wherever the slice is shifted to."""
    image = Volume(np.zeros((5, 9, 9), np.int16), (1.0, 1.0, 2.0), direction=TILTED)
    label = Volume(np.broadcast_to(np.arange(40, dtype=np.uint8)[:, None], (20, 40, 9)))
    matched, _ = match_label(label, image, GeometryRule.RESAMPLE, tmp_path)
    z, y, x = np.indices(image.shape)
    mm = np.stack([x, y, z, np.ones_like(x)], axis=-1) @ image.affine.T
    np.testing.assert_array_equal(matched.array, np.rint(mm[..., 1]).astype(int))


def test_labels_of_another_size_or_place(tmp_path: Path) -> None:
    image = Volume(np.zeros((4, 8, 8), np.int16))
    label = Volume(np.ones((4, 8, 7), np.uint8))
    for rule in (GeometryRule.STRICT, GeometryRule.VOXELS):
        with pytest.raises(DataError, match=r"size 7 x 8 x 4 \(image: 8 x 8 x 4"):
            match_label(label, image, rule, tmp_path)
    far = replace(label, origin=(500.0, 0.0, 0.0))
    with pytest.raises(DataError, match="No labelled voxel lies within the image"):
        match_label(far, image, GeometryRule.RESAMPLE, tmp_path)


def test_headers_in_single_precision_are_the_same_grid(tmp_path: Path) -> None:
    image = Volume(np.zeros((4, 8, 8), np.int16), (0.7, 0.7, 5.0), (-171.3, 88.8, -401.2))
    spacing = tuple(float(np.float32(v)) for v in image.spacing)
    origin = tuple(v + 1e-3 for v in image.origin)
    label = Volume(np.ones((4, 8, 8), np.uint8), spacing, origin)
    matched, _ = match_label(label, image, GeometryRule.STRICT, tmp_path)
    assert matched.origin == image.origin
    assert not same_grid(replace(label, spacing=(0.8, 0.7, 5.0)), image)
