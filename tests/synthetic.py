"""Small datasets that are made, not shipped."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from flexseg.files.images import write_png

# What a config says of the parts of `write_dataset(folder / "data")` that are not trained on.
HELD_OUT = """
[valid]
images_dir = "data/valid/images"
masks_dir = "data/valid/masks"

[test]
images_dir = "data/test/images"
masks_dir = "data/test/masks"

[infer]
images_dir = "data/test/images"
"""


def write_dataset(
    folder: Path,
    splits: dict[str, int] | None = None,
    size: tuple[int, int] = (40, 48),
    classes: int = 2,
    seed: int = 0,
) -> Path:
    """`<folder>/<split>/{images,masks}/<split>_<nn>.png`: class 1 discs, class 2 squares.

    RGB images and indexed masks (palette black, green, red) of `size` (height, width).
    """
    rng = np.random.default_rng(seed)
    height, width = size
    rows, columns = np.mgrid[:height, :width]
    palette = [0, 0, 0, 0, 255, 0, 255, 0, 0][: 3 * classes]
    for split, count in (splits or {"train": 8, "valid": 4, "test": 4}).items():
        for kind in ("images", "masks"):
            (folder / split / kind).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            labels = np.zeros(size, np.uint8)
            y, x = rng.integers(8, height - 8), rng.integers(8, width - 8)
            labels[(rows - y) ** 2 + (columns - x) ** 2 < 49] = 1
            if classes > 2:
                y, x = rng.integers(2, height - 10), rng.integers(2, width - 10)
                labels[y : y + 8, x : x + 8] = 2
            image = rng.normal(60, 10, (*size, 3)) + 70.0 * labels[..., None]
            name = f"{split}_{i:02d}.png"
            write_png(folder / split / "images" / name, np.clip(image, 0, 255).astype(np.uint8))
            write_png(folder / split / "masks" / name, labels, palette)
    return folder
