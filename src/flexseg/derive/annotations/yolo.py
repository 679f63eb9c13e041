"""YOLO: a text file per image, with a class and a box or a polygon per line, in shares."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

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
)
from flexseg.derive.annotations.outlines import Polygons, rectangle
from flexseg.errors import DataError
from flexseg.files.entries import visible

_LINE = re.compile(r"\s*\d+(\s+-?[\d.]+(e-?\d+)?){4,}\s*", re.IGNORECASE)
_NO_LABELS = ("classes.txt", "obj.names", "labels.txt", "readme.txt", "train.txt", "val.txt",
              "test.txt", "README.roboflow.txt", "README.dataset.txt", "notes.txt")  # fmt: skip
_NAMES = ("data.yaml", "dataset.yaml", "data.yml", "classes.txt", "obj.names")
# Rounding and boxes that reach over the edge; pixels do not fit in.
_LARGEST = 1.05
_BOX = 4


class _Shares:
    """A box (centre, size) or a polygon, in shares of width and height."""

    def __init__(self, values: tuple[float, ...]) -> None:
        self.values = values

    def mask(self, shape: tuple[int, int]) -> NDArray[np.bool_]:
        """See `Outline`."""
        height, width = shape
        scaled = [v * (height if i % 2 else width) for i, v in enumerate(self.values)]
        if len(scaled) == _BOX:
            x, y, w, h = scaled
            return rectangle(x - w / 2, y - h / 2, x + w / 2, y + h / 2).mask(shape)
        return Polygons(((scaled,),)).mask(shape)


def _label_files(path: Path) -> list[Path]:
    if path.is_file():
        path = path.parent
    taken = {name.lower() for name in _NO_LABELS}
    return sorted(
        file for file in path.rglob("*.txt") if file.is_file() and file.name.lower() not in taken
    )


def _detects(path: Path) -> bool:
    if path.is_file() and path.name not in _NAMES and path.suffix not in (".yaml", ".yml"):
        return False
    for file in _label_files(path)[:50]:
        try:
            lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue
        first = next((line for line in lines if line.strip()), None)
        if first is not None:
            return _LINE.fullmatch(first) is not None
    return False


def read_yolo(path: Path, images: Path) -> Annotations:
    """What the label files of a folder, or next to a `data.yaml`, say.

    Raises
    ------
    DataError : a line is no label, or of key points.
    """
    root = path.parent if path.is_file() else path
    names = _class_names(path if path.is_file() else root)
    index = ImageIndex(images)
    found, boxes, used = [], 0, set()
    for file in _label_files(path):
        marks = []
        for number, line in enumerate(_text_of(file).splitlines(), start=1):
            if not line.strip():
                continue
            class_id, values = _label(line, f"{file}, line {number}")
            boxes += len(values) == _BOX
            used.add(class_id)
            marks.append(
                Mark(names.get(class_id, f"class {class_id}"), _Shares(values), f"line {number}")
            )
        name = _image_name(file.relative_to(root), index)
        found.append(AnnotatedImage(name, tuple(marks), file))
    unlabelled = len(index.files) - len({index.find(image.name) for image in found} - {None})
    notes = []
    if boxes:
        notes.append(
            f"{boxes:,} {'box has' if boxes == 1 else 'boxes have'} no outline and "
            f"{'is' if boxes == 1 else 'are'} filled as "
            f"{'a rectangle' if boxes == 1 else 'rectangles'}."
        )
    if unlabelled:
        notes.append(
            f"{amount(unlabelled, 'image')} without a label file "
            f"{'is' if unlabelled == 1 else 'are'} left out."
        )
    if names and used - names.keys():
        notes.append(
            f"The names lack the classes {examples([str(i) for i in sorted(used - names.keys())])}."
        )
    listed = [names.get(i, f"class {i}") for i in sorted(used | names.keys())]
    ids = {name: i for i, name in names.items()}
    return Annotations.of(found, listed, notes, ids)


def _text_of(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"This is not text: {error}.", "Export it again.", str(file)) from None


def _label(line: str, where: str) -> tuple[int, tuple[float, ...]]:
    try:
        first, *rest = line.split()
        class_id, values = int(first), tuple(float(text) for text in rest)
    except ValueError:
        raise DataError(
            f"{line.strip()!r} is not a YOLO label.",
            "Expected is a class and a box (x y width height) or a polygon (x y x y x y ...) in "
            "each line.",
            where,
        ) from None
    if len(values) == _BOX + 1:
        values = values[:_BOX]  # what is found comes with its confidence
    if class_id < 0 or len(values) < _BOX or len(values) % 2:
        raise DataError(
            f"A class and {len(values)} numbers are neither a box nor a polygon.",
            "Expected is a class and a box (x y width height) or a polygon (x y x y x y ...) in "
            "each line.",
            where,
        )
    if not all(1 - _LARGEST <= value <= _LARGEST for value in values):
        raise DataError(
            f"{max(values):g} is not a share of the image's size.",
            "Give coordinates as shares from 0 to 1, not in pixels.",
            where,
        )
    return class_id, values


def _image_name(below: Path, index: ImageIndex) -> str:
    """The image of a label file: in folders of the same names, or whatever its folders."""
    parts = PurePosixPath(below.with_suffix("").as_posix()).parts
    trees = [
        "/".join(parts),
        "/".join("images" if part == "labels" else part for part in parts),
        "/".join(part for part in parts if part not in ("labels", "images")),
    ]
    for name in trees:
        if index.has(name):
            return name
    return trees[0]


def _class_names(path: Path) -> dict[int, str]:
    """The names of classes, from the file that is given, or lies in the folder, above or in it."""
    inner = [p for p in visible(path) if p.is_dir()] if path.is_dir() else []
    folders = (path, path.parent, *inner)
    files = [path] if path.is_file() else [f / name for f in folders for name in _NAMES]
    file = next((one for one in files if one.is_file()), None)
    if file is None:
        return {}
    text = _text_of(file)
    if file.suffix not in (".yaml", ".yml"):
        return dict(enumerate(line.strip() for line in text.splitlines() if line.strip()))
    if re.search(r"^kpt_shape\s*:", text, re.MULTILINE):
        raise DataError(
            "The labels are key points.",
            "Key points mark no areas: export boxes or polygons.",
            str(file),
        )
    return _yaml_names(text)


def _yaml_names(text: str) -> dict[int, str]:
    """`names` of a YAML file: a list or a map, in lines or in brackets."""
    found = re.search(r"^names\s*:(.*(?:\n(?:[ \t-].*|\s*)$)*)", text, re.MULTILINE)
    if found is None:
        return {}
    body = found[1].strip()
    entries = re.split(r"[,\n]", body.strip("[]{}")) if body[:1] in "[{" else body.splitlines()
    names: dict[int, str] = {}
    for entry in (re.sub(r"\s#.*$", "", e).strip() for e in entries):
        if not entry:
            continue
        numbered = re.fullmatch(r"['\"]?(\d+)['\"]?\s*:\s*(.*)", entry)
        key = int(numbered[1]) if numbered else len(names)
        value = numbered[2] if numbered else entry.removeprefix("-").strip()
        names[key] = value.strip("'\"")
    return names


FORMATS.register("yolo")(
    AnnotationFormat("YOLO boxes and polygons, a text file per image", _detects, read_yolo)
)
