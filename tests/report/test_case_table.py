"""The table of all cases."""

from __future__ import annotations

import base64
from pathlib import Path

from flexseg.report.case_table import case_table
from flexseg.report.content import gather
from flexseg.report.sources import find_source
from sample_run import write_sample_evaluation


def test_rows_and_download(tmp_path: Path) -> None:
    folder = write_sample_evaluation(tmp_path)
    e = gather(find_source(folder)).evaluation
    assert e is not None
    table = case_table(e, folder)
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
    table = case_table(e, tmp_path / "none")
    assert table.headings[2:] == ["HD95, mm", "Reference, ml", "Predicted, ml"]
    assert [cell.text for cell in table.rows[0].cells[-2:]] == ["12.3", "0.00"]
    assert table.download == ""
