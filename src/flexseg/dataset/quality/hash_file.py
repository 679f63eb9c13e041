"""Hashes of images in a temporary file: those of a million take 22 GB."""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flexseg.dataset.quality.duplicates import HASH_TYPE, AnyHash, Hashes
from flexseg.outputs import explain_os_errors

_OFFSETS = {"thumbnail": 0, "spectrum": HASH_TYPE["thumbnail"].itemsize}


class HashFile:
    """Keeps hashes by number; threads may add and read at the same time."""

    def __init__(self) -> None:
        with explain_os_errors(Path(tempfile.gettempdir())):
            self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - ends with the object
        self._lock = threading.Lock()
        self._count = 0

    def add(self, found: AnyHash) -> int:
        """The number of a hash that is kept from now on.

        Raises
        ------
        ResourceError : the folder of temporary files is full.
        """
        row = np.array((found.thumbnail, found.spectrum), HASH_TYPE).tobytes()
        with self._lock, explain_os_errors(Path(tempfile.gettempdir())):
            self._file.seek(self._count * HASH_TYPE.itemsize)
            self._file.write(row)
            self._count += 1
            return self._count - 1

    def chosen(self, numbers: NDArray[np.intp]) -> Hashes:
        """Some of the hashes, of which each part is read when it is asked for."""
        return _Chosen(self, numbers)

    def part(self, number: int, name: str) -> NDArray:
        """The thumbnail or the spectrum of a hash."""
        kind, offset = HASH_TYPE[name], _OFFSETS[name]
        with self._lock:
            self._file.seek(number * HASH_TYPE.itemsize + offset)
            content = self._file.read(kind.itemsize)
        return np.frombuffer(content, kind.base).reshape(kind.shape)


class _Chosen:
    def __init__(self, file: HashFile, numbers: NDArray[np.intp]) -> None:
        self._file, self._numbers = file, numbers

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index: int) -> _Kept:
        return _Kept(self._file, int(self._numbers[index]))


class _Kept:
    """A hash in the file."""

    def __init__(self, file: HashFile, number: int) -> None:
        self._file, self._number = file, number

    @property
    def thumbnail(self) -> NDArray[np.uint8]:
        return self._file.part(self._number, "thumbnail")

    @property
    def spectrum(self) -> NDArray[np.complex64]:
        return self._file.part(self._number, "spectrum")
