"""Whether planted mistakes of annotations are found: precision at k, and the kinds.

    python benchmarks/planted_errors.py --data FOLDER --sets wbc nuclei -o OUTPUT

FOLDER has the sets, each with images/ and masks/. Of each set a copy is made in which 5 % of the
masks are wrong: shifted by 8 to 15 % of the width, two classes exchanged (where there are two),
objects forgotten (of several a sixth, at least one; of a single one a whole class), or those of
another case. `flexseg crossval` trains three networks on the copy, each for the given time, and
its review ranks all annotations. Prints how many of the first k are planted ones, k being their
number, and what kind each was taken for. What OUTPUT has already is not made again.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import label

from flexseg.config.durations import parse_duration

Mask = NDArray[np.uint8]
SHARE, NEAREST, FARTHEST, FORGOTTEN, MOST_FORGOTTEN = 0.05, 0.08, 0.15, 1 / 6, 5


def shifted(mask: Mask, others: Sequence[Mask], rng: np.random.Generator) -> Mask:
    """All of it beside its place; what leaves the picture is lost."""
    angle, width = rng.uniform(0, 2 * np.pi), mask.shape[1]
    length = rng.uniform(NEAREST, FARTHEST) * width
    down, right = round(length * np.sin(angle)), round(length * np.cos(angle))
    margin = round(FARTHEST * width) + 1
    ground = np.pad(mask, margin, constant_values=background(mask))
    top, left = margin - down, margin - right
    return ground[top : top + mask.shape[0], left : left + mask.shape[1]]


def exchanged(mask: Mask, others: Sequence[Mask], rng: np.random.Generator) -> Mask:
    """Two classes have each other's pixels."""
    a, b = rng.choice(classes_of(mask), 2, replace=False)
    return np.where(mask == a, b, np.where(mask == b, a, mask)).astype(np.uint8)


def forgotten(mask: Mask, others: Sequence[Mask], rng: np.random.Generator) -> Mask:
    """Some objects are not marked; of a single one, one of its classes."""
    empty = background(mask)
    objects, count = label(mask != empty)
    if count < 2:
        return np.where(mask == rng.choice(classes_of(mask)), empty, mask)
    sizes = np.bincount(objects.ravel())[1:]
    large = 1 + np.flatnonzero(sizes >= np.median(sizes) / 2)
    wanted = min(max(1, round(FORGOTTEN * count)), MOST_FORGOTTEN, len(large))
    return np.where(np.isin(objects, rng.choice(large, wanted, replace=False)), empty, mask)


def of_another(mask: Mask, others: Sequence[Mask], rng: np.random.Generator) -> Mask:
    """The mask of another case of the same size."""
    fitting = [other for other in others if other.shape == mask.shape and (other != mask).any()]
    return fitting[rng.integers(len(fitting))] if fitting else shifted(mask, others, rng)


PLANTS: dict[str, Callable[[Mask, Sequence[Mask], np.random.Generator], Mask]] = {
    "shifted": shifted,
    "classes exchanged": exchanged,
    "object missing": forgotten,
    "mask of another case": of_another,
}


def background(mask: Mask) -> int:
    """The lowest value: masks of these sets have 0 there."""
    return int(mask.min())


def classes_of(mask: Mask) -> Mask:
    """The values of the foreground."""
    return np.unique(mask[mask != background(mask)])


def main() -> None:
    """Plant, train, rank, and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", default=["wbc", "nuclei"])
    parser.add_argument("--time", default="2m30s", help="Of each of the three trainings.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("-o", "--output", type=Path, default=Path("planted_errors"))
    given = parser.parse_args()
    results = {}
    for name in given.sets:
        folder = given.output.absolute() / f"{name}_{given.seed}"
        results[name] = planted(given.data / name, folder / "data", given.seed)
        train(folder, parse_duration(given.time))
        print_precision(name, results[name], folder / "run" / "review" / "annotations.csv")


def planted(source: Path, target: Path, seed: int) -> dict[str, str]:
    """Copy a set and plant mistakes into its masks: case -> kind."""
    noted = target.parent / "planted.json"
    if not noted.exists():
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("split.json"))
        files = sorted((target / "masks").iterdir())
        masks = [np.asarray(Image.open(file)) for file in files]
        several = max(len(classes_of(mask)) for mask in masks) > 1
        kinds = [kind for kind in PLANTS if several or kind != "classes exchanged"]
        rng = np.random.default_rng(seed)
        marked = [i for i, m in enumerate(masks) if len(classes_of(m)) >= 1 + several]
        chosen = rng.choice(marked, max(1, round(SHARE * len(files))), replace=False)
        found = {}
        for number, i in enumerate(chosen):
            kind = kinds[number % len(kinds)]
            wrong = PLANTS[kind](masks[i], [m for j, m in enumerate(masks) if j != i], rng)
            with Image.open(files[i]) as image:
                palette = image.getpalette() if image.mode == "P" else None
            picture = Image.fromarray(np.asarray(wrong, masks[i].dtype))
            if palette is not None:
                picture.putpalette(palette)
            picture.save(files[i])
            found[files[i].stem] = kind
        noted.write_text(json.dumps(found, indent=1), encoding="utf-8")
    content: dict[str, str] = json.loads(noted.read_text(encoding="utf-8"))
    return content


def train(folder: Path, seconds: float) -> None:
    """Plan, and train the folds that are not trained yet; the last one ends with the review."""
    config = folder / "plan" / "flexseg.toml"
    if not config.exists():
        flexseg(
            "plan", folder / "data", "--time", f"{max(20, round(seconds))}s", "-o", config.parent
        )
    if not (done := folder / "trained").exists():
        sets = (f"train.minutes={seconds / 60}", f"train.run_dir={folder / 'run'}")
        resume = ["--resume"] if (folder / "run" / "folds.json").exists() else []
        options = [part for text in sets for part in ("--set", text)]
        flexseg("crossval", config, "--folds", 3, *options, *resume)
        done.touch()


def flexseg(*arguments: object) -> None:
    """Run the command."""
    command = [sys.executable, "-m", "flexseg.cli", "-q", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")


def print_precision(name: str, mistakes: dict[str, str], table: Path) -> None:
    """How many of the first cases are planted ones, and what each was taken for."""
    with table.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    # The plan may leave cases to the test, which are not looked at.
    known = {row["case"]: row for row in rows}
    looked_at = {case: kind for case, kind in mistakes.items() if case in known}
    k = len(looked_at)
    first = [row["case"] for row in rows[:k]]
    hits = sum(case in looked_at for case in first)
    marked = sum(row["suspicious"] == "yes" for row in rows)
    print(
        f"{name}: {k} of {len(rows)} annotations are wrong, {hits} of the first {k} are: precision "
        f"at k {hits / max(k, 1):.3f}; {marked} called suspicious"
    )
    taken = Counter((kind, known[case]["kind"] or "(not suspicious)")
                    for case, kind in looked_at.items())  # fmt: skip
    for (kind, said), count in sorted(taken.items()):
        print(f"  {kind}: {count} taken for {said}")
    others = [case for case in first if case not in looked_at]
    print(f"  first, but not planted: {', '.join(others) or 'none'}")


if __name__ == "__main__":
    main()
