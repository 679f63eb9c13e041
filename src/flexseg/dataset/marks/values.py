"""The values or colours of masks of unknown origin: which have areas, which are shades of edges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

from flexseg.dataset.labels import Rgb
from flexseg.dataset.looks import MaskLook
from flexseg.errors import DataError

# A value with a smaller share of core pixels has no area of its own ...
_THIN = 0.05
# ... and several of them are shades of edges if this share of their pixels lies between a darker
# and a brighter one. Of thin lines of several classes a tenth does.
_BETWEEN = 0.3
_FEW_SHADES = 2
_MAX_IDS = 64
# Scores of many values that are no farther from 0 or 1.
_SURE = 0.1
# What compression leaves of a class: this share of its pixels, and so many, are core pixels.
_LOSSY_CORE, _LOSSY_PIXELS = 0.05, 6
_LOSSY_CORE_COLOR = 0.015
# Nearer values than these are one, where edges are blended or masks compressed. JPEG stores colours
# at half the resolution.
_NEAR, NEAR_LOSSY, _NEAR_LOSSY_COLOR = 8, 24, 56
# A color of more than this share of the thin lines, and of another hue, is a class.
_HUE_SHARE, _SAME_HUE = 0.05, 0.97
# Rounded blends of two colours differ from exact ones by no more than this share.
_OFF_BLEND = 0.1


@dataclass
class Value:
    """How a value or colour occurs in all masks."""

    pixels: int = 0
    core: int = 0
    between: int = 0
    masks: int = 0

    @property
    def thin(self) -> bool:
        """Whether it has no area of its own."""
        return self.core < _THIN * self.pixels


@dataclass(frozen=True)
class MaskValues:
    """All values of some masks but 0.

    Attributes
    ----------
    values : grey value, index, or colour 0xRRGGBB -> how it occurs.
    sets : the values of each mask.
    by_color : the values are colours.
    palette : index -> colour, where all masks are indexed.
    lossy : some masks are compressed so that values blur.
    """

    values: Mapping[int, Value]
    sets: Sequence[frozenset[int]]
    by_color: bool
    lossy: bool
    palette: Mapping[int, Rgb] = field(default_factory=dict)

    @classmethod
    def of(cls, masks: Sequence[MaskLook]) -> MaskValues:
        """The values of masks: indices where palettes agree, colours if any mask has some."""
        palette = _common_palette(masks)
        by_color = any(m.keys(resolve=palette is None)[1] for m in masks)
        values: dict[int, Value] = {}
        sets = []
        known: dict[frozenset[int], frozenset[int]] = {}  # one of equal sets, as most are
        for mask in masks:
            keys, in_color = mask.keys(resolve=palette is None)
            packed = np.clip(keys, 0, 255) * 0x010101 if by_color and not in_color else keys
            own = set()
            for key, pixels, core, between in zip(
                packed.tolist(),
                mask.pixels.tolist(),
                mask.core.tolist(),
                mask.between.tolist(),
                strict=True,
            ):
                if key == 0 or core < 0:
                    continue
                value = values.setdefault(key, Value())
                value.pixels += pixels
                value.core += core
                value.between += between
                value.masks += key not in own
                own.add(key)
            sets.append(known.setdefault(frozenset(own), frozenset(own)))
        lossy = any(m.entries.lossy for m in masks)
        return cls(values, sets, by_color, lossy, palette or {})

    def solid(self) -> tuple[list[int], bool]:
        """The values that are classes or objects, and whether the others are shades of edges."""
        if self.lossy:
            found = self._solid_of_lossy() or self._lines()
            return found, True
        if self.palette:
            return list(self.values), False
        # Small numbers are ids of classes, shades reach up to white.
        if max(self.values) < _MAX_IDS or not self._has_shades:
            return list(self.values), False
        areas = [k for k, v in self.values.items() if not v.thin]
        merged = self._merged(areas or self._lines())
        return [*merged, *self._other_hues(merged)] if areas else merged, True

    @property
    def resampled(self) -> bool:
        """Whether numbers of classes are between others where these meet, as if interpolated."""
        exact = not (self.lossy or self.palette or self.by_color)
        return exact and max(self.values) < _MAX_IDS and self._has_shades

    @property
    def _has_shades(self) -> bool:
        top = max(self.values)  # lies between none
        shades = {k: v for k, v in self.values.items() if v.thin and k != top}
        return len(shades) > _FEW_SHADES and _are_shades(shades)

    def _solid_of_lossy(self) -> list[int]:
        """Values of areas, each with the core pixels of what compression made of it."""
        near, share = self.near, _LOSSY_CORE_COLOR if self.by_color else _LOSSY_CORE
        groups: dict[int, Value] = {}
        for key, value in sorted(self.values.items(), key=lambda item: -item[1].core):
            peak = min(groups, key=lambda other: self.distance(key, other), default=None)
            if self.distance(key, 0) <= near:
                continue
            if peak is None or self.distance(key, peak) > near:
                if not value.core:
                    continue
                peak = key
                groups[peak] = Value()
            groups[peak].core += value.core
            groups[peak].pixels += value.pixels
        return [
            k
            for k, v in groups.items()
            if v.core >= max(share * v.pixels, min(_LOSSY_PIXELS, v.pixels / 4))
        ]

    def _lines(self) -> list[int]:
        """What thin lines are drawn in: white, or the brightest of each hue."""
        if not self.by_color:
            top = max(self.values)
            return [top if top < _MAX_IDS else 255 if top <= 255 else top]
        marked = sum(v.pixels for v in self.values.values())
        hues: dict[int, int] = {}
        by_brightness = sorted(self.values, key=lambda k: -_brightness(k))
        far = [k for k in by_brightness if not self.lossy or self.distance(k, 0) > self.near]
        for key in far or by_brightness[:1]:
            like = next((h for h in hues if _same_hue(h, key)), key)
            hues[like] = hues.get(like, 0) + self.values[key].pixels
        return [k for k, n in hues.items() if n >= _HUE_SHARE * marked] or by_brightness[:1]

    def _other_hues(self, solid: Sequence[int]) -> list[int]:
        """Colours of thin lines beside areas, of hues that no blend of the areas has."""
        if not self.by_color:
            return []
        thin = {k: v for k, v in self.values.items() if v.thin}
        share = _HUE_SHARE * sum(v.pixels for v in thin.values())
        hues: dict[int, int] = {}
        for key in sorted(thin, key=lambda k: -_brightness(k)):
            if not _is_blend(key, solid):
                like = next((h for h in hues if _same_hue(h, key)), key)
                hues[like] = hues.get(like, 0) + thin[key].pixels
        return [k for k, n in hues.items() if n >= share]

    def _merged(self, solid: list[int]) -> list[int]:
        """Without values that differ little from one that has more area."""
        kept: list[int] = []
        for key in sorted(solid, key=lambda k: -self.values[k].core if k in self.values else 0):
            if not any(self.distance(key, other) <= _NEAR for other in (0, *kept)):
                kept.append(key)
        return kept or solid

    @property
    def near(self) -> int:
        """Values that differ by no more are the same one in compressed masks."""
        return _NEAR_LOSSY_COLOR if self.by_color else NEAR_LOSSY

    def distance(self, first: int, second: int) -> int:
        """By how much two values differ, colours in the channel where they do most."""
        if not self.by_color:
            return abs(first - second)
        return max(abs(a - b) for a, b in zip(unpacked(first), unpacked(second), strict=True))


def _are_shades(thin: Mapping[int, Value] | Mapping[float, Value]) -> bool:
    pixels = sum(v.pixels for v in thin.values())
    return sum(v.between for v in thin.values()) >= _BETWEEN * pixels


def are_shares(masks: Sequence[MaskLook]) -> bool:
    """Whether masks hold fractions as edges and scores have them, between what is marked and not.

    Raises
    ------
    DataError : the fractions have areas of their own, as classes that were scaled have.
    """
    floats = [m for m in masks if m.entries.pixels.dtype.kind == "f" and not m.entries.one_hot]
    fractions: dict[float, Value] = {}
    for mask in floats:
        values = mask.entries.pixels[0].astype(float)
        numbers = (mask.pixels, mask.core, mask.between)
        for one, *counts in zip(values.tolist(), *(n.tolist() for n in numbers), strict=True):
            if one != round(one):
                value = fractions.setdefault(one, Value())
                value.pixels += counts[0]
                value.core += max(counts[1], 0)
                value.between += counts[2]
    # Where scores are sure, they are alike.
    sure = _SURE if len(fractions) > _MAX_IDS else 0
    unsure = {k: v for k, v in fractions.items() if abs(k - round(k)) > sure}
    pixels, core = (sum(getattr(v, n) for v in unsure.values()) for n in ("pixels", "core"))
    if core > _THIN * pixels and not _are_shades(unsure):
        shown = ", ".join(f"{k:.4g}" for k in sorted(unsure)[:4])
        raise DataError(
            f"The masks hold fractions that fill areas: {shown}.",
            "Class ids are integers: save the masks as they were before they were divided, or "
            "use `flexseg derive folders --threshold 0.5` if everything from 0.5 on is one class.",
        )
    return bool(fractions)


def _common_palette(masks: Sequence[MaskLook]) -> dict[int, Rgb] | None:
    """The colours of the indices that occur; None where indices do not count.

    They count where all masks are indexed or grey, and agree. Index 0 is background; where it has
    a colour and another index is black, the colours tell.
    """
    palette = agreed_palette(masks)
    if palette is None:
        return None
    black = [index for index, color in palette.items() if color == (0, 0, 0)]
    return None if palette[0] != (0, 0, 0) and black else palette


def agreed_palette(masks: Sequence[MaskLook]) -> dict[int, Rgb] | None:
    """The colours of 0 and of the indices that occur, in masks that are indexed or grey.

    None where a mask is neither, all are grey, or palettes differ: optimisers number the colours
    of each file anew.
    """
    palette: dict[int, Rgb] = {}
    for mask in masks:
        table, pixels = mask.entries.palette, mask.entries.pixels
        if table is None:
            if mask.entries.one_hot or pixels.ndim == 3:
                return None
            continue
        for index in {0, *pixels[0].tolist()}:
            color = tuple(table[min(index, len(table) - 1)].tolist())
            if palette.setdefault(index, color) != color:
                return None
    return palette or None


def unpacked(key: int) -> Rgb:
    """The channels of a colour 0xRRGGBB."""
    return key >> 16, key >> 8 & 255, key & 255


def _brightness(key: int) -> int:
    return max(unpacked(key))


def _same_hue(first: int, second: int) -> bool:
    a, b = (np.array(unpacked(key), float) for key in (first, second))
    return float(a @ b) >= _SAME_HUE * float(np.linalg.norm(a) * np.linalg.norm(b))


def _is_blend(key: int, colors: Sequence[int]) -> bool:
    """Whether a colour has the hue of one of some colours, or of a blend of two."""
    if any(_same_hue(key, other) for other in colors):
        return True
    own = np.array(unpacked(key), float)
    for first, second in combinations(colors, 2):
        pair = np.array([unpacked(first), unpacked(second)], float).T
        parts = np.linalg.lstsq(pair, own)[0]
        near = float(np.linalg.norm(pair @ parts - own)) <= _OFF_BLEND * np.linalg.norm(own)
        if near and (parts >= 0).all():
            return True
    return False
