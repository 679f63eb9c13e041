"""`split_file` beside folders of the splits: it chooses among their cases."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flexseg.config.schema import Experiment
from flexseg.dataset.division.config_splits import find_splits
from flexseg.dataset.division.splits import SplitName
from flexseg.errors import DataError
from flexseg.outputs import write_json


def experiment(dataset: Path, content: dict[str, list[str]], *splits: str) -> Experiment:
    write_json(dataset / "chosen.json", content)
    sections: dict[str, Any] = {
        split: {"images_dir": dataset / split / "images", "masks_dir": dataset / split / "masks"}
        for split in splits
    }
    return Experiment.model_validate(
        sections | {"dataset": {"split_file": dataset / "chosen.json"}}
    )


def ids(
    found: Experiment, only: tuple[SplitName, ...] = ("train", "valid", "test")
) -> dict[str, list[str]]:
    splits = find_splits(found.data, only)
    splits.raise_errors()
    return {split: [case.id for case in own] for split, own in splits.cases.items()}


def test_cases_are_left_out(make_dataset: Callable[..., Path]) -> None:
    dataset = make_dataset({"train": 3, "valid": 2, "test": 2})
    content = {"train": ["train_00", "train_02"], "test": ["test_01"]}
    assert ids(experiment(dataset, content, "train", "valid", "test")) == {
        "train": ["train_00", "train_02"],
        "valid": ["valid_00", "valid_01"],
        "test": ["test_01"],
    }


def test_splits_without_folder_are_taken_from_training(make_dataset: Callable[..., Path]) -> None:
    dataset = make_dataset({"train": 4, "test": 1})
    content = {"train": ["train_00", "train_01"], "valid": ["train_03"], "test": ["test_00"]}
    found = experiment(dataset, content, "train", "test")
    assert ids(found) == content
    assert ids(found, ("valid",))["valid"] == ["train_03"]


def test_a_test_of_training_cases_is_found_alone(make_dataset: Callable[..., Path]) -> None:
    dataset = make_dataset({"train": 4, "valid": 1})
    content = {"train": ["train_00", "train_01"], "test": ["train_02"]}
    assert ids(experiment(dataset, content, "train", "valid"), ("test",))["test"] == ["train_02"]


def test_one_name_in_two_folders_is_two_cases(make_dataset: Callable[..., Path]) -> None:
    dataset = make_dataset({"train": 2, "test": 2})
    for path in dataset.rglob("test_*.png"):
        path.rename(path.with_name(path.name.replace("test", "train")))
    content = {"train": ["train_00"], "test": ["train_00"], "valid": ["train_01"]}
    assert ids(experiment(dataset, content, "train", "test")) == content


def test_one_case_in_two_splits_is_an_error(make_dataset: Callable[..., Path]) -> None:
    dataset = make_dataset({"train": 2, "test": 2})
    content = {"train": ["train_00", "train_01"], "valid": ["train_01"]}
    with pytest.raises(DataError, match="'train_01' is in train and in valid"):
        ids(experiment(dataset, content, "train", "test"))
