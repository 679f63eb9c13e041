"""COCO: instances as polygons or run lengths, in one JSON file.

Format: https://cocodataset.org/#format-data
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexseg.config.findings import amount
from flexseg.derive.annotations.export import (
    FORMATS,
    AnnotatedImage,
    AnnotationFormat,
    Annotations,
    Mark,
    no_such_format,
    size_of,
)
from flexseg.derive.annotations.json_files import json_of
from flexseg.derive.annotations.outlines import Outline, Polygons, of_runs
from flexseg.errors import DataError
from flexseg.files.json_file import read_json
from flexseg.near_paths import check_path


def decode_run_lengths(counts: Sequence[int] | str, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """A mask [H, W] from run lengths down the columns, of zeros and ones in turn.

    Parameters
    ----------
    counts : numbers, or COCO's compressed text (signed base-32 numbers of 5 bits a letter,
        from the fourth on differences to the number two before).

    Raises
    ------
    ValueError : the runs do not add up to the size.
    """
    runs = _uncompressed(counts) if isinstance(counts, str) else [int(c) for c in counts]
    return of_runs(runs, shape[::-1]).T


def _uncompressed(text: str) -> list[int]:
    runs: list[int] = []
    value = shift = 0
    for letter in text.encode("ascii"):
        digit = letter - 48
        value |= (digit & 0x1F) << shift
        shift += 5
        if digit & 0x20:
            continue
        if digit & 0x10:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    return runs


@dataclass(frozen=True)
class _RunLengths:
    """COCO's `{"size": [height, width], "counts": ...}`."""

    size: tuple[int, int]
    counts: Sequence[int] | str

    def mask(self, shape: tuple[int, int]) -> NDArray[np.bool_]:
        """See `Outline`."""
        if self.size != shape:
            raise ValueError(f"its size is {self.size}, that of the image {shape} (height, width)")
        return decode_run_lengths(self.counts, shape)


@dataclass(frozen=True)
class _Unread:
    """An outline that cannot be understood, which matters only if its image is there."""

    problem: str

    def mask(self, shape: tuple[int, int]) -> NDArray[np.bool_]:
        """See `Outline`."""
        raise ValueError(self.problem)


def read_coco(path: Path, images: Path) -> Annotations:
    """What a COCO instance file says.

    Raises
    ------
    DataError : it is no such file, or contradicts itself.
    """
    try:
        content = read_json(path, "utf-8-sig")
        categories = {_key(c["id"]): str(c["name"]) for c in content["categories"]}
        if len(set(categories.values())) < len(categories):
            double = [n for n, count in Counter(categories.values()).items() if count > 1]
            raise ValueError(f"several categories are called {double[0]!r}")
        super_names = {str(c.get("supercategory")) for c in content["categories"]}
        listed = {_key(image["id"]): image for image in content["images"]}
        if len(listed) < len(content["images"]):
            raise ValueError("an image id occurs twice")
        names = {key: str(image["file_name"]) for key, image in listed.items()}
        sizes = {k: size_of(i.get("height"), i.get("width")) for k, i in listed.items()}
        annotations = [
            (_key(a["image_id"]), _key(a["category_id"]), a.get("id"), a.get("segmentation"))
            for a in content["annotations"]
        ]
    except FileNotFoundError:
        raise DataError("There is no such file.", check_path(path), str(path)) from None
    except (ValueError, OverflowError, KeyError, TypeError, AttributeError) as error:
        raise no_such_format(
            "COCO instance file",
            error,
            "JSON with the lists images (id, file_name), annotations (image_id, category_id, "
            "segmentation) and categories (id, name)",
            path,
        ) from None
    marks: dict[str, list[Mark]] = {key: [] for key in listed}
    without_outline = 0
    used = set()
    for image, category, annotation, segmentation in annotations:
        if image not in listed or category not in categories:
            what = f"category {category}" if image in listed else f"image {image}"
            raise DataError(
                f"Annotation {annotation} refers to {what}, which is not listed.",
                "Export the annotations again.",
                str(path),
            )
        used.add(category)
        if segmentation:
            mark = Mark(categories[category], _outline(segmentation), f"annotation {annotation}")
            marks[image].append(mark)
        else:
            without_outline += 1
    notes = []
    if without_outline:
        notes.append(
            f"{amount(without_outline, 'annotation')} without an outline (boxes or key points "
            f"only) {'was' if without_outline == 1 else 'were'} left out."
        )
    # Roboflow's exports begin with the name of the project, of which all others are a part.
    parents = [k for k, name in categories.items() if k not in used and name in super_names]
    if parents and len(parents) < len(categories):
        told = ", ".join(categories.pop(key) for key in parents)
        notes.append(
            f"Left out as a class: {told}, which has no annotations and only groups other classes."
        )
    numbered = all(map(_is_number, categories))
    ordered = sorted(categories, key=_number) if numbered else categories
    return Annotations.of(
        [AnnotatedImage(names[key], tuple(marks[key]), path, sizes[key]) for key in listed],
        [categories[key] for key in ordered],
        notes,
        {name: int(key) for key, name in categories.items()} if numbered else {},
    )


def _key(value: object) -> str:
    """An identifier, which exporters write as a number or as text. Raises TypeError for others."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError(f"{value!r} is not an identifier")
    if isinstance(value, float) and not value.is_integer():
        raise TypeError(f"{value!r} is not an identifier")
    text = value.strip() if isinstance(value, str) else str(int(value))
    return str(int(text)) if _is_number(text) else text


def _is_number(key: str) -> bool:
    return key.removeprefix("-").isdecimal() and key.isascii() and len(key) < 20


def _number(key: str) -> int:
    return int(key)


def _outline(segmentation: Any) -> Outline:
    try:
        if isinstance(segmentation, dict):
            height, width = segmentation["size"]
            return _RunLengths((int(height), int(width)), segmentation["counts"])
        flat = all(isinstance(value, int | float) for value in segmentation)
        polygons = [segmentation] if flat else segmentation
        return Polygons(tuple(([float(value) for value in p],) for p in polygons))
    except (ValueError, OverflowError, KeyError, TypeError) as error:
        return _Unread(f"{error}")


def _detects(path: Path) -> bool:
    content = json_of(path)
    return isinstance(content, dict) and {"images", "annotations", "categories"} <= content.keys()


FORMATS.register("coco")(
    AnnotationFormat("COCO polygons and run-length encodings, a JSON file", _detects, read_coco)
)
