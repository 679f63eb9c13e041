"""What an evaluation has left in its folder, read back."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexseg.errors import DataError
from flexseg.files.json_file import read_json
from flexseg.machine import real_path
from flexseg.runs.given import CASES, EVALUATION, SUMMARY, find_given
from flexseg.runs.trained import run_folder
from flexseg.spreadsheet import of_cell

KEY_COLUMNS = ("case", "group", "class_id", "class", "status")


@dataclass(frozen=True)
class Results:
    """The scores of one evaluation per case and foreground class.

    Attributes
    ----------
    name : of the run, for tables.
    cases, groups : names in the order of the file, and the group of each case.
    classes : names by class id, ascending.
    status : [cases, classes] str, see `Overlap.status`.
    columns : name -> [cases, classes] float64, NaN where undefined.
    summary : content of `summary.json`; empty if there is none.
    """

    name: str
    folder: Path
    cases: tuple[str, ...]
    groups: tuple[str, ...]
    classes: dict[int, str]
    status: NDArray[np.str_]
    columns: dict[str, NDArray[np.float64]]
    summary: dict[str, Any]


def evaluation_folder(path: Path) -> Path:
    """The folder of `cases.csv` that a path means: an evaluation's, or in that of a run.

    Raises
    ------
    ConfigError : there is nothing at it, or something else.
    DataError : the run is not evaluated.
    """
    given = find_given(path)
    folder = given.evaluation or run_folder(path) / EVALUATION
    if not (folder / CASES).is_file():
        raise DataError(
            f"The folder has no {EVALUATION}/{CASES}.",
            "Run `flexseg evaluate CONFIG` for it first.",
            str(folder.parent),
        )
    return folder


def names_of(paths: Sequence[Path]) -> list[str]:
    """The shortest ends of paths that tell them apart, `evaluation` not counted."""
    parts = []
    for path in paths:
        absolute = real_path(path)
        named = absolute.parent if absolute.name == EVALUATION else absolute
        parts.append(named.parts)
    for length in range(1, max((len(p) for p in parts), default=0) + 1):
        names = ["/".join(p[-length:]) for p in parts]
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in paths]


def read_summary(folder: Path) -> dict[str, Any]:
    """The content of `summary.json` in an evaluation's folder; empty without the file.

    Raises
    ------
    DataError : it is damaged.
    """
    path = folder / SUMMARY
    try:
        content = read_json(path)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise _damaged(path, f"it cannot be read ({error})") from None
    if not isinstance(content, dict):
        raise _damaged(path, "it is not an object")
    # Before there was such a number, one common pixel made an object found.
    return {"object_iou": 0.0, **content}


def read_results(path: Path, name: str | None = None) -> Results:
    """The results of a run's folder or of an evaluation's.

    Raises
    ------
    DataError : there are none, or they are damaged.
    """
    folder = evaluation_folder(path)
    file = folder / CASES
    header, rows = _read_table(file)
    group_of: dict[str, str] = {}
    classes: dict[int, str] = {}
    for row in rows:
        class_id = int(row["class_id"])
        if group_of.setdefault(row["case"], row["group"]) != row["group"]:
            raise _damaged(file, f"case {row['case']} is in two groups")
        if classes.setdefault(class_id, row["class"]) != row["class"]:
            raise _damaged(file, f"class {class_id} has two names")
    case_index = {case: i for i, case in enumerate(group_of)}
    class_index = {class_id: i for i, class_id in enumerate(sorted(classes))}
    shape = (len(case_index), len(class_index))
    if len(rows) != shape[0] * shape[1]:
        raise _damaged(file, f"{shape[0]} cases of {shape[1]} classes have {len(rows)} rows")
    status = np.full(shape, "", dtype="<U16")
    columns = {c: np.full(shape, np.nan) for c in header if c not in KEY_COLUMNS}
    for row in rows:
        place = case_index[row["case"]], class_index[int(row["class_id"])]
        if status[place]:
            raise _damaged(file, f"case {row['case']} has class {row['class']} twice")
        status[place] = row["status"] or "?"
        for column, values in columns.items():
            values[place] = _number(row[column], file, row["case"], column)
    return Results(
        name or names_of([folder])[0],
        folder,
        tuple(group_of),
        tuple(group_of.values()),
        {class_id: classes[class_id] for class_id in class_index},
        status,
        columns,
        read_summary(folder),
    )


def _read_table(file: Path) -> tuple[list[str], list[dict[str, str]]]:
    try:
        text = file.read_text(encoding="utf-8")
        table = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        header = list(table.fieldnames or ())
        rows = list(table)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _damaged(file, f"it cannot be read ({error})") from None
    if lacking := [c for c in KEY_COLUMNS if c not in header]:
        raise _damaged(file, f"it lacks the column {lacking[0]!r}")
    if not rows:
        raise _damaged(file, "it has no cases")
    for number, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            raise _damaged(file, f"line {number} has another number of cells than the header")
        if not row["class_id"].isdecimal():
            raise _damaged(file, f"line {number} has the class id {row['class_id']!r}")
    return header, [{key: of_cell(cell) for key, cell in row.items()} for row in rows]


def _number(text: str, file: Path, case: str, column: str) -> float:
    if not text:
        return math.nan
    try:
        value = float(text)
    except ValueError:
        value = math.inf
    if not math.isfinite(value):
        raise _damaged(file, f"the {column} of case {case} is {text!r}")
    return value


def _damaged(file: Path, what: str) -> DataError:
    return DataError(
        f"This is not a complete result of an evaluation: {what}.",
        "Evaluate again; the file is moved aside, so nothing is lost.",
        str(file),
    )
