"""Writing results so that nothing of the user's is ever lost or half written."""

from __future__ import annotations

import csv
import io
import json
import logging
import math
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from functools import cache
from numbers import Real
from pathlib import Path

from flexseg import lock
from flexseg.errors import ConfigError, ResourceError
from flexseg.machine import (
    contains,
    free_disk,
    largest_file,
    real_path,
    same_place,
    size_text,
)
from flexseg.open_files import PART, UNFINISHED, patiently, remove
from flexseg.processes import ProcessMark
from flexseg.spreadsheet import as_cell
from flexseg.storage.sending import prepare
from flexseg.storage.urls import url_of, with_urls

logger = logging.getLogger(__name__)

_UNFINISHED_FOLDER = f"{UNFINISHED}."
_PART_OF = re.compile(rf"{re.escape(PART)}([0-9a-z]+-[0-9]+-[0-9a-z]+)-.*")
# What another computer has left is removed when nothing in it has changed for so many seconds.
_FORGOTTEN = 86400.0
_ATTEMPTS = 5
# Of Windows, where nobody has allowed it more; parts of it lie in folders of further letters.
_LONGEST_PATH = 259


def entries_of(folder: Path) -> list[Path]:
    """What a folder holds, without the traces of programs that write, or have written, there."""
    ours = (PART, lock.FILE_NAME, UNFINISHED)
    return [path for path in folder.iterdir() if not path.name.startswith(ours)]


def set_aside(path: Path) -> Path | None:
    """Move results that are in the way to `<name>_<timestamp>_bak`.

    Folders that this program has locked stay, empty.

    Returns the new place, or None if nothing (or an empty folder) was there.

    Raises
    ------
    InUseError : another program writes there.
    """
    path = path.absolute()
    prepare(path)
    if not path.exists() or (path.is_dir() and not entries_of(path)):
        return None
    target = _name_aside(path)
    prepare(target)
    with explain_os_errors(path):
        for other in (lock.lock_of(path), *path.glob(f"*/{lock.FILE_NAME}")):
            lock.refuse_if_held(real_path(other))
        try:
            _move(path, target)
        except FileNotFoundError:  # another program was faster
            return None
    logger.info("Earlier results were moved: %s -> %s", path, target.name)
    return target


def _move(path: Path, target: Path) -> None:
    """Move results; folders that this program has locked stay, without them."""
    if path.is_dir() and lock.holds_within(path):
        target.mkdir()
        for entry in entries_of(path):
            _move(entry, target / entry.name)
    else:
        patiently(lambda: path.rename(target))


def _name_aside(path: Path) -> Path:
    """A name beside a path that nothing has, also where the clock stands between two calls."""
    now = datetime.now()
    while os.path.lexists(target := path.with_name(f"{path.name}_{now:%Y-%m-%d_%H_%M_%S.%f}_bak")):
        now += timedelta(microseconds=1)
    return target


@contextmanager
def explain_os_errors(path: Path, size: int = 0) -> Iterator[None]:
    """Turn what the system refuses (full disk, open or protected file) into a ResourceError.

    It names the file that failed, where the system tells, else `path`; of a file within `whole` or
    `whole_folder` the place that it is to get.

    Parameters
    ----------
    size : in bytes, that the file was to get; 0 where nobody knows it.
    """
    try:
        yield
    except OSError as error:
        failed = Path(os.fsdecode(error.filename)) if _names_file(error) else path
        takes = f"; it takes {size_text(size)}" if size else ""
        length = len(str(failed))
        long = sys.platform == "win32" and length > _LONGEST_PATH
        told = (
            f" Its path has {length} characters, but Windows takes at most {_LONGEST_PATH}." * long
        )
        raise ResourceError(
            f"It cannot be written ({error.strerror or error}){takes}.{told}",
            "Close programs that have it open, check permissions and free space, or choose "
            "another folder with --set train.run_dir=FOLDER or --output FOLDER.",
            str(final_place(failed)),
        ) from None


def final_place(path: Path) -> Path:
    """The place that a file within `whole` or `whole_folder` is to get; of others their own."""
    folders = [
        part.removeprefix(_UNFINISHED_FOLDER)
        for part in path.parts[:-1]
        if not part.startswith(PART)
    ]
    return Path(*folders, path.name.removeprefix(PART))


def _names_file(error: OSError) -> bool:
    return isinstance(error.filename, str | bytes | os.PathLike)


