"""A job of several files that needs no network, and a program that does it."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

from flexseg.errors import DataError
from flexseg.execution.local_workers import LocalWorkers
from flexseg.inference.program import OnShare, Outcome, Result, Spread, Task, run
from flexseg.outputs import write_json, write_text


@dataclass(frozen=True)
class Notes:
    """What `Numbers` notes of a file."""

    length: int


@dataclass(frozen=True)
class Numbers:
    """A job that writes the square of what stands in each file of a folder, slowly.

    Attributes
    ----------
    log : file that names each file that is worked on.
    """

    source: Path
    output: Path
    log: Path
    seconds: float = 0.0
    together: int = 2
    at_once: int = 2
    kind_of_notes: ClassVar[type[Notes]] = Notes

    @property
    def count(self) -> int:
        return len([*self.items()])

    @property
    def folders(self) -> list[Path]:
        return [self.output]

    def prepare(self, *, goes_on: bool = False) -> None:
        if not goes_on:
            for path in self.output.glob("*.txt"):
                path.unlink()

    def items(self) -> Iterable[Path]:
        return sorted(self.source.iterdir())

    def name(self, item: Path) -> str:
        return item.name

    def sources(self, item: Path) -> list[Path]:
        return [item]

    def is_written(self, item: Path) -> bool:
        return (self.output / item.name).exists()

    def tasks(self, items: Iterable[Path]) -> Iterator[Task[int, Notes]]:
        for path in items:
            yield Task(path.name, partial(self._square, path))

    def _square(self, path: Path, on_share: OnShare) -> Result[int, Notes]:
        with self.log.open("a") as log:
            log.write(f"{path.name}\n")
        time.sleep(self.seconds)
        text = path.read_text()
        if text == "deadly":
            os.kill(os.getpid(), signal.SIGKILL)
        if not text.isdigit():
            raise DataError("This is no number.", "Write one.", path.name)
        write_text(self.output / path.name, str(int(text) ** 2))
        return Result(int(text) ** 2, notes=Notes(len(text)))

    def finish(self, outcome: Outcome[int, Notes]) -> None:
        lengths = {name: notes.length for name, notes in outcome.notes.items()}
        content = {"files": outcome.files, "failed": outcome.failed, "lengths": lengths}
        write_json(self.output / "all.json", content)


def main() -> None:
    """Do the job of the command line, `SOURCE OUTPUT LOG`, by two workers."""
    job = Numbers(*map(Path, sys.argv[1:4]), seconds=0.1)
    run(job, spread=Spread(LocalWorkers(2), partial(Numbers, *astuple(job)), "key"))


if __name__ == "__main__":
    main()
