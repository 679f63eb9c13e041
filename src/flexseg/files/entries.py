"""What lies in a folder: files by their names, and why one of them is none.

A name decides what is meant to be read. What has the name of an image and is a link to nothing or
a folder counts as an image that cannot be read, so that nothing is left out without a word.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from flexseg.config.findings import amount, examples
from flexseg.errors import DataError
from flexseg.files.dicom.recognition import DICOM_SUFFIXES, is_dicom
from flexseg.machine import typed
from flexseg.near_paths import check_path
from flexseg.storage.mirror import present

# Placeholders are small; of git-annex they may be as long as a path.
_MAX_PLACEHOLDER = 4096
_GIT_LFS = b"version https://git-lfs.github.com/spec/"
_ANNEX = "annex/objects/"
_NOT_FETCHED = "not fetched: `datalad get FILE` or `git annex get FILE`."
_FETCH = "Fetch it, or remove it here."


def list_files(
    folder: Path,
    suffixes: Iterable[str],
    *,
    recursive: bool = False,
    without: Iterable[Path] = (),
) -> list[Path]:
    """Entries of `folder` with one of `suffixes` in any letter case, sorted by name.

    Where those of DICOM are among them, DICOM files of other names count, see `is_dicom`.
    Hidden names (with a leading dot) are left out. An entry that is no file is among them; reading
    it, or `require_file`, tells why.

    Parameters
    ----------
    recursive : those of all folders in it as well, see `entries_below`.
    without : folders that do not count.

    Raises
    ------
    DataError : there is no such folder.
    """
    if not recursive:
        return [folder / name for name in file_names(folder, suffixes)]
    wanted, dicom = _asked(suffixes)
    below = entries_below(folder, without)
    named = [p for p in below if _is_wanted(p.parent, p.name, wanted, dicom)]
    # Where folders are gone through, one that holds something is no file by its name.
    return [p for p in named if not (p.is_dir() and any(p.iterdir()))]


def file_names(folder: Path, suffixes: Iterable[str]) -> list[str]:
    """The names of what `list_files` gives for a folder alone: a tenth of the memory of paths.

    Raises
    ------
    DataError : there is no such folder.
    """
    wanted, dicom = _asked(suffixes)
    return [name for name in visible_names(folder) if _is_wanted(folder, name, wanted, dicom)]


def _asked(suffixes: Iterable[str]) -> tuple[tuple[str, ...], bool]:
    """Suffixes in lower case, and whether those of DICOM are among them."""
    wanted = tuple(suffix.lower() for suffix in suffixes)
    return wanted, not {*wanted}.isdisjoint(DICOM_SUFFIXES)


def _is_wanted(folder: Path, name: str, wanted: tuple[str, ...], dicom: bool) -> bool:
    return name.lower().endswith(wanted) or (dicom and is_dicom(folder / name))


def without_suffix(path: Path) -> Path:
    """A path without its suffix.

    Numbers behind a point belong to the name, as in the UIDs that DICOM files are called by.
    """
    return path if path.suffix[1:].isdigit() else path.with_suffix("")


def suffix_of(name: str) -> str:
    """The suffix of a file's name, as of a path."""
    at = name.rfind(".")
    return name[at:] if 0 < at < len(name) - 1 else ""


def visible(folder: Path) -> list[Path]:
    """All entries of a folder that are not hidden (by a leading dot), sorted by name.

    Raises
    ------
    DataError : there is no such folder, or it cannot be read.
    """
    return [folder / name for name in visible_names(folder)]


def visible_names(folder: Path) -> list[str]:
    """The names of `visible`."""
    require_folder(folder)
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise _closed(folder, error) from None
    return sorted(names, key=os.path.normcase)


def folders_in(folder: Path) -> list[Path]:
    """The folders in a folder that are not hidden, sorted; of its files nothing is asked.

    Raises
    ------
    DataError : there is no such folder, or it cannot be read.
    """
    require_folder(folder)
    try:
        with os.scandir(folder) as entries:
            found = [e.name for e in entries if not e.name.startswith(".") and _is_folder(e)]
    except OSError as error:
        raise _closed(folder, error) from None
    return [folder / name for name in sorted(found, key=os.path.normcase)]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads back to itself
        return False


def folders_below(folder: Path, without: Iterable[Path] = ()) -> list[Path]:
    """The folders among `entries_below`."""
    visited = {os.path.realpath(path) for path in (folder, *without)}
    found, left = [], folders_in(folder)[::-1]
    while left:
        path = left.pop()
        if (place := os.path.realpath(path)) not in visited:
            visited.add(place)
            found.append(path)
            left += folders_in(path)[::-1]
    return sorted(found)


def entries_below(folder: Path, without: Iterable[Path] = ()) -> list[Path]:
    """The entries of a folder and of all folders in it, sorted; none that is hidden.

    Links to folders are followed, but no folder is visited twice.

    Parameters
    ----------
    without : folders that do not count.

    Raises
    ------
    DataError : there is no such folder, or one cannot be read.
    """
    visited = {os.path.realpath(path) for path in (folder, *without)}
    return sorted(_below(folder, visited))


