"""The one program of `infer`, `tiled-infer` and `infer3d`: predict and write file after file.

What differs, whole images, windows or volumes, is a `Job` that the program is given. It is done in
this process, or by workers that each open the same job.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from pydantic import TypeAdapter

from flexseg.errors import ConfigError, DataError
from flexseg.execution.mapping import Function, Workers, in_chunks, mapped
from flexseg.execution.work_manifest import Manifest, Noted, Remembered, forget
from flexseg.files.entries import require_file
from flexseg.inference.pipeline import writers
from flexseg.near_paths import check_path
from flexseg.one_writer import exclusive
from flexseg.outputs import remove_forgotten
from flexseg.storage.mirror import present

Item = TypeVar("Item")
Entry = TypeVar("Entry")
Notes = TypeVar("Notes")
# Told of the share of a file that is done.
OnShare = Callable[[float], None]
# Told of the files that are done, shares of a file included, and of their number.
OnFile = Callable[[float, int], None]


@dataclass(frozen=True)
class Result(Generic[Entry, Notes]):
    """What became of one file.

    Attributes
    ----------
    entry : what was written of it, plain JSON types; None: nothing.
    error : why not everything was.
    notes : what else is needed once all files are done.
    """

    entry: Entry | None = None
    error: DataError | None = None
    notes: Notes | None = None


@dataclass(frozen=True)
class Task(Generic[Entry, Notes]):
    """What remains to be done for one file.

    Attributes
    ----------
    name : of the file in the results.
    work : does it; a DataError means that nothing is written.
    pixels : what waits in memory where a thread may do the work; None: it is done at once.
    """

    name: str
    work: Callable[[OnShare], Result[Entry, Notes]]
    pixels: int | None = None


@dataclass
class Outcome(Generic[Entry, Notes]):
    """What an inference did.

    Attributes
    ----------
    folders : that were written to.
    files : file name -> what was written of it: of images the pixels of each class by name, of
        volumes a description in plain JSON types.
    failed : file name -> reason why it has no (or not every) result.
    notes : file name -> what the job noted of it.
    """

    folders: list[Path]
    files: dict[str, Entry] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    notes: dict[str, Notes] = field(default_factory=dict)

    def take(self, name: str, result: Result[Entry, Notes]) -> None:
        """Note what became of a file."""
        if result.entry is not None:
            self.files[name] = result.entry
        if result.notes is not None:
            self.notes[name] = result.notes
        if result.error is not None:
            self.failed[name] = str(result.error)


class Job(Protocol[Item, Entry, Notes]):
    """Files of one kind, and what is written of each.

    Attributes
    ----------
    count : number of files.
    folders : that are written to; the first has the results of all files together.
    together : successive files whose results may depend on each other.
    at_once : files that a worker is given at a time, a multiple of `together`.
    kind_of_notes : a type that pydantic knows.
    """

    @property
    def count(self) -> int: ...

    @property
    def folders(self) -> list[Path]: ...

    @property
    def together(self) -> int: ...

    @property
    def at_once(self) -> int: ...

    @property
    def kind_of_notes(self) -> type[Notes]: ...

    def prepare(self, *, goes_on: bool = False) -> None:
        """Refuse to write on inputs, and move earlier results aside.

        Parameters
        ----------
        goes_on : they are of this job, which did not come to its end, and stay.
        """
        ...

    def items(self) -> Iterable[Item]:
        """The files, in order, as `tasks` takes them; they can be pickled."""
        ...

    def name(self, item: Item) -> str:
        """Of a file in the results."""
        ...

    def sources(self, item: Item) -> Iterable[Path]:
        """What is read for a file."""
        ...

    def is_written(self, item: Item) -> bool:
        """Whether the results of a file are there."""
        ...

    def tasks(self, items: Iterable[Item]) -> Iterator[Task[Entry, Notes]]:
        """One per file, in order, each valid until the next is asked for."""
        ...

    def finish(self, outcome: Outcome[Entry, Notes]) -> None:
        """Write what is written of all files together."""
        ...


@dataclass(frozen=True)
class Spread(Generic[Item, Entry, Notes]):
    """How a job is done by several workers.

    Attributes
    ----------
    opened : gives the same job in a worker, where nobody asks for its `items`; it is pickled.
    key : see `work_manifest.key_of`.
    """

    workers: Workers
    opened: Callable[[], Job[Item, Entry, Notes]]
    key: str


def run(
    job: Job[Item, Entry, Notes],
    on_file: OnFile | None = None,
    spread: Spread[Item, Entry, Notes] | None = None,
) -> Outcome[Entry, Notes]:
    """Do a job; files that cannot be read or predicted are listed, the others are predicted.

    Parameters
    ----------
    spread : by workers; one that was interrupted goes on where it was. None: in this process.

    Raises
    ------
    InUseError : another program writes to one of its folders.
    """
    done = 0.0

    def report(share: float = 0) -> None:
        if on_file is not None:
            on_file(done + share, job.count)

    def count(files: int = 1) -> None:
        nonlocal done
        done += files
        report()

    with exclusive(*job.folders):
        if spread is not None:
            return _by_workers(job, spread, count)
        forget(job.folders[0])
        job.prepare()
        return _here(job, report, count)


def _here(
    job: Job[Item, Entry, Notes], report: OnShare, count: Callable[[], None]
) -> Outcome[Entry, Notes]:
    outcome: Outcome[Entry, Notes] = Outcome(job.folders)

    def take(name: str, result: Result[Entry, Notes]) -> None:
        outcome.take(name, result)
        count()

    try:
        _do(job.tasks(job.items()), report, take)
    finally:
        job.finish(outcome)
    return outcome


def _do(
    tasks: Iterable[Task[Entry, Notes]],
    report: OnShare,
    take: Callable[[str, Result[Entry, Notes]], None],
) -> None:
    """Do tasks, some of them by threads; `take` gets the results in their order."""
    with writers() as threads:
        for task in tasks:
            if task.pixels is None:
                take(task.name, _done(task, report))
            else:
                work = partial(_done, task, report)
                threads.give(work, partial(take, task.name), task.pixels)


def _done(task: Task[Entry, Notes], report: OnShare) -> Result[Entry, Notes]:
    try:
        return task.work(report)
    except DataError as error:
        return Result(error=error)


def _by_workers(
    job: Job[Item, Entry, Notes],
    spread: Spread[Item, Entry, Notes],
    count: Callable[[int], None],
) -> Outcome[Entry, Notes]:
    folder = job.folders[0]
    found = Manifest.of_unfinished(folder, spread.key)
    job.prepare(goes_on=found is not None)
    with found or Manifest.new(folder, spread.key) as manifest:
        try:
            _note_all(job, spread, manifest, count)
        finally:
            for written in job.folders:  # by workers that have died, or were ended in the middle
                remove_forgotten(written)
            outcome = _collected(job, manifest)
            job.finish(outcome)
    forget(folder)
    return outcome


def _note_all(
    job: Job[Item, Entry, Notes],
    spread: Spread[Item, Entry, Notes],
    manifest: Manifest,
    count: Callable[[int], None],
) -> None:
    """Have all files done that are not, and note what became of each."""
    known = Remembered(manifest, job.name, job.sources, job.is_written, count)
    notes = TypeAdapter(job.kind_of_notes)
    chunks = in_chunks(job.items(), job.together, job.at_once // job.together, known.is_done)
    for chunk, results in mapped(_Begin(spread.opened), chunks, spread.workers):
        noted = []
        for number, item, found in zip(chunk.numbers, chunk.items, results, strict=True):
            name, result = job.name(item), found
            if isinstance(result, DataError):  # of its worker, which does not know the file
                result = Result(error=DataError(result.problem, result.fix, name))
            entry = {
                "entry": result.entry,
                "notes": notes.dump_python(result.notes, mode="json") if result.notes else None,
                "failed": None if result.error is None else str(result.error),
            }
            done = result.error is None
            noted.append((number, Noted(name, known.identities.pop(number), done, entry)))
        manifest.note(noted)
        count(len(noted))
    known.tell("file")


@dataclass(frozen=True)
class _Begin(Generic[Item, Entry, Notes]):
    """What a worker begins with, see `mapping.Begin`."""

    opened: Callable[[], Job[Item, Entry, Notes]]

    def __call__(self) -> Function[Item, Result[Entry, Notes]]:
        return partial(_results, self.opened())


def _results(job: Job[Item, Entry, Notes], items: Sequence[Item]) -> Iterator[Result[Entry, Notes]]:
    results: dict[str, Result[Entry, Notes]] = {}
    _do(job.tasks(items), lambda _: None, results.__setitem__)
    return (results[job.name(item)] for item in items)


def _collected(job: Job[Item, Entry, Notes], manifest: Manifest) -> Outcome[Entry, Notes]:
    """What the manifest knows of the files, in their order."""
    outcome: Outcome[Entry, Notes] = Outcome(job.folders)
    notes = TypeAdapter(job.kind_of_notes)
    for name, one in manifest.entries():
        if one["entry"] is not None:
            outcome.files[name] = one["entry"]
        if one["notes"] is not None:
            outcome.notes[name] = notes.validate_python(one["notes"])
        if one["failed"] is not None:
            outcome.failed[name] = one["failed"]
    return outcome


def unreadable(name: str, error: DataError) -> Task[Any, Any]:
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
        raise ConfigError("There is no such file or folder.", check_path(source), str(source))
    return source
