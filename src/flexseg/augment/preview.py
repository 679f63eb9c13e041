"""A contact sheet of what augmentation does to real pairs (`flexseg augment --preview`)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from flexseg.augment.geometric import GEOMETRIC
from flexseg.augment.multiplication import Multiplication, changing_draw, rng_for
from flexseg.augment.pairs import ScaledPair, read_scaled
from flexseg.augment.photometric import PHOTOMETRIC
from flexseg.augment.policy import Draw, RecipePolicy
from flexseg.batches.store import CaseReader
from flexseg.config.augmentation import AugmentationConfig
from flexseg.config.load import LoadedConfig, input_paths
from flexseg.dataset.cases import Case
from flexseg.dataset.division.config_splits import find_splits
from flexseg.dataset.labels import LabelClass, LabelMap
from flexseg.dataset.parallel import together
from flexseg.errors import DataError
from flexseg.files.display import distinct_color
from flexseg.files.preprocess import Preprocessing
from flexseg.outputs import make_folder, refuse_input, set_aside, whole
from flexseg.own_results import claim_picture

FILE_NAME = "augmentation_preview.png"
DEFAULT_CASES = 3

_TILE = 240  # pixels of a tile's longer side
_GAP = 8
_COLUMNS = 8
_TEXT = 15  # height of the letters
_LINE = _TEXT + 6
_SEAM = 3  # between an image and its enlarged part
_CANDIDATES = 5  # per case shown, to find some with many classes
_RANDOM_DRAWS = 4
_SMALL = 0.5  # the surroundings of an object that fill less of the image are shown enlarged too
_MARGIN = 1.6  # of these surroundings around the object
_DULL = 128  # images whose values span less are stretched
_COLORLESS = 60  # a smaller spread of red, green and blue is no hue
_BRIGHT = 90  # luminance of outlines at least; pure blue has 29
_DARK = (40, 40, 40)


def _range_of(name: str) -> tuple[str, float] | None:
    """The key with the range of a photometric transform, and its neutral value."""
    for key, neutral in PHOTOMETRIC.get(name).neutral.items():
        option = AugmentationConfig.model_fields.get(f"{name}_{key}")
        if option is not None and isinstance(option.default, tuple):
            return f"{name}_{key}", neutral
    return None


# Transform of [augmentation] -> its range, and the value with which it changes nothing.
RANGES: dict[str, tuple[str, float] | None] = {
    "crop": ("crop_share", 1),
    "hflip": None,
    "vflip": None,
    "shear": ("shear_factor", 0),
    "rotation": ("rotation_degrees", 0),
    "scaling": ("scaling_factor", 1),
    "barrel": ("barrel_amount", 0),
    "pincushion": ("pincushion_amount", 0),
    "elastic": ("elastic_shift", 0),
    **{name: _range_of(name) for name in PHOTOMETRIC},
}

_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
Rgb = NDArray[np.uint8]
Labels = NDArray[np.uint8]


@dataclass(frozen=True)
class _Tile:
    caption: str
    image: Rgb
    labels: Labels


@dataclass(frozen=True)
class Preview:
    """The picture `<folder>/augmentation_preview.png`, and the errors of pairs not looked at."""

    path: Path
    failed: list[DataError]


def draw_preview(loaded: LoadedConfig, folder: Path, cases: int = DEFAULT_CASES) -> Preview:
    """Draw some training pairs after each transform, with the outlines of the classes.

    The transforms of [augmentation], where it is enabled, are shown at both ends of their
    ranges, and some complete draws after them; else the variants of [augmentor]. An earlier
    sheet moves aside. Pairs that cannot be read are not shown.

    Raises
    ------
    ConfigError, DataError : config or data are wrong, or nothing augments.
    """
    e = loaded.experiment
    refuse_input("--output", folder, input_paths(e, loaded.path))
    plan = Multiplication.from_config(e.train.seed, e.augmentation, e.variants)
    splits = find_splits(e.data, only=("train",))
    splits.raise_errors()
    labels = LabelMap.from_config(e.class_sections)
    interpolation = e.dataset.resize_interpolation
    preprocessing = Preprocessing.from_config(e.model, e.image, e.volume, interpolation)
    reader = CaseReader(preprocessing.single, labels, e.mask.unknown_colors)
    failed: list[DataError] = []
    chosen = _choose(reader, splits.need("train"), cases, failed)
    blocks = []
    for case, pair in chosen:
        if e.augmentation.enabled:
            draws = _recipe_draws(e.augmentation, plan.seed, case, pair.labels)
        else:
            draws = ((what, draw) for _, what, draw in plan.draws(case, pair.labels))
        blocks.append((case.id, list(_tiles(pair, draws))))
    sheet = _sheet(blocks, labels)
    claim_picture(folder / FILE_NAME)
    path = make_folder(folder) / FILE_NAME
    set_aside(path)
    with whole(path) as part:
        sheet.save(part, format="PNG")
    return Preview(path, failed)


def _choose(
    reader: CaseReader, cases: Sequence[Case], count: int, failed: list[DataError]
) -> list[tuple[Case, ScaledPair]]:
    """Those with the most classes among some that are spread over the dataset.

    Errors of those that cannot be read are added to `failed`.
    """
    pairs = []
    for case in [cases[i] for i in _spread(len(cases), count * _CANDIDATES)]:
        try:
            pairs.append((case, read_scaled(reader, case)))
        except DataError as error:
            failed.append(error)
    if not pairs:
        raise together(failed, stopped=False)
    classes = [np.count_nonzero(reader.labels.count(pair.labels)) for _, pair in pairs]
    enough = sorted(classes, reverse=True)[:count][-1]
    good = [pair for pair, found in zip(pairs, classes, strict=True) if found >= enough]
    return [good[i] for i in _spread(len(good), count)]


def _spread(count: int, wanted: int) -> list[int]:
    return [int(i) for i in np.linspace(0, count - 1, min(count, wanted)).round()]


def _recipe_draws(
    config: AugmentationConfig, seed: int, case: Case, labels: Labels
) -> Iterator[tuple[str, Draw]]:
    yield "original", Draw()
    silent = dict.fromkeys(RANGES, 0.0)
    for name, limits in RANGES.items():
        if getattr(config, name) == 0:
            continue
        alone: dict[str, object] = {**silent, name: 1.0}
        if limits is None:
            settings = [(name, alone)]
        else:
            key, neutral = limits
            settings = [
                (f"{name} {value:.3g}", alone | {key: (value, value)})
                for value in _shown(getattr(config, key), neutral, full_turn=name == "rotation")
            ]
        for caption, update in settings:
            policy = RecipePolicy(config.model_copy(update=update))
            yield caption, policy.draw(rng_for(seed, case.id, f"preview {name}"), labels)
    recipe = RecipePolicy(config)
    for number in range(_RANDOM_DRAWS):
        draw = changing_draw(recipe, rng_for(seed, case.id, f"copy {number + 1}"), labels)
        done = re.findall("|".join([*GEOMETRIC, *PHOTOMETRIC]), draw.prefix)
        yield f"draw {number + 1}: {', '.join(done)}", draw


def _shown(limits: tuple[float, float], neutral: float, *, full_turn: bool) -> list[float]:
    """Both ends of a range, without the one that changes nothing."""
    low, high = limits
    if full_turn and high - low >= 360:
        low, high = low + (high - low) / 3, high - (high - low) / 3  # both ends look the same
    ends = sorted({low, high})
    return [end for end in ends if end != neutral] or ends[:1]


def _tiles(pair: ScaledPair, draws: Iterator[tuple[str, Draw]]) -> Iterator[_Tile]:
    # One stretch for all tiles, so that brightness and contrast can be compared.
    low, high = (float(v) for v in np.percentile(pair.image, (0.5, 99.5)))
    on_scale = pair.image.dtype == np.uint8 or pair.window is not None
    if on_scale and high - low >= _DULL:
        low, high = 0.0, 255.0
    for caption, draw in draws:
        image, labels = draw.apply(pair.image, pair.labels)
        shown = (image.astype(np.float32) - low) * (255 / max(high - low, 1e-6))
        rgb = np.clip(np.rint(shown), 0, 255).astype(np.uint8)
        rgb = rgb if rgb.shape[2] == 3 else np.repeat(rgb[..., :1], 3, axis=2)
        yield _Tile(caption, rgb, labels)


def _sheet(blocks: Sequence[tuple[str, list[_Tile]]], labels: LabelMap) -> Image.Image:
    """Per case a heading and its tiles in rows; above all, what the colours mean."""
    font = ImageFont.load_default(_TEXT)
    columns = min(_COLUMNS, max(len(tiles) for _, tiles in blocks))
    parts = [_legend(labels, columns, font)]
    for name, tiles in blocks:
        parts.append(_heading(name, columns, font))
        window = _around_foreground(tiles[0].labels)[0]
        enlarge = window.stop - window.start < _SMALL * min(tiles[0].labels.shape)
        cells = [_cell(tile, labels, font, enlarge) for tile in tiles]
        for start in range(0, len(cells), columns):
            row = cells[start : start + columns]
            strip = Image.new("RGB", (_width(columns), row[0].height + _GAP), "white")
            for i, cell in enumerate(row):
                strip.paste(cell, (_GAP + i * (_TILE + _GAP), 0))
            parts.append(strip)
    sheet = Image.new("RGB", (_width(columns), sum(part.height for part in parts)), "white")
    top = 0
    for part in parts:
        sheet.paste(part, (0, top))
        top += part.height
    return sheet


def _width(columns: int) -> int:
    return _GAP + columns * (_TILE + _GAP)


def _legend(labels: LabelMap, columns: int, font: _Font) -> Image.Image:
    strip = Image.new("RGB", (_width(columns), _LINE + _GAP), "white")
    canvas = ImageDraw.Draw(strip)
    x = _GAP
    for c in labels.foreground:
        canvas.rectangle((x, _GAP, x + _TEXT, _GAP + _TEXT), _line_color(labels, c), _DARK)
        canvas.text((x + _TEXT + 6, _GAP - 2), c.name, _DARK, font)
        x += _TEXT + 24 + int(font.getlength(c.name))
    return strip


def _heading(name: str, columns: int, font: _Font) -> Image.Image:
    strip = Image.new("RGB", (_width(columns), _LINE + 2 * _GAP), "white")
    canvas = ImageDraw.Draw(strip)
    canvas.line((0, _GAP // 2, strip.width, _GAP // 2), (200, 200, 200))
    canvas.text((_GAP, _GAP), _cut(name, strip.width - 2 * _GAP, font), "black", font)
    return strip


def _cell(tile: _Tile, labels: LabelMap, font: _Font, enlarge: bool) -> Image.Image:
    """A caption of two lines, the picture, and if wanted its foreground enlarged below it."""
    pictures = [_outlined(tile.image, tile.labels, labels)]
    if enlarge:
        part = _around_foreground(tile.labels)
        pictures.append(_outlined(tile.image[part], tile.labels[part], labels))
    below = 2 * _LINE
    height = below + sum(len(picture) + _SEAM for picture in pictures)
    cell = Image.new("RGB", (_TILE, height), "white")
    lines = _wrapped(tile.caption, font)
    for i, text in enumerate(lines):
        place = below - (len(lines) - i) * _LINE
        ImageDraw.Draw(cell).text((0, place), text, _DARK, font)
    for picture in pictures:
        cell.paste(Image.fromarray(picture), (0, below))
        below += len(picture) + _SEAM
    return cell


def _around_foreground(labels: Labels) -> tuple[slice, slice]:
    """A square window around the largest connected foreground."""
    _, _, stats, _ = cv2.connectedComponentsWithStats((labels > 0).astype(np.uint8))
    height, width = labels.shape
    if len(stats) > 1:
        x, y, w, h = (int(v) for v in stats[1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())][:4])
    else:
        x, y, w, h = width // 4, height // 4, width // 2, height // 2
    side = min(int(max(w, h, 16) * _MARGIN), height, width)
    left = min(max(x + w // 2 - side // 2, 0), width - side)
    top = min(max(y + h // 2 - side // 2, 0), height - side)
    return slice(top, top + side), slice(left, left + side)


def _outlined(image: Rgb, labels: Labels, label_map: LabelMap) -> Rgb:
    """An image enlarged to a tile [h, _TILE, 3], the classes outlined in their colours."""
    scale = _TILE / labels.shape[1]
    size = (_TILE, max(1, round(labels.shape[0] * scale)))
    shrinks = scale < 1
    big = cv2.resize(
        np.ascontiguousarray(image), size,
        interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR,
    )  # fmt: skip
    ids = cv2.resize(np.ascontiguousarray(labels), size, interpolation=cv2.INTER_NEAREST_EXACT)
    for c in label_map.foreground:
        region = (ids == c.id).astype(np.uint8)
        outlines, _ = cv2.findContours(region, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(big, outlines, -1, _line_color(label_map, c), 1)
    return big


def _line_color(labels: LabelMap, c: LabelClass) -> tuple[int, int, int]:
    """The colour of a class, bright enough for dark images; another one for grey and white."""
    color = c.colors[0]
    if max(color) - min(color) < _COLORLESS:
        color = distinct_color(c.id - 1, len(labels.foreground))
    vivid = np.array(color) * (255 / max(color))
    luminance = float(vivid @ (0.299, 0.587, 0.114))
    white = max(0.0, (_BRIGHT - luminance) / (255 - luminance))
    r, g, b = (round(float(v)) for v in vivid + white * (255 - vivid))
    return r, g, b


def _cut(text: str, width: float, font: _Font) -> str:
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."


def _wrapped(text: str, font: _Font) -> list[str]:
    """A caption in at most two lines of a tile's width."""
    first = ""
    words = text.split(" ")
    while words and font.getlength(f"{first} {words[0]}".strip()) <= _TILE:
        first = f"{first} {words.pop(0)}".strip()
    if not words:
        return [first]
    if not first:
        first = words.pop(0)
    return [line for line in (_cut(first, _TILE, font), _cut(" ".join(words), _TILE, font)) if line]
