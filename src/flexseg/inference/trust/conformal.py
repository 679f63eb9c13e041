"""How good a prediction probably is: a Dice with an interval, and green, yellow or red.

The Dice is a straight line of the prediction's signal (`signal`), fitted to cases that the network
has not seen. The interval is that of split conformal prediction (Vovk, Gammerman, Shafer:
Algorithmic learning in a random world, 2005) with residuals by the size of the expected error (Lei
et al.: Distribution-free predictive inference for regression, JASA 113, 2018). Each residual is
that of a line which was fitted without the case's group, so that all cases can serve for both.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from flexseg.inference.trust.signal import Signal

Flag = Literal["green", "yellow", "red"]
FLAGS: tuple[Flag, ...] = ("green", "yellow", "red")
# Share of cases beyond the interval.
ALPHA = 0.1
# ceil((n + 1) (1 - ALPHA)) <= n needs so many cases.
FEWEST = math.ceil(1 / ALPHA) - 1
# A line needs as many.
FEWEST_OF_A_LINE = 3
_PARTS = 10
# Errors of perfect predictions are not 0.
LEAST_ERROR = 0.02
# Of what a calibration was made; one of another signal says nothing of ours.
_SIGNAL = "mean probability"
# Green: the interval begins here. Red: the Dice is expected below.
GOOD, FAILED = 0.8, 0.5


@dataclass(frozen=True)
class ClassQuality:
    """What is expected of one class of one prediction.

    Attributes
    ----------
    dice : expected Dice from 0 to 1; None: not known, or the class was not predicted.
    low, high : ends of its 90 % interval; None: too few validation cases.
    flag : "green", "yellow", "red".
    """

    dice: float | None
    low: float | None
    high: float | None
    flag: Flag


@dataclass(frozen=True)
class ClassCalibration:
    """How signals of one class become statements.

    Attributes
    ----------
    slope, offset : Dice of a signal.
    radius : half the interval, by the expected error; None: too few cases.
    cases : with the class in the prediction.
    absent, missed : cases without it in the prediction; those of them that have it in the
        reference.
    """

    slope: float
    offset: float
    radius: float | None
    cases: int
    absent: int
    missed: int

    @classmethod
    def of(
        cls,
        signals: NDArray[np.float64],
        dice: NDArray[np.float64],
        predicted: NDArray[np.bool_],
        groups: Sequence[str],
    ) -> ClassCalibration:
        """From cases that the network has not seen.

        Parameters
        ----------
        dice : of each case; 0 where the class is in the prediction or the reference alone, 1 where
            it is in neither.
        predicted : whether it is in the prediction.
        """
        x, y = signals[predicted], dice[predicted]
        owners = [g for g, there in zip(groups, predicted, strict=True) if there]
        slope, offset = _line(x, y)
        absent = dice[~predicted]
        radius = _radius(x, y, owners) if len(x) >= FEWEST else None
        return cls(slope, offset, radius, len(x), len(absent), int((absent < 1).sum()))

    def statement(self, signal: float, *, predicted: bool) -> ClassQuality:
        """Of a prediction with this signal."""
        if not predicted:
            # A class that is mostly there, or was missed, is looked for.
            known = self.absent >= FEWEST and self.missed <= ALPHA * self.absent
            rare = self.absent > 0 and self.missed < self.absent / 2
            return ClassQuality(None, None, None, "green" if known else FLAGS[1 if rare else 2])
        if self.cases < FEWEST_OF_A_LINE:
            return ClassQuality(None, None, None, "yellow")
        dice = float(_expected(signal, self.slope, self.offset))
        if self.radius is None:
            return ClassQuality(dice, None, None, "red" if dice < FAILED else "yellow")
        half = self.radius * float(_error(dice))
        low, high = max(0.0, dice - half), min(1.0, dice + half)
        flag: Flag = "red" if dice < FAILED else "green" if low >= GOOD else "yellow"
        return ClassQuality(dice, low, high, flag)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ClassCalibration:
        """What `as_dict` gave.

        Raises
        ------
        KeyError, TypeError, ValueError : a value is missing or no number.
        """
        radius = data["radius"]
        return cls(
            float(data["slope"]),
            float(data["offset"]),
            None if radius is None else float(radius),
            *(int(data[key]) for key in ("cases", "absent", "missed")),
        )


def _line(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float]:
    """Slope and offset of a straight line that does not fall."""
    if len(x) < FEWEST_OF_A_LINE:
        return 1.0, 0.0
    spread = float(np.var(x))
    slope = max(0.0, float(np.mean((x - x.mean()) * (y - y.mean())) / spread)) if spread else 0.0
    return slope, float(y.mean() - slope * x.mean())


def _expected(signal: Any, slope: float, offset: float) -> Any:
    return np.clip(slope * signal + offset, 0, 1)


def _error(dice: Any) -> Any:
    return np.maximum(1 - dice, LEAST_ERROR)


def _radius(x: NDArray[np.float64], y: NDArray[np.float64], groups: Sequence[str]) -> float | None:
    names = sorted(set(groups))
    part = {name: i % _PARTS for i, name in enumerate(names)}
    parts = np.array([part[group] for group in groups])
    if len(names) < 2:
        return None
    residuals = np.empty(len(x))
    for number in set(part.values()):
        out = parts == number
        expected = _expected(x[out], *_line(x[~out], y[~out]))
        residuals[out] = np.abs(y[out] - expected) / _error(expected)
    place = min(math.ceil((len(x) + 1) * (1 - ALPHA)), len(x))
    return float(np.sort(residuals)[place - 1])


@dataclass(frozen=True)
class Trust:
    """What the cases that a network has not seen tell of its predictions.

    Attributes
    ----------
    quality : class id -> calibration, by the number of dimensions of the labels.
    members : signals are of all members, see `Signal.values`.
    axes : that volumes were cut along whose quality is known, if it was more than one; these are
        members of the signal too.
    threshold : that the calibration was made with, see `ModelDescription`.
    temperature : of the probabilities that are written.
    """

    quality: Mapping[int, Mapping[int, ClassCalibration]] = field(default_factory=dict)
    members: bool = False
    threshold: float = 0.5
    temperature: float = 1.0
    axes: tuple[str, ...] = ()

    def counts_members(self, dimensions: int) -> bool:
        """Whether members count in the signals of labels of so many dimensions."""
        return self.members or (dimensions == 3 and bool(self.axes))

    def statements(
        self, signal: Signal | None, counts: Mapping[int, int], dimensions: int
    ) -> dict[int, ClassQuality]:
        """Class id -> quality of a prediction; empty where nothing is known of such.

        Parameters
        ----------
        counts : class id -> pixels of it in the final labels.
        """
        known = self.quality.get(dimensions, {})
        if signal is None or not known:
            return {}
        values = signal.values(members=self.counts_members(dimensions))
        return {
            class_id: calibration.statement(
                float(values[class_id - 1]), predicted=counts.get(class_id, 0) > 0
            )
            for class_id, calibration in known.items()
        }

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        quality = {
            f"{dimensions}d": {str(class_id): c.as_dict() for class_id, c in classes.items()}
            for dimensions, classes in self.quality.items()
        }
        return {
            "signal": _SIGNAL,
            "quality": quality,
            "members": self.members,
            "threshold": self.threshold,
            "temperature": self.temperature,
            "axes": list(self.axes),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Trust:
        """What `as_dict` gave; without the quality where that is of another signal than ours.

        Raises
        ------
        AttributeError, KeyError, TypeError, ValueError : it is damaged.
        """
        temperature = float(data["temperature"])
        if not 0 < temperature < math.inf:
            raise ValueError(f"{temperature} is not a temperature")
        quality = data["quality"] if data.get("signal") == _SIGNAL else {}
        return cls(
            {
                int(kind.removesuffix("d")): {
                    int(class_id): ClassCalibration.from_dict(values)
                    for class_id, values in classes.items()
                }
                for kind, classes in quality.items()
            },
            bool(data["members"]),
            float(data["threshold"]),
            temperature,
            tuple(map(str, data.get("axes", ()))),
        )


def worst(flags: Sequence[Flag]) -> Flag | None:
    """The worst of some flags; None without any."""
    return max(flags, key=FLAGS.index, default=None)
