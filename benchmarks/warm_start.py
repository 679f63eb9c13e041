"""Does it pay to begin with an earlier network? Each case beside training anew on the same clock.

    python benchmarks/warm_start.py --data DATA -o FOLDER [--cases a b20 b200 c d] [--seeds 1 2 3]

DATA has the sets `wbc`, `nuclei` and `hippocampus`, each with images/ and masks/ and perhaps a
split.json. The cases: (a) a wbc network of half of the training images goes on with all of them;
(b) a nuclei network goes on with 20 and 200 training images of wbc; (c) a wbc network gets a class
more, nuclei divided by their size; (d) a hippocampus network goes on. Each is planned with
`flexseg plan` for its seconds, `--from` the earlier network, and two fresh ones beside it: for as
many seconds, and for those of both trainings together. The test cases are in no training.

Prints the mean Dice of the test cases with its 95 % interval, and that of the paired difference to
each fresh network (bootstrap over cases). What is finished in FOLDER is not trained again; --set
gives further overrides to the warm trainings, into folders of the name of --label.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

WBC = {128: "cytoplasm", 255: "nucleus"}
NUCLEI = {255: "nucleus"}
SMALL = "small nucleus"
RESAMPLES = 10_000


@dataclass(frozen=True)
class Case:
    """An earlier training and one that goes on with it; `seconds` of both."""

    earlier: str
    later: str
    seconds: tuple[float, float]


CASES = {
    "a": Case("wbc_100", "wbc_200", (150, 30)),
    "b20": Case("nuclei", "wbc_20", (150, 60)),
    "b200": Case("nuclei", "wbc_200", (150, 60)),
    "c": Case("wbc_200", "wbc_sizes", (150, 60)),
    "d": Case("hippocampus", "hippocampus", (150, 150)),
}


def main() -> None:
    """Run what is not there yet, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, default=Path("warm_start"))
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[1])
    parser.add_argument("--scale", type=float, default=1.0, help="of all seconds")
    parser.add_argument("--set", dest="sets", action="append", default=[], help="for warm ones")
    parser.add_argument("--label", default="warm", help="of warm trainings")
    given = parser.parse_args()
    for name in given.cases:
        for seed in given.seeds:
            run_case(name, seed, given)


def run_case(name: str, seed: int, given: argparse.Namespace) -> None:
    """One earlier training, and the three that are compared."""
    case, work = CASES[name], given.output
    before, after = (given.scale * seconds for seconds in case.seconds)
    earlier = dataset(case.earlier, given.data, work / "data")
    later = dataset(case.later, given.data, work / "data")
    sets = [f"train.seed={seed}"]
    first = trained(earlier, work / f"{case.earlier}_{before:g}s_{seed}", before, sets)
    runs = {
        given.label: trained(
            later, work / f"{name}_{given.label}_{seed}", after, [*sets, *given.sets], first
        ),
        "anew": trained(later, work / f"{case.later}_{after:g}s_{seed}", after, sets),
        "anew, both times": trained(
            later, work / f"{case.later}_{before + after:g}s_{seed}", before + after, sets
        ),
    }
    scores = {label: case_scores(folder) for label, folder in runs.items()}
    warm = scores[given.label]
    print(f"({name}) {case.earlier} for {before:g} s, then {case.later}, seed {seed}", flush=True)
    for label, own in scores.items():
        seconds = before + after if "both" in label else after
        line = f"  {label:17} {seconds:5.0f} s  Dice {interval(np.array(list(own.values())))}"
        if label != given.label:
            line += f"   warm - this {interval(np.array([warm[c] - own[c] for c in own]))}"
        print(line, flush=True)


def trained(
    data: Path, folder: Path, seconds: float, sets: list[str], start: Path | None = None
) -> Path:
    """The folder of a planned, trained and evaluated network."""
    if not (folder / "run" / "evaluation" / "summary.json").exists():
        shutil.rmtree(folder, ignore_errors=True)
        begin = [] if start is None else ["--from", str(start)]
        flexseg("plan", str(data), "--time", f"{seconds:g}s", "-o", str(folder), *begin)
        options = [part for text in sets for part in ("--set", text)]
        for command in ("train", "evaluate"):
            flexseg(command, str(folder / "flexseg.toml"), *options)
    return folder


