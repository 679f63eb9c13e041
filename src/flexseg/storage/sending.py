"""Results for object storage: written beside the copies, sent while a command runs and at its end.

What is there already is fetched before anything is written, so that earlier results move aside, and
commands continue, as in a local folder. An object that has changed meanwhile is copied aside before
another one takes its place. What could not be sent stays, and is sent by the next command that
writes there.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from pathlib import Path

from flexseg.errors import ConfigError, FlexsegError, ResourceError
from flexseg.lock import is_lock
from flexseg.machine import size_text
from flexseg.open_files import PART, UNFINISHED
from flexseg.processes import ProcessMark
from flexseg.storage import mirror
from flexseg.storage.file_index import Copy, FileIndex
from flexseg.storage.remote_files import copy, files_text, find, remove, upload
from flexseg.storage.urls import root, url_of

logger = logging.getLogger(__name__)

# Of a process whose children write results that it sends.
SENDER = "FLEXSEG_SENDER"
SECONDS_BETWEEN = 30.0
_TOGETHER = 8
_JOURNALS = ("-journal", "-wal", "-shm")
# What may keep results from being sent: the index, too, needs room on the disk.
_FAILURES = (FlexsegError, OSError, sqlite3.Error)
# A file that was changed so many seconds ago is written to no more, as far as one can see.
_SETTLED = 1.0


class _Sender:
    """What sends the results of this process.

    Attributes
    ----------
    places : folders and files that are sent, as they are named or made.
    """

    def __init__(self) -> None:
        self.places: list[Path] = []
        self._stamp = f"{datetime.now():%Y-%m-%d_%H_%M_%S.%f}"
        self._sending = threading.Lock()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._send_now_and_then, daemon=True)

    def add(self, place: Path) -> None:
        """Send a place from now on."""
        self.places.append(place)
        if len(self.places) == 1:
            self._thread.start()

    def finish(self) -> None:
        """Send what has not been sent, and remove what has moved aside.

        Raises
        ------
        ConfigError, ResourceError : it cannot be sent.
        """
        self._end.set()
        with self._sending, closing(FileIndex(root())) as index:
            self._send(index, settled=True)
            for place in self.places:
                _remove_moved(place, index)
                index.note_sent(str(url_of(place)))

    def _send_now_and_then(self) -> None:
        while not self._end.wait(SECONDS_BETWEEN):
            with self._sending:
                try:
                    with closing(FileIndex(root())) as index:
                        self._send(index, settled=False)
                except _FAILURES as error:
                    logger.warning("Results are not sent yet: %s", error)

    def _send(self, index: FileIndex, *, settled: bool) -> None:
        # What has moved aside is there before its place is taken.
        for place in sorted(self.places, key=lambda place: not place.name.endswith("_bak")):
            self._send_place(place, index, settled=settled)

    def _send_place(self, place: Path, index: FileIndex, *, settled: bool) -> None:
        known = index.below(str(url_of(place)))
        changed = [
            path
            for path in _files(place)
            if not ((seen := known.get(str(url_of(path)))) and seen.is_at(path))
            and (settled or _is_settled(path))
        ]
        if not changed:
            return
        sent: list[Copy] = []
        with ThreadPoolExecutor(min(_TOGETHER, len(changed)), "send") as pool:
            tasks = [pool.submit(self._send_one, place, path, known) for path in changed]
            try:
                for task in as_completed(tasks):
                    if (one := task.result()) is not None:
                        sent.append(one)
            finally:
                pool.shutdown(cancel_futures=True)
                index.note(sent)
        size = size_text(sum(one.size for one in sent))
        logger.info("Sent to %s: %s, %s.", url_of(place), files_text(len(sent)), size)

    def _send_one(self, place: Path, path: Path, known: dict[str, Copy]) -> Copy | None:
        """Send a file; None: it is gone."""
        url, before = str(url_of(path)), None
        with suppress(FileNotFoundError):
            before = path.stat()
        if before is None:
            return None
        there, seen = find(url), known.get(url)
        if there is not None and (seen is None or there.version != seen.version):
            aside = place.with_name(f"{place.name}_{self._stamp}_bak") / path.relative_to(place)
            logger.warning(
                "%s was changed by others meanwhile; that is now %s.", url, url_of(aside)
            )
            copy(url, str(url_of(aside)))
        try:
            sent = upload(path, url)
        except FlexsegError:
            if path.exists():
                raise
            return None
        return Copy(url, sent.version, sent.md5, before.st_size, before.st_mtime_ns)


def _files(place: Path) -> Iterator[Path]:
    """The files of results; none that are being written."""
    if place.is_file():
        yield place
    for folder, folders, names in os.walk(place):
        folders[:] = [name for name in folders if not name.startswith(PART)]
        for name in names:
            if not (is_lock(name) or name.startswith(PART) or name.endswith(_JOURNALS)):
                yield Path(folder, name)


def _is_settled(path: Path) -> bool:
    """Whether a file can be sent while others are written.

    One that tells what is done already would name files that are not sent yet.
    """
    if path.name.startswith(UNFINISHED):
        return False
    with suppress(OSError):
        return datetime.now().timestamp() - path.stat().st_mtime > _SETTLED
    return False


def _remove_moved(place: Path, index: FileIndex) -> None:
    """Remove the objects of what was fetched or sent, and is no longer here: it has moved aside.

    Nothing is removed where the whole place is gone: somebody may have deleted the copies.
    """
    if not place.exists():
        return
    for url, seen in index.below(str(url_of(place))).items():
        if not mirror.path_of(url).exists():
            there = find(url)
            if there is not None and there.version == seen.version:
                remove(url)
            index.drop([url])


_sender: _Sender | None = None


@contextmanager
def sending() -> Iterator[None]:
    """Within the block results can be written to URLs; at its end all are sent.

    Processes that are started within it write to the same places, and this one sends.

    Raises
    ------
    ResourceError : they cannot be sent; says where they are.
    """
    global _sender  # noqa: PLW0603 - of the command that runs
    above = ProcessMark.parse(os.environ.get(SENDER, ""))
    if _sender is not None or (above is not None and not above.is_gone):
        yield
        return
    sender = _sender = _Sender()
    os.environ[SENDER] = str(ProcessMark.own())
    failed = True
    try:
        yield
        failed = False
    finally:
        try:
            if sender.places:
                _finish(sender, failed=failed)
        finally:
            _sender = None
            del os.environ[SENDER]


def _finish(sender: _Sender, *, failed: bool) -> None:
    try:
        sender.finish()
    except (*_FAILURES, KeyboardInterrupt) as error:
        problem = error.problem if isinstance(error, FlexsegError) else str(error) or "Interrupted."
        told = ResourceError(
            f"The results were not sent: {problem}",
            f"They are in {_shown(sender.places[0])}, and are sent when the command is started "
            "again, with --resume if it takes that.",
            str(url_of(sender.places[0])),
        )
        if not failed:
            raise told from None
        logger.error("%s", told)


def _shown(path: Path) -> str:
    """A path that is not shown as the URL that it stands for."""
    return f"{root()}{os.sep}.{os.sep}{path.relative_to(root())}"


def prepare(path: Path, *, only_named: bool = False) -> None:
    """See to it that what is written to a path is sent, if it stands for a URL.

    What is there is fetched: all of the folder around the path that users have named.

    Parameters
    ----------
    only_named : a path that lies in none of these is not sent.

    Raises
    ------
    ConfigError : this process sends no results.
    """
    if (url := url_of(path)) is None:
        return
    with mirror.lock:
        named = mirror.named_around(path)
        if named is None and only_named:
            return
        if _sender is not None:
            _begin(named or path, _sender)
        elif SENDER not in os.environ:  # else the process that has started this one sends
            raise ConfigError(
                "Results can be written to a URL by commands only.",
                "Write to a local folder, or within `flexseg.storage.sending.sending()`.",
                url,
            )
    path.parent.mkdir(parents=True, exist_ok=True)  # object storage has no folders


def _begin(place: Path, sender: _Sender) -> None:
    if any(place == own or own in place.parents for own in sender.places):
        return
    mirror.look(place)
    with closing(FileIndex(root())) as index:
        index.note_unsent(str(url_of(place)))
    sender.add(place)
