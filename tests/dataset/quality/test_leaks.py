"""`flexseg check` on leakage: copies in several splits, by their names and by their pixels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flexseg.checking import case_looks
from flexseg.checking.audit import CheckReport, audit, audit_folds
from flexseg.config import Finding, load
from flexseg.dataset.cases import Case
from flexseg.dataset.division.config_splits import find_splits
from flexseg.dataset.looks import Look
from flexseg.files.images import read_image, write_png
from flexseg.runs.folds import Fold, Folds

MODEL = "[model]\nimage_width = 32\nimage_height = 32\nnum_layers = 3\n"
FOLDERS = """
[{0}]
images_dir = "dataset/{1}/images"
masks_dir = "dataset/{1}/masks"
"""
CLEAN = MODEL + "".join(FOLDERS.format(split, split) for split in ("train", "valid", "test"))

Check = Callable[..., CheckReport]


@pytest.fixture
def dataset(make_dataset: Callable[..., Path]) -> Path:
    """Six training cases, three of validation and three of the test."""
    return make_dataset({"train": 6, "valid": 3, "test": 3}, size=(64, 64))


@pytest.fixture
def check(tmp_path: Path, dataset: Path) -> Check:
    """A function that writes a config beside the dataset and audits it."""

    def run(text: str = CLEAN) -> CheckReport:
        (tmp_path / "a.toml").write_text(text)
        return audit(load(tmp_path / "a.toml"))

    return run


def copy(dataset: Path, source: str, target: str, turn: Callable = np.fliplr) -> None:
    """A turned copy of `split/name` and of its mask as another case."""
    (from_split, name), (to_split, new) = source.split("/"), target.split("/")
    for kind in ("images", "masks"):
        path = dataset / from_split / kind / f"{name}.png"
        pixels = np.ascontiguousarray(turn(read_image(path)))
        if kind == "masks":  # colours of the palette back to ids
            pixels = (pixels[..., 1] > 127).astype(np.uint8)
            write_png(dataset / to_split / kind / f"{new}.png", pixels, [0, 0, 0, 0, 255, 0])
        else:
            write_png(dataset / to_split / kind / f"{new}.png", pixels)


def only(report: CheckReport) -> Finding:
    assert len(report.findings) == 1, [str(f) for f in report.findings]
    return report.findings[0]


def codes(report: CheckReport) -> set[str]:
    return {finding.code for finding in report.findings}


def test_different_images_are_no_finding(check: Check) -> None:
    assert check().findings == []


@pytest.mark.parametrize(
    ("turn", "hint"),
    [
        (np.fliplr, "mirrored"),
        (np.rot90, "rotated by about 90 degrees"),
        (lambda i: np.clip(i.astype(int) + 30, 0, 255).astype(np.uint8), ""),
    ],
    ids=["mirrored", "rotated", "brighter"],
)
def test_a_copy_of_another_name(dataset: Path, check: Check, turn: Callable, hint: str) -> None:
    copy(dataset, "train/train_01", "test/other", turn)
    finding = only(check())
    assert (finding.code, finding.severity) == ("near-duplicates-across-splits", "warning")
    assert len(finding.items) == 1
    assert finding.items[0].startswith("train train_01 ~ test other")
    assert hint in finding.items[0]
    assert "1 pair " in finding.what and "2 images" in finding.what


def test_a_copy_of_the_same_plain_name_is_found_too(dataset: Path, check: Check) -> None:
    """Folders may count from 1 each: the name alone neither accuses nor excuses."""
    copy(dataset, "train/train_01", "test/train_01")
    assert only(check()).code == "near-duplicates-across-splits"
    copy(dataset, "train/train_02", "train/5")
    copy(dataset, "test/test_01", "test/5")
    found = check()
    assert codes(found) == {"near-duplicates-across-splits"}
    assert len(found.findings[0].items) == 1


def test_copies_within_a_split_are_no_finding(dataset: Path, check: Check) -> None:
    copy(dataset, "train/train_01", "train/other")
    assert check().findings == []


def test_named_copies_are_told_once(dataset: Path, check: Check) -> None:
    copy(dataset, "train/train_01", "test/hfliped_train_01")
    report = check()
    assert codes(report) == {"siblings-across-splits", "augmented-cases"}
    by_code = {f.code: f for f in report.findings}
    assert by_code["siblings-across-splits"].items == ("train train_01 ~ test hfliped_train_01",)
    assert by_code["augmented-cases"].items == ("hfliped_train_01",)
    assert by_code["augmented-cases"].where == "[test]"
    assert report.exit_code == 0


def test_augmented_training_images_are_no_finding(dataset: Path, check: Check) -> None:
    copy(dataset, "train/train_01", "train/barrdistorted_1001_0.3_0.3_train_01")
    assert check().findings == []


def test_exact_copies_are_told_once(dataset: Path, check: Check) -> None:
    copy(dataset, "train/train_01", "valid/other", np.asarray)
    finding = only(check())
    assert finding.code == "duplicates-across-splits"
    assert finding.items == ("train train_01 = valid other",)


def test_a_pattern_groups_copies_and_tells_them_once(dataset: Path, check: Check) -> None:
    copy(dataset, "train/train_01", "test/p1_b")
    copy(dataset, "train/train_01", "train/p1_a", np.asarray)
    report = check(f"{CLEAN}[dataset]\ngroup = '^(p\\d+)_'\n")
    assert codes(report) == {"groups-across-splits", "near-duplicates-across-splits", "duplicates"}
    by_code = {f.code: f for f in report.findings}
    assert by_code["groups-across-splits"].items == ("p1",)
    # The copy under a name of no group is not told by the groups.
    assert [i.split(" (")[0] for i in by_code["near-duplicates-across-splits"].items] == [
        "train train_01 ~ test p1_b"
    ]


def test_the_pattern_that_the_fix_names_finds_the_leak(dataset: Path, check: Check) -> None:
    """Pasted into the config as it is printed, it makes the groups known."""
    for split, patients in (("train", "112233"), ("valid", "144"), ("test", "566")):
        for kind in ("images", "masks"):
            files = sorted((dataset / split / kind).iterdir())
            for number, (patient, path) in enumerate(zip(patients, files, strict=True)):
                path.rename(path.with_name(f"patient{patient}_{split}{number}.png"))
    told = only(check())
    assert told.code == "unnamed-groups-across-splits" and told.items == ("patient1",)
    start = told.fix.index("group = ")
    line = told.fix[start : told.fix.index("'", told.fix.index("'") + 1) + 1]
    assert "\\d" in line
    named = only(check(f"{CLEAN}[dataset]\n{line}\n"))
    assert named.code == "groups-across-splits" and named.items == ("patient1",)
    doubled = line.replace("\\", "\\\\")
    report = check(f"{CLEAN}[dataset]\n{doubled}\n")
    assert codes(report) == {"group-finds-nothing", "unnamed-groups-across-splits"}


def test_validation_is_test_is_said_once(dataset: Path, check: Check) -> None:
    folders = FOLDERS.format("train", "train") + FOLDERS.format("valid", "test")
    text = MODEL + folders + FOLDERS.format("test", "test")
    assert only(check(text)).code == "validation-is-test"
    copy(dataset, "train/train_01", "test/other")
    report = check(text)
    assert codes(report) == {"validation-is-test", "near-duplicates-across-splits"}
    found = next(f for f in report.findings if f.code.startswith("near"))
    assert sorted(i.split(" (")[0] for i in found.items) == [
        "train train_01 ~ test other",
        "train train_01 ~ valid other",
    ]


def test_a_split_by_share_keeps_copies_together(dataset: Path, check: Check) -> None:
    """Copies follow their original wherever the seed puts it."""
    for i in range(6):
        copy(dataset, f"train/train_{i:02d}", f"train/hfliped_train_{i:02d}")
    folder = FOLDERS.format("dataset", "train")
    report = check(f"{MODEL}{folder}split = [0.5, 0.25, 0.25]\n")
    assert "siblings-across-splits" not in codes(report)
    assert codes(report) == {"augmented-cases"}
    assert sum(split["cases"] for split in report.splits) == 12
    assert sum(split["groups"] for split in report.splits) == 6


class TestFolds:
    """The cases that a fold holds out must have no copies among those it is trained on."""

    @pytest.fixture
    def check_folds(self, tmp_path: Path, dataset: Path) -> Check:
        """A function that audits two folds: the even cases of the names, and the odd ones."""

        def run(text: str = CLEAN, **moved: int) -> CheckReport:
            (tmp_path / "a.toml").write_text(text)
            loaded = load(tmp_path / "a.toml")
            cases = find_splits(loaded.experiment.data, only=("train", "valid")).cases
            everything = (*cases["train"], *cases["valid"])

            def fold_of(case: Case) -> int:
                return moved.get(case.id, int(case.id[-1]) % 2)

            parts = [tuple(c for c in everything if fold_of(c) == k) for k in (0, 1)]
            folds = tuple(Fold(parts[1 - k][1:], parts[1 - k][:1], parts[k]) for k in (0, 1))
            return audit_folds(loaded, Folds(everything, folds))

        return run

    def test_different_images_are_no_finding(self, check_folds: Check) -> None:
        report = check_folds()
        assert report.findings == []
        (row,) = report.splits
        assert (row["split"], row["cases"], row["groups"]) == ("all folds", 9, 9)

    def test_copies_across_the_boundary(self, dataset: Path, check_folds: Check) -> None:
        copy(dataset, "train/train_01", "valid/other_2")
        finding = only(check_folds())
        assert finding.code == "near-duplicates-across-splits"
        assert finding.items[0].startswith("fold 0 other_2 ~ fold 1 train_01 (mirrored")
        assert "1 pair from different folds" in finding.what
        assert check_folds(other_2=1).findings == []

    def test_exact_copies(self, dataset: Path, check_folds: Check) -> None:
        copy(dataset, "train/train_01", "valid/other_2", np.asarray)
        finding = only(check_folds())
        assert finding.code == "duplicates-across-splits"
        assert finding.items == ("fold 0 other_2 = fold 1 train_01",)

    def test_groups(self, dataset: Path, check_folds: Check) -> None:
        for name in ("p7_2", "p7_3"):
            turn = np.rot90 if name == "p7_2" else np.fliplr
            copy(dataset, f"train/train_0{name[-1]}", f"train/{name}", turn)
        text = f"{CLEAN}[dataset]\ngroup = '^(p\\d+)_'\n"
        report = check_folds(text, train_02=0, train_03=1)
        assert only(report).items == ("p7",)
        assert only(report).code == "groups-across-splits" and "one fold" in only(report).what
        assert check_folds(text, p7_3=0, train_03=0).findings == []

    def test_augmented_copies_are_scored(self, dataset: Path, check_folds: Check) -> None:
        copy(dataset, "train/train_01", "train/hfliped_train_01")
        finding = only(check_folds())
        assert (finding.code, finding.where) == ("augmented-cases", "[folds]")

    def test_class_that_a_fold_cannot_learn(self, dataset: Path, check_folds: Check) -> None:
        for path in [*dataset.glob("train/masks/*.png"), *dataset.glob("valid/masks/*.png")]:
            if path.stem not in ("train_01", "train_03"):
                write_png(path, np.zeros((64, 64), np.uint8), [0, 0, 0, 0, 255, 0])
        report = check_folds()
        by_code = {f.code: f for f in report.findings}
        assert by_code.keys() == {"empty-masks", "class-absent-in-fold"}
        assert by_code["class-absent-in-fold"].items == ("fold 1",)

    def test_every_case_is_read_once(
        self, check_folds: Check, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        read: list[str] = []
        look_at = case_looks.look_at

        def counted(case: Case, *rest: Any, **options: Any) -> Look:
            read.append(case.id)
            return look_at(case, *rest, **options)

        monkeypatch.setattr(case_looks, "look_at", counted)
        check_folds()
        assert len(read) == len(set(read)) == 9
