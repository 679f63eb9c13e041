"""Commands killed at random moments: python tests/fuzz/kills.py [--folder F] [--kills N].

After each kill no file of a final name is cut, all earlier results are there, and the same command
again (or with --resume) ends well with what an unkilled one writes, bit for bit where two unkilled
ones agree; where the clock ends trainings, with files of the same names. Each kill follows from its
number, so that a run goes on where an earlier one with the same folder ended. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from hashlib import sha256
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from flexseg.backend import select  # noqa: E402

select()

import numpy as np  # noqa: E402
from fuzz_project import (  # noqa: E402
    COMMANDS,
    TRAINED,
    contents,
    finished,
    is_final,
    prepare,
    started,
)
from PIL import Image  # noqa: E402

from flexseg.files.images import read_image  # noqa: E402
from flexseg.files.volumes.read import read_volume  # noqa: E402
from flexseg.model_file.hdf5_weights import read_weights  # noqa: E402
from flexseg.model_file.onnx_file import DIGEST, read_properties  # noqa: E402

COLUMNS = (
    "killed", "ended before", "unfit", "cut files", "lost files", "not resumed", "other results",
    "tracebacks",
)  # fmt: skip
_FAILURES = COLUMNS[3:]
# What these write depends on how many epochs there is time for, about which two agree by chance.
_BY_THE_CLOCK = {"advise", "auto", "tune"}
# A killed trial stays in the table, and is tried again under the next number.
_OF_A_TRIAL = "*/trial_*/*"
# Commands that must be told to go on.
_RESUMED = {"train", "train again", "crossval", "auto"}


def _text_ends(end: str) -> Callable[[Path], None]:
    def read(path: Path) -> None:
        if not path.read_text(encoding="utf-8").endswith((end, f"{end}\n")):
            raise ValueError(f"it does not end with {end!r}")

    return read


READERS: dict[str, Callable[[Path], object]] = {
    ".json": lambda path: json.loads(path.read_text(encoding="utf-8")),
    ".toml": lambda path: tomllib.loads(path.read_text(encoding="utf-8")),
    ".xml": _text_ends("</net>\n"),
    ".csv": _text_ends("\n"),
    ".html": _text_ends("</html>"),
    ".h5": read_weights,
    # The digest is written last.
    ".onnx": lambda path: read_properties(path)[DIGEST],
    ".npz": lambda path: [array.shape for array in np.load(path).values()],
    ".gz": read_volume,
    ".gif": lambda path: Image.open(path).seek(Image.open(path).n_frames - 1),
    ".npy": np.load,
    **dict.fromkeys((".png", ".jpg", ".tif"), read_image),
}


@dataclass(frozen=True)
class Unkilled:
    """What a command does if nobody kills it.

    Attributes
    ----------
    results : name -> hash of what each time is the same; see `results_of`.
    removed : hashes of files that it replaces.
    """

    seconds: float
    results: dict[str, str]
    removed: frozenset[str]


class UnfitError(Exception):
    """A command does not even end well by itself, as where the time is too short for it."""


class Kills:
    """Commands in copies of one project.

    Parameters
    ----------
    folder : for the project; an earlier one goes on there.
    names : of the commands.
    """

    def __init__(self, folder: Path, names: list[str]) -> None:
        self.base, self.place, self.names = folder / "base", folder / "work", names
        self._log = folder / "said"
        self._unkilled: dict[str, Unkilled] = {}
        if not self.base.exists():
            part = folder / "part"
            shutil.rmtree(part, ignore_errors=True)
            prepare(part, trained=any(name in TRAINED for name in names))
            part.rename(self.base)

    def kill(self, number: int) -> tuple[str, Counter[str]]:
        """Which command was killed when, and what came of it."""
        name, moment = self.names[number % len(self.names)], random.Random(number).random()
        unkilled = self._known(name)
        self._begin()
        child, log = started(self.place, COMMANDS[name], self._log, os.setsid)
        time.sleep(moment * unkilled.seconds)
        os.kill(child, signal.SIGKILL)
        code, said = finished(child, log)
        if code >= 0:
            return f"{name} had ended", Counter({"ended before": 1})
        counts = Counter({"killed": 1})
        cut = [p for p in self.place.rglob("*") if is_cut(p, self.place)]
        lost = sorted(hashes(self.base) - hashes(self.place) - unkilled.removed)
        code, again = self._again(name)
        found = results_of(name, self.place) if code == 0 else {}
        other = [k for k, digest in unkilled.results.items() if found.get(k) != digest]
        counts |= {
            "cut files": bool(cut),
            "lost files": bool(lost),
            "not resumed": code != 0,
            "other results": code == 0 and bool(other),
            "tracebacks": "Traceback" in said + again or "should not happen" in said + again,
        }
        why = f"{name} after {moment * unkilled.seconds:.2f} s"
        if any(counts[kind] for kind in _FAILURES):
            why += f": {+counts}\ncut {cut}\nlost {lost}\nother {other}\n{said[-2000:]}\n{again[-3000:]}"
        return why, +counts

    def _known(self, name: str) -> Unkilled:
        """What two unkilled ones agree about; the second, whose code is warm, tells the time."""
        if name not in self._unkilled:
            runs = []
            for _ in range(2):
                self._begin()
                began = time.monotonic()
                code, said = finished(*started(self.place, COMMANDS[name], self._log))
                seconds = time.monotonic() - began
                if code:
                    raise UnfitError(f"{name} unkilled: exit code {code}\n{said[-2000:]}")
                runs.append(results_of(name, self.place))
            same = {k: v for k, v in runs[0].items() if runs[1].get(k) == v}
            removed = hashes(self.base) - hashes(self.place)
            self._unkilled[name] = Unkilled(seconds, same, frozenset(removed))
        return self._unkilled[name]

    def _begin(self) -> None:
        shutil.rmtree(self.place, ignore_errors=True)
        shutil.copytree(self.base, self.place)

    def _again(self, name: str) -> tuple[int, str]:
        """The command once more; one that can go on does so, if there is something to go on with."""
        line = COMMANDS[name]
        if name in _RESUMED:
            code, said = finished(*started(self.place, f"{line} --resume", self._log))
            if code == 0 or "Traceback" in said:
                return code, said
        return finished(*started(self.place, line, self._log))


def results_of(name: str, place: Path) -> dict[str, str]:
    """Name -> hash of a command's results; hashes are empty where the clock decides about them."""
    found = contents(place)
    if name not in _BY_THE_CLOCK:
        return found
    return {key: "" for key in found if not fnmatchcase(key, _OF_A_TRIAL)}


