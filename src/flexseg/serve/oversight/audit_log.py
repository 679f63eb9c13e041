"""Who did what with which case, and when: lines of JSON that are only ever added.

Each line has the hash of the one before, and a second file that of the last one, so that a line
that is changed, removed or put in, also at the end, is noticed. Whoever may write both files can
forge the whole; a copy elsewhere shows that.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

from flexseg.files.json_file import parse_json
from flexseg.outputs import explain_os_errors, make_folder

LOG = "audit.jsonl"
_HEAD = "audit.head"
_FIRST = "0" * 64
_LONGEST_LINE = 1 << 16


class AuditLog:
    """The log of a server, to which several programs may add.

    Parameters
    ----------
    data : folder of the server's data.
    """

    def __init__(self, data: Path) -> None:
        self.path = data / LOG
        self._head = data / _HEAD
        self._turn = threading.Lock()

    def add(
        self, what: str, who: str | None, *, case: str | None = None, **facts: str | int | None
    ) -> None:
        """Add a line, which outlives this program as soon as this returns.

        Parameters
        ----------
        what : a verb, e.g. "upload".
        who : the name of a token; None: nobody who is known.
        facts : further ones; never names of patients or files.

        Raises
        ------
        ResourceError : it cannot be written.
        """
        make_folder(self.path.parent)
        with self._turn, explain_os_errors(self.path), self._open() as (lines, head):
            count, last = _end_of(lines, head)
            entry = {
                "n": count + 1,
                "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
                "who": who,
                "what": what,
                "case": case,
                **{key: value for key, value in facts.items() if value is not None},
                "previous": last,
            }
            line = json.dumps(entry).encode()
            lines.write(line + b"\n")
            lines.flush()
            head.seek(0)
            head.write(_head_of(count + 1, sha256(line).hexdigest()))
            head.flush()

    def lines(self) -> Iterator[dict[str, Any]]:
        """All lines that can be read, the oldest first."""
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            for line in file:
                if (entry := _parsed(line)) is not None:
                    yield entry

    def faults(self) -> list[str]:
        """Where lines were changed, removed or put in, for people; empty if nowhere."""
        found = []
        number, last = 0, _FIRST
        with self._turn:
            head = self._head.read_bytes() if self._head.exists() else b""
            content = self.path.open("rb") if self.path.exists() else None
        digests = {0: _FIRST}
        if content is not None:
            with content:
                for row, line in enumerate(content, start=1):
                    entry = _parsed(line) or {}
                    if entry.get("previous") != last or entry.get("n") != number + 1:
                        found.append(
                            f"Before or in line {row}, lines were changed, removed or put in."
                        )
                    number = entry["n"] if isinstance(entry.get("n"), int) else number + 1
                    last = sha256(line.rstrip(b"\n")).hexdigest()
                    digests[number] = last
        count, digest = _split_head(head)
        # A program that was ended between the two files leaves the second one a line behind.
        if digests.get(count) != digest or not number - count <= 1:
            found.append(f"The last line is not line {count} as it was written.")
        return found

    @contextmanager
    def _open(self) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
        """Both files, of which no other program writes within the block."""
        self._head.touch(mode=0o600)
        with self._head.open("r+b", buffering=0) as head, _locked(head):
            new = not self.path.exists()
            with self.path.open("a+b") as lines:
                if new:
                    self.path.chmod(0o600)
                yield lines, head


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        entry = parse_json(line.decode())
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None


def _end_of(lines: IO[bytes], head: IO[bytes]) -> tuple[int, str]:
    """Number and hash of the last line, which the second file lacks if a program ended between.

    What it says counts otherwise, so that the next line tells of others that were removed.
    """
    head.seek(0)
    count, digest = _split_head(head.read(_LONGEST_LINE))
    size = lines.seek(0, 2)
    lines.seek(max(0, size - _LONGEST_LINE))
    last = lines.read().rstrip(b"\n").rpartition(b"\n")[2]
    entry = _parsed(last) or {}
    if entry.get("n") == count + 1 and entry.get("previous") == digest:
        return count + 1, sha256(last).hexdigest()
    return count, digest


def _split_head(content: bytes) -> tuple[int, str]:
    count, _, digest = content.decode("ascii", "replace").strip().partition(" ")
    return (int(count), digest) if count.isdigit() and len(digest) == 64 else (0, _FIRST)


def _head_of(count: int, digest: str) -> bytes:
    """Always of the same length, so that it is replaced in place."""
    return f"{count:020d} {digest}\n".encode()


@contextmanager
def _locked(file: IO[bytes]) -> Iterator[None]:
    """Hold a file against other programs; the system gives it back if this one ends."""
    if sys.platform == "win32":
        import msvcrt

        file.seek(_LONGEST_LINE)
        msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)
        try:
            yield
        finally:
            file.seek(_LONGEST_LINE)
            msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)
        return
    import fcntl

    fcntl.flock(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)
