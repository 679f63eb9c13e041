"""The section of a report on a repaired config: what has changed, and what came of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from flexseg.report.html import write_report
from flexseg.report.repaired import compare_with_original
from flexseg.report.sources import find_source
from flexseg.runs.evaluations import read_results
from sample_run import write_repaired_run, write_sample_run
from support import flexseg


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_repaired_run(tmp_path_factory.mktemp("repaired"))


def test_scores_of_both_and_their_paired_difference(run: Path) -> None:
    comparison = compare_with_original(run, run / "evaluation")
    old, new = (read_results(place / "evaluation", "") for place in (run.parent, run))
    rows = [s for s in comparison.scores if s.metric == "dice"]
    assert [s.class_name for s in rows] == ["disc <round>", "square", "mean of classes"]
    for column, row in enumerate(rows[:2]):
        dice = [results.columns["dice"][:, column] for results in (old, new)]
        counted = np.isin(old.status[:, column], ("scored", "missed"))
        means = [values[counted].mean() for values in dice]
        assert (row.old.mean, row.repaired.mean) == pytest.approx(means)
        assert row.difference == pytest.approx(means[1] - means[0], abs=1e-6)
        summary = [r.summary["classes"][column]["dice"]["ci95"] for r in (old, new)]
        assert [row.old.ci95, row.repaired.ci95] == [pytest.approx(ci) for ci in summary]
        assert row.difference is not None
        assert row.ci95 is not None and row.ci95[0] < row.difference < row.ci95[1]
        assert row.better + row.worse + row.equal == row.cases == counted.sum()
    assert rows[2].repaired.ci95 == tuple(new.summary["macro"]["dice"]["ci95"])
    assert {s.metric for s in comparison.scores} == {"dice", "nsd"}
    assert comparison.verdict.startswith("The repaired config is better: mean Dice 0.")
    assert comparison.effort == (
        "The repaired config was trained for 12 epochs in 1.4 min, the old one for 7 epochs in "
        "51 s."
    )


def test_verdict_both_ways_and_within_chance(tmp_path: Path) -> None:
    same = write_repaired_run(tmp_path / "same", old_shift=0)
    verdict = compare_with_original(same, same / "evaluation").verdict
    assert verdict.startswith("The difference is within chance: mean Dice")
    worse = write_repaired_run(tmp_path / "worse")
    for name in ("cases.csv", "summary.json"):
        old, new = worse.parent / "evaluation" / name, worse / "evaluation" / name
        content = old.read_bytes()
        old.write_bytes(new.read_bytes())
        new.write_bytes(content)
    verdict = compare_with_original(worse, worse / "evaluation").verdict
    assert verdict.startswith("The old config is better: mean Dice")


def test_what_is_lacking_comes_with_its_command(tmp_path: Path) -> None:
    run = write_repaired_run(tmp_path, old_shift=-1)
    comparison = compare_with_original(run, run / "evaluation")
    assert comparison.verdict == "" and comparison.scores == []
    assert "the old config is not evaluated" in comparison.why_not
    assert "`flexseg evaluate config.toml`" in comparison.why_not
    (run / "evaluation" / "cases.csv").unlink()
    why = compare_with_original(run, run / "evaluation").why_not
    assert "`flexseg evaluate config.toml --repair`" in why


def test_other_cases_are_not_compared(tmp_path: Path) -> None:
    run = write_repaired_run(tmp_path)
    cases = run.parent / "evaluation" / "cases.csv"
    lines = cases.read_text(encoding="utf-8").splitlines(keepends=True)
    cases.write_text("".join(lines[:-2]), encoding="utf-8")
    why = compare_with_original(run, run / "evaluation").why_not
    assert why.startswith("Not compared: The cases differ")


def test_the_page_has_all_of_it(run: Path, tmp_path: Path) -> None:
    html, data, content = write_report(find_source(run), tmp_path / "page.html")
    page = html.read_text(encoding="utf-8")
    assert content.title.endswith(", repaired")
    assert "The repaired config is better" in content.headline
    assert content.repair is not None
    for part in (
        'id="repair"',
        content.repair.comparison.verdict,
        "<td>[-180, 180]</td><td><b>[-10, 10]</b></td>",
        "<td>[]</td><td><b>[flips]</b></td>",
        "counts &lt;pixels&gt; one by one",
        "Batch normalisation would help &lt;this&gt; network.",
        "Differences with intervals",
    ):
        assert part in page, part
    said = json.loads(data.read_text(encoding="utf-8"))["repair"]
    assert said["changes"][1] == {
        "key": "train.patience",
        "before": "10",
        "after": "0",
        "reason": "the schedule ends the training",
    }
    assert len(said["comparison"]["scores"]) == 6


def test_an_ordinary_run_has_no_such_section(tmp_path: Path) -> None:
    html, _, content = write_report(find_source(write_sample_run(tmp_path)))
    assert content.repair is None and content.title == tmp_path.name
    assert 'id="repair"' not in html.read_text(encoding="utf-8")


def test_one_class_has_no_row_for_the_mean(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def one_class(path: Path, name: str) -> object:
        found = read_results(path, name)
        columns = {key: values[:, :1] for key, values in found.columns.items()}
        return replace(found, classes={1: "disc"}, status=found.status[:, :1], columns=columns)

    monkeypatch.setattr("flexseg.report.repaired.read_results", one_class)
    comparison = compare_with_original(run, run / "evaluation")
    assert [s.class_name for s in comparison.scores] == ["disc", "disc"]
    assert ": Dice 0." in comparison.verdict


def test_command_on_the_config(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_repaired_run(tmp_path)
    assert flexseg("report", tmp_path / "config.toml", "--repair", "--no-audit") == 0
    assert "The repaired config is better" in capsys.readouterr().out
    assert (run / "report.html").is_file()
    assert not (run.parent / "report.html").exists()
    assert flexseg("report", tmp_path / "config.toml", "--no-audit") == 0
    assert "The repaired config" not in capsys.readouterr().out
