"""The table of all cases."""

from __future__ import annotations

import base64
import csv
import io
from pathlib import Path

from flexseg.report.case_table import case_table
from flexseg.report.content import gather
from flexseg.report.sources import find_source
from sample_run import add_quality, write_sample_evaluation, write_sample_run


def test_rows_and_download(tmp_path: Path) -> None:
    folder = write_sample_evaluation(tmp_path)
    e = gather(find_source(folder)).evaluation
    assert e is not None
    table = case_table(e, None, folder)
    assert table.headings == ["Dice", "Surface Dice", "HD95, px", "Reference, px", "Predicted, px"]
    assert len(table.rows) == 6 * 2
    missed = table.rows[0]
    assert (missed.score.case, missed.score.status) == ("test_00", "missed")
    assert [cell.text for cell in missed.cells[:2]] == ["0.000", "0.000"]
    assert missed.cells[-1].number == 0
    head, _, content = table.download.partition(",")
    assert head == "data:text/csv;charset=utf-8;base64"
    assert base64.b64decode(content) == (folder / "cases.csv").read_bytes()


def test_of_volumes_in_millilitres(tmp_path: Path) -> None:
    folder = write_sample_evaluation(tmp_path)
    e = gather(find_source(folder)).evaluation
    assert e is not None
    e.volumes, e.units = True, "mm"
    e.scores[0].values |= {"reference_ml": 12.34, "predicted_ml": None}
    table = case_table(e, None, tmp_path / "none")
    assert table.headings[2:] == ["HD95, mm", "Reference, ml", "Predicted, ml"]
    assert [cell.text for cell in table.rows[0].cells[-2:]] == ["12.3", "0.00"]
    assert table.download == ""


def test_what_was_expected_stands_beside_the_dice(tmp_path: Path) -> None:
    """Of the disc of test_00, which was missed, a Dice near 0; the last input is foreign."""
    run = write_sample_run(tmp_path)
    add_quality(run)
    content = gather(find_source(run))
    assert content.evaluation is not None
    table = case_table(content.evaluation, content.quality, run / "evaluation")
    assert table.headings[:5] == ["Dice", "Expected Dice", "90 % interval", "Flag", "Input"]
    missed, last = table.rows[0].cells, table.rows[-1].cells
    assert [cell.text for cell in missed[:5]] == [
        "0.000", "0.025", "0.000 to 0.125", "red", "as trained",
    ]  # fmt: skip
    assert [cell.number for cell in missed[1:4]] == [0.025, 0.0, 2.0]
    assert last[4].text == "unlike training: looks, size"
    saved = base64.b64decode(table.download.partition(",")[2]).decode()
    rows = [*csv.DictReader(io.StringIO(saved))]
    assert len(rows) == len(table.rows)
    assert (rows[0]["dice"], rows[0]["expected_dice"], rows[0]["flag"]) == ("0.0", "0.025", "red")
    assert (rows[-1]["foreign"], rows[-1]["why"]) == ("yes", "looks, size")


def test_a_case_of_which_nothing_was_expected(tmp_path: Path) -> None:
    run = write_sample_run(tmp_path)
    add_quality(run)
    content = gather(find_source(run))
    assert content.evaluation is not None and content.quality is not None
    content.quality.rows = content.quality.rows[1:]
    table = case_table(content.evaluation, content.quality, run / "evaluation")
    assert [cell.text for cell in table.rows[0].cells[1:5]] == ["\N{EN DASH}"] * 4
    saved = base64.b64decode(table.download.partition(",")[2]).decode().splitlines()
    assert saved[1].endswith(",,,,,,") and not saved[2].endswith(",,,,,,")
