"""Engines of inference on a CPU: Keras in float32, Keras in bfloat16, OpenVINO, ONNX Runtime.

The seeds' FlexUNet (7 levels, 16 filters, kernels of 9) is predicted by each in turn (A B C A B C
...) in one process; then `flexseg infer` predicts a folder of images, and its time per image, less
that of its start, is compared with that of the network alone.

Prints seconds per image, the ratio to Keras in float32, the share of equal labels, the seconds
until a first and a second start has predicted, and the ratio of the whole command to the network.

    python benchmarks/inference_engines.py [--rounds 5] [--model PACKAGE.h5 --images FOLDER]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

BATCH = 4


def network(path: Path, size: int) -> None:
    """Write the package of an untrained FlexUNet."""
    from flexseg.config.schema import Experiment
    from flexseg.models.package import ModelPackage

    keys = {
        "model": "UNet", "image_width": size, "image_height": size, "num_classes": 2,
        "num_layers": 7, "base_filters": 16, "base_kernels": (9, 9), "dropout_rate": 0.04,
    }  # fmt: skip
    classes = [{"id": 1, "color": [255, 255, 255]}]
    experiment = Experiment.model_validate({"model": keys, "mask": {"classes": classes}})
    ModelPackage.create(experiment).save(path, {})


def pictures(folder: Path, count: int, size: int) -> None:
    """Smooth pictures with a little noise, as PNG."""
    from PIL import Image

    rng = np.random.default_rng(0)
    folder.mkdir()
    for i in range(count):
        coarse = Image.fromarray(rng.integers(0, 255, (8, 8, 3), np.uint8))
        smooth = np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC), np.float32)
        noisy = np.clip(smooth + rng.normal(0, 3, smooth.shape), 0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(folder / f"{i:04d}.png")


def seconds(call: Any) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--model", type=Path, help="A trained package instead of a new network.")
    parser.add_argument("--images", type=Path, help="Folder of its images.")
    a = parser.parse_args()
    from flexseg import backend

    backend.select("tensorflow")
    with tempfile.TemporaryDirectory() as temporary:
        measure(a, Path(temporary))


def measure(a: Any, folder: Path) -> None:
    """All engines in turn."""
    from flexseg import backend
    from flexseg.files.images import read_image
    from flexseg.inference import image_files as folders
    from flexseg.inference.engines.opening import EngineName, KerasEngine, installed, open_engine
    from flexseg.inference.predictor import Predictor
    from flexseg.models.package import ModelPackage

    backend.prepare("float32")
    file, source = folder / "model.h5", a.images or folder / "images"
    if a.model:
        file.write_bytes(a.model.read_bytes())
    else:
        network(file, a.size)
    if not a.images:
        pictures(source, a.count, a.size)
    package = ModelPackage.load(file)
    backend.prepare("bfloat16")
    engines: dict[str, Any] = {
        "keras float32": KerasEngine(package),
        "keras bfloat16": KerasEngine(ModelPackage.load(file)),
    }
    starts: dict[str, list[float]] = {}
    ways: list[tuple[EngineName, str]] = [
        ("openvino", "float32"),
        ("openvino", "auto"),
        ("onnx", "float32"),
    ]
    prepare = package.preprocessing.image
    files = list(folders.find_images(source).names)[: a.count]
    x = np.stack([prepare(read_image(f), str(f)).astype(np.float32) for f in files])
    for name, precision in ways:
        if not installed(name):
            print(f"{name} is not installed")
            continue

        def start(name: EngineName = name, precision: str = precision) -> None:
            engine = open_engine(package, file, setting=name, precision=precision)
            engine.predict(x[:BATCH])
            engines[f"{engine.name} {engine.precision}"] = engine

        times = [seconds(start) for _ in range(2)]
        starts[list(engines)[-1]] = times
    some = x[: 4 * BATCH]
    figures, answers = in_turn(engines, some, a.rounds)
    labels = {n: Predictor(package).labels(p) for n, p in answers.items()}
    first = "keras float32"
    for name, values in figures.items():
        ratios = [v / k for v, k in zip(values, figures[first], strict=True)]
        line = (
            f"{name:16} {statistics.median(values):.4f} s per image, "
            f"{statistics.median(ratios):.2f} of Keras float32 "
            f"({min(ratios):.2f} to {max(ratios):.2f}), "
            f"labels equal {(labels[name] == labels[first]).mean():.4%}"
        )
        if name in starts:
            line += f", start {starts[name][0]:.2f} s, then {starts[name][1]:.2f} s"
        print(line)
    fastest = min(figures, key=lambda name: statistics.median(figures[name]))
    compare_command(engines[fastest], package, source, x, folder)


def in_turn(engines: dict[str, Any], x: Any, rounds: int) -> tuple[Any, Any]:
    """Seconds per image of all rounds, and the probabilities, by engine."""
    figures: dict[str, list[float]] = {name: [] for name in engines}
    answers = {}
    for turn in range(rounds + 1):
        for name, engine in engines.items():
            begin = time.perf_counter()
            parts = [engine.predict(x[i : i + BATCH]) for i in range(0, len(x), BATCH)]
            if turn:
                figures[name].append((time.perf_counter() - begin) / len(x))
            answers[name] = np.concatenate(parts)
    return figures, answers


def compare_command(engine: Any, package: Any, source: Path, x: Any, folder: Path) -> None:
    """The time of reading, predicting and writing all images, against predicting alone."""
    from flexseg.inference import image_files as folders
    from flexseg.inference.predictor import Predictor
    from flexseg.inference.results.image_outputs import Targets

    predictor = Predictor(package, BATCH, engine=engine)
    ratios = []
    for turn in range(3):
        targets = Targets(folder / f"masks{turn}", folder / f"merged{turn}")

        def alone() -> None:
            for i in range(0, len(x), BATCH):
                engine.predict(x[i : i + BATCH])

        network_alone = seconds(alone)
        whole = seconds(lambda targets=targets: folders.infer_images(predictor, source, targets))
        ratios.append(whole / len(folders.find_images(source).names) * len(x) / network_alone)
    print(
        f"infer of {len(x)} images by {engine.name} {engine.precision}: "
        f"{statistics.median(ratios):.2f} of the network's time "
        f"({min(ratios):.2f} to {max(ratios):.2f})"
    )


if __name__ == "__main__":
    main()
