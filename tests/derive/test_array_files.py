"""Arrays as datasets: channels of classes, ids, and MATLAB files of both kinds."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.io import savemat

from flexseg.derive.array_files import derive_arrays
from flexseg.errors import DataError
from flexseg.files.images import read_image, read_mask
from support import flexseg


def stack(folder: Path, *, background: bool) -> np.ndarray:
    """PanNuke's kind: floats, instance numbers in a channel per class; returns the ids."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, 16, 20, 3)).astype(float)
    ids = np.zeros((3, 16, 20), np.uint8)
    ids[:2, 2:8, 2:8] = 1
    ids[:2, 10:14, 4:18] = 3
    channels = np.stack([(ids == c) * 7.0 for c in (1, 2, 3)], axis=-1)
    if background:
        channels = np.concatenate([channels, (ids == 0)[..., None].astype(float)], axis=-1)
    np.save(folder / "images.npy", images)
    np.save(folder / "masks.npy", channels)
    return ids


@pytest.mark.parametrize("background", [True, False])
def test_channels_become_classes(tmp_path: Path, background: bool) -> None:
    ids = stack(tmp_path, background=background)
    names = ["Neoplastic", "Inflammatory", "Connective"]
    derived = derive_arrays(
        tmp_path / "images.npy", tmp_path / "masks.npy", tmp_path / "o", class_names=names
    )
    assert [c.name for c in derived.classes[1:]] == names
    assert (derived.cases, derived.empty) == (3, 1)
    for i in range(3):
        np.testing.assert_array_equal(read_mask(tmp_path / f"o/masks/{i}.png").pixels, ids[i])
    images = np.load(tmp_path / "images.npy")
    np.testing.assert_array_equal(read_image(tmp_path / "o/images/1.png"), images[1])


def test_overlapping_channels_keep_the_smaller_area(tmp_path: Path) -> None:
    """The original adds their colours, which makes another class."""
    masks = np.zeros((1, 16, 16, 2), np.uint8)
    masks[0, :12, :12, 0] = 1
    masks[0, 4:8, 4:8, 1] = 1
    np.save(tmp_path / "i.npy", np.zeros((1, 16, 16), np.uint8))
    np.save(tmp_path / "m.npy", masks)
    derive_arrays(tmp_path / "i.npy", tmp_path / "m.npy", tmp_path / "o")
    found = read_mask(tmp_path / "o/masks/0.png").pixels
    assert (found[5, 5], found[0, 0], found[15, 15]) == (2, 1, 0)


@pytest.mark.parametrize("new", [True, False])
def test_matlab_files_of_both_kinds(tmp_path: Path, new: bool) -> None:
    """Version 7.3 is HDF5, whose arrays are the other way round; a label says the class."""
    image = np.arange(12 * 10).reshape(12, 10).astype(np.int16)
    mask = np.zeros((12, 10), np.uint8)
    mask[2:5, 3:9] = 1
    (tmp_path / "mat").mkdir()
    for i in (1, 2):
        path = tmp_path / f"mat/{i}.mat"
        if new:
            with h5py.File(path, "w") as file:
                file["cjdata/image"], file["cjdata/tumorMask"] = image.T, mask.T
                file["cjdata/label"] = np.array([[float(i)]])
        else:
            savemat(path, {"cjdata": {"image": image, "tumorMask": mask, "label": float(i)}})
    assert flexseg("derive", "arrays", tmp_path / "mat", "-o", tmp_path / "o") == 0
    for i in (1, 2):
        np.testing.assert_array_equal(read_mask(tmp_path / f"o/masks/{i}.png").pixels, mask * i)
        pixels = read_image(tmp_path / f"o/images/{i}.png")[..., 0]
        assert (pixels[0, 0], pixels[-1, -1]) == (0, 255)


def test_refusals(tmp_path: Path) -> None:
    stack(tmp_path, background=True)
    with pytest.raises(DataError, match="masks are missing"):
        derive_arrays(tmp_path / "images.npy", None, tmp_path / "o")
    np.save(tmp_path / "few.npy", np.zeros((2, 16, 20)))
    with pytest.raises(DataError, match="do not match"):
        derive_arrays(tmp_path / "images.npy", tmp_path / "few.npy", tmp_path / "o")
    (tmp_path / "a.mat").write_bytes(b"none")
    with pytest.raises(DataError, match="not a MATLAB file"):
        derive_arrays(tmp_path / "a.mat", None, tmp_path / "o")
    savemat(tmp_path / "b.mat", {"x": np.zeros((3, 3))})
    with pytest.raises(DataError, match="--image-key"):
        derive_arrays(tmp_path / "b.mat", None, tmp_path / "o")
    assert not (tmp_path / "o").exists()
