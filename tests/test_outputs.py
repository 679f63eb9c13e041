"""Writing results: nothing lost, nothing half written."""

from __future__ import annotations

import csv
import json
import os
import re
import time
from dataclasses import replace
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flexseg.errors import ConfigError, InUseError, ResourceError
from flexseg.lock import lock_of
from flexseg.machine import contains, same_place
from flexseg.one_writer import exclusive
from flexseg.open_files import ATTEMPTS
from flexseg.outputs import (
    link_or_copy,
    make_folder,
    refuse_input,
    refuse_overlap,
    refuse_within,
    set_aside,
    try_outputs,
    whole,
    whole_folder,
    write_csv,
    write_json,
    write_text,
)
from flexseg.processes import ProcessMark
from support import lock_elsewhere


def test_results_in_the_way_keep_their_content_under_a_new_name(tmp_path: Path) -> None:
    results = tmp_path / "models"
    results.mkdir()
    (results / "best_model.h5").write_text("weights")
    moved = set_aside(results)
    assert moved is not None
    assert not results.exists()
    assert (moved / "best_model.h5").read_text() == "weights"
    assert re.fullmatch(r"models_\d{4}-\d\d-\d\d_\d\d_\d\d_\d\d\.\d+_bak", moved.name)


def test_files_are_set_aside_too_and_twice(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    for content in ("first", "second"):
        path.write_text(content)
        assert set_aside(path) is not None
    kept = sorted(p.read_text() for p in tmp_path.iterdir())
    assert kept == ["first", "second"]


def test_files_are_set_aside_also_while_the_clock_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That of Windows moves 64 times a second."""

    class Standing(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Standing:
            return cls(2026, 1, 2, 3, 4, 5)

    monkeypatch.setattr("flexseg.outputs.datetime", Standing)
    for content in ("first", "second"):
        (tmp_path / "a.csv").write_text(content)
        set_aside(tmp_path / "a.csv")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "a.csv_2026-01-02_03_04_05.000000_bak": "first",
        "a.csv_2026-01-02_03_04_05.000001_bak": "second",
    }


def test_results_that_are_open_for_a_moment_are_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, rename = iter([PermissionError(13, "in use")]), Path.rename

    def refuse(path: Path, target: Path) -> Path:
        for error in answers:
            raise error
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refuse)
    (tmp_path / "a.txt").write_text("old")
    assert set_aside(tmp_path / "a.txt") is not None
    assert not (tmp_path / "a.txt").exists()


def test_nothing_and_empty_folders_stay(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert set_aside(empty) is None
    assert set_aside(tmp_path / "absent") is None
    assert [p.name for p in tmp_path.iterdir()] == ["empty"]


def test_make_folder_makes_parents(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "a" / "b")
    assert folder.is_dir()
    assert make_folder(folder) == folder


def test_folder_in_place_of_a_file_is_a_resource_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError) as caught:
        make_folder(tmp_path / "file" / "run")
    assert caught.value.exit_code == 4
    assert caught.value.where == str(tmp_path / "file" / "run")


def test_read_only_folder_is_a_resource_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system's answer is simulated: root, as in many containers, may write everywhere."""
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    with pytest.raises(ResourceError, match="no permission to write"):
        make_folder(tmp_path / "results")


PLACES = {
    "a folder in its place": ("models", "models is a folder"),
    "a folder of the same name": ("taken.h5", "taken.h5 is a folder"),
    "a file for a folder": ("notes.txt/best.h5", "notes.txt is a file"),
    "a file on the way": ("notes.txt/a/b/best.h5", "notes.txt is a file"),
    "a name that is too long": ("new/" + 300 * "x", "cannot be written"),
}


@pytest.mark.parametrize(("name", "problem"), PLACES.values(), ids=PLACES)
def test_a_place_that_cannot_be_written_is_found_before_the_work(
    tmp_path: Path, name: str, problem: str
) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "taken.h5").mkdir()
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises((ConfigError, ResourceError), match=problem):
        try_outputs(files=[("[train] best_model_file", tmp_path / name)])
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["models", "notes.txt", "taken.h5"]


def test_a_trial_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "old.csv").write_text("1")
    try_outputs([("a", tmp_path / "old.csv"), ("b", tmp_path / "x/y.csv")], [("c", tmp_path / "z")])
    assert [p.name for p in tmp_path.iterdir()] == ["old.csv"]
    assert (tmp_path / "old.csv").read_text() == "1"


def test_two_files_in_one_place_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"would also be the file of \[train\] model_dir"):
        try_outputs(
            [
                ("[train] model_dir", tmp_path / "checkpoint.npz"),
                ("[train] best_model_file", tmp_path / "checkpoint.npz"),
            ]
        )


