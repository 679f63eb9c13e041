"""Where converted networks are kept, so that only the first start converts.

An entry is a folder `<engine>-<key>` in the user's cache folder. The key is a hash of all that the
conversion depends on, the content of the model file above all: copies of a file share an entry. Of
the entries that are together too large, those that were not used for longest are removed.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

from flexseg import __version__
from flexseg.errors import ResourceError
from flexseg.machine import CACHE_SETTING, gigabytes, real_path, user_cache
from flexseg.model_file.model_description import ModelDescription
from flexseg.outputs import make_folder, move, scratch_folder

logger = logging.getLogger(__name__)

SIZE_SETTING = "FLEXSEG_CACHE_GB"
_LARGEST_GB = 5.0
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
    file : the model package.
    engine : name of the engine.
    packages : distributions whose versions the conversion depends on.
    """

    def __init__(
        self, file: Path, package: ModelDescription, engine: str, packages: tuple[str, ...]
    ) -> None:
        parts = {
            "format": _FORMAT,
            "file": file_hash(file),
            # Networks of users depend on code that lies beside their file.
            "place": str(real_path(file)) if ":" in package.config.model else "",
            "network": package.config.model_dump(mode="json"),
            "flexseg": __version__,
            "versions": {name: version(name) for name in packages},
        }
        text = json.dumps(parts, sort_keys=True)
        self.name = f"{engine}-{hashlib.sha256(text.encode()).hexdigest()[:_KEY_LENGTH]}"
        self.place = user_cache() / "engines"

    def find(self) -> Path | None:
        """The folder of the entry, if there is one."""
        folder = self.place / self.name
        if not folder.is_dir():
            return None
        with suppress(OSError):
            os.utime(folder)  # when it was last used
        return folder

    def keep(self, write: Callable[[Path], None]) -> Path:
        """Make the entry, whole or not at all; for this process alone where no folder can be had.

        Parameters
        ----------
        write : fills the folder that it is given.

        Raises
        ------
        ResourceError : there is no room for it.
        ConfigError : the size of the cache is set to no number.
        """
        try:
            make_folder(self.place)
        except ResourceError as error:
            logger.warning(
                "The converted network is not kept: %s Set %s.", error.problem, CACHE_SETTING
            )
            return _kept_until_the_end(write)
        folder = self.place / self.name
        with scratch_folder(folder) as scratch:
            part = scratch / self.name
            part.mkdir()
            write(part)
            with suppress(OSError):  # another process was faster, and wrote the same
                move(part, folder)
        if not folder.is_dir():
            return _kept_until_the_end(write)
        self._remove_old()
        return folder

    def drop(self, folder: Path) -> None:
        """Remove an entry that proved damaged, whole or not at all."""
        # Where another process has it open, Windows lets nobody move it.
        with suppress(OSError, ResourceError), scratch_folder(folder) as scratch:
            folder.rename(scratch / folder.name)

    def _remove_old(self) -> None:
        """Keep the entries used last, as many as the size allows; the own one in any case."""
        entries = [f for f in self.place.iterdir() if f.is_dir() and f.name[0] != "."]
        entries.sort(key=lambda f: (f.name == self.name, _used(f)), reverse=True)
        room = gigabytes(SIZE_SETTING, _LARGEST_GB)
        for folder in entries:
            room -= sum(file.stat().st_size for file in folder.rglob("*"))
            if room < 0 and folder.name != self.name:
                self.drop(folder)


def _kept_until_the_end(write: Callable[[Path], None]) -> Path:
    """A folder that is filled for this process alone."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    write(folder)
    return folder


def _used(folder: Path) -> float:
    with suppress(OSError):
        return folder.stat().st_mtime
    return 0.0
