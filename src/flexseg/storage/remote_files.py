"""Files of object storage, by the implementations of fsspec: listed, fetched, sent.

Interrupted transfers are repeated; what arrives has the length, and where the storage tells it the
checksum, that the listing says.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import random
import re
import time
from binascii import Error as Base64Error
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from json import JSONDecodeError
from pathlib import Path
from typing import Any, TypeVar

from flexseg.errors import ConfigError, FlexsegError, ResourceError
from flexseg.machine import pip_install, size_text
from flexseg.storage.urls import PACKAGES

T = TypeVar("T")
logger = logging.getLogger(__name__)

ATTEMPTS = 4
FIRST_WAIT = 0.5
_MD5 = re.compile(r'"?([0-9a-fA-F]{32})"?')
# What tells one version of an object from the next, in the words of all implementations.
_VERSIONS = (
    "ETag",
    "etag",
    "generation",
    "md5Hash",
    "mtime",
    "LastModified",
    "last_modified",
    "created",
)
# Errors of the packages that no second attempt cures.
_NO_CREDENTIALS = (
    "NoCredentialsError", "PartialCredentialsError", "ProfileNotFound", "TokenRetrievalError",
    "UnauthorizedSSOTokenError", "SSOTokenLoadError", "NoAuthTokenError",
    "DefaultCredentialsError", "RefreshError", "ClientAuthenticationError",
)  # fmt: skip
# Signatures of requests.
_QUERY = re.compile(r"\?\S*")


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """An object.

    Attributes
    ----------
    size : in bytes.
    version : another one once the object is replaced.
    md5 : of its content, hex; None where the storage does not tell. That of S3 is none where keys
        of the bucket's owner encrypt it.
    """

    url: str
    size: int
    version: str
    md5: str | None


def files_text(number: int) -> str:
    """A number of files for people."""
    return f"{number:,} file{'s' * (number != 1)}"


def listing(url: str) -> dict[str, RemoteFile]:
    """All objects below a URL, or the one that it names; by their URLs, sorted.

    Raises
    ------
    ConfigError : the package of the storage is missing, or access is denied.
    ResourceError : the storage does not answer.
    """
    system = _system(url)
    scheme, _, path = url.partition("://")

    def find() -> dict[str, Any]:
        system.invalidate_cache()
        with suppress(FileNotFoundError):
            return system.find(path, detail=True)
        return {}

    found, told = {}, _patiently(find, url)
    for key in sorted(told):
        # What the package tells of an object takes more memory than what is kept of it.
        info, name = told.pop(key), key.lstrip("/")
        if info.get("type") == "directory" or (name.endswith("/") and not info.get("size")):
            continue  # what browsers of buckets leave for a folder
        found[f"{scheme}://{name}"] = _remote_file(f"{scheme}://{name}", info)
    return found


def download(file: RemoteFile, target: Path) -> None:
    """Fetch an object.

    Raises
    ------
    ConfigError : access is denied, or it is gone.
    ResourceError : the storage does not answer, or what arrives is not what is listed.
    """
    system = _system(file.url)
    last: list[str] = []

    def get() -> None:
        system.get_file(file.url.partition("://")[2], str(target))
        if (size := target.stat().st_size) != file.size:
            raise _DamagedError(f"{size_text(size)} arrived of {size_text(file.size)}")
        if file.md5 is None:
            return
        with target.open("rb") as content:
            digest = hashlib.file_digest(
                content, lambda: hashlib.md5(usedforsecurity=False)
            ).hexdigest()
        # A tag that is no checksum, as of encrypted objects, differs from the same content twice.
        if digest != file.md5 and digest not in last:
            last.append(digest)
            raise _DamagedError("its checksum is not the one that the storage tells")

    _patiently(get, file.url)


def upload(source: Path, url: str) -> RemoteFile:
    """Write an object, in the place of an earlier one.

    Raises
    ------
    ConfigError, ResourceError : see `download`.
    """
    system = _system(url)
    path = url.partition("://")[2]

    def put() -> RemoteFile:
        system.put_file(str(source), path)
        system.invalidate_cache()
        sent = _remote_file(url, system.info(path))
        if sent.size != (size := source.stat().st_size):
            raise _DamagedError(f"{size_text(sent.size)} arrived of {size_text(size)}")
        return sent

    return _patiently(put, url)


def find(url: str) -> RemoteFile | None:
    """What is known of an object; None: there is none.

    Raises
    ------
    ConfigError, ResourceError : see `listing`.
    """
    system = _system(url)

    def ask() -> RemoteFile | None:
        system.invalidate_cache()
        with suppress(FileNotFoundError):
            info = system.info(url.partition("://")[2])
            return None if info.get("type") == "directory" else _remote_file(url, info)
        return None

    return _patiently(ask, url)


def copy(source: str, target: str) -> None:
    """Copy an object within the storage.

    Raises
    ------
    ConfigError, ResourceError : see `download`.
    """
    system = _system(source)
    paths = [url.partition("://")[2] for url in (source, target)]
    _patiently(lambda: system.cp_file(*paths), source)


def remove(url: str) -> None:
    """Remove an object.

    Raises
    ------
    ConfigError, ResourceError : see `download`.
    """
    system = _system(url)

    def delete() -> None:
        with suppress(FileNotFoundError):
            system.rm_file(url.partition("://")[2])

    _patiently(delete, url)


class _DamagedError(Exception):
    """What arrived is not what was sent."""


def _remote_file(url: str, info: Mapping[str, Any]) -> RemoteFile:
    version = next((str(info[key]) for key in _VERSIONS if info.get(key)), "")
    return RemoteFile(url, int(info.get("size") or 0), version, _md5_of(info))


def _md5_of(info: Mapping[str, Any]) -> str | None:
    if found := _MD5.fullmatch(str(info.get("ETag", ""))):
        return found[1].lower()
    settings = info.get("content_settings") or {}
    given = info.get("md5Hash") or (
        settings.get("content_md5") if isinstance(settings, Mapping) else None
    )
    with suppress(Base64Error, ValueError, TypeError):
        if isinstance(given, str):
            given = base64.b64decode(given)
        if given and len(given) == 16:
            return bytes(given).hex()
    return None


def _system(url: str) -> Any:
    """The implementation of a storage; fsspec keeps one of each."""
    scheme = url.partition("://")[0]
    try:
        import fsspec

        return fsspec.filesystem(scheme, use_listings_cache=False)
    except ImportError:
        raise ConfigError(
            f"{scheme}:// needs the package {PACKAGES[scheme]}.",
            f"Install it: {pip_install('cloud')}",
            url,
        ) from None
    except Exception as error:
        raise _told(error, url) from None


def _patiently(action: Callable[[], T], url: str) -> T:
    """Do something with a storage, again where it fails for a moment."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return action()
        except Exception as error:
            told = _told(error, url)
            if attempt == ATTEMPTS or isinstance(told, ConfigError) or _is_local(error):
                raise told from None
            logger.debug("%s (attempt %d of %d)", told, attempt, ATTEMPTS)
            time.sleep(FIRST_WAIT * 2 ** (attempt - 1) * random.uniform(0.75, 1.25))
    raise AssertionError


