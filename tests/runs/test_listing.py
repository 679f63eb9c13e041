"""Runs are listed from their manifests, damaged ones included."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from flexseg.errors import ConfigError, DataError
from flexseg.outputs import write_json
from flexseg.runs.listing import SORT_KEYS, find_runs, sort_runs
from support import flexseg


def write_run(folder: Path, dice: float | None = None, **content: Any) -> Path:
    """A run's folder as a training and an evaluation leave it."""
    folder.mkdir(parents=True)
    manifest = {
        "status": "finished",
        "started": "2026-11-21T10:00:00+00:00",
        "config": {"model": {"model": "UNet"}, "train": {"images_dir": "/x/wbc/train/images"}},
        "data": {"train": {"cases": 200}, "valid": {"cases": 40}},
        "epochs": 12,
        "best": {"epoch": 8, "loss": 0.25},
        "seconds": 90.5,
    }
    write_json(folder / "run.json", manifest | content)
    if dice is not None:
        (folder / "evaluation").mkdir()
        macro = {"dice": {"mean": dice, "ci95": [dice - 0.1, dice + 0.1]}}
        write_json(folder / "evaluation/summary.json", {"cases": 60, "macro": macro})
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three runs, one of them in a folder of its own."""
    write_run(tmp_path / "a", 0.8)
    write_run(tmp_path / "b", started="2026-11-22T10:00:00+00:00", best={"loss": 0.1})
    write_run(tmp_path / "deep/c", 0.9, status="interrupted", best=None, epochs=None, seconds=None)
    write_json(tmp_path / "deep/c/history.json", {"loss": [3, 2, 1], "val_loss": [0.5, 0.3, 0.4]})
    return tmp_path


def test_what_is_known_of_a_run(folder: Path) -> None:
    run = find_runs(folder)[0]
    assert (run.name, run.status, run.model, run.data) == ("a", "finished", "UNet", "wbc 200+40")
    assert (run.epochs, run.val_loss, run.seconds, run.cases) == (12, 0.25, 90.5, 60)
    assert run.dice == 0.8 and run.ci95 == pytest.approx((0.7, 0.9)) and run.problem is None


def test_unfinished_run_is_known_by_its_history(folder: Path) -> None:
    run = next(r for r in find_runs(folder) if r.name == "deep/c")
    assert (run.status, run.epochs, run.val_loss, run.seconds) == ("interrupted", 3, 0.3, None)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("started", ["b", "a", "deep/c"]),
        ("dice", ["deep/c", "a", "b"]),
        ("val_loss", ["b", "a", "deep/c"]),
        ("seconds", ["a", "b", "deep/c"]),
        ("name", ["a", "b", "deep/c"]),
    ],
)
def test_sorted_best_first_and_unknown_last(folder: Path, key: str, expected: list[str]) -> None:
    assert [run.name for run in sort_runs(find_runs(folder), key)] == expected


def test_every_key_sorts(folder: Path) -> None:
    write_json(folder / "run.json", [])
    for key in SORT_KEYS:
        assert len(sort_runs(find_runs(folder), key)) == 4


def test_unknown_key(folder: Path) -> None:
    with pytest.raises(ConfigError, match="'size'"):
        sort_runs(find_runs(folder), "size")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"{", "not JSON"),
        (b"\xff\xfe\x00", "not text"),
        (b"[1, 2]", "did not write it"),
        (b'{"name": "of another program"}', "status: field required"),
        (b'{"status": 3, "config": {"model": {}}}', "status: input should be a valid string"),
        (b"", "it is empty"),
    ],
)
def test_foreign_and_damaged_manifests_are_said(folder: Path, content: bytes, problem: str) -> None:
    (folder / "b/run.json").write_bytes(content)
    run = next(r for r in find_runs(folder) if r.name == "b")
    assert run.status == "damaged" and run.problem is not None and problem in run.problem
    assert len(find_runs(folder)) == 3


def test_damaged_scores_do_not_hide_the_run(folder: Path) -> None:
    (folder / "a/evaluation/summary.json").write_text("{", encoding="utf-8")
    (folder / "a/history.json").write_text("[]", encoding="utf-8")
    run = find_runs(folder)[0]
    assert run.status == "finished" and run.dice is None and run.val_loss == 0.25
    assert run.problem is not None
    assert "history.json" in run.problem and "summary.json" in run.problem


@pytest.mark.parametrize("value", [None, [], "x", 3, {"dice": 5}, {"dice": {"mean": "high"}}])
def test_other_types_than_expected(folder: Path, value: Any) -> None:
    write_json(folder / "a/evaluation/summary.json", {"cases": "many", "macro": value})
    write_json(folder / "b/history.json", {"val_loss": value})
    content = {"status": "finished", "config": {"model": value, "train": value, "dataset": value}}
    write_json(folder / "b/run.json", content | {"best": value, "data": value, "epochs": value})
    by_name = {run.name: run for run in find_runs(folder)}
    assert by_name["a"].dice is None
    assert by_name["b"].status == "damaged" and "did not write it" in str(by_name["b"].problem)


def test_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        find_runs(tmp_path / "nowhere")


def test_table(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "b/run.json").write_text("{", encoding="utf-8")
    assert flexseg("runs", str(folder)) == 0
    shown = capsys.readouterr().out
    assert "finished" in shown and "damaged" in shown and "not JSON" in shown


def test_paths_are_whole_in_a_narrow_terminal(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    shutil.move(folder / "a", folder / ("a_long_name_of_what_was_tried/" + "and_another" * 3))
    assert flexseg("runs", str(folder)) == 0
    shown = capsys.readouterr().out
    assert "a_long_name_of_what_was_tried/" + "and_another" * 3 + "  finished\n" in shown
    assert "Dice 0.800 (0.700-0.900)" in shown
    assert all(len(line) <= 80 for line in shown.splitlines())


def test_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert flexseg("runs", str(folder), "--sort", "dice", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == ["deep/c", "a", "b"]
    assert rows[1]["ci95"] == pytest.approx([0.7, 0.9])


def test_empty_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert flexseg("runs", str(tmp_path)) == 0
    assert "No run" in capsys.readouterr().out
    assert flexseg("runs", str(tmp_path / "nowhere")) == 3
    assert flexseg("runs", str(tmp_path), "--sort", "size") == 2
