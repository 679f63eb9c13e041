"""All commands give one answer to what a folder of data is, and it is the right one."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from config_parts import labels_of
from flexseg.augment.offline import multiply
from flexseg.checking.audit import audit
from flexseg.config import Severity, load
from flexseg.config.schema import Experiment
from flexseg.dataset.cases import Case
from flexseg.dataset.division.config_splits import find_splits
from flexseg.dataset.division.splits import SPLITS, SplitName
from flexseg.dataset.labels import LabelMap
from flexseg.dataset.reading import Dataset
from flexseg.dataset.statistics import draw_statistics, find_pictures
from flexseg.derive.folders import derive_folders
from flexseg.derive.tiles import TileOptions, derive_tiles
from flexseg.derive.volumes import VolumeOptions, derive_volumes
from flexseg.evaluation.trained_images import evaluate
from flexseg.files.images import read_mask
from flexseg.models.package import ModelPackage
from flexseg.planning import plan as plan_module
from flexseg.planning.auto import Auto
from flexseg.planning.initialize import initialize
from flexseg.planning.plan import make_plan
from flexseg.planning.timing import StepTime
from flexseg.runs.folds import divide
from support import flexseg
from synthetic_folders import FOLDERS, Answer, FolderOfData

Groups = frozenset[frozenset[str]]
Parts = dict[str, frozenset[str]]


@dataclass(frozen=True)
class Told:
    """What one command says of a folder; None where it says nothing of that kind."""

    cases: frozenset[str] | None = None
    classes: tuple[str, ...] | None = None
    pixels: tuple[int, ...] | None = None
    groups: Groups | None = None
    parts: Parts | None = None
    sizes: dict[str, int] | None = None


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps are not measured."""
    step = StepTime(0.01, 0.01, 0.004, 1.0, 8, 1000)
    monkeypatch.setattr(plan_module, "time_step", lambda *_, **__: step)


def name_of(stem: str) -> str:
    """The name that the case has in the table: without nnU-Net's channel, or the slice's number."""
    return stem.removesuffix("_0000")


def pixels_of(cases: Iterable[Case], labels: LabelMap) -> tuple[int, ...]:
    counts = np.zeros(len(labels.classes), np.int64)
    for case in cases:
        ids = labels.encode(read_mask(case.mask)).labels
        counts += np.bincount(ids.reshape(-1), minlength=len(counts))
    return tuple(counts[1:].tolist())


def grouped(pairs: Iterable[tuple[str, str]]) -> Groups:
    """The sets of names that share a group, from (name, group)."""
    found: dict[str, set[str]] = defaultdict(set)
    for name, group in pairs:
        found[group].add(name)
    return frozenset(map(frozenset, found.values()))


def told_by_config(experiment: Experiment) -> Told:
    """What a training with this config would take."""
    splits = find_splits(experiment.data)
    splits.raise_errors()
    cases = [case for own in splits.cases.values() for case in own]
    labels = labels_of(experiment)
    parts = {s: frozenset(name_of(c.id) for c in own) for s, own in splits.cases.items()}
    classes = tuple(c.name for c in labels.foreground)
    if experiment.volume.images_dir is None:
        names = frozenset().union(*parts.values())
        groups = grouped((name_of(case.id), case.group) for case in cases)
        return Told(names, classes, pixels_of(cases, labels), groups, parts)
    parts = {s: frozenset(case.group for case in own) for s, own in splits.cases.items()}
    for split, own in splits.volumes.items():
        parts[split] = parts.get(split, frozenset()) | frozenset(own)
    return Told(frozenset().union(*parts.values()), classes, parts=parts)


def init(folder: Path, work: Path) -> Experiment:
    return load(initialize(folder, work / "init")[0], strict=True).experiment


def by_init(folder: Path, work: Path, row: FolderOfData) -> Told:
    return told_by_config(init(folder, work))


def by_plan(folder: Path, work: Path, row: FolderOfData) -> Told:
    return told_by_config(make_plan(folder, work / "plan", 60.0).loaded.experiment)


