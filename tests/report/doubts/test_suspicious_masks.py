"""Suspicious annotations in the report."""

from __future__ import annotations

from pathlib import Path

import pytest

from flexseg.report.html import write_report
from flexseg.report.sources import find_source
from sample_run import add_review, write_sample_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sample_run(tmp_path_factory.mktemp("report"))


def test_without_a_review_there_is_no_section(run: Path) -> None:
    html, _, content = write_report(find_source(run))
    assert content.review is None and 'id="annotations"' not in html.read_text(encoding="utf-8")


def test_ranked_with_kind_evidence_and_picture(run: Path) -> None:
    add_review(run)
    html, _, content = write_report(find_source(run))
    assert content.review is not None and content.review.cases == 8
    assert not content.review.seen_in_training
    assert [(one.case, one.score) for one in content.review.suspicious] == [
        ("train_00", 9.5),
        ("train_01", 8.5),
    ]
    page = html.read_text(encoding="utf-8")
    section = page[page.index('<section id="annotations"') :].split("</section>")[0]
    assert "The annotation fits &lt;train_01&gt; better. Score 9.5." in section
    assert section.count('class="panel"') == 4  # image, reference, prediction, difference
    assert "predictions of networks that had not seen them. Look at each" in section
    assert "<summary>1 more</summary>" in section and "train_02" not in section


def test_a_picture_that_cannot_be_drawn_is_told(run: Path, tmp_path: Path) -> None:
    (run.parent / "data/train/masks/train_00.png").rename(tmp_path / "gone.png")
    _, _, content = write_report(find_source(run))
    (tmp_path / "gone.png").rename(run.parent / "data/train/masks/train_00.png")
    assert "pictures of some suspicious annotations" in [m.what for m in content.missing]


def test_a_damaged_review_is_told(run: Path) -> None:
    (run / "review/annotations.csv").write_text("case\na\n", encoding="utf-8")
    _, _, content = write_report(find_source(run))
    assert content.review is None
    assert "suspicious annotations" in [m.what for m in content.missing]
