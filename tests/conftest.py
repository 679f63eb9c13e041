"""Fixtures that all tests share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from flexseg.backend import select

select(os.environ.get("KERAS_BACKEND", "tensorflow"))

SHARED = Path(__file__).resolve().parents[1].parent / "shared"


@pytest.fixture
def shared() -> Path:
    """The folder of real data, published outputs and parity files beside the project."""
    if not SHARED.is_dir():
        pytest.skip(f"the reference data ({SHARED.name}/ beside the project) are absent")
    return SHARED


@pytest.fixture
def make_dataset(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes a small dataset of discs and squares with palette masks."""
    from flexseg.data.images import write_png

    def make(
        splits: dict[str, int] | None = None,
        size: tuple[int, int] = (40, 48),
        classes: int = 2,
        name: str = "dataset",
        seed: int = 0,
    ) -> Path:
        """`<name>/<split>/{images,masks}/<split>_<nn>.png`; class 1 discs, class 2 squares."""
        rng = np.random.default_rng(seed)
        height, width = size
        rows, columns = np.mgrid[:height, :width]
        palette = [0, 0, 0, 0, 255, 0, 255, 0, 0]
        for split, count in (splits or {"train": 8, "valid": 4, "test": 4}).items():
            for kind in ("images", "masks"):
                (tmp_path / name / split / kind).mkdir(parents=True, exist_ok=True)
            for i in range(count):
                labels = np.zeros(size, np.uint8)
                y, x = rng.integers(8, height - 8), rng.integers(8, width - 8)
                labels[(rows - y) ** 2 + (columns - x) ** 2 < 49] = 1
                if classes > 2:
                    y, x = rng.integers(2, height - 10), rng.integers(2, width - 10)
                    labels[y : y + 8, x : x + 8] = 2
                image = rng.normal(60, 10, (*size, 3)) + 70.0 * labels[..., None]
                folder = tmp_path / name / split
                pixels = np.clip(image, 0, 255).astype(np.uint8)
                write_png(folder / "images" / f"{split}_{i:02d}.png", pixels)
                shown = palette[: 3 * classes]
                write_png(folder / "masks" / f"{split}_{i:02d}.png", labels, shown)
        return tmp_path / name

    return make