def _is_local(error: Exception) -> bool:
    """Whether the disk of this machine is what fails."""
    return isinstance(error, OSError) and error.errno in (28, 122)  # full, beyond a quota


def _told(error: Exception, url: str) -> FlexsegError:
    """What a package says of a storage, as all other errors; nothing of it is secret."""
    name = type(error).__name__
    said = _QUERY.sub("?...", str(error).strip().partition("\n")[0])[:200]
    if isinstance(error, FileNotFoundError):
        return ConfigError("There is no such object any more.", "Start again.", url)
    if isinstance(error, PermissionError) or name in _NO_CREDENTIALS:
        return ConfigError(
            f"The storage denies access ({name}: {said}).",
            "Give this account access, or name the credentials in the environment as its tools "
            "take them (for s3:// e.g. AWS_PROFILE), see docs/how-to/object-storage.md.",
            url,
        )
    # An answer that was cut, or a page of a proxy in its place, is no JSON: the next one may be.
    if isinstance(error, ValueError) and not isinstance(error, JSONDecodeError):
        return ConfigError(
            f"The storage cannot be opened ({said}).",
            "Name the account and its credentials in the environment, see "
            "docs/how-to/object-storage.md.",
            url,
        )
    return ResourceError(
        f"The storage does not answer as it should ({name}: {said}).",
        "Check the network and the address of the storage, then start again; what has arrived "
        "is kept.",
        url,
    )
