"""Tuning on a network whose mistakes are known."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from config_parts import labels_of, preprocessing_of
from flexseg.batches.store import CaseReader
from flexseg.config.load import LoadedConfig, load
from flexseg.dataset.cases import Case, pair
from flexseg.errors import DataError
from flexseg.evaluation.metrics.counts import confusion, counts_by_class
from flexseg.evaluation.postprocessing import tuning
from flexseg.evaluation.postprocessing.cached_predictions import PredictionCache, Unit
from flexseg.evaluation.postprocessing.steps import (
    _after_drops,
    _parts_of,
    counts_of,
    smallest_sizes,
)
from flexseg.evaluation.postprocessing.tuning import Tuned, tune
from flexseg.files.images import write_png
from flexseg.inference.ensemble import EnsemblePredictor
from flexseg.inference.postprocess import Postprocessing, Steps
from flexseg.inference.predictor import Predictor
from flexseg.inference.tuned import read_choice
from flexseg.models.package import ModelPackage
from support import flexseg, result_of

# Registers the command.

SIZE = 32
CONFIG = f"""
[model]
num_classes = {{classes}}
image_width = {SIZE}
image_height = {SIZE}
image_channels = {{channels}}

[mask]
classes = [{{names}}]

[dataset]
group = "{{group}}"

[valid]
images_dir = "valid/images"
masks_dir = "valid/masks"

[test]
images_dir = "test/images"
masks_dir = "test/masks"
"""
Write = Callable[..., LoadedConfig]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """A project whose network is right where the image is: brightness is the probability of the
    one class; with two classes the red and the green channel are theirs."""

    def make(
        images: list[NDArray[np.uint8]],
        masks: list[NDArray[np.uint8]],
        names: list[str] | None = None,
        *,
        group: str = "",
        overrides: tuple[str, ...] = (),
        threshold: float = 0.5,
    ) -> LoadedConfig:
        channels = images[0].shape[-1]
        for number, (image, mask) in enumerate(zip(images, masks, strict=True)):
            name = (names or [f"case{i}x" for i in range(len(images))])[number]
            for kind, pixels in (("images", image), ("masks", mask)):
                folder = tmp_path / "valid" / kind
                folder.mkdir(parents=True, exist_ok=True)
                if kind == "images":
                    write_png(folder / f"{name}.png", pixels.squeeze())
                else:
                    write_png(folder / f"{name}.png", pixels, [0, 0, 0, 255, 0, 0, 0, 255, 0])
        colors = [(255, 0, 0), (0, 255, 0)][: 1 if channels == 1 else 2]
        classes = ", ".join(
            f'{{id = {i}, name = "{name}", color = {list(color)}}}'
            for i, (name, color) in enumerate(zip(("red", "green"), colors, strict=False), 1)
        )
        text = CONFIG.format(
            classes=1 if channels == 1 else 3, channels=channels, names=classes, group=group
        )
        config = tmp_path / "a.toml"
        config.write_text(text, encoding="utf-8")
        loaded = load(config, overrides)
        model = loaded.experiment.train.model_dir / "best_model.h5"
        model.parent.mkdir(exist_ok=True)
        h5py.File(model, "w").close()
        predictor = Predictor(_package(loaded, channels, threshold), batch_size=3)
        monkeypatch.setattr(tuning, "make_predictor", lambda *_, **__: predictor)
        return loaded

    return make


def _package(loaded: LoadedConfig, channels: int, threshold: float) -> ModelPackage:
    inputs = keras.Input((SIZE, SIZE, channels))
    layer = keras.layers.Conv2D(1 if channels == 1 else 3, 1)
    model = keras.Model(inputs, layer(inputs))
    if channels == 1:
        kernel, bias = np.full((1, 1, 1, 1), 1 / 255), [0.0]
    else:
        # The background is as probable as the third channel is bright.
        kernel, bias = np.zeros((1, 1, 3, 3)), [0.5, 0.0, 0.0]
        kernel[0, 0, 0, 1] = kernel[0, 0, 1, 2] = 1 / 255
    layer.set_weights([kernel.astype(np.float32), np.array(bias, np.float32)])
    e = loaded.experiment
    parts = labels_of(e), preprocessing_of(e)
    return ModelPackage(e.model, *parts, threshold, model=model)


def _discs(count: int, seed: int = 0) -> list[NDArray[np.uint8]]:
    """Masks with a disc of radius 6 somewhere."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    centres = rng.integers(8, SIZE - 8, (count, 2))
    return [((rows - y) ** 2 + (columns - x) ** 2 <= 36).astype(np.uint8) for y, x in centres]


