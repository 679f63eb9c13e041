"""A file that tells all others, also on other computers, that a process writes here alone.

It is made by exclusive creation, which network file systems keep, unlike locks of the system. Its
owner writes it anew every half minute; one that has not been written for five minutes, by the clock
of the file system, or whose process is gone from this computer, is stale and may be taken over.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import platform
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path

from flexseg.errors import InUseError
from flexseg.machine import real_path
from flexseg.open_files import remove
from flexseg.processes import ProcessMark

logger = logging.getLogger(__name__)

FILE_NAME = ".flexseg.lock"
_OF_FILE = ".flexseg-lock"
_CLOCK = ".clock-"
BEAT_SECONDS = 30.0
STALE_SECONDS = 300.0
# So often, and after so many seconds, one that changes while it is looked at is looked at again.
_ATTEMPTS = 20
_WAIT = 0.05


def lock_of(place: Path) -> Path:
    """The lock of a file or a folder: in the folder, as others may see its parent elsewhere."""
    place = real_path(place)
    return place / FILE_NAME if place.is_dir() else place.with_name(f".{place.name}{_OF_FILE}")


def place_of(path: Path) -> Path:
    """What a lock is of."""
    folder = path.parent
    return folder if path.name == FILE_NAME else folder / path.name[1:].removesuffix(_OF_FILE)


def is_lock(name: str) -> bool:
    """Whether a name is that of a lock, or of what is there for a moment beside one."""
    return name.startswith((FILE_NAME, _CLOCK)) or (name.startswith(".") and _OF_FILE in name)


def _of(error: OSError, path: Path) -> OSError:
    """An error, as of a full disk, that names the file."""
    return OSError(error.errno, error.strerror, str(path))


@dataclass(frozen=True)
class Owner:
    """Who holds a lock, as its file says.

    Attributes
    ----------
    process : see `ProcessMark`; pid : its number, for people.
    since : ISO 8601 with offset.
    nonce : tells one locking from the next.
    """

    host: str
    pid: int
    process: str
    since: str
    nonce: str

    @classmethod
    def this(cls) -> Owner:
        """This process, from now on."""
        since = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
        process = ProcessMark.own()
        return cls(platform.node(), process.pid, str(process), since, uuid.uuid4().hex)

    @classmethod
    def parse(cls, content: bytes) -> Owner | None:
        """Who a file names; None where it is damaged, or not written yet."""
        try:
            known = json.loads(content)
            owner = cls(**known)
        except (ValueError, TypeError, RecursionError):
            return None
        texts = (owner.host, owner.process, owner.since, owner.nonce)
        return owner if all(isinstance(text, str) for text in texts) else None

    def as_bytes(self) -> bytes:
        """The content of the file."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @property
    def is_gone(self) -> bool:
        """Whether its process is known to run no more."""
        mark = ProcessMark.parse(self.process)
        return mark is not None and mark.is_gone


@dataclass(frozen=True)
class _Seen:
    """A lock as it was found.

    Attributes
    ----------
    content : empty where it must not be read.
    written : when, in seconds of the file system's clock.
    """

    content: bytes
    written: float

    @classmethod
    def of(cls, path: Path) -> _Seen | None:
        """What is there; None: nothing."""
        try:
            with path.open("rb") as file:
                return cls(file.read(), os.fstat(file.fileno()).st_mtime)
        except FileNotFoundError:
            return None
        except PermissionError:
            with suppress(FileNotFoundError):
                return cls(b"", path.stat().st_mtime)
            return None

    @property
    def owner(self) -> Owner | None:
        return Owner.parse(self.content)

    def age(self, folder: Path) -> float:
        """Seconds since it was written, by the clock of the file system, not of this computer."""
        try:
            with tempfile.TemporaryFile(dir=folder, prefix=_CLOCK) as clock:
                clock.write(b"?")
                clock.flush()
                return os.fstat(clock.fileno()).st_mtime - self.written
        except OSError as error:
            raise _of(error, folder) from None

    def is_stale(self, folder: Path) -> bool:
        """Whether its owner is gone or has not been heard of for long."""
        owner = self.owner
        return (owner is not None and owner.is_gone) or self.age(folder) > STALE_SECONDS

    def error(self, path: Path) -> InUseError:
        """What the second writer is told."""
        owner, age = self.owner, max(0.0, self.age(path.parent))
        who = f"process {owner.pid} on {owner.host}, since {owner.since}" if owner else "unknown"
        return InUseError(
            f"Another program is writing here ({who}; last heard of {age:.0f} s ago).",
            "Wait until it ends, stop it, or choose another folder with --set "
            "train.run_dir=FOLDER or --output FOLDER. One that has died on another computer no "
            f"longer counts {STALE_SECONDS / 60:.0f} minutes after it was last heard of.",
            str(place_of(path)),
        )


