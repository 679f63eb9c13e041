"""Tables of other programs that name the values or colours of masks, and their order.

CVAT's `labelmap.txt`, `class_dict.csv` and `label_colors.txt` of CamVid, `classes.txt` and the
like, the `dataset.json` of nnU-Net and the Decathlon, and the classes of PASCAL VOC.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from flexseg.dataset.description import label_names
from flexseg.dataset.ignored.void import is_void
from flexseg.dataset.labels import MAX_CLASSES, Rgb
from flexseg.dataset.layout import Layout
from flexseg.dataset.names import DATASET_FILE
from flexseg.errors import DataError

_COLORED = ("labelmap.txt", "class_dict.csv", "label_colors.txt")
_LISTED = ("classes.txt", "class_names.txt", "labels.txt", "label_names.txt")
_BACKGROUND = ("background", "_background_", "bg")
_LARGEST_FILE, _LONGEST_NAME = 1 << 20, 80
_VOC = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train",
    "tvmonitor",
)  # fmt: skip


@dataclass(frozen=True)
class LabelTable:
    """What files beside masks say of their values.

    Attributes
    ----------
    values : names by value.
    colors : (colour, name) in the order of the classes, the background included.
    listed : names in the order of the classes, without values.
    source : the file.
    """

    values: Mapping[int, str] = field(default_factory=dict)
    colors: Sequence[tuple[Rgb, str]] = ()
    listed: Sequence[str] = ()
    source: str = ""

    @property
    def foreground(self) -> list[tuple[Rgb, str]]:
        """Colours and names but those of the background and of void."""
        return [
            (rgb, name)
            for rgb, name in self.colors
            if not _is_background(name) and rgb != self.void
        ]

    @property
    def numbered(self) -> dict[int, str]:
        """Names by value; of a list by place, without a word for void at its head."""
        if self.values or not self.listed:
            return dict(self.values)
        return dict(enumerate(self.listed, start=-(is_void(self.listed[0]))))

    @property
    def background(self) -> Rgb | int | None:
        """The colour or value that is called background."""
        color = next((rgb for rgb, name in self.colors if _is_background(name)), None)
        value = next((v for v, name in self.numbered.items() if _is_background(name)), None)
        return value if color is None else color

    @property
    def void(self) -> Rgb | None:
        """The colour that is called void or ignored, unless it is black, the background."""
        own = (rgb for rgb, name in self.colors if any(rgb) and is_void(name))
        return next(own, None)

    @property
    def names_of_grey(self) -> dict[int, str]:
        """Names by grey value, of colours that are grey."""
        return {rgb[0]: name for rgb, name in self.foreground if len({*rgb}) == 1}

    def names_of(self, values: Collection[int]) -> dict[int, str]:
        """Names of some values; none where the list does not fit them.

        The first name is that of the value 0 where it is the background's; else lists begin with
        the value 1, and one name belongs to the only value.
        """
        if self.values or not self.listed:
            return dict(self.values)
        at = next((i for i, name in enumerate(self.listed) if _is_background(name)), None)
        if at is not None:
            names = {i - at: name for i, name in enumerate(self.listed)}
        elif len(self.listed) == len(values) == 1:
            names = {next(iter(values)): self.listed[0]}
        else:
            names = dict(enumerate(self.listed, start=1))
        return names if max(values, default=0) in names else {}


def _is_background(name: str) -> bool:
    return name.casefold() in _BACKGROUND


def label_table(folders: Iterable[Path]) -> LabelTable:
    """The first table in some folders that can be read; an empty one without any."""
    places = list(dict.fromkeys(folders))
    for folder in places:
        if values := label_names(folder / DATASET_FILE):
            return LabelTable(values, source=DATASET_FILE)
        for name in _COLORED:
            if colors := _colors(folder / name):
                return LabelTable(colors=colors, source=name)
        for name in _LISTED:
            if listed := _names(folder / name):
                return LabelTable(listed=listed, source=name)
    voc = any((folder / "ImageSets" / "Segmentation").is_dir() for folder in places)
    return LabelTable(colors=_voc_colors(), source="PASCAL VOC") if voc else LabelTable()


def table_folders(folder: Path, layout: Layout) -> list[Path]:
    """Where tables that name classes may lie: in a dataset, and in its folders of masks."""
    masks = [own.masks for own in layout.folders.values()]
    return [folder, layout.root, *masks, *(path.parent for path in masks)]


def other_background_error(table: LabelTable) -> DataError:
    """That the background of a table cannot be taken: it is not black, or not 0."""
    mark = table.background
    if isinstance(mark, int):
        what, usual, option, text = "value", "0", "--label", str(mark)
    else:
        what, usual, option, text = "colour", "black", "--color", ",".join(map(str, mark or ()))
    return DataError(
        f"{table.source} says that the {what} {text} is background; here background has to be "
        f"{usual}.",
        f"Convert the dataset by `flexseg derive folders {option} '{text}=background'`, with one "
        f"more {option} for each class.",
        table.source,
    )


def _lines(path: Path) -> list[str]:
    """The lines of a text but comments and empty ones; none where it cannot be read."""
    try:
        if path.stat().st_size > _LARGEST_FILE:
            return []
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return []
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _colors(path: Path) -> tuple[tuple[Rgb, str], ...]:
    """`lesion:255,0,0::`, `lesion,255,0,0` or `255 0 0 lesion`; none where a line is another."""
    lines = _lines(path)
    found = []
    if path.suffix == ".csv":
        header = [cell.strip().casefold() for cell in next(csv.reader(lines[:1]), [])]
        lines = lines[1:] if header[:4] == ["name", "r", "g", "b"] else []
    for line in lines:
        match = re.match(
            r"(?P<name>[^:]+):(?P<rgb>\d+,\d+,\d+)(?::|$)"
            r"|(?P<first>\d+[\s,]+\d+[\s,]+\d+)\s+(?P<last>\S.*)$"
            r"|(?P<cell>[^,]+),\s*(?P<cells>\d+\s*,\s*\d+\s*,\s*\d+)$",
            line,
        )
        if match is None:
            return ()
        rgb, name = next(
            (match[a], match[b])
            for a, b in (("rgb", "name"), ("first", "last"), ("cells", "cell"))
            if match[a]
        )
        red, green, blue = (int(n) for n in re.findall(r"\d+", rgb))
        if max(red, green, blue) > MAX_CLASSES:
            return ()
        found.append(((red, green, blue), name.strip()))
    distinct = len({rgb for rgb, _ in found}) == len({name for _, name in found}) == len(found)
    return tuple(found) if distinct else ()


def _names(path: Path) -> tuple[str, ...]:
    """One name in each line; none where that is not so."""
    lines = _lines(path)
    fits = len({*lines}) == len(lines) <= MAX_CLASSES
    return tuple(lines) if fits and all(len(name) <= _LONGEST_NAME for name in lines) else ()


def _voc_colors() -> tuple[tuple[Rgb, str], ...]:
    """The colours of PASCAL VOC, made of the bits of the class numbers."""
    colors = []
    for i, name in enumerate(("background", *_VOC)):
        channels = [
            sum((i >> (3 * bit + channel) & 1) << (7 - bit) for bit in range(3))
            for channel in range(3)
        ]
        colors.append(((channels[0], channels[1], channels[2]), name))
    return tuple(colors)
