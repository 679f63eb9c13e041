"""URLs of object storage, and the local paths that stand for them.

The copy of `s3://BUCKET/KEY` has the path `<cache>/cloud-files/s3/BUCKET/KEY`, so that each of the
two tells the other, and a path in a URL and the URL of a path are one.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from functools import cache
from pathlib import Path

from flexseg.errors import ConfigError
from flexseg.machine import real_path, user_cache

# Scheme -> package with its implementation of fsspec.
PACKAGES = {"s3": "s3fs", "gs": "gcsfs", "az": "adlfs"}
_FOLDER = "cloud-files"
# Path("s3://bucket/key") has one slash left.
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):[/\\]{1,2}(.*)", re.DOTALL)
_OTHER_SCHEMES = (
    "http", "https", "ftp", "ftps", "sftp", "ssh", "file", "gcs", "s3a", "s3n", "abfs", "abfss",
    "adl", "wasb", "wasbs", "hdfs", "webdav", "dropbox", "gdrive", "hf", "oci", "oss", "swift",
)  # fmt: skip
_LONGEST_NAME = 255
_DEVICES = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)


def local_path(given: str | Path) -> Path | None:
    """The path that stands for a URL; None for what is none.

    Raises
    ------
    ConfigError : it is a URL of another kind, or damaged.
    """
    found = _URL.fullmatch(str(given))
    if found is None:
        return None
    scheme, rest = found[1].lower(), found[2].replace("\\", "/").removesuffix("/")
    if scheme not in PACKAGES:
        if scheme in _OTHER_SCHEMES:
            raise ConfigError(
                f"{scheme}:// cannot be used here.",
                "Give a path, or a URL that begins with s3://, gs:// or az://.",
                _shown(scheme, rest),
            )
        return None
    bucket, *names = rest.split("/")
    if "@" in bucket or ":" in bucket:
        raise ConfigError(
            "The URL holds more than a bucket and a key.",
            f"Write {scheme}://BUCKET/FOLDER; credentials and the address of a server come from "
            "the environment, see docs/how-to/object-storage.md.",
            _shown(scheme, rest),
        )
    for name in (bucket, *names):
        if problem := problem_of(name):
            raise ConfigError(f"A part of the URL {problem}.", "Correct it.", _shown(scheme, rest))
    return root() / scheme / bucket / "/".join(names)


def _shown(scheme: str, rest: str) -> str:
    """A URL without what may be a password."""
    return f"{scheme}://{rest.rpartition('@')[2].partition('?')[0]}"


def problem_of(name: str, *, windows: bool = os.name == "nt") -> str | None:
    """Why a part of a key cannot be the name of a file here; None: it can.

    Parameters
    ----------
    windows : it is to be one on Windows.
    """
    if not name:
        return "is empty"
    if name in (".", ".."):
        return f"is {name!r}, which leads elsewhere"
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in name):
        return f"holds a control character ({name!r})"
    if "\\" in name:
        return f"holds a backslash ({name!r})"
    if len(name.encode(errors="surrogatepass")) > _LONGEST_NAME:
        return f"is longer than {_LONGEST_NAME} bytes"
    if windows and (
        set(name) & set('<>:"|?*') or name[-1] in ". " or _DEVICES.fullmatch(name.rstrip())
    ):
        return f"is no name on Windows ({name!r})"
    return None


def root() -> Path:
    """The folder of all copies."""
    return _real(user_cache()) / _FOLDER


@cache
def _real(path: Path) -> Path:
    return real_path(path)


def url_of(path: Path) -> str | None:
    """The URL that a path stands for; None for other paths."""
    if _FOLDER not in str(path):  # which is quick: all paths that are read are asked about
        return None
    try:
        scheme, *names = path.relative_to(root()).parts
    except ValueError:
        return None
    return f"{scheme}://{'/'.join(names)}" if scheme in PACKAGES and names else None


def noted_path(text: str) -> Path:
    """The path that a file of results names, by a URL where it stands for one."""
    with suppress(ConfigError):
        if (path := local_path(text)) is not None:
            return path
    return Path(text)


def with_urls(text: str) -> str:
    """A text in which paths of copies are replaced by what they stand for."""
    if _FOLDER not in text:
        return text
    for scheme in PACKAGES:
        place = f"{root() / scheme}{os.sep}"
        for written in (place, place.replace("\\", "\\\\")):  # as JSON has it on Windows
            text = text.replace(written, f"{scheme}://")
    return text
