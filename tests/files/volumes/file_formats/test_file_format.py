"""What every file format of volumes must do; one that is only read needs an entry in READ_ONLY."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from flexseg.config.infer import VolumeFormat
from flexseg.errors import DataError
from flexseg.files.volumes.file_formats.file_format import FORMATS, FileFormat
from flexseg.files.volumes.read import read_labels, read_volume
from flexseg.files.volumes.volume import Volume
from flexseg.files.volumes.write import WRITABLE_SUFFIXES, write_volume
from synthetic_volumes import OBLIQUE, make, ramp, write_series

NOISE = np.random.default_rng(0).integers(0, 1000, (4, 30, 40))


def _series(path: Path, array: np.ndarray) -> None:
    """A DICOM file of one slice."""
    write_series(path.parent / "series", array[:1])[0].rename(path)
    (path.parent / "series").rmdir()


# Formats that flexseg does not write: how a test makes a file of these voxels.
READ_ONLY: dict[str, Callable[[Path, np.ndarray], None]] = {"DICOM": _series}

ALL = [(name, suffix) for name in FORMATS for suffix in FORMATS.get(name).suffixes]
WRITTEN = [(name, suffix) for name, suffix in ALL if FORMATS.get(name).write is not None]


def _make(path: Path, name: str, array: np.ndarray) -> None:
    if FORMATS.get(name).write is None:
        READ_ONLY[name](path, array)
    else:
        write_volume(path, Volume(array))


@pytest.mark.parametrize(("name", "suffix"), ALL)
def test_suffixes(name: str, suffix: str) -> None:
    assert suffix == suffix.lower() and suffix.startswith(".")
    assert FORMATS.get(suffix) is FORMATS.get(name)


@pytest.mark.parametrize(("name", "suffix"), WRITTEN)
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32])
def test_voxels_and_geometry_come_back(
    tmp_path: Path, name: str, suffix: str, dtype: type[np.generic]
) -> None:
    for shape in ((3, 4, 5), (3, 4, 5, 2), (1, 1, 1)):
        volume = replace(make(OBLIQUE), array=ramp(shape, dtype))
        for file in (f"größe{suffix}", f"B{suffix.upper()}"):
            write_volume(tmp_path / file, volume)
            back = read_volume(tmp_path / file)
            assert back.array.dtype == volume.array.dtype
            assert not back.array.flags.writeable
            np.testing.assert_array_equal(back.array, volume.array)
            stored = FORMATS.get(name).geometry
            expected = volume.affine if stored else Volume(volume.array).affine
            np.testing.assert_allclose(back.affine, expected, atol=1e-4)


@pytest.mark.parametrize(("name", "suffix"), ALL)
def test_labels(tmp_path: Path, name: str, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    _make(path, name, ramp(dtype=np.uint8))
    labels = read_labels(path).array
    np.testing.assert_array_equal(labels, ramp()[: len(labels)])
    assert np.issubdtype(labels.dtype, np.integer)


@pytest.mark.parametrize(("name", "suffix"), ALL)
@pytest.mark.parametrize("share", [0, 0.01, 0.3, 0.9])
def test_truncated_files_are_refused(tmp_path: Path, name: str, suffix: str, share: float) -> None:
    path = tmp_path / f"a{suffix}"
    _make(path, name, NOISE.astype(np.int16))
    read_volume(path)
    # Where header and voxels are two files, the voxels are the larger one.
    for file in {path, max(tmp_path.iterdir(), key=lambda file: file.stat().st_size)}:
        content = file.read_bytes()
        file.write_bytes(content[: int(len(content) * share)])
        with pytest.raises(DataError) as error:
            read_volume(path)
        assert error.value.where == str(path) and error.value.fix
        file.write_bytes(content)


@pytest.mark.parametrize(("name", "suffix"), ALL)
def test_other_content_is_refused(tmp_path: Path, name: str, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 9)
    with pytest.raises(DataError):
        read_volume(path)


@pytest.mark.parametrize(("name", "suffix"), WRITTEN)
def test_nothing_but_the_file_and_its_voxels_is_written(
    tmp_path: Path, name: str, suffix: str
) -> None:
    write_volume(tmp_path / f"a{suffix}", make())
    others = {file.name for file in tmp_path.iterdir()} - {f"a{suffix}"}
    assert {file.removeprefix("a") for file in others} <= set(FORMATS.get(name).voxel_suffixes)


def test_predictions_can_be_written_in_the_formats_that_the_config_offers() -> None:
    assert set(get_args(VolumeFormat)) - {"same"} <= set(WRITABLE_SUFFIXES)


def test_a_suffix_belongs_to_one_format() -> None:
    with pytest.raises(ValueError, match=r"'\.nii' is registered twice"):
        FORMATS.register("Other", ".nii")(FileFormat((".nii",), read=FORMATS.get("NIfTI").read))
