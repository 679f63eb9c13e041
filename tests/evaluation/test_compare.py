"""Comparisons of runs: known differences, ties, refusals, and the files."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from flexseg.cli import main
from flexseg.errors import ConfigError, DataError
from flexseg.evaluation.aggregate import bootstrap_means, interval
from flexseg.evaluation.compare import MACRO, Comparison, compare
from flexseg.evaluation.compare_files import write_comparison
from flexseg.evaluation.paired_tests import signed_rank_p
from flexseg.outputs import write_csv, write_json
from flexseg.runs.evaluations import Results, names_of, read_results

NAN = float("nan")


def results(name: str, scores: np.ndarray, metric: str = "dice", **keys: object) -> Results:
    """Results of one run, scores [cases, classes]; NaN: the class is not in the reference."""
    scores = np.asarray(scores, float)
    count, classes = scores.shape
    status = np.where(np.isnan(scores), "absent", "scored")
    fields = {
        "cases": tuple(f"c{i:03d}" for i in range(count)),
        "groups": tuple(f"c{i:03d}" for i in range(count)),
        "classes": {i + 1: f"k{i + 1}" for i in range(classes)},
        "status": status,
        "columns": {metric: scores},
        "summary": {},
    }
    return Results(name, Path(name), **{**fields, **keys})  # type: ignore[arg-type]


@pytest.fixture
def scores() -> np.ndarray:
    return np.random.default_rng(0).beta(8, 2, (60, 2))


def write_run(folder: Path, scores: np.ndarray, first: int = 0, **summary: object) -> Path:
    """A run's folder with an evaluation of one class."""
    (folder / "evaluation").mkdir(parents=True)
    header = ("case", "group", "class_id", "class", "status", "dice", "reference_px")
    rows = [
        (f"c{i}", f"c{i}", 1, "disc", "scored", round(float(v), 6), 100)
        for i, v in enumerate(scores, start=first)
    ]
    write_csv(folder / "evaluation/cases.csv", header, rows)
    write_json(folder / "evaluation/summary.json", summary)
    return folder


