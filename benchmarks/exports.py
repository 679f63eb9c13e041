"""Exports in all formats, and `flexseg infer`, image by image: CPU time in turn.

A model (by default an untrained UNet) is exported in each format that is installed here, and each
export and flexseg's own engines predict the same images, one at a time, in turn (A B C A B C ...)
in one process. Reading and writing of files is not counted.

Prints CPU seconds per image (of all cores), wall seconds, the ratio of CPU seconds to OpenVINO in
flexseg or the first engine that is there, and the share of labels equal to Keras'.

    python benchmarks/exports.py [--rounds 5] [--model PACKAGE.h5 --images FOLDER]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from inference_engines import network, pictures
from numpy.typing import NDArray


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, default=256, help="Of an untrained network.")
    parser.add_argument("--count", type=int, default=10, help="Images of a round.")
    parser.add_argument("--model", type=Path, help="A trained package instead of a new network.")
    parser.add_argument("--images", type=Path, help="Folder of its images.")
    a = parser.parse_args()
    from flexseg import backend

    backend.select("tensorflow")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if a.model is None:
            network(folder / "a.h5", a.size)
        if a.images is None:
            pictures(folder / "images", a.count, a.size * 3 // 2)
        measure(a.model or folder / "a.h5", a.images or folder / "images", folder, a)


def measure(model: Path, images: Path, folder: Path, a: argparse.Namespace) -> None:
    """All formats and engines in turn."""
    from flexseg.files.images import read_image

    pixels = [read_image(path) for path in sorted(images.iterdir())[: a.count]]
    every = predictors(model, images, folder)
    expected = [every["flexseg keras"](x) for x in pixels]
    equal = {
        name: np.mean([(p(x) == y).mean() for x, y in zip(pixels, expected, strict=True)])
        for name, p in every.items()
    }
    cpu: dict[str, list[float]] = {name: [] for name in every}
    wall: dict[str, list[float]] = {name: [] for name in every}
    for _ in range(a.rounds):
        for name, predict in every.items():
            begin, began = time.process_time(), time.perf_counter()
            for x in pixels:
                predict(x)
            cpu[name].append((time.process_time() - begin) / len(pixels))
            wall[name].append((time.perf_counter() - began) / len(pixels))
    base = next(iter(every))
    print(f"{len(pixels)} images, {a.rounds} rounds: median per image")
    for name in every:
        seconds = statistics.median(cpu[name])
        ratio = seconds / statistics.median(cpu[base])
        print(
            f"{name:18} {seconds:.4f} s of CPU  {statistics.median(wall[name]):.4f} s  "
            f"{ratio:.2f} of {base}  {equal[name]:.4%} of the labels equal"
        )


def predictors(
    model: Path, images: Path, folder: Path
) -> dict[str, Callable[[NDArray], NDArray[np.uint8]]]:
    """Labels [H, W] of an image [H, W, C], by each engine of flexseg and each export."""
    from functools import partial
    from importlib.util import find_spec

    from flexseg.export.about import About
    from flexseg.export.artefact import write_export
    from flexseg.export.artefacts.artefact_formats import FORMATS
    from flexseg.export.proof.proof_cases import cases_of_folder
    from flexseg.inference.engines.onnx_export import export_onnx
    from flexseg.inference.engines.opening import EngineName, installed
    from flexseg.inference.loading import Settings, open_predictor
    from flexseg.inference.predictor import Predictor
    from flexseg.model_file.model_description import ModelDescription

    found: dict[str, Callable[[NDArray], NDArray[np.uint8]]] = {}

    def of_flexseg(predictor: Predictor, image: NDArray) -> NDArray[np.uint8]:
        ((_, _, p),) = predictor.probabilities([("image", image)])
        return predictor.labels(p)

    engines: tuple[EngineName, ...] = ("openvino", "onnx", "keras")
    onnx = export_onnx(ModelDescription.read(model), model, folder / "network.onnx")
    for engine in filter(installed, engines):
        settings = Settings(engine=engine, precision="float32")
        predictor = open_predictor(model, ModelDescription.read, settings)
        found[f"flexseg {engine}"] = partial(of_flexseg, predictor)
    proof = cases_of_folder(images, predictor.package)
    for kind, form in FORMATS.items():
        if find_spec(form.library) is None:
            continue
        target = folder / kind
        about = About("benchmark")
        write_export(predictor, [onnx], target, proof, about, "uint8", kind=kind, force=True)
        run = form.open(target)
        found[f"export {kind}"] = lambda image, run=run: run(image[None])[0][0]  # type: ignore[misc]
    return found


if __name__ == "__main__":
    main()
