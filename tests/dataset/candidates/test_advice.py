from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from flexseg.cli.app import app
from flexseg.dataset.layout import find_layout
from flexseg.errors import DataError
from flexseg.files.images import read_mask, write_png


def write(root: Path, *names: str) -> None:
    """Masks mark a row each, in the order given; images are grey."""
    for row, name in enumerate(names):
        path = root / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        mask = np.zeros((12, 12), np.uint8)
        mask[row % 12] = 255
        write_png(path, mask)


@pytest.mark.parametrize(
    ("names", "case", "rows"),
    [
        # Folders of what is shown (BUSI), with a further mask.
        (
            ["b/b (1)", "b/b (1)_mask", "b/b (1)_mask_1", "b/b (2)", "b/b (2)_mask",
             "m/m (1)", "m/m (1)_mask", "m/m (2)", "m/m (2)_mask"],
            "b_b (1)", [1, 2],
        ),
        # A folder per image, with a mask per object (Data Science Bowl 2018).
        (
            ["c1/images/c1", "c1/masks/x", "c1/masks/y", "c2/images/c2", "c2/masks/z"],
            "c1", [1, 2],
        ),
        # A folder of masks per image, and one per class.
        (["images/c1", "masks/c1/o1", "masks/c1/o2", "images/c2", "masks/c2/o1"], "c1", [1, 2]),
        (["images/c1", "masks/liver/c1", "masks/spleen/c1", "images/c2", "masks/liver/c2"],
         "c1", [1, 2]),
    ],
)  # fmt: skip
def test_the_command_that_is_told_reads_the_folder(
    tmp_path: Path, names: Sequence[str], case: str, rows: Sequence[int]
) -> None:
    root = tmp_path / "data of ours"
    write(root, *names)
    with pytest.raises(DataError) as caught:
        find_layout(root)
    command = caught.value.fix.split("`")[1].replace("NEW", str(tmp_path / "new"))
    app(shlex.split(command)[1:], standalone_mode=False)
    mask = read_mask(tmp_path / "new" / "masks" / f"{case}.png").pixels
    assert np.flatnonzero(mask.any(axis=1)).tolist() == list(rows)
