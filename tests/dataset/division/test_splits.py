"""Splits: no group in two of them, the same ones again, and everything left out is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flexseg.config import Experiment
from flexseg.dataset.cases import Case
from flexseg.dataset.division.config_splits import _by_share, find_splits
from flexseg.dataset.division.splits import SPLITS, Splits
from flexseg.errors import ConfigError, DataError
from flexseg.files.images import write_png
from synthetic import write_dataset

SHARES = (0.7, 0.15, 0.15)


def cases(*groups: str) -> tuple[Case, ...]:
    """One case for each group name given."""
    return tuple(
        Case(f"{group}_{i}", Path(f"{i}.png"), Path(f"{i}.png"), group)
        for i, group in enumerate(groups)
    )


def ids(splits: Splits) -> dict[str, list[str]]:
    return {name: [case.id for case in found] for name, found in splits.cases.items()}


def codes(splits: Splits) -> list[str]:
    return [finding.code for finding in splits.findings]


@pytest.fixture
def one_folder(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """A function that writes 20 cases of 10 patients and returns a config for them."""
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
        for i in range(20):
            write_png(tmp_path / kind / f"p{i // 2}_{i}.png", np.zeros((2, 2), np.uint8))

    def config(seed: int = 137, **dataset: Any) -> dict[str, Any]:
        folders = {"images_dir": tmp_path / "images", "masks_dir": tmp_path / "masks"}
        return {"dataset": folders | dataset, "train": {"seed": seed}}

    return config


def splits_of(config: dict[str, Any]) -> Splits:
    return find_splits(Experiment.model_validate(config).data)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(0, 30).map(str), min_size=1, max_size=80),
    st.integers(0, 1000),
    st.sampled_from([SHARES, (0.5, 0.25, 0.25), (0.8, 0.2, 0.0), (1.0, 0.0, 0.0)]),
)
def test_each_case_is_in_one_split_and_each_group_too(
    groups: list[str], seed: int, shares: tuple[float, float, float]
) -> None:
    everything = cases(*groups)
    found = _by_share(everything, shares, seed)
    assert sorted(c.id for part in found.values() for c in part) == sorted(c.id for c in everything)
    members = {name: {c.group for c in part} for name, part in found.items()}
    assert len(set().union(*members.values())) == sum(map(len, members.values()))
    if len(set(groups)) >= 3:
        filled = [bool(found[name]) for name in SPLITS]
        assert filled == [share > 0 for share in shares]


def test_shares_are_kept() -> None:
    found = _by_share(cases(*map(str, range(200))), SHARES, 1)
    assert {name: len(part) for name, part in found.items()} == {
        "train": 140,
        "valid": 30,
        "test": 30,
    }


def test_the_seed_decides_and_the_order_of_the_files_does_not() -> None:
    everything = cases(*map(str, range(60)))
    once = {name: {c.id for c in part} for name, part in _by_share(everything, SHARES, 1).items()}
    again = _by_share(everything[::-1], SHARES, 1)
    assert {name: {c.id for c in part} for name, part in again.items()} == once
    other = _by_share(everything, SHARES, 2)
    assert {c.id for c in other["test"]} != once["test"]


@pytest.mark.parametrize("seed", [0, 1, 137])
def test_new_cases_hardly_move_the_old_ones(seed: int) -> None:
    """A fresh shuffle would move about 45 % of the cases to another split."""
    old = cases(*map(str, range(200)))
    new = old + cases(*(f"new{i}" for i in range(10)))

    def split_by_id(everything: tuple[Case, ...]) -> dict[str, str]:
        parts = _by_share(everything, SHARES, seed)
        return {c.id: name for name, part in parts.items() for c in part}

    before, after = split_by_id(old), split_by_id(new)
    moved = [case_id for case_id, name in before.items() if after[case_id] != name]
    assert len(moved) <= 20
    assert not [i for i in moved if {before[i], after[i]} == {"train", "test"}]


def test_one_folder_is_divided_by_group(one_folder: Callable[..., dict[str, Any]]) -> None:
    splits = splits_of(one_folder(group=r"^(p\d+)_"))
    patients = {name: {c.group for c in part} for name, part in splits.cases.items()}
    assert set().union(*patients.values()) == {f"p{i}" for i in range(10)}
    assert sum(map(len, patients.values())) == 10
    assert sum(len(part) for part in splits.cases.values()) == 20
    assert splits.findings == []


@pytest.mark.parametrize("split", [(0.5, 0.2, 0.2), (1.2, -0.1, -0.1)])
def test_shares_must_sum_to_one(
    one_folder: Callable[..., dict[str, Any]], split: tuple[float, float, float]
) -> None:
    with pytest.raises(ConfigError, match="does not sum to 1"):
        splits_of(one_folder(split=split))


def test_split_file_decides(one_folder: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    file = tmp_path / "splits.json"
    content = {"training": ["p0_0", "p1_2"], "val": ["p4_9"], "test": ["p9_19", "gone"]}
    file.write_text(json.dumps(content))
    splits = splits_of(one_folder(split_file=file))
    assert ids(splits) == {"train": ["p0_0", "p1_2"], "valid": ["p4_9"], "test": ["p9_19"]}
    assert codes(splits) == ["cases-in-no-split", "split-ids-missing"]
    assert {"p0_0", "p4_9"}.isdisjoint(splits.findings[0].items)
    assert splits.findings[1].items == ("gone",)
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())  # as editors of Windows write it
    assert ids(splits_of(one_folder(split_file=file))) == ids(splits)


@pytest.mark.parametrize(
    "spelling", ["{}.png", "images/{}.png", "D:\\data\\{}.PNG", "{}.tif", "{}.nii.gz"]
)
def test_names_in_a_split_file_may_be_files(
    one_folder: Callable[..., dict[str, Any]], tmp_path: Path, spelling: str
) -> None:
    file = tmp_path / "splits.json"
    content = {"train": ["p0_0", "p1_2"], "valid": ["P4_9"], "test": ["p9_19"]}
    spelled = {key: [spelling.format(name) for name in own] for key, own in content.items()}
    file.write_text(json.dumps(spelled), encoding="utf-8")
    splits = splits_of(one_folder(split_file=file))
    assert ids(splits) == content | {"valid": ["p4_9"]}
    assert codes(splits) == ["cases-in-no-split"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"train": ["p0_0"], "test": ["p0_0.png"]}', "'p0_0' is in train and in test"),
        ('{"train": ["p0_0"], "test": ["p0_0"]}', "'p0_0' is in train and in test"),
        ('{"train": ["p0_0"], "extra": []}', "'extra' is not a split"),
        ('["p0_0"]', "expected form"),
        ('{"train": "p0_0"}', "expected form"),
        ('{"train": ["p0_0"]', "not JSON"),
    ],
)
def test_wrong_split_file_is_a_data_error(
    one_folder: Callable[..., dict[str, Any]], tmp_path: Path, text: str, problem: str
) -> None:
    file = tmp_path / "splits.json"
    file.write_text(text)
    with pytest.raises(DataError) as caught:
        splits_of(one_folder(split_file=file))
    assert problem in caught.value.problem
    assert caught.value.where == str(file)


def test_missing_split_file_is_a_data_error(
    one_folder: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="no such split file"):
        splits_of(one_folder(split_file=tmp_path / "none.json"))


def folders(dataset: Path, *names: str) -> dict[str, Any]:
    """A config with the folders of these splits."""
    return {
        name: {"images_dir": dataset / name / "images", "masks_dir": dataset / name / "masks"}
        for name in names
    }


def test_folders_of_their_own(make_dataset: Callable[..., Path]) -> None:
    splits = splits_of(folders(make_dataset({"train": 5, "valid": 2, "test": 3}), *SPLITS))
    assert {name: len(found) for name, found in splits.cases.items()} == {
        "train": 5,
        "valid": 2,
        "test": 3,
    }
    assert splits.findings == []


def test_only_the_asked_split_is_read(make_dataset: Callable[..., Path]) -> None:
    config = folders(make_dataset({"test": 3}), *SPLITS)
    splits = find_splits(Experiment.model_validate(config).data, only=("test",))
    assert list(splits.cases) == ["test"]


def test_validation_is_held_out_by_group(one_folder: Callable[..., dict[str, Any]]) -> None:
    config = one_folder(group=r"^(p\d+)_")
    images, masks = config["dataset"].pop("images_dir"), config["dataset"].pop("masks_dir")
    config["train"] |= {"images_dir": images, "masks_dir": masks}
    splits = splits_of(config)
    held = {c.group for c in splits.cases["valid"]}
    assert len(held) == 2
    assert held.isdisjoint(c.group for c in splits.cases["train"])
    assert len(splits.cases["valid"]) + len(splits.cases["train"]) == 20
    assert codes(splits) == ["validation-held-out"]
    assert ids(splits_of(config)) == ids(splits)
    config["train"]["seed"] = 3
    assert ids(splits_of(config)) != ids(splits)


def test_single_group_is_not_held_out(make_dataset: Callable[..., Path]) -> None:
    config = folders(make_dataset({"train": 3}), "train") | {"dataset": {"group": "train"}}
    splits = splits_of(config)
    assert list(splits.cases) == ["train"]
    with pytest.raises(ConfigError, match="no cases for the valid split"):
        splits.need("valid")


def test_files_without_partner_are_found(make_dataset: Callable[..., Path]) -> None:
    dataset = make_dataset({"train": 3, "valid": 2})
    (dataset / "train" / "masks" / "train_00.png").rename(dataset / "train" / "masks" / "other.png")
    splits = splits_of(folders(dataset, "train", "valid"))
    assert ids(splits)["train"] == ["train_01", "train_02"]
    assert {f.code: f.items for f in splits.findings} == {
        "images-without-mask": ("train_00.png",),
        "masks-without-image": ("other.png",),
    }
    splits.raise_errors()  # both are warnings


def test_files_that_are_none_are_all_listed(make_dataset: Callable[..., Path]) -> None:
    dataset = make_dataset({"train": 4, "valid": 2})
    gone = [dataset / "train" / "images" / "train_00.png", dataset / "valid/masks/valid_01.png"]
    for path in gone:
        path.unlink()
        path.symlink_to("../.git/annex/objects/a.png")
    splits = splits_of(folders(dataset, "train", "valid"))
    assert len(ids(splits)["train"]) == 4
    with pytest.raises(DataError, match="2 files are wrong") as caught:
        splits.raise_errors()
    assert all(str(path) in caught.value.problem for path in gone)
    assert "datalad get" in caught.value.problem


def test_what_is_left_out_for_its_name_is_told(make_dataset: Callable[..., Path]) -> None:
    dataset = make_dataset({"train": 3, "valid": 2})
    (dataset / "train" / "images" / "notes.txt").touch()
    (dataset / "train" / "masks" / "more").mkdir()
    splits = splits_of(folders(dataset, "train", "valid"))
    (finding,) = splits.findings
    assert finding.code == "other-entries"
    assert "1 file (notes.txt)" in finding.what and "1 folder (more/)" in finding.what


def test_folder_in_which_nothing_pairs_is_an_error(make_dataset: Callable[..., Path]) -> None:
    dataset = make_dataset({"train": 2})
    for mask in (dataset / "train" / "masks").iterdir():
        mask.rename(mask.with_name(f"{mask.stem}_mask.png"))
    config = folders(dataset, "train")
    splits = splits_of(config)
    assert codes(splits) == ["no-pairs"]
    with pytest.raises(DataError, match="None of 2 images has a mask") as caught:
        splits.raise_errors()
    assert "train_00.png" in caught.value.problem
    assert "train_00_mask.png" in caught.value.problem
    config["dataset"] = {"mask_name": "{id}_mask", "split": [1, 0, 0]}
    assert len(splits_of(config).cases["train"]) + len(splits_of(config).cases["valid"]) == 2


def test_images_without_a_folder_of_masks_are_a_config_error(
    make_dataset: Callable[..., Path],
) -> None:
    images = make_dataset({"train": 2}) / "train" / "images"
    with pytest.raises(ConfigError, match="masks_dir is not set"):
        splits_of({"train": {"images_dir": images}})


def test_split_file_may_name_groups(tmp_path: Path) -> None:
    """Here volumes, each with its slices; a case by its own name and through its group is two."""
    write_dataset(tmp_path, {"": 6})
    for kind in ("images", "masks"):
        for i, path in enumerate(sorted((tmp_path / kind).iterdir())):
            path.rename(path.with_name(f"vol{i // 2}_{i % 2}.png"))
    file = tmp_path / "split.json"

    def found(content: dict[str, list[str]]) -> dict[str, list[str]]:
        file.write_text(json.dumps(content), encoding="utf-8")
        experiment = Experiment.model_validate(
            {
                "dataset": {
                    "images_dir": tmp_path / "images",
                    "masks_dir": tmp_path / "masks",
                    "split_file": file,
                    "group": "^(vol.)_",
                }
            }
        )
        splits = find_splits(experiment.data)
        assert {f.code for f in splits.findings} <= {"cases-in-no-split"}
        return {name: [case.id for case in cases] for name, cases in splits.cases.items()}

    assert found({"train": ["vol0", "vol2_1"], "test": ["vol1"]}) == {
        "train": ["vol0_0", "vol0_1", "vol2_1"],
        "test": ["vol1_0", "vol1_1"],
    }
    twice = found({"train": ["vol0", "vol0_1", "vol0"], "test": ["vol1_0", "vol1_0"]})
    assert twice == {"train": ["vol0_0", "vol0_1"], "test": ["vol1_0"]}
    with pytest.raises(DataError, match="'vol0_1' is in train and in test"):
        found({"train": ["vol0"], "test": ["vol0_1"]})


def test_of_two_groups_one_validates() -> None:
    """A training without validation would choose its last epoch."""
    found = _by_share(cases("a", "a", "b"), SHARES, 1)
    assert {name: len({c.group for c in part}) for name, part in found.items()} == {
        "train": 1,
        "valid": 1,
        "test": 0,
    }
    assert len(_by_share(cases("a", "b"), (1.0, 0.0, 0.0), 1)["train"]) == 2