class TestDifferences:
    def test_constant_shift(self, scores: np.ndarray) -> None:
        c = compare([results("a", scores), results("b", scores - 0.03)])
        for name in ("k1", "k2", MACRO):
            d = c.difference("a", "b", name)
            assert d.mean == pytest.approx(-0.03) and d.ci95 == pytest.approx((-0.03, -0.03))
            assert (d.better, d.worse, d.equal, d.cases) == (0, 60, 0, 60)
            assert d.p is not None and d.p < (1e-3 if name == MACRO else 1e-9)
        assert [(s.name, s.rank) for s in c.standings] == [("a", 1), ("b", 2)]

    def test_interval_is_the_bootstrap_of_the_paired_differences(self, scores: np.ndarray) -> None:
        other = scores + np.random.default_rng(1).normal(0.01, 0.05, scores.shape)
        d = compare([results("a", scores), results("b", other)]).difference("a", "b", "k1")
        change = (other - scores)[:, :1]
        expected = interval(bootstrap_means(change, [str(i) for i in range(60)])[:, 0])
        assert d.mean == pytest.approx(change.mean())
        assert expected is not None and d.ci95 == pytest.approx(expected, abs=0.004)

    def test_macro_is_the_mean_of_class_means_where_classes_are_rare(self) -> None:
        a = np.full((10, 2), 0.5)
        a[2:, 1] = NAN
        b = a + np.array([0.1, 0.3])
        d = compare([results("a", a), results("b", b)]).difference("a", "b")
        assert d.mean == pytest.approx(0.2) and d.cases == 10

    def test_identical_runs_share_the_first_rank(self, scores: np.ndarray) -> None:
        c = compare([results("a", scores), results("b", scores)])
        d = c.difference("a", "b")
        assert d.mean == 0 and d.p == 1 and d.equal == 60
        assert [s.rank for s in c.standings] == [1, 1]
        assert c.standings[0].not_told_apart == ["b"]

    def test_cases_of_one_group_are_no_independent_proof(self) -> None:
        """4 patients of 20 slices, each better or worse as a whole: nothing is proven."""
        rng = np.random.default_rng(3)
        effect = np.repeat([0.06, 0.05, -0.03, 0.04], 20)[:, None]
        a = rng.uniform(0.6, 0.8, (80, 1))
        b = a + effect + rng.normal(0, 0.002, a.shape)
        groups = tuple(f"p{i // 20}" for i in range(80))
        by_slice = compare([results("a", a), results("b", b)]).difference("a", "b")
        c = compare([results("a", a, groups=groups), results("b", b, groups=groups)])
        by_patient = c.difference("a", "b")
        assert by_slice.p is not None and by_slice.p < 0.001
        assert by_patient.p is not None and by_patient.p > 0.1 and by_patient.groups == 4
        assert [s.rank for s in c.standings] == [1, 1]
        assert any("cannot give p < 0.05" in note for note in c.notes)

    def test_less_is_better_for_distances(self, scores: np.ndarray) -> None:
        runs = [results("a", scores, "hd95"), results("b", scores - 0.1, "hd95")]
        c = compare(runs, "hd95")
        assert c.standings[0].name == "b" and c.standings[1].rank == 2
        assert c.difference("a", "b").better == 60

    def test_sign_of_area_error_does_not_matter(self) -> None:
        a, b = np.full((8, 1), -0.2), np.full((8, 1), 0.2)
        c = compare([results("a", a, "area_error"), results("b", b, "area_error")], "area_error")
        assert c.difference("a", "b").mean == 0

    def test_false_positives_are_in_no_mean_but_counted(self) -> None:
        a, b = np.full((8, 1), 0.8), np.full((8, 1), 0.8)
        status = np.full((8, 1), "scored", dtype="<U16")
        false, absent = status.copy(), status.copy()
        false[0], absent[0] = "false positive", "absent"
        a[0], b[0] = 0.0, NAN
        c = compare([results("a", a, status=false), results("b", b, status=absent)])
        assert c.difference("a", "b").cases == 7
        by_name = {s.name: s for s in c.standings}
        assert by_name["a"].false_positive == {"k1": 1} and by_name["b"].false_positive == {"k1": 0}

    def test_missed_object_has_precision_0(self) -> None:
        a, b = np.full((8, 1), 0.8), np.full((8, 1), 0.8)
        b[0] = NAN
        status = np.full((8, 1), "scored", dtype="<U16")
        status[0] = "missed"
        runs = [results("a", a, "precision"), results("b", b, "precision", status=status)]
        assert compare(runs, "precision").difference("a", "b").mean == pytest.approx(-0.1)

    def test_order_of_the_cases_does_not_matter(self, scores: np.ndarray) -> None:
        a, b = results("a", scores), results("b", scores + 0.01)
        turned = results(
            "b",
            (scores + 0.01)[::-1],
            cases=b.cases[::-1],
            groups=b.groups[::-1],
        )
        assert compare([a, turned]).differences == compare([a, b]).differences


class TestFewGroups:
    def test_class_of_one_group_decides_nothing(self) -> None:
        """A gain of 0.5 in the one case that has the class is no proof."""
        rng = np.random.default_rng(0)
        a = np.full((60, 2), 0.5)
        a[1:, 1] = NAN
        b = a + rng.normal(0, 0.02, a.shape)
        b[0, 1] = 1.0
        c = compare([results("a", a), results("b", b)])
        rare, common, macro = (c.difference("a", "b", name) for name in ("k2", "k1", MACRO))
        assert (rare.mean, rare.ci95, rare.groups) == (pytest.approx(0.5), None, 1)
        assert macro.ci95 is not None
        assert (macro.mean, macro.ci95, macro.p) == (common.mean, common.ci95, common.p)
        assert [s.rank for s in c.standings] == [1, 1]
        assert c.standings[0].not_told_apart and not c.standings[0].no_interval
        assert any("Only one group has k2" in note for note in c.notes)
        assert any("k2 (1)." in note and "k1" not in note for note in c.notes)

    def test_no_interval_is_no_tie(self, scores: np.ndarray) -> None:
        groups = ("patient",) * 60
        runs = [results(n, scores + d, groups=groups) for n, d in (("a", 0), ("b", 0.1))]
        c = compare(runs)
        d = c.difference("a", "b")
        assert (d.mean, d.ci95, d.p) == (pytest.approx(0.1), None, None)
        assert [s.rank for s in c.standings] == [1, 1]
        assert [(s.not_told_apart, s.no_interval) for s in c.standings] == [
            ([], ["a"]),
            ([], ["b"]),
        ]
        assert any("not necessarily alike" in note for note in c.notes)

    def test_groups_are_counted_by_class(self, scores: np.ndarray) -> None:
        a = scores.copy()
        a[4:, 1] = NAN
        c = compare([results("a", a), results("b", a - 0.01)])
        few, small = (n for n in c.notes if "independent groups" in n)
        assert "cannot give p < 0.05" in few
        assert all("k2 (4)." in note and "k1" not in note for note in (few, small))


