"""Damaged files and absurd configs through all readers: `make fuzz`, or python tests/fuzz/run.py.

Each case follows from its number, so that a run goes on where an earlier one with the same folder
ended. What is no refusal in a sentence and no right reading is kept in the folder `failures`.
Linux only.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
os.environ["FLEXSEG_LARGEST_IMAGE_GB"] = "0.125"

from flexseg.backend import select  # noqa: E402

select()

import fuzz_corpus as corpus  # noqa: E402
import numpy as np  # noqa: E402
from fuzz_mutations import absurd, absurd_json, damaged, is_guarded  # noqa: E402
from fuzz_server import Outcome, run  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from flexseg.errors import FlexsegError  # noqa: E402

COLUMNS = {
    "refused": "refused",
    "read": "read right",
    "traceback": "tracebacks",
    "hang": "hangs",
    "memory": "over memory",
    "wrong": "read wrong",
}
_FAILURES = ("traceback", "hang", "memory", "wrong")
_BATCH = 100


class Fuzz:
    """One kind of cases.

    Parameters
    ----------
    seeds : valid files.
    as_text : damage them as configs.
    """

    def __init__(self, seeds: list[corpus.Seed], as_text: bool) -> None:
        self.seeds, self.as_text = seeds, as_text
        self.expected = [_read_whole(seed) for seed in seeds]

    def case(self, number: int) -> tuple[int, bytes, str]:
        """Which seed a case damages, its new content, and the name of the file to damage."""
        rng = random.Random(number)
        i = rng.randrange(len(self.seeds))
        seed = self.seeds[i]
        if self.as_text:
            text = absurd(seed.content.decode(), rng)
            return i, text.encode("utf-8", "surrogatepass"), seed.name
        if seed.described and rng.random() < 0.6:
            return i, seed.described(absurd_json(seed.description, rng)), seed.name
        name = rng.choice((seed.name, *seed.beside)) if rng.random() < 0.5 else seed.name
        return i, damaged(seed.beside.get(name, seed.content), rng), name

    def judge(self, number: int, folder: Path) -> Outcome:
        """Read one damaged file in all ways."""
        i, content, name = self.case(number)
        seed = self.seeds[i]
        for other, bytes_ in {**seed.beside, seed.name: seed.content, name: content}.items():
            (folder / other).write_bytes(bytes_)
        kinds = []
        for reader, expected in zip(seed.readers, self.expected[i], strict=True):
            try:
                pixels = reader(folder / seed.name)
            except FlexsegError as error:
                if "not enough memory" in error.problem:
                    return Outcome(number, "memory", str(error))
                if not self.as_text and folder.name not in str(error.where):
                    return Outcome(number, "traceback", f"no file is named: {error}")
                kinds.append("refused")
                continue
            kinds.append("read")
            if self._wrong(seed, name, content, pixels, expected):
                return Outcome(number, "wrong", f"by {reader.__name__}")
        return Outcome(number, "refused" if "refused" in kinds else "read")

    def _wrong(
        self, seed: corpus.Seed, name: str, content: bytes, pixels: object, expected: object
    ) -> bool:
        if not isinstance(pixels, np.ndarray) or not isinstance(expected, np.ndarray):
            return False
        if _same(pixels, expected):
            return False
        if name != seed.name:  # voxels beside their header are compressed in this corpus
            return name.endswith(("raw", ".gz"))
        return is_guarded(seed.content, content, seed.guarded)


def _same(a: NDArray, b: NDArray) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()


def _read_whole(seed: corpus.Seed) -> list[object]:
    if not seed.pixels:
        return [None] * len(seed.readers)
    with tempfile.TemporaryDirectory() as folder:
        for name, content in {seed.name: seed.content, **seed.beside}.items():
            (Path(folder) / name).write_bytes(content)
        return [_read(reader, Path(folder) / seed.name) for reader in seed.readers]


def _read(reader: corpus.Reader, path: Path) -> object:
    """What a reader gives; None where it refuses, as those of compressions that are not here."""
    try:
        return reader(path)
    except FlexsegError:
        return None


def fuzz(name: str, cases: Fuzz, until: int, deadline: float, folder: Path) -> Counter[str]:
    """Run the cases that are missing, up to a number or a time; returns all counts so far."""
    state = folder / f"{name}.json"
    counts: Counter[str] = Counter(json.loads(state.read_text()) if state.exists() else {})
    while (done := counts["tried"]) < until and time.monotonic() < deadline:
        for outcome in run(cases.judge, range(done, min(done + _BATCH, until))):
            counts["tried"] += 1
            counts[outcome.kind] += 1
            if outcome.kind in _FAILURES:
                _keep(folder / "failures", name, cases, outcome)
        state.write_text(json.dumps(counts))
    return counts


def _keep(folder: Path, name: str, cases: Fuzz, outcome: Outcome) -> None:
    _, content, file = cases.case(outcome.number)
    place = folder / f"{name}-{outcome.number}-{outcome.kind}"
    place.mkdir(parents=True, exist_ok=True)
    (place / file).write_bytes(content)
    (place / "why.txt").write_text(outcome.detail)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("fuzz-results"))
    parser.add_argument("--minutes", type=float, default=10.0, help="at most")
    parser.add_argument("--configs", type=int, default=10_000, help="in all runs together")
    parser.add_argument("--files", type=int, default=10_000, help="in all runs together")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as scratch:
        makers = (corpus.images, corpus.volumes, corpus.texts, corpus.annotations, corpus.packages)
        files = [seed for make in makers for seed in make(Path(scratch))]
        kinds = {
            "configs": (Fuzz(corpus.configs(), as_text=True), options.configs),
            "files": (Fuzz(files, as_text=False), options.files),
        }
    failures = 0
    deadline = time.monotonic() + options.minutes * 60
    for i, (name, (cases, until)) in enumerate(kinds.items()):
        share = time.monotonic() + (deadline - time.monotonic()) / (len(kinds) - i)
        counts = fuzz(name, cases, until, share, options.folder)
        columns = ", ".join(f"{text} {counts[kind]}" for kind, text in COLUMNS.items())
        print(f"{name}: tried {counts['tried']}, {columns}")  # noqa: T201
        failures += sum(counts[kind] for kind in _FAILURES)
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())
