"""Versions of a model, and the way back."""

from __future__ import annotations

from pathlib import Path

import pytest

from flexseg.errors import ConfigError, DataError
from flexseg.learning.versions import Version, Versions


def test_what_is_taken_is_current_and_nothing_is_lost(tmp_path: Path) -> None:
    versions = Versions.open(tmp_path)
    assert (versions.current, versions.next_number) == (0, 1)
    first = tmp_path / "elsewhere" / "best_model.h5"
    versions = versions.added(Version(1, str(first), None, True, ""))
    versions = versions.added(Version(2, "versions/2/m.h5", 1, True, "", 5), test_looks=1)
    versions = versions.added(Version(3, "versions/3/m.h5", 2, False, "", 9), test_looks=1)
    again = Versions.open(tmp_path)
    assert again == versions and again.current == 2 and again.test_looks == 2
    assert again.model() == tmp_path / "versions/2/m.h5" and again.model(1) == first
    assert again.get(3).when.endswith("+00:00")
    back = again.back_to(1)
    assert back.current == 1 and len(Versions.open(tmp_path).versions) == 3
    with pytest.raises(ConfigError, match=r"no version 7.*1, 2, 3"):
        back.back_to(7)


@pytest.mark.parametrize("text", ["", "[]", '{"format": 2}', '{"format": 1, "versions": 3}'])
def test_a_damaged_file(text: str, tmp_path: Path) -> None:
    (tmp_path / "versions.json").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match="cannot be read"):
        Versions.open(tmp_path)
