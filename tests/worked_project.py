"""A small network with images and volumes, for commands whose results are compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from flexseg.config.load import load
from flexseg.files.volumes.volume import Volume
from flexseg.files.volumes.write import write_volume
from flexseg.inference.engines.onnx_export import export_onnx
from flexseg.models.package import ModelPackage

CONFIG = """
[model]
model = "UNet"
image_width = 32
image_height = 32
image_channels = 1
num_classes = 3
num_layers = 2
base_filters = 4
dilation = [2, 2]

[train]
precision = "float32"

[eval]
batch_size = 2

[infer]
engine = "onnx"
probabilities = true

[infer3d]
previews = []
slices = true
"""


def write_project(folder: Path) -> Path:
    """A network of random weights, images and volumes, of which one of each is damaged."""
    (folder / "a.toml").write_text(CONFIG, encoding="utf-8")
    made = ModelPackage.create(load(folder / "a.toml").experiment)
    rng = np.random.default_rng(0)
    for weight in made.model.trainable_weights:
        fan_in = np.prod(weight.shape[:-1]) if len(weight.shape) > 1 else 10
        weight.assign(rng.normal(0, fan_in**-0.5, weight.shape))
    (folder / "models").mkdir()
    made.save(folder / "models" / "best_model.h5", {})
    export_onnx(made, folder / "models" / "best_model.h5")
    (folder / "images").mkdir()
    for i in range(21):
        pixels = rng.integers(0, 256, (40 + i, 150), np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{i:02}.png")
    (folder / "images" / "03.png").write_bytes(b"\x89PNG damaged")
    (folder / "images" / "04.png").unlink()
    Image.fromarray(np.zeros((160, 160), np.uint8)).save(folder / "images" / "05.png")
    (folder / "volumes").mkdir()
    for name in "abc":
        voxels = rng.integers(0, 256 if name != "a" else 3, (3, 36, 40)).astype(np.int16)
        write_volume(folder / "volumes" / f"{name}.nii.gz", Volume(voxels))
    (folder / "volumes" / "d.nii.gz").write_bytes(b"damaged")
    return folder


def written(folder: Path) -> dict[str, Any]:
    """The content of all files below a folder; of JSON without what differs in each run."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".json":
            content = json.loads(path.read_text(encoding="utf-8"))
            for one in content.get("volumes", {}).values():
                del one["seconds"]
            found[path.relative_to(folder).as_posix()] = json.dumps(content)  # in their order
        elif path.is_file():
            found[path.relative_to(folder).as_posix()] = path.read_bytes()
    return found
