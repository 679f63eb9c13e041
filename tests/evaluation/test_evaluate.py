"""From cases to tables: known shapes, published predictions, and the files."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console

from flexseg.batches.store import CaseReader
from flexseg.cli.printing import print_scores
from flexseg.config.load import load
from flexseg.config.schema import Experiment
from flexseg.dataset.cases import Case, pair
from flexseg.dataset.labels import LabelMap
from flexseg.errors import DataError
from flexseg.evaluation.evaluate import (
    CaseScores,
    case_columns,
    evaluate_model,
    score_folders,
    write_evaluation,
    write_legacy_csv,
)
from flexseg.evaluation.scoring import Measures
from flexseg.evaluation.trained_images import evaluate
from flexseg.files.images import write_png
from flexseg.files.preprocess import Preprocessing
from flexseg.inference.predictor import Predictor
from flexseg.losses import get_metric, weighted_mean
from flexseg.models.package import ModelPackage

CLASSES = [
    {"id": 0, "name": "background", "color": (0, 0, 0)},
    {"id": 1, "name": "disc", "color": (0, 255, 0)},
    {"id": 2, "name": "square", "color": (255, 0, 0)},
]
SIZE = (20, 30)


@pytest.fixture(autouse=True)
def float32() -> Iterator[None]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    yield
    keras.config.set_dtype_policy(before)


def _experiment(classes: int = 3, **sections: Any) -> Experiment:
    height, width = SIZE
    mask = {"classes": CLASSES[:classes]} if classes > 1 else {}
    model = {"num_classes": classes, "image_width": width, "image_height": height}
    return Experiment.model_validate({"model": model, "mask": mask, **sections})


def _boxes(**boxes: tuple[int, int]) -> NDArray[np.uint8]:
    """Class 1 or 2 in a 10 x 10 box from (row, column); keys `c1`, `c2`."""
    labels = np.zeros(SIZE, np.uint8)
    for key, (row, column) in boxes.items():
        labels[row : row + 10, column : column + 10] = int(key[1:])
    return labels


def _case(name: str, group: str | None = None) -> Case:
    return Case(name, Path(f"{name}.png"), Path(f"{name}.png"), group or name)


@pytest.fixture
def scores() -> CaseScores:
    """Four cases: class 1 scored .5, missed, absent, scored 1; class 2 only a false positive."""
    result = CaseScores(LabelMap.from_experiment(_experiment()))
    result.add(_case("a"), _boxes(c1=(0, 0)), _boxes(c1=(0, 5)))
    result.add(_case("b"), _boxes(c1=(0, 0)), _boxes())
    result.add(_case("c"), _boxes(), _boxes(c2=(3, 3)))
    result.add(_case("d"), _boxes(c1=(5, 5)), _boxes(c1=(5, 5)))
    return result


class TestSummary:
    def test_means_are_over_cases_that_have_the_class(self, scores: CaseScores) -> None:
        disc = scores.summary().as_dict()["classes"][0]
        assert disc["name"] == "disc"
        assert disc["cases_with_reference"] == 3
        assert disc["cases_with_empty_reference"] == 1
        assert (disc["missed"], disc["false_positive"]) == (1, 0)
        assert disc["dice"]["mean"] == pytest.approx((0.5 + 0 + 1) / 3, abs=1e-6)
        assert disc["iou"]["mean"] == pytest.approx((1 / 3 + 0 + 1) / 3, abs=1e-6)
        assert disc["recall"]["mean"] == pytest.approx(0.5, abs=1e-6)
        assert disc["precision"]["mean"] == pytest.approx(0.5, abs=1e-6)
        assert (disc["dice"]["median"], disc["dice"]["min"]) == (0.5, 0)
        low, high = disc["dice"]["ci95"]
        assert 0 <= low < 0.5 < high <= 1

    def test_pooled_pixels_add_the_counts(self, scores: CaseScores) -> None:
        pooled = scores.summary().as_dict()["classes"][0]["pooled_pixels"]
        # 50 + 0 + 100 found of 300, 50 invented.
        assert pooled["dice"] == pytest.approx(2 * 150 / (300 + 200))
        assert pooled["recall"] == pytest.approx(0.5)
        assert pooled["precision"] == pytest.approx(0.75)

    def test_class_without_reference_has_no_mean(self, scores: CaseScores) -> None:
        square = scores.summary().as_dict()["classes"][1]
        names = ("mean", "ci95", "median", "p5", "p95", "min", "max")
        assert square["dice"] == dict.fromkeys(names)
        assert square["worst"] == []
        assert square["false_positive"] == 1
        assert square["cases_with_reference"] == 0

    def test_background_is_in_no_figure(self, scores: CaseScores) -> None:
        assert [c["id"] for c in scores.summary().as_dict()["classes"]] == [1, 2]
        assert {row[2] for row in scores.rows()} == {1, 2}

    def test_macro_is_the_mean_of_the_classes_that_occur(self, scores: CaseScores) -> None:
        summary = scores.summary().as_dict()
        assert summary["macro"]["dice"]["mean"] == summary["classes"][0]["dice"]["mean"]
        scores.add(_case("e"), _boxes(c2=(0, 0)), _boxes(c2=(0, 2)))
        scores.add(_case("f"), _boxes(c2=(0, 0)), _boxes(c2=(0, 4)))
        summary = scores.summary().as_dict()
        assert summary["classes"][1]["dice"]["mean"] == pytest.approx(0.7)
        assert summary["macro"]["dice"]["mean"] == pytest.approx((0.5 + 0.7) / 2, abs=1e-6)

    def test_groups_widen_the_interval(self) -> None:
        def width(group: Callable[[int], str]) -> float:
            result = CaseScores(LabelMap.from_experiment(_experiment()))
            for i in range(24):
                shift = 2 * (i // 4)  # six patients, four equal slices each
                case = _case(f"s{i}", group(i))
                result.add(case, _boxes(c1=(0, 0)), _boxes(c1=(0, shift)))
            low, high = result.summary().as_dict()["classes"][0]["dice"]["ci95"]
            return high - low

        assert width(lambda i: f"p{i // 4}") > 1.5 * width(lambda i: f"s{i}")

    def test_one_group_has_no_interval(self) -> None:
        result = CaseScores(LabelMap.from_experiment(_experiment()))
        for shift in (0, 2, 4):
            case = _case(f"slice {shift}", "patient")
            result.add(case, _boxes(c1=(0, 0)), _boxes(c1=(0, shift)))
        summary = result.summary().as_dict()
        assert (summary["cases"], summary["groups"]) == (3, 1)
        assert summary["classes"][0]["dice"]["mean"] == pytest.approx(0.8)
        assert summary["classes"][0]["dice"]["ci95"] is None
        assert summary["macro"]["dice"]["ci95"] is None
        assert any("there are no intervals" in note for note in summary["notes"])

    def test_no_resamples_no_interval(self, scores: CaseScores) -> None:
        summary = scores.summary(resamples=0).as_dict()
        assert summary["classes"][0]["dice"]["ci95"] is None
        assert summary["macro"]["dice"]["ci95"] is None
        assert summary["classes"][0]["dice"]["mean"] == pytest.approx(0.5)

    def test_few_groups_are_noted_by_class(self, scores: CaseScores) -> None:
        """Groups of 60 cases do not help a class that 4 of them have."""
        scores.add(_case("a2", "a"), _boxes(c1=(0, 0)), _boxes(c1=(0, 5)))
        for i in range(4):
            scores.add(_case(f"rare {i}"), _boxes(c2=(0, 0)), _boxes(c2=(0, 0)))
        (note,) = (n for n in scores.summary(100).as_dict()["notes"] if "independent groups" in n)
        assert "disc (3), square (4)." in note
        for i in range(47):
            scores.add(_case(f"more {i}"), _boxes(c1=(0, 0)), _boxes(c1=(0, 0)))
        summary = scores.summary(100).as_dict()
        assert summary["groups"] == 55
        assert [c["groups_with_reference"] for c in summary["classes"]] == [50, 4]
        assert [c["groups_with_reference"] for c in summary["by_group"]["classes"]] == [50, 4]
        (note,) = (n for n in summary["notes"] if "independent groups" in n)
        assert "square (4)." in note and "disc" not in note

    def test_class_in_one_group_leaves_the_others_an_interval(self, scores: CaseScores) -> None:
        scores.add(_case("e"), _boxes(c2=(0, 0)), _boxes(c2=(0, 2)))
        summary = scores.summary().as_dict()
        disc, square = summary["classes"]
        macro = summary["macro"]["dice"]
        assert square["dice"]["ci95"] is None
        assert macro["mean"] == pytest.approx((0.5 + 0.8) / 2, abs=1e-6)
        assert macro["ci95"] == pytest.approx(
            [(limit + 0.8) / 2 for limit in disc["dice"]["ci95"]], abs=1e-6
        )
        assert any("One group alone has square" in note for note in summary["notes"])

    def test_all_background_scores_zero_not_nearly_one(self) -> None:
        """What dice_coef_multiclass of the originals hides."""
        result = CaseScores(LabelMap.from_experiment(_experiment()))
        for i in range(3):
            result.add(_case(f"{i}"), _boxes(c1=(0, i)), _boxes())
        assert result.summary().as_dict()["macro"]["dice"]["mean"] == 0

    def test_quantiles_and_worst_cases(self) -> None:
        result = CaseScores(LabelMap.from_experiment(_experiment()))
        for shift in range(11):
            case = _case(f"shift {shift:02d}")
            result.add(case, _boxes(c1=(0, 0)), _boxes(c1=(0, shift)))
        disc = result.summary(100).as_dict()["classes"][0]
        dice = disc["dice"]
        assert (dice["min"], dice["max"], dice["median"]) == (0, 1, 0.5)
        assert (dice["p5"], dice["p95"]) == (pytest.approx(0.05), pytest.approx(0.95))
        assert disc["hd95"]["median"] == 5
        assert disc["worst"][0] == ["shift 10", 0]
        assert [name for name, _ in disc["worst"]] == [f"shift {i:02d}" for i in (10, 9, 8, 7, 6)]

    def test_missed_objects_are_as_far_away_as_can_be(self, scores: CaseScores) -> None:
        disc = scores.summary().as_dict()["classes"][0]
        assert disc["hd95"]["max"] == pytest.approx(np.hypot(*SIZE), abs=1e-6)
        # Shifted by 5, missed, perfect.
        assert disc["hd95"]["mean"] == pytest.approx((5 + np.hypot(*SIZE) + 0) / 3, abs=1e-6)
        assert disc["nsd"]["min"] == 0

    def test_lesions_of_all_cases(self, scores: CaseScores) -> None:
        disc, square = (c["lesions"] for c in scores.summary().as_dict()["classes"])
        assert (disc["reference"], disc["found"], disc["missed"], disc["false"]) == (3, 2, 1, 0)
        assert (square["false"], square["false_per_case"]) == (1, 0.25)
        assert disc["by_size"][2] == {"from_px": 100, "to_px": 999, "reference": 3, "found": 2}

    def test_confusion_adds_all_pixels(self, scores: CaseScores) -> None:
        summary = scores.summary().as_dict()
        assert summary["confusion_names"] == ["background", "disc", "square"]
        assert np.sum(summary["confusion"]) == 4 * SIZE[0] * SIZE[1]
        assert summary["confusion"][1] == [150, 150, 0]
        assert summary["confusion"][0][2] == 100

    def test_units(self) -> None:
        def summary(**keys: Any) -> dict[str, Any]:
            result = CaseScores(LabelMap.from_experiment(_experiment()), Measures(**keys))
            result.add(_case("a"), _boxes(c1=(0, 0)), _boxes(c1=(0, 4)))
            return result.summary(10).as_dict()

        pixels = summary()
        assert (pixels["units"], pixels["tolerance"]) == ("px", 2.0)
        assert pixels["classes"][0]["hd95"]["mean"] == 4
        mm = summary(spacing=(1.0, 0.25), tolerance=1.0)
        assert (mm["units"], mm["tolerance"], mm["spacing"]) == ("mm", 1.0, [1.0, 0.25])
        assert mm["classes"][0]["hd95"]["mean"] == 1
        assert mm["classes"][0]["nsd"]["mean"] == 1

    def test_calibration_only_with_probabilities(self, scores: CaseScores) -> None:
        summary = scores.summary().as_dict()
        assert summary["calibration"] is None
        assert summary["classes"][0]["brier"]["mean"] is None
        result = CaseScores(LabelMap.from_experiment(_experiment()))
        p = np.full((*SIZE, 3), 0.1, np.float32)
        np.put_along_axis(p, _boxes(c1=(0, 0))[..., None].astype(int), 0.8, axis=-1)
        for name in "ab":
            result.add(_case(name), _boxes(c1=(0, 0)), _boxes(c1=(0, 0)), p)
        calibration = result.summary().as_dict()["calibration"]
        assert calibration["ece"] == pytest.approx(0.2, abs=1e-6)
        assert sum(b["pixels"] for b in calibration["bins"]) == 2 * SIZE[0] * SIZE[1]


class TestFiles:
    def test_cases_csv(self, scores: CaseScores, tmp_path: Path) -> None:
        write_evaluation(scores, tmp_path / "evaluation", 100)
        with (tmp_path / "evaluation" / "cases.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert tuple(rows[0]) == case_columns()
        assert len(rows) == 4 * 2
        by_key = {(row["case"], row["class"]): row for row in rows}
        a = by_key["a", "disc"]
        assert (a["hd95"], a["area_error"], a["brier"]) == ("5.0", "0.0", "")
        assert (a["reference_lesions"], a["lesions_found"], a["false_lesions"]) == ("1", "1", "0")
        assert (a["status"], a["dice"], a["precision"]) == ("scored", "0.5", "0.5")
        assert float(a["iou"]) == pytest.approx(1 / 3, abs=1e-6)
        assert (a["reference_px"], a["predicted_px"], a["class_id"]) == ("100", "100", "1")
        b = by_key["b", "disc"]
        assert (b["status"], b["dice"], b["precision"], b["recall"]) == ("missed", "0.0", "", "0.0")
        c = by_key["c", "square"]
        assert (c["status"], c["dice"], c["recall"]) == ("false positive", "0.0", "")
        absent = by_key["d", "square"]
        assert (absent["status"], absent["dice"], absent["iou"]) == ("absent", "", "")

    def test_slices_of_a_volume_are_scored_together(self, tmp_path: Path) -> None:
        """As the volume that they make when they are stacked; one slice misses the class."""
        scores = CaseScores(LabelMap.from_experiment(_experiment()))
        a, b, empty = _boxes(c1=(0, 0)), _boxes(c1=(5, 0)), _boxes()
        scores.add(_case("v_0", "v"), a, a)
        scores.add(_case("v_1", "v"), a, b)
        scores.add(_case("v_2", "v"), empty, empty)
        scores.add(_case("w_0", "w"), a, empty)
        summary = write_evaluation(scores, tmp_path, 10).as_dict()
        with (tmp_path / "groups.csv").open(encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if row["class"] == "disc"]
        assert [(row["group"], float(row["dice"])) for row in rows] == [("v", 0.75), ("w", 0.0)]
        stacked = np.stack([a, a, empty]), np.stack([a, b, empty])
        overlap = ((stacked[0] == 1) & (stacked[1] == 1)).sum()
        assert 2 * overlap / ((stacked[0] == 1).sum() + (stacked[1] == 1).sum()) == 0.75
        entry = summary["by_group"]["classes"][0]
        assert (entry["dice"]["mean"], entry["missed"]) == (0.375, 1)
        assert summary["classes"][0]["dice"]["mean"] == pytest.approx((1 + 0.5 + 0) / 3)

    def test_without_larger_groups_there_is_no_table_of_them(
        self, scores: CaseScores, tmp_path: Path
    ) -> None:
        groups = {case.group for case in scores.cases}
        summary = write_evaluation(scores, tmp_path, 10).as_dict()
        assert ("by_group" in summary) == (len(groups) < len(scores.cases))
        assert (tmp_path / "groups.csv").exists() == ("by_group" in summary)

    def test_summary_json(self, scores: CaseScores, tmp_path: Path) -> None:
        scores.legacy = {"categorical_crossentropy": 0.25}
        returned = write_evaluation(scores, tmp_path / "evaluation", 100).as_dict()
        content = json.loads((tmp_path / "evaluation" / "summary.json").read_text())
        assert content == json.loads(json.dumps(returned))
        assert (content["cases"], content["groups"]) == (4, 4)
        assert content["resolution"] == "native"
        assert content["not_comparable_with_the_above"]["categorical_crossentropy"] == 0.25

    def test_earlier_results_move_aside(self, scores: CaseScores, tmp_path: Path) -> None:
        write_evaluation(scores, tmp_path / "evaluation", 100)
        first = (tmp_path / "evaluation" / "cases.csv").read_bytes()
        scores.add(_case("e"), _boxes(c1=(0, 0)), _boxes(c1=(0, 0)))
        write_evaluation(scores, tmp_path / "evaluation", 100)
        (backup,) = (tmp_path / "evaluation").glob("cases.csv_*_bak")
        assert backup.read_bytes() == first
        assert (tmp_path / "evaluation" / "cases.csv").read_bytes() != first

    def test_evaluation_csv(self, tmp_path: Path) -> None:
        path = tmp_path / "evaluation.csv"
        write_legacy_csv(
            path, {"categorical_crossentropy": 0.089512, "dice_coef_multiclass": 0.95288}
        )
        assert path.read_bytes() == (
            b"categorical_crossentropy,0.0895\ndice_coef_multiclass,0.9529\n"
        )
        write_legacy_csv(path, {"loss": 1.0})
        assert path.read_bytes() == b"loss,1.0\n"
        (backup,) = tmp_path.glob("evaluation.csv_*_bak")
        assert backup.read_bytes().startswith(b"categorical_crossentropy,0.0895")


class TestTerminal:
    """What `print_scores` shows of a summary."""

    @staticmethod
    def _shown(summary: dict[str, Any], width: int) -> str:
        console = Console(width=width, file=io.StringIO(), highlight=False)
        print_scores(console, summary)
        return console.file.getvalue()  # type: ignore[attr-defined]

    @pytest.mark.parametrize("width", [80, 100])
    def test_fits(self, scores: CaseScores, width: int) -> None:
        shown = self._shown(scores.summary(100), width)
        assert max(len(line.rstrip()) for line in shown.splitlines()) <= width
        (head,) = (line for line in shown.splitlines() if "Dice" in line)
        assert "HD95, px" in head and "NSD 2 px" in head and "Recall" in head
        assert ("Precision" in head) == (width == 100)
        (disc,) = (line for line in shown.splitlines() if line.strip().startswith("disc  "))
        assert "0.500" in disc

    def test_tells_of_missed_and_false_objects(self, scores: CaseScores) -> None:
        scores.add(_case("two"), _boxes(c1=(0, 0)) + _boxes(c1=(0, 15)), _boxes(c1=(0, 0)))
        scores.add(_case("two more"), _boxes(c1=(0, 0)) + _boxes(c1=(0, 15)), _boxes(c1=(10, 0)))
        shown = " ".join(self._shown(scores.summary(100), 100).split())
        assert "disc: missed altogether in 1 of 5 cases." in shown
        assert "disc: 3 of 7 separate objects found, 1 false ones (0.2 per case)." in shown
        assert "square: not in the reference of 6 cases (in no mean)" in shown
        assert (
            "Only few independent groups have these classes in their reference: disc (5)." in shown
        )


class TestPublishedPredictions:
    """The originals' predictions score what their README's own files say, measured anew."""

    @pytest.mark.parametrize(
        ("name", "cases", "expected"),
        [
            ("covid-19", 24, [(0.846, 0.752), (0.862, 0.822), (0.648, 0.552)]),
            ("mri-brain-tumor-t2", 20, [(0.667, 0.527)]),
            ("spleen", 18, [(0.945, 0.922)]),
        ],
    )
    def test_pooled_and_mean_dice(
        self, shared: Path, name: str, cases: int, expected: list[tuple[float, float]]
    ) -> None:
        experiment = load(shared / "configs" / f"{name}.config").experiment
        folder = shared / "data" / "mini_test" / name
        result, lonely = score_folders(folder / "published_output", folder / "masks", experiment)
        assert lonely == []
        summary = result.summary(10).as_dict()
        assert summary["cases"] == cases
        found = [(c["pooled_pixels"]["dice"], c["dice"]["mean"]) for c in summary["classes"]]
        np.testing.assert_allclose(found, expected, atol=0.003)


class TestScoreFolders:
    @staticmethod
    def _write(folder: Path, name: str, labels: NDArray[np.uint8]) -> None:
        folder.mkdir(exist_ok=True)
        write_png(folder / name, labels, [0, 0, 0, 0, 255, 0, 255, 0, 0])

    def test_pairs_by_name_and_lists_the_rest(self, tmp_path: Path) -> None:
        masks, predictions = tmp_path / "masks", tmp_path / "predictions"
        self._write(masks, "a.png", _boxes(c1=(0, 0)))
        self._write(masks, "only_mask.png", _boxes())
        self._write(predictions, "a.png", _boxes(c1=(0, 5)))
        self._write(predictions, "only_prediction.png", _boxes())
        result, lonely = score_folders(predictions, masks, _experiment())
        assert [case.id for case in result.cases] == ["a"]
        assert sorted(lonely) == ["only_mask.png", "only_prediction.png"]
        assert result.summary(10).as_dict()["classes"][0]["dice"]["mean"] == pytest.approx(0.5)

    def test_palettes_may_differ(self, tmp_path: Path) -> None:
        """Indices decide where the colours of a palette mean nothing to the label map."""
        masks, predictions = tmp_path / "masks", tmp_path / "predictions"
        self._write(masks, "a.png", _boxes(c1=(0, 0), c2=(10, 20)))
        predictions.mkdir()
        write_png(predictions / "a.png", _boxes(c1=(0, 0), c2=(10, 20)), [9, 9, 9] * 3)
        result, _ = score_folders(predictions, masks, _experiment())
        assert [row[5] for row in result.rows()] == [1.0, 1.0]

    def test_smaller_prediction_is_scored_at_the_size_of_the_mask(self, tmp_path: Path) -> None:
        masks, predictions = tmp_path / "masks", tmp_path / "predictions"
        self._write(masks, "a.png", _boxes(c1=(0, 0)))
        self._write(predictions, "a.png", np.ascontiguousarray(_boxes(c1=(0, 0))[::2, ::2]))
        result, _ = score_folders(predictions, masks, _experiment())
        assert result.matrices[0].sum() == SIZE[0] * SIZE[1]
        assert result.summary(10).as_dict()["classes"][0]["dice"]["mean"] == 1

    def test_another_shape_is_refused(self, tmp_path: Path) -> None:
        masks, predictions = tmp_path / "masks", tmp_path / "predictions"
        self._write(masks, "a.png", _boxes(c1=(0, 0)))
        self._write(predictions, "a.png", np.ascontiguousarray(_boxes(c1=(0, 0)).T))
        with pytest.raises(DataError, match="20 x 30 pixels"):
            score_folders(predictions, masks, _experiment())

    def test_no_common_name(self, tmp_path: Path) -> None:
        self._write(tmp_path / "masks", "a.png", _boxes())
        self._write(tmp_path / "predictions", "b.png", _boxes())
        with pytest.raises(DataError, match="No prediction has a mask of the same name"):
            score_folders(tmp_path / "predictions", tmp_path / "masks", _experiment())


def _brightness_network(size: tuple[int, int], cut: float) -> keras.Model:
    """A network that knows the answer: sigmoid(mean of the channels - cut)."""
    inputs = keras.Input((*size, 3))
    layer = keras.layers.Conv2D(1, 1, activation="sigmoid")
    model = keras.Model(inputs, layer(inputs))
    layer.set_weights([np.full((1, 1, 3, 1), 1 / 3, np.float32), np.array([-cut], np.float32)])
    return model


class TestEvaluateModel:
    @staticmethod
    def _setup(dataset: Path, size: tuple[int, int], cut: float = 95.0) -> tuple[Any, ...]:
        experiment = Experiment.model_validate(
            {
                "model": {"num_classes": 1, "image_width": size[1], "image_height": size[0]},
                "mask": {"classes": CLASSES[:2]},
            }
        )
        labels = LabelMap.from_experiment(experiment)
        preprocessing = Preprocessing.from_experiment(experiment)
        package = ModelPackage(
            _brightness_network(size, cut), experiment.model, labels, preprocessing
        )
        cases = pair(dataset / "test" / "images", dataset / "test" / "masks").cases
        return Predictor(package, batch_size=3), cases, CaseReader(preprocessing, labels)

    def test_a_perfect_network(self, make_dataset: Callable[..., Path]) -> None:
        dataset = make_dataset({"test": 4})
        predictor, cases, reader = self._setup(dataset, (40, 48))
        figures = {"dice_coef": partial(weighted_mean, get_metric("dice_coef", 1))}
        steps: list[tuple[int, int]] = []
        result = evaluate_model(predictor, cases, reader, figures, lambda *s: steps.append(s))
        disc = result.summary(100).as_dict()["classes"][0]
        assert disc["cases_with_reference"] == 4
        assert disc["dice"]["mean"] == disc["dice"]["min"] == 1
        assert result.legacy["dice_coef"] == pytest.approx(1, abs=1e-3)
        assert steps == [(3, 4), (4, 4)]

    def test_a_network_that_finds_nothing(self, make_dataset: Callable[..., Path]) -> None:
        dataset = make_dataset({"test": 4})
        predictor, cases, reader = self._setup(dataset, (40, 48), cut=1000.0)
        disc = evaluate_model(predictor, cases, reader, {}).summary(100).as_dict()["classes"][0]
        assert disc["missed"] == 4
        assert disc["dice"]["mean"] == disc["precision"]["mean"] == 0

    def test_scores_are_at_the_native_size(self, make_dataset: Callable[..., Path]) -> None:
        """A coarse network misses the rim of the discs, which its own size would not show."""
        dataset = make_dataset({"test": 4})
        predictor, cases, reader = self._setup(dataset, (10, 12))
        result = evaluate_model(predictor, cases, reader, {})
        assert {int(matrix.sum()) for matrix in result.matrices} == {40 * 48}
        disc = result.summary(100).as_dict()["classes"][0]
        assert 0.7 < disc["dice"]["mean"] < 0.99

    def test_figures_average_over_batches_of_unequal_size(
        self, make_dataset: Callable[..., Path]
    ) -> None:
        dataset = make_dataset({"test": 4})
        predictor, cases, reader = self._setup(dataset, (40, 48))
        counts = iter([1.0, 5.0])  # of a batch of three and one of one
        result = evaluate_model(predictor, cases, reader, {"x": lambda y, p: next(counts)})
        assert result.legacy["x"] == pytest.approx((3 * 1.0 + 1 * 5.0) / 4)


CONFIG = """
[model]
model = "UNet"
num_classes = 3
image_width = 24
image_height = 20
num_layers = 2
base_filters = 4
loss = "categorical_crossentropy"
metrics = ["dice_coef_multiclass", "dice_coef_foreground"]

