"""What a report says in words."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from flexseg.cli.printing import print_scores
from flexseg.evaluation.summary import EvaluationSummary
from flexseg.report.content import gather
from flexseg.report.sources import find_source
from flexseg.report.structure import Report
from sample_run import add_quality, write_sample_evaluation, write_sample_run


def _report(folder: Path, **changes: Any) -> tuple[Report, dict[str, Any]]:
    """The report of an evaluation whose summary was changed, and the summary."""
    evaluation = write_sample_evaluation(folder)
    file = evaluation / "summary.json"
    summary = json.loads(file.read_text(encoding="utf-8")) | changes
    if "dice" in changes:
        summary["macro"]["dice"] |= {"mean": changes["dice"], "ci95": [0.0, 0.01]}
    file.write_text(json.dumps(summary), encoding="utf-8")
    return gather(find_source(evaluation)), summary


@pytest.mark.parametrize(("dice", "told"), [(0.007, True), (0.9, False)])
@pytest.mark.parametrize(
    ("inference", "why"),
    [
        (None, "hese masks hardly agree with their references"),
        ({"threshold": 0.5}, "his network has hardly learned anything"),
    ],
)
def test_scores_near_zero_are_explained(
    tmp_path: Path, dice: float, told: bool, inference: dict[str, Any] | None, why: str
) -> None:
    report, summary = _report(tmp_path, dice=dice, inference=inference)
    assert (why in report.headline) is told
    console = Console(record=True, width=200, file=io.StringIO())
    print_scores(console, EvaluationSummary.from_dict(summary))
    assert (why in console.export_text()) is told


def test_how_masks_were_predicted_is_told(tmp_path: Path) -> None:
    report, _ = _report(
        tmp_path,
        inference={
            "threshold": 0.9,
            "tta": ["hflip", "vflip", "rot180"],
            "postprocess": {"2d": {"nuclei": {"keep_largest": True, "min_size": 20}}},
            "chosen_on": {"split": "valid", "cases": 9, "groups": 9},
        },
    )
    (text,) = (p for s in report.card for p in s.points if p.startswith("Predictions"))
    assert text == (
        "Predictions are the mean over 4 views, marked from a probability of 0.9 on, "
        "postprocessed (nuclei: keep_largest, min_size 20), as chosen on 9 cases (validation)."
    )


def test_predictions_as_they_are_need_no_words(tmp_path: Path) -> None:
    report, _ = _report(tmp_path, inference={"threshold": None, "tta": [], "postprocess": {}})
    assert not [p for s in report.card for p in s.points if p.startswith("Predictions")]


def test_a_class_of_no_reference_is_not_in_the_mean(tmp_path: Path) -> None:
    evaluation = write_sample_evaluation(tmp_path)
    file = evaluation / "summary.json"
    summary = json.loads(file.read_text(encoding="utf-8"))
    summary["classes"][1]["dice"] |= {"mean": None, "ci95": None}
    file.write_text(json.dumps(summary), encoding="utf-8")
    assert "the mean Dice of 1 of 2 classes is" in gather(find_source(evaluation)).headline


def test_inputs_of_another_kind_are_told_first(tmp_path: Path) -> None:
    """One of twelve may be called so by chance, three may not."""
    run = write_sample_run(tmp_path)
    add_quality(run)
    assert "from the training images" not in gather(find_source(run)).headline
    table = run / "evaluation" / "predictions.csv"
    lines = table.read_text(encoding="utf-8").splitlines()
    foreign = [line.replace(",no,", ",yes,") for line in lines[1:5]]
    table.write_text("\n".join([lines[0], *foreign, *lines[5:]]), encoding="utf-8")
    told = "3 of 12 inputs differ from the training images."
    assert told in gather(find_source(run)).headline