def _below(folder: Path, visited: set[str]) -> Iterator[Path]:
    for path in visible(folder):
        if not path.is_dir():
            yield path
        elif (place := os.path.realpath(path)) not in visited:
            visited.add(place)
            yield path
            yield from _below(path, visited)


def left_out(
    folder: Path, read: Iterable[Path], *, recursive: bool = False, without: Iterable[Path] = ()
) -> list[Path]:
    """The entries of a folder that are not read, sorted.

    Parameters
    ----------
    read : what is, in the folder or below it, folders as a whole.
    recursive, without : see `list_files`.
    """
    whole = set(read)
    known = whole | {parent for path in whole for parent in path.parents}
    places = {os.path.realpath(path) for path in without}
    entries = entries_below(folder, without) if recursive else visible(folder)
    return [
        p
        for p in entries
        if p not in known and whole.isdisjoint(p.parents) and os.path.realpath(p) not in places
    ]


def without_places(entries: Iterable[Path], places: Iterable[Path]) -> list[Path]:
    """Entries that are none of some folders, and do not lead to one."""
    known = {parent for path in places for parent in (path, *path.parents)}
    real = {os.path.realpath(path) for path in places}
    return [p for p in entries if p not in known and os.path.realpath(p) not in real]


def described(folder: Path, entries: Iterable[Path]) -> str:
    """Entries of a folder counted and named, as "1 file (a.txt) and 2 folders (b/, c/)"."""
    names: dict[str, list[str]] = {"file": [], "folder": []}
    for path in entries:
        name = path.relative_to(folder).as_posix()
        names["folder" if path.is_dir() else "file"].append(name + "/" * path.is_dir())
    return " and ".join(
        f"{amount(len(own), what)} ({examples(own)})" for what, own in names.items() if own
    )


def none_here(folder: Path, what: str) -> DataError:
    """The error for a folder that has none of `what` is wanted; it says what is there instead."""
    entries = visible(folder)
    folders = [path for path in entries if path.is_dir()]
    if folders:
        found, fix = (
            f", but {described(folder, folders)}",
            f"Give one of them, e.g. {typed(folders[0])}.",
        )
    elif entries:
        found, fix = f", but {described(folder, entries)}", "Check the path."
    else:
        found, fix = ": the folder is empty", "Check the path."
    return DataError(f"There are no {what} here{found}.", fix, str(folder))


def require_folder(path: Path) -> None:
    """Refuse what is no folder.

    Raises
    ------
    DataError : there is none, or a link that leads nowhere.
    """
    if present(path).is_dir():
        return
    if path.is_symlink():
        raise _broken_link(path)
    if path.exists():
        raise DataError("This is not a folder.", "Give the name of a folder.", str(path))
    raise DataError("There is no such folder.", check_path(path), str(path))


def require_file(path: Path) -> None:
    """Refuse what is no file with content of its own, before a decoder waits for it or fails.

    Raises
    ------
    DataError : nothing is there, a link leads nowhere or in a circle, it is a folder or a device,
        or a placeholder that git-annex, DataLad or Git LFS has left.
    """
    try:
        status = present(path).stat()
    except OSError as error:
        raise _closed(path, error) from None
    if stat.S_ISDIR(status.st_mode):
        raise DataError(
            "This is a folder, but it has the name of a file.",
            "Move its files into the folder around it, or rename it.",
            str(path),
        )
    if not stat.S_ISREG(status.st_mode):
        raise DataError(
            "This is a device or a pipe, not a file.", "Remove or rename it.", str(path)
        )
    if status.st_size <= _MAX_PLACEHOLDER:
        _refuse_placeholder(path)


def _closed(path: Path, error: OSError) -> DataError:
    if path.is_symlink():
        return _broken_link(path)
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return DataError("There is no such file.", "Check the path.", str(path))
    return DataError(
        f"It cannot be opened ({error.strerror or error}).", "Check its permissions.", str(path)
    )


def _broken_link(path: Path) -> DataError:
    target = str(path.readlink())
    if _ANNEX in target.replace("\\", "/"):
        return DataError(
            f"This is a git-annex link to content that was {_NOT_FETCHED}", _FETCH, str(path)
        )
    try:
        path.stat()
    except OSError as error:
        if error.errno == errno.ELOOP:
            return DataError(
                f"This is a link to {target}, which leads back to itself.",
                "Remove it, or create it again.",
                str(path),
            )
    return DataError(
        f"This is a link to {target}, which does not exist.",
        "Copy the file there, or remove the link.",
        str(path),
    )


def _refuse_placeholder(path: Path) -> None:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _closed(path, error) from None
    if content.startswith(_GIT_LFS):
        raise DataError(
            "This is a placeholder of Git LFS for content that was not fetched: `git lfs pull`.",
            _FETCH,
            str(path),
        )
    # As text: links on systems that have none, and unlocked files.
    if _ANNEX.encode() in content and b"\0" not in content:
        raise DataError(
            f"This is a placeholder of git-annex for content that was {_NOT_FETCHED}",
            _FETCH,
            str(path),
        )
