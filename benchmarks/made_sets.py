"""What `flexseg auto` reaches on sets of other kinds, which are made from one that is there.

    python benchmarks/made_sets.py DATASET --time 2m30s -o FOLDER

DATASET is a folder of images and masks, as `flexseg plan` takes it. The kinds:

few10, few25   so many training cases; validation and test stay
photographs    large photographs with large objects: 8 times the size, with noise of a camera
thin           mosaics of 8 x 8 images, whose masks are the outlines of the objects, dilated by one
rare           a further class, a ring, in one case of twelve

Prints the planned size and its reason, and the mean Dice of the test cases with its 95 % interval,
of each class too. What is in FOLDER already is not made again, and a run that was interrupted goes
on.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from flexseg.dataset.cases import Case, case_mask
from flexseg.dataset.division.splits import SplitName
from flexseg.dataset.labels import LabelMap
from flexseg.dataset.reading import Dataset, ImageDataset
from flexseg.files.images import read_image, write_png

SPLITS: tuple[SplitName, ...] = ("train", "valid", "test")
TIMES = 8
MOSAICS = {"train": 16, "valid": 4, "test": 6}
RARE = 12
PALETTE = [0, 0, 0, 0, 255, 0, 255, 0, 0, 0, 0, 255, 255, 255, 0, 0, 255, 255, 255, 0, 255]

Sample = tuple[NDArray[np.uint8], NDArray[np.uint8]]
Cases = dict[str, list[Case]]


def read(case: Case, labels: LabelMap) -> Sample:
    """An 8-bit image [H, W, C] and class ids [H, W]."""
    image = read_image(case.image)
    if image.dtype != np.uint8:
        image = cv2.normalize(image, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    ids = labels.encode(case_mask(case), str(case.mask)).labels
    return image.reshape(*ids.shape, -1), ids


def few(cases: Cases, labels: LabelMap, count: int) -> Iterator[tuple[str, str, Sample]]:
    for split, found in cases.items():
        for case in found[: count if split == "train" else None]:
            yield split, case.id, read(case, labels)


def photographs(cases: Cases, labels: LabelMap) -> Iterator[tuple[str, str, Sample]]:
    rng = np.random.default_rng(0)
    for split, found in cases.items():
        for case in found:
            image, ids = read(case, labels)
            size = (TIMES * ids.shape[1], TIMES * ids.shape[0])
            large = cv2.resize(image, size, interpolation=cv2.INTER_CUBIC).reshape(*size[::-1], -1)
            noisy = large + rng.normal(0, 6, large.shape)
            masks = cv2.resize(ids, size, interpolation=cv2.INTER_NEAREST)
            yield split, case.id, (np.clip(noisy, 0, 255).astype(np.uint8), masks)


def outlines(ids: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """1 where an object ends, three pixels wide."""
    inner = cv2.erode((ids > 0).astype(np.uint8), np.ones((3, 3), np.uint8))
    return cv2.dilate((ids > 0) - inner, np.ones((3, 3), np.uint8))


def thin(cases: Cases, labels: LabelMap) -> Iterator[tuple[str, str, Sample]]:
    rng = np.random.default_rng(0)
    for split, found in cases.items():
        side = max(max(read(case, labels)[1].shape) for case in found)
        for number in range(min(MOSAICS[split], len(found))):
            rows = []
            for _ in range(TIMES):
                row = [read(found[rng.integers(len(found))], labels) for _ in range(TIMES)]
                rows.append(_joined([_padded(one, side) for one in row], 1))
            image, ids = _joined(rows, 0)
            yield split, f"{split}_{number:03d}", (image, outlines(ids))


def _padded(sample: Sample, side: int) -> Sample:
    image, ids = sample
    below, right = side - ids.shape[0], side - ids.shape[1]
    edges = (0, below, 0, right, cv2.BORDER_REPLICATE)
    padded = cv2.copyMakeBorder(image, *edges).reshape(side, side, -1)
    return padded, cv2.copyMakeBorder(ids, 0, below, 0, right, cv2.BORDER_CONSTANT)


def _joined(samples: list[Sample], axis: int) -> Sample:
    images, ids = zip(*samples, strict=True)
    return np.concatenate(images, axis), np.concatenate(ids, axis)


def rare(cases: Cases, labels: LabelMap) -> Iterator[tuple[str, str, Sample]]:
    rng = np.random.default_rng(0)
    new = len(labels.foreground) + 1
    for split, found in cases.items():
        for number, case in enumerate(found):
            image, ids = (part.copy() for part in read(case, labels))
            if number % RARE == 0:
                shape = ids.shape
                radius = max(3, min(shape) // 10)
                centre = [int(rng.integers(radius, side - radius)) for side in shape[::-1]]
                color = [int(value) for value in rng.integers(0, 90, 3)]
                ring = np.zeros(shape, np.uint8)
                cv2.circle(ring, centre, radius, 1, max(2, radius // 3))
                image[ring > 0] = color[: image.shape[2]]
                ids[ring > 0] = new
            yield split, case.id, (image, ids)


KINDS: dict[str, Callable[[Cases, LabelMap], Iterator[tuple[str, str, Sample]]]] = {
    "few10": lambda cases, labels: few(cases, labels, 10),
    "few25": lambda cases, labels: few(cases, labels, 25),
    "photographs": photographs,
    "thin": thin,
    "rare": rare,
}


def make(source: Path, kind: str, target: Path) -> Path:
    """A dataset of this kind in `target`, whole or not at all."""
    if target.exists():
        return target
    data = Dataset.open(source, None)
    assert isinstance(data, ImageDataset), "the dataset has volumes"
    parts = data.divide(None).parts
    cases: Cases = {split: list(parts[split]) for split in SPLITS}
    part = target.with_name(f"{target.name}.part")
    for folder in ("images", "masks"):
        (part / folder).mkdir(parents=True, exist_ok=True)
    division: dict[str, list[str]] = {split: [] for split in SPLITS}
    for split, name, (image, ids) in KINDS[kind](cases, data.labels):
        write_png(part / f"images/{name}.png", image)
        write_png(part / f"masks/{name}.png", ids, PALETTE)
        division[split].append(name)
    (part / "split.json").write_text(json.dumps(division), encoding="utf-8")
    part.rename(target)
    return target


def run(dataset: Path, duration: str, folder: Path, *, plan: bool) -> None:
    """`flexseg auto`, or plan, once."""
    if (folder / ("flexseg.toml" if plan else "report.html")).exists():
        return
    options = ["plan" if plan else "auto", str(dataset), "--time", duration, "-o", str(folder)]
    if (folder / "flexseg.toml").exists():
        options.append("--resume")
    subprocess.run([sys.executable, "-m", "flexseg.cli", "-q", *options], check=True)


def show(kind: str, folder: Path) -> None:
    """The planned size and its reason, and the scores if there are any."""
    text = (folder / "flexseg.toml").read_text(encoding="utf-8")
    config = tomllib.loads(text)
    above = text.partition("\nimage_width")[0].splitlines()
    words = [line[2:] for line in above[above.index('model = "UNet"') :] if line.startswith("#")]
    size = f"{config['model']['image_width']} x {config['model']['image_height']}"
    print(f"{kind}: {size}; {' '.join(words)}", flush=True)
    scores = folder / "run" / "evaluation" / "summary.json"
    if scores.exists():
        summary = json.loads(scores.read_text(encoding="utf-8"))
        rows = [*((c["name"], c["dice"]) for c in summary["classes"])]
        for name, dice in [*rows, ("mean", summary["macro"]["dice"])]:
            low, high = dice["ci95"] or (float("nan"), float("nan"))
            print(f"     {name}: Dice {dice['mean']:.4f} ({low:.4f}-{high:.4f})", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--time", default="2m30s", help="as `flexseg auto` takes it")
    parser.add_argument("-o", "--output", type=Path, default=Path("made"))
    parser.add_argument("--plan", action="store_true", help="plan, and no more")
    given = parser.parse_args()
    given.output.mkdir(parents=True, exist_ok=True)
    for kind in given.kinds:
        dataset = make(given.dataset, kind, given.output / f"{given.dataset.name}_{kind}")
        command = "plan" if given.plan else f"auto_{given.time}"
        folder = given.output / f"{dataset.name}_{command}"
        run(dataset, given.time, folder, plan=given.plan)
        show(kind, folder)


if __name__ == "__main__":
    main()
