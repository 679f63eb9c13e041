"""Plans that go on with an earlier network: its network, and its division, extended."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from config_parts import preprocessing_of
from flexseg.checking.audit import audit
from flexseg.config import load
from flexseg.config.schema import Experiment
from flexseg.config.text import Choice
from flexseg.dataset.candidates.answers import Answers
from flexseg.errors import ConfigError, DataError
from flexseg.files.volumes.read import write_volume
from flexseg.files.volumes.volume import Volume
from flexseg.model_file.seen_images import SeenImages
from flexseg.models.package import ModelPackage
from flexseg.planning import plan as plan_module
from flexseg.planning.continued.plan_start import PlanStart
from flexseg.planning.network import Shape
from flexseg.planning.plan import make_plan
from flexseg.planning.recipe import LEARNING_RATE
from flexseg.planning.timing import StepTime
from flexseg.runs.manifest import Manifest
from support import flexseg
from synthetic import write_dataset

SPLITS = ("train", "valid", "test")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps are not measured: a step of any network takes 10 ms."""
    step = StepTime(0.01, 0.01, 0.004, 1.0, 8, 1000)
    monkeypatch.setattr(plan_module, "time_step", lambda *_, **__: step)


def as_one_folder(source: Path, target: Path) -> Path:
    for kind in ("images", "masks"):
        (target / kind).mkdir(parents=True)
        for split in SPLITS:
            for path in (source / split / kind).iterdir():
                shutil.copy(path, target / kind)
    return target


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    """A planned run whose package and manifest are there, as if it had been trained."""
    data = as_one_folder(write_dataset(tmp_path / "parts"), tmp_path / "data")
    write_run(make_plan(data, tmp_path / "first", 60.0).config)
    return tmp_path / "first"


def write_run(config: Path) -> None:
    from flexseg.dataset.division.config_splits import find_splits

    loaded = load(config)
    cases = find_splits(loaded.experiment.data).cases
    package = ModelPackage.create(loaded.experiment)
    seen = SeenImages.of(*([case.image for case in cases[s]] for s in ("train", "valid")))
    train = loaded.experiment.train
    train.model_dir.mkdir(parents=True)
    ModelPackage(
        package.config, package.labels, package.preprocessing, seen=seen, model=package.model
    ).save(train.model_dir / train.best_model_file, {})
    manifest = Manifest.start(train.run_dir, loaded)
    manifest.add_data(cases, [])
    manifest.write(status="finished", weights=str(train.model_dir / train.best_model_file))


def grown(tmp_path: Path, prefix: str = "renamed_") -> Path:
    """The data of the earlier run under other names, and as many new images."""
    data = as_one_folder(write_dataset(tmp_path / "more", seed=1), tmp_path / "grown")
    for kind in ("images", "masks"):
        for path in (tmp_path / "data" / kind).iterdir():
            shutil.copy(path, data / kind / f"{prefix}{path.name}")
    return data


def parts_of(plan: Path) -> dict[str, set[str]]:
    return {k: set(v) for k, v in json.loads((plan / "split.json").read_text()).items()}


def test_a_plan_takes_the_network_and_extends_the_division(earlier: Path, tmp_path: Path) -> None:
    plan = make_plan(grown(tmp_path), tmp_path / "out", 60.0, start_from=earlier)
    e, first = plan.loaded.experiment, load(earlier / "flexseg.toml").experiment
    assert e.train.start_from == first.train.model_dir / "best_model.h5"
    assert e.model.learning_rate == first.model.learning_rate / 2
    own = {k: v for k, v in e.model.model_dump().items() if k.startswith(("num_", "base_"))}
    assert own.items() <= first.model.model_dump().items()
    before, after = parts_of(earlier), parts_of(tmp_path / "out")
    for split in SPLITS:
        assert {f"renamed_{name}" for name in before[split]} <= after[split]
        assert after[split] > {f"renamed_{name}" for name in before[split]}, "new ones, too"
    assert dict(plan.facts)["goes on with"].endswith(
        "Cases by split: train 24 (12 earlier, 12 new), valid 4 (2 earlier, 2 new), "
        "test 4 (2 earlier, 2 new)."
    )
    text = plan.config.read_text(encoding="utf-8")
    assert "earlier" in text and "model.base_filters" not in text
    report = audit(plan.loaded)
    assert {f.code for f in report.findings} >= {"start"} and report.exit_code == 0
    assert not {"start-has-seen-tests", "earlier-tests-trained"} & {f.code for f in report.findings}


