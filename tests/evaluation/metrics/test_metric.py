"""What holds of every metric, and that one entry is all that a new one needs."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from rich.console import Console

from config_parts import labels_of
from flexseg.cli.printing import print_scores
from flexseg.config.schema import Experiment
from flexseg.dataset.cases import Case
from flexseg.evaluation.case_scores import CaseScores, case_columns, write_evaluation
from flexseg.evaluation.compare import compare
from flexseg.evaluation.metrics.counts import confusion, counts_by_class
from flexseg.evaluation.metrics.masks import MaskPair
from flexseg.evaluation.metrics.metric import (
    METRICS,
    Metric,
    all_metrics,
    count_metrics,
    register,
)
from flexseg.evaluation.scoring import Measures
from flexseg.evaluation.summary import EvaluationSummary
from flexseg.report.html import write_report
from flexseg.report.sources import find_source
from flexseg.runs.evaluations import read_results

Mask = NDArray[np.bool_]
Spacing = tuple[float, ...]
SPACINGS: tuple[Spacing, ...] = ((1.0, 1.0), (2.0, 0.5), (3.0, 1.0, 1.5))
LARGE, SMALL = 40.0, 30.0
TOLERANCE = 2.0
CLAIMED = 0.001  # probability outside of the prediction; 1 - CLAIMED inside
NAMES = [metric.name for metric in all_metrics()]


def _ball(spacing: Spacing, radius: float, shift: float = 0.0, half: float = 60.0) -> Mask:
    """A ball of `radius` mm, `shift` mm along the last axis from the middle of a cube."""
    axes = [np.arange(-half, half + step / 2, step) for step in spacing]
    *others, last = np.meshgrid(*axes, indexing="ij")
    return sum(axis**2 for axis in others) + (last - shift) ** 2 <= radius**2


def _pair(
    reference: Mask, prediction: Mask, spacing: Spacing, tolerance: float = TOLERANCE
) -> MaskPair:
    ids = (mask.astype(np.uint8) for mask in (reference, prediction))
    counts = counts_by_class(confusion(*ids, 2))[1]
    probability = np.where(prediction, 1 - CLAIMED, CLAIMED).astype(np.float32)
    return MaskPair(reference, prediction, counts, spacing, tolerance, probability)


@dataclass(frozen=True)
class Concentric:
    """What is known of a ball in a larger one."""

    spacing: Spacing

    @property
    def share(self) -> float:
        """Of the large one that the small one takes."""
        return float((SMALL / LARGE) ** len(self.spacing))

    @property
    def lacking(self) -> float:
        """Share of the image that is missing."""
        large, small = (_ball(self.spacing, radius) for radius in (LARGE, SMALL))
        return float((large & ~small).mean())

    @property
    def marked(self) -> float:
        """Share of the image that is predicted."""
        return float(_ball(self.spacing, SMALL).mean())


# The answers for a prediction of radius SMALL in a reference of radius LARGE.
KNOWN: dict[str, Callable[[Concentric], float]] = {
    "dice": lambda c: 2 * c.share / (1 + c.share),
    "iou": lambda c: c.share,
    "precision": lambda c: 1,
    "recall": lambda c: c.share,
    "specificity": lambda c: 1,
    "hd95": lambda c: LARGE - SMALL,
    "assd": lambda c: LARGE - SMALL,
    "nsd": lambda c: 0,
    "area_error": lambda c: c.share - 1,
    "lesion_precision": lambda c: float(c.share >= 0.5),
    "lesion_recall": lambda c: float(c.share >= 0.5),
    "lesion_f1": lambda c: float(c.share >= 0.5),
    "brier": lambda c: CLAIMED**2 + (1 - 2 * CLAIMED) * c.lacking,
    "ece": lambda c: CLAIMED * c.marked + abs(c.lacking - CLAIMED * (1 - c.marked)),
}


@pytest.mark.parametrize("spacing", SPACINGS, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_known_answer(name: str, spacing: Spacing) -> None:
    pair = _pair(_ball(spacing, LARGE), _ball(spacing, SMALL), spacing)
    expected = KNOWN[name](Concentric(spacing))
    tolerance = max(spacing) if METRICS.get(name).unit == "distance" else 0.03
    assert METRICS.get(name).of(pair) == pytest.approx(expected, abs=tolerance)


@pytest.mark.parametrize("spacing", SPACINGS, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_a_better_prediction_scores_better(name: str, spacing: Spacing) -> None:
    """Closer outlines, nothing missed and nothing invented, against all of these errors."""
    metric = METRICS.get(name)
    reference = _ball(spacing, 15, 30) | _ball(spacing, 15, -30)
    good = _ball(spacing, 15, 33) | _ball(spacing, 15, -33)
    bad = _ball(spacing, 15, 38) | _ball(spacing, 6)
    better, worse = (metric.of(_pair(reference, found, spacing)) for found in (good, bad))
    if metric.better == "near 0":
        better, worse = abs(better), abs(worse)
    assert metric.sign * better > metric.sign * worse


@pytest.mark.parametrize("spacing", SPACINGS, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_unit(name: str, spacing: Spacing) -> None:
    """Distances grow with the spacing, shares do not."""
    metric = METRICS.get(name)
    masks = _ball(spacing, 20), _ball(spacing, 15, 9)
    value = metric.of(_pair(*masks, spacing))
    twice = metric.of(_pair(*masks, tuple(2 * step for step in spacing), 2 * TOLERANCE))
    assert twice == pytest.approx(2 * value if metric.unit == "distance" else value)
    assert value >= (-1 if metric.unit == "signed share" else 0)
    assert metric.unit == "distance" or value <= 1
    if metric.unit == "distance":
        assert {"units", "spacing"} <= set(metric.settings)


class TestEmptyMasks:
    something = _ball((1.0, 1.0), 10)
    nothing = np.zeros_like(something)

    @pytest.mark.parametrize("name", NAMES)
    def test_neither_has_the_class(self, name: str) -> None:
        metric = METRICS.get(name)
        value = metric.of(_pair(self.nothing, self.nothing, (1.0, 1.0)))
        assert _is(value, metric.absent)
        assert math.isnan(_counted(metric, value, "absent"))

    @pytest.mark.parametrize("name", NAMES)
    def test_only_the_prediction_has_it(self, name: str) -> None:
        metric = METRICS.get(name)
        value = metric.of(_pair(self.nothing, self.something, (1.0, 1.0)))
        assert _is(value, metric.false_positive)
        assert math.isnan(_counted(metric, value, "false positive"))

    @pytest.mark.parametrize("name", NAMES)
    def test_a_missed_object_counts_as_badly_as_can_be(self, name: str) -> None:
        metric = METRICS.get(name)
        missed = _pair(self.something, self.nothing, (1.0, 1.0))
        value = metric.of(missed)
        assert _is(value, missed.diagonal if metric.missed == "diagonal" else metric.missed)
        counted = _counted(metric, value, "missed")
        assert math.isfinite(counted)
        if metric.family in ("surface", "objects") or name in (
            "dice",
            "iou",
            "precision",
            "recall",
        ):
            bounds = {"higher": 0.0, "lower": missed.diagonal}
            assert counted == bounds[metric.better]


def _is(value: float, declared: float | str | None) -> bool:
    """Whether a value is the declared one; any defined one where none is declared."""
    if declared is None:
        return math.isfinite(value)
    return value == declared or (math.isnan(value) and math.isnan(float(declared)))


def _counted(metric: Metric, value: float, status: str) -> float:
    return float(metric.counted(np.array([value]), np.array([status]))[0])


class TestFacts:
    def test_columns_and_labels_are_unique(self) -> None:
        for names in (
            case_columns(volumes=True),
            [metric.label_of(volumes=False) for metric in all_metrics()],
            [metric.label_of(volumes=True) for metric in all_metrics()],
        ):
            assert len(set(names)) == len(names)

    @pytest.mark.parametrize("name", NAMES)
    def test_readers_are_told(self, name: str) -> None:
        metric = METRICS.get(name)
        assert name == name.lower() and name.isidentifier()
        for volumes in (False, True):
            text = metric.label_of(volumes=volumes) + metric.meaning_of(volumes=volumes)
            assert metric.label and "{" not in text
            assert metric.meaning_of(volumes=volumes).endswith(".")
        assert len(metric.formula) > 5

    def test_volumes_have_other_words(self) -> None:
        error = METRICS.get("area_error")
        assert error.label_of(volumes=False) == "Area error"
        assert error.label_of(volumes=True) == "Volume error"

    @pytest.mark.parametrize("metric", count_metrics(), ids=lambda m: m.name)
    def test_pixel_counts_give_what_masks_give(self, metric: Metric) -> None:
        pair = _pair(_ball((1.0, 1.0), 20), _ball((1.0, 1.0), 15, 9), (1.0, 1.0))
        assert metric.of_counts(pair.counts) == metric.of(pair)

    def test_distances_need_masks(self) -> None:
        counts = _pair(_ball((1.0, 1.0), 20), _ball((1.0, 1.0), 15), (1.0, 1.0)).counts
        with pytest.raises(ValueError, match="hd95 needs more than pixel counts"):
            METRICS.get("hd95").of_counts(counts)

    def test_one_function(self) -> None:
        with pytest.raises(ValueError, match="empty needs a function"):
            Metric(
                "empty",
                "Empty",
                family="overlap",
                unit="share",
                better="higher",
                meaning="Nothing.",
            )


@pytest.fixture
def widest(monkeypatch: pytest.MonkeyPatch) -> Iterator[Metric]:
    """A new metric: how far the widths of both boxes differ."""
    for store in ("_entries", "_aliases", "_spellings"):
        monkeypatch.setattr(METRICS, store, dict(getattr(METRICS, store)))

    def width_error(pair: MaskPair) -> float:
        """abs(width of prediction - width of reference)."""
        widths = [np.ptp(np.nonzero(mask)[-1]) + 1 for mask in (pair.reference, pair.prediction)]
        return float(abs(widths[0] - widths[1]) * pair.spacing[-1])

    yield register(
        Metric(
            "width_error",
            "Width error",
            family="surface",
            unit="distance",
            better="lower",
            meaning="How much too wide or too narrow it is.",
            from_masks=width_error,
            missed="diagonal",
            settings=("units", "spacing"),
            terminal=0,
        )
    )


def test_one_entry_is_all_that_a_new_metric_needs(widest: Metric, tmp_path: Path) -> None:
    """It is in cases.csv, summary.json, compare, the report and the terminal."""
    labels = labels_of(Experiment())
    for run, extra in (("a", 1), ("b", 3)):
        scores = CaseScores(labels, Measures())
        for number in range(8):
            reference, prediction = np.zeros((2, 40, 60), np.uint8)
            reference[5:25, 5:25] = 1
            prediction[5:25, 5 : 25 + extra + number] = 1
            case = Case(f"case_{number}", tmp_path / "x.png", tmp_path / "x.png", f"g{number}")
            scores.add(case, reference, prediction)
        write_evaluation(scores, tmp_path / run, 200)
    rows = list(csv.DictReader((tmp_path / "a/cases.csv").open(encoding="utf-8")))
    assert [float(row["width_error"]) for row in rows] == list(range(1, 9))
    summary = json.loads((tmp_path / "a/summary.json").read_text(encoding="utf-8"))
    assert summary["classes"][0]["width_error"]["mean"] == 4.5
    assert summary["macro"]["width_error"]["mean"] == 4.5

    runs = [read_results(tmp_path / name, name) for name in ("a", "b")]
    comparison = compare(runs, "width_error")
    assert comparison.difference("a", "b").mean == 2
    assert [standing.name for standing in comparison.standings] == ["a", "b"]

    html, _, _ = write_report(find_source(tmp_path / "a"))
    page = html.read_text(encoding="utf-8")
    assert "Width error" in page
    assert "How much too wide or too narrow it is. Lower is better." in page

    terminal = Console(file=io.StringIO(), width=120)
    print_scores(terminal, EvaluationSummary.from_dict(summary))
    shown = terminal.file.getvalue()  # type: ignore[attr-defined]
    assert "Width error, px" in shown and "4.500" in shown
