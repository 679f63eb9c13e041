"""The summary as types: what is written is what is read, of this version and of older ones."""

from __future__ import annotations

import json
from pathlib import Path
from zipfile import ZipFile

import pytest

from flexseg.evaluation.summary import ClassSummary, EvaluationSummary, Statistic
from sample_run import write_sample_run

OLD_RUNS = Path(__file__).parents[1] / "old_runs/study.zip"


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    folder = write_sample_run(tmp_path)
    content = json.loads((folder / "evaluation/summary.json").read_text(encoding="utf-8"))
    assert EvaluationSummary.from_dict(content).as_dict() == content


@pytest.mark.parametrize(
    "name", [n for n in ZipFile(OLD_RUNS).namelist() if n.endswith("/summary.json")]
)
def test_keys_are_those_of_old_runs(name: str) -> None:
    content = json.loads(ZipFile(OLD_RUNS).read(name))
    written = EvaluationSummary.from_dict(content).as_dict()
    assert written == content | {"object_iou": 0.0, "verdicts": written["verdicts"]}


def test_nearly_nothing_is_known() -> None:
    found = EvaluationSummary.from_dict({"classes": [{"id": 2}], "macro": None, "cases": "3"})
    assert (found.cases, found.groups, found.units, found.macro) == (3, 3, "px", {})
    (only,) = found.classes
    assert (only.name, only.groups_with_reference, only.lesions) == ("class 2", 3, None)
    assert (found.confusion, found.calibration, found.by_group, found.folds) == (None,) * 4


def test_odd_values_are_none() -> None:
    entry = {"id": 1, "name": "disc", "dice": {"mean": "many", "ci95": [0.1, None]}}
    disc = ClassSummary.from_dict(entry, groups=4)
    assert disc.statistics == {"dice": Statistic()}
    assert disc.groups_with_reference == 4


def test_repr_says_the_result() -> None:
    found = EvaluationSummary(
        classes=[],
        macro={"dice": Statistic(0.91234, (0.9, 0.95))},
        cases=7,
        groups=3,
        units="px",
        tolerance=2.0,
        object_iou=0.5,
    )
    assert repr(found) == (
        "EvaluationSummary(7 cases of 3 groups, 0 classes, mean Dice 0.9123 (0.9000 to 0.9500))"
    )


def test_verdicts_of_groups_where_they_have_several_cases() -> None:
    """Slices of which the ends are missed, of volumes that are good."""

    def of_class(dice: float, cases: int, missed: int) -> dict[str, object]:
        statistic = {"mean": dice, "ci95": [dice - 0.02, dice + 0.02]}
        return {
            "id": 1,
            "name": "organ",
            "cases_with_reference": cases,
            "groups_with_reference": 12,
            "missed": missed,
            "dice": statistic,
        }

    slices = {"cases": 240, "groups": 12, "classes": [of_class(0.31, 240, 90)]}
    assert [v.grade for v in EvaluationSummary.from_dict(slices).verdicts] == ["failed"]
    volumes = slices | {"by_group": {"classes": [of_class(0.87, 12, 0)]}}
    (only,) = EvaluationSummary.from_dict(volumes).verdicts
    assert (only.name, only.grade) == ("organ", "good")
    assert only.why == "Dice 0.870 (95 % interval 0.850 to 0.890)."