@pytest.mark.parametrize("output", ["data", "data/train", "data/../data/train"])
def test_output_that_would_move_an_input_is_refused(tmp_path: Path, output: str) -> None:
    images = tmp_path / "data" / "train"
    images.mkdir(parents=True)
    with pytest.raises(ConfigError) as caught:
        refuse_overlap({"train.model_dir": tmp_path / output}, [None, images])
    assert caught.value.where == "train.model_dir"
    assert str(images) in caught.value.problem


def test_output_beside_or_below_the_inputs_is_allowed(tmp_path: Path) -> None:
    outputs = {"a": tmp_path / "data_out", "b": tmp_path / "data" / "predictions"}
    refuse_overlap(outputs, [tmp_path / "data"])
    with pytest.raises(ConfigError, match="data_out"):
        refuse_overlap(outputs, [tmp_path / "data_out"])


def test_letter_case_hides_no_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on macOS and Windows, where `Data` and `data` are one folder."""

    def samefile(one: Path, other: Path) -> bool:
        return str(one).casefold() == str(other).casefold()

    monkeypatch.setattr(os.path, "samefile", samefile)
    data = tmp_path / "data"
    assert same_place(data, tmp_path / "DATA") and contains(tmp_path / "Data", data / "images")
    assert not contains(data / "images", data)
    for output in ("Data", "DATA/Images"):
        with pytest.raises(ConfigError, match="contains the input"):
            refuse_overlap({"--output": tmp_path / output}, [data / "images"])
    with pytest.raises(ConfigError, match="which is read"):
        refuse_within(tmp_path / "Data" / "masks", [data])
    with pytest.raises(ConfigError, match="is also an input"):
        refuse_input("--output", tmp_path / "Data", [data])


def test_a_path_that_is_too_long_for_windows_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flexseg.outputs.sys.platform", "win32")
    with (
        pytest.raises(ResourceError, match=r"has \d+ characters, but Windows takes at most 259"),
        whole(tmp_path / "a.txt") as part,
    ):
        raise OSError(2, "No such file or directory", str(part.with_name(300 * "x")))


def test_names_that_are_no_text_are_written_and_come_back(tmp_path: Path) -> None:
    """Linux names files in bytes, of any encoding."""
    write_json(tmp_path / "a.json", {"file": "gr\udcfcn.png"})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {
        "file": "gr\udcfcn.png"
    }


def test_text_is_utf8_with_unix_line_ends_on_every_system(tmp_path: Path) -> None:
    write_text(tmp_path / "note.txt", "Größe\n腫瘍\n")
    assert (tmp_path / "note.txt").read_bytes() == "Größe\n腫瘍\n".encode()


def test_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    write_json(path, {"dice": 0.9})
    with pytest.raises(TypeError):
        write_json(path, {"dice": object()})
    assert json.loads(path.read_text()) == {"dice": 0.9}
    assert [p.name for p in tmp_path.iterdir()] == ["summary.json"]


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), whole(path) as part:
        part.write_text("ha")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    with whole(path) as part:
        assert part.name == path.name  # many libraries choose the format by it
        part.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_second_file_comes_along(tmp_path: Path) -> None:
    """The header of some formats names a file with the voxels, which must be there first."""
    path = tmp_path / "a.mhd"
    with whole(path) as part:
        part.write_text("header")
        part.with_name("a.raw").write_text("voxels")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mhd", "a.raw"]


@pytest.mark.parametrize(
    ("change", "age", "stays"),
    [
        ({"pid": 999_999_999}, 0, False),
        ({}, 0, True),  # it still writes
        ({"system": "0123abcd"}, 0, True),  # nobody here can tell
        ({"system": "0123abcd"}, 100_000, False),
    ],
)
def test_what_a_killed_program_left_is_removed(
    tmp_path: Path, change: dict[str, Any], age: float, stays: bool
) -> None:
    mark = replace(ProcessMark.own(), **change)
    left, own = tmp_path / f".part-{mark}-x", tmp_path / ".part-of-the-user"
    for folder in (left / "b", own):
        folder.mkdir(parents=True)
    (left / "b/c.txt").write_text("half")
    when = time.time() - age
    for path in (left / "b/c.txt", left / "b", left, own):
        os.utime(path, (when, when))
    write_text(tmp_path / "a.txt", "whole")
    assert left.exists() == stays
    assert own.exists() and (tmp_path / "a.txt").read_text() == "whole"


def test_writers_of_the_same_file_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with whole(path) as first, whole(path) as second:
        first.write_text("first")
        second.write_text("second")
    assert path.read_text() == "first"  # the outer block ends last
    assert list(tmp_path.iterdir()) == [path]


def test_writers_of_the_same_folder_do_not_meet(tmp_path: Path) -> None:
    """The last one wins, and the results of the other move aside."""
    path = tmp_path / "a"
    with whole_folder(path) as first:
        (first / "a.txt").write_text("first")
        with whole_folder(path) as second:
            (second / "b.txt").write_text("second")
    assert [p.name for p in path.iterdir()] == ["a.txt"]
    (aside,) = (p for p in tmp_path.iterdir() if p != path)
    assert [p.name for p in aside.iterdir()] == ["b.txt"]


def test_a_folder_that_appears_at_the_last_moment_moves_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, replace_path, others = tmp_path / "a", Path.replace, iter(["other"])

    def late(part: Path, target: Path) -> Path:
        for name in others:
            target.mkdir()
            (target / name).write_text("")
        return replace_path(part, target)

    monkeypatch.setattr(Path, "replace", late)
    with whole_folder(path) as folder:
        (folder / "a.txt").write_text("")
    assert [p.name for p in path.iterdir()] == ["a.txt"]
    assert [p.name for p in tmp_path.glob("a_*_bak/*")] == ["other"]


def test_results_that_another_program_has_just_moved_are_not_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, rename = tmp_path / "a.txt", Path.rename
    path.write_text("")

    def faster(source: Path, target: Path) -> Path:
        rename(source, tmp_path / "moved")
        return rename(source, target)

    monkeypatch.setattr(Path, "rename", faster)
    assert set_aside(path) is None


def test_results_move_out_of_a_locked_folder_and_its_lock_stays(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with exclusive(run):
        assert set_aside(run) is None  # a lock is no result
        (run / "models").mkdir()
        (run / "models" / "a.h5").write_text("a")
        (run / "run.json").write_text("{}")
        aside = set_aside(run)
        assert aside is not None
        assert sorted(p.name for p in aside.rglob("*")) == ["a.h5", "models", "run.json"]
        assert [*run.iterdir()] == [lock_of(run)]


def test_locked_folders_within_results_stay_and_those_of_others_hinder(tmp_path: Path) -> None:
    models = tmp_path / "models"
    with exclusive(models, models / "deep"):
        for folder in (models, models / "deep"):
            (folder / "a.h5").write_text("a")
        aside = set_aside(models)
        assert aside is not None
        assert {p.relative_to(aside).as_posix() for p in aside.rglob("*")} == {
            "a.h5", "deep", "deep/a.h5",
        }  # fmt: skip
        assert lock_of(models / "deep").is_file()
    assert not models.exists()
    demo = tmp_path / "demo"
    (demo / "run").mkdir(parents=True)
    lock_elsewhere(demo / "run")
    with pytest.raises(InUseError) as caught:
        set_aside(demo)
    assert caught.value.where == str(tmp_path.resolve() / "demo" / "run")


def test_results_that_another_program_writes_stay(tmp_path: Path) -> None:
    for place in (tmp_path / "run", tmp_path / "masks"):
        place.mkdir()
        (place / "a.txt").write_text("theirs")
        lock_elsewhere(place)
        with pytest.raises(InUseError, match="process 7 on far"):
            set_aside(place)
        with pytest.raises(InUseError), whole_folder(place) as folder:
            (folder / "a.txt").write_text("ours")
        assert (place / "a.txt").read_text() == "theirs"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["masks", "run"]


def test_a_folder_with_the_lock_of_a_dead_program_is_empty(tmp_path: Path) -> None:
    place = tmp_path / "out"
    place.mkdir()
    stale = lock_elsewhere(place)
    os.utime(stale, (1, 1))
    assert set_aside(place) is None
    with whole_folder(place) as folder:
        (folder / "a.txt").write_text("ours")
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["a.txt", "out"]


def test_who_has_lost_a_folder_writes_nothing_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with exclusive(tmp_path / "run"):
        lock_elsewhere(tmp_path / "run")
        later = time.time() + 1000
        monkeypatch.setattr(time, "time", lambda: later)
        with pytest.raises(InUseError, match="taken over this folder"):
            write_text(tmp_path / "run" / "run.json", "")
        with pytest.raises(InUseError), whole_folder(tmp_path / "run" / "masks"):
            pass
        write_text(tmp_path / "elsewhere.json", "")
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == [".flexseg.lock"]


@pytest.mark.parametrize(("refusals", "written"), [(ATTEMPTS - 1, True), (ATTEMPTS, False)])
def test_a_file_that_is_open_for_a_moment_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusals: int, written: bool
) -> None:
    """As Windows refuses to replace a file that a virus scanner or another writer has open."""
    answers = iter([PermissionError(13, "in use")] * refusals)
    replace = Path.replace

    def refuse(part: Path, path: Path) -> Path:
        for error in answers:
            raise error
        return replace(part, path)

    monkeypatch.setattr(Path, "replace", refuse)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    path = tmp_path / "a.txt"
    if written:
        write_text(path, "new")
        assert path.read_text() == "new"
    else:
        with pytest.raises(ResourceError, match="in use"):
            write_text(path, "new")
        assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_told_with_the_file_that_is_to_be(tmp_path: Path) -> None:
    """Also within a folder that is written whole."""
    with (
        pytest.raises(ResourceError, match="No space left") as caught,
        whole_folder(tmp_path / "out") as folder,
        whole(folder / "a.png"),
    ):
        raise OSError(28, "No space left on device")
    assert caught.value.where == str(tmp_path / "out" / "a.png")
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_stays_empty_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match=r"a\.txt"), whole(tmp_path / "a.txt"):
        pass


def test_a_folder_is_filled_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "new" / "masks"
    with pytest.raises(ValueError, match="bad"), whole_folder(path) as folder:
        (folder / "a.png").write_text("a")
        raise ValueError("bad")
    assert list(path.parent.iterdir()) == []
    for content in ("first", "second"):
        with whole_folder(path) as folder:
            (folder / "a.png").write_text(content)
    aside = next(p for p in path.parent.iterdir() if p != path)
    assert re.fullmatch(r"masks_.*_bak", aside.name)
    assert (aside / "a.png").read_text() == "first"
    assert (path / "a.png").read_text() == "second"


def test_an_empty_folder_in_the_way_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    with whole_folder(tmp_path / "masks") as folder:
        (folder / "a.png").write_text("a")
    assert [p.name for p in tmp_path.rglob("*")] == ["masks", "a.png"]


def test_json_is_strict_and_takes_numpy_paths_and_nan(tmp_path: Path) -> None:
    content = {
        1: np.float32(0.5),
        "nan": float("nan"),
        "numpy nan": np.float32("nan"),
        "infinite": float("inf"),
        "path": Path("a") / "b",
        "nested": [(np.int64(3), {"flag": np.bool_(True)})],
    }
    write_json(tmp_path / "a.json", content)

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    read = json.loads((tmp_path / "a.json").read_text(), parse_constant=refuse)
    assert read == {
        "1": 0.5,
        "nan": None,
        "numpy nan": None,
        "infinite": None,
        "path": str(Path("a") / "b"),
        "nested": [[3, {"flag": True}]],
    }


def test_cells_of_a_csv_that_a_spreadsheet_would_execute_are_text(tmp_path: Path) -> None:
    write_csv(tmp_path / "t.csv", ["=name", "x"], [("=cmd|' /C calc'!A0", -0.5), ("@a", "-0.5")])
    text = (tmp_path / "t.csv").read_text()
    assert text == "'=name,x\n'=cmd|' /C calc'!A0,-0.5\n'@a,-0.5\n"


def test_csv_has_empty_cells_for_nan_and_none(tmp_path: Path) -> None:
    rows = [["a, b", 0.25, None], ["c", float("nan"), np.float32("nan")]]
    write_csv(tmp_path / "t.csv", ["name", "x", "y"], rows)
    assert (tmp_path / "t.csv").read_bytes() == b'name,x,y\n"a, b",0.25,\nc,,\n'
    with (tmp_path / "t.csv").open(newline="") as file:
        assert next(csv.DictReader(file))["name"] == "a, b"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
@pytest.mark.parametrize(("mask", "file", "folder"), [(0o027, 0o640, 0o750), (0o002, 0o664, 0o775)])
def test_the_umask_is_kept(tmp_path: Path, mask: int, file: int, folder: int) -> None:
    before = os.umask(mask)
    try:
        write_text(tmp_path / "a.txt", "a")
        with whole(tmp_path / "b.txt") as part:
            part.write_text("b")
        with whole_folder(tmp_path / "c") as part:
            (part / "c.txt").write_text("c")
        make_folder(tmp_path / "d" / "e")
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.rglob("*")}
    assert modes == {
        "a.txt": file, "b.txt": file, "c.txt": file, "c": folder, "d": folder, "e": folder,
    }  # fmt: skip


def test_a_failure_names_the_file_that_failed(tmp_path: Path) -> None:
    with pytest.raises(ResourceError) as caught, whole_folder(tmp_path / "a") as part:
        write_text(part / "missing" / "b.txt", "")
    assert caught.value.where == str(tmp_path / "a" / "missing" / "b.txt")


def test_a_file_has_two_names_or_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "a"
    source.write_bytes(b"content")
    link_or_copy(source, tmp_path / "b")
    assert (tmp_path / "b").samefile(source)

    def refuse(*_: object) -> None:
        raise PermissionError("no links here")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    link_or_copy(source, tmp_path / "c")
    assert (tmp_path / "c").read_bytes() == b"content" and not (tmp_path / "c").samefile(source)
    monkeypatch.undo()
    with pytest.raises(FileNotFoundError):
        link_or_copy(tmp_path / "gone", tmp_path / "d")
    with pytest.raises(FileExistsError):
        link_or_copy(source, tmp_path / "c")
