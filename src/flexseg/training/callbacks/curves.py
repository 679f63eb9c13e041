"""The pictures of losses and metrics that accompany a training."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from flexseg.errors import DataError
from flexseg.outputs import set_aside, whole


def curves_of_csv(table: Path, output: Path) -> None:
    """Draw the curves of a `train_losses.csv` or `train_metrics.csv` again, in any spelling.

    Raises
    ------
    DataError : it is no table of numbers with a column `epoch`.
    """
    try:
        lines = table.read_text(encoding="utf-8-sig").splitlines()
        rows = [[cell.strip() for cell in row] for row in csv.reader(lines) if row]
        header = [name for name in rows[0] if name]
        if header[0] != "epoch" or len(header) < 2:
            raise ValueError("its first column is not 'epoch'")
        columns = {name: [float(row[i]) for row in rows[1:]] for i, name in enumerate(header) if i}
    except (OSError, ValueError, IndexError) as error:
        raise DataError(
            f"This is not a table of a training ({error}).",
            "Give train_losses.csv or train_metrics.csv.",
            str(table),
        ) from None
    set_aside(output)
    draw_curves(output, columns)


def draw_curves(path: Path, series: Mapping[str, Sequence[float]]) -> None:
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
