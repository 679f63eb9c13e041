"""Charts: well-formed, named, escaped, and every value where it belongs."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from flexseg.evaluation.aggregate import Statistic
from flexseg.evaluation.metrics.calibration import ReliabilityBin
from flexseg.evaluation.metrics.lesions import SizeBin
from flexseg.evaluation.summary import ClassSummary
from flexseg.report import plots
from flexseg.report.structure import CaseScore


def parsed(chart: Markup) -> ET.Element:
    root = ET.fromstring(str(chart))  # noqa: S314 - our own output
    assert root.get("role") == "img"
    assert root.get("aria-label")
    return root


def circles(root: ET.Element) -> list[tuple[float, float]]:
    return [(float(c.get("cx", "")), float(c.get("cy", ""))) for c in root.iter("circle")]


def test_curves_mark_the_best_epoch_and_break_no_markup() -> None:
    chart = plots.curves("<loss>", {"training": [3.0, 2.0, 1.0], "validation": [3.0, None, 2.0]}, 2)
    root = parsed(chart)
    assert [t.text for t in root.iter("text") if t.text == "best"] == ["best"]
    paths = [p.get("d", "") for p in root.iter("path")]
    assert [d.count("L") for d in paths] == [2, 1]
    assert root.get("aria-label") == "<loss>. Last values: training 1, validation 2."


def test_curves_without_values_are_nothing() -> None:
    assert plots.curves("loss", {"training": [None, None]}, None) == ""


@pytest.mark.parametrize("value", [0.001, 0.0, -2.0])
def test_a_constant_is_shown_against_zero(value: float) -> None:
    root = parsed(plots.curves("learning rate", {"training": [value] * 3}, None))
    assert "0" in [t.text for t in root.iter("text") if t.get("text-anchor") == "end"]


def test_a_single_epoch_is_a_dot() -> None:
    assert len(circles(parsed(plots.curves("loss", {"training": [1.0]}, 1)))) == 1


def scores(values: list[float], missed: int = 0) -> list[CaseScore]:
    rows = [CaseScore(f"c{i}", "", 1, "disc", "scored", {"dice": v}) for i, v in enumerate(values)]
    return rows + [
        CaseScore(f"m{i}", "", 1, "disc", "missed", {"dice": 0.0}) for i in range(missed)
    ]


def test_distribution_shows_every_case_and_the_quartiles() -> None:
    values = [0.1, 0.4, 0.5, 0.9]
    root = parsed(plots.distribution("disc", 1, scores(values, missed=2)))
    found = circles(root)
    assert len(found) == 4
    assert len([p for p in root.iter("path") if p.get("class") == "cross"]) == 2
    label = root.get("aria-label", "")
    assert f"Median {np.median([0, 0, *values]):.3f}" in label
    x = [x for x, _ in found]
    assert (x[3] - x[0]) / (x[1] - x[0]) == pytest.approx(0.8 / 0.3, rel=0.01)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=300))
def test_distribution_stays_inside(values: list[float]) -> None:
    root = parsed(plots.distribution("disc", 1, scores(values)))
    _, _, width, height = map(float, root.get("viewBox", "").split())
    assert all(0 < x < width and 0 < y < height for x, y in circles(root))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=50), st.floats(0, 1))
def test_quantiles_are_those_of_numpy(values: list[float], q: float) -> None:
    values.sort()
    assert plots._quantile(values, q) == pytest.approx(float(np.quantile(values, q)), abs=1e-12)


def test_many_cases_are_thinned_out() -> None:
    chart = plots.distribution("disc", 1, scores([i / 5000 for i in range(5000)]))
    assert len(circles(parsed(chart))) == 1200


def test_distribution_of_nothing() -> None:
    absent = CaseScore("a", "", 1, "disc", "absent", {"dice": None})
    assert plots.distribution("disc", 1, [absent]) == ""


def test_reliability_skips_empty_bins() -> None:
    bins = [
        ReliabilityBin(0.0, 0.5, None, None, 0),
        ReliabilityBin(0.5, 0.75, 0.6, 0.6, 100),
        ReliabilityBin(0.75, 1.0, 0.9, 0.7, 1000),
    ]
    root = parsed(plots.reliability(bins))
    assert len(circles(root)) == 2
    assert "at confidence 0.90 the accuracy is 0.70" in root.get("aria-label", "")
    assert plots.reliability(bins[:1]) == ""


def test_lesions_by_size() -> None:
    bins = [SizeBin(1, 10, 4, 1), SizeBin(10, 100, 0, 0), SizeBin(100, None, 2, 2)]
    root = parsed(plots.lesions_by_size("disc", 1, bins))
    widths = [float(r.get("width", "")) for r in root.iter("rect")]
    assert widths[0] / widths[1] == pytest.approx(0.25, rel=0.01)
    assert "from 100 px: 2 of 2" in root.get("aria-label", "")


def test_a_long_name_is_cut() -> None:
    statistic = Statistic(mean=0.5, ci95=(0.25, 0.75))
    classes = [ClassSummary(1, "x" * 90, (0, 255, 0), 3, 0, 3, 0, 0, {"dice": statistic})]
    root = parsed(plots.intervals(classes, "dice"))
    assert max(len(text.text or "") for text in root.iter("text")) <= 46
    assert "x" * 90 in root.get("aria-label", "")


def test_intervals() -> None:
    statistic = Statistic(mean=0.5, ci95=(0.25, 0.75))
    classes = [ClassSummary(1, "a & b", (0, 255, 0), 3, 0, 3, 0, 0, {"dice": statistic})]
    root = parsed(plots.intervals(classes, "dice"))
    ((x, _),) = circles(root)
    line = next(e for e in root.iter("line") if e.get("class") == "interval")
    assert x == pytest.approx((float(line.get("x1", "")) + float(line.get("x2", ""))) / 2, abs=0.2)
