"""Exports to HTML for the browser tests: `python make_pages.py FOLDER`.

Each has a folder of images, and what run.py makes of them: class ids, `expected/<image>.bin`, whose
sizes are in `expected.json`. The networks are small, but for that of a plan, which has random
weights. `steps.json` has labels and what flexseg's own postprocessing makes of them.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

os.environ["KERAS_BACKEND"] = "tensorflow"
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import onnx
from numpy.typing import NDArray
from PIL import Image

from flexseg.config.infer import PostprocessConfig
from flexseg.config.model import ModelConfig
from flexseg.config.schema import Experiment
from flexseg.dataset.labels import LabelClass, LabelMap
from flexseg.export.about import About
from flexseg.export.artefact import write_export
from flexseg.export.proof.proof_cases import generated_cases
from flexseg.inference.engines.onnx_export import export_onnx
from flexseg.inference.postprocess import Postprocessing, Steps
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
    steps = PostprocessConfig(
        largest_component=[CELLS.classes[1].name], min_size=60, fill_holes=True
    )
    surely, hardly = (
        ClassCalibration(0.2, 0.8, 0.1, 30, 0, 0),
        ClassCalibration(0.5, 0, 0.4, 30, 0, 0),
    )
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
    write_interlaced(images / "interlaced.png", np.asarray(colour))
    return exported(folder, made, networks, "uint8")


def write_interlaced(path: Path, pixels: NDArray[np.uint8]) -> None:
    """An image [H, W, 3] as a PNG of the seven passes of Adam7, which Pillow only reads."""
    rows = b""
    for x, y, dx, dy in ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4),
                         (1, 0, 2, 2), (0, 1, 1, 2)):  # fmt: skip
        rows += b"".join(b"\0" + row.tobytes() for row in pixels[y::dy, x::dx])
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 8, 2, 0, 0, 1)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    parts = [
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    ]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


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


def cleaned(count: int) -> list[dict[str, object]]:
    """Labels of chance after postprocessing of chance."""
    rng = np.random.default_rng(0)
    found: list[dict[str, object]] = []
    for number in range(count):
        size = tuple(rng.integers(1, 30, 2))
        # Some are noise, others have larger parts with holes.
        labels = np.kron(rng.integers(0, 3, size), np.ones((1 + number % 3,) * 2)).astype(np.uint8)
        labels[rng.random(labels.shape) < 0.1] = 0
        steps = {
            c: Steps(bool(rng.integers(2)), int(rng.integers(8)), bool(rng.integers(2)))
            for c in rng.permutation([1, 2]).tolist()
        }
        found.append(
            {
                "shape": labels.shape,
                "labels": labels.ravel().tolist(),
                "steps": {str(c): s.as_dict() for c, s in steps.items()},
                "expected": Postprocessing(steps)(labels).ravel().tolist(),
            }
        )
    return found


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
    make_folder(folder)
    (folder / "steps.json").write_text(json.dumps(cleaned(200)), encoding="utf-8")
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
