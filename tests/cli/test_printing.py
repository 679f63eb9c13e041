"""What the terminal shows of scores."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from flexseg.cli.printing import print_scores
from flexseg.evaluation.case_scores import (
    CaseScores,
)
from labelled_boxes import a_case, boxes, sample_scores


@pytest.fixture
def scores() -> CaseScores:
    return sample_scores()


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
        (head,) = (line for line in shown.splitlines() if "HD95" in line)
        assert "HD95, px" in head and "NSD 2 px" in head and "Recall" in head
        assert ("Precision" in head) == (width == 100)
        (disc,) = (line for line in shown.splitlines() if line.strip().startswith("disc  "))
        assert "0.500" in disc

    def test_tells_of_missed_and_false_objects(self, scores: CaseScores) -> None:
        scores.add(a_case("two"), boxes(c1=(0, 0)) + boxes(c1=(0, 15)), boxes(c1=(0, 0)))
        scores.add(a_case("two more"), boxes(c1=(0, 0)) + boxes(c1=(0, 15)), boxes(c1=(10, 0)))
        shown = " ".join(self._shown(scores.summary(100), 100).split())
        assert "disc: missed altogether in 1 of 5 cases." in shown
        assert (
            "disc: 2 of 7 separate objects found (by an IoU of 0.5 or more, small ones by their "
            "centres), 2 false ones (0.3 per case)." in shown
        )
        assert "square: absent from the reference of 6 cases (not in the means)" in shown
        assert "disc: failed. Dice 0.433 (95 % interval" in shown
        assert "; only 5 independent cases." in shown
        assert 'Few independent groups have these classes in their reference: "disc" (5).' in shown
