"""Intensities of any range as 8 or 16 bits: windows for CT, percentiles and z-scores for MRI."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from flexseg.errors import ConfigError, DataError

logger = logging.getLogger(__name__)

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
# What becomes black and white, of all pixels or of each channel.
Limits = tuple[float, float] | tuple[NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True)
class Intensity:
    """How intensities become grey values.

    Attributes
    ----------
    kind : `window`: from `low` to `high`; `percentile`: from the `low`-th to the `high`-th
        percentile; `zscore`: from `low` to `high` standard deviations around the mean;
        `full`: from the lowest to the highest value; `none`: values as they are.
    low, high : see `kind`; in Hounsfield units, per cent or standard deviations.
    text : what it was parsed from.
    """

    kind: Literal["window", "percentile", "zscore", "full", "none"]
    low: float = 0.0
    high: float = 0.0
    text: str = field(default="", compare=False)

    @classmethod
    def parse(cls, text: str, where: str = "--window") -> Intensity:
        """`lung`, `40/400` (centre/width), `percentile`, `percentile:1,99`, `zscore:4`, ...

        Parameters
        ----------
        where : the option or key that the text comes from.

        Raises
        ------
        ConfigError : it is none of these.
        """
        text = text.strip()
        name, _, rest = text.lower().partition(":")
        try:
            if name in CT_WINDOWS and not rest:
                return _window(*CT_WINDOWS[name], name)
            if re.fullmatch(r"[^/:]+/[^/:]+", text):
                center, width = map(float, text.split("/"))
                return _window(center, width, text)
            if name == "percentile":
                low, high = map(float, (rest or "0.5,99.5").split(","))
                if 0 <= low < high <= 100:
                    return cls("percentile", low, high, text)
            if name == "zscore" and float(rest or 3) > 0:
                return cls("zscore", -float(rest or 3), float(rest or 3), text)
            if name in ("full", "none") and not rest:
                return cls("full" if name == "full" else "none", text=name)
        except ValueError:
            pass
        raise ConfigError(
            f"{text!r} is not a window.",
            f"Give {', '.join(CT_WINDOWS)}; CENTRE/WIDTH such as 40/400; percentile or "
            "percentile:1,99; zscore or zscore:4; full; none.",
            where,
        )

    @property
    def spec(self) -> str:
        """A text that `parse` makes the same of."""
        if self.text:
            return self.text
        return {
            "window": f"{(self.low + self.high) / 2!r}/{self.high - self.low!r}",
            "percentile": f"percentile:{self.low!r},{self.high!r}",
            "zscore": f"zscore:{self.high!r}",
        }.get(self.kind, self.kind)

    def __str__(self) -> str:
        if self.kind == "window":
            return f"window {self.low:g} to {self.high:g}"
        if self.kind == "percentile":
            return f"percentiles {self.low:g} to {self.high:g} of each volume's own values"
        if self.kind == "zscore":
            return f"mean of each volume -{self.high:g} to +{self.high:g} standard deviations"
        return {"full": "each volume's full range", "none": "as stored"}[self.kind]

    def limits(self, array: NDArray, lowest: np.number | None = None) -> tuple[float, float]:
        """The values that become black and white.

        Percentiles and z-scores leave zeros out where nothing is below them: the air around a
        head would decide them otherwise. Large volumes are sampled evenly.

        Parameters
        ----------
        array : the whole volume (or image). The samples depend on the order of its axes, not on
            its layout in memory.
        lowest : what stands for values that are NaN or infinite, see `lowest_finite`.
        """
        if self.kind == "none":
            return 0.0, 0.0
        if self.kind == "window":
            return self.low, self.high
        if self.kind == "full":
            if lowest is not None:
                return float(lowest), max(float(_finite(p, lowest).max()) for p in array)
            return float(array.min()), float(array.max())
        flat = _finite(array.flat[:: max(1, array.size // _SAMPLE)], lowest)
        if flat.min() == 0 and flat.any():
            flat = flat[flat != 0]
        if self.kind == "percentile":
            low, high = np.percentile(flat, (self.low, self.high))
            return float(low), float(high)
        mean, deviation = float(flat.mean(dtype=np.float64)), float(flat.std(dtype=np.float64))
        return mean + self.low * deviation, mean + self.high * deviation

    def apply(self, pixels: NDArray, limits: Limits, bits: int, where: str) -> NDArray:
        """Pixels as uint8 or uint16, from black at the first limit to white at the second.

        Parameters
        ----------
        limits : for all pixels, or [C] for those of each channel, the last axis.

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
                    "Set a --window, for example percentile, or --bits 16.",
                    where,
                )
            return pixels.astype(dtype)
        low, high = (np.asarray(limit, np.float64) for limit in limits)
        span = high - low
        # A constant volume has nothing to show.
        scale = np.where(span > 0, top / np.where(span > 0, span, 1), 0).astype(np.float32)
        scaled = (pixels.astype(np.float32) - low.astype(np.float32)) * scale
        return np.rint(np.clip(scaled, 0, top)).astype(dtype)


