"""Copies of remote files, fetched when a command first looks at them.

A later command asks the storage for its list of files and fetches what has changed. Copies that
take more room than allowed make way, those first that were used longest ago, but none that a
running command uses.
"""

from __future__ import annotations

import logging
import os
import shutil
import threading
import unicodedata
from collections.abc import Iterable, Mapping
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import closing, suppress
from itertools import islice
from pathlib import Path

from flexseg.errors import DataError, ResourceError
from flexseg.events import ProgressEvents
from flexseg.machine import free_disk, gigabytes, size_text
from flexseg.open_files import patiently
from flexseg.processes import ProcessMark
from flexseg.storage.file_index import Copy, FileIndex
from flexseg.storage.remote_files import RemoteFile, download, files_text, listing
from flexseg.storage.urls import local_path, problem_of, root, url_of

logger = logging.getLogger(__name__)

SIZE_SETTING = "FLEXSEG_STORAGE_GB"
_LARGEST_GB = 100.0
# Files that are fetched at a time: most wait for the network.
_TOGETHER = 16
# Files that are fetched or have a thread waiting for them: so many that none is idle.
_WAITING = 1024
_INCOMING = "incoming"

lock = threading.RLock()
# What users have named, and what of it is there.
_named: set[Path] = set()
_fetched: set[Path] = set()


def named(given: str | Path) -> Path | None:
    """The path that stands for a URL, whose files are fetched once they are looked at; None: it is
    no URL, nor a path that stands for one.

    Raises
    ------
    ConfigError : see `local_path`.
    """
    path = local_path(given)
    if path is None and isinstance(given, Path) and url_of(given) is not None:
        path = given
    if path is not None:
        _named.add(path)
    return path


def any_named() -> str | None:
    """A URL that users have named; None: there is none."""
    return min((str(url_of(path)) for path in [*_named]), default=None)


def present(path: Path) -> Path:
    """Fetch the files of a URL that has been named, if a path stands for it or lies in it.

    Returns the path.

    Raises
    ------
    ConfigError : access is denied, or the package of the storage is missing.
    DataError : nothing is there, or a key cannot be the name of a file.
    ResourceError : the storage does not answer, or there is no room.
    """
    if url_of(path) is None:
        return path
    with lock:
        place = named_around(path)
        if place is not None and _fetched.isdisjoint((path, *path.parents)):
            _fetch(place, str(url_of(place)))
            _fetched.add(place)
    return path


def local_copy(place: str | Path) -> Path:
    """The path that a user of Python gives, absolute; for a URL that of its copy, which is fetched.

    Raises
    ------
    ConfigError, DataError, ResourceError : see `local_path` and `present`.
    """
    return present(named(place) or Path(place).absolute())


def look(place: Path) -> None:
    """As `present`, of a place of results: there may be none.

    Raises
    ------
    ConfigError, DataError, ResourceError : see `present`.
    """
    with lock:
        if url_of(place) is not None and _fetched.isdisjoint((place, *place.parents)):
            _fetch(place, str(url_of(place)), missing=True)
            _fetched.add(place)


def named_around(path: Path) -> Path | None:
    """The innermost place of those that users have named in which a path lies."""
    return next((place for place in (path, *path.parents) if place in _named), None)


def _fetch(place: Path, url: str, *, missing: bool = False) -> None:
    remote = listing(url)
    if not remote and not (missing or place.exists()):
        raise DataError("There is no such file or folder.", "Check the URL.", url)
    _refuse_odd_keys(remote.values())
    with closing(FileIndex(root())) as index:
        known = index.below(url)
        keep = _Unsent(index.unsent(), known)
        wanted = [
            f
            for f in remote.values()
            if not (_is_here(f, known.get(f.url)) or keep.holds(path_of(f.url)))
        ]
        with index.alone():
            index.hold(url)
            _remove_others(place, remote, index, keep)
            index.note(Copy(f.url, f.version, f.md5, f.size, None) for f in wanted)
            _make_room(url, remote, wanted, index)
            index.note_used(remote)
        if wanted:
            _fetch_all(url, wanted, len(remote), index)


