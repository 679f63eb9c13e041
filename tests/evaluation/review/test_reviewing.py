"""What a review leaves in its folder."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flexseg.batches.store import CaseReader
from flexseg.dataset.cases import Case
from flexseg.errors import DataError
from flexseg.evaluation.image_scores import prediction_writer
from flexseg.evaluation.review.reviewed_cases import TABLE, read_review
from flexseg.evaluation.review.reviewing import AnnotationReview
from flexseg.files.preprocess import Preprocessing
from planted_mistakes import LABELS, SIDE, cells, predicted


@pytest.fixture
def review(tmp_path: Path) -> tuple[AnnotationReview, CaseReader, Path]:
    """Twelve cases; in `=b` a cell is missing."""
    found = AnnotationReview(LABELS, seen_in_training=True)
    reader = CaseReader(Preprocessing(SIDE, SIDE, 3), LABELS)
    (tmp_path / "predictions").mkdir()
    keep = prediction_writer(tmp_path / "predictions", LABELS)
    for i in range(12):
        name, truth = "=b" if i == 5 else f"c{i}", cells(i)
        annotated = truth.copy()
        annotated[:32, :32] *= i != 5
        case = Case(name, tmp_path / f"{name}.png", tmp_path / f"{name}_mask.png", name)
        Image.fromarray(np.full((SIDE, SIDE, 3), 90, np.uint8)).save(case.image)
        Image.fromarray(LABELS.id_colors[annotated].astype(np.uint8)).save(case.mask)
        keep(case, truth)
        found.add(case, annotated, predicted(truth))
    return found, reader, tmp_path


def test_table_predictions_and_pictures(review: tuple[AnnotationReview, CaseReader, Path]) -> None:
    found, reader, place = review
    folder = place / "review"
    ranked = found.write(folder, place / "predictions", reader)
    assert [one.case.id for one in ranked if one.suspicious] == ["=b"]
    with (folder / TABLE).open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12 and rows[0]["case"] == "'=b"  # no formula for a spreadsheet
    assert (rows[0]["suspicious"], rows[0]["kind"]) == ("yes", "object missing")
    assert rows[1]["prediction"] == rows[1]["kind"] == ""
    (picture,) = (folder / "pictures").iterdir()
    pixels = np.asarray(Image.open(picture))
    assert picture.name == "001_=b.png" and pixels.shape == (SIDE, 3 * SIDE, 3)
    image, annotation, prediction = np.split(pixels, 3, axis=1)
    assert (image == 90).all() and (annotation[:32, :32] == 90).all()
    assert (prediction[:32, :32] != 90).any()


def test_it_is_read_back(review: tuple[AnnotationReview, CaseReader, Path]) -> None:
    found, reader, place = review
    assert read_review(place / "review") is None
    found.write(place / "review", place / "predictions", reader)
    rows = read_review(place / "review")
    assert rows is not None and len(rows) == 12
    first = rows[0]
    assert (first.case, first.suspicious, first.kind) == ("=b", True, "object missing")
    assert first.seen_in_training and first.masks == (place / "=b_mask.png",)
    assert first.prediction is not None and first.prediction.is_file()
    assert all(row.score <= first.score and row.prediction is None for row in rows[1:])


def test_a_damaged_table(tmp_path: Path) -> None:
    (tmp_path / TABLE).write_text("case,score\na,b\n")
    with pytest.raises(DataError, match="cannot be read"):
        read_review(tmp_path)


def test_few_cases_are_told(
    review: tuple[AnnotationReview, CaseReader, Path], caplog: pytest.LogCaptureFixture
) -> None:
    found, reader, place = review
    found.found = found.found[:3]
    found.write(place / "review", place / "predictions", reader)
    assert "With 3 cases, it is not clear what is usual" in caplog.text
