"""What a dataset looks like: sizes, channels, intensities, and the classes of its masks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from flexseg.dataset.cases import Case
from flexseg.dataset.labels import LabelClass
from flexseg.dataset.meaning import classes_of_colors, classes_of_values
from flexseg.files.images import MaskPixels, read_image, read_mask

_SAMPLE = 60
# More values than this are shades, of which only those with this share of the pixels are classes.
_FEW = 12
_CLASS_SHARE = 0.002


@dataclass(frozen=True)
class Survey:
    """What a sample of the dataset looks like.

    Attributes
    ----------
    median_size : height and width.
    wide : some images have more than 8 bits.
    intensity : lowest and highest value.
    values : what the masks hold, the most frequent first: grey values, or RGB tuples.
    by_color : some masks are in colour.
    lossy : some masks are JPEG.
    blends : the masks hold shades that are no classes.
    """

    median_size: tuple[int, int]
    channels: int
    wide: bool
    intensity: tuple[float, float]
    values: list[Any]
    by_color: bool
    lossy: bool
    blends: bool


def survey(cases: Sequence[Case]) -> Survey:
    """Read some 60 cases, evenly spread. Raises DataError if one of them cannot be read."""
    step = max(1, len(cases) // _SAMPLE)
    sizes, channels, counts = [], Counter[int](), Counter[Any]()
    low, high = np.inf, -np.inf
    wide = lossy = by_color = False
    total = 0
    for case in cases[::step]:
        image = read_image(case.image)
        sizes.append(image.shape[:2])
        channels[image.shape[2]] += 1
        wide |= image.dtype != np.uint8
        low, high = min(low, float(image.min())), max(high, float(image.max()))
        mask = read_mask(case.mask)
        lossy |= mask.lossy
        values, is_color = mask_values(mask)
        by_color |= is_color
        counts.update(values)
        total += sum(values.values())
    found = sorted(counts, key=lambda v: -counts[v])
    kept = [v for v in found if counts[v] / total >= (_CLASS_SHARE if len(found) > _FEW else 0)]
    blends = len(kept) < len(found)
    height, width = (int(np.median([s[axis] for s in sizes])) for axis in (0, 1))
    most = channels.most_common(1)[0][0]
    return Survey((height, width), most, wide, (low, high), kept, by_color, lossy, blends)


def mask_values(mask: MaskPixels) -> tuple[Counter[Any], bool]:
    """How often each grey value or RGB colour occurs, and whether these are colours.

    Palettes are resolved, colours without any hue count as grey, class scores as their best class.
    """
    pixels = mask.pixels
    if mask.one_hot:
        pixels = pixels.argmax(axis=-1)
    if mask.palette is not None:
        pixels = mask.palette[np.minimum(pixels, len(mask.palette) - 1)]
    if pixels.ndim == 3:
        same = (pixels[..., 0] == pixels[..., 1]) & (pixels[..., 0] == pixels[..., 2])
        if same.all():
            pixels = pixels[..., 0]
    if pixels.ndim == 2:
        values, counts = np.unique(pixels, return_counts=True)
        return Counter(dict(zip(map(int, values), map(int, counts), strict=True))), False
    flat = pixels.reshape(-1, 3)
    colors, counts = np.unique(flat, axis=0, return_counts=True)
    return Counter({tuple(map(int, c)): int(n) for c, n in zip(colors, counts, strict=True)}), True


def found_classes(found: Survey) -> list[LabelClass]:
    """The foreground classes of a survey: one per colour or value."""
    if found.by_color:
        return classes_of_colors([v for v in found.values if isinstance(v, tuple)])
    values = sorted(v for v in found.values if not isinstance(v, tuple) and v != 0)
    if found.lossy and len(values) != 1:
        values = [255]
    return classes_of_values(values)