@contextmanager
def whole(path: Path, size: int = 0) -> Iterator[Path]:
    """Write a file whole or not at all: an error leaves an earlier file as it was.

    Gives the path to write to, of the same name in a hidden folder next to `path`. When the block
    ends without an error it takes the place of `path`; other files written next to it (the voxels
    of an .mhd file) take theirs before. Of several threads or programs that write the same file the
    last one wins.

    Parameters
    ----------
    size : about how many bytes it takes, which an error tells; 0 where nobody knows.

    Raises
    ------
    InUseError : another program has taken over a folder that this one had for itself.
    ResourceError : the system refuses.
    """
    with scratch_folder(path) as folder, explain_os_errors(path, size):
        part = folder / path.name
        yield part
        lock.confirm(path)
        for file in [*(f for f in folder.iterdir() if f != part), part]:
            move(file, path.with_name(file.name))


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Fill a folder whole or not at all; results that are in the way move aside at the end.

    Gives a new folder to write to, which takes the place of `path` when the block ends without
    an error. Of several programs that fill the same folder the last one wins.

    Raises
    ------
    InUseError : another program writes to `path`, or has taken over a folder around it.
    ResourceError : the system refuses.
    """
    make_folder(path.parent)
    with scratch_folder(path) as folder:
        part = folder / path.name
        with explain_os_errors(path):
            part.mkdir()
        yield part
        _take_place(part, path)


@contextmanager
def continued_folder(path: Path) -> Iterator[Path]:
    """`whole_folder` that keeps what was written, hidden, when the block ends with an error.

    The next one for the same path gives that folder again, with what is in it.
    """
    part = make_folder(path.with_name(f"{_UNFINISHED_FOLDER}{path.name}"))
    yield part
    remove_forgotten(part)  # what killed workers had begun to write
    _take_place(part, path)


def _take_place(part: Path, path: Path) -> None:
    """Give a folder its name; results that are in the way move aside."""
    lock.confirm(path)
    with explain_os_errors(path):
        for attempt in range(1, _ATTEMPTS + 1):
            _vacate(path)
            try:
                return move(part, path)
            except OSError:
                if attempt == _ATTEMPTS or not path.exists():
                    raise  # else another program was faster: its results move aside


def link_or_copy(source: Path, target: Path) -> None:
    """Give a file a second name, which takes no room where the file system can do so; else copy it.

    Raises
    ------
    FileNotFoundError : the source is gone.
    FileExistsError : there is something at the target.
    OSError : it cannot be copied either.
    """
    try:
        target.hardlink_to(source)
    except (FileNotFoundError, FileExistsError):
        raise
    except OSError:  # file systems without links, or another one
        with whole(target) as part:
            shutil.copyfile(source, part)


def _vacate(path: Path) -> None:
    """Move results aside, and remove a folder that holds only traces of programs that are gone."""
    set_aside(path)
    with suppress(FileNotFoundError):
        own_lock = lock.lock_of(path)
        lock.refuse_if_held(own_lock)
        remove(own_lock)
        _remove_forgotten(path)
        path.rmdir()


@contextmanager
def scratch_folder(path: Path) -> Iterator[Path]:
    """A hidden folder next to `path`, removed at the end; those of dead programs are removed, too.

    Raises
    ------
    ResourceError : it cannot be made.
    """
    prepare(path)
    with explain_os_errors(path):
        try:
            _remove_forgotten_once(path.parent)
            mark = f"{PART}{ProcessMark.own()}-"
            folder = Path(tempfile.mkdtemp(prefix=mark, dir=path.parent))
        except OSError as error:
            raise OSError(error.errno, error.strerror) from None  # the name means nothing to users
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@cache  # it may hold many files
def _remove_forgotten_once(place: Path) -> None:
    _remove_forgotten(place)


def _remove_forgotten(place: Path) -> None:
    """Remove what programs that were killed have left in a folder."""
    for entry in os.scandir(place):
        found = _PART_OF.fullmatch(entry.name)
        mark = ProcessMark.parse(found[1]) if found else None
        if mark is not None and (mark.is_gone or _is_forgotten(Path(entry.path))):
            shutil.rmtree(entry.path, ignore_errors=True)


def remove_forgotten(folder: Path) -> None:
    """Remove what programs of this machine that were killed have left, in all folders below too."""
    _remove_forgotten(folder)
    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False) and not entry.name.startswith(PART):
            remove_forgotten(Path(entry.path))


def _is_forgotten(folder: Path) -> bool:
    with suppress(OSError):
        newest = max(path.stat().st_mtime for path in (folder, *folder.rglob("*")))
        return time.time() - newest > _FORGOTTEN
    return False


def move(part: Path, path: Path) -> None:
    """Give a file its name, in the place of another one, or a folder where none is."""
    patiently(lambda: part.replace(path))


def require_room(path: Path, size: int, together: int) -> None:
    """Refuse work whose files the disk has no room for, before it begins.

    Parameters
    ----------
    path : of the largest file.
    size : of it in bytes.
    together : of all files in bytes that lie there at one time.

    Raises
    ------
    ResourceError : there is less room, or no file may become so large.
    """
    most, free = largest_file(), free_disk(path)
    if most is not None and size > most:
        raise ResourceError(
            f"This file takes about {size_text(size)}, but no file may be larger than "
            f"{size_text(most)} here.",
            "Raise the limit (`ulimit -f`), or use a smaller network.",
            str(path),
        )
    if free is not None and together > free:
        raise ResourceError(
            f"This file and those beside it take about {size_text(together)} on the disk, which "
            f"has {size_text(free)} left.",
            "Free some space, choose another folder with --set train.run_dir=FOLDER, or use a "
            "smaller network.",
            str(path),
        )


def make_folder(path: Path) -> Path:
    """Create an output folder.

    Raises
    ------
    ResourceError : the place cannot be written to.
    """
    prepare(path, only_named=True)
    if path.is_file():
        raise ResourceError(
            "This is a file, not a folder.", "Give the name of a folder.", str(path)
        )
    with explain_os_errors(path):
        path.mkdir(parents=True, exist_ok=True)
        if not os.access(path, os.W_OK):
            raise PermissionError(13, "no permission to write")
    return path


def try_outputs(
    files: Iterable[tuple[str, Path]] = (), folders: Iterable[tuple[str, Path]] = ()
) -> None:
    """Try whether files and folders can be written, before the work that fills them.

    Nothing of it stays, and folders that are missing are not made.

    Parameters
    ----------
    files, folders : each with the key or option that names it.

    Raises
    ------
    ConfigError : a file is to be where a folder is or the other way round, or two files are to
        have one place.
    ResourceError : the system refuses.
    """
    taken: dict[Path, str] = {}
    for key, path in files:
        if path.is_dir():
            raise ConfigError(
                f"{path} is a folder, but a file is to be written there.",
                "Name the file, or move the folder away.",
                key,
            )
        other = taken.setdefault(path.absolute(), key)
        if other != key:
            raise ConfigError(
                f"{path} would also be the file of {other}.", "Give each a name of its own.", key
            )
        _try_file(path.absolute(), key)
    for key, path in folders:
        _try_file(path.absolute() / "file", key)


def _try_file(path: Path, key: str) -> None:
    """Write an empty file of the same name, in a temporary folder on the way to its place."""
    if url_of(path) is not None:
        return prepare(path)
    there = next(folder for folder in path.parents if os.path.lexists(folder))
    if not there.is_dir():
        raise ConfigError(
            f"{there} is a file, but a folder is needed there.",
            "Name another folder, or move the file away.",
            key,
        )
    with explain_os_errors(path), scratch_folder(there / path.name) as trial:
        target = trial / path.relative_to(there)
        target.parent.mkdir(parents=True, exist_ok=True)
        with whole(target) as part:
            part.touch()


def refuse_within(output: Path, folders: Iterable[Path]) -> None:
    """Refuse an output folder that lies in one of some folders that are read.

    Results among inputs would be taken for inputs by whoever reads the folder next.

    Raises
    ------
    ConfigError : it does, or is one of them.
    """
    for folder in folders:
        if contains(folder, output):
            raise ConfigError(
                f"The output folder {real_path(output)} is inside {real_path(folder)}, which is "
                "read.",
                "Choose an output folder of its own.",
                "--output",
            )


def refuse_overlap(outputs: dict[str, Path], inputs: Iterable[Path | None]) -> None:
    """Refuse output folders that are, or contain, something that is read.

    Raises
    ------
    ConfigError : names the key and what it would move aside.
    """
    sources = [path for path in inputs if path is not None]
    for key, output in outputs.items():
        for source in sources:
            if contains(output, source):
                raise ConfigError(
                    f"The output folder {real_path(output)} contains the input "
                    f"{real_path(source)}.",
                    "Choose a separate output folder.",
                    key,
                )


def refuse_input(key: str, output: Path, inputs: Iterable[Path | None]) -> None:
    """Refuse to write files into a folder that is read itself.

    Raises
    ------
    ConfigError : names the key.
    """
    if any(same_place(output, path) for path in inputs if path is not None):
        raise ConfigError(
            f"The output folder {output} is also an input.", "Choose a folder of its own.", key
        )


def write_text(path: Path, text: str, newline: str = "\n") -> None:
    """Write a UTF-8 text file, whole or not at all.

    Bytes of file names that are no UTF-8 are written out, as JSON escapes them (`\\udcff`). Paths
    of copies are written as the URLs that they stand for, which other machines know too.
    """
    with whole(path) as part:
        part.write_text(
            with_urls(text), encoding="utf-8", errors="backslashreplace", newline=newline
        )


def write_json(path: Path, content: object) -> None:
    """Write indented JSON; NaN and infinity, which JSON lacks, become null."""
    write_text(path, json.dumps(_jsonable(content), indent=2, ensure_ascii=False) + "\n")


def _jsonable(value: object) -> object:
    if isinstance(value, dict):
        return {str(k): _jsonable(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "item"):
        return _jsonable(value.item())
    return value


def _is_missing(value: object) -> bool:
    return value is None or (isinstance(value, Real) and math.isnan(value))


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a comma-separated table; None and NaN become empty cells.

    Texts that a spreadsheet would execute are marked as text, see `flexseg.spreadsheet.of_cell`.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([as_cell(name) for name in header])
    for row in rows:
        writer.writerow(["" if _is_missing(v) else as_cell(v) for v in row])
    write_text(path, buffer.getvalue())
