"""Reports of made-up runs for the browser tests: `python make_reports.py FOLDER`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from flexseg.checking.audit import audit
from flexseg.outputs import make_folder
from flexseg.report.html import write_report
from flexseg.report.sources import find_source
from sample_run import (
    add_advice,
    add_quality,
    add_review,
    write_repaired_run,
    write_sample_evaluation,
    write_sample_run,
    write_shifted_run,
)


def main(folder: Path) -> None:
    """Write reports with every part, of each verdict, of a repaired run, and of an evaluation
    alone."""
    make_folder(folder)
    for earlier in folder.iterdir():
        earlier.unlink()
    with tempfile.TemporaryDirectory() as scratch:
        whole = write_sample_run(Path(scratch) / "whole run")
        for add in (add_review, add_quality, add_advice):
            add(whole)
        run = find_source(whole)
        assert run.loaded is not None
        write_report(run, folder / "whole_run.html", audit(run.loaded).as_dict())
        repaired = find_source(write_repaired_run(Path(scratch) / "repaired run"))
        write_report(repaired, folder / "repaired_run.html")
        for name, columns in (("good", 0), ("middling", 2), ("failed", 6)):
            shifted = write_shifted_run(Path(scratch) / name, columns)
            add_quality(shifted)
            write_report(find_source(shifted), folder / f"{name}.html")
        evaluation = find_source(write_sample_evaluation(Path(scratch) / "masks alone"))
        write_report(evaluation, folder / "masks_alone.html")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
