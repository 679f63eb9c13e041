"""What a dataset looks like: sizes, channels, intensities, and the classes of its masks."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from flexseg.dataset.cases import Case
from flexseg.derive.dataset_writer import DATASET_FILE
from flexseg.errors import ConfigError, DataError
from flexseg.files.display import distinct_color
from flexseg.files.images import MaskPixels, read_image, read_mask
from flexseg.files.intensity import Intensity
from flexseg.files.volumes.slices import parse_axes

_SAMPLE = 60
# More values than this are shades, of which only those with this share of the pixels are classes.
_FEW = 12
_CLASS_SHARE = 0.002


@dataclass(frozen=True)
class FoundClass:
    """A foreground class; `values` are what it is in one-channel masks, none: its id or colour."""

    id: int
    name: str
    color: tuple[int, int, int]
    values: tuple[int, ...] = ()


@dataclass(frozen=True)
class VolumeCut:
    """How the slices of a derived dataset were cut from volumes.

    Attributes
    ----------
    axes : directions, the first of which new volumes are cut in.
    intensity : None where the dataset does not say.
    """

    axes: tuple[str, ...]
    rotate: int
    intensity: Intensity | None
    bits: int


@dataclass(frozen=True)
class Description:
    """What `flexseg derive` says about a dataset that it made.

    Attributes
    ----------
    classes : empty where masks were taken over unchanged.
    group : regular expression that finds volume, patient or image in a file name.
    volume : None where the images are no slices of volumes.
    """

    classes: tuple[FoundClass, ...]
    group: str | None
    volume: VolumeCut | None


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


def found_classes(found: Survey) -> list[FoundClass]:
    """The foreground classes of a survey: one per colour or value."""
    if found.by_color:
        return classes_of_colors([v for v in found.values if isinstance(v, tuple)])
    values = sorted(v for v in found.values if not isinstance(v, tuple) and v != 0)
    if found.lossy and len(values) != 1:
        values = [255]
    return classes_of_values(values)


def classes_of_colors(colors: Sequence[tuple[int, int, int]]) -> list[FoundClass]:
    """One class per colour but black, by ascending colour."""
    named = sorted(color for color in colors if color != (0, 0, 0))
    return [FoundClass(i, f"class {i}", color) for i, color in enumerate(named, start=1)]


def classes_of_values(values: Sequence[int]) -> list[FoundClass]:
    """One class per grey value, in the order given, with colours that are easy to tell apart."""
    return [
        FoundClass(i, f"class {i}", distinct_color(i - 1, len(values)), (v,))
        for i, v in enumerate(values, start=1)
    ]


def label_names(path: Path) -> dict[int, str]:
    """Names of label values: of the Decathlon {"1": "liver"} or of nnU-Net {"liver": 1}.

    None are known where there is no such file, one of another kind, or one with equal names.
    """
    try:
        labels = json.loads(path.read_text(encoding="utf-8"))["labels"]
        pairs = [(k, v) if isinstance(v, str) else (v, k) for k, v in labels.items()]
        names = {int(v): str(name) for v, name in pairs if not isinstance(v, list)}
        foreground = [name.casefold() for value, name in names.items() if value]
        unclear = len({*foreground}) < len(foreground) or "background" in foreground
        return {} if unclear else names
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def description(dataset: Path) -> Description | None:
    """What the `dataset.json` of `flexseg derive` says. Its masks hold class ids, or colours.

    None without one; other programs, as nnU-Net, write files of this name and other content.

    Raises
    ------
    DataError : it cannot be read.
    """
    path = dataset / DATASET_FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not (isinstance(content, dict) and "classes" in content):
            return None
        classes = tuple(
            FoundClass(int(c["id"]), str(c["name"]), (int(red), int(green), int(blue)))
            for c in content["classes"]
            if c["id"] != 0
            for red, green, blue in [c["color"]]
        )
        return Description(classes, content.get("group"), _volume(content.get("parameters", {})))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ConfigError) as error:
        raise DataError(
            f"The description of the dataset cannot be read ({error}).",
            "Restore the file that `flexseg derive` wrote, or remove it.",
            str(path),
        ) from None


def _volume(parameters: dict[str, Any]) -> VolumeCut | None:
    if "axis" not in parameters:
        return None
    axes = tuple(parse_axes(parameters["axis"]))
    intensity = Intensity.parse(parameters["window"]) if "window" in parameters else None
    return VolumeCut(axes, parameters["rotate"], intensity, parameters["bits"])