class TestTestAndIntervalAgree:
    def test_rare_class_has_its_weight_in_p(self) -> None:
        """The common class gains a little in 54 groups, the rare one loses and wins much in 6
        others: nearly all cases are better, but nothing is known of the mean of classes."""
        a = np.full((60, 2), NAN)
        a[:54, 0], a[54:, 1] = 0.6, 0.5
        b = a + np.random.default_rng(1).normal(0.02, 0.005, a.shape)
        b[54:, 1] += (0.4, -0.4, 0.3, -0.3, 0.2, -0.2)
        d = compare([results("a", a), results("b", b)]).difference("a", "b")
        by_case = np.nanmean(b - a, axis=1)
        p_by_case = signed_rank_p(by_case)
        assert d.p is not None and d.p > 0.5
        assert p_by_case is not None and p_by_case < 1e-6
        assert d.ci95 is not None and d.ci95[0] < 0 < d.ci95[1]

    def test_p_of_the_mean_has_its_direction(self) -> None:
        """6 great losses in the rare class are proof, whatever 54 small gains say."""
        a = np.full((60, 2), NAN)
        a[:54, 0], a[54:, 1] = 0.6, 0.8
        b = a + np.array([0.005, -0.4]) + np.random.default_rng(1).normal(0, 0.02, a.shape)
        d = compare([results("a", a), results("b", b)]).difference("a", "b")
        assert d.mean == pytest.approx(-0.2, abs=0.02)
        assert d.p == pytest.approx(2 / 2**6, abs=0.01)

    def test_groups_weigh_by_their_cases_as_in_the_mean(self) -> None:
        change = np.array([0.1] * 10 + [-0.01, -0.02])[:, None]
        a = np.full((12, 1), 0.5)
        groups = ("p0",) * 10 + ("p1", "p2")
        d = compare(
            [results("a", a, groups=groups), results("b", a + change, groups=groups)]
        ).difference("a", "b")
        assert d.mean == pytest.approx((1.0 - 0.03) / 12)
        assert d.p == signed_rank_p(np.array([1.0, -0.01, -0.02]))

    def test_one_class_and_its_mean_have_one_p(self, scores: np.ndarray) -> None:
        one = scores[:, :1]
        other = one + np.random.default_rng(2).normal(0.01, 0.03, one.shape)
        c = compare([results("a", one), results("b", other)])
        assert c.difference("a", "b", "k1").p == c.difference("a", "b").p


class TestManyRuns:
    def test_ranks_count_the_runs_that_are_clearly_better(self, scores: np.ndarray) -> None:
        noise = np.random.default_rng(5).normal(0, 0.05, scores.shape)
        runs = [
            results("low", scores - 0.1),
            results("high", scores),
            results("also high", scores + noise - noise.mean(axis=0)),
        ]
        c = compare(runs)
        assert {s.name: s.rank for s in c.standings} == {"low": 3, "high": 1, "also high": 1}
        for d in c.differences:
            assert d.p is not None and d.p_holm is not None and d.p <= d.p_holm
        assert len(c.differences) == 3 * 3