def path_of(url: str) -> Path:
    """The path that stands for a URL of a listing."""
    return root().joinpath(*url.replace("://", "/", 1).split("/"))


def _is_here(file: RemoteFile, copy: Copy | None) -> bool:
    return copy is not None and copy.version == file.version and copy.is_at(path_of(file.url))


def _refuse_odd_keys(files: Iterable[RemoteFile]) -> None:
    """Refuse keys that would lead elsewhere, or be one file on some system.

    Raises
    ------
    DataError : names the key.
    """
    taken: dict[str, str] = {}
    folders: dict[str, str] = {}
    for file in files:
        scheme, _, key = file.url.partition("://")
        names = key.split("/")
        for name in names:
            if problem := problem_of(name):
                raise DataError(
                    f"A part of the object's key {problem}.",
                    "Rename the object, or name a folder without it.",
                    file.url,
                )
        plain = [unicodedata.normalize("NFC", name).casefold() for name in names]
        for depth in range(1, len(names)):
            own = f"{scheme}://{'/'.join(names[:depth])}"
            _refuse_two(folders.setdefault("/".join(plain[:depth]), own), own)
        _refuse_two(taken.setdefault("/".join(plain), file.url), file.url)
    for name in folders.keys() & taken.keys():
        raise DataError(
            "This is an object, and there are others below it: one name cannot be a file and a "
            "folder.",
            "Rename the object.",
            taken[name],
        )


def _refuse_two(first: str, second: str) -> None:
    if first != second:
        raise DataError(
            f"It differs from {first} in letter case or accents only: on many systems they are "
            "one file.",
            "Rename one of them.",
            second,
        )


class _Unsent:
    """Results that were not sent, which no copy takes the place of."""

    def __init__(self, places: Iterable[str], known: Mapping[str, Copy]) -> None:
        self._places = {path_of(url) for url in places}
        self.known = known

    def holds(self, path: Path) -> bool:
        """Whether a file is such a result."""
        if self._places.isdisjoint((path, *path.parents)) or not path.exists():
            return False
        copy = self.known.get(str(url_of(path)))
        return copy is None or not copy.is_at(path)


def _remove_others(
    place: Path, remote: Mapping[str, RemoteFile], index: FileIndex, keep: _Unsent
) -> None:
    """Remove copies of what is no longer there."""
    wanted = {os.path.normcase(path_of(url)) for url in remote}  # a `Path` takes more memory

    def is_gone(path: Path) -> bool:
        return os.path.normcase(path) not in wanted and not keep.holds(path)

    if place.is_file() and is_gone(place):
        place.unlink()
    for folder, _, names in os.walk(place, topdown=False):
        for name in names:
            if is_gone(path := Path(folder, name)):
                path.unlink()
        with suppress(OSError):  # it holds something
            Path(folder).rmdir()
    index.drop(url for url in keep.known if url not in remote)


def _make_room(
    url: str, remote: Mapping[str, RemoteFile], missing: Iterable[RemoteFile], index: FileIndex
) -> None:
    """Let copies that nobody uses make way for what is to be fetched."""
    most, held = gigabytes(SIZE_SETTING, _LARGEST_GB), index.total(held=True)
    if held > most:
        own = sum(file.size for file in remote.values())
        others = f", {size_text(held)} with all others that are in use" if held > own else ""
        raise ResourceError(
            f"The files take {size_text(own)}{others}, but the copies of remote files may take "
            f"{size_text(int(most))}.",
            f"Set the environment variable {SIZE_SETTING} to {held / 2**30:.0f} or more (GiB), or "
            "name a part of the files.",
            url,
        )
    total = index.total()
    gone = []
    for other, size in index.oldest_free():
        if total <= most:
            break
        _remove_copy(path_of(other))
        gone.append(other)
        total -= size
    index.drop(gone)
    needed, free = sum(file.size for file in missing), free_disk(root())
    if free is not None and needed > free:
        raise ResourceError(
            f"The files take {size_text(needed)}, but the disk has {size_text(free)} left.",
            "Free some space, or name a folder on another disk in the environment variable "
            "FLEXSEG_CACHE_DIR.",
            url,
        )


