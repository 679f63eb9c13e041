"""The pictures of losses and metrics that accompany a training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from flexseg.outputs import whole


def draw_curves(path: Path, series: dict[str, Sequence[float]]) -> None:
    """Curves over the epochs as the original systems draw them: green, then red, dashed.

    Parameters
    ----------
    series : label -> value per epoch, starting with epoch 0.
    """
    figure = Figure(figsize=(8, 6), layout="constrained")
    axes = figure.subplots()
    for (label, values), color in zip(series.items(), ("tab:green", "tab:red"), strict=False):
        axes.plot(range(len(values)), values, "o--", color=color, label=label)
    axes.set_title(path.stem, fontsize=20)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(True)
    axes.legend(loc="upper left")
    with whole(path) as part:
        figure.savefig(part, format="png")
