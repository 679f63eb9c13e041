"""The files of cases: one folder for each, whose arrays are read slice by slice."""

from __future__ import annotations

import re
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flexseg.files.npy import map_npy, write_npy
from flexseg.outputs import link_or_copy, whole
from flexseg.serve.uploads.case_facts import PIXELS, ReadCase

_ID = re.compile("[0-9a-f]{32}")
REFERENCE = "reference.npy"
_ORIGINAL = "original"


@dataclass(frozen=True)
class CaseFolder:
    """The files of one case.

    Attributes
    ----------
    path : the folder; it holds the pixels, the file as it was uploaded, and labels: one file for
        each prediction and each correction, uint8 of the size of the case.
    """

    path: Path

    def pixels(self) -> NDArray:
        """Pixels [H, W, C], or voxels [z, y, x(, C)], read from the disk as they are used."""
        return map_npy(self.path / PIXELS)

    def labels(self, name: str) -> NDArray[np.uint8]:
        """A label file, read from the disk as it is used."""
        return map_npy(self.path / name)

    def write_labels(self, name: str, labels: NDArray[np.uint8]) -> None:
        """Write a label file, whole or not at all."""
        with whole(self.path / name) as part:
            write_npy(part, labels)

    def share_labels(self, name: str, other: Path) -> bool:
        """Take over the label file of another case; False if it is gone."""
        target = self.path / name
        if target.exists():
            return True
        with suppress(FileNotFoundError):
            link_or_copy(other, target)
            return True
        return False

    @property
    def original(self) -> Path | None:
        """The file as it was uploaded."""
        return next(iter(sorted(self.path.glob(f"{_ORIGINAL}*"))), None)


class CaseFiles:
    """The folders of all cases.

    Parameters
    ----------
    folder : with one folder for each case, named by its id.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def of(self, case: str) -> CaseFolder:
        """The files of a case.

        Raises
        ------
        KeyError : this is no id of a case.
        """
        if not _ID.fullmatch(case):
            raise KeyError(case)
        return CaseFolder(self.folder / case)

    def keep(self, case: str, found: ReadCase, original: Path) -> CaseFolder:
        """Make what was read of an upload the folder of a case.

        Parameters
        ----------
        original : the uploaded file; the cases of one archive share it.
        """
        folder = self.of(case)
        place = found.folder / f"{_ORIGINAL}{''.join(original.suffixes[-2:]).lower()}"
        link_or_copy(original, place)
        found.folder.rename(folder.path)
        return folder

    def remove(self, case: str) -> None:
        """Delete all files of a case."""
        shutil.rmtree(self.of(case).path, ignore_errors=True)

    def remove_all_but(self, known: set[str]) -> None:
        """Delete folders that no row of the database names: a program ended as it made them."""
        for path in self.folder.iterdir():
            if _ID.fullmatch(path.name) and path.name not in known:
                shutil.rmtree(path, ignore_errors=True)
