"""What is known of a metric, in one place: its formula, name, unit, direction and edge cases.

`cases.csv`, `summary.json`, `flexseg compare`, the report, the terminal and
docs/reference/metrics.md all read the registry: a metric is a function and an entry beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from flexseg.evaluation.metrics.counts import PixelCounts, Status
from flexseg.evaluation.metrics.masks import MaskPair
from flexseg.registry import Registry

Family = Literal["overlap", "surface", "size", "objects", "probabilities"]
Unit = Literal["share", "distance", "signed share"]
Direction = Literal["higher", "lower", "near 0"]
UNDEFINED = float("nan")
_FAMILIES: tuple[Family, ...] = ("overlap", "surface", "size", "objects", "probabilities")
_IN_REFERENCE: tuple[Status, ...] = ("scored", "missed")


@dataclass(frozen=True)
class Metric:
    """One metric of a class in a case.

    Attributes
    ----------
    name : column of `cases.csv`, and key of `summary.json`.
    label : for readers; `{area}` and `{outlines}` are said otherwise of volumes.
    family : section of the documentation, and place among the columns.
    unit : "share" 0 to 1, "distance" in the unit of the spacing, "signed share" around 0.
    better : which direction is good.
    meaning : one sentence without jargon; `{area}` and `{outlines}` as in `label`.
    from_counts, from_masks : the value where both masks have the class, from pixel counts, or
        where these are not enough from the masks; one of the two, its docstring is the formula.
        What pixel counts give, groups of cases have too.
    missed, false_positive, absent : the value where the class is in the reference alone, in the
        prediction alone, in neither; None: what the formula gives; "diagonal": of the image.
    missed_in_mean : what a missed object counts in means and comparisons, where not `missed`.
    settings : keys of `summary.json` that must be equal for two values to be comparable.
    terminal : columns that a terminal must have to show it; None: it never does.
    short : heading in the terminal; the label where empty.
    """

    name: str
    label: str
    _: KW_ONLY
    family: Family
    unit: Unit
    better: Direction
    meaning: str
    from_counts: Callable[[PixelCounts], float] | None = None
    from_masks: Callable[[MaskPair], float] | None = None
    missed: float | Literal["diagonal"] | None = None
    false_positive: float | None = UNDEFINED
    absent: float | None = UNDEFINED
    missed_in_mean: float | None = None
    settings: tuple[str, ...] = ()
    terminal: int | None = None
    short: str = ""

    def __post_init__(self) -> None:
        if (self.from_counts is None) == (self.from_masks is None):
            raise ValueError(f"{self.name} needs a function of pixel counts or of masks")

    @property
    def formula(self) -> str:
        """The formula, with its source."""
        return " ".join(((self.from_counts or self.from_masks).__doc__ or "").split())

    @property
    def sign(self) -> int:
        """1 if more is better, else -1."""
        return 1 if self.better == "higher" else -1

    def label_of(self, *, volumes: bool) -> str:
        """The label of images, or of volumes."""
        text = _worded(self.label, volumes)
        return text[:1].upper() + text[1:]

    def meaning_of(self, *, volumes: bool) -> str:
        """The meaning of images, or of volumes."""
        return _worded(self.meaning, volumes)

    def of(self, pair: MaskPair) -> float:
        """The value of a case; NaN where it is undefined."""
        value = self._where_empty(pair.counts.status)
        if isinstance(value, str):
            return pair.diagonal
        if value is not None:
            return value
        return self.from_masks(pair) if self.from_masks else self.of_counts(pair.counts)

    def of_counts(self, counts: PixelCounts) -> float:
        """The value of pixel counts, of several cases for example; NaN where it is undefined.

        Raises
        ------
        ValueError : pixel counts are not enough.
        """
        value = self._where_empty(counts.status)
        if self.from_counts is None or isinstance(value, str):
            raise ValueError(f"{self.name} needs more than pixel counts")
        return self.from_counts(counts) if value is None else value

    def _where_empty(self, status: Status) -> float | Literal["diagonal"] | None:
        if status == "missed":
            return self.missed
        return {"false positive": self.false_positive, "absent": self.absent}.get(status)

    def counted(self, values: NDArray[np.float64], status: NDArray[np.str_]) -> NDArray[np.float64]:
        """Values as they go into means and comparisons: NaN where the class is not in the
        reference, and a missed object counts."""
        if self.missed_in_mean is not None:
            values = np.where(status == "missed", self.missed_in_mean, values)
        return np.where(np.isin(status, _IN_REFERENCE), values, np.nan)


def _worded(text: str, volumes: bool) -> str:
    if volumes:
        return text.format(area="volume", outlines="surfaces")
    return text.format(area="area", outlines="outlines")


METRICS: Registry[Metric] = Registry("metric")


def register(metric: Metric) -> Metric:
    """Enter a metric."""
    return METRICS.register(metric.name)(metric)


def all_metrics() -> list[Metric]:
    """All registered metrics in the order of the columns."""
    return sorted(map(METRICS.get, METRICS), key=lambda metric: _FAMILIES.index(metric.family))


def count_metrics() -> list[Metric]:
    """The metrics that pixel counts are enough for."""
    return [metric for metric in all_metrics() if metric.from_counts is not None]