@dataclass(frozen=True)
class GreyValues:
    """The grey values of one volume's slices: those of the images that are derived from it.

    Attributes
    ----------
    intensity : without it values stay as they are.
    limits : the values that become black and white, of the whole volume; [C] of several channels.
    lowest : what voxels become that are NaN or infinite; None: there are none.
    where : the volume's name for messages.
    """

    intensity: Intensity | None
    bits: int
    limits: Limits
    lowest: np.number | None
    where: str

    @classmethod
    def of(
        cls,
        array: NDArray,
        intensity: Intensity | None,
        bits: int,
        where: str,
        *,
        quiet: bool = False,
    ) -> GreyValues:
        """What a volume [z, y, x] or [z, y, x, C] asks for; nothing of its size is allocated.

        Parameters
        ----------
        quiet : do not warn of values that are NaN or infinite, as that was done before.

        Raises
        ------
        DataError : no voxel is finite.
        """
        lowest = lowest_finite(array, where, quiet=quiet)
        if intensity is None or array.ndim < 4:
            limits: Limits = intensity.limits(array, lowest) if intensity else (0.0, 0.0)
        else:
            channels = range(array.shape[3])
            each = np.array([intensity.limits(array[..., c], lowest) for c in channels])
            limits = each[:, 0], each[:, 1]
        return cls(intensity, bits, limits, lowest, where)

    @property
    def extremes(self) -> tuple[float, float]:
        """The limits; of several channels those of the first, which is the one that is shown."""
        low, high = (float(np.atleast_1d(limit)[0]) for limit in self.limits)
        return low, high

    def __call__(self, pixels: NDArray) -> NDArray:
        """Voxels of any shape as uint8 or uint16, or as they are.

        Raises
        ------
        DataError : values stay as they are and do not fit into the bits.
        """
        pixels = np.ascontiguousarray(_finite(pixels, self.lowest))
        if self.intensity is None:
            return pixels
        return self.intensity.apply(pixels, self.limits, self.bits, self.where)


def lowest_finite(array: NDArray, where: str, *, quiet: bool = False) -> np.number | None:
    """The lowest finite value, with a warning, where others are NaN or infinite; else None.

    Raises
    ------
    DataError : no voxel is finite.
    """
    if not np.issubdtype(array.dtype, np.floating):
        return None
    count, found = 0, []
    for plane in array:
        finite = np.isfinite(plane)
        missing = int(plane.size - finite.sum())
        count += missing
        if missing < plane.size:
            found.append(plane[finite].min() if missing else plane.min())
    if not count:
        return None
    if not found:
        raise DataError("No voxel has a finite value.", "Export the volume again.", where)
    warn = logger.debug if quiet else logger.warning
    warn("%s: %d voxels are NaN or infinite; they are set to the lowest value.", where, count)
    return min(found)


def _finite(values: NDArray, lowest: np.number | None) -> NDArray:
    return values if lowest is None else np.where(np.isfinite(values), values, lowest)


def _window(center: float, width: float, text: str) -> Intensity:
    if not width > 0 or not np.isfinite([center, width]).all():
        raise ValueError("the width of a window must be above 0")
    return Intensity("window", center - width / 2, center + width / 2, text)
