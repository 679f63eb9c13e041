"""A model learns from corrections: split, comparison, versions."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flexseg.errors import ConfigError, DataError
from flexseg.learning import learning_round as module
from flexseg.learning.acceptance import accept
from flexseg.learning.case_pool import CasePool
from flexseg.learning.corrections import Corrections
from flexseg.learning.learning_round import CORRECTIONS, POOL, LearningRound, begin, labels_of
from flexseg.learning.versions import Versions
from flexseg.model_file.model_description import ModelDescription
from flexseg.planning import plan as plan_module
from flexseg.planning.timing import StepTime
from flexseg.runs.trained import config_of_run
from learned_volumes import write_pairs, write_project
from support import flexseg
from synthetic import write_dataset


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps are not measured: a step of any network takes 10 ms."""
    step = StepTime(0.01, 0.01, 0.004, 1.0, 8, 1000)
    monkeypatch.setattr(plan_module, "time_step", lambda *_, **__: step)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on 8 training, 8 validation and 2 test cases of discs."""
    folder = tmp_path_factory.mktemp("trained")
    write_dataset(folder / "dataset", {"train": 8, "valid": 8, "test": 2}, classes=2)
    (folder / "a.toml").write_text(
        """
[model]
image_width = 48
image_height = 40
num_classes = 1
num_layers = 2
base_filters = 4
learning_rate = 0.01
[train]
images_dir = "dataset/train/images"
masks_dir = "dataset/train/masks"
run_dir = "run"
epochs = 1
batch_size = 4
precision = "float32"
[valid]
images_dir = "dataset/valid/images"
masks_dir = "dataset/valid/masks"
[test]
images_dir = "dataset/test/images"
masks_dir = "dataset/test/masks"
[[mask.classes]]
id = 1
name = "disc"
color = [0, 255, 0]
""",
        encoding="utf-8",
    )
    assert flexseg("train", folder / "a.toml") == 0
    return folder


def correct(folder: Path, source: Path, names: dict[str, str], group: str = "") -> Corrections:
    """Correct images of a dataset, by the masks there."""
    store = Corrections(folder / CORRECTIONS, labels_of(folder, None))
    for name, split in names.items():
        image = source / split / "images" / f"{name}.png"
        labels = np.asarray(Image.open(source / split / "masks" / f"{name}.png"))
        store.add(name, image, labels, "corrected", "ann", group=group)
    return store


def pool_of(folder: Path) -> CasePool:
    package = ModelDescription.read(Versions.open(folder).model())
    return CasePool.open(folder / POOL, package.labels, package.preprocessing)


@pytest.mark.usefixtures("quick")
def test_a_round(trained: Path, tmp_path: Path) -> None:
    new = write_dataset(tmp_path / "new", {"train": 6}, seed=5)
    for kind in ("images", "masks"):
        for path in list((new / "train" / kind).iterdir()):
            path.rename(path.with_name(f"new_{path.name}"))
    folder = tmp_path / "learned"
    begin(folder, trained / "run")
    correct(folder, new, {f"new_train_{i:02d}": "train" for i in range(6)})
    correct(folder, trained / "dataset", {"test_00": "test", "train_01": "train"})
    done = LearningRound(folder, 3.0).run()
    assert done.left_out == ["test_00"]
    assert done.version.number == 2 and done.version.corrections == 7
    assert done.acceptance is not None and done.acceptance.cases >= 8
    assert not done.acceptance.held_out
    versions = Versions.open(folder)
    assert versions.current == (2 if done.acceptance.taken else 1) and versions.test_looks == 1
    assert done.version.test is not None and 0 <= done.version.test <= 1
    package = ModelDescription.read(versions.model(2))
    assert [c.name for c in package.labels.foreground] == ["disc"]
    split = json.loads((folder / POOL / "split.json").read_text(encoding="utf-8"))
    assert sorted(split["test"]) == ["test_00", "test_01"]
    assert {f"train_{i:02d}" for i in range(8)} <= set(split["train"])
    assert {f"valid_{i:02d}" for i in range(8)} <= set(split["valid"])
    # Not trained on what was a test case, under no name.
    seen = package.seen.all
    digests = {case.digest: case.part for case in pool_of(folder).cases.values()}
    assert {digests[digest.hex()] for digest in seen} == {"train", "valid"}
    # A second round keeps who was where, and goes on from the current version.
    correct(folder, trained / "dataset", {"valid_03": "valid"})
    again = LearningRound(folder, 3.0).run()
    assert again.version.parent == versions.current
    after = json.loads((folder / POOL / "split.json").read_text(encoding="utf-8"))
    assert {part: sorted(names) for part, names in after.items()} == {
        part: sorted(names) for part, names in split.items()
    }


@pytest.mark.usefixtures("quick")
def test_few_cases_are_held_out_in_turn(trained: Path, tmp_path: Path) -> None:
    """A model without its run has no validation cases."""
    package = tmp_path / "alone" / "model.h5"
    package.parent.mkdir()
    shutil.copy(trained / "run" / "models" / "best_model.h5", package)
    folder = tmp_path / "learned"
    begin(folder, package)
    new = write_dataset(tmp_path / "new", {"train": 5}, seed=6)
    correct(folder, new, {f"train_{i:02d}": "train" for i in range(5)})
    done = LearningRound(folder, 2.0).run()
    assert done.acceptance is not None and done.acceptance.held_out
    assert done.acceptance.cases == 5 and done.version.test is None
    assert Versions.open(folder).test_looks == 0


@pytest.mark.usefixtures("quick")
def test_from_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "learned"
    new = write_dataset(tmp_path / "new", {"train": 6}, seed=7)
    given = tmp_path / "given"
    (new / "train").rename(given)
    arguments = ("--corrections", given, "--classes", "1=disc", "--time", "2s", "--by", "ann")
    assert flexseg("learn", folder, *arguments) == 0
    versions = Versions.open(folder)
    assert versions.current == 1 and versions.get(1).corrections == 6
    assert [c.name for c in ModelDescription.read(versions.model()).labels.foreground] == ["disc"]
    assert flexseg("learn", folder, "--back-to", "1") == 0
    assert flexseg("learn", folder, "--back-to", "4") == 2


@pytest.mark.usefixtures("quick")
def test_volumes_of_a_network_of_slices(tmp_path: Path) -> None:
    """Compared by volume; new slices are cut as the old ones, and the test volume stays one."""
    names = "abcdefgh"
    parts = {"train": ["t0", "t1", "t2"], "valid": [*names], "test": ["s"]}
    project = write_project(tmp_path / "project", parts).path.parent
    assert flexseg("train", project / "a.toml") == 0
    given = write_pairs(tmp_path / "given", {"new0": 20, "new1": 21, "of_test": 11})
    folder = tmp_path / "learned"
    begun = ("--model", project / "run", "--corrections", given)
    assert flexseg("learn", folder, *begun, "--time", "2s", "--by", "ann") == 0
    versions = Versions.open(folder)
    new = versions.get(2)
    assert new.corrections == 2 and new.test is not None and versions.test_looks == 1
    told = new.decision
    assert not told["held_out"] and told["cases"] in (8, 9, 10) and told["low"] is not None
    old, now = (ModelDescription.read(versions.model(number)) for number in (1, 2))
    fields = ("axis", "rotate", "intensity", "neighbours", "channels", "patch_scale")
    for field in fields:
        assert getattr(now.preprocessing, field) == getattr(old.preprocessing, field), field
    # Volumes are predicted as before, without mirror images that a plan of images adds.
    assert config_of_run(versions.model(2).parents[1]).experiment.infer.tta == []
    pool = pool_of(folder)
    assert len(pool.units(pool.of_part("test"))) == 1
    tests = {case.digest for case in pool.of_part("test")}
    assert not tests & {digest.hex() for digest in now.seen.all}
    # Images of single slices are not what such a network learns from.
    single = write_dataset(tmp_path / "single", {"train": 2})
    assert flexseg("learn", folder, "--corrections", single / "train") == 3


def test_a_worse_model_is_not_taken(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "learned"
    begin(folder, trained / "run")
    correct(folder, trained / "dataset", {"train_01": "train"})
    names = [f"c{i}" for i in range(9)]
    worse = accept(dict.fromkeys(names, 0.9), dict.fromkeys(names, 0.5), {n: n for n in names})
    # An earlier round was ended before it was done.
    unfinished = folder / "versions" / "2"
    unfinished.mkdir(parents=True)
    (unfinished / "flexseg.toml").write_text("", encoding="utf-8")
    learning = LearningRound(folder, 1.0)
    model = trained / "run" / "models" / "best_model.h5"
    monkeypatch.setattr(module, "make_plan", lambda *_, **__: type("P", (), {"config": model}))
    monkeypatch.setattr(module, "load", lambda *_: None)
    monkeypatch.setattr(learning, "_trained", lambda _: folder / "versions" / "2" / "m.h5")
    monkeypatch.setattr(learning, "_compared", lambda *_: worse)
    monkeypatch.setattr(learning, "_test_dice", lambda *_: None)
    done = learning.run()
    versions = Versions.open(folder)
    assert not done.version.taken and versions.current == 1 and len(versions.versions) == 2
    assert versions.model() == model.absolute()
    assert not unfinished.exists() and len([*unfinished.parent.glob("2_*_bak")]) == 1


def test_too_little_to_learn_from(trained: Path, tmp_path: Path) -> None:
    folder = tmp_path / "learned"
    begin(folder, trained / "run")
    with pytest.raises(DataError, match="too little to learn from: 0 corrections"):
        LearningRound(folder, 1.0).run()
    assert len(begin(folder, trained / "run").versions) == 1  # the same command once more
    other = shutil.copy(trained / "run/models/best_model.h5", tmp_path)
    with pytest.raises(ConfigError, match="Another model learns"):
        begin(folder, Path(other))
