"""Archives: unpacked without leaving their folder, links, nested archives, or bombs."""

from __future__ import annotations

import re
import stat
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from flexseg.errors import DataError
from flexseg.files.limits import TooLargeError
from flexseg.machine import size_text
from flexseg.serve.uploads.upload_limits import ReadLimits
from flexseg.serve.uploads.upload_names import safe_part, shown_name

_CHUNK = 1 << 20
_DEEPEST = 12
_ENCRYPTED = 1
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ARCHIVES = (
    ".zip", ".7z", ".rar", ".tar", ".tgz", ".tar.gz", ".bz2", ".xz", ".zst", ".jar", ".iso",
)  # fmt: skip
_DRIVE = re.compile("[A-Za-z]:")
_OF_SYSTEMS = ("__MACOSX", "Thumbs.db", "desktop.ini")


@dataclass(frozen=True)
class Unpacked:
    """What an archive held.

    Attributes
    ----------
    names : file -> its name in the archive.
    left_out : names of archives within it.
    """

    names: dict[Path, str]
    left_out: tuple[str, ...]


def unpack(path: Path, name: str, folder: Path, limits: ReadLimits) -> Unpacked:
    """Write the files of a zip into an empty folder, under names that are safe on every system.

    What systems hide, or add on their own, is not unpacked.

    Parameters
    ----------
    name : of the archive, for errors.

    Raises
    ------
    DataError : damaged, encrypted, or an entry leads out of the folder or is no file.
    TooLargeError : more files or bytes than allowed, or it grows too much.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            _judge(entries, name, path.stat().st_size, limits)
            return _written(archive, entries, name, folder, limits)
    except DataError:
        raise
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError) as error:
        raise DataError(
            f"The archive is damaged ({error}).", "Make it again, and send it again.", name
        ) from None


def _judge(entries: list[zipfile.ZipInfo], name: str, packed: int, limits: ReadLimits) -> None:
    """Refuse an archive by what its table of contents says."""
    if len(entries) > limits.files:
        raise TooLargeError(
            f"The archive holds {len(entries):,} files; at most {limits.files:,} are read.",
            "Send it in several parts.",
            name,
        )
    for entry in entries:
        _parts(entry.filename, name)
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if kind not in (0, stat.S_IFREG):
            raise DataError(
                f"Its entry {shown_name(entry.filename)!r} is a link or a device, not a file.",
                "Put the files themselves into the archive.",
                name,
            )
        if entry.flag_bits & _ENCRYPTED:
            raise DataError("The archive is encrypted.", "Send it without a password.", name)
        if entry.compress_type not in _METHODS:
            raise DataError(
                "The archive is compressed in an unusual way.",
                "Make it with the method Deflate, which is the usual one.",
                name,
            )
    total = sum(entry.file_size for entry in entries)
    if total > limits.unpacked_bytes:
        raise TooLargeError(
            f"The archive takes {size_text(total)} when it is unpacked; at most "
            f"{size_text(limits.unpacked_bytes)} are read.",
            "Send it in several parts.",
            name,
        )
    if total > limits.free_bytes + limits.ratio * packed:
        raise TooLargeError(
            f"The archive grows from {size_text(packed)} to {size_text(total)}; more than "
            f"{limits.ratio} times is refused, as archives do that are meant to fill disks.",
            "Send the files in smaller archives, or one by one.",
            name,
        )


def _parts(entry: str, archive: str) -> list[str]:
    """The parts of an entry's name.

    Raises
    ------
    DataError : it is absolute, leads upwards, or is too deep.
    """
    path = entry.replace("\\", "/")
    parts = path.split("/")
    if path.startswith("/") or ".." in parts or _DRIVE.match(path) or "\0" in path:
        raise DataError(
            f"Its entry {shown_name(entry)!r} has a path that leads out of the archive.",
            "Make the archive again, of a folder and with relative paths.",
            archive,
        )
    parts = [part for part in parts if part not in ("", ".")]
    if not parts or len(parts) > _DEEPEST:
        raise DataError(
            f"Its entry {shown_name(entry)!r} has no name, or lies too deep in folders.",
            f"Make the archive again, with at most {_DEEPEST} folders in one another.",
            archive,
        )
    return parts


def _written(
    archive: zipfile.ZipFile,
    entries: list[zipfile.ZipInfo],
    name: str,
    folder: Path,
    limits: ReadLimits,
) -> Unpacked:
    names: dict[Path, str] = {}
    taken: set[str] = set()
    left_out = []
    room = limits.unpacked_bytes
    for entry in entries:
        parts = _parts(entry.filename, name)
        if any(part.startswith(".") or part in _OF_SYSTEMS for part in parts):
            continue
        if parts[-1].lower().endswith(_ARCHIVES):
            left_out.append("/".join(parts))
            continue
        safe = [safe_part(part) for part in parts]
        target = folder.joinpath(*safe)
        # Letter case makes no difference on some systems.
        if (key := "/".join(safe).casefold()) in taken:
            raise DataError(
                f"Two of its entries have the name {shown_name(entry.filename)!r}.",
                "Give each file a name of its own.",
                name,
            )
        taken.add(key)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            room -= _copy(archive, entry, target, room)
        except (FileExistsError, NotADirectoryError):
            raise DataError(
                f"Its entry {shown_name(entry.filename)!r} is a file and a folder.",
                "Give each a name of its own.",
                name,
            ) from None
        if room < 0:
            raise TooLargeError(
                f"The archive takes more than {size_text(limits.unpacked_bytes)} when it is "
                "unpacked.",
                "Send it in several parts.",
                name,
            )
        names[target] = "/".join(parts)
    return Unpacked(names, tuple(left_out))


def _copy(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path, room: int) -> int:
    """Write an entry, and no more than one part beyond the room that is left; bytes written."""
    written = 0
    with archive.open(entry) as source, target.open("xb") as file:
        while written <= room and (part := source.read(_CHUNK)):
            file.write(part)
            written += len(part)
    return written
