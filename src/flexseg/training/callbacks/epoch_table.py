"""The lines that a training shows of its epochs: aligned below a heading, and never broken."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from flexseg.losses import DICE

BEST = "best"
_GAP = "  "
# The heading is shown again after so many epochs.
_AGAIN = 30


@dataclass(frozen=True)
class EpochLine:
    """One epoch.

    Attributes
    ----------
    number : e.g. "3/100".
    values : by name, as Keras calls them.
    rate : of learning.
    passed : time since the training began.
    data, steps, validation : seconds.
    best : so far.
    """

    number: str
    values: Mapping[str, float]
    rate: float
    passed: str
    data: float
    steps: float
    validation: float
    best: bool

    def cells(self) -> dict[str, str]:
        """Texts by the heading of their column."""
        trained = self.data + self.steps
        return {
            "epoch": self.number,
            **{name: f"{self.values[name]:.4f}" for name in sorted(self.values, key=_place)},
            "rate": f"{self.rate:.1e}",
            "time": f"{trained + self.validation:.1f} s",
            "data": f"{self.data / trained:.0%}" if trained else "-",
            "passed": self.passed,
        }


def _place(name: str) -> tuple[bool, bool]:
    """Training before validation, and the loss before the metrics."""
    return name.startswith("val_"), not name.endswith("loss")


class EpochTable:
    """Lines of epochs as text.

    Parameters
    ----------
    width : of the terminal: columns that it has no room for are left out, the least important
        first; None: all are shown, as in a file.
    """

    def __init__(self, width: int | None) -> None:
        self.width = width
        self._columns: dict[str, int] = {}
        self._shown = 0

    def lines(self, epoch: EpochLine) -> Iterator[str]:
        """The line of an epoch, below a heading where one is due."""
        cells = epoch.cells()
        fits = all(len(cells.get(name, "")) <= width for name, width in self._columns.items())
        if self._shown % _AGAIN == 0 or not fits or not self._columns.keys() <= cells.keys():
            self._columns = self._chosen(cells)
            yield _joined(self._columns, {name: name for name in self._columns})
        self._shown += 1
        yield _joined(self._columns, cells) + (_GAP + BEST if epoch.best else "")

    def _chosen(self, cells: Mapping[str, str]) -> dict[str, int]:
        """The columns that fit, with their widths."""
        widths = {name: max(len(name), len(text)) for name, text in cells.items()}
        room = None if self.width is None else self.width - len(_GAP + BEST) - 1
        chosen: set[str] = set()
        for name in _by_importance(list(cells)):
            taken = sum(widths[other] + len(_GAP) for other in chosen) + widths[name]
            if room is None or taken <= room:
                chosen.add(name)
        return {name: widths[name] for name in cells if name in chosen}


def _by_importance(names: Sequence[str]) -> list[str]:
    """The columns, the most important first."""
    first = ["epoch", f"val_{DICE}", "val_loss", "loss", DICE, "passed", "time", "rate"]
    validated = [name for name in names if name.startswith("val_")]
    order = [*first, *validated, *names]
    return [name for name in dict.fromkeys(order) if name in names]


def _joined(columns: Mapping[str, int], cells: Mapping[str, str]) -> str:
    return _GAP.join(f"{cells[name]:>{width}}" for name, width in columns.items())
