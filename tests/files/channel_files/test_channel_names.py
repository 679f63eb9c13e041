from __future__ import annotations

from pathlib import Path

import pytest

from flexseg.files.channel_files.channel_names import (
    channel_files,
    channel_of,
    first_files,
    image_of,
    missing_channels,
)


@pytest.mark.parametrize(
    ("stem", "found"),
    [
        ("brain_0001", ("brain", 1)),
        ("a.b-0000", ("a.b", 0)),
        ("brain_001", None),
        ("_0001", None),
        ("brain0001", None),
    ],
)
def test_names(stem: str, found: tuple[str, int] | None) -> None:
    assert channel_of(stem) == found


def test_arrays_hold_their_channels() -> None:
    assert image_of(Path("v_0001.npy")) is None
    assert image_of(Path("v_0001.NII.GZ")) == "v"


def test_first_files(tmp_path: Path) -> None:
    """Files of one image are of one folder and suffix, and of numbers below the count."""
    names = ["a_0000.png", "a_0001.png", "a_0002.png", "b_0001.png", "c.png", "a_0001.tif"]
    paths = [tmp_path / name for name in names]
    kept = [path.name for path in first_files(paths, 2)]
    assert kept == ["a_0000.png", "a_0002.png", "b_0001.png", "c.png", "a_0001.tif"]
    assert first_files(paths, 1) == paths


def test_missing(tmp_path: Path) -> None:
    first = tmp_path / "v_0001.nii.gz"
    first.touch()
    assert [p.name for p in channel_files(first, 2)] == ["v_0000.nii.gz", "v_0001.nii.gz"]
    assert missing_channels(first, 2) == ["v_0000.nii.gz"]
