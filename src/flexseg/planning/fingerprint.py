"""The figures of a dataset that decide on network, sizes and augmentation.

What training must not know of the test is left out: sizes, groups and numbers are those of all
cases, everything that the pixels say is of training cases alone.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from flexseg.dataset.cases import Case, case_mask
from flexseg.dataset.division.dividing import Division
from flexseg.dataset.division.splits import SPLITS
from flexseg.dataset.ignored.pixels import IGNORED
from flexseg.dataset.labels import LabelMap
from flexseg.dataset.parallel import Progress
from flexseg.dataset.reading import ImageDataset
from flexseg.files.images import read_image

MANIFEST = "manifest.csv"
LIMIT = 200
# Values kept per case: of all pixels, and of all classes together.
_PIXELS, _MARKED = 4096, 8192
_MIN_MARKED = 64
# In blended or compressed masks, objects of fewer pixels are crumbs at edges.
_CRUMB = 5


@dataclass(frozen=True)
class Spread:
    """Three figures of a distribution: `low` and `high` are its ends, or percentiles."""

    low: float
    median: float
    high: float

    @classmethod
    def ends(cls, values: Sequence[float] | NDArray) -> Spread:
        """Lowest, median and highest value."""
        return cls._of(values, (0, 50, 100))

    @classmethod
    def percentiles(cls, values: Sequence[float] | NDArray) -> Spread:
        """5th percentile, median and 95th percentile."""
        return cls._of(values, (5, 50, 95))

    @classmethod
    def _of(cls, values: Sequence[float] | NDArray, at: tuple[int, int, int]) -> Spread:
        low, median, high = np.percentile(np.asarray(values, float), at).tolist()
        return cls(low, median, high)


@dataclass(frozen=True)
class Intensities:
    """Values of one channel as stored: `low` and `high` are the 0.5th and 99.5th percentile."""

    mean: float
    std: float
    low: float
    high: float


@dataclass(frozen=True)
class ClassFigures:
    """One foreground class in the training cases.

    Attributes
    ----------
    pixel_share : of all pixels.
    cases, case_share : that show the class.
    objects : connected components (8 neighbours) per case that shows the class, 5th percentile,
        median, 95th percentile; None if no case shows it.
    object_pixels : their sizes in pixels of the mask as stored.
    object_width : the longer side of an object's bounding box as a share of the image's side.
    object_breadth : the shorter side of that box in pixels.
    intensities : of its pixels, per channel.
    """

    id: int
    name: str
    pixel_share: float
    cases: int
    case_share: float
    objects: Spread | None
    object_pixels: Spread | None
    object_width: Spread | None
    object_breadth: Spread | None
    intensities: tuple[Intensities, ...]


@dataclass(frozen=True)
class Fingerprint:
    """The figures of a dataset.

    Attributes
    ----------
    cases : per split.
    heights, widths : in pixels, of all cases.
    common_size, common_share : the most frequent height and width, and its share of the cases.
    spacing : mm between rows and between columns, where the dataset says it.
    slice_spacing : mm between slices.
    channels : of the images as stored.
    gray : all channels are equal, so one of them is enough.
    dtypes : type of the stored values -> cases.
    intensities : of all pixels, per channel.
    classes : of the foreground.
    empty_share : of training cases without any foreground.
    groups, group_cases : number of groups (patients, volumes) and cases in each.
    sampled, training : how many training cases, evenly spread, were read for objects and
        intensities, of how many.
    """

    cases: dict[str, int]
    heights: Spread
    widths: Spread
    common_size: tuple[int, int]
    common_share: float
    spacing: tuple[Spread, Spread] | None
    slice_spacing: Spread | None
    channels: int
    gray: bool
    dtypes: dict[str, int]
    intensities: tuple[Intensities, ...]
    classes: tuple[ClassFigures, ...]
    empty_share: float
    groups: int
    group_cases: Spread
    sampled: int
    training: int

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)


@dataclass(frozen=True)
class _CaseFigures:
    """What is kept of one case.

    Attributes
    ----------
    values : [n, C] of all pixels.
    marked : class id -> [n, C], of classes that the case shows.
    objects : class id -> [objects, 3]: pixels, longer side as a share of the image, shorter side.
    """

    values: NDArray[np.float32]
    marked: dict[int, NDArray[np.float32]]
    objects: dict[int, NDArray[np.float64]]


def take_fingerprint(
    data: ImageDataset,
    division: Division,
    on_case: Progress | None = None,
    limit: int = LIMIT,
) -> Fingerprint:
    """Measure a dataset.

    Sizes, class shares and groups are those that `Dataset.open` has found in all files; objects
    and intensities are of at most `limit` training cases, which are read again, by threads with
    one case in memory each.

    Parameters
    ----------
    on_case : called with (done, total) while files are read.
    """
    training = division.parts["train"]
    chosen = _spread(training, limit)
    labels = data.labels
    crumb = _CRUMB if data.unknown_colors == "nearest" else 1

    figures = []
    with ThreadPoolExecutor() as pool:
        for one in pool.map(lambda c: _measure(c, labels, data.channels, crumb), chosen):
            figures.append(one)
            if on_case is not None:
                on_case(len(figures), len(chosen))

    looks = data.looks_of(division.cases)
    sizes = [look.size for look in looks if look.size is not None]
    (size, frequency), *_ = Counter(sizes).most_common(1)
    pixels = np.array([look.class_pixels for look in data.looks_of(training)], float)
    spacings = _spacings(data.folder, division.cases)
    groups = Counter(case.group for case in division.cases)
    return Fingerprint(
        cases={split: len(division.parts[split]) for split in SPLITS},
        heights=Spread.ends([height for height, _ in sizes]),
        widths=Spread.ends([width for _, width in sizes]),
        common_size=size,
        common_share=frequency / len(sizes),
        spacing=(spacings[0], spacings[1]) if spacings else None,
        slice_spacing=spacings[2] if len(spacings) > 2 else None,
        channels=data.channels,
        gray=data.gray,
        dtypes=dict(Counter(look.dtype for look in looks)),
        intensities=_intensities([one.values for one in figures]),
        classes=tuple(_class_figures(c.id, c.name, pixels, figures) for c in labels.foreground),
        empty_share=float((pixels[:, 1:].sum(axis=1) == 0).mean()),
        groups=len(groups),
        group_cases=Spread.ends(list(groups.values())),
        sampled=len(chosen),
        training=len(training),
    )


def _spread(cases: Sequence[Case], limit: int) -> list[Case]:
    """At most `limit` cases, evenly spread."""
    at = np.linspace(0, len(cases) - 1, min(limit, len(cases))).round().astype(int)
    return [cases[i] for i in at.tolist()]


def _measure(case: Case, labels: LabelMap, channels: int, crumb: int) -> _CaseFigures:
    image = read_image(case.image)
    if image.shape[2] < channels:
        image = np.repeat(image, channels, axis=2)
    found = labels.encode(case_mask(case), str(case.mask)).labels
    size = np.array(found.shape, float)
    objects = {}
    for class_id in sorted(set(np.unique(found).tolist()) - {0, IGNORED}):
        _, _, boxes, _ = cv2.connectedComponentsWithStats(
            (found == class_id).astype(np.uint8), connectivity=8
        )
        boxes = boxes[1:][boxes[1:, cv2.CC_STAT_AREA] >= crumb]
        sides = boxes[:, [cv2.CC_STAT_HEIGHT, cv2.CC_STAT_WIDTH]]
        objects[class_id] = np.column_stack(
            [boxes[:, cv2.CC_STAT_AREA], (sides / size).max(axis=1), sides.min(axis=1)]
        )
    if found.shape != image.shape[:2]:
        found = cv2.resize(found, image.shape[1::-1], interpolation=cv2.INTER_NEAREST_EXACT)
    flat, ids = image.reshape(-1, image.shape[2]), found.ravel()
    most = max(_MIN_MARKED, _MARKED // len(labels.foreground))
    marked = {class_id: _some(flat[ids == class_id], most) for class_id in objects}
    return _CaseFigures(_some(flat[ids != IGNORED], _PIXELS), marked, objects)


def _some(values: NDArray, most: int) -> NDArray[np.float32]:
    """At most so many rows, drawn at random but always the same."""
    if len(values) > most:
        values = values[np.random.default_rng(0).integers(0, len(values), most)]
    return values.astype(np.float32)


def _intensities(parts: Sequence[NDArray[np.float32]]) -> tuple[Intensities, ...]:
    values = np.concatenate(parts) if parts else np.zeros((0, 0), np.float32)
    if not len(values):
        return ()
    low, high = np.percentile(values, (0.5, 99.5), axis=0)
    mean, std = values.mean(axis=0, dtype=np.float64), values.std(axis=0, dtype=np.float64)
    return tuple(Intensities(*row) for row in np.stack([mean, std, low, high], axis=1).tolist())


def _class_figures(
    class_id: int, name: str, pixels: NDArray[np.float64], figures: Sequence[_CaseFigures]
) -> ClassFigures:
    """`pixels` [cases, classes] are of all training cases."""
    shown = int((pixels[:, class_id] > 0).sum())
    parts = [o for one in figures if len(o := one.objects.get(class_id, np.zeros((0, 3))))]
    per_case = [len(part) for part in parts]
    objects = np.concatenate(parts) if parts else None
    sizes, widths, breadths = (
        (None, None, None)
        if objects is None
        else (Spread.percentiles(objects[:, column]) for column in range(3))
    )
    return ClassFigures(
        id=class_id,
        name=name,
        pixel_share=float(pixels[:, class_id].sum() / max(pixels.sum(), 1)),
        cases=shown,
        case_share=shown / len(pixels),
        objects=Spread.percentiles(per_case) if per_case else None,
        object_pixels=sizes,
        object_width=widths,
        object_breadth=breadths,
        intensities=_intensities([f.marked[class_id] for f in figures if class_id in f.marked]),
    )


def _spacings(folder: Path, cases: Sequence[Case]) -> list[Spread]:
    """mm between rows, columns and slices, of the manifest of a derived dataset; [] without."""
    columns = ("row_spacing_mm", "column_spacing_mm", "slice_spacing_mm")
    try:
        text = (folder / MANIFEST).read_text(encoding="utf-8-sig")
        rows = list(csv.DictReader(text.splitlines()))
        used = {case.image.name for case in cases}
        rows = [row for row in rows if Path(row["image"]).name in used]
        return [Spread.ends([float(row[column]) for row in rows]) for column in columns]
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return []  # no such table: distances are in pixels


def describe(fingerprint: Fingerprint) -> list[tuple[str, str]]:
    """Name and value in words, for people."""
    f = fingerprint
    lines = [("cases", ", ".join(f"{n} {split}" for split, n in f.cases.items()))]
    if f.groups < sum(f.cases.values()):
        lines.append(("groups", f"{f.groups}, of {_between(f.group_cases)} cases each"))
    lines.append(("size", _size(f)))
    if f.spacing is not None:
        rows, columns = (spread.median for spread in f.spacing)
        slices = f", slices {f.slice_spacing.median:.3g} mm apart" if f.slice_spacing else ""
        lines.append(("pixel size", f"{rows:.3g} x {columns:.3g} mm{slices}"))
    lines.append(("channels", _channels(f)))
    kinds = ", ".join(f"{n} {name}" for name, n in f.dtypes.items())
    stored = next(iter(f.dtypes)) if len(f.dtypes) == 1 else kinds
    lines.append(("values", f"{stored}, {_values(f.intensities, f.gray)}"))
    for c in f.classes:
        lines.append((c.name, _class_text(c, f)))
    if f.empty_share:
        lines.append(("nothing to find", f"in {_percent(f.empty_share)} of the training cases"))
    if f.sampled < f.training:
        text = f"{f.sampled} of {f.training} training cases, evenly spread"
        lines.append(("objects and values of", text))
    return lines


def _size(f: Fingerprint) -> str:
    height, width = f.common_size
    common = f"{width} x {height}"
    if f.common_share == 1:
        return f"{common} (width x height)"
    return (
        f"{f.widths.median:.0f} x {f.heights.median:.0f} (width x height, median), from "
        f"{f.widths.low:.0f} x {f.heights.low:.0f} to {f.widths.high:.0f} x {f.heights.high:.0f}; "
        f"{_percent(f.common_share)} are {common}"
    )


def _channels(f: Fingerprint) -> str:
    if f.channels == 1:
        return "1 (grey)"
    if f.gray:
        return f"{f.channels}, all equal: grey images saved in colour"
    return f"{f.channels} (colour)" if f.channels == 3 else str(f.channels)


def _values(channels: Sequence[Intensities], gray: bool) -> str:
    shown = channels[:1] if gray else channels
    ranges = [f"{c.low:.4g} to {c.high:.4g} (mean {c.mean:.4g})" for c in shown]
    each = " by channel" if len(ranges) > 1 else ""
    return f"99 % of them{each} from " + ", ".join(ranges)


def _class_text(c: ClassFigures, f: Fingerprint) -> str:
    if not c.cases:
        return "in no training case"
    text = f"{_percent(c.pixel_share)} of the pixels, in {_percent(c.case_share)} of the cases"
    if c.objects is None or c.object_pixels is None or c.object_width is None:
        return text
    many = _between(c.objects)
    return (
        f"{text}; {many} object{'' if many == '1' else 's'} per case, of "
        f"{c.object_pixels.median:.0f} pixels ({_between(c.object_pixels)}), "
        f"{_percent(c.object_width.median)} of the image wide"
    )


def _between(spread: Spread) -> str:
    low, high = f"{spread.low:.0f}", f"{spread.high:.0f}"
    return low if low == high else f"{low} to {high}"


def _percent(share: float) -> str:
    if share in (0, 1):
        return f"{share:.0%}".replace("%", " %")
    return f"{100 * share:.{3 if share > 0.1 else 2}g} %"
