"""The pattern that finds patients in names: as given, as described, or as the names suggest."""

from __future__ import annotations

import pytest

from flexseg.dataset.description import Description
from flexseg.dataset.grouping import find_group, guess_group
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
