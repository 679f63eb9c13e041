"""What files say of a dataset: the `dataset.json` of `flexseg derive`, and those of others."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from flexseg.config.findings import examples, some_of
from flexseg.dataset.cases import Case
from flexseg.dataset.ignored.pixels import IgnoredPixels
from flexseg.dataset.labels import LabelClass
from flexseg.dataset.names import DATASET_FILE, base_name, composed
from flexseg.errors import ConfigError, DataError
from flexseg.files.intensity import Intensity
from flexseg.files.json_file import read_json
from flexseg.files.volumes.slices import parse_axes
from flexseg.near_paths import check_path
from flexseg.spreadsheet import of_cell

_FILE_COLUMNS = ("image", "file")


@dataclass(frozen=True)
class VolumeCut:
    """How the slices of a derived dataset were cut from volumes.

    Attributes
    ----------
    axes : directions, the first of which new volumes are cut in.
    intensity : None where the dataset does not say.
    """

    axes: tuple[str, ...]
    rotate: int
    intensity: Intensity | None
    bits: int


@dataclass(frozen=True)
class Description:
    """What `flexseg derive` says about a dataset that it made.

    Attributes
    ----------
    classes : empty where masks were taken over unchanged.
    group : regular expression that finds volume, patient or image in a file name.
    volume : None where the images are no slices of volumes.
    ignored : what marks pixels that count in nothing; None: there are none.
    """

    classes: tuple[LabelClass, ...]
    group: str | None
    volume: VolumeCut | None
    ignored: IgnoredPixels | None = None


def label_names(path: Path) -> dict[int, str]:
    """Names of label values: of the Decathlon {"1": "liver"} or of nnU-Net {"liver": 1}.

    None are known where there is no such file, one of another kind, or one with equal names.
    """
    try:
        labels = read_json(path)["labels"]
        pairs = [(k, v) if isinstance(v, str) else (v, k) for k, v in labels.items()]
        names = {int(v): str(name) for v, name in pairs if not isinstance(v, list)}
        return names if len({name.casefold() for name in names.values()}) == len(names) else {}
    except (OSError, ValueError, OverflowError, KeyError, TypeError, AttributeError):
        return {}


def volume_label_names(dataset: Path) -> dict[int, str]:
    """The names of values of label volumes, see `label_names`.

    Raises
    ------
    DataError : the background is not 0.
    """
    names = label_names(dataset / DATASET_FILE)
    other = next((v for v, name in names.items() if v and name.casefold() == "background"), None)
    if other is not None:
        raise DataError(
            f"The file says that the value {other} is background; in label volumes background "
            "has to be 0.",
            "Renumber the labels, or correct the file.",
            str(dataset / DATASET_FILE),
        )
    return names


def description(dataset: Path) -> Description | None:
    """What the `dataset.json` of `flexseg derive` says. Its masks hold class ids, or colours.

    None without one; other programs, as nnU-Net, write files of this name and other content.

    Raises
    ------
    DataError : it cannot be read.
    """
    path = dataset / DATASET_FILE
    try:
        content = read_json(path)
        if not (isinstance(content, dict) and "classes" in content):
            return None
        classes = tuple(
            LabelClass(int(c["id"]), str(c["name"]), ((int(red), int(green), int(blue)),))
            for c in content["classes"]
            if c["id"] != 0
            for red, green, blue in [c["color"]]
        )
        return Description(
            classes,
            content.get("group"),
            _volume(content.get("parameters", {})),
            TypeAdapter(IgnoredPixels | None).validate_python(content.get("ignored")),
        )
    except FileNotFoundError:
        return None
    except (
        OSError,
        ValueError,
        OverflowError,
        KeyError,
        TypeError,
        AttributeError,
        ConfigError,
    ) as error:
        raise DataError(
            f"The description of the dataset cannot be read ({error}).",
            "Restore the file that `flexseg derive` wrote, or remove it.",
            str(path),
        ) from None


def _volume(parameters: dict[str, Any]) -> VolumeCut | None:
    if "axis" not in parameters:
        return None
    axes = tuple(parse_axes(parameters["axis"]))
    intensity = Intensity.parse(parameters["window"]) if "window" in parameters else None
    return VolumeCut(axes, parameters["rotate"], intensity, parameters["bits"])


def groups_of_manifest(path: Path, column: str, cases: Sequence[Case]) -> dict[str, str]:
    """The group of each case by its id, from a table as `flexseg derive` writes one.

    Augmented copies get the group of their original where they have no row of their own.

    Parameters
    ----------
    path : CSV with a column `image` (or `file`): path or name of the image.
    column : the column of the group, e.g. "patient".

    Raises
    ------
    DataError : the table lacks a column, or cases.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError("There is no such file.", check_path(path), str(path)) from None
    except UnicodeDecodeError as error:
        raise DataError(
            f"This is not UTF-8 text: {error}.", "Save it as UTF-8.", str(path)
        ) from None
    table = csv.DictReader(text.splitlines())
    header = list(table.fieldnames or ())
    files = next((name for name in _FILE_COLUMNS if name in header), None)
    if files is None or column not in header:
        lacking = "image" if files is None else column
        raise DataError(
            f"The table has no column {lacking!r}; it has: {', '.join(header) or 'none'}.",
            "Name the column of the groups by --by; the column 'image' must hold the file.",
            str(path),
        )
    groups = {
        composed(_stem(row[files])): of_cell(row[column] or "").strip()
        for row in table
        if row[files]
    }
    lacking_cases = [c.id for c in cases if not (groups.get(c.id) or groups.get(base_name(c.id)))]
    if lacking_cases:
        raise DataError(
            f"{some_of(len(lacking_cases), len(cases), 'case', 'has', 'have')} no {column} in "
            f"the table: {examples(lacking_cases)}.",
            "Add them: a case without a group could have images in two splits.",
            str(path),
        )
    return {c.id: groups.get(c.id) or groups[base_name(c.id)] for c in cases}


def _stem(name: str) -> str:
    return re.split(r"[/\\]", name)[-1].rpartition(".")[0] or name