def _image(mask: NDArray[np.uint8], bright: int = 230, dark: int = 20) -> NDArray[np.uint8]:
    return np.where(mask > 0, bright, dark).astype(np.uint8)[..., None]


def _with_specks(mask: NDArray[np.uint8], seed: int, size: int = 2) -> NDArray[np.uint8]:
    """The image of a mask, with four bright squares that are none."""
    image = _image(mask)
    rng = np.random.default_rng(seed)
    for y, x in rng.integers(0, SIZE - size, (4, 2)):
        image[y : y + size, x : x + size] = 230
    return image


def _kept(tuned: Tuned) -> list[tuple[str, str, str, Any]]:
    return [(t.kind, t.class_name, t.step, t.value) for t in tuned.trials if t.kept]


class TestTune:
    def test_specks_are_dropped(self, write: Write, tmp_path: Path) -> None:
        masks = _discs(12)
        loaded = write([_with_specks(mask, i) for i, mask in enumerate(masks)], masks)
        tuned = tune(loaded, tmp_path / "out")
        assert _kept(tuned) == [("2d", "red", "largest_component", True)]
        assert tuned.choice.postprocessing == {
            2: Postprocessing({1: Steps(largest_component=True)})
        }
        scores = tuned.scores["2d"]["red"]
        assert scores["dice_before"] is not None and scores["dice_before"] < 0.97
        assert scores["dice_after"] is not None and scores["dice_after"] > 0.97
        labels = labels_of(loaded.experiment)
        model = loaded.experiment.train.model_dir / "best_model.h5"
        assert read_choice(model, labels) == tuned.choice

    def test_several_true_parts_and_empty_cases(self, write: Write, tmp_path: Path) -> None:
        """The largest part alone would lose true ones: a smallest size is better."""
        pairs = list(zip(_discs(8, 1), _discs(8, 2), strict=True))
        masks = [np.maximum(a, b) for a, b in pairs] + [np.zeros((SIZE, SIZE), np.uint8)] * 6
        loaded = write([_with_specks(mask, i) for i, mask in enumerate(masks)], masks)
        tuned = tune(loaded, tmp_path / "out")
        ((_, _, step, size),) = _kept(tuned)
        assert step == "min_size" and 5 < size < 100
        assert tuned.scores["2d"]["red"]["score_before"] < 0.6  # type: ignore[operator]
        assert tuned.scores["2d"]["red"]["score_after"] > 0.97  # type: ignore[operator]

    def test_holes_of_one_class_of_two(self, write: Write, tmp_path: Path) -> None:
        """Rings are what green is; red should have no hole."""
        masks, images = [], []
        for mask in _discs(10):
            y, x = (int(v) for v in np.argwhere(mask).mean(axis=0).round())
            image = np.zeros((SIZE, SIZE, 3), np.uint8)
            image[..., 0] = 255 * mask
            image[y - 2 : y + 3, x - 2 : x + 3, 0] = 0
            truth = mask.copy()
            top = np.s_[0:6, 0:6] if y > 16 else np.s_[-6:, -6:]
            truth[top], image[top] = 2, (0, 255, 0)
            inner = np.s_[2:4, 2:4] if y > 16 else np.s_[-4:-2, -4:-2]
            truth[inner], image[inner] = 0, 0
            masks.append(truth)
            images.append(image)
        tuned = tune(write(images, masks), tmp_path / "out")
        assert _kept(tuned) == [("2d", "red", "fill_holes", True)]
        losing = {t.class_name: t.gain for t in tuned.trials if t.step == "fill_holes"}
        assert losing["green"] < 0

    def test_a_perfect_network_is_left_alone(self, write: Write, tmp_path: Path) -> None:
        masks = _discs(8)
        tuned = tune(write([_image(mask) for mask in masks], masks), tmp_path / "out")
        assert _kept(tuned) == [] and tuned.choice.threshold is None
        assert not any(p.steps for p in tuned.choice.postprocessing.values())

    def test_threshold_of_a_shy_network(self, write: Write, tmp_path: Path) -> None:
        masks = _discs(8)
        images = [_image(mask, bright=90) for mask in masks]
        tuned = tune(write(images, masks), tmp_path / "out")
        assert _kept(tuned) == [("2d", "red", "threshold", tuned.choice.threshold)]
        assert tuned.choice.threshold in (0.1, 0.2, 0.3)
        own = write(images, masks, overrides=("infer.threshold=127",))
        assert tune(own, tmp_path / "out").choice.threshold is None

    def test_one_lucky_case_is_not_enough(self, write: Write, tmp_path: Path) -> None:
        masks = _discs(12)
        images = [_image(mask) for mask in masks]
        images[4] = _with_specks(masks[4], 4)
        tuned = tune(write(images, masks), tmp_path / "out")
        assert max(trial.gain for trial in tuned.trials) > 0
        assert _kept(tuned) == []

    def test_volumes_have_a_choice_of_their_own(self, write: Write, tmp_path: Path) -> None:
        """Specks in slices without the object are parts of a volume, but the largest of a slice."""
        masks, images, names = [], [], []
        for volume, disc in enumerate(_discs(8)):
            for number in range(6):
                mask = disc if number in (1, 2, 3) else np.zeros_like(disc)
                image = _image(mask)
                if number == 5:
                    image[2:6, 2:6] = 230
                masks.append(mask)
                images.append(image)
                names.append(f"v{volume}_{number:04d}")
        loaded = write(images, masks, names, group="^(v.)_")
        tuned = tune(loaded, tmp_path / "out")
        assert ("3d", "red", "largest_component", True) in _kept(tuned)
        assert ("2d", "red", "largest_component", True) not in _kept(tuned)
        (trial,) = (t for t in tuned.trials if t.kind == "3d" and t.kept)
        assert (trial.cases, trial.groups, trial.changed) == (8, 8, 8)

    def test_flips_are_tried_when_asked_for(self, write: Write, tmp_path: Path) -> None:
        masks = _discs(6)
        tuned = tune(write([_image(mask) for mask in masks], masks), tmp_path / "o", views=True)
        (trial,) = (t for t in tuned.trials if t.step == "tta")
        assert (trial.value, trial.reason, tuned.choice.tta) == ("flips", "nothing changes", ())

    def test_flips_that_are_not_harmless_are_not_tried(
        self, write: Write, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        mask = np.zeros_like(_discs(1)[0])
        mask[4:10, 4:10] = 1
        masks = [mask] * 6
        tuned = tune(write([_image(mask) for mask in masks], masks), tmp_path / "o", views=True)
        assert not any(t.step == "tta" for t in tuned.trials)
        assert "red is in the left half in 6 of 6 cases" in caplog.text


class TestFiles:
    def test_table_and_summary(self, write: Write, tmp_path: Path) -> None:
        masks = _discs(6)
        loaded = write([_with_specks(mask, i) for i, mask in enumerate(masks)], masks)
        tuned = tune(loaded, tmp_path / "out")
        with (tmp_path / "out/trials.csv").open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == len(tuned.trials)
        assert {row["step"] for row in rows} == {
            "threshold",
            "largest_component",
            "min_size",
            "fill_holes",
        }
        summary = json.loads((tmp_path / "out/postprocessing.json").read_text(encoding="utf-8"))
        assert summary["evidence"] == {"split": "valid", "cases": 6, "groups": 6}
        assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
            "postprocessing.json",
            "trials.csv",
        ]

    def test_command(
        self, write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        masks = _discs(6)
        write([_with_specks(mask, i) for i, mask in enumerate(masks)], masks)
        assert flexseg("tune-postprocessing", tmp_path / "a.toml") == 0
        shown = capsys.readouterr().out
        assert "6 images of the validation set (6 groups)." in shown and "kept" in shown
        assert (tmp_path / "postprocessing/trials.csv").exists()
        assert flexseg("-q", "tune-postprocessing", tmp_path / "a.toml", "--json") == 0
        trials = result_of(capsys.readouterr().out)["trials"]
        assert [t["step"] for t in trials if t["kept"]] == ["largest_component"]


class TestLeakage:
    def test_the_test_set_is_not_looked_at(self, write: Write, tmp_path: Path) -> None:
        masks = _discs(6)
        loaded = write([_image(mask) for mask in masks], masks)
        for kind in ("images", "masks"):
            (tmp_path / "test" / kind).mkdir(parents=True)
            (tmp_path / "test" / kind / "a.png").write_bytes(b"no image")
        tune(loaded, tmp_path / "out")
        shutil.rmtree(tmp_path / "test")
        tune(loaded, tmp_path / "out")

    @pytest.mark.parametrize("split", ["train", "test"])
    def test_cases_of_another_split_are_refused(
        self, write: Write, tmp_path: Path, split: str
    ) -> None:
        """One folder for all splits, and the manifest remembers another division."""
        masks = _discs(12)
        write([_image(mask) for mask in masks], masks)
        text = (tmp_path / "a.toml").read_text(encoding="utf-8")
        text = text[: text.index("[valid]")].replace(
            "[dataset]", '[dataset]\nimages_dir = "valid/images"\nmasks_dir = "valid/masks"'
        )
        (tmp_path / "a.toml").write_text(text, encoding="utf-8")
        loaded = load(tmp_path / "a.toml")
        tune(loaded, tmp_path / "out")
        data = {split: {"ids": [f"case{i}x" for i in range(12)]}}
        (tmp_path / "run.json").write_text(
            json.dumps({"status": "finished", "config": {}, "data": data}), encoding="utf-8"
        )
        with pytest.raises(DataError, match=f"w(as|ere) in the {split} set of this run"):
            tune(loaded, tmp_path / "out")
        (tmp_path / "run.json").write_text("{", encoding="utf-8")
        with pytest.raises(DataError, match="cannot be read"):
            tune(loaded, tmp_path / "out")

    def test_an_ensemble_is_tuned_on_what_its_members_have_not_seen(
        self, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        masks = _discs(12)
        write([_with_specks(mask, i) for i, mask in enumerate(masks)], masks)
        loaded = load(tmp_path / "a.toml", ["train.best_model_file=ensemble.json"])
        models = tmp_path / "models"
        (models / "ensemble.json").write_text('{"members": ["best_model.h5"]}', encoding="utf-8")
        with pytest.raises(DataError, match="not known which member has not seen which case"):
            tune(loaded, tmp_path / "out")
        package = _package(loaded, 1, 0.5)
        blind = ModelPackage(
            package.config,
            package.labels,
            package.preprocessing,
            model=keras.models.clone_model(package.model),
        )
        members = EnsemblePredictor([package, blind])
        monkeypatch.setattr(tuning, "make_predictor", lambda *_, **__: members)
        cases = pair(tmp_path / "valid/images", tmp_path / "valid/masks").cases
        tuned = tune(loaded, tmp_path / "out", folds=[cases, []])
        assert _kept(tuned) == [("2d", "red", "largest_component", True)]
        assert tuned.choice.evidence["split"] == "folds"
        assert tuned.file == models / "ensemble.postprocess.json"
        with pytest.raises(DataError, match="2 members, but the cross-validation has 3 folds"):
            tune(loaded, tmp_path / "out", folds=[cases, [], []])


class TestKept:
    @given(
        levels=st.lists(st.integers(0, 255), min_size=4, max_size=4),
        thresholds=st.sets(st.sampled_from([0.1, 0.3, 100 / 255, 0.5, 0.9]), min_size=1),
    )
    def test_labels_are_those_of_the_predictor(
        self, levels: list[int], thresholds: set[float]
    ) -> None:
        p = (np.array(levels, np.float32) / np.float32(255)).reshape(2, 2, 1)
        kept = PredictionCache(Path(), sorted(thresholds))
        limits = np.array(kept.thresholds, np.float32)
        stored = np.searchsorted(limits, p[..., 0], side="left").astype(np.uint8)
        for t in kept.thresholds:
            np.testing.assert_array_equal(kept.labels(stored, t), (p[..., 0] > t).astype(np.uint8))

    @staticmethod
    def _volumes(*ids: str, shapes: list[tuple[int, int]] | None = None) -> list[Unit]:
        cases = [Case(i, Path(i), Path(i), i.partition("_")[0]) for i in ids]
        kept = PredictionCache(Path(), ())
        kept.cases = cases
        kept.shapes = list(shapes or [(4, 4)] * len(ids))
        return kept.volumes()

    def test_slices_in_their_order(self) -> None:
        (unit,) = self._volumes("a_0003", "a_0001", "a_0000", "a_0002")
        assert unit == Unit("a", (2, 1, 3, 0), is_volume=True)

    def test_two_volumes_of_a_patient(self) -> None:
        ids = [f"a_{axis}_{i:04d}" for axis in ("axial", "coronal") for i in range(9, 14)]
        assert [unit.cases for unit in self._volumes(*ids)] == [(0, 1, 2, 3, 4), (5, 6, 7, 8, 9)]

    @pytest.mark.parametrize(
        "ids",
        [
            ("a_0", "a_1", "a_2"),
            ("a_0", "a_1", "a_2", "a_4"),
            ("a_0", "a_1", "a_2", "a_3", "b_0"),
            ("a_0", "a_1", "a_2", "a_x"),
        ],
    )
    def test_no_whole_volumes(self, ids: tuple[str, ...]) -> None:
        assert self._volumes(*ids) == []

    def test_slices_of_several_sizes(self) -> None:
        ids = [f"a_{i}" for i in range(4)]
        assert self._volumes(*ids, shapes=[(4, 4)] * 3 + [(4, 5)]) == []

    def test_what_is_kept_comes_back(self, write: Write, tmp_path: Path) -> None:
        masks = _discs(4)
        names = [f"v_{i}" for i in range(4)]
        loaded = write([_image(mask) for mask in masks], masks, names, group="^(v)_")
        predictor = tuning.make_predictor(loaded)
        package = predictor.package
        cases = [
            Case(n, tmp_path / f"valid/images/{n}.png", tmp_path / f"valid/masks/{n}.png", "v")
            for n in names
        ]
        kept = PredictionCache(tmp_path, (0.5,))
        done: list[tuple[int, int]] = []
        reader = CaseReader(package.preprocessing, package.labels)
        kept.predict([(predictor, cases)], reader, lambda *count: done.append(count))
        assert done == [(1, 4), (2, 4), (3, 4), (4, 4)]
        prediction, truth = kept.load(kept.volumes()[0])
        np.testing.assert_array_equal(truth, masks)
        np.testing.assert_array_equal(prediction, masks)


class TestCounts:
    @given(
        pair=arrays.arrays(np.uint8, (2, 7, 8), elements=st.integers(0, 2)),
        largest=st.booleans(),
        size=st.integers(0, 5),
    )
    def test_tables_of_parts_give_what_postprocessing_gives(
        self, pair: NDArray[np.uint8], largest: bool, size: int
    ) -> None:
        prediction, truth = pair
        steps = Steps(largest, size)
        counts = _after_drops([_parts_of(prediction, truth, 1)], steps)
        after = Postprocessing({1: steps})(prediction)
        o = counts_by_class(confusion(truth, after, 3))[1]
        found = (counts.common[0], counts.predicted[0], counts.reference[0])
        assert found == (o.true_positive, o.prediction, o.reference)
        (one, _) = counts_of([(after, truth)], 3)
        assert (one.common[0], one.predicted[0], one.reference[0]) == found

    def test_sizes_to_try(self) -> None:
        assert smallest_sizes([]) == []
        assert smallest_sizes([np.array([1, 1, 1, 1])]) == []
        assert smallest_sizes([np.array([1000] * 30), np.array([2000])]) == [100, 250, 500, 1000]
