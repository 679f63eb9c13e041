"""Where converted networks are kept, so that only the first start converts.

An entry is a folder `.engine_cache/<model>-<engine>-<key>` beside the model file. The key is a hash
of all that the conversion depends on: another model under the same name gets another entry.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
import sys
import uuid
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

from flexseg import __version__
from flexseg.models.package import ModelPackage

logger = logging.getLogger(__name__)

FOLDER = ".engine_cache"
_KEY_LENGTH = 16
# Counts up where the same network is converted in another way than before.
_FORMAT = 1


def file_hash(file: Path) -> str:
    """A hash of the whole content of a file (sha256, hex)."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


class EngineCache:
    """The converted network of one model file for one engine.

    Parameters
    ----------
    file : the model package; what is converted is kept beside it, or in the user's cache folder
        where that place cannot be written to.
    engine : name of the engine.
    packages : distributions whose versions the conversion depends on.
    """

    def __init__(
        self, file: Path, package: ModelPackage, engine: str, packages: tuple[str, ...]
    ) -> None:
        parts = {
            "format": _FORMAT,
            "file": file_hash(file),
            "network": package.config.model_dump(mode="json"),
            "flexseg": __version__,
            "versions": {name: version(name) for name in packages},
        }
        text = json.dumps(parts, sort_keys=True)
        self.key = hashlib.sha256(text.encode()).hexdigest()[:_KEY_LENGTH]
        self.prefix = f"{file.stem}-{engine}-"
        # Beside each other in the user's folder lie models of many places.
        place = hashlib.sha256(str(file.resolve()).encode()).hexdigest()[:_KEY_LENGTH]
        self.places = (file.parent / FOLDER, _user_folder() / place)

    def find(self) -> Path | None:
        """The folder of the entry, if there is one."""
        folders = (place / f"{self.prefix}{self.key}" for place in self.places)
        return next((folder for folder in folders if folder.is_dir()), None)

    def keep(self, write: Callable[[Path], None]) -> Path:
        """Make the entry, whole or not at all; those of earlier weights are removed.

        Parameters
        ----------
        write : fills the folder that it is given.

        Raises
        ------
        OSError : no place can be written to.
        """
        for place in self.places:
            try:
                place.mkdir(parents=True, exist_ok=True)
                part = place / f".part-{uuid.uuid4().hex}"  # unlike `mkdtemp`, by the umask
                part.mkdir()
            except OSError as error:
                logger.debug("%s: %s", place, error)
                continue
            try:
                write(part)
                return self._finish(part, place)
            finally:
                shutil.rmtree(part, ignore_errors=True)
        raise OSError(f"neither {self.places[0]} nor {self.places[1]} can be written to")

    def drop(self, folder: Path) -> None:
        """Remove an entry that proved damaged."""
        shutil.rmtree(folder, ignore_errors=True)

    def _finish(self, part: Path, place: Path) -> Path:
        folder = place / f"{self.prefix}{self.key}"
        try:
            part.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another process was faster, and wrote the same
                raise
        for earlier in self._earlier(place):
            shutil.rmtree(earlier, ignore_errors=True)
        return folder

    def _earlier(self, place: Path) -> Iterator[Path]:
        pattern = re.compile(re.escape(self.prefix) + f"[0-9a-f]{{{_KEY_LENGTH}}}")
        for folder in place.iterdir():
            if pattern.fullmatch(folder.name) and folder.name != f"{self.prefix}{self.key}":
                yield folder


def _user_folder() -> Path:
    """Where programs of this user keep what can be made again."""
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library/Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "flexseg" / "engines"