def by_auto(folder: Path, work: Path, row: FolderOfData) -> Told:
    pipeline = Auto(work / "auto", 600.0, 0.0, Console(quiet=True))
    return told_by_config(pipeline.plan(folder, split_file=None, group=None).loaded.experiment)


def by_split(folder: Path, work: Path, row: FolderOfData) -> Told:
    copy = work / "copied"
    assert flexseg("split", folder, "-o", work / "split.json", "--copy", copy) == 0
    parts = {
        split: frozenset(
            name_of(file.name.partition(".")[0]) for file in (copy / split / "images").iterdir()
        )
        for split in SPLITS
    }
    return Told(frozenset().union(*parts.values()), parts=parts)


def by_stats(folder: Path, work: Path, row: FolderOfData) -> Told:
    drawn = find_pictures(folder, "all")
    parts = {
        split: frozenset(name_of(case.id) for case in part.cases) for split, part in drawn.items()
    }
    cases = frozenset().union(*parts.values())
    assert cases == {name_of(stem) for part in drawn.values() for stem in part.images}
    sheets = {file.name for file in draw_statistics(folder, work / "stats").files}
    names = {folder.name if split == "all" else split for split in drawn}
    kinds = ("images", "masks")
    expected = {f"{name}_{kind}_sample.png" for name in names for kind in kinds}
    assert sheets == {f"{folder.name}_Statistics.png", *expected}
    return Told(cases, parts=None if "all" in parts else parts)


def by_check(folder: Path, work: Path, row: FolderOfData) -> Told:
    config = initialize(folder, work / "check")[0]
    report = audit(load(config))
    assert report.exit_code == 0
    told = [f for f in report.findings if f.severity is not Severity.NOTE]
    told = [f for f in told if f.code != "lossy-masks"]
    assert [str(f) for f in told] == []
    count = "groups" if row.volumes else "cases"  # of volumes it reads the slices
    return Told(sizes={s["split"]: s[count] for s in report.splits})


