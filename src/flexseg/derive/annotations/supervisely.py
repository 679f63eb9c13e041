"""Supervisely: a JSON file per image in `ann/`, and `meta.json` with the classes.

Its own exports have whole numbers, the indices of pixels: a vertex is the centre of its pixel, and
a rectangle includes both corners. Points of the labelling tool have fractions and count as they
stand.
See https://developer.supervisely.com/app-development/advanced/coordinate-system.
"""

from __future__ import annotations

import base64
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

from flexseg.config.findings import examples
from flexseg.derive.annotations.export import (
    FORMATS,
    AnnotatedImage,
    AnnotationFormat,
    Annotations,
    ImageIndex,
    Mark,
    no_such_format,
    size_of,
)
from flexseg.derive.annotations.json_files import any_json, json_files, need_json
from flexseg.derive.annotations.labelme import decoded_png
from flexseg.derive.annotations.outlines import Bitmap, Outline, Polygons, rectangle, ring_of

# No picture of a mask has more bytes; a bomb has.
_LARGEST_PICTURE = 2**28


def _is_supervisely(content: Any) -> bool:
    return isinstance(content, dict) and {"size", "objects"} <= content.keys()


def _is_meta(content: Any) -> bool:
    return isinstance(content, dict) and "classes" in content and "objects" not in content


def read_supervisely(path: Path, images: Path) -> Annotations:
    """What a project, a dataset or an `ann` folder of Supervisely says.

    Raises
    ------
    DataError : a file is damaged.
    """
    index = ImageIndex(images)
    found, classes = [], []
    left_out: Counter[str] = Counter()
    above = [folder / "meta.json" for folder in (path, path.parent, path.parent.parent)]
    metas = [file for file in above if file.is_file()][:1]
    contents = {file: need_json(file) for file in dict.fromkeys([*metas, *json_files(path)])}
    indices = not any(map(_has_fractions, contents.values()))
    for file, content in contents.items():
        try:
            if _is_meta(content):
                classes += [str(one["title"]) for one in content["classes"]]
            if not _is_supervisely(content):
                continue
            marks = []
            for number, one in enumerate(content["objects"]):
                kind = str(
                    one.get("geometryType") or ("bitmap" if one.get("bitmap") else "polygon")
                )
                outline = _outline(kind, one, indices=indices)
                if outline is None:
                    left_out[kind] += 1
                else:
                    marks.append(Mark(str(one["classTitle"]), outline, f"object {number}", number))
            size = size_of(content["size"]["height"], content["size"]["width"])
        except (ValueError, KeyError, TypeError, AttributeError, zlib.error) as error:
            expected = "JSON with size and objects (classTitle, geometryType, points or bitmap)"
            raise no_such_format("Supervisely file", error, expected, file) from None
        below = file.relative_to(path) if path.is_dir() else Path(file.name)
        folders = [part for part in below.parts[:-1] if part != "ann"]
        plain = file.name.removesuffix(".json")
        inside = "/".join([*folders, "img", plain])
        there = index.has(inside.removesuffix(Path(plain).suffix))
        name = inside if there else "/".join([*folders, plain])
        found.append(AnnotatedImage(name, tuple(marks), file, size))
    kinds = [f"{count} of type {kind}" for kind, count in left_out.items()]
    used = {mark.class_name for image in found for mark in image.marks}
    notes = [f"Objects without an area were left out: {examples(kinds)}."] if kinds else []
    return Annotations.of(found, [c for c in classes if c in used], notes)


def _has_fractions(content: Any) -> bool:
    """Whether a number anywhere in the points of a file's objects is not whole."""
    if isinstance(content, dict):
        return any(
            _has_fractions(inner)
            for key, inner in content.items()
            if key in ("objects", "points", "exterior", "interior")
        )
    if isinstance(content, list):
        return any(map(_has_fractions, content))
    return isinstance(content, float) and not content.is_integer()


def _outline(kind: str, one: dict[str, Any], *, indices: bool) -> Outline | None:
    if kind == "bitmap":
        left, top = one["bitmap"]["origin"]
        packed = base64.b64decode(one["bitmap"]["data"])
        picture = zlib.decompressobj().decompress(packed, _LARGEST_PICTURE)
        return Bitmap(decoded_png("", picture), int(left), int(top))
    if kind not in ("polygon", "rectangle"):
        return None
    points = one["points"]
    if kind == "rectangle":
        (x0, y0), (x1, y1) = points["exterior"]
        (x0, x1), (y0, y1) = sorted((x0, x1)), sorted((y0, y1))
        return rectangle(x0, y0, x1 + indices, y1 + indices)
    rings = [ring_of(ring) for ring in (points["exterior"], *(points.get("interior") or ()))]
    return Polygons((tuple([v + indices / 2 for v in ring] for ring in rings),))


FORMATS.register("supervisely")(
    AnnotationFormat(
        "Supervisely, ann/*.json",
        lambda p: any(map(_is_supervisely, any_json(p))),
        read_supervisely,
    )
)
