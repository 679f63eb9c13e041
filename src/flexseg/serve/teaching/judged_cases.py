"""What people have judged on a server, as corrections that a model learns from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, select

from flexseg.dataset.labels import LabelClass, LabelMap
from flexseg.files.images import IMAGE_SUFFIXES, write_png
from flexseg.files.json_file import read_json
from flexseg.files.npy import write_npy
from flexseg.learning.corrections import CORRECTIONS, TABLE, Corrections, Verdict
from flexseg.learning.forgetting import forget
from flexseg.learning.slice_cases import CaseKind
from flexseg.outputs import scratch_folder, write_json
from flexseg.serve.database import CaseRow, Database
from flexseg.serve.stored.case_files import CaseFiles
from flexseg.serve.uploads.case_facts import CaseFacts

# What was taken over from the server's cases, in a learning folder: case -> file of its labels.
_TAKEN = "taken.json"
_JUDGED = ("accepted", "corrected")
_CHANNELS_OF_PNG = (1, 3)


class JudgedCases:
    """The images and volumes that were accepted or corrected."""

    def __init__(self, database: Database, files: CaseFiles) -> None:
        self._database, self._files = database, files

    def waiting(self, model: str, place: Path, kinds: Sequence[CaseKind]) -> int:
        """Judged cases that a model has not learned from, or whose mask has changed since.

        Parameters
        ----------
        model : its id.
        place : its learning folder.
        kinds : what it learns from, see `learned_kinds`.
        """
        taken = _taken(place)
        return sum(taken.get(case.id) != file for case, file, _ in self.judged(model, kinds))

    def gather(self, model: str, place: Path, labels: LabelMap, kinds: Sequence[CaseKind]) -> None:
        """Copy what was judged since into a learning folder, and remove what was taken back.

        Parameters
        ----------
        model, place, kinds : see `waiting`.
        labels : the classes of the masks.

        Raises
        ------
        ConfigError : the folder has corrections of other classes.
        DataError : its table is damaged.
        """
        self._forget(place, {*_taken(place)} - self._ids(CaseRow.review.in_(_JUDGED)))
        taken = _taken(place)
        known = (place / CORRECTIONS / TABLE).exists()
        store = Corrections(place / CORRECTIONS, None if known else labels)
        for case, file, verdict in self.judged(model, kinds):
            if taken.get(case.id) == file:
                continue
            folder = self._files.of(case.id)
            correction = case.corrections[-1] if case.corrections else None
            told: dict[str, Any] = {
                "model": (correction.version if correction else None) or "",
                "seconds": correction.seconds if correction else None,
            }
            by, found = case.reviewer or "", np.array(folder.labels(file))
            if case.kind == "volume":
                volume = CaseFacts.from_dict(case.facts).volume(np.array(folder.pixels()))
                store.add_volume(case.id, volume, found, verdict, by, **told)
            else:
                with scratch_folder(place) as scratch:
                    image = folder.original
                    if image is None or image.suffix.lower() not in IMAGE_SUFFIXES:
                        image = _write_image(scratch, np.array(folder.pixels()))
                    store.add(case.id, image, found, verdict, by, **told)
            taken[case.id] = file
            write_json(place / _TAKEN, taken)

    def forget_deleted(self, place: Path) -> dict[str, list[int]]:
        """Remove from a learning folder what is no longer on the server.

        Returns
        -------
        The versions that have learned from each of these cases; they keep it.

        Raises
        ------
        InUseError : a training is under way.
        DataError : a table is damaged.
        """
        return self._forget(place, {*_taken(place)} - self._ids())

    def _ids(self, *conditions: ColumnElement[bool]) -> set[str]:
        with self._database.reading() as session:
            return {*session.scalars(select(CaseRow.id).where(*conditions))}

    def _forget(self, place: Path, cases: set[str]) -> dict[str, list[int]]:
        if not cases:
            return {}
        learned = forget(place, cases)
        rest = {case: file for case, file in _taken(place).items() if case not in cases}
        write_json(place / _TAKEN, rest)
        return learned

    def judged(
        self, model: str, kinds: Sequence[CaseKind] = ("image",)
    ) -> list[tuple[CaseRow, str, Verdict]]:
        """Cases that were accepted or corrected, the file of their labels, and the verdict."""
        wanted = select(CaseRow).where(CaseRow.review.in_(_JUDGED), CaseRow.kind.in_(kinds))
        found: list[tuple[CaseRow, str, Verdict]] = []
        with self._database.reading() as session:
            for case in session.scalars(wanted.order_by(CaseRow.number)):
                if case.model not in (model, None):
                    continue
                if case.corrections:
                    found.append((case, case.corrections[-1].file, "corrected"))
                elif case.accepted is not None:
                    found.append((case, case.accepted, "accepted"))
        return found


def classes_as_labels(classes: Iterable[dict[str, Any]]) -> LabelMap:
    """Classes as the API names them: dictionaries of `id`, `name` and `color`."""
    return LabelMap.of_foreground(
        [
            LabelClass(c["id"], c["name"], ((c["color"][0], c["color"][1], c["color"][2]),))
            for c in classes
            if c["id"]
        ]
    )


def _taken(place: Path) -> dict[str, str]:
    try:
        return dict(read_json(place / _TAKEN))
    except (OSError, ValueError, TypeError):
        return {}


def _write_image(folder: Path, pixels: NDArray) -> Path:
    """Pixels [H, W, C] as a file that a training reads alike."""
    if pixels.dtype in (np.uint8, np.uint16) and pixels.shape[2] in _CHANNELS_OF_PNG:
        file = folder / "image.png"
        write_png(file, pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    else:
        file = folder / "image.npy"
        write_npy(file, pixels)
    return file