class TestRefusals:
    def test_one_run(self, scores: np.ndarray) -> None:
        with pytest.raises(ConfigError, match="One run"):
            compare([results("a", scores)])

    def test_unknown_metric(self, scores: np.ndarray) -> None:
        runs = [results("a", scores), results("b", scores)]
        with pytest.raises(ConfigError, match="'dise' is not a metric"):
            compare(runs, "dise")
        with pytest.raises(ConfigError, match="a has no nsd; it has dice"):
            compare(runs, "nsd")

    def test_other_cases_are_named(self, scores: np.ndarray) -> None:
        a, b = results("a", scores), results("b", scores[:59])
        with pytest.raises(DataError, match=r"1 are missing \(c059\)"):
            compare([a, b])
        with pytest.raises(DataError, match=r"1 that b lacks \(c059\)"):
            compare([b, a])

    def test_other_classes_are_named(self, scores: np.ndarray) -> None:
        b = results("b", scores, classes={1: "k1", 2: "tumor"})
        with pytest.raises(DataError, match="2 tumor"):
            compare([results("a", scores), b])

    def test_other_groups(self, scores: np.ndarray) -> None:
        b = results("b", scores, groups=("p",) * 60)
        with pytest.raises(DataError, match="60 cases are in other groups"):
            compare([results("a", scores), b])

    def test_other_reference_masks(self, scores: np.ndarray) -> None:
        sizes = np.full(scores.shape, 100.0)
        other = sizes.copy()
        other[7, 0] = 99
        a = results("a", scores, columns={"dice": scores, "reference_px": sizes})
        b = results("b", scores, columns={"dice": scores, "reference_px": other})
        with pytest.raises(DataError, match=r"another reference mask .* c007"):
            compare([a, b])

    def test_other_unit(self, scores: np.ndarray) -> None:
        a = results("a", scores, "hd95", summary={"units": "mm"})
        b = results("b", scores, "hd95", summary={"units": "px"})
        with pytest.raises(DataError, match="units = px, but in a with mm"):
            compare([a, b], "hd95")

    @pytest.mark.parametrize(
        ("text", "what"),
        [
            ("", "lacks the column 'case'"),
            ("case,group,class_id,class,status,dice\n", "has no cases"),
            ("case,group,class_id,class,status,dice\na,a,1,x,scored\n", "line 2"),
            ("case,group,class_id,class,status,dice\na,a,one,x,scored,0.5\n", "'one'"),
            ("case,group,class_id,class,status,dice\na,a,1,x,scored,high\n", "'high'"),
            (
                "case,group,class_id,class,status,dice\na,a,1,x,scored,1\nb,b,2,y,scored,1\n",
                "2 rows",
            ),
            ("case,group,class_id,class,status,dice\n" + "a,a,1,x,scored,1\n" * 2, "2 rows"),
        ],
    )
    def test_damaged_table(self, tmp_path: Path, text: str, what: str) -> None:
        (tmp_path / "cases.csv").write_text(text, encoding="utf-8")
        with pytest.raises(DataError, match=what):
            read_results(tmp_path)

    def test_no_evaluation_yet(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="nothing made by flexseg"):
            read_results(tmp_path)
        with pytest.raises(ConfigError, match="no such file or folder"):
            read_results(tmp_path / "nowhere")
        (tmp_path / "run.json").touch()
        with pytest.raises(DataError, match="flexseg evaluate"):
            read_results(tmp_path)

    def test_damaged_summary(self, tmp_path: Path) -> None:
        run = write_run(tmp_path / "a", np.ones(3))
        (run / "evaluation/summary.json").write_text("{", encoding="utf-8")
        with pytest.raises(DataError, match="cannot be read"):
            read_results(run)


