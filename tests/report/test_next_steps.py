"""What to do after a report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flexseg.report.content import gather
from flexseg.report.sources import find_source
from sample_run import write_sample_evaluation, write_shifted_run


@pytest.mark.parametrize(
    ("columns", "commands"),
    [
        (0, ["infer config.toml --input IMAGES --output MASKS", "compare run OTHER_RUN"]),
        (
            6,
            [
                "check config.toml",
                "train config.toml --time 60m",
                "advise config.toml --time 10m",
                "compare run OTHER_RUN",
            ],
        ),
    ],
)
def test_they_fit_the_verdicts(tmp_path: Path, columns: int, commands: list[str]) -> None:
    report = gather(find_source(write_shifted_run(tmp_path, columns)))
    assert [step.command for step in report.next_steps] == [f"flexseg {c}" for c in commands]
    found = "No class was missed altogether" in report.headline
    assert found is (columns == 0)


def test_more_time_than_was_planned_for(tmp_path: Path) -> None:
    run = write_shifted_run(tmp_path, 6)
    manifest = json.loads((run / "run.json").read_text(encoding="utf-8"))
    manifest["config"]["train"]["minutes"] = 4.0
    (run / "run.json").write_text(json.dumps(manifest), encoding="utf-8")
    commands = [step.command for step in gather(find_source(run)).next_steps]
    assert commands[1] == "flexseg train config.toml --time 20m"
    (tmp_path / "fingerprint.json").write_text("{}", encoding="utf-8")
    commands = [step.command for step in gather(find_source(run)).next_steps]
    assert commands[1] == "flexseg auto DATASET --time 20m --output OTHER"


def test_advice_is_asked_for_once(tmp_path: Path) -> None:
    run = write_shifted_run(tmp_path, 6)
    (run / "advice").mkdir()
    (run / "advice" / "advice.json").write_text('{"sentences": ["More."]}', encoding="utf-8")
    report = gather(find_source(run))
    assert report.advice == ["More."]
    assert not any("advise" in step.command for step in report.next_steps)


def test_without_an_evaluation(tmp_path: Path) -> None:
    run = write_shifted_run(tmp_path, 0)
    (run / "evaluation" / "summary.json").unlink()
    (step,) = gather(find_source(run)).next_steps
    assert step.command == "flexseg evaluate config.toml"


def test_masks_of_unknown_origin_have_none(tmp_path: Path) -> None:
    assert gather(find_source(write_sample_evaluation(tmp_path))).next_steps == []
