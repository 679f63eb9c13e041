"""Peak memory of inference on a whole-slide size image, and on a volume.

Runs `flexseg tiled-infer`, or with `--whole` `flexseg infer`, on a generated 20 000 x 20 000 tiled
TIFF or PNG, or with `--volume` `flexseg infer3d` on a generated volume of 600 slices of 512 x 512,
with a small network, in a process of its own. Nothing is taken off the peak: the engine alone needs
some hundred MiB. What the image or the volume would need decoded, and as probabilities, is printed
next to it.

    python benchmarks/memory_inference.py [--size 20000] [--network 512] [--classes 3] [--whole]
        [--grey] [--png]
    python benchmarks/memory_inference.py --volume [--shape 600 512 512]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile
from memory import peak_memory
from numpy.typing import NDArray

from flexseg.files.images import write_png

CONFIG = """
[model]
model = "UNet"
image_width = {network}
image_height = {network}
image_channels = {channels}
num_classes = {classes}
num_layers = 3
base_filters = 4
[train]
precision = "float32"
"""
TILE = 512


def tiles(size: int, channels: int) -> Iterator[NDArray[np.uint8]]:
    """The tiles of a picture of waves with some noise, row by row, cut nowhere."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 32, (TILE, TILE, channels), np.uint8)
    side = np.arange(TILE, dtype=np.float32)
    for top in range(0, size, TILE):
        for left in range(0, size, TILE):
            rows = np.sin((top + side) / 90)[:, None]
            columns = np.cos((left + side) / 130)[None]
            waves = (100 + 60 * rows * columns).astype(np.uint8)
            yield (noise + waves[..., None]).squeeze()


def make_image(path: Path, size: int, channels: int) -> None:
    """Write a deflated TIFF, of which one tile is in memory, or a PNG."""
    if path.suffix == ".png":
        side = np.arange(size, dtype=np.float32)
        waves = 100 + 60 * np.sin(side / 90)[:, None].astype(np.float16) * np.cos(side / 130)
        write_png(path, np.repeat(waves.astype(np.uint8)[..., None], channels, axis=2).squeeze())
        return
    tifffile.imwrite(
        path,
        tiles(size, channels),
        shape=(size, size, channels) if channels > 1 else (size, size),
        dtype=np.uint8,
        photometric="rgb" if channels > 1 else "minisblack",
        tile=(TILE, TILE),
        compression="zlib",
        predictor=True,
    )


def make_volume(path: Path, shape: tuple[int, ...]) -> None:
    """Write a NIfTI volume [z, y, x] of int16 with a sphere in it."""
    from flexseg.files.volumes.volume import Volume
    from flexseg.files.volumes.write import write_volume

    z, y, x = (np.linspace(-1, 1, n, dtype=np.float32) for n in shape)
    array = np.empty(shape, np.int16)
    for i, height in enumerate(z):
        radius = np.sqrt(height**2 + y[:, None] ** 2 + x**2)
        array[i] = 1000 * (1 - radius)
    write_volume(path, Volume(array, (0.7, 0.7, 1.0)))


def make_model(folder: Path, **values: int) -> Path:
    """Write a config, and fresh weights where it looks for them."""
    from flexseg.config import load
    from flexseg.models.package import ModelPackage

    path = folder / "benchmark.toml"
    path.write_text(CONFIG.format(**values), encoding="utf-8")
    loaded = load(path)
    weights = loaded.experiment.train.model_dir / loaded.experiment.train.best_model_file
    weights.parent.mkdir(parents=True)
    ModelPackage.create(loaded.experiment).save(weights, {})
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=20_000)
    parser.add_argument("--network", type=int, default=512)
    parser.add_argument("--classes", type=int, default=3)
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--grey", action="store_true")
    parser.add_argument("--png", action="store_true")
    parser.add_argument("--volume", action="store_true")
    parser.add_argument("--shape", type=int, nargs=3, default=[600, 512, 512])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        channels = 1 if arguments.volume or arguments.grey else 3
        config = make_model(
            folder, network=arguments.network, classes=arguments.classes, channels=channels
        )
        if arguments.volume:
            source, command = folder / "volume.nii.gz", "infer3d"
            shape = tuple(arguments.shape)
            make_volume(source, shape)
            decoded = 2 * np.prod(shape)
        else:
            source = folder / f"slide.{'png' if arguments.png else 'tif'}"
            command = "infer" if arguments.whole else "tiled-infer"
            shape = (arguments.size, arguments.size)
            make_image(source, arguments.size, channels)
            decoded = channels * np.prod(shape)
        probabilities = 4 * arguments.classes * np.prod(shape)
        program = [sys.executable, "-m", "flexseg.cli", "--quiet", command, str(config)]
        peak, seconds = peak_memory([*program, "-i", str(source), "-o", str(folder / "out")])
        print(
            f"{command}, {' x '.join(map(str, shape))}: peak {peak:.0f} MiB, {seconds:.0f} s "
            f"(decoded {decoded / 2**20:.0f} MiB, labels {np.prod(shape) / 2**20:.0f} MiB, "
            f"probabilities {probabilities / 2**20:.0f} MiB)"
        )


if __name__ == "__main__":
    main()
