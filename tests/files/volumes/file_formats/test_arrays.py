"""NPY and HDF5: shapes, types, keys, and what is never loaded."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from flexseg.errors import DataError
from flexseg.files.volumes.read import read_labels, read_volume
from synthetic_volumes import ramp


@pytest.mark.parametrize(
    "array",
    [
        ramp(),
        ramp((3, 4, 5, 2)),
        ramp().astype(">f4"),
        np.asfortranarray(ramp()),
        ramp() > 30,
        ramp().astype(np.float16),
    ],
)
def test_arrays_of_all_kinds(
    tmp_path: Path, array: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    logging.getLogger("flexseg").propagate = True
    np.save(tmp_path / "a.npy", array)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["image"] = array
    for name in ("a.npy", "a.h5"):
        volume = read_volume(tmp_path / name)
        np.testing.assert_array_equal(volume.array, array)
        assert volume.array.dtype.isnative
        assert volume.spacing == (1, 1, 1)
        assert f"{name}: its geometry is not known" in caplog.text
        volume.image()  # of a type that ITK has


def test_planes_and_single_channels(tmp_path: Path) -> None:
    np.save(tmp_path / "plane.npy", ramp((4, 5)))
    assert read_volume(tmp_path / "plane.npy").array.shape == (1, 4, 5)
    np.save(tmp_path / "one.npy", ramp((3, 4, 5, 1)))
    assert read_volume(tmp_path / "one.npy").array.shape == (3, 4, 5)
    np.save(tmp_path / "two.npy", ramp((3, 4, 5, 2)))
    chosen = read_volume(tmp_path / "two.npy", channel=1)
    np.testing.assert_array_equal(chosen.array, ramp((3, 4, 5, 2))[..., 1])


def test_python_objects_are_never_loaded(tmp_path: Path) -> None:
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}, None], dtype=object))
    (tmp_path / "pickle.npy").write_bytes(pickle.dumps({"a": 1}))
    for name in ("objects.npy", "pickle.npy"):
        with pytest.raises(DataError, match="holds Python objects, which are never loaded"):
            read_volume(tmp_path / name)


@pytest.mark.parametrize("shape", [(5,), (0, 4, 5), (2, 2, 2, 2, 2), ()])
def test_shapes_that_make_no_volume(tmp_path: Path, shape: tuple[int, ...]) -> None:
    np.save(tmp_path / "a.npy", np.zeros(shape))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["image"] = np.zeros(shape)
    for name in ("a.npy", "a.h5"):
        with pytest.raises(DataError, match="The array has the shape"):
            read_volume(tmp_path / name)


@pytest.mark.parametrize(
    "array", [ramp().astype(complex), np.array([["a", "b"]]), np.zeros((2, 2), "i4,f4")]
)
def test_values_that_are_no_numbers(tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(DataError, match="not numbers"):
        read_volume(tmp_path / "a.npy")


def test_keys_of_hdf5(tmp_path: Path) -> None:
    path = tmp_path / "a.hdf5"
    with h5py.File(path, "w") as file:
        file["data/raw"] = ramp()
        file["label"] = (ramp() % 3).astype(np.uint8)
        file["text"] = "words"
        file["image/inside"] = ramp()
    np.testing.assert_array_equal(read_volume(path, key="data/raw").array, ramp())
    np.testing.assert_array_equal(read_labels(path, key="label").array, ramp() % 3)
    with pytest.raises(DataError, match="'missing' does not exist") as error:
        read_volume(path, key="missing")
    assert "data/raw [3, 4, 5]" in error.value.problem
    assert "label [3, 4, 5]" in error.value.problem
    with pytest.raises(DataError, match="'image' is a group"):
        read_volume(path)
    with pytest.raises(DataError, match="not numbers"):
        read_volume(path, key="text")


def test_geometry_of_another_form_is_not_believed(tmp_path: Path) -> None:
    for wrong in ((1.0, 2.0), (0.0, 1.0, 1.0), (float("nan"), 1.0, 1.0)):
        with h5py.File(tmp_path / "a.h5", "w") as file:
            file["image"] = ramp()
            for name, value in (
                ("spacing", wrong),
                ("origin", (0, 0, 0)),
                ("direction", np.eye(3)),
            ):
                file["image"].attrs[name] = value
        assert read_volume(tmp_path / "a.h5").spacing == (1, 1, 1)


@pytest.mark.parametrize("suffix", [".npy", ".h5"])
@pytest.mark.parametrize("share", [0, 0.05, 0.5, 0.99])
def test_damaged_files(tmp_path: Path, suffix: str, share: float) -> None:
    path = tmp_path / f"a{suffix}"
    if suffix == ".npy":
        np.save(path, ramp((20, 20, 20)))
    else:
        with h5py.File(path, "w") as file:
            file["image"] = ramp((20, 20, 20))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(DataError, match="cannot be read as a volume") as error:
        read_volume(path)
    assert error.value.where == str(path)


def test_an_archive_under_the_name_of_an_array(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", ramp())
    (tmp_path / "a.npz").rename(tmp_path / "a.npy")
    with pytest.raises(DataError, match="it holds an NPZ archive"):
        read_volume(tmp_path / "a.npy")


def _external(file: h5py.File, folder: Path) -> None:
    file["image"] = h5py.ExternalLink(str(folder / "other.h5"), "image")


def _through_a_group(file: h5py.File, folder: Path) -> None:
    file["group"] = h5py.ExternalLink(str(folder / "other.h5"), "/")
    file["image"] = h5py.SoftLink("/group/image")


def _storage(file: h5py.File, folder: Path) -> None:
    file.create_dataset("image", (2, 3, 4), "i2", external=[(str(folder / "raw"), 0, 48)])


def _virtual(file: h5py.File, folder: Path) -> None:
    layout = h5py.VirtualLayout((3, 4, 5), "f4")
    layout[:] = h5py.VirtualSource(str(folder / "missing.h5"), "image", (3, 4, 5))
    file.create_virtual_dataset("image", layout)


@pytest.mark.parametrize("point", [_external, _through_a_group, _storage, _virtual])
def test_hdf5_that_points_into_another_file_is_refused(
    tmp_path: Path, point: Callable[[h5py.File, Path], None]
) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["image"] = ramp()
    (tmp_path / "raw").write_bytes(bytes(48))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        point(file, tmp_path)
    with pytest.raises(DataError, match="in another file") as caught:
        read_volume(tmp_path / "a.h5")
    assert caught.value.where == str(tmp_path / "a.h5")


def test_links_within_a_file_are_followed(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data/raw"] = ramp()
        file["image"] = h5py.SoftLink("/data/link")
        file["data/link"] = h5py.SoftLink("raw")
        file["round"] = h5py.SoftLink("/about")
        file["about"] = h5py.SoftLink("/round")
    np.testing.assert_array_equal(read_volume(tmp_path / "a.h5").array, ramp())
    with pytest.raises(DataError, match="back to themselves"):
        read_volume(tmp_path / "a.h5", key="round")


@pytest.mark.parametrize("chunks", [None, True])
def test_hdf5_without_its_voxels_is_refused(tmp_path: Path, chunks: bool | None) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("image", (300, 400, 500), "f4", chunks=chunks)
    with pytest.raises(DataError, match="the file holds at most 0 bytes"):
        read_volume(tmp_path / "a.h5")
