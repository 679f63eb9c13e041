"""How large an image may be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from flexseg.errors import ConfigError, DataError
from flexseg.files import limits
from flexseg.files.limits import SETTING, check_size, largest_image

PATH = Path("a.png")


def test_the_default_is_a_quarter_of_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SETTING, raising=False)
    for memory, expected in ((8 * 2**30, 2 * 2**30), (None, 4 * 2**30)):
        monkeypatch.setattr(limits, "total_memory", lambda memory=memory: memory)
        assert largest_image() == expected


def test_the_setting_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SETTING, "0.5")
    assert largest_image() == 2**29
    check_size((2**14, 2**14, 1), np.uint16, PATH)
    with pytest.raises(DataError, match=r"16385 x 16384 x 1 and takes 512 MiB") as caught:
        check_size((2**14 + 1, 2**14, 1), np.uint16, PATH)
    assert SETTING in caught.value.fix
    assert caught.value.where == "a.png"


@pytest.mark.parametrize("text", ["", "much", "0", "-1", "nan", "inf"])
def test_a_setting_that_is_no_size(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(SETTING, text)
    with pytest.raises(ConfigError) as caught:
        largest_image()
    assert caught.value.where == SETTING


def test_what_a_file_cannot_hold() -> None:
    check_size((3, 4), np.int16, PATH, most=24)
    with pytest.raises(
        ValueError, match="size 3 x 4 takes 24 bytes, but the file holds at most 23"
    ):
        check_size((3, 4), np.int16, PATH, most=23)


@pytest.mark.parametrize("shape", [(0, 4), (-3, -4), (), (10**4000, -1)])
def test_impossible_sizes(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="impossible size"):
        check_size(shape, np.uint8, PATH)


def test_sizes_that_no_float_can_hold() -> None:
    with pytest.raises(DataError, match=r"10\^12 and more x 5"):
        check_size((10**4000, 5), np.uint8, PATH)
