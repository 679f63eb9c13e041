"""Writing results so that nothing of the user's is ever lost or half written."""

from __future__ import annotations

import csv
import io
import json
import logging
import math
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from numbers import Real
from pathlib import Path

from flexseg.errors import ConfigError, ResourceError
from flexseg.spreadsheet import as_cell

logger = logging.getLogger(__name__)

_PART = ".part-"
_ATTEMPTS = 5


def set_aside(path: Path) -> Path | None:
    """Move results that are in the way to `<name>_<timestamp>_bak`.

    Returns the new place, or None if nothing (or an empty folder) was there.
    """
    path = path.absolute()
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return None
    stamp = str(datetime.now()).replace(":", "_").replace(" ", "_")
    target = path.with_name(f"{path.name}_{stamp}_bak")
    with explain_os_errors(path):
        path.rename(target)
    logger.info("Earlier results moved: %s -> %s", path, target.name)
    return target


def set_own_aside(path: Path, marker: str) -> Path | None:
    """`set_aside` for a folder that flexseg made, which the file `marker` in it tells.

    Raises
    ------
    ConfigError : the folder holds something else.
    """
    if path.exists() and not (path / marker).exists() and (path.is_file() or any(path.iterdir())):
        raise ConfigError(
            "This place holds other files.",
            "Name a new or empty folder with --output.",
            str(path),
        )
    return set_aside(path)


@contextmanager
def explain_os_errors(path: Path) -> Iterator[None]:
    """Turn what the system refuses (full disk, open or protected file) into a ResourceError.

    It names the file that failed, where the system tells, else `path`; of a file within `whole` or
    `whole_folder` the place that it is to get.
    """
    try:
        yield
    except OSError as error:
        failed = Path(os.fsdecode(error.filename)) if _names_file(error) else path
        raise ResourceError(
            f"It cannot be written ({error.strerror or error}).",
            "Close programs that have it open, check permissions and free space, or choose "
            "another folder with --set train.run_dir=FOLDER or --output FOLDER.",
            str(final_place(failed)),
        ) from None


def final_place(path: Path) -> Path:
    """The place that a file within `whole` or `whole_folder` is to get; of others their own."""
    folders = [part for part in path.parts[:-1] if not part.startswith(_PART)]
    return Path(*folders, path.name.removeprefix(_PART))


def _names_file(error: OSError) -> bool:
    return isinstance(error.filename, str | bytes | os.PathLike)


@contextmanager
def whole(path: Path, *, concurrent: bool = False) -> Iterator[Path]:
    """Write a file whole or not at all: an error leaves an earlier file as it was.

    Gives the path to write to, of the same name in a hidden folder next to `path`. When the block
    ends without an error it takes the place of `path`; other files written next to it (the voxels
    of an .mhd file) take theirs before.

    Parameters
    ----------
    concurrent : other threads or processes may write the same file; the last one wins.

    Raises
    ------
    ResourceError : the system refuses.
    """
    with _hidden_folder(path, unique=concurrent) as folder, explain_os_errors(path):
        part = folder / path.name
        yield part
        for file in [*(f for f in folder.iterdir() if f != part), part]:
            _replace(file, path.with_name(file.name))


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Fill a folder whole or not at all; results that are in the way move aside at the end.

    Gives a new folder to write to, which takes the place of `path` when the block ends without
    an error.

    Raises
    ------
    ResourceError : the system refuses.
    """
    make_folder(path.parent)
    with _hidden_folder(path) as folder:
        part = folder / path.name
        with explain_os_errors(path):
            part.mkdir()
        yield part
        set_aside(path)
        with explain_os_errors(path):
            if path.exists():
                path.rmdir()  # it is empty: `set_aside` leaves such folders
            _replace(part, path)


@contextmanager
def _hidden_folder(path: Path, *, unique: bool = False) -> Iterator[Path]:
    """A folder on the same disk as `path`, removed at the end.

    Its name is the same for one path, unless it must be unique, so that the next program removes
    what one that was killed has left.
    """
    with explain_os_errors(path):
        if unique:
            folder = Path(tempfile.mkdtemp(prefix=f"{_PART}{path.name}-", dir=path.parent))
        else:
            folder = path.with_name(f"{_PART}{path.name}")
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _replace(part: Path, path: Path) -> None:
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            part.replace(path)
            return
        except PermissionError:  # Windows, while another program has one of the files open
            if attempt == _ATTEMPTS:
                raise
            time.sleep(0.02 * attempt)


def make_folder(path: Path) -> Path:
    """Create an output folder.

    Raises
    ------
    ResourceError : the place cannot be written to.
    """
    if path.is_file():
        raise ResourceError("This is a file.", "Give the name of a folder.", str(path))
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
                f"{path} is a folder, and a file is to be written there.",
                "Name the file, or move the folder away.",
                key,
            )
        other = taken.setdefault(path.absolute(), key)
        if other != key:
            raise ConfigError(
                f"{path} is to be the file of {other} too.", "Give each a name of its own.", key
            )
        _try_file(path.absolute(), key)
    for key, path in folders:
        _try_file(path.absolute() / "file", key)


def _try_file(path: Path, key: str) -> None:
    """Write an empty file of the same name, in a temporary folder on the way to its place."""
    there = next(folder for folder in path.parents if os.path.lexists(folder))
    if not there.is_dir():
        raise ConfigError(
            f"{there} is a file, and a folder is to be there.",
            "Name another folder, or move the file away.",
            key,
        )
    with explain_os_errors(path):
        trial = Path(tempfile.mkdtemp(prefix=_PART, dir=there))
        try:
            target = trial / path.relative_to(there)
            target.parent.mkdir(parents=True, exist_ok=True)
            with whole(target) as part:
                part.touch()
        finally:
            shutil.rmtree(trial, ignore_errors=True)


def refuse_overlap(outputs: dict[str, Path], inputs: Iterable[Path | None]) -> None:
    """Refuse output folders that are, or contain, something that is read.

    Raises
    ------
    ConfigError : names the key and what it would move aside.
    """
    sources = [p.resolve() for p in inputs if p is not None]
    for key, output in outputs.items():
        target = output.resolve()
        for source in sources:
            if source == target or target in source.parents:
                raise ConfigError(
                    f"The output folder {target} contains the input {source}.",
                    "Choose a separate output folder.",
                    key,
                )


def write_text(path: Path, text: str, newline: str = "\n") -> None:
    """Write a UTF-8 text file, whole or not at all."""
    with whole(path) as part:
        part.write_text(text, encoding="utf-8", newline=newline)


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
