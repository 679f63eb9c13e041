"""Corrections that are taken back leave no files, and are learned from no more."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from flexseg.dataset.labels import LabelMap, make_classes
from flexseg.errors import DataError
from flexseg.files.images import write_png
from flexseg.learning.case_pool import POOL, CasePool
from flexseg.learning.corrections import CORRECTIONS, Corrections
from flexseg.learning.forgetting import LEARNED_FROM, forget, learned_from, note_learned

LABELS = LabelMap.of_foreground(make_classes([("disc", (1,))])[1:])


def add(store: Corrections, case: str, seed: int, place: Path) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (12, 16), np.uint8)
    write_png(place / "image.png", pixels)
    store.add(case, place / "image.png", (pixels > 128).astype(np.uint8), "corrected", "ann")


def files_of(folder: Path, case: str) -> list[str]:
    found = (path for path in folder.rglob("*") if path.stem.split("_")[0] == case)
    return sorted(path.relative_to(folder).as_posix() for path in found)


def test_files_go_and_what_was_learned_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "learned"
    store = Corrections(folder / CORRECTIONS, LABELS)
    for seed, case in enumerate(("a", "b", "c")):
        add(store, case, seed, tmp_path)
    add(store, "b", 1, tmp_path)
    pool = CasePool.open(folder / POOL, LABELS)
    pool.add_corrections(store)
    pool.write()
    note_learned(folder, 2, ["a", "b"])
    note_learned(folder, 3, ["b"])
    assert len(files_of(folder, "b")) == 5
    assert forget(folder, ["b", "c"]) == {"b": [2, 3], "c": []}
    assert files_of(folder, "b") == files_of(folder, "c") == []
    assert files_of(folder, "a") == [f"{place}/{kind}/a.png" for place in (POOL, CORRECTIONS)
                                     for kind in ("images", "masks")]  # fmt: skip
    assert [one.case for one in Corrections(folder / CORRECTIONS)] == ["a"]
    assert [*CasePool.open(folder / POOL, LABELS).cases] == ["a"]
    split = json.loads((folder / POOL / "split.json").read_text(encoding="utf-8"))
    assert [name for names in split.values() for name in names] == ["a"]
    assert learned_from(folder)["b"] == [2, 3]


def test_a_round_adds_no_case_that_was_taken_back_meanwhile(tmp_path: Path) -> None:
    store = Corrections(tmp_path / CORRECTIONS, LABELS)
    for seed, case in enumerate(("a", "b")):
        add(store, case, seed, tmp_path)
    pool = CasePool.open(tmp_path / POOL, LABELS)
    pool.add_corrections(store)
    store.remove(["b"])
    pool.add_corrections(store)
    assert [*pool.cases] == ["a"] and files_of(tmp_path / POOL, "b") == []


def test_a_damaged_record(tmp_path: Path) -> None:
    (tmp_path / LEARNED_FROM).write_text('{"a": 2}', encoding="utf-8")
    with pytest.raises(DataError, match="cannot be read"):
        forget(tmp_path, ["a"])
