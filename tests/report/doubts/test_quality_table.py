"""What the network said of the evaluated predictions."""

from __future__ import annotations

from pathlib import Path

import pytest

from flexseg.outputs import write_csv
from flexseg.report.html import write_report
from flexseg.report.sources import find_source
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
    assert "Of 3 predicted cases and classes 1 are green" in section
    assert "in 2 of 3 (66.7%)" in section
    assert "1 of 2 inputs are of another kind" in section
    assert "another kind: looks" in section and "as trained" in section
    assert '<span class="flag red">red</span>' in section
    assert "0.850 to 0.950" in section and "disc &lt;round&gt;" in section


def test_an_input_check_alone(run: Path) -> None:
    section = _section(run, [("test_00", 1, "disc <round>", "", "", "", "", "no", "")])
    assert "None of 1 inputs is of another kind" in section
    assert "learned by <code>flexseg tune-postprocessing</code>" in section
    assert "are green" not in section
