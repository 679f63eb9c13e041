"""What corrections gain, in the order that flexseg proposes and at random.

    python benchmarks/simulated_annotator.py --data DATA --set wbc -o FOLDER

DATA has the set with images/, masks/ and perhaps a split.json. For each seed a network is planned
and trained for `--seconds` on `--first` images, a fifth of which validate it. Then somebody
corrects further training images, whose masks are those of the set, up to each of `--steps`, and
`flexseg learn` goes on after each. Which images come next is said by
`flexseg.learning.correction_order` (expected Dice times distance to what is corrected), or drawn at
random. The test cases of the set take no part but for the score.

Prints for each seed, order and number of corrections the mean Dice of the current version on the
test cases, the seconds from the first correction of a round to its end, and the paired difference
of both orders. What is finished in FOLDER is not run again.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

ORDERS = ("queue", "random")


def main() -> None:
    """Run what is not there yet, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--set", dest="name", default="wbc")
    parser.add_argument("--first", type=int, default=10)
    parser.add_argument("--steps", type=int, nargs="+", default=[10, 20, 40])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--orders", nargs="+", choices=ORDERS, default=list(ORDERS))
    parser.add_argument("--seconds", type=float, default=60.0, help="of each training")
    parser.add_argument("-o", "--output", type=Path, default=Path("simulated_annotator"))
    given = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for seed in given.seeds:
        rows += [row for order in given.orders for row in run(seed, order, given)]
    print(f"{'seed':>4}  {'order':<7} {'corrected':>9}  {'test Dice':>9}  {'seconds':>7}")
    for row in rows:
        print(
            f"{row['seed']:>4}  {row['order']:<7} {row['corrected']:>9}  {row['dice']:>9.4f}  "
            f"{row['seconds']:>7.0f}"
        )
    for step in given.steps if len(given.orders) > 1 else ():
        apart = [
            at(rows, seed, "queue", step) - at(rows, seed, "random", step) for seed in given.seeds
        ]
        print(f"{step} corrected: queue - random {np.mean(apart):+.4f} (by seed: "
              f"{', '.join(f'{d:+.4f}' for d in apart)})")  # fmt: skip


def at(rows: list[dict[str, Any]], seed: int, order: str, step: int) -> float:
    """The Dice of one of the rows."""
    keys = (seed, order, step)
    return next(r["dice"] for r in rows if (r["seed"], r["order"], r["corrected"]) == keys)


def run(seed: int, order: str, given: argparse.Namespace) -> list[dict[str, Any]]:
    """One seed and order: its rows."""
    source = given.data / given.name
    folder = given.output / f"{given.name}_{seed}_{order}"
    done = folder / "rows.json"
    if done.exists():
        return list(json.loads(done.read_text(encoding="utf-8")))
    shutil.rmtree(folder, ignore_errors=True)
    pool, tests = parts_of(source)
    rng = random.Random(seed)
    rng.shuffle(pool)
    first, left = pool[: given.first], pool[given.first :]
    start = first_model(source, first, tests, seed, given)
    learned = folder / "learned"
    rows = [
        {"seed": seed, "order": order, "corrected": 0, "dice": test_dice(start), "seconds": 0.0}
    ]
    corrected: list[str] = []
    for step in given.steps:
        model = current(learned) or start / "run"
        count = step - len(corrected)
        chosen = proposed(source, model, left, [*first, *corrected], count, order, rng)
        left = [name for name in left if name not in chosen]
        corrected += chosen
        batch = dataset(source, chosen, folder / f"batch_{step}")
        began = time.monotonic()
        begin = [] if learned.exists() else ["--model", str(start / "run")]
        flexseg("learn", str(learned), *begin, "--corrections", str(batch), "--time",
                f"{given.seconds:g}s", "--by", "simulated")  # fmt: skip
        seconds = time.monotonic() - began
        dice = version_dice(learned, test_dice(start))
        rows.append(
            {"seed": seed, "order": order, "corrected": step, "dice": dice, "seconds": seconds}
        )
    done.write_text(json.dumps(rows), encoding="utf-8")
    return rows


