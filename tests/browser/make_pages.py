"""Exports to HTML for the browser tests: `python make_pages.py FOLDER`.

Each has a folder of images, and what run.py makes of them: class ids, `expected/<image>.bin`, whose
sizes are in `expected.json`. The networks are small, but for that of a plan, which has random
weights.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ["KERAS_BACKEND"] = "tensorflow"
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import onnx
from PIL import Image

from flexseg.config.infer import PostprocessConfig
from flexseg.config.model import ModelConfig
from flexseg.config.schema import Experiment
from flexseg.dataset.labels import LabelClass, LabelMap
from flexseg.export.about import About
from flexseg.export.artefact import write_export
from flexseg.export.proof_cases import generated_cases
from flexseg.inference.engines.onnx_export import export_onnx
from flexseg.inference.postprocess import Postprocessing
from flexseg.inference.predictor import Predictor
from flexseg.inference.trust.conformal import ClassCalibration, Trust
from flexseg.model_file.export_description import PixelType
from flexseg.models.package import ModelPackage
from flexseg.outputs import make_folder
from flexseg.planning.network import shape_of
from small_predictors import blobs, predictor

CELLS = LabelMap(
    (
        LabelClass(0, "background", ((0, 0, 0),)),
        LabelClass(1, "cytoplasm <b>", ((0, 158, 115),)),
        LabelClass(2, "nucleus & nucleolus", ((213, 94, 0),)),
    ),
    binary=False,
)


def cells(folder: Path, images: Path) -> Path:
    """Colours, every step after the network, views and an expected Dice; files of many kinds."""
    made, networks = predictor(folder, labels=CELLS)
    steps = PostprocessConfig(largest_component=[CELLS.classes[1].name], min_size=60, fill_holes=True)
    surely, hardly = ClassCalibration(0.2, 0.8, 0.1, 30, 0, 0), ClassCalibration(0.5, 0, 0.4, 30, 0, 0)
    trust = Trust({2: {1: surely, 2: hardly}}, members=True)
    made = made.with_postprocessing(
        ["flips"], {2: Postprocessing.from_config(steps, CELLS)}
    ).with_trust(trust)
    colour = Image.fromarray(blobs((150, 201), 3, 1))
    colour.save(images / "colour.png")
    colour.save(images / "photo.jpg", quality=95)
    colour.convert("L").save(images / "grey.png")
    colour.quantize(50).save(images / "palette.png")
    alpha = np.random.default_rng(0).integers(0, 255, (150, 201, 1), np.uint8)
    Image.fromarray(np.dstack([blobs((150, 201), 3, 2), alpha])).save(images / "transparent.png")
    return exported(folder, made, networks, "uint8")


def deep(folder: Path, images: Path) -> Path:
    """Images of 16 bits, one class, and nothing known of its quality."""
    made, networks = predictor(folder, channels=1, classes=1, threshold=0.4)
    grey = blobs((90, 64), 1, 3)[..., 0]
    Image.fromarray(grey.astype(np.uint16) * 250 + 3).save(images / "sixteen.png")
    Image.fromarray(grey).save(images / "eight.png")
    Image.fromarray(grey > 120).save(images / "one_bit.png")
    return exported(folder, made, networks, "uint16")


def plan(folder: Path, images: Path) -> Path:
    """What `flexseg plan` chooses for images of 192 x 192 pixels, which sees a large image."""
    shape = shape_of(192, 192, 400)
    config = ModelConfig(
        model="TensorFlowFlexUNet",
        image_width=shape.width,
        image_height=shape.height,
        num_classes=3,
        num_layers=shape.levels,
        base_filters=shape.filters,
        base_kernels=(3, 3),
        normalization=True,
    )
    package = ModelPackage.create(Experiment(model=config))
    rng = np.random.default_rng(0)
    for weight in package.model.trainable_weights:
        if len(weight.shape) > 1:  # else scales and offsets, which stay as they begin
            weight.assign(rng.normal(0, 1.6 * np.prod(weight.shape[:-1]) ** -0.5, weight.shape))
    package.save(folder / "model.h5", {})
    network = export_onnx(package, folder / "model.h5")
    Image.fromarray(blobs((1024, 1024), 3, 4)).save(images / "large.png")
    return exported(folder, Predictor(package), [onnx.load(network)], "uint8")


def exported(
    folder: Path, made: Predictor, networks: list[onnx.ModelProto], pixels: PixelType
) -> Path:
    files = [folder / f"given_{number}.onnx" for number in range(len(networks))]
    for file, network in zip(files, networks, strict=True):
        onnx.save(network, file)
    about = About("Blood cells <&>", "Finds cells in images of blood smears.", licence="cc-by-4.0")
    proof = generated_cases(made.package, pixels)
    write_export(made, files, folder / "out", proof, about, pixels, kind="html", force=True)
    return folder / "out"


def main(folder: Path) -> None:
    """Write all pages."""
    shutil.rmtree(folder, ignore_errors=True)
    for make in (cells, deep, plan):
        place = folder / make.__name__
        make_folder(place / "images")
        with tempfile.TemporaryDirectory() as scratch:
            out = make(Path(scratch), place / "images")
            masks = Path(scratch) / "masks"
            command = [sys.executable, out / "run.py", place / "images", "-o", masks]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            shutil.copy(out / "index.html", place)
            make_folder(place / "expected")
            sizes = {}
            for image in sorted((place / "images").iterdir()):
                labels = np.asarray(Image.open(masks / f"{image.stem}.png"))
                labels.tofile(place / "expected" / f"{image.stem}.bin")
                sizes[image.name] = labels.shape
            (place / "expected.json").write_text(json.dumps(sizes), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
