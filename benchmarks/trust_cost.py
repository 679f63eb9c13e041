"""What the statement of quality and the input check cost: `infer` with and without them.

An untrained U-Net as `flexseg plan` chooses it predicts a folder of pictures by the engine that
`infer` would take, files in and files out, with neither, with either and with both in turn
(A B C D A B C D ...). Prints the wall time and the processor's time per image, and their ratio to
those with neither within each turn. Where other programs are at work the processor's ratio tells
more.

    python benchmarks/trust_cost.py [--size 256] [--count 40] [--rounds 5] [--tta hflip vflip]
"""

from __future__ import annotations

import argparse
import logging
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from inference_engines import pictures

BATCH = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--tta", nargs="*", default=[], help="Views that are averaged.")
    a = parser.parse_args()
    from flexseg import backend

    backend.select("tensorflow")
    logging.getLogger("flexseg").setLevel(logging.ERROR)  # it warns of what is predicted
    with tempfile.TemporaryDirectory() as temporary:
        measure(a, Path(temporary))


def measure(a: Any, folder: Path) -> None:
    """All four in turn."""
    from flexseg.inference.image_files import infer_images
    from flexseg.inference.results.image_outputs import Targets

    source = folder / "images"
    pictures(source, a.count, a.size)
    predictors = ways(a, folder / "model.h5", source)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in predictors}
    for turn in range(a.rounds + 1):
        for i, (name, predictor) in enumerate(predictors.items()):
            targets = Targets(folder / f"masks{turn}_{i}", folder / f"merged{turn}_{i}")
            began = time.perf_counter(), time.process_time()
            infer_images(predictor, source, targets)
            took = time.perf_counter() - began[0], time.process_time() - began[1]
            if turn:
                times[name].append((took[0] / a.count, took[1] / a.count))
    for name, found in times.items():
        told = [
            f"{statistics.median(t[clock] for t in found):.4f} s {what}, "
            f"{ratios(found, times['neither'], clock)}"
            for clock, what in enumerate(("wall", "processor"))
        ]
        print(f"{name:12} per image {'; '.join(told)}")


def ratios(found: list[Any], plain: list[Any], clock: int) -> str:
    """The median ratio within turns, with the lowest and the highest."""
    values = [f[clock] / p[clock] for f, p in zip(found, plain, strict=True)]
    return f"{statistics.median(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def ways(a: Any, file: Path, source: Path) -> dict[str, Any]:
    """Predictors of one engine by what they tell of their predictions."""
    from flexseg.config.schema import Experiment
    from flexseg.files.images import read_image
    from flexseg.inference.engines.opening import open_engine
    from flexseg.inference.predictor import Predictor
    from flexseg.inference.trust.conformal import ClassCalibration, Trust
    from flexseg.model_file.home_images import HomeImages, image_figures
    from flexseg.models.package import ModelPackage

    keys = {
        "model": "UNet", "image_width": a.size, "image_height": a.size, "num_classes": 3,
        "num_layers": 5, "base_filters": 16,
    }  # fmt: skip
    classes = [{"id": 1, "color": [255, 0, 0]}, {"id": 2, "color": [0, 255, 0]}]
    experiment = Experiment.model_validate({"model": keys, "mask": {"classes": classes}})
    package = ModelPackage.create(experiment)
    package.save(file, {})
    engine = open_engine(package, file)
    print(f"{a.count} images of {a.size} x {a.size} by {engine.name} {engine.precision}")
    figures = np.array([image_figures(read_image(path)) for path in sorted(source.iterdir())])
    home = HomeImages.of(figures, [str(i) for i in range(len(figures))], figures[:0], [])
    trust = Trust({2: {c: ClassCalibration(1.0, 0.0, 0.3, 20, 0, 0) for c in (1, 2)}}, members=True)
    found = {}
    for name, known, told in (
        ("neither", None, Trust()),
        ("input check", home, Trust()),
        ("quality", None, trust),
        ("both", home, trust),
    ):
        predictor = Predictor(replace(package, home=known), BATCH, engine=engine)
        found[name] = predictor.with_postprocessing(a.tta).with_trust(told)
    return found


if __name__ == "__main__":
    main()