def parts_of(source: Path) -> tuple[list[str], list[str]]:
    """Names for training, and test cases: those of split.json, else every fourth image."""
    file = source / "split.json"
    if file.exists():
        split = json.loads(file.read_text(encoding="utf-8"))
        return sorted({*split["train"], *split.get("valid", [])}), list(split["test"])
    names = sorted(path.stem for path in (source / "images").iterdir())
    return [name for i, name in enumerate(names) if i % 4], names[::4]


def first_model(
    source: Path, first: list[str], tests: list[str], seed: int, given: argparse.Namespace
) -> Path:
    """The network of the first images, which both orders share."""
    place = given.output / f"{given.name}_{seed}_first"
    if not (place / "run" / "evaluation" / "summary.json").exists():
        shutil.rmtree(place, ignore_errors=True)
        data = given.output / f"{given.name}_{seed}_data"
        shutil.rmtree(data, ignore_errors=True)
        dataset(source, [*first, *tests], data)
        validating = max(1, len(first) // 5)
        parts = {"train": first[validating:], "valid": first[:validating], "test": tests}
        (data / "split.json").write_text(json.dumps(parts), encoding="utf-8")
        flexseg("plan", str(data), "--time", f"{given.seconds:g}s", "-o", str(place))
        for command in ("train", "tune-postprocessing", "evaluate"):
            flexseg(command, str(place / "flexseg.toml"))
    return place


def proposed(
    source: Path,
    model: Path,
    left: list[str],
    known: list[str],
    count: int,
    order: str,
    rng: random.Random,
) -> list[str]:
    """The images to correct next."""
    if order == "random":
        return rng.sample(left, count)
    from flexseg import Model
    from flexseg.files.images import read_image
    from flexseg.learning.correction_order import Candidate, look_of
    from flexseg.learning.correction_order import order as in_order

    files = {path.stem: path for path in (source / "images").iterdir()}
    candidates = []
    loaded: Any = Model.load(model)  # whose answer depends on whether it is given one or several
    for name, found in zip(left, loaded.predict([files[name] for name in left]), strict=True):
        every = [quality.dice for quality in found.quality.values()]
        expected = [dice for dice in every if dice is not None]  # not of all classes it is known
        look = look_of(read_image(files[name]))
        candidates.append(Candidate(name, min(expected) if expected else None, look))
    looks = [look_of(read_image(files[name])) for name in known]
    return [one.name for one in in_order(candidates, looks)][:count]


def dataset(source: Path, names: list[str], target: Path) -> Path:
    """A part of a set."""
    for kind in ("images", "masks"):
        (target / kind).mkdir(parents=True, exist_ok=True)
        files = {path.stem: path for path in (source / kind).iterdir()}
        for name in names:
            shutil.copy(files[name], target / kind)
    return target


def current(learned: Path) -> Path | None:
    """The package of the current version."""
    from flexseg.learning.versions import Versions

    versions = Versions.open(learned)
    return versions.model() if versions.current else None


def version_dice(learned: Path, first: float) -> float:
    """Of the current version on the test cases."""
    from flexseg.learning.versions import Versions

    versions = Versions.open(learned)
    found = versions.get(versions.current).test
    return first if found is None else found


def test_dice(folder: Path) -> float:
    """Mean over cases of the mean Dice of their classes, as `flexseg learn` takes it."""
    text = (folder / "run" / "evaluation" / "summary.json").read_text(encoding="utf-8")
    return float(json.loads(text)["macro"]["dice"]["mean"])


def flexseg(*arguments: str) -> None:
    """A command; ends the benchmark if it fails."""
    command = [sys.executable, "-m", "flexseg.cli", "-q", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout}\n{done.stderr}")


if __name__ == "__main__":
    main()
