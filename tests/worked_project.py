"""Small networks of random weights with data, for commands whose results are compared."""

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
from flexseg.inference.model_files import model_file
from flexseg.models.package import ModelPackage
from sample_run import CONFIG as TRAINED
from synthetic import write_dataset

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
    rng = np.random.default_rng(0)
    write_network(folder / "a.toml", rng)
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


def write_network(config: Path, rng: np.random.Generator) -> None:
    """A network of random weights where a config looks for it, in Keras and ONNX."""
    loaded = load(config)
    made = ModelPackage.create(loaded.experiment)
    for weight in made.model.trainable_weights:
        fan_in = np.prod(weight.shape[:-1]) if len(weight.shape) > 1 else 10
        weight.assign(rng.normal(0, fan_in**-0.5, weight.shape))
    file = model_file(loaded)
    file.parent.mkdir(parents=True)
    made.save(file, {})
    export_onnx(made, file)


def write_trained(folder: Path) -> Path:
    """A config with a dataset of three classes, nine test images, and a network of random weights.

    Each worker gets two images at a time. Returns the config.
    """
    write_dataset(folder / "data", {"train": 3, "valid": 1, "test": 9}, classes=3)
    text = TRAINED.replace("[train]", '[train]\nprecision = "float32"')
    text = text.replace("[infer]", '[infer]\nengine = "onnx"') + "\n[eval]\nbatch_size = 2\n"
    (folder / "a.toml").write_text(text, encoding="utf-8")
    write_network(folder / "a.toml", np.random.default_rng(0))
    return folder / "a.toml"


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
