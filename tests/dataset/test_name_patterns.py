"""Name patterns: which file belongs to which case."""

from __future__ import annotations

from pathlib import Path

import pytest

from flexseg.dataset.name_patterns import NamePattern
from flexseg.errors import ConfigError, DataError

SUFFIXES = (".png", ".nii", ".nii.gz")


def pattern(text: str) -> NamePattern:
    return NamePattern.parse(text, SUFFIXES, "--mask-name")


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


@pytest.mark.parametrize(
    ("text", "names", "ids"),
    [
        ("{id}", ["a.png", "b.c.nii.gz", "x/d.png", ".e.png", "f.txt"], ["a", "b.c"]),
        ("{id}_mask.png", ["a_mask.png", "b_mask.nii", "c.png"], ["a"]),
        ("{id}.nii", ["a.nii", "b.nii.gz"], ["a"]),
        ("P-{id}/{id}-T2", ["P-1/1-T2.nii", "P-2/1-T2.nii", "P-3/3-T1.nii"], ["1"]),
        ("*/{id}", ["x/a.png", "y/b.png", "c.png"], ["a", "b"]),
        (r"sub\{id}", ["sub/a.png"], ["a"]),
        ("img (1)+{id}", ["img (1)+a.PNG", "img 1a.png"], ["a"]),
    ],
)
def test_ids(tmp_path: Path, text: str, names: list[str], ids: list[str]) -> None:
    touch(tmp_path, *names)
    wanted = pattern(text)
    assert sorted(wanted.ids(wanted.find(tmp_path))) == ids


@pytest.mark.parametrize(
    ("text", "case_id", "expected"),
    [
        ("{id}", "1", ["1"]),
        ("{id}_*", "1", ["1_a", "1_b"]),
        ("{id}_*", "1_a", []),
        ("*_{id}", "1", ["x_1"]),
        ("{id}/*", "1", ["1/m0", "1/m1"]),
        ("{id}*", "[1", ["[1]"]),
    ],
)
def test_files_of_a_case(text: str, case_id: str, expected: list[str]) -> None:
    names = sorted(["1", "1_a", "1_b", "10_a", "x_1", "1/m0", "1/m1", "10/m0", "[1]"])
    assert pattern(text).of_case(case_id, names) == expected


@pytest.mark.parametrize("text", ["mask", "{name}", "{id", "../{id}", "{id}{x}", ""])
def test_texts_that_are_no_pattern(text: str) -> None:
    with pytest.raises(ConfigError, match="no name pattern"):
        pattern(text)


def test_ambiguous_names(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "a.nii", "x/b.png", "y/b.png")
    with pytest.raises(DataError, match=r"more than one suffix: a\.nii and a\.png") as error:
        pattern("{id}").find(tmp_path)
    assert "--mask-name" in error.value.fix
    assert list(pattern("{id}.png").find(tmp_path)) == ["a"]
    with pytest.raises(DataError, match="1 cases have more than one file"):
        pattern("*/{id}").ids(pattern("*/{id}").find(tmp_path))
    with pytest.raises(DataError, match="no such folder"):
        pattern("{id}").find(tmp_path / "nothing")
