"""Reports without paths of the machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from flexseg.report.html import write_report
from flexseg.report.private_paths import without_machine
from flexseg.report.sources import find_source
from sample_run import write_sample_run


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/data/me/lungs/train/images", "train/images"),
        (
            "there is no run.json in /data/me/run; give one",
            "there is no run.json in me/run; give one",
        ),
        ("'/a/b/c.png' and /d/e/f.png.", "'b/c.png' and e/f.png."),
        (r"C:\data\me\lungs", "me/lungs"),
        ("C:/data/me/lungs.png", "me/lungs.png"),
        (r"'C:\\data\\me\\lungs'", "'me/lungs'"),
        (r"in \\server\scans\me\lungs.", "in me/lungs."),
        (r"\\server\scans", "scans"),
        ("see https://a.b/c/d", "see https://a.b/c/d"),
        ("1/2 of them, and/or 3 px/mm, a/b/c", "1/2 of them, and/or 3 px/mm, a/b/c"),
        ("/one", "/one"),
        ("/my data/of me/run holds none", "of me/run holds none"),
    ],
)
def test_texts(text: str, expected: str) -> None:
    assert without_machine(text, [Path("/my data/of me/run")]) == expected


@dataclass(frozen=True)
class _Part:
    texts: list[str]
    by_name: dict[str, tuple[str, int]]
    nothing: None = None


def test_all_parts() -> None:
    part = _Part(["/a/b/c"], {"x": ("/a/b/d", 3)})
    assert without_machine(part, []) == _Part(["b/c"], {"x": ("b/d", 3)})


def test_a_report_names_no_folder_above_its_data(tmp_path: Path) -> None:
    (tmp_path / "of a person").mkdir()
    run = write_sample_run(tmp_path / "of a person")
    (run / "history.json").unlink()
    for file in write_report(find_source(run))[:2]:
        text = file.read_text(encoding="utf-8")
        assert tmp_path.name not in text and str(Path.home()) + "/" not in text
