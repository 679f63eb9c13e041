"""The picture of a learning curve with its interval."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from flexseg.config.durations import format_duration
from flexseg.forecast.learning_curve import LearningCurve, Point
from flexseg.forecast.statement import Advice, Measured, in_full_time, steps_in
from flexseg.outputs import whole

_POINTS = 40
# Of the axis of times, in seconds.
_TIMES = (5, 15, 60, 240, 900, 3600, 14_400, 57_600, 230_400)


def draw_learning_curve(path: Path, advice: Advice, curve: LearningCurve) -> None:
    """Draw the Dice by number of cases, and by time where that varied, as PNG.

    What is forecast lies to the right of the dashed line.
    """
    full = in_full_time(advice.trainings)
    whole_set = [m for m in advice.trainings if m.cases == max(one.cases for one in full)]
    steps = float(np.median([m.steps for m in full]))
    figure = Figure(figsize=(8 if advice.more_time else 5, 3.6), layout="constrained", dpi=150)
    axes = figure.subplots(1, 2 if advice.more_time else 1, sharey=True, squeeze=False)[0]
    cases = advice.now.cases
    points = [(m.cases, m) for m in full]
    last = max(cases, *(f.cases for f in advice.more_cases), 1)
    numbers = [cases * 2.0**k for k in range(-4, 7)]
    _draw(axes[0], points, last, numbers, lambda n: Point(n, steps), curve)
    axes[0].set_xlabel("training volumes" if advice.subject.volumes else "training cases")
    axes[0].set_ylabel("Dice of validation cases")
    axes[0].set_title(f"by number, {format_duration(advice.measured_seconds)} each", fontsize=10)
    if advice.more_time:
        by_time = [(m.seconds, m) for m in whole_set]
        most = advice.more_time[0].seconds
        trainings = advice.trainings
        _draw(axes[1], by_time, most, _TIMES, lambda t: Point(cases, steps_in(t, trainings)), curve)
        axes[1].set_xlabel("time of a training")
        axes[1].xaxis.set_major_formatter(FuncFormatter(lambda t, _: format_duration(t)))
        axes[1].set_title(f"by time, all {cases}", fontsize=10)
    with whole(path) as part:
        figure.savefig(part, format="png")


def _draw(
    axes: Axes,
    trainings: Sequence[tuple[float, Measured]],
    last: float,
    ticks: Sequence[float],
    point_of: Callable[[float], Point],
    curve: LearningCurve,
) -> None:
    """Trainings as dots, the curves' median and 90 % interval on to `last`."""
    known = [x for x, _ in trainings]
    across = np.geomspace(min(known), max(last, *known) * 1.02, _POINTS)
    ranges = [curve.dice(point_of(x)) for x in across]
    low, high = [r.low for r in ranges], [r.high for r in ranges]
    axes.fill_between(across, low, high, color="tab:blue", alpha=0.2, linewidth=0)
    axes.plot(across, [r.median for r in ranges], color="tab:blue")
    axes.plot(known, [np.mean(list(m.dice.values())) for _, m in trainings], "ko", markersize=4)
    axes.axvline(max(known), color="gray", linestyle="--", linewidth=1)
    axes.set_xscale("log", base=2)
    axes.set_xticks([tick for tick in ticks if min(known) * 0.99 <= tick <= across[-1]])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:.0f}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.grid(alpha=0.3)
