"""What is known of the copies of remote files: their versions, when they were used, and by whom."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from flexseg.errors import ResourceError
from flexseg.processes import ProcessMark

_FILE = "index.db"
_WAIT = 120.0
_BELOW = "(f.url = ?1 OR substr(f.url, 1, length(?1) + 1) = ?1 || '/')"
# A hold names a file, or the folder around it.
_WITHIN = """SELECT 1 FROM {} h
    WHERE f.url = h.url OR substr(f.url, 1, length(h.url) + 1) = h.url || '/'"""
_HELD = f"EXISTS ({_WITHIN.format('holds')})"
_UNSENT = f"EXISTS ({_WITHIN.format('unsent')})"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS files (
    url TEXT PRIMARY KEY, version TEXT, md5 TEXT, size INTEGER, mtime INTEGER, used REAL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS content ON files (md5);
CREATE TABLE IF NOT EXISTS holds (
    process TEXT, url TEXT, PRIMARY KEY (process, url)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS unsent (url TEXT PRIMARY KEY) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy of a remote file.

    Attributes
    ----------
    version, md5, size : of the remote file.
    mtime : of the copy, in ns; None: it is not complete.
    """

    url: str
    version: str
    md5: str | None
    size: int
    mtime: int | None

    def is_at(self, path: Path) -> bool:
        """Whether the file at a path is this copy, unchanged."""
        try:
            status = path.stat()
        except OSError:
            return False
        return (status.st_size, status.st_mtime_ns) == (self.size, self.mtime)


class FileIndex:
    """The index of a folder of copies, which several processes may open.

    Raises
    ------
    ResourceError : it cannot be opened.
    """

    def __init__(self, folder: Path) -> None:
        file = folder / _FILE
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._base = sqlite3.connect(file, timeout=_WAIT, isolation_level=None)
            self._base.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise ResourceError(
                f"The index of copies of remote files cannot be opened ({error}).",
                "Check permissions and free space; if the file is damaged, remove it: files are "
                "fetched again, but save results in the folders beside it that were not sent.",
                str(file),
            ) from None

    def close(self) -> None:
        self._base.close()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Within the block no other process changes the index; an error undoes all changes."""
        if self._base.in_transaction:
            yield
            return
        self._base.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._base.execute("ROLLBACK")
            raise
        self._base.execute("COMMIT")

    def below(self, url: str) -> dict[str, Copy]:
        """The copies of a file, or of all files in a folder."""
        rows = self._base.execute(
            f"SELECT url, version, md5, size, mtime FROM files f WHERE {_BELOW}",  # noqa: S608
            (url,),
        )
        return {row[0]: Copy(*row) for row in rows}

    def same_content(self, md5: str, size: int) -> list[Copy]:
        """Complete copies of a content."""
        rows = self._base.execute(
            "SELECT url, version, md5, size, mtime FROM files "
            "WHERE md5 = ? AND size = ? AND mtime IS NOT NULL",
            (md5, size),
        )
        return [Copy(*row) for row in rows]

    def note(self, copies: Iterable[Copy]) -> None:
        """Take copies into the index, in the place of what it says of them."""
        now = time.time()
        rows = ((c.url, c.version, c.md5, c.size, c.mtime, now) for c in copies)
        with self.alone():  # else each row would be written to the disk by itself
            self._base.executemany("REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?)", rows)

    def note_used(self, urls: Iterable[str]) -> None:
        """Say that copies were used now."""
        now = time.time()
        self._base.executemany("UPDATE files SET used = ? WHERE url = ?", ((now, u) for u in urls))

    def drop(self, urls: Iterable[str]) -> None:
        """Forget copies."""
        self._base.executemany("DELETE FROM files WHERE url = ?", ((url,) for url in urls))

    def hold(self, url: str) -> None:
        """Keep the copies of a URL as long as this process runs."""
        for (mark,) in self._base.execute("SELECT DISTINCT process FROM holds").fetchall():
            process = ProcessMark.parse(mark)
            if process is None or process.is_gone:
                self._base.execute("DELETE FROM holds WHERE process = ?", (mark,))
        self._base.execute("REPLACE INTO holds VALUES (?, ?)", (str(ProcessMark.own()), url))

    def note_unsent(self, url: str) -> None:
        """Say that there are, or will be, results at a URL that are not sent."""
        self._base.execute("REPLACE INTO unsent VALUES (?)", (url,))

    def note_sent(self, url: str) -> None:
        """Say that all results at a URL are sent."""
        self._base.execute("DELETE FROM unsent WHERE url = ?", (url,))

    def unsent(self) -> list[str]:
        """The URLs with results that are not sent, or not known to be."""
        return [row[0] for row in self._base.execute("SELECT url FROM unsent")]

    def total(self, *, held: bool = False) -> int:
        """Bytes of all copies together, or of those that running processes hold."""
        where = f" WHERE {_HELD}" if held else ""
        found = self._base.execute(f"SELECT sum(size) FROM files f{where}").fetchone()  # noqa: S608
        return found[0] or 0

    def oldest_free(self) -> Iterator[tuple[str, int]]:
        """URL and size of the copies that nobody holds, those first that were used longest ago."""
        yield from self._base.execute(
            f"SELECT url, size FROM files f WHERE NOT {_HELD} AND NOT {_UNSENT} ORDER BY used, url"  # noqa: S608
        )
