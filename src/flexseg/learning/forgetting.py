"""Corrections that are taken back: their files go; it stays known which versions learned them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

from flexseg.errors import DataError
from flexseg.files.json_file import read_json
from flexseg.learning.case_pool import POOL, CasePool
from flexseg.learning.corrections import CORRECTIONS, TABLE, Corrections
from flexseg.one_writer import exclusive
from flexseg.outputs import write_json

# Of a folder that learns: correction -> numbers of the versions that have learned from it.
LEARNED_FROM = "learned_from.json"


def forget(folder: Path, cases: Collection[str]) -> dict[str, list[int]]:
    """Take corrections back, and remove them and their images from a folder that learns.

    Models keep what they have learned.

    Returns
    -------
    The versions that have learned from each of the cases.

    Raises
    ------
    InUseError : a round is under way, whose files stay until it has ended.
    DataError : a table is damaged.
    """
    with exclusive(folder):
        place = folder / CORRECTIONS
        if (place / TABLE).exists():
            corrections = Corrections(place)
            corrections.remove(cases)
            CasePool.open(folder / POOL, corrections.labels).forget(corrections)
        learned = learned_from(folder)
        return {case: learned.get(case, []) for case in cases}


def learned_from(folder: Path) -> dict[str, list[int]]:
    """Correction -> versions that have learned from it, also of corrections that were taken back.

    Raises
    ------
    DataError : the file is damaged.
    """
    path = folder / LEARNED_FROM
    try:
        return {str(case): [int(n) for n in numbers] for case, numbers in read_json(path).items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise DataError(
            f"Which version has learned from what cannot be read ({error}).",
            "Restore the file from a backup, or remove it: then it is not known any more.",
            str(path),
        ) from None


def note_learned(folder: Path, version: int, cases: Iterable[str]) -> None:
    """Note that a version has learned from corrections.

    Raises
    ------
    DataError : the file is damaged.
    """
    known = learned_from(folder)
    for case in sorted({*cases}):
        known.setdefault(case, []).append(version)
    write_json(folder / LEARNED_FROM, known)
