"""Figures and tables of `quality.py`, from its records."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import binomtest, rankdata

Record = dict[str, Any]
Values = np.ndarray
DIVISIONS, BOOTSTRAPS = 20, 500
HOME, VALIDATION = "home", "validation"
WORST, GREEN_DICE = 0.1, 0.8


class Score(NamedTuple):
    """Of a case and class: expected Dice, mean entropy, Dice, and whether it is of the worst."""

    group: str
    expected: float
    entropy: float
    dice: float
    worst: bool


def print_all(
    found: Mapping[str, Mapping[str, Sequence[Record]]], seconds: Mapping[str, Sequence[Record]]
) -> None:
    """All tables.

    Parameters
    ----------
    found : set -> condition -> records.
    seconds : set -> seconds of each round.
    """
    both = {name: (parts[HOME], parts[VALIDATION]) for name, parts in found.items()}
    print_coverage(both)
    print_ranking(both)
    print_shifted(found)
    print("\n| set | images | infer, s | with the statement, s | more |\n|---|---|---|---|---|")
    for name, rounds in seconds.items():
        silent, told = (float(np.median([r[key] for r in rounds])) for key in ("silent", "told"))
        print(
            f"| {name} | {rounds[0]['images']} | {silent:.2f} | {told:.2f} | "
            f"{100 * (told / silent - 1):+.0f} % |"
        )


def calibrations(records: Sequence[Record]) -> dict[int, Any]:
    """Class -> its calibration on some records."""
    from flexseg.inference.trust.conformal import ClassCalibration

    return {
        c: ClassCalibration.of(
            np.array([r["signal"] for r in own]),
            np.array([r["dice"] for r in own]),
            np.array([r["predicted"] > 0 for r in own]),
            [r["group"] for r in own],
        )
        for c in sorted({r["class"] for r in records})
        for own in [[r for r in records if r["class"] == c]]
    }


def divisions(records: Sequence[Record]) -> Iterator[tuple[list[Record], list[Record]]]:
    """Random halves by group."""
    groups = sorted({r["group"] for r in records})
    for seed in range(DIVISIONS):
        order = np.random.default_rng(seed).permutation(groups)
        half = set(order[: len(order) // 2])
        yield (
            [r for r in records if r["group"] in half],
            [r for r in records if r["group"] not in half],
        )


def by_fold(
    home: Sequence[Record], validation: Sequence[Record]
) -> Iterator[tuple[list[Record], list[Record]]]:
    """Each fold's validation cases, and its out-of-fold ones."""
    for fold in sorted({r["fold"] for r in home}):
        yield (
            [r for r in validation if r["fold"] == fold],
            [r for r in home if r["fold"] == fold],
        )


# Where calibrations come from: records of out-of-fold and of validation cases -> parts.
WAYS: dict[str, Callable[..., Iterator[tuple[list[Record], list[Record]]]]] = {
    "out-of-fold, 20 divisions": lambda home, _: divisions(home),
    "the fold's validation": by_fold,
}


def covered(parts: Iterator[tuple[list[Record], list[Record]]]) -> tuple[list[bool], int]:
    """Whether each Dice of the tests lies in its interval; and how many cases and classes."""
    inside: list[bool] = []
    told: set[tuple[str, int]] = set()
    for calibration, test in parts:
        known = calibrations(calibration)
        for r in test:
            if r["class"] not in known:
                continue
            q = known[r["class"]].statement(r["signal"], predicted=r["predicted"] > 0)
            if q.low is not None:
                inside.append(q.low - 1e-9 <= r["dice"] <= q.high + 1e-9)
                told.add((r["case"], r["class"]))
    return inside, len(told)


def print_coverage(sets: Mapping[str, tuple[Sequence[Record], Sequence[Record]]]) -> None:
    """Coverage of the interval by where it was calibrated, by set and pooled."""
    print("\n| calibrated on | set | cases x classes | coverage | 95 % interval |")
    print("|---|---|---|---|---|")
    for way, parts_of in WAYS.items():
        every: list[bool] = []
        cases = 0
        for name, (home, validation) in sets.items():
            inside, count = covered(parts_of(home, validation))
            every, cases = every + inside, cases + count
            print_row(way, name, inside, count)
        print_row(way, "all", every, cases)


def print_row(way: str, name: str, inside: Sequence[bool], count: int) -> None:
    """A coverage with its binomial interval, of as many as there are cases and classes.

    Divisions share cases: they are no more evidence than these.
    """
    if not inside:
        print(f"| {way} | {name} | 0 | too few cases | |")
        return
    share = float(np.mean(inside))
    ends = binomtest(round(share * count), count).proportion_ci()
    print(f"| {way} | {name} | {count} | {share:.3f} | {ends.low:.3f} to {ends.high:.3f} |")


def print_ranking(sets: Mapping[str, tuple[Sequence[Record], Sequence[Record]]]) -> None:
    """How well the worst cases are known, by expected Dice and by mean entropy.

    The worst of a set are those of each class; of all sets, the worst of all.
    """
    print("\n| calibrated on | set | AUROC, expected Dice | AUROC, entropy | "
          "risk-coverage, expected Dice | entropy |\n|---|---|---|---|---|---|")  # fmt: skip
    for way, parts_of in WAYS.items():
        pooled: list[Score] = []
        for name, (home, validation) in sets.items():
            own = scores_of(name, home, parts_of(home, validation))
            pooled += own
            print_ranks(way, name, own)
        together = with_worst(pooled, [0] * len(pooled))
        print_ranks(way, "all", together)


