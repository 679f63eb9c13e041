"""Pictures of a segmented volume for a quick look: a montage of slices, and frames of a video."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from flexseg.dataset.labels import LabelClass, LabelMap
from flexseg.files.display import shown_color
from flexseg.files.intensity import GreyValues, Intensity
from flexseg.files.volumes.slices import ANATOMICAL_AXES, SliceAxis, contiguous
from flexseg.files.volumes.volume import Volume
from flexseg.outputs import whole

Rgb = tuple[int, int, int]

_PANELS = 24
_PAGE, _NARROWEST, _GAP, _MARGIN = 2000, 1200, 10, 24
# Pages are about as wide to high as a screen.
_SHAPE = 1.45
_FILL = 0.35
_MOST_ENLARGED = 10
_FRAME, _SMALL_FRAME = 768, 384
_BLOCK = 8
_GROUND, _INK, _MUTED = (17, 20, 24), (238, 240, 243), (158, 166, 176)
# Which end of the patient is at the left, the right and the top of a slice.
_ENDS = {"axial": "RLA", "coronal": "RLS", "sagittal": "APS"}
_FIRST = {"axial": "feet first", "coronal": "front first", "sagittal": "right side first"}
# What x, y, z of "LPS" order are counted along.
_TOWARDS = {"axial": "S", "coronal": "P", "sagittal": "L"}


def class_color(label: LabelClass) -> Rgb:
    """The colour of a foreground class in previews: as in overlays and reports."""
    return shown_color(label.colors[0], label.id)


def preview_volume(volume: Volume) -> Volume:
    """What previews show of a volume: colours of 8 bits, else the first channel (a view)."""
    colors = volume.channels == 3 and volume.array.dtype == np.uint8
    return volume if colors or volume.array.ndim == 3 else volume.channel(0)


def preview_grey(
    volume: Volume, window: Intensity | None = None, where: str = "volume", *, quiet: bool = False
) -> GreyValues:
    """The grey values of a `preview_volume`.

    Parameters
    ----------
    window : by default from the 0.5th to the 99.5th percentile; colours stay as they are.
    quiet : see `GreyValues.of`.

    Raises
    ------
    DataError : no voxel is finite.
    """
    if volume.channels == 3:
        return GreyValues.of(volume.array, None, 8, where, quiet=quiet)
    if window is None or window.kind == "none":
        window = Intensity("percentile", 0.5, 99.5)
    return GreyValues.of(volume.array, window, 8, where, quiet=quiet)


def preview_axis(volume: Volume) -> SliceAxis:
    """Axial, but the plane of acquisition where slices are at least twice as far apart."""
    between = {name: SliceAxis(name).spacing(volume)[2] for name in ANATOMICAL_AXES}
    thickest = max(between, key=lambda name: between[name])
    far = between[thickest] >= 2 * between["axial"]
    return SliceAxis(thickest if far else "axial")


def voxels_per_slice(
    labels: NDArray[np.uint8], axis: SliceAxis, orientation: str, classes: int
) -> NDArray[np.int64]:
    """The voxels [slices, classes] of each class in each slice; memory: a few slices."""
    view = axis.slice_view(labels, orientation)
    counts = np.zeros((len(view), classes), np.int64)
    for start in range(0, len(view), _BLOCK):
        for i, plane in enumerate(contiguous(view[start : start + _BLOCK]), start):
            if plane.any():
                counts[i] = np.bincount(plane.reshape(-1), minlength=classes)[:classes]
            else:
                counts[i, 0] = plane.size
    return counts


def choose_slices(counts: NDArray[np.int64], most: int = _PANELS) -> list[int]:
    """Slices that show what was found, and where around it nothing was.

    The slice with most of each class comes first, then labelled slices evenly, up to three
    quarters; the rest is spread over the volume.

    Parameters
    ----------
    counts : voxels [slices, classes], the background first.
    """
    total, found = len(counts), counts[:, 1:]
    if total <= most:
        return list(range(total))
    labelled = np.flatnonzero(found.any(axis=1))
    share = most * 3 // 4
    present = np.flatnonzero(found.any(axis=0))
    largest = sorted(present, key=lambda c: -int(found[:, c].sum()))
    chosen = {int(found[:, c].argmax()) for c in largest[:share]}
    for candidates, limit in ((labelled, share), (np.arange(total), most)):
        chosen |= _evenly(candidates, chosen, limit)
    return sorted(chosen)


def _evenly(candidates: NDArray, chosen: set[int], limit: int) -> set[int]:
    """Of sorted candidates so many, evenly spread, that `limit` are chosen (or all are)."""
    left = [int(c) for c in candidates if int(c) not in chosen]
    wanted = min(limit - len(chosen), len(left))
    if wanted <= 0:
        return set()
    return {left[i] for i in np.linspace(0, len(left) - 1, wanted).round().astype(int)}


def slice_numbers(volume: Volume, axis: SliceAxis) -> range:
    """The numbers of slices as `volumes.csv` counts them: from 0 along the file's own axis."""
    count = len(axis.slice_view(volume.array, volume.orientation))
    if _TOWARDS[axis.name] in volume.orientation:
        return range(count)
    return range(count - 1, -1, -1)