[mask]
classes = [
  {{id = 0, color = [0, 0, 0]}},
  {{id = 1, name = "disc", color = [0, 255, 0]}},
  {{id = 2, name = "square", color = [255, 0, 0]}},
]

[test]
images_dir = "{data}/test/images"
masks_dir = "{data}/test/masks"

[train]
precision = "float32"
"""


def test_evaluate_from_a_config(make_dataset: Callable[..., Path], tmp_path: Path) -> None:
    data = make_dataset({"test": 5}, classes=3)
    path = tmp_path / "config.toml"
    path.write_text(CONFIG.format(data=data.as_posix()), encoding="utf-8")
    loaded = load(path)
    weights = loaded.experiment.train.model_dir / "best_model.h5"
    weights.parent.mkdir()
    ModelPackage.create(loaded.experiment).save(weights, {})
    summary = evaluate(loaded, tmp_path / "evaluation", tmp_path / "evaluation.csv").as_dict()
    lines = (tmp_path / "evaluation.csv").read_text().splitlines()
    names = [line.split(",")[0] for line in lines]
    assert names == ["categorical_crossentropy", "dice_coef_multiclass"]
    assert all(0 < float(line.split(",")[1]) < 5 for line in lines)
    with (tmp_path / "evaluation" / "cases.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 5 * 2
    assert {row["class"] for row in rows} == {"disc", "square"}
    squares = [int(row["reference_px"]) for row in rows if row["class"] == "square"]
    assert squares == [64] * 5
    assert summary["cases"] == 5
    legacy = summary["not_comparable_with_the_above"]
    assert f"{round(legacy['dice_coef_multiclass'], 4)}" == lines[1].split(",")[1]
    assert summary["predictions_dir"] == "predictions"
    assert Path(summary["images_dir"]) == data / "test" / "images"
    assert sum(b["pixels"] for b in summary["calibration"]["bins"]) == 5 * 40 * 48
    assert all(0 <= float(row["brier"]) <= 1 and 0 <= float(row["ece"]) <= 1 for row in rows)


def test_predictions_are_kept_as_they_were_scored(
    make_dataset: Callable[..., Path], tmp_path: Path
) -> None:
    """The masks in `predictions/` give the scores of `cases.csv` when they are read again."""
    data = make_dataset({"test": 5}, classes=3)
    path = tmp_path / "config.toml"
    path.write_text(CONFIG.format(data=data.as_posix()), encoding="utf-8")
    loaded = load(path)
    weights = loaded.experiment.train.model_dir / "best_model.h5"
    weights.parent.mkdir()
    ModelPackage.create(loaded.experiment).save(weights, {})
    folder = tmp_path / "evaluation"
    summary = evaluate(loaded, folder, tmp_path / "evaluation.csv").as_dict()
    masks = data / "test" / "masks"
    again, lonely = score_folders(folder / "predictions", masks, loaded.experiment)
    assert lonely == []
    assert again.summary().as_dict()["confusion"] == summary["confusion"]
    assert again.summary().as_dict()["images_dir"] == summary["images_dir"]
    picture = Image.open(folder / "predictions" / "test_00.png")
    assert (picture.mode, picture.size) == ("P", (48, 40))
    assert picture.getpalette("RGB")[:9] == [0, 0, 0, 0, 255, 0, 255, 0, 0]
    evaluate(loaded, folder, tmp_path / "evaluation.csv")
    assert len(list(folder.glob("predictions_*_bak"))) == 1
    assert len(list((folder / "predictions").iterdir())) == 5
    assert not list(folder.glob(".*"))
