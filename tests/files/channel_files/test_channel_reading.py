from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from flexseg.errors import DataError
from flexseg.files.channel_files.channel_reading import read_channel_volumes, read_channels
from flexseg.files.images import write_png
from flexseg.files.volumes.volume import Volume
from flexseg.files.volumes.write import write_volume


def test_images(tmp_path: Path) -> None:
    for channel in range(3):
        write_png(tmp_path / f"a_000{channel}.png", np.full((4, 5), channel, np.uint8))
    pixels = read_channels(tmp_path / "a_0000.png", 3)
    assert pixels.shape == (4, 5, 3) and pixels[0, 0].tolist() == [0, 1, 2]
    with pytest.raises(DataError, match=r"missing: a_0003\.png"):
        read_channels(tmp_path / "a_0000.png", 4)
    write_png(tmp_path / "a_0001.png", np.zeros((5, 5), np.uint8))
    with pytest.raises(DataError, match=r"this is 5 x 5, a_0000\.png 5 x 4"):
        read_channels(tmp_path / "a_0000.png", 3)
    colored = np.zeros((4, 5, 3), np.uint8)
    colored[..., 1] = 9
    write_png(tmp_path / "a_0001.png", colored)
    with pytest.raises(DataError, match="by its name it is one channel of an image"):
        read_channels(tmp_path / "a_0000.png", 3)


def test_volumes(tmp_path: Path) -> None:
    for channel in range(2):
        voxels = np.full((3, 4, 5), channel, np.int16)
        write_volume(tmp_path / f"v_000{channel}.nii.gz", Volume(voxels, (1, 1, 2)))
    first = tmp_path / "v_0000.nii.gz"
    whole = read_channel_volumes(first, 2)
    assert whole.array.shape == (3, 4, 5, 2) and whole.array[0, 0, 0].tolist() == [0, 1]
    assert whole.spacing == (1, 1, 2)
    assert read_channel_volumes(first, 2, channel=1).array.max() == 1
    assert read_channel_volumes(first, 1).channels == 1
    with pytest.raises(DataError, match="Channel 2 does not exist"):
        read_channel_volumes(first, 2, channel=2)
    moved = Volume(np.ones((3, 4, 5), np.int16), (1, 1, 2), (9, 0, 0))
    write_volume(tmp_path / "v_0001.nii.gz", moved)
    with pytest.raises(DataError, match="at another position or of another voxel size than v_0000"):
        read_channel_volumes(first, 2)