def flexseg(*arguments: str) -> None:
    """A command; ends the benchmark if it fails."""
    command = [sys.executable, "-m", "flexseg.cli", "-q", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout}\n{done.stderr}")


def case_scores(folder: Path) -> dict[str, float]:
    """Test case -> mean Dice of its classes."""
    found: dict[str, list[float]] = defaultdict(list)
    with (folder / "run/evaluation/cases.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["dice"]:
                found[row["case"]].append(float(row["dice"]))
    return {case: float(np.mean(values)) for case, values in found.items()}


def interval(values: np.ndarray) -> str:
    """A mean and its 95 % interval, bootstrapped over cases."""
    rng = np.random.default_rng(0)
    means = values[rng.integers(0, len(values), (RESAMPLES, len(values)))].mean(axis=1)
    low, high = np.percentile(means, (2.5, 97.5))
    return f"{values.mean():+.4f} ({low:+.4f} to {high:+.4f})"


def dataset(name: str, data: Path, work: Path) -> Path:
    """A set by its name, made once; its split.json is that of the source, cut to fewer cases."""
    target = work / name
    if target.exists():
        return target
    kind, _, count = name.partition("_")
    source = data / kind
    split = split_of(source)
    if count.isdigit():
        split["train"] = split["train"][: int(count)]
        # As few as there would be, had somebody only these.
        split["valid"] = split["valid"][: max(1, int(count) // 5)]
    part = work / f"{name}.part"
    shutil.rmtree(part, ignore_errors=True)
    if kind == "hippocampus":
        part.mkdir(parents=True)
        for folder in ("images", "masks"):
            (part / folder).symlink_to((source / folder).resolve())
    else:
        names = NUCLEI if kind == "nuclei" else WBC
        copy_named(source, part, split, names, sizes=count == "sizes")
    (part / "split.json").write_text(json.dumps(split), encoding="utf-8")
    part.rename(target)
    return target


def split_of(source: Path) -> dict[str, list[str]]:
    """The source's own division, else a seventh each to validate and test."""
    path = source / "split.json"
    if path.exists():
        return json.loads(path.read_text(encoding="utf-8"))
    names = sorted(p.stem for p in (source / "images").iterdir())
    parts: dict[str, list[str]] = {"train": [], "valid": [], "test": []}
    for i, name in enumerate(names):
        parts[{0: "valid", 1: "test"}.get(i % 7, "train")].append(name)
    return parts


def copy_named(
    source: Path, target: Path, split: dict[str, list[str]], names: dict[int, str], *, sizes: bool
) -> None:
    """Images, and masks of class ids with their names; nuclei below the median are a class."""
    for folder in ("images", "masks"):
        (target / folder).mkdir(parents=True)
    used = {stem for part in split.values() for stem in part}
    masks = {
        path: cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        for path in sorted((source / "masks").iterdir())
        if path.stem in used
    }
    nucleus = list(names.values()).index("nucleus") + 1
    areas = {path: int(np.count_nonzero(mask == 255)) for path, mask in masks.items()}
    median = np.median([areas[p] for p in masks if p.stem in set(split["train"])])
    for path, mask in masks.items():
        ids = np.zeros_like(mask)
        for number, value in enumerate(names, start=1):
            ids[mask == value] = number
        if sizes and areas[path] < median:
            ids[ids == nucleus] = len(names) + 1
        cv2.imwrite(str(target / "masks" / f"{path.stem}.png"), ids)
    for path in (source / "images").iterdir():
        if path.stem in used:
            (target / "images" / path.name).symlink_to(path.resolve())
    classes = [*names.values(), *([SMALL] if sizes else [])]
    described = [
        {"id": i, "name": name, "color": [60 * i, 255 - 60 * i, 128]}
        for i, name in enumerate(classes, start=1)
    ]
    content = {"classes": described, "parameters": {}}
    (target / "dataset.json").write_text(json.dumps(content), encoding="utf-8")


if __name__ == "__main__":
    main()
