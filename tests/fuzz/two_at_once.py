"""Two of each command on one folder at once: python tests/fuzz/two_at_once.py [--rounds N].

The two differ in what they write. Afterwards the results are those of one of them, whole; the other
was refused, or its results have moved aside. Linux only.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from flexseg.backend import select  # noqa: E402

select()

import fuzz_project  # noqa: E402
from fuzz_project import finished, started  # noqa: E402

from flexseg.files.images import read_image, write_png  # noqa: E402
from synthetic import write_dataset  # noqa: E402

_TRAIN = "train a.toml --set train.epochs=3 --set"
# Two commands each, apart by a bar.
PAIRS = {
    "plan": "plan data -o new --time 5s | plan volumes -o new --time 5s",
    "auto": "auto data -o new --time 20s | auto data -o new --time 21s",
    "demo": "demo -o new | demo -o new",
    "init": "init data -o new --size 32 | init data -o new --size 64",
    "stats": "stats data -o new | stats other/data -o new",
    "schema": "schema -o schema.json | schema -o schema.json",
    "derive folders": "derive folders data/train/images data/train/masks -o new"
    " | derive folders other/data/train/images other/data/train/masks -o new",
    "derive arrays": "derive arrays arrays/images.npy arrays/masks.npy -o new"
    " | derive arrays arrays/images.npy arrays/masks.npy -o new --class disc --class square",
    "derive coco": "derive coco coco.json data/train/images -o new"
    " | derive coco coco.json other/data/train/images -o new",
    "derive annotations": "derive annotations yolo data/train/images -o new"
    " | derive annotations yolo other/data/train/images -o new",
    "derive tiles": "derive tiles data/train -o new --size 32 | derive tiles data/train -o new --size 16",
    "derive volumes": "derive volumes volumes/images volumes/labels -o new --bits 8"
    " | derive volumes volumes/images volumes/labels -o new --bits 16",
    "split": "split data/train --ratios 0.5,0.5 -o split.json --copy new"
    " | split data/train --ratios 0.75,0.25 -o split.json --copy new",
    "augment": "augment a.toml -o new --copies 1 --set augmentation.enabled=True"
    " | augment a.toml -o new --copies 2 --set augmentation.enabled=True",
    "augment --preview": "augment a.toml --preview -o new --set augmentation.enabled=True"
    " | augment a.toml --preview -o new --set augmentation.enabled=True --set train.seed=2",
    "train": f"{_TRAIN} train.seed=1 | {_TRAIN} train.seed=2",
    "train --resume": "train a.toml --resume --set train.epochs=4"
    " | train a.toml --resume --set train.epochs=5",
    "crossval": "crossval a.toml --folds 2 --set train.epochs=1"
    " | crossval a.toml --folds 3 --set train.epochs=1",
    "tune": "tune a.toml --time 40s | tune a.toml --time 41s",
    "advise": "advise a.toml --time 60s | advise a.toml --time 61s",
    "evaluate": "evaluate a.toml | evaluate a.toml --set model.evaluation=valid",
    "evaluate --predictions": "evaluate a.toml --predictions data/test/masks --masks data/test/masks -o new"
    " | evaluate a.toml --predictions data/valid/masks --masks data/valid/masks -o new",
    "infer": "infer a.toml | infer a.toml -i other/data/test/images",
    "tiled-infer": "tiled-infer a.toml -o new | tiled-infer a.toml -i other/data/test/images -o new",
    "infer3d": "infer3d a.toml -i volumes/images -o new | infer3d a.toml -i volumes/labels -o new",
    "tune-postprocessing": "tune-postprocessing a.toml | tune-postprocessing a.toml --tta",
    "quantize": "quantize a.toml --keep | quantize a.toml --keep --set train.seed=2",
    "report": "report run | report run --no-audit",
    "compare": "compare run again -o new | compare again run -o new",
    "ensemble": "ensemble run again -o new | ensemble again run -o new",
    "review": "review a.toml -o new | review again -o new",
    "export": "export run --to onnx -o new | export again --to onnx -o new",
    "inspect": "inspect a.toml -o new | inspect a.toml -o new --set model.base_filters=6",
    "export-weights": "export-weights a.toml -o new.h5 | export-weights again/models/best_model.h5 -o new.h5",
    "import-weights": "import-weights plain.h5 a.toml | import-weights plain_again.h5 a.toml",
    "train, evaluate": "train a.toml --resume --set train.epochs=30 | evaluate a.toml",
    "train, report": "train a.toml --resume --set train.epochs=30 | report run",
    "train, infer": "train a.toml --resume --set train.epochs=30 | infer a.toml",
    "train, tune": "train a.toml --resume --set train.epochs=30 | tune a.toml --time 40s",
    "train, crossval": "train a.toml --resume --set train.epochs=30 | crossval a.toml --folds 2",
}


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    said: str

    @property
    def is_refused(self) -> bool:
        return self.code == 1 and "Another program is writing here" in self.said

    @property
    def is_explained(self) -> bool:
        """Whether it ended well, or said in a sentence why not."""
        broken = "Traceback" in self.said or "should not happen" in self.said
        return not broken and (self.code == 0 or "Fix:" in self.said)


def prepare(place: Path) -> None:
    """A project with two trained runs, and a second dataset that looks different."""
    fuzz_project.prepare(place)
    write_dataset(place / "other/data", {"train": 8, "valid": 4, "test": 4}, classes=3, seed=1)
    for image in sorted((place / "other/data/test/images").iterdir()):
        write_png(image, 255 - read_image(image))
    (ended,) = run_together(place, ["export-weights run/models/best_model.h5 -o plain_again.h5"])
    if ended.code:
        raise SystemExit(ended.said)


def run_together(place: Path, lines: Sequence[str], delay: float = 0.0) -> list[Ended]:
    """Run commands at once, the second after some seconds."""
    children = []
    for number, line in enumerate(lines):
        if number:
            time.sleep(delay)
        children.append(started(place, line, place.parent / f"said_{number}"))
    return [Ended(*finished(child, log)) for child, log in children]


def contents(place: Path) -> dict[str, str]:
    """The hash of each file, without what has moved aside."""
    return {
        path.relative_to(place).as_posix(): sha256(path.read_bytes()).hexdigest()
        for path in place.rglob("*")
        if path.is_file() and not any(part.endswith("_bak") for part in path.parts)
    }


def copied(base: Path, place: Path) -> Path:
    """The project as it was."""
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(base, place)
    return place


def mixed(found: dict[str, str], alone: Sequence[dict[str, str]]) -> bool:
    """Whether files that only one of the two writes so are there from both."""
    first, second = alone
    differ = {k for k in {*first, *second} if first.get(k) != second.get(k)}
    of_first = any(found.get(k) == first[k] for k in differ & {*first})
    of_second = any(found.get(k) == second[k] for k in differ & {*second})
    return of_first and of_second


def lost(before: Path, place: Path) -> list[str]:
    """Files that are nowhere any more, not even aside."""
    kept = {sha256(p.read_bytes()).hexdigest() for p in place.rglob("*") if p.is_file()}
    return [name for name, digest in contents(before).items() if digest not in kept]


def traces(place: Path) -> list[str]:
    """Locks and temporary files that are left."""
    found = (path.name for path in place.rglob(".*"))
    return [name for name in found if name.startswith((".part-", ".clock-")) or "lock" in name]


def rows(folder: Path, names: Sequence[str], rounds: int, seed: int) -> Iterator[list[str]]:
    """One row for each pair and round."""
    base, rng = folder / "base", random.Random(seed)
    for name in names:
        lines = PAIRS[name].split(" | ")
        alone, fates, seconds = [], [], 1.0
        for line in lines:
            place, began = copied(base, folder / "work"), time.monotonic()
            (ended,) = run_together(place, [line])
            seconds = time.monotonic() - began
            if not ended.is_explained:
                tell(ended.said)
            alone.append(contents(place))
            fates.append(set(lost(base, place)))
        for number in range(rounds):
            place = copied(base, folder / "work")
            delay = rng.uniform(0, seconds) if number else 0.0
            ends = run_together(place, lines, delay)
            problems = [f"exit {e.code} unexplained" for e in ends if not e.is_explained]
            one_command = lines[0].split()[0] == lines[1].split()[0]
            if one_command and mixed(contents(place), alone):
                problems.append("mixed")
            if gone := {*lost(base, place)} - fates[0] - fates[1]:
                problems.append(f"lost: {', '.join(sorted(gone)[:3])}")
            if left := traces(place):
                problems.append(f"left: {', '.join(left[:3])}")
            if problems:
                tell(*(e.said for e in ends))
            yield [name, f"{delay:.1f}", *(_told(e) for e in ends), "; ".join(problems) or "whole"]


def tell(*lines: str) -> None:
    """Show lines at once."""
    print(*lines, sep="\n", flush=True)  # noqa: T201


def _told(ended: Ended) -> str:
    return "refused" if ended.is_refused else "done" if ended.code == 0 else f"exit {ended.code}"


def start() -> int:
    """Run all pairs and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=list(PAIRS), choices=list(PAIRS))
    options = parser.parse_args()
    bad = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        prepare(folder / "base")
        heads = ("commands", "second after s", "first", "second", "results")
        tell("| " + " | ".join(heads) + " |", "|---" * len(heads) + "|")
        for row in rows(folder, options.only, options.rounds, options.seed):
            tell("| " + " | ".join(row) + " |")
            bad += row[-1] != "whole"
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(start())
