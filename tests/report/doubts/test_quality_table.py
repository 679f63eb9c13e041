"""What the network said of the evaluated predictions."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

from flexseg.outputs import write_csv
from flexseg.report.content import gather
from flexseg.report.html import write_report
from flexseg.report.sources import find_source
from flexseg.report.structure import QualityFacts
from sample_run import write_sample_run

HEADER = ("case", "class_id", "class", "dice", "dice_low", "dice_high", "flag", "foreign", "why")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sample_run(tmp_path_factory.mktemp("report"))


def _section(run: Path, rows: list[tuple[object, ...]]) -> str:
    write_csv(run / "evaluation/predictions.csv", HEADER, rows)
    html, _, _ = write_report(find_source(run))
    page = html.read_text(encoding="utf-8")
    if '<section id="quality"' not in page:
        return ""
    return page[page.index('<section id="quality"') :].split("</section>")[0]


def _quality(run: Path, rows: list[tuple[object, ...]]) -> QualityFacts:
    write_csv(run / "evaluation/predictions.csv", HEADER, rows)
    found = gather(find_source(run)).quality
    assert found is not None
    return found


def test_without_a_word_of_the_network_there_is_no_section(run: Path) -> None:
    assert _section(run, [("test_00", 1, "disc <round>", "", "", "", "", "", "")]) == ""


def test_intervals_flags_and_foreign_inputs(run: Path) -> None:
    """The disc of test_00 was missed: its Dice of 0 is out of the interval."""
    section = _section(
        run,
        [
            ("test_00", 1, "disc <round>", 0.9, 0.85, 0.95, "green", "no", ""),
            ("test_00", 2, "square", 0.9, 0, 1, "yellow", "no", ""),
            ("test_02", 1, "disc <round>", 0.4, 0.1, 1, "red", "yes", "looks"),
        ],
    )
    assert "Of 1 green prediction, 1 has a Dice below 0.8." in section
    assert "more than chance explains" not in section
    assert "in 2 of 3 (66.7%)" in section
    assert "1 of 2 inputs differs" in section
    cells = re.findall(r'<td class="number">([^<]*)</td>', section)
    assert cells == [*("1", "0.000", "1", "1"), *("1", "1.000", "0", "0") * 2]


def test_a_class_without_reference_counts_too(run: Path) -> None:
    """test_01 has no square, and was predicted to have one."""
    flagged = ("test_01", 2, "square", "", "", "", "green", "no", "")
    (green,) = _quality(run, [flagged]).flags
    assert (green.count, green.mean_dice, green.below_good) == (1, 0.0, 1)


@pytest.mark.parametrize(("right", "misleading"), [(1, True), (5, False)])
def test_green_that_does_not_hold_is_told(run: Path, right: int, *, misleading: bool) -> None:
    """Two of three: by chance in 2.8 % of such sets. Two of seven: in 15 %."""
    wrong = [("test_00", 1), ("test_01", 2)]
    good = [("test_00", 2), *((f"test_0{i}", c) for i in (2, 3) for c in (1, 2))]
    rows = [(*one, "x", 0.9, 0.85, 0.95, "green", "no", "") for one in [*wrong, *good[:right]]]
    with (run / "evaluation/cases.csv").open(encoding="utf-8", newline="") as file:
        dice = {(r["case"], int(r["class_id"])): r["dice"] for r in csv.DictReader(file)}
    assert all(float(dice[one]) >= 0.8 for one in good[:right])
    assert _quality(run, rows).misleading == misleading
    assert ("do not rely on green" in _section(run, rows)) == misleading


def test_an_input_check_alone(run: Path) -> None:
    section = _section(run, [("test_00", 1, "disc <round>", "", "", "", "", "no", "")])
    assert "None of 1 input differs" in section
    assert "learned by <code>flexseg tune-postprocessing</code>" in section
    assert "<table" not in section
