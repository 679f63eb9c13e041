"""What `flexseg review` has left in its folder, read back without any engine."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from flexseg.errors import DataError
from flexseg.evaluation.case_scores import BETWEEN_FILES
from flexseg.spreadsheet import of_cell
from flexseg.storage.urls import noted_path

FOLDER, TABLE = "review", "annotations.csv"


@dataclass(frozen=True)
class ReviewedCase:
    """A row of `annotations.csv`; `prediction` is None where none was kept."""

    case: str
    score: float
    suspicious: bool
    kind: str
    evidence: str
    seen_in_training: bool
    prediction: Path | None
    image: Path
    masks: tuple[Path, ...]


def read_review(folder: Path) -> list[ReviewedCase] | None:
    """What `flexseg review` has left in a folder, the most suspicious first; None without it.

    Raises
    ------
    DataError : the table is damaged.
    """
    path = folder / TABLE
    if not path.is_file():
        return None
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [
                _reviewed({key: of_cell(cell) for key, cell in row.items()}, folder)
                for row in csv.DictReader(file, strict=True)
            ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, csv.Error) as error:
        raise DataError(
            f"It cannot be read ({error}).", "Run `flexseg review` again.", str(path)
        ) from None


def _reviewed(row: dict[str, str], folder: Path) -> ReviewedCase:
    more = [noted_path(name) for name in row["more_masks"].split(BETWEEN_FILES) if name]
    return ReviewedCase(
        row["case"],
        float(row["score"]),
        row["suspicious"] == "yes",
        row["kind"],
        row["evidence"],
        row["seen_in_training"] == "yes",
        folder / row["prediction"] if row["prediction"] else None,
        noted_path(row["image"]),
        (noted_path(row["mask"]), *more),
    )
