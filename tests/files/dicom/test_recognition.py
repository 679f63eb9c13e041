from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from flexseg.files.dicom.recognition import is_dicom
from flexseg.files.volumes.paths import find_volumes
from flexseg.files.volumes.read import read_volume
from synthetic_volumes import ramp, write_series


def renamed(folder: Path, name: str, target: Path) -> Path:
    """The files of a series under other names, {} standing for the number."""
    target.mkdir(parents=True)
    for i, path in enumerate(sorted(folder.iterdir())):
        path.rename(target / name.format(i))
    return target


@pytest.mark.parametrize(
    "name", ["IM{:05d}", "{}.DCM", "{}.dicom", "{}.dic", "{}.IMA", "{}.img", "1.2.840.{}", "MR.{}"]
)
def test_names_of_hospitals(tmp_path: Path, name: str) -> None:
    write_series(tmp_path / "made", ramp((4, 5, 6)))
    folder = renamed(tmp_path / "made", name, tmp_path / "series")
    assert find_volumes(folder) == [folder]
    np.testing.assert_array_equal(read_volume(folder).array, ramp((4, 5, 6)))
    first = min(folder.iterdir())
    assert read_volume(first).shape == (1, 5, 6)


def test_folders_of_a_compact_disc(tmp_path: Path) -> None:
    """Studies and series lie deep below programs and an index."""
    for i in (1, 2):
        write_series(tmp_path / "made", ramp((2 + i, 5, 6)))
        renamed(tmp_path / "made", "IM{:04d}", tmp_path / f"CD/DICOM/PA1/ST000{i}/SE1")
    (tmp_path / "CD" / "DICOMDIR").write_bytes(b"x" * 200)
    (tmp_path / "CD" / "VIEWER.EXE").write_bytes(b"x" * 200)
    found = find_volumes(tmp_path / "CD")
    assert [path.parent.name for path in found] == ["ST0001", "ST0002"]
    assert [read_volume(path).shape[0] for path in found] == [3, 4]


@pytest.mark.parametrize("implicit", [True, False])
def test_files_without_preamble(tmp_path: Path, implicit: bool) -> None:
    pydicom = pytest.importorskip("pydicom")
    for path in write_series(tmp_path / "made", ramp((3, 5, 6))):
        tags = pydicom.dcmread(path)
        plain = pydicom.Dataset(dict(tags.items()))
        target = tmp_path / "old" / path.stem
        target.parent.mkdir(exist_ok=True)
        pydicom.dcmwrite(
            target, plain, implicit_vr=implicit, little_endian=True, enforce_file_format=False
        )
        assert target.read_bytes()[128:132] != b"DICM"
    np.testing.assert_array_equal(read_volume(tmp_path / "old").array, ramp((3, 5, 6)))


@pytest.mark.parametrize(
    "content", [b"", b"\x08\0", b"\x08\0\x16\0" + b"\xff" * 200, b"text " * 50, b"\x89PNG" * 40]
)
def test_other_files(tmp_path: Path, content: bytes) -> None:
    for name in ("file", "file.img", "file.001", "file.txt"):
        (tmp_path / name).write_bytes(content)
        assert not is_dicom(tmp_path / name)
