"""From cases to tables and files: known shapes."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from config_parts import labels_of
from flexseg.errors import DataError
from flexseg.evaluation.case_scores import (
    CaseScores,
    case_columns,
    write_evaluation,
    write_legacy_csv,
)
from flexseg.evaluation.scoring import Measures
from flexseg.evaluation.summary import EvaluationSummary
from labelled_boxes import SIZE, a_case, boxes, experiment, sample_scores


@pytest.fixture
def scores() -> CaseScores:
    return sample_scores()


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
        scores.add(a_case("e"), boxes(c2=(0, 0)), boxes(c2=(0, 2)))
        scores.add(a_case("f"), boxes(c2=(0, 0)), boxes(c2=(0, 4)))
        summary = scores.summary().as_dict()
        assert summary["classes"][1]["dice"]["mean"] == pytest.approx(0.7)
        assert summary["macro"]["dice"]["mean"] == pytest.approx((0.5 + 0.7) / 2, abs=1e-6)

    def test_groups_widen_the_interval(self) -> None:
        def width(group: Callable[[int], str]) -> float:
            result = CaseScores(labels_of(experiment()))
            for i in range(24):
                shift = 2 * (i // 4)  # six patients, four equal slices each
                case = a_case(f"s{i}", group(i))
                result.add(case, boxes(c1=(0, 0)), boxes(c1=(0, shift)))
            low, high = result.summary().as_dict()["classes"][0]["dice"]["ci95"]
            return high - low

        assert width(lambda i: f"p{i // 4}") > 1.5 * width(lambda i: f"s{i}")

    def test_one_group_has_no_interval(self) -> None:
        result = CaseScores(labels_of(experiment()))
        for shift in (0, 2, 4):
            case = a_case(f"slice {shift}", "patient")
            result.add(case, boxes(c1=(0, 0)), boxes(c1=(0, shift)))
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
        scores.add(a_case("a2", "a"), boxes(c1=(0, 0)), boxes(c1=(0, 5)))
        for i in range(4):
            scores.add(a_case(f"rare {i}"), boxes(c2=(0, 0)), boxes(c2=(0, 0)))
        (note,) = (n for n in scores.summary(100).as_dict()["notes"] if "independent groups" in n)
        assert '"disc" (3), "square" (4).' in note
        for i in range(47):
            scores.add(a_case(f"more {i}"), boxes(c1=(0, 0)), boxes(c1=(0, 0)))
        summary = scores.summary(100).as_dict()
        assert summary["groups"] == 55
        assert [c["groups_with_reference"] for c in summary["classes"]] == [50, 4]
        assert [c["groups_with_reference"] for c in summary["by_group"]["classes"]] == [50, 4]
        (note,) = (n for n in summary["notes"] if "independent groups" in n)
        assert '"square" (4).' in note and "disc" not in note

    def test_class_in_one_group_leaves_the_others_an_interval(self, scores: CaseScores) -> None:
        scores.add(a_case("e"), boxes(c2=(0, 0)), boxes(c2=(0, 2)))
        summary = scores.summary().as_dict()
        disc, square = summary["classes"]
        macro = summary["macro"]["dice"]
        assert square["dice"]["ci95"] is None
        assert macro["mean"] == pytest.approx((0.5 + 0.8) / 2, abs=1e-6)
        assert macro["ci95"] == pytest.approx(
            [(limit + 0.8) / 2 for limit in disc["dice"]["ci95"]], abs=1e-6
        )
        assert any('Only one group has "square"' in note for note in summary["notes"])

    def test_all_background_scores_zero_not_nearly_one(self) -> None:
        """What dice_coef_multiclass of the originals hides."""
        result = CaseScores(labels_of(experiment()))
        for i in range(3):
            result.add(a_case(f"{i}"), boxes(c1=(0, i)), boxes())
        assert result.summary().as_dict()["macro"]["dice"]["mean"] == 0

    def test_quantiles_and_worst_cases(self) -> None:
        result = CaseScores(labels_of(experiment()))
        for shift in range(11):
            case = a_case(f"shift {shift:02d}")
            result.add(case, boxes(c1=(0, 0)), boxes(c1=(0, shift)))
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
        assert (disc["reference"], disc["found"], disc["missed"], disc["false"]) == (3, 1, 2, 1)
        assert (square["false"], square["false_per_case"]) == (1, 0.25)
        assert disc["by_size"][2] == {"from_px": 100, "to_px": 999, "reference": 3, "found": 1}

    def test_confusion_adds_all_pixels(self, scores: CaseScores) -> None:
        summary = scores.summary().as_dict()
        assert summary["confusion_names"] == ["background", "disc", "square"]
        assert np.sum(summary["confusion"]) == 4 * SIZE[0] * SIZE[1]
        assert summary["confusion"][1] == [150, 150, 0]
        assert summary["confusion"][0][2] == 100

    def test_units(self) -> None:
        def summary(**keys: Any) -> dict[str, Any]:
            result = CaseScores(labels_of(experiment()), Measures(**keys))
            result.add(a_case("a"), boxes(c1=(0, 0)), boxes(c1=(0, 4)))
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
        result = CaseScores(labels_of(experiment()))
        p = np.full((*SIZE, 3), 0.1, np.float32)
        np.put_along_axis(p, boxes(c1=(0, 0))[..., None].astype(int), 0.8, axis=-1)
        for name in "ab":
            result.add(a_case(name), boxes(c1=(0, 0)), boxes(c1=(0, 0)), p)
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
        assert (a["reference_lesions"], a["lesions_found"], a["false_lesions"]) == ("1", "0", "1")
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
        scores = CaseScores(labels_of(experiment()))
        a, b, empty = boxes(c1=(0, 0)), boxes(c1=(5, 0)), boxes()
        scores.add(a_case("v_0", "v"), a, a)
        scores.add(a_case("v_1", "v"), a, b)
        scores.add(a_case("v_2", "v"), empty, empty)
        scores.add(a_case("w_0", "w"), a, empty)
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
        scores.add(a_case("e"), boxes(c1=(0, 0)), boxes(c1=(0, 0)))
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


class TestIgnoredPixels:
    def scores(self, *, nothing: bool = False) -> CaseScores:
        scores = CaseScores(labels_of(experiment(mask={"ignore": 255})))
        reference, predicted = boxes(c1=(0, 0)), boxes(c1=(0, 0), c2=(10, 20))
        reference[10:] = 255
        if not nothing:
            scores.add(a_case("a"), reference, predicted)
        scores.add(a_case("b"), np.full(SIZE, 255, np.uint8), predicted)
        return scores

    def test_tables_and_summary_tell_how_many(self, tmp_path: Path) -> None:
        summary = write_evaluation(self.scores(), tmp_path, 100)
        with (tmp_path / "cases.csv").open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert [row["ignored_px"] for row in rows] == ["300", "300", "600", "600"]
        assert json.loads((tmp_path / "summary.json").read_text())["ignored_pixels"] == 900
        assert summary.notes[-2].startswith("900 pixels (75.00%), in 2 of 2 cases, are ignored")
        assert EvaluationSummary.from_dict(summary.as_dict()).ignored_pixels == 900

    def test_a_case_of_nothing_else_is_in_no_figure(self) -> None:
        summary = self.scores().summary()
        assert summary.cases == 1
        disc, square = summary.classes
        assert (disc.statistics["dice"].mean, disc.cases_with_reference) == (1, 1)
        assert (square.cases_with_empty_reference, square.false_positive) == (1, 0)
        assert summary.notes[-1].startswith("All pixels of 1 case are ignored: it counts")

    def test_nothing_can_be_scored(self) -> None:
        with pytest.raises(DataError, match="all pixels of all references are ignored"):
            self.scores(nothing=True).summary()

    def test_evaluations_without_have_no_trace_of_it(self, scores: CaseScores) -> None:
        assert "ignored_px" not in scores.columns
        assert "ignored_pixels" not in scores.summary().as_dict()
