"""What is a volume, what it is called, and which a folder holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from flexseg.errors import DataError
from flexseg.files.volumes.read import find_volumes, is_series_folder, read_volume, volume_stem
from synthetic_volumes import ramp, write_series


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("a.nii.gz", "a"),
        ("größe 腫瘍.p1.NII.GZ", "größe 腫瘍.p1"),
        ("a.b.hdf5", "a.b"),
        ("series", "series"),
        ("series 1.2", "series 1.2"),
        ("a.npy", "a"),
        (".nii", ".nii"),
    ],
)
def test_stems(name: str, stem: str) -> None:
    assert volume_stem(Path(name)) == stem


def test_files_and_series_also_one_level_down(tmp_path: Path) -> None:
    for name in ("b.nii.gz", "a.mha", "a.raw", "notes.txt", "._b.nii.gz", "p1/c.npy", "p1/d.H5",
                 ".cache/e.nii", "p1/deep/f.nii"):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    write_series(tmp_path / "ct", ramp())
    write_series(tmp_path / "p2" / "mr", ramp())
    found = [p.relative_to(tmp_path).as_posix() for p in find_volumes(tmp_path)]
    assert found == ["a.mha", "b.nii.gz", "ct", "p1/c.npy", "p1/d.H5", "p2/mr"]


def test_a_folder_that_is_a_series_itself(tmp_path: Path) -> None:
    write_series(tmp_path, ramp())
    (tmp_path / "label.nii").touch()
    assert find_volumes(tmp_path) == [tmp_path, tmp_path / "label.nii"]


def test_dicom_without_suffix(tmp_path: Path) -> None:
    for i, path in enumerate(write_series(tmp_path, ramp())):
        path.rename(tmp_path / f"IM{i:04d}")
    assert is_series_folder(tmp_path)
    assert find_volumes(tmp_path) == [tmp_path]
    (tmp_path / "DICOMDIR").write_bytes((tmp_path / "IM0000").read_bytes()[:200])
    assert read_volume(tmp_path).shape == ramp().shape


def test_the_directory_of_an_exported_disc_is_no_series(tmp_path: Path) -> None:
    write_series(tmp_path / "PAT1" / "SER1", ramp())
    (tmp_path / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM")
    assert find_volumes(tmp_path) == [tmp_path / "PAT1" / "SER1"]


def test_no_volumes(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    with pytest.raises(DataError, match="contains no volume"):
        find_volumes(tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        find_volumes(tmp_path / "none")