def scores_of(
    name: str,
    records: Sequence[Record],
    parts: Iterator[tuple[list[Record], list[Record]]],
) -> list[Score]:
    """Of each case and class that something is expected of.

    The expected Dice is the mean over the parts in whose test the case is.
    """
    expected: dict[tuple[str, int], list[float]] = {}
    for calibration, test in parts:
        known = calibrations(calibration)
        for r in test:
            if r["class"] in known:
                q = known[r["class"]].statement(r["signal"], predicted=r["predicted"] > 0)
                if q.dice is not None:
                    expected.setdefault((r["case"], r["class"]), []).append(q.dice)
    told = [r for r in records if (r["case"], r["class"]) in expected]
    found = [
        Score(
            f"{name} {r['group']}",
            float(np.mean(expected[r["case"], r["class"]])),
            r["entropy"],
            r["dice"],
            worst=False,
        )
        for r in told
    ]
    return with_worst(found, [r["class"] for r in told])


def with_worst(scores: Sequence[Score], kinds: Sequence[int]) -> list[Score]:
    """The same, with the worst tenth of each kind marked."""
    of = np.array(kinds)
    dice = np.array([score.dice for score in scores])
    limits = {kind: float(np.quantile(dice[of == kind], WORST)) for kind in set(kinds)}
    return [
        score._replace(worst=score.dice <= limits[kind])
        for score, kind in zip(scores, kinds, strict=True)
    ]


def print_ranks(way: str, name: str, scores: Sequence[Score]) -> None:
    """A row of the ranking."""
    if not scores:
        print(f"| {way} | {name} | too few cases | | | |")
        return
    groups, columns = [s.group for s in scores], np.array([s[1:] for s in scores], float)
    risks, bad, loss = (1 - columns[:, 0], columns[:, 1]), columns[:, 3], 1 - columns[:, 2]
    cells = []
    for risk in risks:
        low, high = bootstrap(groups, risk, bad)
        cells.append(f"{auroc(risk, bad):.3f} ({low:.3f} to {high:.3f})")
    cells += [f"{area(risk, loss):.4f}" for risk in risks]
    print(f"| {way} | {name} | {' | '.join(cells)} |")


def auroc(risk: Values, bad: Values) -> float:
    """Probability that a bad case has the higher risk."""
    bad = bad.astype(bool)
    count, rest = int(bad.sum()), int((~bad).sum())
    if not count or not rest:
        return float("nan")
    return float((rankdata(risk)[bad].sum() - count * (count + 1) / 2) / (count * rest))


def area(risk: Values, loss: Values) -> float:
    """Mean loss of those kept, over all shares of cases that are kept (lowest risk first)."""
    ordered = loss[np.argsort(risk, kind="stable")]
    return float((ordered.cumsum() / np.arange(1, len(ordered) + 1)).mean())


def bootstrap(groups: Sequence[str], risk: Values, bad: Values) -> tuple[float, float]:
    """The 95 % interval of `auroc`, drawn by group."""
    places: dict[str, list[int]] = {}
    for i, group in enumerate(groups):
        places.setdefault(group, []).append(i)
    parts = [np.array(own) for own in places.values()]
    rng, found = np.random.default_rng(0), []
    for _ in range(BOOTSTRAPS):
        drawn = np.concatenate([parts[i] for i in rng.integers(0, len(parts), len(parts))])
        found.append(auroc(risk[drawn], bad[drawn]))
    low, high = np.nanpercentile(found, (2.5, 97.5)) if np.isfinite(found).any() else (np.nan,) * 2
    return float(low), float(high)


def print_shifted(sets: Mapping[str, Mapping[str, Sequence[Record]]]) -> None:
    """What is said of shifted cases, calibrated on all out-of-fold cases as they are."""
    from flexseg.dataset.acquisition import InputDoubt
    from flexseg.inference.results.prediction_table import Judgement
    from flexseg.inference.trust.input_check import InputCheck

    print("\n| set | images | cases | foreign | Dice | green | green below 0.8 |")
    print("|---|---|---|---|---|---|---|")
    greens = wrongs = homes = called = 0
    for name, parts in sets.items():
        known = calibrations(parts[HOME])
        for condition, records in parts.items():
            if condition == VALIDATION:
                continue
            green = wrong = 0
            for r in records:
                q = known[r["class"]].statement(r["signal"], predicted=r["predicted"] > 0)
                doubts = (InputDoubt("values", ""),) if r["foreign"] else ()
                judged = Judgement({r["class"]: q}, InputCheck(None, doubts))
                if judged.flag_of(r["class"]) == "green":
                    green, wrong = green + 1, wrong + (r["dice"] < GREEN_DICE)
            foreign = {r["case"]: r["foreign"] for r in records}
            dice = float(np.mean([r["dice"] for r in records])) if records else float("nan")
            share = float(np.mean(list(foreign.values()) or [np.nan]))
            print(
                f"| {name} | {condition} | {len(foreign)} | {share:.2f} | {dice:.3f} | {green} | "
                f"{wrong} |"
            )
            if condition == HOME:
                homes, called = homes + len(foreign), called + sum(foreign.values())
            else:
                greens, wrongs = greens + green, wrongs + wrong
    print(f"\nOf shifted cases green, with a Dice below 0.8: {of(wrongs, greens)}.")
    print(f"Of unshifted cases called foreign: {of(called, homes)}.")


def of(part: int, whole: int) -> str:
    """A share with its binomial interval."""
    if not whole:
        return "0 of 0"
    ends = binomtest(part, whole).proportion_ci()
    return f"{part} of {whole}, {part / whole:.3f} ({ends.low:.3f} to {ends.high:.3f})"
