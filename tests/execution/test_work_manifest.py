"""What is remembered of a work that was interrupted, and of which."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from flexseg.execution.work_manifest import (
    Manifest,
    Noted,
    forget,
    identity_of,
    key_of,
    manifest_in,
)
from flexseg.outputs import entries_of
from flexseg.own_results import is_ours

ODD = os.fsdecode(b"caf\xe9.png")


def test_a_work_goes_on(tmp_path: Path) -> None:
    with Manifest.new(tmp_path, "k") as manifest:
        manifest.note(
            [(1, Noted("b", "1", True, {"n": 2.5})), (0, Noted(ODD, "2", True, [None, "é"]))]
        )
        manifest.note([(2, Noted("c", "3", False, "failed"))])
        assert [*manifest.entries()] == [(ODD, [None, "é"]), ("b", {"n": 2.5}), ("c", "failed")]
    again = Manifest.of_unfinished(tmp_path, "k")
    assert again is not None
    with again:
        assert again.has(ODD, "2") and again.has("b", "1")
        assert not again.has("b", "another file")
        assert not again.has("c", "3") and not again.has("d", "4")
        assert [*again.entries()] == []
        again.keep(7, "b")
        again.note([(3, Noted("c", "3", True, "mended"))])
        assert [*again.entries()] == [("c", "mended"), ("b", {"n": 2.5})]


def test_another_work_begins_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert Manifest.of_unfinished(tmp_path, "k") is None
    with Manifest.new(tmp_path, "k") as manifest:
        manifest.note([(0, Noted("a", "1", True, 1))])
    assert Manifest.of_unfinished(tmp_path, "other") is None
    with Manifest.new(tmp_path, "k") as manifest:
        assert [*manifest.entries()] == []
    manifest_in(tmp_path).write_bytes(b"SQLite format 3\0 and no more" * 99)
    assert Manifest.of_unfinished(tmp_path, "k") is None
    assert "cannot be read" in caplog.text
    forget(tmp_path)
    assert not any(tmp_path.iterdir())
    forget(tmp_path)


def test_it_is_no_result(tmp_path: Path) -> None:
    with Manifest.new(tmp_path, "k"):
        assert entries_of(tmp_path) == []
        assert is_ours(tmp_path)


def test_identity_changes_with_the_file(tmp_path: Path) -> None:
    file, folder = tmp_path / "a", tmp_path / "series"
    file.write_text("1")
    folder.mkdir()
    (folder / "1.dcm").write_text("1")
    before = identity_of([file]), identity_of([folder])
    assert before == (identity_of([file]), identity_of([folder]))
    os.utime(file, ns=(5, 5))
    (folder / "1.dcm").write_text("12")
    assert identity_of([file]) != before[0] and identity_of([folder]) != before[1]
    assert identity_of([tmp_path / "gone"]) == identity_of([tmp_path / "gone"])


def test_key_is_of_all_parts() -> None:
    assert key_of({"a": 1, "b": Path("x")}) == key_of({"b": Path("x"), "a": 1})
    assert key_of({"a": 1}) != key_of({"a": 2})
