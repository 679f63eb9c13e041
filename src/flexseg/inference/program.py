"""The one program of `infer`, `tiled-infer` and `infer3d`: predict and write file after file.

What differs, whole images, windows or volumes, is a `Job` that the program is given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from flexseg.errors import ConfigError, DataError
from flexseg.files.entries import require_file
from flexseg.inference.pipeline import writers
from flexseg.one_writer import exclusive
from flexseg.storage.mirror import present

Entry = TypeVar("Entry")
# Told of the share of a file that is done.
OnShare = Callable[[float], None]
# Told of the files that are done, shares of a file included, and of their number.
OnFile = Callable[[float, int], None]


@dataclass(frozen=True)
class Result(Generic[Entry]):
    """What became of one file.

    Attributes
    ----------
    entry : what was written of it, plain JSON types; None: nothing.
    error : why not everything was.
    """

    entry: Entry | None = None
    error: DataError | None = None


@dataclass(frozen=True)
class Task(Generic[Entry]):
    """What remains to be done for one file.

    Attributes
    ----------
    name : of the file in the results.
    work : does it; a DataError means that nothing is written.
    pixels : what waits in memory where a thread may do the work; None: it is done at once.
    """

    name: str
    work: Callable[[OnShare], Result[Entry]]
    pixels: int | None = None


@dataclass
class Outcome(Generic[Entry]):
    """What an inference did.

    Attributes
    ----------
    folders : that were written to.
    files : file name -> what was written of it: of images the pixels of each class by name, of
        volumes a description in plain JSON types.
    failed : file name -> reason why it has no (or not every) result.
    """

    folders: list[Path]
    files: dict[str, Entry] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


class Job(Protocol[Entry]):
    """Files of one kind, and what is written of each.

    Attributes
    ----------
    count : number of files.
    folders : that are written to.
    """

    @property
    def count(self) -> int: ...

    @property
    def folders(self) -> list[Path]: ...

    def prepare(self) -> None:
        """Refuse to write on inputs, and move earlier results aside."""
        ...

    def tasks(self) -> Iterator[Task[Entry]]:
        """One per file, in order, each valid until the next is asked for."""
        ...

    def finish(self, outcome: Outcome[Entry]) -> None:
        """Write what is written of all files together."""
        ...


def run(job: Job[Entry], on_file: OnFile | None = None) -> Outcome[Entry]:
    """Do a job; files that cannot be read or predicted are listed, the others are predicted.

    Raises
    ------
    InUseError : another program writes to one of its folders.
    """
    outcome: Outcome[Entry] = Outcome(job.folders)
    done = 0

    def report(share: float = 0) -> None:
        if on_file is not None:
            on_file(done + share, job.count)

    def take(name: str, result: Result[Entry]) -> None:
        nonlocal done
        if result.entry is not None:
            outcome.files[name] = result.entry
        if result.error is not None:
            outcome.failed[name] = str(result.error)
        done += 1
        report()

    with exclusive(*job.folders):
        job.prepare()
        try:
            with writers() as threads:
                for task in job.tasks():
                    if task.pixels is None:
                        take(task.name, _done(task, report))
                    else:
                        work = partial(_done, task, report)
                        threads.give(work, partial(take, task.name), task.pixels)
        finally:
            job.finish(outcome)
    return outcome


def _done(task: Task[Entry], report: OnShare) -> Result[Entry]:
    try:
        return task.work(report)
    except DataError as error:
        return Result(error=error)


def unreadable(name: str, error: DataError) -> Task[Entry]:
    """The task of a file that could not be read."""
    return Task(name, lambda _: Result(error=error))


def existing(candidates: Iterable[Path | None], section: str) -> Path:
    """The first place that is given.

    Parameters
    ----------
    section : of the config whose `images_dir` may name it.

    Raises
    ------
    ConfigError : none is given, or it does not exist.
    DataError : it is a link to nothing.
    """
    source = next((place for place in candidates if place is not None), None)
    if source is None:
        raise ConfigError(
            "There is nothing to predict.", f"Give --input PATH, or set [{section}] images_dir."
        )
    if not present(source).exists():
        if source.is_symlink():
            require_file(source)  # says where it leads
        raise ConfigError("There is no such file or folder.", "Check the path.", str(source))
    return source