def _remove_copy(path: Path) -> None:
    patiently(lambda: path.unlink(missing_ok=True))
    for folder in path.parents:
        if folder == root():
            break
        try:
            folder.rmdir()
        except OSError:  # it holds more
            break


def _fetch_all(url: str, files: list[RemoteFile], count: int, index: FileIndex) -> None:
    size = sum(file.size for file in files)
    here = f"; {count - len(files)} are here" if len(files) < count else ""
    logger.info("Fetching %s: %s, %s%s.", url, files_text(len(files)), size_text(size), here)
    incoming = _incoming()
    progress, done = ProgressEvents("Fetching"), 0
    pool = ThreadPoolExecutor(min(_TOGETHER, len(files)), "fetch")
    left = enumerate(files)
    waiting: dict[Future[Copy], RemoteFile] = {}
    try:
        while True:
            for number, file in islice(left, _WAITING - len(waiting)):
                twin = _twin(file, index) if file.md5 else None
                waiting[pool.submit(_fetch_one, file, incoming / str(number), twin)] = file
            if not waiting:
                break
            ended, _ = wait(waiting, timeout=1.0, return_when=FIRST_EXCEPTION)
            copies, failure = _results(ended)
            index.note(copies)
            if failure is not None:
                raise failure
            done += sum(waiting.pop(future).size for future in ended)
            progress.tell(done, size)
    except OSError as error:
        raise ResourceError(
            f"It cannot be written ({error.strerror or error}).",
            "Check permissions and free space, or name another folder in the environment variable "
            "FLEXSEG_CACHE_DIR.",
            str(root()),
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)
        shutil.rmtree(incoming, ignore_errors=True)


def _results(ended: Iterable[Future[Copy]]) -> tuple[list[Copy], BaseException | None]:
    copies, failure = [], None
    for future in ended:
        if (error := future.exception()) is not None:
            failure = failure or error
        else:
            copies.append(future.result())
    return copies, failure


def _fetch_one(file: RemoteFile, part: Path, twin: Path | None) -> Copy:
    target = path_of(file.url)
    target.parent.mkdir(parents=True, exist_ok=True)
    if twin is not None and _copied(twin, part, file.size):
        logger.debug("%s: the same content is here already", file.url)
    else:
        download(file, part)
    # Of the file that gets the name: another process may fetch the same one.
    mtime = part.stat().st_mtime_ns
    patiently(lambda: part.replace(target))
    return Copy(file.url, file.version, file.md5, file.size, mtime)


def _twin(file: RemoteFile, index: FileIndex) -> Path | None:
    """A copy of another file with the same content."""
    twins = index.same_content(str(file.md5), file.size)
    return next((path for twin in twins if twin.is_at(path := path_of(twin.url))), None)


def _copied(source: Path, target: Path, size: int) -> bool:
    with suppress(OSError):
        shutil.copyfile(source, target)
        return target.stat().st_size == size
    return False


def _incoming() -> Path:
    """A new folder for what arrives; those of processes that are gone are removed."""
    place = root() / _INCOMING
    place.mkdir(parents=True, exist_ok=True)
    for folder in place.iterdir():
        mark = ProcessMark.parse(folder.name)
        if mark is None or mark.is_gone:
            shutil.rmtree(folder, ignore_errors=True)
    own = place / str(ProcessMark.own())
    own.mkdir(exist_ok=True)
    return own