def by_tiles(folder: Path, work: Path, row: FolderOfData) -> Told:
    output = derive_tiles(folder, work / "tiles", TileOptions((16, 16))).output
    data = Dataset.open(output)
    source = {}
    with (output / "manifest.csv").open(encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            source[Path(line["image"]).stem] = name_of(Path(line["source_image"]).stem)
    assert len(source) == 4 * len(set(source.values()))
    parts = None
    if data.given_parts is not None:
        parts = {s: frozenset(source[c.id] for c in p) for s, p in data.given_parts.parts.items()}
    return Told(
        frozenset(source.values()),
        tuple(c.name for c in data.labels.foreground),
        pixels_of(data.cases, data.labels),
        grouped((source[case.id], case.group) for case in data.cases),
        parts,
    )


def by_derive(folder: Path, work: Path, row: FolderOfData) -> Told:
    """`derive folders` or `derive volumes`."""
    images, masks = (folder / Path(template).parent for template in (row.image, row.mask))
    if row.volumes:
        output = derive_volumes(images, masks, work / "derived", VolumeOptions()).output
        data = Dataset.open(output)
        found = grouped((case.group, case.group) for case in data.cases)
        classes = tuple(c.name for c in data.labels.foreground)
        return Told(
            frozenset(case.group for case in data.cases),
            classes,
            pixels_of(data.cases, data.labels),
            found,
        )
    output = derive_folders(images, masks, work / "derived").output
    data = Dataset.open(output)
    return Told(
        frozenset(name_of(case.id) for case in data.cases),
        tuple(c.name for c in data.labels.foreground),
        pixels_of(data.cases, data.labels),
        grouped((name_of(case.id), case.group) for case in data.cases),
    )


def by_augment(folder: Path, work: Path, row: FolderOfData) -> Told:
    config = initialize(folder, work / "augment", neighbours=0)[0]
    output = multiply(load(config), work / "multiplied", copies=1).output
    with (output / "manifest.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    if row.volumes:
        return Told(
            parts={
                split: frozenset(line["group"] for line in lines if line["split"] == split)
                for split in ("train", "valid")
            }
        )
    parts = {
        split: frozenset(name_of(line["case"]) for line in lines if line["split"] == split)
        for split in ("train", "valid", "test")
    }
    return Told(
        frozenset(name_of(line["case"]) for line in lines),
        groups=grouped((name_of(line["case"]), line["group"]) for line in lines),
        parts=parts,
    )


def by_crossval(folder: Path, work: Path, row: FolderOfData) -> Told:
    """The folds hold whole groups, and the cases for training and validation."""
    experiment = init(folder, work)
    division = divide(experiment.data, LabelMap.from_config(experiment.class_sections), 2)
    for fold in division.folds:
        groups = [{c.group for c in part} for part in (fold.train, fold.valid, fold.held_out)]
        assert sum(map(len, groups)) == len(set.union(*groups))
    splits = find_splits(experiment.data)
    test = splits.cases.get("test", ())
    if row.volumes:
        names = {case.group for case in division.cases} | {*splits.volumes.get("test", ())}
        return Told(frozenset(names))
    cases = (*division.cases, *test)
    return Told(
        frozenset(name_of(case.id) for case in cases),
        groups=grouped((name_of(case.id), case.group) for case in cases),
    )


def by_evaluate(folder: Path, work: Path, row: FolderOfData) -> Told:
    """The cases that an untrained network is scored on."""
    small = ("model.base_filters=2", "model.num_layers=2", "train.precision=float32")
    loaded = load(initialize(folder, work / "init")[0], list(small))
    weights = loaded.experiment.train.model_dir / "best_model.h5"
    weights.parent.mkdir(parents=True)
    ModelPackage.create(loaded.experiment).save(weights, {})
    evaluate(loaded, work / "evaluation", work / "evaluation.csv")
    with (work / "evaluation" / "cases.csv").open(encoding="utf-8", newline="") as file:
        scored = frozenset(name_of(line["case"]) for line in csv.DictReader(file))
    return Told(parts={"test": scored})


COMMANDS: dict[str, Callable[[Path, Path, FolderOfData], Told]] = {
    "init": by_init,
    "plan": by_plan,
    "auto": by_auto,
    "split": by_split,
    "stats": by_stats,
    "check": by_check,
    "derive": by_derive,
    "derive tiles": by_tiles,
    "augment": by_augment,
    "crossval": by_crossval,
    "evaluate": by_evaluate,
}
# Tiles are cut from images; volumes are cut into slices first.
IMPOSSIBLE = {("derive tiles", "volumes")}


@pytest.mark.parametrize("name", FOLDERS)
def test_what_a_folder_is(name: str, tmp_path: Path) -> None:
    """The dataset itself gives the right answer, which the commands are then compared with."""
    row = FOLDERS[name]
    right = row.write(tmp_path / "data")
    data = Dataset.open(tmp_path / "data")
    assert {name_of(case.id) for case in data.cases} == right.cases
    assert tuple(c.name for c in data.labels.foreground) == right.classes
    assert grouped((name_of(c.id), c.group) for c in data.cases) == right.groups
    given = data.given_parts and data.given_parts.parts
    assert (given and ids_of(given)) == right.parts
    divided = data.divide().parts
    owners = [{case.group for case in own} for own in divided.values()]
    assert all(owners)
    assert sum(map(len, owners)) == len(right.groups)


def ids_of(parts: Mapping[SplitName, Sequence[Case]]) -> Parts:
    return {split: frozenset(name_of(case.id) for case in own) for split, own in parts.items()}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", FOLDERS)
def test_one_answer(name: str, command: str, tmp_path: Path) -> None:
    if (command, name) in IMPOSSIBLE:
        pytest.skip("images only")
    row = FOLDERS[name]
    if command == "derive" and "{split}" in row.image + row.mask:
        pytest.skip("it takes one folder")
    right = row.write(tmp_path / "data")
    told = COMMANDS[command](tmp_path / "data", tmp_path, row)
    parts = ids_of(Dataset.open(tmp_path / "data").divide().parts)
    compare(told, right, parts, row)


# What a user who writes the config by hand says of a folder.
BY_HAND = {
    "images and masks": 'images_dir = "data/images"\nmasks_dir = "data/masks"',
    "one folder": 'images_dir = "data"\nmasks_dir = "data"\nmask_name = "{id}_mask"',
    "patients": 'images_dir = "data/images"\nmasks_dir = "data/masks"',
}


@pytest.mark.parametrize("name", BY_HAND)
def test_one_answer_to_a_config_without_group(name: str, tmp_path: Path) -> None:
    """The groups are those of the folder itself, whether folds or parts are made."""
    right = FOLDERS[name].write(tmp_path / "data")
    config = tmp_path / "config.toml"
    config.write_text(f"[dataset]\n{BY_HAND[name]}\n", encoding="utf-8")
    experiment = load(config).experiment
    cases = divide(experiment.data, LabelMap.from_config(experiment.class_sections), 2).cases
    divided = {case.id for case in cases}
    whole = {group & divided for group in right.groups} - {frozenset()}
    assert grouped((case.id, case.group) for case in cases) == whole
    assert flexseg("split", config, "-o", tmp_path / "a.json") == 0
    assert flexseg("split", config, "--folds", "3", "-o", tmp_path / "b.json") == 0
    files = list(tmp_path.glob("*.json"))
    assert len(files) == 4
    for file in files:
        parts = [set(ids) for ids in json.loads(file.read_text(encoding="utf-8")).values()]
        assert set().union(*parts) == right.cases
        for group in right.groups:
            assert sum(bool(group & part) for part in parts) == 1


def compare(told: Told, right: Answer, parts: Parts, row: FolderOfData) -> None:
    if told.cases is not None:
        assert told.cases == right.cases
    if told.classes is not None:
        assert told.classes == right.classes
    if told.pixels is not None:
        assert told.pixels == pytest.approx(right.pixels, rel=row.tolerance)
    if told.groups is not None:
        assert told.groups == right.groups
    if told.parts is not None:
        assert {split: parts[split] for split in told.parts} == told.parts
    if told.sizes is not None:
        assert told.sizes == {split: len(parts[split]) for split in told.sizes}
        assert {*parts} - {*told.sizes} <= ({"test"} if row.volumes else set())


@pytest.mark.slow
def test_what_is_cross_validated(tmp_path: Path) -> None:
    right = FOLDERS["patients"].write(tmp_path / "data")
    parts = ids_of(Dataset.open(tmp_path / "data").divide().parts)
    config = initialize(tmp_path / "data", tmp_path / "project")[0]
    short = ("--set", "train.epochs=1", "--set", "model.base_filters=4")
    assert flexseg("crossval", config, "--folds", "2", *short) == 0
    run = tmp_path / "project" / "run"
    with (run / "evaluation" / "cases.csv").open(encoding="utf-8", newline="") as file:
        assert {line["case"] for line in csv.DictReader(file)} == right.cases - parts["test"]
    for fold in json.loads((run / "folds.json").read_text(encoding="utf-8")):
        patients = [{name[:3] for name in fold[part]} for part in ("train", "valid", "held_out")]
        assert sum(map(len, patients)) == len(set.union(*patients)) == 5


@pytest.mark.slow
@pytest.mark.parametrize("name", ["patients", "train, val, test"])
def test_what_is_trained_and_scored(name: str, tmp_path: Path) -> None:
    FOLDERS[name].write(tmp_path / "data")
    parts = ids_of(Dataset.open(tmp_path / "data").divide().parts)
    config = initialize(tmp_path / "data", tmp_path / "project")[0]
    short = ("--set", "train.epochs=1", "--set", "model.base_filters=4")
    assert flexseg("train", config, *short) == 0
    assert flexseg("evaluate", config, *short) == 0
    run = tmp_path / "project" / "run"
    with (run / "evaluation" / "cases.csv").open(encoding="utf-8", newline="") as file:
        assert {line["case"] for line in csv.DictReader(file)} == parts["test"]
    data = json.loads((run / "run.json").read_text(encoding="utf-8"))["data"]
    for split in ("train", "valid"):
        assert frozenset(data[split]["ids"]) == parts[split]
