"""Folders and files that one program at a time writes to."""

from __future__ import annotations

from pathlib import Path

import pytest

from flexseg.errors import InUseError
from flexseg.lock import lock_of
from flexseg.one_writer import alone_in, exclusive, exclusive_file
from flexseg.outputs import set_aside, write_text
from support import lock_elsewhere


def test_a_folder_is_for_one_writer(tmp_path: Path) -> None:
    path = tmp_path / "new" / "run"
    with exclusive(path), exclusive(path, tmp_path / "link" / ".." / "new"):
        assert path.is_dir()
        write_text(path / "a.txt", "")
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["a.txt", "new", "run"]


def test_a_folder_that_stays_empty_was_never_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="bad"), exclusive(tmp_path / "new" / "run"):
        raise ValueError("bad")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "old").mkdir()
    with exclusive(tmp_path / "old"):
        pass
    assert list(tmp_path.iterdir()) == [tmp_path / "old"]


def test_of_two_places_that_are_asked_for_both_or_none_are_held(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    taken = lock_elsewhere(tmp_path / "b")
    with pytest.raises(InUseError) as caught, exclusive(tmp_path / "b", tmp_path / "a"):
        pass
    assert caught.value.where == str(tmp_path.resolve() / "b")
    assert sorted(p.name for p in tmp_path.rglob("*")) == [taken.name, "b"]


def test_a_file_is_for_one_writer_and_its_folder_free(tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    with exclusive_file(report), exclusive(tmp_path):
        for _ in range(2):
            set_aside(report)
            write_text(report, "")
    assert len(list(tmp_path.iterdir())) == 2
    lock_elsewhere(report)
    with pytest.raises(InUseError) as caught, exclusive_file(report):
        pass
    assert caught.value.where == str(tmp_path.resolve() / "report.html")
    with exclusive(tmp_path):
        pass


def test_a_function_has_the_folder_of_a_parameter_for_itself(tmp_path: Path) -> None:
    @alone_in("folder")
    def write(name: str, *, folder: Path) -> Path:
        assert lock_of(folder).exists()
        write_text(folder / name, "")
        return folder / name

    assert write("a.txt", folder=tmp_path / "new").exists()
    lock_elsewhere(tmp_path / "new")
    with pytest.raises(InUseError):
        write("b.txt", folder=tmp_path / "new")
