"""Reading evaluations, also of older versions; failures and the choice of cases."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexseg.report.evaluated import choose_cases, find_failures, read_evaluation
from flexseg.report.sources import find_source
from flexseg.report.structure import CaseScore
from sample_run import write_sample_run


def score(case: str, dice: float | None, status: str = "scored", **values: float) -> CaseScore:
    return CaseScore(case, case, 1, "disc", status, {"dice": dice, **values})


class TestReadEvaluation:
    def test_sample(self, tmp_path: Path) -> None:
        e = read_evaluation(find_source(write_sample_run(tmp_path)))
        assert e is not None
        assert (e.cases, e.groups, len(e.scores)) == (12, 12, 24)
        disc, square = e.classes
        assert (disc.name, disc.missed, disc.cases_with_reference) == ("disc <round>", 1, 12)
        assert (square.missed, square.cases_with_empty_reference, square.false_positive) == (
            0,
            1,
            1,
        )
        dice = disc.statistics["dice"]
        assert dice.mean is not None
        assert dice.ci95 is not None
        assert dice.ci95[0] < dice.mean < dice.ci95[1]
        assert next(iter(disc.statistics)) == "dice"
        assert e.calibration is not None
        assert e.calibration.bins[0].confidence is None

    def test_an_evaluation_of_the_first_version(self, tmp_path: Path) -> None:
        """Before there were distances, lesions, confusion and calibration."""
        statistics = {"mean": 0.5, "ci95": None, "median": 0.5, "min": 0.1}
        summary = {
            "cases": 1,
            "groups": 1,
            "classes": [
                {"id": 1, "name": "disc", "cases_with_reference": 1, "missed": 0,
                 "false_positive": 0, "dice": statistics, "iou": {"mean": None, "ci95": None}}
            ],
            "macro": {"dice": {"mean": 0.5, "ci95": None}},
            "not_comparable_with_the_above": None,
        }  # fmt: skip
        (tmp_path / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
        (tmp_path / "cases.csv").write_text(
            "case,group,class_id,class,status,dice\na,a,1,disc,scored,0.5\nb,b,1,disc,absent,\n",
            encoding="utf-8",
        )
        source = find_source(tmp_path)
        e = read_evaluation(source)
        assert e is not None
        (disc,) = e.classes
        assert list(disc.statistics) == ["dice"]
        assert disc.lesions is None
        assert [s.dice for s in e.scores] == [0.5, None]
        assert [m.what for m in source.missing] == [
            "confusion between classes",
            "reliability of probabilities",
        ]


class TestFailures:
    def test_kinds_in_order_of_gravity(self) -> None:
        scores = [
            score("weak", 0.2),
            score("lost", 0.8, lesions_missed=2.0, reference_lesions=5.0),
            score("ghost", 0.0, "false positive", predicted_px=30.0),
            score("missed", 0.0, "missed", reference_px=100.0),
            score("fine", 0.9, lesions_missed=0.0),
            score("absent", None, "absent"),
        ]
        found = find_failures(scores)
        assert [(f.kind, f.case) for f in found] == [
            ("missed", "missed"),
            ("false positive", "ghost"),
            ("lesions missed", "lost"),
            ("weak overlap", "weak"),
        ]
        assert [f.what for f in found] == [
            "nothing predicted; 100 px in the reference",
            "30 px predicted; none are there",
            "2 of 5 objects not found (Dice 0.800)",
            "Dice 0.200",
        ]

    def test_the_worst_of_a_kind_is_first(self) -> None:
        """A case's only object that is marked badly is weak overlap, not an object of several."""
        only = {"lesions_missed": 1.0, "reference_lesions": 1.0}
        scores = [score("a", 0.6, **only), score("b", 0.4, **only), score("c", 0.3, **only)]
        found = [(f.case, f.what) for f in find_failures(scores)]
        assert found == [
            ("a", "1 of 1 object not found (Dice 0.600)"),
            ("c", "Dice 0.300"),
            ("b", "Dice 0.400"),
        ]


class TestChooseCases:
    def test_worst_median_best(self) -> None:
        chosen = choose_cases([score(f"c{i:02d}", i / 20) for i in range(21)])
        by_role: dict[str, list[str]] = {}
        for shown in chosen:
            by_role.setdefault(shown.role, []).append(shown.case)
        assert by_role == {
            "worst": ["c00", "c01", "c02"],
            "median": ["c09", "c10"],
            "best": ["c19", "c20"],
        }

    def test_the_worst_of_each_class_is_there(self) -> None:
        scores = []
        for i in range(30):
            scores.append(
                CaseScore(
                    f"c{i:02d}", "", 1, "large", "scored", {"dice": 1.0 if i == 20 else i / 60}
                )
            )
            rare = 0.1 if i == 20 else 0.9
            scores.append(CaseScore(f"c{i:02d}", "", 2, "rare", "scored", {"dice": rare}))
        assert ("worst for rare", "c20") in [(c.role, c.case) for c in choose_cases(scores)]

    @given(st.lists(st.one_of(st.none(), st.floats(0, 1)), max_size=30))
    def test_no_case_twice_and_none_undefined(self, values: list[float | None]) -> None:
        chosen = choose_cases([score(f"c{i}", v) for i, v in enumerate(values)])
        defined = {f"c{i}" for i, v in enumerate(values) if v is not None}
        names = [c.case for c in chosen]
        assert len(set(names)) == len(names) == min(len(defined), len(names))
        assert set(names) <= defined
        if defined:
            assert chosen[0].mean_dice == pytest.approx(min(v for v in values if v is not None))
