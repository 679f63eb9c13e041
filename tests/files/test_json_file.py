"""JSON in: one kind of error."""

from __future__ import annotations

from pathlib import Path

import pytest

from flexseg.files.json_file import parse_json, read_json


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "9" * 5000, "nothing", '"\\ud8"'])
def test_what_is_no_json(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=r"."):
        parse_json(text)
    with pytest.raises(ValueError, match=r"."):
        read_json(tmp_path / "a.json")


def test_what_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="codec"):
        read_json(tmp_path / "a.json")


def test_the_mark_of_editors(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b'\xef\xbb\xbf{"a": [1]}')
    assert read_json(tmp_path / "a.json", "utf-8-sig") == {"a": [1]}
