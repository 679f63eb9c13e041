"""How long it takes to score cases with all metrics, per case and class.

Makes masks of several classes with blobs as an organ, its part and scattered lesions have them,
and predictions that differ from them at their rims, in some missed and some false lesions. Two
measurements: scores alone, with probabilities, as after a network; and the whole
`flexseg evaluate --predictions`, files and 2000 resamples included. Budget: 300 cases of 512 x 512
under 60 s on 2 cores.

    python benchmarks/evaluation_speed.py [--cases 300] [--size 512]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from _common import run
from numpy.typing import NDArray

from flexseg.evaluation.scoring import Measures, score_case
from flexseg.files.images import write_png

CONFIG = """
[model]
num_classes = 4
image_width = {size}
image_height = {size}
[[mask.classes]]
id = 1
name = "organ"
color = [0, 255, 0]
[[mask.classes]]
id = 2
name = "part"
color = [0, 0, 255]
[[mask.classes]]
id = 3
name = "lesion"
color = [255, 0, 0]
"""
PALETTE = [0, 0, 0, 0, 255, 0, 0, 0, 255, 255, 0, 0]


def _field(rng: np.random.Generator, size: int, width: float) -> NDArray[np.float32]:
    coarse = rng.normal(size=(int(size / width) + 2,) * 2).astype(np.float32)
    return cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)


def make_case(
    seed: int, size: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.float32]]:
    """Reference, prediction [size, size] uint8 and probabilities [size, size, 4]."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j].astype(np.float32)
    rim = 0.08 * _field(rng, size, size / 8)
    radius = np.hypot(y, x) + rim
    spots = _field(rng, size, size / 32)
    wobble = 0.5 * _field(rng, size, size / 16)
    maps = [np.zeros((size, size), np.float32), 8 * (0.75 - radius), 20 * (0.45 - radius)]
    maps.append(3 * (spots - 1.7))
    reference = np.argmax(maps, axis=0).astype(np.uint8)
    noisy = np.stack([m + wobble * (i + 1) / 3 for i, m in enumerate(maps)], axis=-1)
    p = np.exp(4 * noisy)
    p /= p.sum(axis=-1, keepdims=True)
    return reference, p.argmax(axis=-1).astype(np.uint8), p.astype(np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=300)
    parser.add_argument("--size", type=int, default=512)
    arguments = parser.parse_args()
    count, size = arguments.cases, arguments.size
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for kind in ("masks", "predictions"):
            (folder / kind).mkdir()
        seconds = 0.0
        with ThreadPoolExecutor() as pool:
            for start in range(0, count, 8):
                batch = [make_case(seed, size) for seed in range(start, min(start + 8, count))]
                begin = time.perf_counter()
                list(pool.map(lambda c: score_case(c[0], c[1], 4, Measures(), c[2]), batch))
                seconds += time.perf_counter() - begin
                for i, (reference, prediction, _) in enumerate(batch, start):
                    write_png(folder / "masks" / f"{i:04d}.png", reference, PALETTE)
                    write_png(folder / "predictions" / f"{i:04d}.png", prediction, PALETTE)
        print(f"scores with probabilities: {seconds:.1f} s for {count} cases of {size} x {size}")
        config = folder / "config.toml"
        config.write_text(CONFIG.format(size=size), encoding="utf-8")
        command = [sys.executable, "-m", "flexseg.cli", "evaluate", str(config)]
        command += ["--predictions", str(folder / "predictions"), "--masks", str(folder / "masks")]
        begin = time.perf_counter()
        shown = run(command)
        print(f"flexseg evaluate --predictions: {time.perf_counter() - begin:.1f} s")
        print(shown)


if __name__ == "__main__":
    main()