class TestFiles:
    @pytest.fixture
    def comparison(self, scores: np.ndarray) -> Comparison:
        noise = np.random.default_rng(2).normal(0.02, 0.05, scores.shape)
        return compare([results("a", scores), results("b", np.clip(scores + noise, 0, 1))])

    def test_content(self, comparison: Comparison, tmp_path: Path) -> None:
        write_comparison(comparison, tmp_path)
        content = json.loads((tmp_path / "comparison.json").read_text(encoding="utf-8"))
        assert content["metric"] == "dice" and content["cases"] == 60
        assert {r["name"] for r in content["ranking"]} == {"a", "b"}
        with (tmp_path / "comparison.csv").open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert [row["class"] for row in rows] == ["k1", "k2", MACRO]
        expected = comparison.difference("a", "b", "k2").mean
        assert expected is not None and float(rows[1]["difference"]) == pytest.approx(
            expected, abs=1e-6
        )
        with (tmp_path / "comparison_cases.csv").open(encoding="utf-8") as file:
            cases = list(csv.DictReader(file))
        assert len(cases) == 120
        assert float(cases[0]["b - a"]) == pytest.approx(
            float(cases[0]["b"]) - float(cases[0]["a"]), abs=1e-6
        )
        assert (tmp_path / "comparison.png").read_bytes().startswith(b"\x89PNG")

    def test_earlier_files_move_aside(self, comparison: Comparison, tmp_path: Path) -> None:
        write_comparison(comparison, tmp_path)
        write_comparison(comparison, tmp_path)
        assert len(list(tmp_path.glob("*_bak"))) == 4


class TestCommand:
    def test_two_runs(
        self, tmp_path: Path, scores: np.ndarray, capsys: pytest.CaptureFixture[str]
    ) -> None:
        a = write_run(tmp_path / "a", scores[:, 0])
        b = write_run(tmp_path / "b", scores[:, 0] - 0.05)
        with pytest.raises(SystemExit) as caught:
            main(["compare", str(a), str(b / "evaluation"), "-o", str(tmp_path / "out")])
        assert not caught.value.code
        shown = " ".join(capsys.readouterr().out.split())
        assert "a is better than b" in shown and "-0.0500" in shown
        assert "cannot tell" not in shown
        assert (tmp_path / "out/comparison.json").is_file()

    def test_too_few_groups_read_differently_from_a_tie(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        runs = [str(write_run(tmp_path / n, np.array([v]))) for n, v in (("a", 0.5), ("b", 0.9))]
        with pytest.raises(SystemExit):
            main(["compare", *runs, "-o", str(tmp_path / "out")])
        shown = " ".join(capsys.readouterr().out.split())
        assert "Too few groups for an interval" in shown and "cannot tell" not in shown
        runs.append(str(write_run(tmp_path / "c", np.array([0.7]))))
        with pytest.raises(SystemExit):
            main(["compare", *runs, "-o", str(tmp_path / "out")])
        assert "too few groups" in capsys.readouterr().out

    def test_json(
        self, tmp_path: Path, scores: np.ndarray, capsys: pytest.CaptureFixture[str]
    ) -> None:
        runs = [str(write_run(tmp_path / n, scores[:, 0])) for n in ("a", "b", "c")]
        with pytest.raises(SystemExit):
            main(["compare", *runs, "-o", str(tmp_path / "out"), "--json"])
        content = json.loads(capsys.readouterr().out)
        assert [r["rank"] for r in content["ranking"]] == [1, 1, 1]

    def test_refusals_have_exit_codes(self, tmp_path: Path, scores: np.ndarray) -> None:
        a = write_run(tmp_path / "a", scores[:, 0])
        b = write_run(tmp_path / "b", scores[:, 0], first=1)
        for arguments, code in (([a, a], 2), ([a, b], 3), ([a, tmp_path / "no"], 2), ([a], 2)):
            with pytest.raises(SystemExit) as caught:
                main(["compare", *map(str, arguments), "-o", str(tmp_path / "out")])
            assert caught.value.code == code
        assert not (tmp_path / "out").exists()


def test_names_are_the_shortest_that_differ(tmp_path: Path) -> None:
    assert names_of([tmp_path / "x/a", tmp_path / "y/a/evaluation"]) == ["x/a", "y/a"]
    assert names_of([tmp_path / "a", tmp_path / "b"]) == ["a", "b"]
