"""The pattern that finds patients in names: as given, as described, or as the names suggest."""

from __future__ import annotations

from pathlib import Path

import pytest

from flexseg.dataset.cases import Case
from flexseg.dataset.description import Description
from flexseg.dataset.grouping import find_group, grouped_by_names, guess_group, unmatched_findings
from flexseg.errors import ConfigError

SLICES = [f"p{patient:02d}_slice{i}" for patient in range(4) for i in range(3)]


def test_what_is_given_counts_first_then_the_description_then_the_names() -> None:
    described = Description((), "^(x)", None)
    assert find_group("^(p[0-9]+)_", SLICES, described) == ("^(p[0-9]+)_", [])
    assert find_group(None, SLICES, described) == ("^(x)", [])
    pattern, notes = find_group(None, SLICES)
    assert pattern == guess_group(SLICES)[0] is not None
    assert notes == [
        "Groups: the names tell of 4 patients or volumes with 3 images: p00 (3), p01 (3) and 2 more."
    ]
    assert find_group(None, ["ash", "birch", "cedar"]) == (None, [])


def test_what_is_given_must_fit_every_name() -> None:
    with pytest.raises(ConfigError, match="is no regular expression"):
        find_group("(", SLICES)
    with pytest.raises(ConfigError, match=r"finds nothing in 1 of 13 names: other\."):
        find_group("^(p[0-9]+)_", [*SLICES, "other"])


def test_cases_of_a_config_without_pattern_are_grouped_by_their_names() -> None:
    cases = [Case(name, Path("i"), Path("m"), name) for name in SLICES]
    found, (note,) = grouped_by_names(cases, None)
    assert [case.group for case in found] == [name[:3] for name in SLICES]
    assert "4 patients" in note.what and "one part as a whole" in note.what
    assert grouped_by_names(cases, "^(.*)$") == (tuple(cases), ())


def test_a_pattern_of_the_config_that_finds_nothing() -> None:
    (finding,) = unmatched_findings(r"^(p\\d+)", SLICES)
    assert "is found in no name of a case: p00_slice0" in finding.what
    assert unmatched_findings("^(p0[01])", SLICES) == []
    assert unmatched_findings(None, SLICES) == unmatched_findings("x", []) == []
