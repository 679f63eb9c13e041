"""CVAT for images: one XML file with boxes, polygons, ellipses and masks."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

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
from flexseg.derive.annotations.outlines import (
    Bitmap,
    Outline,
    Polygons,
    ellipse,
    of_runs,
    rectangle,
    ring_of,
)
from flexseg.errors import DataError

_HEAD = 4096


def _file_of(path: Path) -> Path | None:
    """The XML file of an export, which may be given as its folder."""
    if path.is_dir():
        inside = path / "annotations.xml"
        return inside if inside.is_file() else None
    return path if path.suffix.lower() == ".xml" else None


def _detects(path: Path) -> bool:
    file = _file_of(path)
    if file is None:
        return False
    with file.open("rb") as opened:
        return b"<annotations" in opened.read(_HEAD)


def read_cvat(path: Path, images: Path) -> Annotations:
    """What an `annotations.xml` of "CVAT for images" says.

    Raises
    ------
    DataError : it is no such file.
    """
    file = _file_of(path) or path
    try:
        text = file.read_bytes()
        if b"<!DOCTYPE" in text or b"<!ENTITY" in text:
            raise ValueError("it defines entities, which exports never do")
        root = ElementTree.fromstring(text)  # noqa: S314 - entities are refused above
        if root.tag != "annotations" or root.find("track") is not None:
            raise ValueError("it is of another kind, e.g. of videos")
        found = []
        left_out: Counter[str] = Counter()
        for image in root.iter("image"):
            marks = []
            for number, one in enumerate(image):
                if "label" not in one.attrib or one.tag in ("tag", "attribute"):
                    continue
                outline = _outline(one)
                if outline is None:
                    left_out[one.tag] += 1
                    continue
                level = int(one.get("z_order", 0))
                marks.append(Mark(one.attrib["label"], outline, f"{one.tag} {number}", level))
            size = size_of(image.get("height"), image.get("width"))
            found.append(AnnotatedImage(image.attrib["name"], tuple(marks), file, size))
    except (ElementTree.ParseError, OSError, ValueError, LookupError, TypeError) as error:
        expected = 'XML as CVAT exports it as "CVAT for images"'
        raise no_such_format("export of CVAT", error, expected, file) from None
    if not found:
        raise DataError("The file has no images.", "Export the annotations again.", str(file))
    labels = [name.text or "" for name in root.findall("./meta//labels/label/name")]
    kinds = [f"{count} of type {kind}" for kind, count in left_out.items()]
    notes = [f"Shapes without an area were left out: {examples(kinds)}."] if kinds else []
    return Annotations.of(found, labels, notes)


def _outline(one: ElementTree.Element) -> Outline | None:
    def number(key: str) -> float:
        return float(one.get(key, 0))

    if one.tag == "polygon":
        points = [pair.split(",") for pair in one.attrib["points"].split(";")]
        return Polygons(((ring_of([(float(x), float(y)) for x, y in points]),),))
    if one.tag == "box":
        x0, y0, x1, y1 = (float(one.attrib[key]) for key in ("xtl", "ytl", "xbr", "ybr"))
        return rectangle(x0, y0, x1, y1, number("rotation"))
    if one.tag == "ellipse":
        x, y, rx, ry = (float(one.attrib[key]) for key in ("cx", "cy", "rx", "ry"))
        return ellipse(x, y, rx, ry, number("rotation"))
    if one.tag == "mask":
        runs = [int(run) for run in one.attrib["rle"].split(",")]
        shape = int(one.attrib["height"]), int(one.attrib["width"])
        return Bitmap(of_runs(runs, shape), int(number("left")), int(number("top")))
    return None


FORMATS.register("cvat")(AnnotationFormat("CVAT for images, an XML file", _detects, read_cvat))
