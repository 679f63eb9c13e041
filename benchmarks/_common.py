"""What the benchmarks share: generated data, a config, and running the command."""

from __future__ import annotations

import csv
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

CONFIG = """
[model]
model = "TensorFlowFlexUNet"
image_width = {size}
image_height = {size}
num_classes = 2
num_layers = {layers}
base_filters = {filters}
base_kernels = [{kernel}, {kernel}]
dropout_rate = 0.04
input_normalize = false
learning_rate = 0.00007
clipvalue = 0.4
loss = "categorical_crossentropy"
metrics = ["dice_coef_multiclass"]
[train]
images_dir = "data/images"
masks_dir = "data/masks"
epochs = {epochs}
batch_size = {batch}
epoch_change_infer = false
patience = 0
precision = "{precision}"
[valid]
images_dir = "data/valid/images"
masks_dir = "data/valid/masks"
[[mask.classes]]
id = 1
color = [255, 255, 255]
"""


def make_data(folder: Path, count: int, size: int) -> None:
    """Write `count` image/mask pairs of smooth noise and its threshold, and two to validate."""
    rng = np.random.default_rng(0)
    for part, number in ((folder, count), (folder / "valid", 2)):
        for kind in ("images", "masks"):
            (part / kind).mkdir(parents=True, exist_ok=True)
        for i in range(number):
            coarse = rng.integers(0, 255, (8, 8, 3), np.uint8)
            image = Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC)
            pixels = np.asarray(image)
            mask = np.where(pixels[..., 0] > 160, 255, 0).astype(np.uint8)
            image.save(part / "images" / f"{i:05d}.png", compress_level=1)
            Image.fromarray(mask).save(part / "masks" / f"{i:05d}.png")


def write_config(folder: Path, **values: object) -> Path:
    """Write the config with `values` filled in."""
    defaults: dict[str, object] = {
        "size": 256, "layers": 7, "filters": 16, "kernel": 9, "batch": 2, "epochs": 2,
        "precision": "auto",
    }  # fmt: skip
    path = folder / "benchmark.toml"
    path.write_text(CONFIG.format(**(defaults | values)), encoding="utf-8")
    return path


def in_one_folder(config: Path) -> Path:
    """A config like `config` whose images lie in one folder, to be divided into three splits."""
    text = config.read_text(encoding="utf-8")
    source = 'images_dir = "data/images"\nmasks_dir = "data/masks"\n'
    valid = source.replace("data", "data/valid")
    text = text.replace(f"[train]\n{source}", f"[dataset]\n{source}[train]\n")
    path = config.with_name("one_folder.toml")
    path.write_text(text.replace(f"[valid]\n{valid}", ""), encoding="utf-8")
    return path


def train_command(config: Path, *overrides: str) -> list[str]:
    """The `train` command as a list of arguments."""
    options = [part for text in overrides for part in ("--set", text)]
    return [sys.executable, "-m", "flexseg.cli", "--quiet", "train", str(config), *options]


def run(command: list[str]) -> str:
    """Run a command and return what it prints; its errors end the benchmark."""
    result = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    if result.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{result.stdout}{result.stderr}")
    return result.stdout


def seconds_per_batch(run_dir: Path) -> float:
    """Mean time of a batch, waiting for data included, after the first epoch."""
    with (run_dir / "eval" / "times.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))[1:]
    total = sum(float(r["data_s"]) + float(r["steps_s"]) for r in rows)
    return total / sum(float(r["batches"]) for r in rows)


def spread(values: list[float]) -> str:
    """Minimum, median and maximum as text."""
    return f"{min(values):.3f} / {statistics.median(values):.3f} / {max(values):.3f}"
