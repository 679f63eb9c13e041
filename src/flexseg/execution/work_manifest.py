"""What of a work is done already: a file from which the same work goes on after it was interrupted.

It lies, hidden, in the folder of the results while the work is not finished. Each chunk is noted in
one transaction, so that the file is whole whenever the process or the machine ends.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from flexseg import __version__
from flexseg.config.findings import amount
from flexseg.errors import ResourceError
from flexseg.open_files import remove
from flexseg.outputs import UNFINISHED

logger = logging.getLogger(__name__)

Item = TypeVar("Item")

# Counts up where the file is written in another way than before.
_FORMAT = 1
# Names are JSON, as those of files may hold bytes that are no UTF-8.
_TABLES = """
    CREATE TABLE work (key TEXT);
    CREATE TABLE items (
        name TEXT PRIMARY KEY, number INTEGER, identity TEXT, done INTEGER, entry TEXT
    ) WITHOUT ROWID;
    CREATE INDEX numbers ON items (number);
"""


@dataclass(frozen=True)
class Noted:
    """What became of an item.

    Attributes
    ----------
    name : tells it from all others, also in another run.
    identity : of what it was made from, see `identity_of`.
    done : it need not be tried again.
    entry : of JSON types.
    """

    name: str
    identity: str
    done: bool
    entry: Any


def key_of(parts: Mapping[str, object]) -> str:
    """One text for all that results depend on beside the items: this version, and `parts`."""
    content = {"format": _FORMAT, "flexseg": __version__, **parts}
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode(errors="backslashreplace")).hexdigest()


def identity_of(paths: Iterable[Path]) -> str:
    """What changes when files do: their sizes and times; of a folder those of its files."""
    return json.dumps([part for path in paths for part in _seen(path)])


def _seen(path: Path) -> Iterator[tuple[str, int, int]]:
    try:
        found = path.stat()
        yield str(path), found.st_size, found.st_mtime_ns
        for file in sorted(path.iterdir()) if path.is_dir() else ():
            if not file.is_dir():
                yield from _seen(file)
    except OSError:  # it is gone, or may not be read
        yield str(path), -1, -1


def manifest_in(folder: Path) -> Path:
    """The manifest of a folder of results."""
    return folder / f"{UNFINISHED}.db"


def forget(folder: Path) -> None:
    """Remove the manifest of a folder, if there is one, and what was written of its work."""
    for part in folder.glob(f"{UNFINISHED}*/"):
        shutil.rmtree(part, ignore_errors=True)
    file = manifest_in(folder)
    # Its journal first: that of another database would damage the next one.
    for path in (file.with_name(f"{file.name}-journal"), file):
        with suppress(FileNotFoundError):
            remove(path)


class Manifest:
    """The items of one work by their names; a context that closes the file.

    Raises
    ------
    ResourceError : the file cannot be written.
    """

    def __init__(self, file: Path, connection: sqlite3.Connection) -> None:
        self._file = file
        self._connection = connection

    @classmethod
    def of_unfinished(cls, folder: Path, key: str) -> Manifest | None:
        """That of a work with the same key that did not come to its end; None: there is none."""
        file = manifest_in(folder)
        if not file.is_file():
            return None
        connection = sqlite3.connect(file)
        try:
            ((found,),) = connection.execute("SELECT key FROM work").fetchall()
            if found == key:
                with connection:  # those of this run get one
                    connection.execute("UPDATE items SET number = NULL")
                return cls(file, connection)
        except (sqlite3.Error, ValueError) as error:
            logger.warning("%s cannot be read (%s); all is done anew.", file, error)
        connection.close()
        return None

    @classmethod
    def opened(cls, folder: Path, key: str) -> Manifest:
        """That of a work which goes on, else an empty one."""
        return cls.of_unfinished(folder, key) or cls.new(folder, key)

    @classmethod
    def new(cls, folder: Path, key: str) -> Manifest:
        """An empty one, in the place of any other."""
        forget(folder)
        file = manifest_in(folder)
        with _explained(file):
            connection = sqlite3.connect(file)
            with connection:
                connection.executescript(_TABLES)
                connection.execute("INSERT INTO work VALUES (?)", (key,))
        return cls(file, connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._connection.close()

    def has(self, name: str, identity: str) -> bool:
        """Whether an item is done, and was made from what is there now."""
        with _explained(self._file):
            row = self._connection.execute(
                "SELECT 1 FROM items WHERE name = ? AND identity = ? AND done",
                (json.dumps(name), identity),
            ).fetchone()
        return row is not None

    def keep(self, number: int, name: str) -> None:
        """Take an item that is done over, as one of this run; `number` is its place in it."""
        with _explained(self._file):
            self._connection.execute(
                "UPDATE items SET number = ? WHERE name = ?", (number, json.dumps(name))
            )

    def note(self, items: Iterable[tuple[int, Noted]]) -> None:
        """Note what became of items, by their numbers: of all or, if the program ends, of none."""
        rows = (
            (json.dumps(one.name), number, one.identity, one.done, json.dumps(one.entry))
            for number, one in items
        )
        with _explained(self._file), self._connection:
            self._connection.executemany("REPLACE INTO items VALUES (?, ?, ?, ?, ?)", rows)

    def entries(self) -> Iterator[tuple[str, Any]]:
        """Name and entry of the items of this run, in their order."""
        with (
            _explained(self._file),
            closing(
                self._connection.execute(
                    "SELECT name, entry FROM items WHERE number IS NOT NULL ORDER BY number"
                )
            ) as rows,
        ):
            for name, entry in rows:
                yield json.loads(name), json.loads(entry)


class Remembered(Generic[Item]):
    """Which items of a work that is begun need not be done again.

    Parameters
    ----------
    name : of an item, which tells it from all others.
    sources : the files that its result is made from.
    is_written : whether the files are there that were written with the result.
    on_kept : told how many items more were done before.

    Attributes
    ----------
    kept : number of items that were done before.
    identities : of the other ones, by number, as they were when they were asked for.
    """

    def __init__(
        self,
        manifest: Manifest,
        name: Callable[[Item], str],
        sources: Callable[[Item], Iterable[Path]],
        is_written: Callable[[Item], bool],
        on_kept: Callable[[int], None],
    ) -> None:
        self._manifest = manifest
        self._name = name
        self._sources = sources
        self._is_written = is_written
        self._on_kept = on_kept
        self.kept = 0
        self.identities: dict[int, str] = {}

    def is_done(self, block: Sequence[tuple[int, Item]]) -> bool:
        """Whether all of some items, with their numbers, are done, see `mapping.in_chunks`."""
        seen = {number: identity_of(self._sources(item)) for number, item in block}
        if not all(
            self._manifest.has(self._name(item), seen[number]) and self._is_written(item)
            for number, item in block
        ):
            self.identities.update(seen)
            return False
        for number, item in block:
            self._manifest.keep(number, self._name(item))
        self.kept += len(block)
        self._on_kept(len(block))
        return True

    def tell(self, what: str) -> None:
        """Say how many were kept; `what` they are."""
        if self.kept:
            logger.info(
                "%s of an earlier run, which was interrupted, were kept.", amount(self.kept, what)
            )


@contextmanager
def _explained(file: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise ResourceError(
            f"It cannot be written ({error}).",
            "Check permissions and free space, or choose another folder with --output FOLDER.",
            str(file),
        ) from None
