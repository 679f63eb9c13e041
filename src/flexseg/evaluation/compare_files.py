"""A comparison as files: JSON, tables, and a picture of the differences of all cases."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from flexseg.config.findings import amount
from flexseg.evaluation.compare import Comparison, Difference
from flexseg.one_writer import alone_in
from flexseg.outputs import make_folder, set_aside, whole, write_csv, write_json

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FILES = ("comparison.json", "comparison.csv", "comparison_cases.csv", "comparison.png")
# Blue and orange differ for every kind of colour vision (Okabe & Ito).
_BETTER, _WORSE, _EQUAL, _MEAN = "#0072b2", "#d55e00", "#999999", "#000000"
_MAX_CASE_NAMES = 2


@alone_in("folder")
def write_comparison(comparison: Comparison, folder: Path) -> list[Path]:
    """Write all files of a comparison; earlier ones move aside. Returns their paths.

    `comparison.csv` has a row per pair of runs and class, `comparison_cases.csv` one per case and
    class with the metric of every run and its difference to the first.
    """
    make_folder(folder)
    paths = [folder / name for name in FILES]
    for path in paths:
        set_aside(path)
    write_json(paths[0], as_dict(comparison))
    _write_pairs(comparison, paths[1])
    _write_cases(comparison, paths[2])
    draw(comparison, paths[3])
    return paths


def as_dict(comparison: Comparison) -> dict[str, object]:
    """The content of `comparison.json`."""
    first = comparison.runs[0]
    return {
        "metric": comparison.metric,
        "better": "higher" if comparison.direction > 0 else "lower",
        "cases": len(first.cases),
        "groups": len(set(first.groups)),
        "classes": list(first.classes.values()),
        "runs": {run.name: str(run.folder) for run in comparison.runs},
        "ranking": [asdict(standing) for standing in comparison.standings],
        "differences": [asdict(difference) for difference in comparison.differences],
        "notes": comparison.notes,
    }


def _write_pairs(comparison: Comparison, path: Path) -> None:
    header = (
        "first", "second", "class", "cases", "groups", "difference", "ci_low", "ci_high",
        "p", "p_holm", "better", "worse", "equal",
    )  # fmt: skip
    rows = []
    for d in comparison.differences:
        low, high = d.ci95 or (None, None)
        numbers = (_rounded(d.mean), _rounded(low), _rounded(high), d.p, d.p_holm)
        rows.append(
            (d.first, d.second, d.class_name, d.cases, d.groups, *numbers,
             d.better, d.worse, d.equal)
        )  # fmt: skip
    write_csv(path, header, rows)


def _write_cases(comparison: Comparison, path: Path) -> None:
    names = [run.name for run in comparison.runs]
    others = [f"{name} - {names[0]}" for name in names[1:]]
    first = comparison.runs[0]
    rows: list[tuple[str | float | None, ...]] = []
    for i, (case, group) in enumerate(zip(first.cases, first.groups, strict=True)):
        for j, class_name in enumerate(first.classes.values()):
            scores = [float(values[i, j]) for values in comparison.values]
            changes = [_rounded(score - scores[0]) for score in scores[1:]]
            rows.append((case, group, class_name, *scores, *changes))
    write_csv(path, ("case", "group", "class", *names, *others), rows)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def draw(comparison: Comparison, path: Path) -> None:
    """Draw the difference of every case to the first run, a panel per class.

    A row per other run: dots are cases, blue where the row's run is better, orange where it is
    worse; the black bar is the mean with its 95 % interval.
    """
    from matplotlib import rc_context

    # A "$" in a name begins no formula.
    with rc_context({"text.parse_math": False}):
        _draw(comparison, path)


def _draw(comparison: Comparison, path: Path) -> None:
    from matplotlib.figure import Figure

    first, *others = comparison.runs
    classes = list(first.classes.values())
    figure = Figure(
        figsize=(min(2 + 4 * len(classes), 18), min(2.2 + 1.3 * len(others), 20)),
        layout="constrained",
    )
    panels = figure.subplots(1, len(classes), sharex=True, sharey=True, squeeze=False)[0]
    for j, (axes, class_name) in enumerate(zip(panels, classes, strict=True)):
        for row, other in enumerate(others):
            change = comparison.values[row + 1][:, j] - comparison.values[0][:, j]
            difference = comparison.difference(first.name, other.name, class_name)
            _draw_row(axes, row, change, difference, comparison.direction, first.cases)
        axes.axvline(0, color="black", linewidth=0.8)
        axes.set_title(class_name)
        axes.grid(axis="x", alpha=0.3)
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        axes.tick_params(axis="y", length=0)
    panels[0].set_yticks(range(len(others)), [other.name for other in others])
    panels[0].set_ylim(len(others) - 0.4, -0.6)
    better = "right" if comparison.direction > 0 else "left"
    figure.supxlabel(
        f"difference in {comparison.metric} from {first.name} ({better} of 0 is better); bar: "
        "mean and 95 % interval",
        fontsize="small",
    )
    figure.suptitle(
        f"{amount(len(first.cases), 'case')}, each a dot: blue is better than {first.name}, "
        "orange is worse",
        fontsize="medium",
    )
    with whole(path) as part:
        figure.savefig(part, format="png", dpi=150)


def _draw_row(
    axes: Axes,
    row: int,
    change: NDArray[np.float64],
    difference: Difference,
    direction: int,
    cases: tuple[str, ...],
) -> None:
    defined = np.flatnonzero(~np.isnan(change))
    if difference.mean is None or not len(defined):
        axes.text(0, row, "in no case", ha="center", va="bottom", color=_EQUAL)
        return
    x = change[defined]
    improvement = direction * x
    colors = np.select([improvement > 0, improvement < 0], [_BETTER, _WORSE], _EQUAL)
    axes.scatter(x, row + _spread(x), s=14, c=colors, alpha=0.65, linewidths=0)
    ends = difference.ci95 or (difference.mean, difference.mean)
    axes.plot(ends, (row + 0.42, row + 0.42), color=_MEAN, linewidth=2.5, solid_capstyle="butt")
    axes.plot(difference.mean, row + 0.42, "o", color=_MEAN, markersize=6)
    text = f"{difference.mean:+.3f}" + ("" if difference.ci95 else " (no interval)")
    axes.annotate(
        text, (difference.mean, row + 0.42), (0, -4), va="top", ha="center",
        textcoords="offset points", fontsize="small",
    )  # fmt: skip
    # The cases to look at first: where the runs differ most.
    for i in np.argsort(-np.abs(x))[:_MAX_CASE_NAMES]:
        if abs(x[i]) > 2 * np.std(x):
            axes.annotate(
                cases[defined[i]], (x[i], row + _spread(x)[i]), (0, 4), ha="center",
                textcoords="offset points", fontsize="x-small", color="#444444",
            )  # fmt: skip


def _spread(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Heights that keep dots of nearly the same value apart, [-0.35, 0.25], the same each time."""
    heights = np.empty(len(x))
    # The golden ratio's multiples fill an interval evenly, however many neighbours there are.
    heights[np.argsort(x, kind="stable")] = np.arange(len(x)) * 0.6180339887 % 1
    return heights * 0.6 - 0.35
