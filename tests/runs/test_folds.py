"""Folds: every case is held out once, groups stay whole, and the division is read back."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from flexseg.config import load
from flexseg.config.schema import Experiment
from flexseg.dataset.cases import Case
from flexseg.dataset.division.dividing import CaseTable
from flexseg.dataset.labels import LabelMap
from flexseg.errors import ConfigError, DataError
from flexseg.runs.folds import FILE_NAME, Folds, divide, make_folds, recorded_division, write_folds
from synthetic_folders import FOLDERS

CONFIG = """
[train]
images_dir = "dataset/train/images"
masks_dir = "dataset/train/masks"
[valid]
images_dir = "dataset/valid/images"
masks_dir = "dataset/valid/masks"
"""


def cases_of(groups: list[int]) -> list[Case]:
    return [Case(f"c{i}", Path("i"), Path("m"), f"g{g}") for i, g in enumerate(groups)]


def table(cases: list[Case], presence: NDArray[np.bool_] | None = None) -> CaseTable:
    shown = np.ones((len(cases), 1), bool) if presence is None else presence
    return CaseTable(tuple(cases), shown, ("",) * len(cases), ("class 1",))


def divided(experiment: Experiment, count: int) -> Folds:
    return divide(experiment.data, LabelMap.from_config(experiment.class_sections), count)


class TestFolds:
    @settings(max_examples=60, deadline=None)
    @given(
        st.lists(st.tuples(st.integers(0, 12), st.booleans()), min_size=3, max_size=40),
        st.integers(2, 5),
        st.integers(0, 20),
    )
    def test_each_case_is_held_out_once_and_groups_stay_whole(
        self, drawn: list[tuple[int, bool]], count: int, seed: int
    ) -> None:
        cases = cases_of([g for g, _ in drawn])
        presence = np.array([[shown] for _, shown in drawn])
        try:
            parts = make_folds(table(cases, presence), count, seed)
        except DataError:
            # A single large group may be all that two folds leave for training.
            assert count == 2 or len({case.group for case in cases}) < count
            return
        held = [case.id for fold in parts for case in fold.held_out]
        assert sorted(held) == sorted(case.id for case in cases)
        for fold in parts:
            groups = [{c.group for c in part} for part in (fold.train, fold.valid, fold.held_out)]
            assert all(groups)
            assert len(set.union(*groups)) == sum(map(len, groups))

    def test_classes_are_in_every_fold(self) -> None:
        cases = cases_of(list(range(100)))
        rare = np.arange(100) % 10 == 0
        parts = make_folds(table(cases, rare[:, None]), 5, 0)
        for fold in parts:
            assert sum(int(case.id[1:]) % 10 == 0 for case in fold.held_out) == 2

    def test_too_few(self) -> None:
        with pytest.raises(ConfigError, match="1 fold "):
            make_folds(table(cases_of([0, 1, 2])), 1, 0)
        with pytest.raises(DataError, match=r"4 cases of 2 groups"):
            make_folds(table(cases_of([0, 0, 1, 1])), 2, 0)
        with pytest.raises(DataError, match="cannot make 5 folds"):
            make_folds(table(cases_of([0, 1, 2])), 5, 0)


class TestDivide:
    def test_patients_in_the_names_stay_whole(self, tmp_path: Path) -> None:
        FOLDERS["patients"].write(tmp_path / "data")
        text = '[dataset]\nimages_dir = "data/images"\nmasks_dir = "data/masks"\n'
        (tmp_path / "a.toml").write_text(text, encoding="utf-8")
        experiment = load(tmp_path / "a.toml").experiment
        division = divided(experiment, 3)
        for fold in division.folds:
            patients = [{c.id[:3] for c in p} for p in (fold.train, fold.valid, fold.held_out)]
            assert sum(map(len, patients)) == len(set.union(*patients))
        assert [f.code for f in division.findings] == ["groups-found"]
        alone = load(tmp_path / "a.toml", ["dataset.group=^(.*)$"]).experiment
        assert len({case.group for case in divided(alone, 3).cases}) == len(division.cases)

    def test_copies_of_an_image_are_in_one_fold(
        self, tmp_path: Path, make_dataset: Callable[..., Path]
    ) -> None:
        dataset = make_dataset({"train": 9, "valid": 3})
        for kind in ("images", "masks"):
            source = dataset / "train" / kind / "train_00.png"
            for name in ("extra", "other"):
                shutil.copy(source, source.with_stem(name))
        (tmp_path / "a.toml").write_text(CONFIG, encoding="utf-8")
        for seed in range(5):
            experiment = load(tmp_path / "a.toml", [f"train.seed={seed}"]).experiment
            held = [{case.id for case in f.held_out} for f in divided(experiment, 3).folds]
            assert [len(h & {"train_00", "extra", "other"}) for h in held].count(3) == 1


class TestRecordedDivision:
    @pytest.fixture
    def folder(self, tmp_path: Path, make_dataset: Callable[..., Path]) -> Path:
        """A folder with data, a config, and the folds of both."""
        make_dataset({"train": 5, "valid": 2})
        (tmp_path / "a.toml").write_text(CONFIG, encoding="utf-8")
        division = divided(load(tmp_path / "a.toml").experiment, 2)
        write_folds(tmp_path, division.ids())
        return tmp_path

    def test_as_it_was_made(self, folder: Path) -> None:
        experiment = load(folder / "a.toml").experiment
        assert recorded_division(experiment.data, folder) == divided(experiment, 2)

    def test_cases_that_are_gone_or_new(self, folder: Path) -> None:
        experiment = load(folder / "a.toml").experiment
        for kind in ("images", "masks"):
            path = folder / "dataset/train" / kind / "train_00.png"
            path.rename(path.with_name("new.png"))
        with pytest.raises(DataError, match="'train_00'"):
            recorded_division(experiment.data, folder)
        content = [{"train": ["train_01"], "valid": [], "held_out": ["train_02"]}]
        (folder / FILE_NAME).write_text(json.dumps(content), encoding="utf-8")
        with pytest.raises(DataError, match="hold out 1 case, but now there are 7"):
            recorded_division(experiment.data, folder)

    @pytest.mark.parametrize("text", ["[3]", "3", "{", '[{"train": [[]]}]', '["a"]'])
    def test_damaged(self, folder: Path, text: str) -> None:
        (folder / FILE_NAME).write_text(text, encoding="utf-8")
        with pytest.raises(DataError):
            recorded_division(load(folder / "a.toml").experiment.data, folder)