def test_classes_keep_the_names_of_the_earlier_network(earlier: Path, tmp_path: Path) -> None:
    assert flexseg("rename", earlier, "1=nodule") == 0
    data = grown(tmp_path)
    plan = make_plan(data, tmp_path / "out", 60.0, start_from=earlier)
    assert [c.name for c in plan.loaded.experiment.mask.classes] == ["nodule"]
    answers = Answers(classes={1: "cell"})
    own = make_plan(data, tmp_path / "own", 60.0, start_from=earlier, answers=answers)
    assert [c.name for c in own.loaded.experiment.mask.classes] == ["cell"]


def test_other_data_do_not_take_the_names(earlier: Path, tmp_path: Path) -> None:
    assert flexseg("rename", earlier, "1=nodule") == 0
    other = as_one_folder(write_dataset(tmp_path / "other_parts", seed=7), tmp_path / "other")
    plan = make_plan(other, tmp_path / "out", 60.0, start_from=earlier)
    assert "nodule" not in {c.name for c in plan.loaded.experiment.mask.classes}


def test_where_the_files_are_gone_names_and_hashes_remain(earlier: Path, tmp_path: Path) -> None:
    data = grown(tmp_path, prefix="old_")
    shutil.rmtree(tmp_path / "data")
    for kind in ("images", "masks"):  # under their own names again
        for path in (data / kind).glob("old_*"):
            path.rename(data / kind / path.name.removeprefix("old_"))
    before = parts_of(earlier)
    make_plan(data, tmp_path / "out", 60.0, start_from=earlier)
    assert all(before[s] <= parts_of(tmp_path / "out")[s] for s in SPLITS)
    # A package by itself knows what trained and validated it.
    alone = tmp_path / "alone.h5"
    shutil.move(earlier / "run/models/best_model.h5", alone)
    make_plan(data, tmp_path / "alone", 60.0, start_from=alone)
    after = parts_of(tmp_path / "alone")
    assert all(before[s] <= after[s] for s in ("train", "valid"))
    assert not (before["train"] | before["valid"]) & after["test"]


def test_a_given_division_may_not_test_what_was_trained(earlier: Path, tmp_path: Path) -> None:
    data, before = tmp_path / "data", parts_of(earlier)
    split = tmp_path / "s.json"
    swapped = {"train": before["test"], "valid": before["valid"], "test": before["train"]}
    split.write_text(json.dumps({k: sorted(v) for k, v in swapped.items()}), encoding="utf-8")
    with pytest.raises(DataError, match="seen in the training of the earlier"):
        make_plan(data, tmp_path / "out", 60.0, split_file=split, start_from=earlier)
    config = earlier / "other.toml"
    text = (earlier / "flexseg.toml").read_text(encoding="utf-8")
    config.write_text(
        text.replace('"split.json"', '"../s.json"').replace(
            "[train]", f'[train]\nstart_from = "{earlier}/run/models/best_model.h5"'
        ).replace('run_dir = "run"', 'run_dir = "other"'), encoding="utf-8",
    )  # fmt: skip
    found = {f.code for f in audit(load(config)).findings}
    assert {"start-has-seen-tests", "earlier-tests-trained"} <= found


def test_a_set_that_the_network_has_seen_whole_is_refused(earlier: Path, tmp_path: Path) -> None:
    before = parts_of(earlier)
    shutil.move(earlier / "run/models/best_model.h5", tmp_path / "alone.h5")
    for name in before["test"]:
        for kind in ("images", "masks"):
            (tmp_path / "data" / kind / f"{name}.png").unlink()
    with pytest.raises(DataError, match="No case is left for test"):
        make_plan(tmp_path / "data", tmp_path / "out", 60.0, start_from=tmp_path / "alone.h5")


def test_a_package_alone_knows_volumes_under_other_names(tmp_path: Path) -> None:
    from flexseg.dataset.reading import Dataset

    rng = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    labels = np.zeros((8, 8, 8), np.uint8)
    labels[2:6, 2:6, 2:6] = 1
    for i in range(8):
        image = rng.integers(0, 100, labels.shape).astype(np.int16) + 50 * labels
        write_volume(tmp_path / f"data/images/p{i}.nii.gz", Volume(image, (1, 1, 1)))
        write_volume(tmp_path / f"data/masks/p{i}.nii.gz", Volume(labels, (1, 1, 1)))
    write_run(make_plan(tmp_path / "data", tmp_path / "first", 60.0).config)
    before = parts_of(tmp_path / "first/slices")
    shutil.move(tmp_path / "first/run/models/best_model.h5", tmp_path / "alone.h5")
    for path in (tmp_path / "data").glob("*/*"):
        path.rename(path.with_name(f"x{path.name}"))
    known = PlanStart.open(tmp_path / "alone.h5").parts_of(Dataset.open(tmp_path / "data"))
    volume = {name: str(name).split("_")[0] for part in before.values() for name in part}
    expected = {
        f"x{volume[name]}.nii.gz": split for split in ("train", "valid") for name in before[split]
    }
    assert {path.name: part for path, part in known.items()} == expected


