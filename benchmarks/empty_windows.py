"""What a network of small images makes of large ones with wide empty parts, window by window.

    python benchmarks/empty_windows.py CONFIG --steps 250 --seeds 1 2 -o FOLDER

CONFIG is of a dataset of small images, as `flexseg plan` writes it. It is trained once for each
seed, by steps, not by a clock; what is there already is not trained again. Its test images, at
random, fill half of the left half of a field of 8 x 8 places; all else is empty: the median colour
of an image's corner, with a little smooth and a little fine noise. The field is predicted by
windows of a place's size

own       each standardised by itself
bounded   as `flexseg tiled-infer` does, stretched no further than the training's images

with the same weights. Prints the Dice of each class, and the objects (of 10 pixels or more) and the
pixels that are found in empty places: means over the fields, and the paired difference with its
95 % interval over fields.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from made_sets import TIMES, _padded, read
from numpy.typing import NDArray
from scipy import ndimage

from flexseg.config.load import load
from flexseg.dataset.cases import Case
from flexseg.dataset.division.config_splits import find_splits
from flexseg.dataset.labels import LabelMap
from flexseg.evaluation.aggregate import bootstrap_means, interval
from flexseg.inference.engines.opening import open_engine
from flexseg.inference.loading import describe_trained
from flexseg.inference.predictor import Predictor
from flexseg.inference.sliding_window import TiledPredictor
from flexseg.training.trainer import Training

CORNER, FILLED, SMALLEST = 16, 0.5, 10
Field = tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.bool_]]


def field(cases: list[Case], labels: LabelMap, side: int, seed: int) -> Field:
    """An image, its class ids, and where it is empty."""
    rng = np.random.default_rng(seed)
    whole = TIMES * side
    first = _padded(read(cases[rng.integers(len(cases))], labels), side)[0]
    image = np.zeros((whole, whole, first.shape[2]), np.float32)
    image += np.median(first[:CORNER, :CORNER], axis=(0, 1))
    smooth = cv2.GaussianBlur(rng.normal(size=image.shape), (0, 0), 2.5).reshape(image.shape)
    image += 1.5 * smooth / smooth.std() + rng.normal(0, 0.7, image.shape)
    ids, empty = np.zeros((whole, whole), np.uint8), np.ones((whole, whole), bool)
    for place in range(TIMES * TIMES // 2):
        row, column = (side * index for index in divmod(place, TIMES // 2))
        if rng.random() < FILLED:
            at = np.s_[row : row + side, column : column + side]
            image[at], ids[at] = _padded(read(cases[rng.integers(len(cases))], labels), side)
            empty[at] = False
    return np.clip(np.rint(image), 0, 255).astype(np.uint8), ids, empty


def figures(found: NDArray[np.uint8], truth: Field, classes: int) -> list[float]:
    """Dice of each class, and objects and pixels in empty places, their borders left out."""
    _, ids, empty = truth
    dice = [
        2 * ((found == c) & (ids == c)).sum() / max(1, (found == c).sum() + (ids == c).sum())
        for c in range(1, classes)
    ]
    false = (found > 0) & ndimage.binary_erosion(empty, iterations=3)
    sizes = np.bincount(ndimage.label(false)[0].ravel())[1:]
    return [*dice, float((sizes >= SMALLEST).sum()), float(false.sum())]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--fields", type=int, default=6)
    parser.add_argument("-o", "--output", type=Path, default=Path("empty_windows"))
    given = parser.parse_args()
    rows = []
    for seed in given.seeds:
        folder = (given.output / str(seed)).absolute()
        keys = {"run_dir": folder, "seed": seed, "minutes": 0, "epochs": 1}
        keys["epoch_steps"] = given.steps
        loaded = load(given.config, [f"train.{key}={value}" for key, value in keys.items()])
        train = loaded.experiment.train
        file = train.model_dir / train.best_model_file
        if not file.exists():
            Training(loaded).run()
        package = describe_trained(loaded, file)
        engine = open_engine(package, file)
        split = loaded.experiment.model.evaluation
        cases = list(find_splits(loaded.experiment.data, only=(split,)).need(split))
        side = max(max(read(case, package.labels)[1].shape) for case in cases)
        fields = [field(cases, package.labels, side, number) for number in range(given.fields)]
        for least in ((), package.least_contrast):
            predictor = Predictor(replace(package, least_contrast=least), engine=engine)
            tiles = TiledPredictor(predictor, (side, side), side // 4)
            found = tiles.probabilities(("field", image) for image, _, _ in fields)
            classes = len(package.labels.classes)
            rows.append(
                [
                    figures(tiles.labels(p), truth, classes)
                    for (_, _, p), truth in zip(found, fields, strict=True)
                ]
            )
    names = [f"Dice {c.name}" for c in package.labels.classes[1:]] + ["objects", "pixels"]
    own, bounded = np.array(rows[::2]).mean(axis=0), np.array(rows[1::2]).mean(axis=0)
    groups = [str(number) for number in range(given.fields)]
    for number, name in enumerate(names):
        before, after = own[:, number], bounded[:, number]
        means = bootstrap_means((after - before)[:, None], groups, 2000, 0)
        low, high = interval(means[:, 0]) or (np.nan, np.nan)
        print(
            f"{name}: own {before.mean():.4g}, bounded {after.mean():.4g}, "
            f"difference {(after - before).mean():.4g} ({low:.4g} to {high:.4g})",
            flush=True,
        )


if __name__ == "__main__":
    main()
