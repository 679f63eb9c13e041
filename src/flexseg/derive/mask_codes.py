"""What masks of any storage mean: one class, grey values, palette indices, or colours."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ImageColor

from flexseg.config.findings import examples
from flexseg.dataset.labels import LabelClass, make_classes
from flexseg.dataset.parallel import Progress, run_parallel
from flexseg.derive.dataset_writer import ClassSpec, without_background
from flexseg.errors import ConfigError, DataError
from flexseg.files.images import MaskPixels, read_mask

_MAX_FOUND = 32
Rgb = tuple[int, int, int]
ColorClass = tuple[str, tuple[Rgb, ...]]


class Unknown(StrEnum):
    """What becomes of mask pixels whose colour or value is in no class."""

    ERROR = "error"
    BACKGROUND = "background"
    NEAREST = "nearest"


def parse_colors(texts: Iterable[str]) -> tuple[ColorClass, ...]:
    """`255,0,0=lesion`, `#ff0000=lesion` and `red=lesion` as (class name, colours).

    Raises
    ------
    ConfigError : a text is not of that form, or a colour occurs twice.
    """
    classes: dict[str, list[Rgb]] = {}
    seen: set[Rgb] = set()
    for text in texts:
        left, _, name = (part.strip() for part in text.partition("="))
        try:
            numbers = re.fullmatch(r"(\d+)\s*,\s*(\d+)\s*,\s*(\d+)", left)
            channels = [int(n) for n in numbers.groups()] if numbers else ImageColor.getrgb(left)
            red, green, blue = channels[:3]
            if not name or max(channels) > 255:
                raise ValueError
        except ValueError:
            raise ConfigError(
                f"{text!r} gives no colour a class.",
                "Write R,G,B=NAME, #RRGGBB=NAME or a colour name, e.g. '255,0,0=lesion'.",
                "--color",
            ) from None
        if (red, green, blue) in seen:
            raise ConfigError(f"The colour {left} occurs twice.", "Keep one.", "--color")
        seen.add((red, green, blue))
        classes.setdefault(name, []).append((red, green, blue))
    return tuple((name, tuple(colors)) for name, colors in classes.items())


@dataclass(frozen=True)
class MaskCode:
    """What the masks mean.

    Attributes
    ----------
    kind : `mark`: what is not black is foreground, or from `threshold` on; `values`: by grey
        value or palette index; `colors`: by colour.
    classes : background first; a class's `colors` are those of the source if kind is `colors`.
    """

    kind: str
    classes: tuple[LabelClass, ...]
    threshold: float | None = None
    unknown: Unknown = Unknown.ERROR

    def read(self, path: Path, shape: tuple[int, ...]) -> tuple[NDArray[np.uint8], Counter[str]]:
        """Class ids [H, W] of a mask (`mark`: 0 and 1), and how many pixels are in no class.

        Raises
        ------
        DataError : the mask has another size than the image, or what it holds is unclear.
        """
        mask = read_mask(path)
        if mask.pixels.shape[:2] != shape[:2]:
            sizes = [f"{s[1]} x {s[0]}" for s in (mask.pixels.shape, shape)]
            raise DataError(
                f"The mask is {sizes[0]}, its image {sizes[1]} pixels (width x height).",
                "Export them at the same size.",
                str(path),
            )
        if self.kind == "mark":
            return _marked(mask, self.threshold, path), Counter[str]()
        if self.kind == "colors":
            keys: NDArray = _rgb(mask).astype(np.int32) @ (65536, 256, 1)
            known = {_packed(rgb): c.id for c in self.classes for rgb in c.colors}
        else:
            keys = _values(mask, path)
            known = {value: c.id for c in self.classes for value in c.values}
        return self._encode(keys, known, path)

    def _encode(
        self, keys: NDArray[np.integer], known: dict[int, int], path: Path
    ) -> tuple[NDArray[np.uint8], Counter[str]]:
        found, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
        unknown = Counter[str]()
        ids = np.zeros(len(found), np.uint8)
        for i, (key, count) in enumerate(zip(found.tolist(), counts.tolist(), strict=True)):
            if key in known:
                ids[i] = known[key]
            else:
                unknown[self._name(key)] = count
                ids[i] = self._nearest(key, known) if self.unknown is Unknown.NEAREST else 0
        if unknown and self.unknown is Unknown.ERROR:
            listed = [f"{name} ({n} pixels)" for name, n in unknown.most_common()]
            what, option = self._told_as
            raise DataError(
                f"{len(listed)} {what} are in no class: {examples(listed)}.",
                f"Add them with {option}, or give --unknown background or --unknown nearest.",
                str(path),
            )
        return ids[inverse.reshape(keys.shape)], unknown

    @property
    def _told_as(self) -> tuple[str, str]:
        return ("colours", "--color") if self.kind == "colors" else ("values", "--label")

    def _name(self, key: int) -> str:
        return f"#{key:06x}" if self.kind == "colors" else str(key)

    def _nearest(self, key: int, known: dict[int, int]) -> int:
        if self.kind == "values":
            return known[min(known, key=lambda k: abs(k - key))]
        rgb = np.array(_unpacked(key))
        return known[min(known, key=lambda k: float(((rgb - _unpacked(k)) ** 2).sum()))]


def _packed(rgb: Rgb) -> int:
    return rgb[0] << 16 | rgb[1] << 8 | rgb[2]


def _unpacked(key: int) -> Rgb:
    return key >> 16, key >> 8 & 255, key & 255


def _rgb(mask: MaskPixels) -> NDArray:
    if mask.palette is not None:
        return mask.palette[np.minimum(mask.pixels, len(mask.palette) - 1)]
    if mask.pixels.ndim == 2:
        return np.repeat(mask.pixels[..., None], 3, axis=-1)
    return mask.pixels


def _values(mask: MaskPixels, path: Path) -> NDArray[np.integer]:
    """Grey values or palette indices [H, W]. Raises DataError if the mask is in colour."""
    pixels = mask.pixels
    if mask.one_hot:
        return pixels.argmax(axis=-1)
    if pixels.ndim == 3:
        if (pixels != pixels[..., :1]).any():
            raise DataError(
                "The mask is in colour.",
                "Give the class of each colour, e.g. --color '255,0,0=lesion'.",
                str(path),
            )
        pixels = pixels[..., 0]
    if np.issubdtype(pixels.dtype, np.floating):
        if not (pixels == np.rint(pixels)).all():
            raise DataError("The mask holds fractions.", "Give --threshold, e.g. 0.5.", str(path))
        return np.rint(pixels).astype(np.int64)
    return pixels.astype(np.uint8) if pixels.dtype == bool else pixels


def _marked(mask: MaskPixels, threshold: float | None, path: Path) -> NDArray[np.uint8]:
    """1 where a mask of one class is foreground."""
    rgb = _rgb(mask) if mask.palette is not None or mask.pixels.ndim == 3 else None
    # Any colour is foreground, also the dark ones: so not the luminance.
    gray = mask.pixels if rgb is None else rgb.max(axis=-1)
    if threshold is None and mask.lossy:
        threshold = 128  # compression blurs black and white into all values between
    if threshold is not None:
        return (gray >= threshold).astype(np.uint8)
    values = np.unique(gray[gray != 0])
    if len(values) > 1:
        raise DataError(
            f"A mask of one class has {len(values)} values besides 0: "
            f"{examples([str(v) for v in values])}.",
            "Give --threshold 128 for masks with grey edges, --threshold 1 if all that is not "
            "black is foreground (numbered instances), or --label VALUE=NAME for classes.",
            str(path),
        )
    return (gray != 0).astype(np.uint8)


def code_of_colors(colors: Sequence[ColorClass], unknown: Unknown) -> MaskCode:
    """Masks whose colours mean classes; black is background unless a class has it."""
    black: tuple[Rgb, ...] = next((c for n, c in colors if n in ("background", "0")), ())
    if not any((0, 0, 0) in of_class for _, of_class in colors):
        black = (*black, (0, 0, 0))
    foreground = [(n, c) for n, c in colors if n not in ("background", "0")]
    classes = make_classes([(name, ()) for name, _ in foreground])
    source = [black, *(c for _, c in foreground)]
    coded = tuple(
        LabelClass(c.id, c.name, of_class) for c, of_class in zip(classes, source, strict=True)
    )
    return MaskCode("colors", coded, unknown=unknown)


def code_of_labels(labels: Sequence[ClassSpec], unknown: Unknown) -> MaskCode:
    """Masks whose grey values or palette indices mean classes; 0 is background unless named."""
    empty, foreground = without_background(labels)
    background, *rest = make_classes([(s.name, s.values) for s in foreground])
    first = LabelClass(0, background.name, background.colors, empty)
    return MaskCode("values", (first, *rest), unknown=unknown)


def code_of_marks(names: Sequence[str], threshold: float | None) -> MaskCode:
    """Masks of one class each."""
    return MaskCode("mark", make_classes([(name, ()) for name in names]), threshold)


@dataclass(frozen=True)
class _Survey:
    """What one mask holds: values or packed colours, and the palette's colours of the values."""

    keys: set[int]
    in_color: bool = False
    lossy: bool = False
    palette: dict[int, Rgb] = field(default_factory=dict)