def test_images_of_one_colour_tell_nothing(earlier: Path, tmp_path: Path) -> None:
    start = PlanStart.open(earlier)
    from flexseg.dataset.reading import Dataset

    data = Dataset.open(tmp_path / "data")
    known = start.parts_of(data)
    assert len(known) == 16
    image = next(iter(known))
    Image.fromarray(np.zeros((40, 48, 3), np.uint8)).save(image)
    assert len(start.parts_of(Dataset.open(tmp_path / "data"))) == 15


def test_a_size_that_the_network_cannot_have_is_that_of_the_package(tmp_path: Path) -> None:
    from flexseg.config.network_options import read_section
    from flexseg.runs.trained import TrainedNetwork

    swin = {"model": "SwinUNet", "filter_num_begin": 4, "depth": 2, "patch_size": 2}
    config = read_section({**swin, "image_width": 32, "image_height": 32, "num_heads": [2, 2]})
    start = PlanStart(TrainedNetwork(tmp_path / "x.h5"), config, preprocessing_of(Experiment()), {})
    assert start.fitted(Shape(64, 64, 3, 16, 8)).width == 64
    assert start.fitted(Shape(37, 64, 3, 16, 8)).width == 32


def test_the_command_says_what_it_starts_from(earlier: Path, tmp_path: Path) -> None:
    data = grown(tmp_path)
    assert flexseg("plan", data, "-o", tmp_path / "out", "--from", earlier) == 0
    assert load(tmp_path / "out/flexseg.toml").experiment.train.start_from is not None
    assert flexseg("plan", data, "-o", tmp_path / "no", "--from", tmp_path / "nothing") == 2
    with pytest.raises(ConfigError, match="already"):
        make_plan(data, tmp_path / "out", 60.0, start_from=earlier)


def test_images_that_the_network_has_not_seen_are_planned_at_their_own_size(tmp_path: Path) -> None:
    large = write_dataset(tmp_path / "large", size=(128, 128))
    write_run(
        make_plan(as_one_folder(large, tmp_path / "first_data"), tmp_path / "first", 60).config
    )
    other = as_one_folder(write_dataset(tmp_path / "small", seed=1), tmp_path / "other")
    fresh = make_plan(other, tmp_path / "fresh", 60.0).loaded.experiment.model
    started = make_plan(other, tmp_path / "out", 60.0, start_from=tmp_path / "first")
    model = started.loaded.experiment.model
    assert load(tmp_path / "first/flexseg.toml").experiment.model.image_width > fresh.image_width
    assert (model.image_width, model.image_height) == (fresh.image_width, fresh.image_height)


def test_a_size_counts_the_images_seen_of_these_data(earlier: Path) -> None:
    start = PlanStart.open(earlier)
    assert start.size(0.0).images == 0
    assert start.size(0.5).images == start.size(1.0).images / 2 > 0


@pytest.mark.parametrize(("seen", "share"), [(0.0, 1.0), (0.5, 0.5)])
def test_the_rate_is_lower_only_for_what_the_network_has_seen(
    earlier: Path, seen: float, share: float
) -> None:
    start = PlanStart.open(earlier)
    planned = [Choice("model", "input_normalize", "standardize_channels", "")]
    found = {(c.section, c.key): c.value for c in start.applied(planned, seen)}
    assert found["model", "learning_rate"] == pytest.approx(share * LEARNING_RATE)
    assert ("train", "warmup") in found or not seen
    own = start.config.model_copy(update={"input_normalize": "standardize"})
    found = {c.key: c.value for c in replace(start, config=own).applied(planned, seen)}
    assert found["input_normalize"] == ("standardize" if seen else "standardize_channels")
    own = start.config.model_copy(update={"input_normalize": True})
    assert replace(start, config=own).applied(planned, seen)[0].value is True, "as it was trained"