@dataclass(frozen=True)
class _Found:
    """A class, its volume, and the colour that it is drawn in."""

    name: str
    milliliters: float
    color: Rgb


@dataclass(frozen=True)
class _Panels:
    """Slices to draw, and how large."""

    axis: SliceAxis
    indices: Sequence[int]
    numbers: range
    columns: int
    width: int
    height: int


def montage(
    volume: Volume,
    labels: NDArray[np.uint8],
    label_map: LabelMap,
    path: Path,
    *,
    grey: GreyValues | None = None,
    title: str | None = None,
) -> None:
    """Write a PNG of up to 24 slices with their classes, a legend and the volumes in ml.

    Slices look as radiologists see them, with the proportions of the patient.

    Parameters
    ----------
    labels : class ids [z, y, x].
    grey : see `preview_grey`; of `preview_volume(volume)`.
    title : by default the name of the file.
    """
    volume = preview_volume(volume)
    grey = grey or preview_grey(volume)
    axis = preview_axis(volume)
    counts = voxels_per_slice(labels, axis, volume.orientation, len(label_map.classes))
    panels = _layout(volume, axis, choose_slices(counts))
    total = counts.sum(axis=0) * volume.voxel_ml
    found = [
        _Found(c.name, float(total[c.id]), class_color(c))
        for c in label_map.foreground
        if total[c.id]
    ]
    missing = [c.name for c in label_map.foreground if not total[c.id]]
    across = panels.columns * (panels.width + _GAP) - _GAP + 2 * _MARGIN
    about = _description(volume, panels, grey)
    head = _head(title or path.stem, about, found, missing, max(across, _NARROWEST))
    rows = -(-len(panels.indices) // panels.columns)
    size = (head.width, head.height + rows * (panels.height + _GAP) - _GAP + _MARGIN)
    page = Image.new("RGB", size, _GROUND)
    page.paste(head, (0, 0))
    pixels = axis.slice_view(volume.array, volume.orientation)
    masks = axis.slice_view(labels, volume.orientation)
    letters = _letters(volume, axis)
    for place, i in enumerate(panels.indices):
        picture = _panel(grey(pixels[i]), masks[i], label_map.foreground, panels)
        row, column = divmod(place, panels.columns)
        corner = (
            _MARGIN + column * (panels.width + _GAP),
            head.height + row * (panels.height + _GAP),
        )
        image = Image.fromarray(picture)
        _annotate(image, str(panels.numbers[i]), bool(counts[i, 1:].any()), letters)
        page.paste(image, corner)
    with whole(path) as part:
        page.save(part, "PNG")


def overlay_frames(
    volume: Volume,
    labels: NDArray[np.uint8],
    label_map: LabelMap,
    alpha: float = 0.5,
    beta: float = 0.5,
    gamma: float = 0.0,
    *,
    grey: GreyValues | None = None,
) -> Iterator[NDArray[np.uint8]]:
    """Every slice as RGB [H, W, 3] with square pixels, one at a time, for `write_video`.

    Where there is a class: `alpha` x image + `beta` x colour of the class + `gamma`. Each frame
    has its slice's number, as in `volumes.csv`.

    Parameters
    ----------
    labels, grey : see `montage`.
    """
    volume = preview_volume(volume)
    grey = grey or preview_grey(volume)
    axis = preview_axis(volume)
    height, width = _frame_size(volume, axis)
    numbers, letters = slice_numbers(volume, axis), _letters(volume, axis)
    pixels = axis.slice_view(volume.array, volume.orientation)
    masks = axis.slice_view(labels, volume.orientation)
    colors = np.zeros((256, 3), np.float32)
    for c in label_map.foreground:
        colors[c.id] = class_color(c)
    for start in range(0, len(pixels), _BLOCK):
        stop = start + _BLOCK
        blocks = contiguous(pixels[start:stop]), contiguous(masks[start:stop])
        for i, (voxels, mask) in enumerate(zip(*blocks, strict=True), start):
            rgb = _resized(grey(voxels), height, width)
            shown = cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
            mixed = alpha * rgb + beta * colors[shown] + np.float32(gamma)
            mixed = np.rint(np.clip(mixed, 0, 255)).astype(np.uint8)
            image = Image.fromarray(np.where((shown > 0)[..., None], mixed, rgb))
            _annotate(image, f"{axis.name} {numbers[i]}", True, letters)
            yield np.asarray(image)


def _frame_size(volume: Volume, axis: SliceAxis) -> tuple[int, int]:
    """Height and width of frames: of the finest pixels, within limits."""
    rows, columns = axis.slice_view(volume.array, volume.orientation).shape[1:3]
    high, wide, _ = axis.spacing(volume)
    millimeters = np.array([rows * high, columns * wide])
    longest = float(millimeters.max() / min(high, wide))
    size = millimeters / millimeters.max() * np.clip(longest, _SMALL_FRAME, _FRAME)
    return max(2, round(size[0])), max(2, round(size[1]))


def _layout(volume: Volume, axis: SliceAxis, indices: Sequence[int]) -> _Panels:
    """As many columns as make the page's shape that of a screen."""
    rows, columns = axis.slice_view(volume.array, volume.orientation).shape[1:3]
    high, wide, _ = axis.spacing(volume)
    # Very long slices get a panel that still can be looked at.
    aspect = float(np.clip(rows * high / (columns * wide), 0.2, 5))
    count = len(indices)
    across = min(
        range(1, min(count, 8) + 1),
        # Empty places at the end count as well.
        key=lambda n: abs(np.log(n / (aspect * -(-count // n)) / _SHAPE)) + -count % n / count,
    )
    room = (_PAGE - 2 * _MARGIN - (across - 1) * _GAP) // across
    width = min(room, round(columns * wide / min(high, wide) * _MOST_ENLARGED))
    height = max(1, round(width * aspect))
    return _Panels(axis, indices, slice_numbers(volume, axis), across, width, height)


def _resized(pixels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Grey or colours as RGB [height, width, 3]: by area where that shrinks, else bilinear."""
    shrinks = height <= pixels.shape[0] and width <= pixels.shape[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    resized = cv2.resize(np.ascontiguousarray(pixels), (width, height), interpolation=how)
    return resized if resized.ndim == 3 else cv2.cvtColor(resized, cv2.COLOR_GRAY2RGB)


def _panel(
    pixels: NDArray[np.uint8],
    mask: NDArray[np.uint8],
    classes: Sequence[LabelClass],
    panels: _Panels,
) -> NDArray[np.uint8]:
    """A slice at the panel's size: classes filled lightly, with an opaque outline."""
    result = _resized(pixels, panels.height, panels.width)
    present = set(np.unique(mask).tolist())
    width = 2 if min(panels.width, panels.height) >= 200 else 1
    around = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * width + 1, 2 * width + 1))
    for c in classes:
        if c.id not in present:
            continue
        region = _region((mask == c.id).astype(np.uint8), panels.height, panels.width)
        color = np.array(class_color(c), np.float32)
        inside = region > 0
        result[inside] = np.rint((1 - _FILL) * result[inside] + _FILL * color)
        # What touches the picture's border is closed there.
        inner = cv2.erode(region, around, borderType=cv2.BORDER_CONSTANT, borderValue=0)
        result[region > inner] = class_color(c)
    return result


def _region(mask: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """A mask of 0 and 1 at another size; what is too small for half a pixel is still shown."""
    if height >= mask.shape[0] and width >= mask.shape[1]:
        return cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    share = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
    parts, _ = cv2.connectedComponents(mask)
    region = (share >= 0.5).astype(np.uint8)
    if cv2.connectedComponents(region)[0] < parts:
        region = (share > 0).astype(np.uint8)
    return region


def _letters(volume: Volume, axis: SliceAxis) -> str:
    """The ends of the patient at the left, right and top; none where the file has no geometry."""
    bare = np.array_equal(volume.affine, np.eye(4))
    return "" if bare else _ENDS[axis.name]


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    import matplotlib

    # Matplotlib's own font has the letters of most European languages.
    return ImageFont.truetype(
        str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), size
    )


def _annotate(image: Image.Image, text: str, labelled: bool, letters: str) -> None:
    draw, font = ImageDraw.Draw(image), _font(18)
    w, h = image.size
    places = ((6, h // 2, "lm"), (w - 6, h // 2, "rm"), (w // 2, 5, "mt"))
    texts = [(7, h - 6, "ls", text, font, _INK if labelled else _MUTED)]
    for letter, (x, y, anchor) in zip(letters, places, strict=False):
        texts.append((x, y, anchor, letter, _font(15), _MUTED))
    for x, y, anchor, words, kind, color in texts:
        draw.text((x, y), words, color, kind, anchor, stroke_width=2, stroke_fill=(0, 0, 0))


def _description(volume: Volume, panels: _Panels, grey: GreyValues) -> str:
    name, total = panels.axis.name, len(panels.numbers)
    shown = len(panels.indices)
    x, y, z = volume.spacing
    sizes = " x ".join(str(n) for n in reversed(volume.shape))
    parts = [
        f"{shown} of {total} {name} slices, {_FIRST[name]}" if shown > 1 else f"one {name} slice",
        f"{sizes} voxels of {x:.3g} x {y:.3g} x {z:.3g} mm",
    ]
    if grey.intensity is not None:
        parts.append(f"grey from {grey.extremes[0]:.4g} to {grey.extremes[1]:.4g}")
    return "   |   ".join(parts)


def milliliters(value: float) -> str:
    """A volume for people: three digits, but whole millilitres from 100 on."""
    if value >= 100:
        return f"{value:,.0f} ml"
    return f"{value:.3g} ml"


def _head(
    title: str, about: str, found: Sequence[_Found], missing: Sequence[str], page: int
) -> Image.Image:
    """Title, description and legend, `page` pixels wide."""
    font, small = _font(22), _font(19)
    entries = [(f"{c.name}  {milliliters(c.milliliters)}", c.color) for c in found]
    lines: list[list[tuple[int, str, Rgb]]] = [[]]
    x = _MARGIN
    for text, color in entries:
        width = 30 + round(font.getlength(text)) + 34
        if lines[-1] and x + width > page - _MARGIN:
            lines.append([])
            x = _MARGIN
        lines[-1].append((x, text, color))
        x += width
    notes = []
    if missing:
        names = ", ".join(missing[:8]) + (f" and {len(missing) - 8} more" if missing[8:] else "")
        notes.append(f"Not found: {names}")
    if len({c.color for c in found}) < len(found):
        notes.append("Several classes have the same colour; the viewer tells them apart.")
    legend = lines if found else []
    height = 96 + 36 * len(legend) + 30 * len(notes) + 10
    image = Image.new("RGB", (page, height), _GROUND)
    draw = ImageDraw.Draw(image)
    draw.text((_MARGIN, 18), title, _INK, _font(28))
    draw.text((_MARGIN, 60), about, _MUTED, small)
    y = 96
    for line in legend:
        for x, text, color in line:
            draw.rectangle((x, y + 4, x + 20, y + 24), color, (238, 240, 243))
            draw.text((x + 30, y), text, _INK, font)
        y += 36
    for note in notes:
        draw.text((_MARGIN, y), note, _MUTED, small)
        y += 30
    return image
