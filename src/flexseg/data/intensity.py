"""Intensities of any range as 8 or 16 bits: windows for CT, percentiles and z-scores for MRI."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from flexseg.errors import ConfigError, DataError

# Centre and width in Hounsfield units, as radiology workstations preset them.
CT_WINDOWS: dict[str, tuple[float, float]] = {
    "abdomen": (40, 400),
    "bone": (400, 1800),
    "brain": (40, 80),
    "liver": (30, 150),
    "lung": (-600, 1500),
    "mediastinum": (50, 350),
}
_SAMPLE = 4_000_000


@dataclass(frozen=True)
class Intensity:
    """How intensities become grey values.

    Attributes
    ----------
    kind : `window`: from `low` to `high`; `percentile`: from the `low`-th to the `high`-th
        percentile; `zscore`: from `low` to `high` standard deviations around the mean;
        `full`: from the lowest to the highest value; `none`: values as they are.
    low, high : see `kind`; in Hounsfield units, per cent or standard deviations.
    """

    kind: Literal["window", "percentile", "zscore", "full", "none"]
    low: float = 0.0
    high: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Intensity:
        """`lung`, `40/400` (centre/width), `percentile`, `percentile:1,99`, `zscore:4`, ...

        Raises
        ------
        ConfigError : it is none of these.
        """
        name, _, rest = text.strip().lower().partition(":")
        try:
            if name in CT_WINDOWS and not rest:
                return _window(*CT_WINDOWS[name])
            if re.fullmatch(r"[^/:]+/[^/:]+", text.strip()):
                center, width = map(float, text.split("/"))
                return _window(center, width)
            if name == "percentile":
                low, high = map(float, (rest or "0.5,99.5").split(","))
                if 0 <= low < high <= 100:
                    return cls("percentile", low, high)
            if name == "zscore" and float(rest or 3) > 0:
                return cls("zscore", -float(rest or 3), float(rest or 3))
            if name in ("full", "none") and not rest:
                return cls("full" if name == "full" else "none")
        except ValueError:
            pass
        raise ConfigError(
            f"{text!r} is no window.",
            f"Give {', '.join(CT_WINDOWS)}; CENTRE/WIDTH such as 40/400; percentile or "
            "percentile:1,99; zscore or zscore:4; full; none.",
            "--window",
        )

    def __str__(self) -> str:
        if self.kind == "window":
            return f"window {self.low:g} to {self.high:g}"
        if self.kind == "percentile":
            return f"percentiles {self.low:g} to {self.high:g} of each volume's own values"
        if self.kind == "zscore":
            return f"mean of each volume -{self.high:g} to +{self.high:g} standard deviations"
        return {"full": "each volume's full range", "none": "as stored"}[self.kind]

    def limits(self, array: NDArray) -> tuple[float, float]:
        """The values that become black and white. `array` is the whole volume (or image).

        Percentiles and z-scores leave zeros out where nothing is below them: the air around a
        head would decide them otherwise. Large volumes are sampled evenly.
        """
        if self.kind == "none":
            return 0.0, 0.0
        if self.kind == "window":
            return self.low, self.high
        if self.kind == "full":
            return float(array.min()), float(array.max())
        flat = array.reshape(-1)[:: max(1, array.size // _SAMPLE)]
        if flat.min() == 0 and flat.any():
            flat = flat[flat != 0]
        if self.kind == "percentile":
            low, high = np.percentile(flat, (self.low, self.high))
            return float(low), float(high)
        mean, deviation = float(flat.mean(dtype=np.float64)), float(flat.std(dtype=np.float64))
        return mean + self.low * deviation, mean + self.high * deviation

    def apply(self, pixels: NDArray, limits: tuple[float, float], bits: int, where: str) -> NDArray:
        """Pixels as uint8 or uint16, from black at the first limit to white at the second.

        Raises
        ------
        DataError : `none` was asked for, and values do not fit.
        """
        dtype = np.uint8 if bits == 8 else np.uint16
        top = np.iinfo(dtype).max
        if self.kind == "none":
            if pixels.dtype == dtype:
                return pixels
            if pixels.min() < 0 or pixels.max() > top or (pixels != pixels.astype(dtype)).any():
                raise DataError(
                    f"Values from {pixels.min():g} to {pixels.max():g} of type {pixels.dtype} do "
                    f"not fit into {bits} bits as they are.",
                    "Give a --window, for example percentile, or --bits 16.",
                    where,
                )
            return pixels.astype(dtype)
        low, high = limits
        if high <= low:  # a constant volume has nothing to show
            return np.zeros(pixels.shape, dtype)
        scaled = (pixels.astype(np.float32) - np.float32(low)) * np.float32(top / (high - low))
        return np.rint(np.clip(scaled, 0, top)).astype(dtype)


def _window(center: float, width: float) -> Intensity:
    if not width > 0 or not np.isfinite([center, width]).all():
        raise ValueError("the width of a window is above 0")
    return Intensity("window", center - width / 2, center + width / 2)
