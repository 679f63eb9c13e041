"""How many planted copies `flexseg check` finds across splits, and how many clean pairs it flags.

Divides the images of a folder into train, valid and test, makes every variant of the original
systems' offline augmenter of some training images, and plants them in valid and test under names
that tell nothing. Then the audit runs. Clean pairs are all pairs of different splits that do not
come from one image.

    python benchmarks/leakage_audit.py FOLDER [--bases 100] [--size 256] [--classes 1]
        [--group REGEX]

FOLDER has images/ and masks/. With --bases 0 nothing is planted and only clean pairs count.
"""

from __future__ import annotations

import argparse
import re
import shutil
import tempfile
import time
from collections import defaultdict
from itertools import combinations
from pathlib import Path

import numpy as np

from flexseg.augment.multiplication import Multiplication
from flexseg.augment.pairs import read_scaled
from flexseg.augment.writing import mask_palette, write_image, write_mask
from flexseg.batches.store import CaseReader
from flexseg.checking.audit import audit
from flexseg.config import Experiment, load
from flexseg.dataset.cases import pair
from flexseg.dataset.division.dividing import divide_cases
from flexseg.dataset.division.splits import SplitName
from flexseg.dataset.labels import LabelMap
from flexseg.dataset.reading import Dataset
from flexseg.files.preprocess import Preprocessing

CONFIG = """
[model]
image_width = {size}
image_height = {size}
num_classes = {classes}
[train]
images_dir = "train/images"
masks_dir = "train/masks"
[valid]
images_dir = "valid/images"
masks_dir = "valid/masks"
[test]
images_dir = "test/images"
masks_dir = "test/masks"
[mask]
unknown_colors = "nearest"
[augmentor]
hflip = true
vflip = true
rotation = true
angles = [5, 10, 15, 30, 90, 150, 180, 270, 345, 350]
shrinks = [0.8]
shears = [0.1]
deformation = true
distortion = true
barrdistortion = true
pincdistortion = true
sharpening = true
brightening = true
[deformation]
sigmoids = [8, 10]
[distortion]
distortions = [0.02, 0.03]
[barrdistortion]
radius = {radius}
amount = {amount}
centers = {centers}
[pincdistortion]
radius = {radius}
amount = -{amount}
centers = {centers}
"""
SHARES: dict[SplitName, float] = {"train": 0.7, "valid": 0.15, "test": 0.15}
# The published settings, and the originals' defaults.
RADIAL = (
    (0.3, 0.3, [(0.3, 0.3), (0.7, 0.3), (0.5, 0.5), (0.3, 0.7), (0.7, 0.7)]),
    (0.5, 0.5, [(0.5, 0.5)]),
)


def write_splits(source: Path, folder: Path, group: str | None) -> dict[str, str]:
    """Copy the cases into splits under `folder`; returns the group of each case."""
    dataset = Dataset.open(source, group)
    parts = divide_cases(dataset.table, SHARES, seed=1)
    for name, cases in parts.items():
        for kind in ("images", "masks"):
            (folder / name / kind).mkdir(parents=True)
        for case in cases:
            shutil.copy(case.image, folder / name / "images" / case.image.name)
            shutil.copy(case.mask, folder / name / "masks" / case.mask.name)
    return {case.id: case.group for cases in parts.values() for case in cases}


def plant(
    folder: Path, configs: list[Experiment], bases: int, origin: dict[str, str]
) -> dict[str, tuple[str, str]]:
    """Write copies of training images into valid and test; name -> (base, transform)."""
    planted: dict[str, tuple[str, str]] = {}
    names = sorted(path.stem for path in (folder / "train" / "images").iterdir())
    rng = np.random.default_rng(0)
    chosen = rng.permutation(names)[:bases].tolist()
    cases = {c.id: c for c in pair(folder / "train" / "images", folder / "train" / "masks").cases}
    done: set[tuple[str, str]] = set()
    for experiment in configs:
        classes = LabelMap.from_config(experiment.class_sections)
        plan = Multiplication.from_config(
            experiment.train.seed, experiment.augmentation, experiment.variants
        )
        preprocessing = Preprocessing.from_config(
            experiment.model, experiment.image, experiment.volume
        )
        reader = CaseReader(preprocessing, classes)
        palette = mask_palette(classes)
        for base in chosen:
            scaled = read_scaled(reader, cases[base])
            for _, transform, draw in plan.draws(cases[base], scaled.labels):
                if transform == "original" or (base, transform) in done:
                    continue
                done.add((base, transform))
                name = f"c{len(planted):05d}"
                split = ("valid", "test")[len(planted) % 2]
                image, labels = draw.apply(scaled.image, scaled.labels)
                write_image(folder / split / "images", name, scaled.stored(image))
                write_mask(folder / split / "masks", name, labels, palette)
                planted[name] = (base, transform)
                origin[name] = origin[base]
    return planted


def pairs_of(item: str) -> list[frozenset[str]]:
    """The pairs of cases that "train a ~ test b (hint)" or "train a = test b = ..." names."""
    names = [part.split()[1] for part in re.split(" [~=] ", item)]
    return [frozenset(two) for two in combinations(names, 2)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--bases", type=int, default=100)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--classes", type=int, default=1)
    parser.add_argument("--group")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        origin = write_splits(arguments.folder, folder, arguments.group)
        configs = []
        for i, (radius, amount, centers) in enumerate(RADIAL):
            text = CONFIG.format(
                size=arguments.size,
                classes=arguments.classes,
                radius=radius,
                amount=amount,
                centers=[list(center) for center in centers],
            )
            (folder / f"{i}.toml").write_text(text, encoding="utf-8")
            configs.append(load(folder / f"{i}.toml"))
        planted = plant(folder, [c.experiment for c in configs], arguments.bases, origin)
        begin = time.perf_counter()
        report = audit(configs[0])
        seconds = time.perf_counter() - begin
        counts = [len(list((folder / s / "images").iterdir())) for s in ("train", "valid", "test")]
        splits = {
            path.stem: split
            for split in ("train", "valid", "test")
            for path in (folder / split / "images").iterdir()
        }
    flagged = {
        pair
        for finding in report.findings
        if finding.code in ("near-duplicates-across-splits", "duplicates-across-splits")
        for item in finding.items
        for pair in pairs_of(item)
    }
    print(f"{sum(counts)} images ({' / '.join(map(str, counts))}), audit {seconds:.1f} s")
    if planted:
        hits: dict[str, list[bool]] = defaultdict(list)
        for copy, (base, transform) in planted.items():
            hits[transform].append(any({copy, base} <= pair for pair in flagged))
        for transform, found in hits.items():
            print(f"  {transform:45s} {np.mean(found):6.1%} of {len(found)}")
        total = [hit for found in hits.values() for hit in found]
        print(f"copies found: {np.mean(total):.2%} of {len(total)}")
    wrong = [sorted(pair) for pair in flagged if len({origin[n] for n in pair}) > 1]
    same: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for case, split in splits.items():
        same[origin[case]][split] += 1
    train, valid, test = counts
    clean = train * valid + train * test + valid * test
    for c in same.values():
        t, v, s = c["train"], c["valid"], c["test"]
        clean -= t * v + t * s + v * s
    print(f"clean pairs flagged: {len(wrong)} of {clean} ({len(wrong) / clean:.4%})")
    for names in wrong[:20]:
        print("  " + " ~ ".join(names))


if __name__ == "__main__":
    main()
