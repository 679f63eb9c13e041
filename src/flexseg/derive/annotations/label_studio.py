"""Label Studio: tasks with polygons, rectangles, ellipses and brush strokes, in one JSON file."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
from numpy.typing import NDArray

from flexseg.config.findings import amount, examples
from flexseg.derive.annotations.export import (
    FORMATS,
    AnnotatedImage,
    AnnotationFormat,
    Annotations,
    ImageIndex,
    Mark,
    no_such_format,
)
from flexseg.derive.annotations.json_files import json_of, need_json
from flexseg.derive.annotations.outlines import Outline, Polygons, ellipse, rectangle, ring_of

_KINDS = ("brushlabels", "polygonlabels", "rectanglelabels", "ellipselabels")
# What uploads get before their names.
_UPLOAD = re.compile(r"^[0-9a-f]{6,8}-(?=.)")


@dataclass(frozen=True)
class _Brush:
    """Brush strokes, as RGBA pixels in the packing of `@thi.ng/rle-pack`."""

    packed: bytes
    size: tuple[int, int]

    def mask(self, shape: tuple[int, int]) -> NDArray[np.bool_]:
        """See `Outline`."""
        if self.size != shape:
            raise ValueError(f"its size is {self.size}, that of the image {shape} (height, width)")
        return unpack_brush(self.packed, shape[0] * shape[1] * 4).reshape(*shape, 4)[..., 3] > 0


def unpack_brush(packed: bytes, expected: int) -> NDArray[np.uint8]:
    """The values of a packed array.

    After 32 bits of its length, 5 of the width of values and 4 x 4 of the widths of run lengths
    follow runs: a bit (one value for all, or one for each), 2 bits (which width), the length less
    1, and the values.

    Raises
    ------
    ValueError : it has another length than `expected`, or ends too early.
    """
    bits = _Bits(packed)
    count, width = bits.take(32), bits.take(5) + 1
    if count != expected:
        raise ValueError(f"it packs {count} values, expected {expected}")
    lengths = [bits.take(4) + 1 for _ in range(4)]
    values = np.zeros(count, np.uint8)
    at = 0
    while at < count:
        same = bits.take(1)
        end = at + bits.take(lengths[bits.take(2)]) + 1
        if end > count:
            raise ValueError("a run goes beyond its end")
        if same:
            values[at:end] = bits.take(width) & 255
        else:
            for place in range(at, end):
                values[place] = bits.take(width) & 255
        at = end
    return values


class _Bits:
    def __init__(self, data: bytes) -> None:
        self._data, self._at, self._end = data, 0, 8 * len(data)

    def take(self, count: int) -> int:
        """The number in the next bits."""
        first, last = self._at, self._at + count
        if last > self._end:
            raise ValueError("it ends too early")
        self._at = last
        part = int.from_bytes(self._data[first // 8 : -(-last // 8)], "big")
        return (part >> (-last % 8)) & ((1 << count) - 1)


def _tasks(content: Any) -> list[dict[str, Any]] | None:
    """The tasks of an export; of its short form (JSON-MIN) in the terms of the long one."""
    if not (isinstance(content, list) and content and all(isinstance(t, dict) for t in content)):
        return None
    if all("data" in t and ("annotations" in t or "completions" in t) for t in content):
        return content
    short = [_of_short(task) for task in content]
    return [task for task in short if task] if any(short) else None


def _of_short(task: dict[str, Any]) -> dict[str, Any]:
    result = [
        {
            "type": next((k for k in _KINDS if k in region), "other"),
            "value": region,
            "original_width": region["original_width"],
            "original_height": region["original_height"],
        }
        for value in task.values()
        if isinstance(value, list)
        for region in value
        if isinstance(region, dict) and "original_width" in region
    ]
    return {"data": task, "annotations": [{"result": result}]} if result else {}


def _detects(path: Path) -> bool:
    return _tasks(json_of(path)) is not None


def read_label_studio(path: Path, images: Path) -> Annotations:
    """What an export of Label Studio says.

    Raises
    ------
    DataError : it is no such file.
    """
    index = ImageIndex(images)
    found, several = [], 0
    left_out: Counter[str] = Counter()
    try:
        for task in _tasks(need_json(path)) or ():
            given = task.get("annotations") or task.get("completions") or []
            done = [one for one in given if not one.get("was_cancelled")]
            several += len(done) > 1
            name = _name(task, index)
            marks, sizes = [], set()
            for number, region in enumerate(done[0]["result"] if done else ()):
                kind = str(region.get("type", ""))
                if kind not in _KINDS:
                    left_out[kind or "other"] += "value" in region
                    continue
                size = int(region["original_height"]), int(region["original_width"])
                sizes.add(size)
                value = region["value"]
                mark = str(region.get("id", number))
                for label in value[kind]:
                    outline = _outline(kind, value, size)
                    marks.append(Mark(str(label), outline, f"region {mark}", number))
            if len(sizes) > 1:
                raise ValueError(f"{name} has regions of images of several sizes")
            found.append(AnnotatedImage(name, tuple(marks), path, next(iter(sizes), None)))
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        expected = "JSON or JSON-MIN as Label Studio exports it"
        raise no_such_format("export of Label Studio", error, expected, path) from None
    kinds = [f"{count} of type {kind}" for kind, count in left_out.items() if count]
    notes = [f"Regions without an area were left out: {examples(kinds)}."] if kinds else []
    if several:
        notes.append(
            f"{amount(several, 'image', 'has', 'have')} several annotations; only the first is "
            "used."
        )
    return Annotations.of(found, notes=notes)


def _name(task: dict[str, Any], index: ImageIndex) -> str:
    """The image of a task, in the words of its folder if it is there."""
    texts = [task.get("file_upload"), *_texts(task["data"])]
    names = [name for text in texts if isinstance(text, str) for name in _names(text)]
    return next((name for name in names if index.find(name) is not None), names[0])


def _texts(data: Any) -> Iterator[str]:
    preferred = [data[key] for key in ("image", "img") if key in data]
    yield from (value for value in (*preferred, *data.values()) if isinstance(value, str))


def _names(text: str) -> Sequence[str]:
    """What the image at an address may be called: of a local file, a store, an upload."""
    address = urlsplit(text)
    local = parse_qs(address.query).get("d", [""])[0]
    name = unquote(local or address.path or text).replace("\\", "/").lstrip("/")
    plain = PurePosixPath(name).name
    return tuple(dict.fromkeys((name, plain, _UPLOAD.sub("", plain))))


def _outline(kind: str, value: dict[str, Any], size: tuple[int, int]) -> Outline:
    height, width = size
    x, y = width / 100, height / 100
    if kind == "brushlabels":
        if value.get("format", "rle") != "rle":
            raise ValueError(f"a brush in the format {value['format']}")
        return _Brush(bytes(value["rle"]), size)
    if kind == "polygonlabels":
        return Polygons(((ring_of([(px * x, py * y) for px, py in value["points"]]),),))
    turn = float(value.get("rotation") or 0)
    if kind == "ellipselabels":
        return ellipse(
            value["x"] * x, value["y"] * y, value["radiusX"] * x, value["radiusY"] * y, turn
        )
    left, top = value["x"] * x, value["y"] * y
    w, h = value["width"] * x, value["height"] * y
    # They turn about their upper left corner.
    c, s = np.cos(np.deg2rad(turn)), np.sin(np.deg2rad(turn))
    if not turn:
        return rectangle(left, top, left + w, top + h)
    points = [(left + px * c - py * s, top + px * s + py * c) for px, py in
              ((0, 0), (w, 0), (w, h), (0, h))]  # fmt: skip
    return Polygons(((ring_of(points),),))


FORMATS.register("label-studio")(
    AnnotationFormat("Label Studio, a JSON file", _detects, read_label_studio)
)
