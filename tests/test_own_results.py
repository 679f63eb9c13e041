"""Which results are ours: `--output` writes only where nothing else is."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from flexseg.errors import ConfigError, InUseError
from flexseg.outputs import write_json
from flexseg.own_results import (
    MARKER,
    begins_with,
    claim_file,
    claim_files,
    claim_folder,
    clear,
    is_ours,
    json_with,
)
from support import lock_elsewhere


def make(folder: Path, files: dict[str, object]) -> Path:
    """Writes files: JSON of what is no text."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / name).write_text(text)
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }


OURS = [
    {},
    {".DS_Store": ""},
    {"predictions.json": {"pixels_per_class": {}, "failed": {}}, "a.png": "", "notes.txt": ""},
    {"predictions.json": {"volumes": {}, "failed": {}}, "labels/a.nii": ""},
    {"dataset.json": {"made_by": "flexseg 1 derive", "parameters": {}}, "images/a.png": ""},
    {"summary.json": {"cases": 1, "classes": []}, "predictions/a.png": ""},
    {MARKER: {"made_by": "flexseg"}, "dataset/a.png": ""},
    {"cases.csv": "", f"predictions/{MARKER}": {"made_by": "flexseg"}, "predictions/a.png": ""},
    {"best_model.h5": "", "checkpoint.npz": "", "train_eval_infer.config": ""},
    {"train_metrics.csv": "", "train_losses.csv": "", "train_losses.png_2026_bak": ""},
]
THEIRS = [
    {"cases.csv": "", "predictions/a.png": ""},
    {"a.png": ""},
    {"masks/a.png": ""},
    {"labels/a.nii.gz": ""},
    {"cases.csv": "", "notes.txt": ""},
    {"dataset.json": {"name": "Task04_Hippocampus", "labels": {}}, "imagesTr/a.nii": ""},
    {"predictions.json": {"mine": 1}, "a.png": ""},
    {"predictions.json": "no JSON", "a.png": ""},
    {"summary.json": [1], "a.png": ""},
    {"best_model.h5": "", "thesis.docx": ""},
    {".git/config": ""},
]


@pytest.mark.parametrize("files", OURS)
def test_folders_of_ours_may_be_used_again(tmp_path: Path, files: dict[str, object]) -> None:
    folder = make(tmp_path / "x", files)
    assert is_ours(folder)
    claim_folder(folder)


@pytest.mark.parametrize("files", THEIRS)
def test_other_folders_are_refused_as_they_are(tmp_path: Path, files: dict[str, object]) -> None:
    folder = make(tmp_path / "x", files)
    before = content(folder)
    assert not is_ours(folder)
    with pytest.raises(ConfigError, match="flexseg did not write") as caught:
        claim_folder(folder)
    assert caught.value.exit_code == 2 and caught.value.where == "--output"
    assert content(folder) == before


def test_a_lock_that_is_stale_makes_no_folder_foreign(tmp_path: Path) -> None:
    an_hour_ago = time.time() - 3600
    os.utime(lock_elsewhere(tmp_path), (an_hour_ago, an_hour_ago))
    claim_folder(tmp_path)


def test_inputs_are_never_an_output(tmp_path: Path) -> None:
    folder = make(tmp_path / "x", {"predictions.json": {"volumes": {}, "failed": {}}})
    with pytest.raises(ConfigError, match="contains the input"):
        claim_folder(folder, [None, folder])
    claim_folder(tmp_path / "new", [folder])


def test_a_file_in_place_of_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis").write_text("mine")
    with pytest.raises(ConfigError, match="is a file, but a folder is needed"):
        claim_folder(tmp_path / "thesis")
    assert [p.name for p in tmp_path.iterdir()] == ["thesis"]


def test_of_another_folder_only_what_has_our_names_moves(tmp_path: Path) -> None:
    folder = make(tmp_path / "models", {"best_model.h5": "w", "thesis.docx": "t"})
    clear(folder)
    assert (folder / "thesis.docx").read_text() == "t"
    (moved,) = folder.glob("best_model.h5_*_bak")
    assert moved.read_text() == "w"
    clear(folder)
    assert len(list(folder.iterdir())) == 2
    ours = make(tmp_path / "eval", {"train_metrics.csv": "m"})
    clear(ours)
    assert not ours.exists() and len(list(tmp_path.glob("eval_*_bak"))) == 1
    clear(tmp_path / "none")


def test_further_names_of_results_move_as_well(tmp_path: Path) -> None:
    ours = make(tmp_path / "models", {"best_model.h5": "w", "a.toml": "c"})
    assert not is_ours(ours) and is_ours(ours, also=["a.toml"])
    clear(ours, also=["a.toml"])
    (moved,) = tmp_path.glob("models_*_bak")
    assert content(moved) == {"best_model.h5": b"w", "a.toml": b"c"}
    make(ours, {"thesis.docx": "t", "a.toml": "c"})
    clear(ours, also=["a.toml"])
    (moved,) = ours.glob("a.toml_*_bak")
    assert sorted(content(ours)) == sorted([moved.name, "thesis.docx"])


def test_a_folder_in_use_is_told_before_what_it_holds(tmp_path: Path) -> None:
    folder = make(tmp_path / "x", {"a.png": ""})
    lock_elsewhere(folder)
    before = content(folder)
    with pytest.raises(InUseError, match="process 7 on far"):
        claim_folder(folder)
    with pytest.raises(ConfigError, match="contains the input"):
        claim_folder(folder, [folder])
    assert content(folder) == before


def test_files_among_others_take_no_place(tmp_path: Path) -> None:
    folder = make(tmp_path, {"notes.txt": "", "model.png": "mine"})
    claim_files(folder, ["summary.txt"])
    with pytest.raises(ConfigError, match=r"already has a model\.png"):
        claim_files(folder, ["summary.txt", "model.png"])


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a"
    claim_file(path, "JSON", json_with("a"))
    write_json(path, {"a": 1})
    claim_file(path, "JSON", json_with("a", "b"))
    for what, is_one in (
        ("JSON", json_with("b")),
        ("HTML file", begins_with(b"<html", b"<!doctype html")),
    ):
        with pytest.raises(ConfigError, match=f"There is already a file that is not a {what}"):
            claim_file(path, what, is_one)
    path.write_text("\n<!DOCTYPE html>")
    claim_file(path, "HTML file", begins_with(b"<html", b"<!doctype html"))