def find_code(paths: Sequence[Path], workers: int | None, on_done: Progress | None) -> MaskCode:
    """The code that all masks together suggest: each value or colour is a class.

    Raises
    ------
    DataError : there are too many to be classes, or palettes contradict each other.
    """
    surveys = run_parallel(_survey, paths, workers, on_done)
    if any(survey.lossy for survey in surveys):
        return code_of_marks(["foreground"], None)
    colors = {key for survey in surveys if survey.in_color for key in survey.keys}
    values = {key for survey in surveys if not survey.in_color for key in survey.keys}
    palette: dict[int, Rgb] = {}
    for survey, path in zip(surveys, paths, strict=True):
        for index, rgb in survey.palette.items():
            if palette.setdefault(index, rgb) != rgb:
                raise DataError(
                    f"Index {index} of the palette is {rgb} here and {palette[index]} elsewhere.",
                    "Say which colours mean which classes: --color R,G,B=NAME.",
                    str(path),
                )
    if colors:  # masks in which no colour happens to occur, say all black ones, are stored alike
        colors |= {
            _packed(survey.palette.get(key, (key, key, key)))
            for survey in surveys
            if not survey.in_color
            for key in survey.keys
        }
    keys = sorted((colors or values) - {0})
    if len(keys) > _MAX_FOUND:
        raise DataError(
            f"The masks hold {len(keys)} different {'colours' if colors else 'values'}.",
            "Say what they mean: --color R,G,B=NAME, --label VALUE=NAME, or --threshold for one "
            "class; --unknown nearest takes blurred edges to the nearest class.",
            str(paths[0].parent),
        )
    if colors:
        one = len(keys) == 1
        found = [("foreground" if one else f"color #{k:06x}", (_unpacked(k),)) for k in keys]
        return code_of_colors(found, Unknown.ERROR)
    one = len(keys) == 1
    specs = [ClassSpec("foreground" if one else f"label {key}", (key,)) for key in keys]
    return code_of_labels(specs, Unknown.ERROR)


def _survey(path: Path) -> _Survey:
    mask = read_mask(path)
    if mask.lossy:
        return _Survey(set(), lossy=True)
    if mask.palette is None and mask.pixels.ndim == 3 and not mask.one_hot:
        pixels = mask.pixels
        if (pixels != pixels[..., :1]).any():
            keys = np.unique(pixels.astype(np.int32) @ (65536, 256, 1))
            return _Survey(set(keys.tolist()), in_color=True)
    values: list[int] = np.unique(_values(mask, path)).tolist()
    if mask.palette is None:
        return _Survey(set(values))
    last = len(mask.palette) - 1
    palette: dict[int, Rgb] = {}
    for value in values:
        red, green, blue = map(int, mask.palette[min(value, last)])
        palette[value] = red, green, blue
    if mask.palette[0].any() and (0, 0, 0) in palette.values():
        # Programs that make palettes order them by frequency: the background is black, not index 0.
        return _Survey({_packed(rgb) for rgb in palette.values()}, in_color=True)
    return _Survey(set(values), palette=palette)
