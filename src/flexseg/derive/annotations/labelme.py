"""LabelMe: a JSON file per image, with shapes."""

from __future__ import annotations

import base64
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from flexseg.config.findings import examples
from flexseg.derive.annotations.export import (
    FORMATS,
    AnnotatedImage,
    AnnotationFormat,
    Annotations,
    Mark,
    no_such_format,
    size_of,
)
from flexseg.derive.annotations.json_files import any_json, json_files, need_json
from flexseg.derive.annotations.outlines import (
    Bitmap,
    Outline,
    Polygons,
    ellipse,
    rectangle,
    ring_of,
)


def _is_labelme(content: Any) -> bool:
    return isinstance(content, dict) and {"shapes", "imagePath"} <= content.keys()


def read_labelme(path: Path, images: Path) -> Annotations:
    """What LabelMe files say.

    Raises
    ------
    DataError : a file is damaged.
    """
    found = []
    left_out: Counter[str] = Counter()
    for file in json_files(path):
        content = need_json(file)
        if not _is_labelme(content):
            continue
        try:
            marks = []
            for number, shape in enumerate(content["shapes"]):
                kind = str(shape.get("shape_type") or "polygon")
                outline = _outline(kind, shape)
                if outline is None:
                    left_out[kind] += 1
                else:
                    # Shapes lie on each other in their order.
                    marks.append(Mark(str(shape["label"]), outline, f"shape {number}", number))
            name = PurePosixPath(str(content["imagePath"]).replace("\\", "/")).name
            size = size_of(content.get("imageHeight"), content.get("imageWidth"))
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            expected = "JSON with shapes (label, points, shape_type) and imagePath"
            raise no_such_format("LabelMe file", error, expected, file) from None
        found.append(AnnotatedImage(name, tuple(marks), file, size))
    kinds = [f"{count} of type {kind}" for kind, count in left_out.items()]
    return Annotations.of(
        found, notes=[f"Shapes without an area were left out: {examples(kinds)}."] if kinds else []
    )


def _outline(kind: str, shape: dict[str, Any]) -> Outline | None:
    points = [(float(x), float(y)) for x, y in shape["points"]]
    if kind == "polygon":
        return Polygons(((ring_of(points),),))
    if kind == "rectangle":
        (x0, y0), (x1, y1) = points[0], points[-1] if len(points) == 2 else points[2]
        return rectangle(x0, y0, x1, y1)
    if kind == "circle":
        (x, y), edge = points
        radius = float(np.hypot(edge[0] - x, edge[1] - y))
        return ellipse(x, y, radius, radius)
    if kind == "mask":
        (x, y), _ = points
        return Bitmap(decoded_png(shape["mask"]), round(x), round(y))
    return None


def decoded_png(text: str, data: bytes | None = None) -> NDArray[np.bool_]:
    """The pixels [h, w] of a picture in base64 (or of its bytes) that are not 0 or transparent.

    Raises
    ------
    ValueError : it is none.
    """
    raw = base64.b64decode(text) if data is None else data
    pixels = cv2.imdecode(np.frombuffer(raw, np.uint8), cv2.IMREAD_UNCHANGED) if raw else None
    if pixels is None:
        raise ValueError("the picture of a mask cannot be decoded")
    if pixels.ndim == 2:
        return pixels > 0
    return pixels[..., -1] > 0 if pixels.shape[2] == 4 else pixels.any(axis=-1)


FORMATS.register("labelme")(
    AnnotationFormat(
        "LabelMe, a JSON file per image", lambda p: any(map(_is_labelme, any_json(p))), read_labelme
    )
)
