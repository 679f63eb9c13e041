"""Draw stained cells and their masks: python examples/draw_cells.py FOLDER

Each picture has a few cells, some of them touching, on a ground of uneven brightness. Masks are
indexed PNGs: 0 ground, 1 cytoplasm, 2 nucleus.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

SIZE = (128, 128)  # height, width
GROUND, CYTOPLASM, NUCLEUS = (236, 222, 230), (198, 160, 205), (112, 66, 146)
PALETTE = [0, 0, 0, 230, 159, 0, 86, 180, 233]


def draw(
    rng: np.random.Generator, size: tuple[int, int] = SIZE, most: int = 6
) -> tuple[Image.Image, Image.Image]:
    """A picture of cells, at most so many, and its mask."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    labels = np.zeros(size, np.uint8)
    for _ in range(rng.integers(most // 2, most + 1)):
        y, x = (rng.uniform(12, n - 12) for n in size)
        radius, shift = rng.uniform(11, 18), rng.uniform(-3, 3, 2)
        angle = np.arctan2(rows - y, columns - x)
        outline = radius * (1 + 0.08 * np.sin(3 * angle + rng.uniform(0, 6)))
        labels[(np.hypot(rows - y, columns - x) < outline) & (labels == 0)] = 1
        nucleus = np.hypot(rows - y - shift[0], (columns - x - shift[1]) / rng.uniform(1, 1.3))
        labels[nucleus < radius * rng.uniform(0.4, 0.55)] = 2
    colors = np.array([GROUND, CYTOPLASM, NUCLEUS], np.float32)[labels]
    light = 1 + 0.1 * np.sin(rows / SIZE[0] * 2 + rng.uniform(0, 6))[..., None]
    pixels = colors * light + rng.normal(0, 9, colors.shape)
    image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    mask = Image.fromarray(labels)
    mask.putpalette(PALETTE)
    return image.filter(ImageFilter.GaussianBlur(0.8)), mask


def main(folder: Path, count: int = 60) -> None:
    """Write `images/` and `masks/`, and three pictures without masks beside the folder."""
    rng = np.random.default_rng(7)
    new = folder.with_name(f"{folder.name}_new")
    for place in (folder / "images", folder / "masks", new):
        place.mkdir(parents=True, exist_ok=True)
    for number in range(1, count + 1):
        image, mask = draw(rng)
        image.save(folder / "images" / f"cells_{number:02d}.png")
        mask.save(folder / "masks" / f"cells_{number:02d}.png")
    for number in range(1, 4):
        draw(rng)[0].save(new / f"new_{number}.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