def is_cut(path: Path, place: Path) -> bool:
    """Whether a file of a final name is none that its reader reads."""
    read = READERS.get(path.suffix)
    if read is None or not path.is_file() or not is_final(path.relative_to(place)):
        return False
    try:
        read(path)
    except Exception:  # whatever readers raise on files that are cut off
        return True
    return False


def hashes(place: Path) -> set[str]:
    """Of all files, wherever they are."""
    return {
        sha256(path.read_bytes()).hexdigest()
        for path in place.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="to go on in; default: a temporary one")
    parser.add_argument("--kills", type=int, default=100, help="in all runs together")
    parser.add_argument("--minutes", type=float, default=30.0, help="at most")
    parser.add_argument("--commands", nargs="+", choices=COMMANDS, default=list(COMMANDS))
    options = parser.parse_args()
    deadline = time.monotonic() + options.minutes * 60
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        state = folder / "kills.json"
        counts: Counter[str] = Counter(json.loads(state.read_text()) if state.exists() else {})
        kills = Kills(folder, options.commands)
        while (number := counts["tried"]) < options.kills and time.monotonic() < deadline:
            try:
                why, found = kills.kill(number)
            except UnfitError as error:
                why, found = str(error), Counter({"unfit": 1})
            counts.update({"tried": 1, **found})
            state.write_text(json.dumps(counts))
            print(f"{number}: {why}", flush=True)  # noqa: T201
        shutil.rmtree(kills.place, ignore_errors=True)
    columns = ", ".join(f"{name} {counts[name]}" for name in COLUMNS)
    print(f"kills: tried {counts['tried']}, {columns}")  # noqa: T201
    return int(any(counts[name] for name in _FAILURES))


if __name__ == "__main__":
    sys.exit(main())