class Lock:
    """The lock of a file or a folder, held from `acquire` to `release`.

    Attributes
    ----------
    path : of the lock's file.
    thread : that holds it, which alone may ask for it again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.thread = threading.get_ident()
        self.lost = False
        self._content = Owner.this().as_bytes()
        self._heard = time.time()
        self._end = threading.Event()
        self._heart = threading.Thread(target=self._beat_until_end, daemon=True)

    def acquire(self) -> None:
        """Take the lock, or that of a process that is gone.

        Raises
        ------
        InUseError : another process, or thread, holds it.
        OSError : the place cannot be written to.
        """
        folder = self.path.parent
        for attempt in range(1, _ATTEMPTS + 1):
            if self._create(self.path):
                break
            seen = _Seen.of(self.path)
            if seen is None:
                continue
            if attempt == _ATTEMPTS or not seen.is_stale(folder):
                raise seen.error(self.path)
            if self._take_over(seen):
                logger.warning(
                    "%s: the program that was writing here has ended.", place_of(self.path)
                )
                break
            time.sleep(_WAIT)
        self._heart.start()

    def release(self) -> None:
        """Give it back, unless another process has taken it over."""
        self._end.set()
        self._heart.join(timeout=1)
        with suppress(OSError):
            if self._is_ours():
                remove(self.path)

    def confirm(self) -> None:
        """Make sure that it is still held, also after the computer was asleep.

        Raises
        ------
        InUseError : another process has taken it over.
        """
        if time.time() - self._heard > 2 * BEAT_SECONDS:
            self._beat()
        if self.lost:
            raise InUseError(
                "Another program has taken over this folder, as this one was not heard of for "
                f"{STALE_SECONDS / 60:.0f} minutes.",
                "Wait until the other one ends, then start again.",
                str(place_of(self.path)),
            )

    def _create(self, path: Path) -> bool:
        """Make a file that is not there yet; False: it is there."""
        try:
            file = path.open("xb", buffering=0)
        except FileExistsError:
            return False
        try:
            with file:
                if file.write(self._content) < len(self._content):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            remove(path)
            raise _of(error, path) from None
        # Somebody may have taken it for a stale one while it was empty.
        seen = _Seen.of(path)
        return seen is not None and seen.content == self._content

    def _take_over(self, stale: _Seen) -> bool:
        """Take the place of a stale lock; False: another process was faster, or is about to.

        Who may do so is settled by exclusive creation, too, of a file that is named after the
        content of the stale lock. While it is there, no one else replaces that lock.
        """
        digest = sha256(stale.content).hexdigest()[:8]
        claim = self.path.with_name(f"{self.path.name}-{digest}")
        if not self._create(claim):
            other = _Seen.of(claim)
            if other is not None and other.is_stale(claim.parent):
                remove(claim)  # its process ended in the middle of this
            return False
        found = _Seen.of(self.path)
        try:
            if found is not None and found.content == stale.content:
                claim.replace(self.path)
        except (FileNotFoundError, PermissionError):
            pass  # on Windows, its owner has woken up and writes it anew
        finally:
            with suppress(PermissionError):  # the next one has another name
                remove(claim)
        return self._is_ours()

    def _is_ours(self) -> bool:
        seen = _Seen.of(self.path)
        return seen is not None and seen.content == self._content

    def _beat_until_end(self) -> None:
        while not self._end.wait(BEAT_SECONDS):
            self._beat()

    def _beat(self) -> None:
        """Write the file anew, as its owner still lives."""
        try:
            self.lost = not (self._write_anew() or self._create(self.path))
        except OSError as error:  # a network that is down for a moment
            logger.debug("%s: %s", self.path, error)
            return
        self._heard = time.time()

    def _write_anew(self) -> bool:
        """Write what the file says already; False: it is gone, or of another owner."""
        # Reading and writing go to one and the same file, whoever replaces it meanwhile.
        with suppress(FileNotFoundError), self.path.open("r+b") as file:
            if file.read() == self._content:
                file.seek(0)
                file.write(self._content)
                return True
        return False


_registry = threading.Lock()
_held: dict[Path, Lock] = {}


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold a lock, unless this thread holds it already.

    Parameters
    ----------
    path : of the lock's file, absolute and without symbolic links.

    Raises
    ------
    InUseError : another process, or thread, holds it.
    OSError : the place cannot be written to.
    """
    with _registry:
        lock = _held.get(path)
        again = lock is not None and lock.thread == threading.get_ident()
        if lock is None or not again:
            lock = Lock(path)
            lock.acquire()
            _held[path] = lock
    try:
        yield
    finally:
        if not again:
            with _registry:
                if _held.get(path) is lock:
                    del _held[path]
            lock.release()


def holds_within(folder: Path) -> bool:
    """Whether this process holds the lock of a folder, or one below it."""
    place = real_path(folder)
    return any(path.is_relative_to(place) for path in [*_held])


def refuse_if_held(path: Path) -> None:
    """Refuse to touch what another process has locked.

    Raises
    ------
    InUseError : it is.
    """
    seen = None if path in _held else _Seen.of(path)
    if seen is not None and not seen.is_stale(path.parent):
        raise seen.error(path)


def confirm(path: Path) -> None:
    """Make sure that the folders around a file that this process has locked are still its own.

    Raises
    ------
    InUseError : another process has taken one of them over.
    """
    locks = [*_held.values()]
    around = real_path(path.parent) if locks else path
    for lock in locks:
        folder = lock.path.parent
        if lock.path.name == FILE_NAME and (folder == around or folder in around.parents):
            lock.confirm()
