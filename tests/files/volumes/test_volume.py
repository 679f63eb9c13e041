"""The volume type: geometry, orientation, channels, memory."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from flexseg.files.volumes.volume import Volume
from synthetic_volumes import LEFT_HANDED, OBLIQUE, ORDERS, TILTED, make, ramp


def test_there_are_48_orders() -> None:
    assert len(set(ORDERS)) == 48


@pytest.mark.parametrize("order", ORDERS)
def test_orders_are_those_of_simpleitk_and_share_the_memory(order: str) -> None:
    volume = make()
    turned = volume.oriented(order)
    expected = sitk.DICOMOrient(volume.image(), order)
    assert turned.orientation == order
    np.testing.assert_array_equal(turned.array, sitk.GetArrayFromImage(expected))
    np.testing.assert_allclose(turned.origin, expected.GetOrigin())
    np.testing.assert_allclose(turned.spacing, expected.GetSpacing())
    np.testing.assert_allclose(turned.direction, expected.GetDirection())
    assert np.shares_memory(turned.array, volume.array)
    back = turned.oriented("LPS")
    np.testing.assert_array_equal(back.array, volume.array)
    np.testing.assert_allclose(back.affine, volume.affine)


@pytest.mark.parametrize("direction", [OBLIQUE, TILTED, LEFT_HANDED])
@pytest.mark.parametrize("order", ["RAS", "PSR", "AIL"])
def test_every_voxel_keeps_its_place(direction: tuple[float, ...], order: str) -> None:
    volume = make(direction)
    places = {}
    for one in (volume, volume.oriented(order)):
        z, y, x = np.indices(one.shape).reshape(3, -1)
        mm = one.affine @ np.stack([x, y, z, np.ones_like(x)])
        places[one is volume] = mm[:3, np.argsort(one.array.ravel())]
    np.testing.assert_allclose(places[True], places[False], atol=1e-9)


def test_images_of_2_to_4_dimensions() -> None:
    flat = sitk.GetImageFromArray(ramp((4, 5)))
    flat.SetSpacing((0.5, 0.75))
    volume = Volume.from_image(flat)
    assert volume.shape == (1, 4, 5)
    assert volume.spacing == (0.5, 0.75, 1)
    parts = [make().with_array(ramp() + 100 * i).image() for i in range(2)]
    four = Volume.from_image(sitk.JoinSeries(parts))
    assert four.channels == 2
    np.testing.assert_array_equal(four.array, np.stack([ramp(), ramp() + 100], axis=-1))
    np.testing.assert_allclose(four.affine, make().affine)
    np.testing.assert_array_equal(four.channel(1).array, ramp() + 100)
    with pytest.raises(ValueError, match="5 dimensions"):
        Volume.from_image(sitk.Image([2] * 5, sitk.sitkUInt8))


def test_channels_survive_the_image() -> None:
    volume = make(shape=(3, 4, 5, 2))
    back = Volume.from_image(volume.image())
    np.testing.assert_array_equal(back.array, volume.array)
    np.testing.assert_allclose(back.affine, volume.affine)
    turned = volume.oriented("RAS")
    np.testing.assert_array_equal(turned.channel(0).array, volume.channel(0).oriented("RAS").array)


def test_arrays_outlive_their_image_and_cannot_be_written() -> None:
    arrays = [Volume.from_image(sitk.GetImageFromArray(ramp((40, 60, 60)))).array for _ in "1234"]
    for array in arrays:
        np.testing.assert_array_equal(array, ramp((40, 60, 60)))
    with pytest.raises(ValueError, match="read-only"):
        arrays[0][0] = 1


def test_a_shear_makes_voxels_smaller() -> None:
    assert make().voxel_ml == pytest.approx(0.5 * 0.75 * 3 / 1000)
    assert make(TILTED).voxel_ml == pytest.approx(0.5 * 0.75 * 3 / 1000 * np.cos(np.pi / 12))
    assert make(TILTED).sheared
    assert not make().sheared
    assert make(LEFT_HANDED).voxel_ml == pytest.approx(make().voxel_ml)


def test_affines() -> None:
    volume = make(TILTED)
    same = Volume(volume.array).with_affine(volume.affine)
    np.testing.assert_allclose(same.affine, volume.affine)
    np.testing.assert_allclose(same.spacing, volume.spacing)
    with pytest.raises(ValueError, match="voxels of shape"):
        volume.with_array(np.zeros((3, 4, 4)))
