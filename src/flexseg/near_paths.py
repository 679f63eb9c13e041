"""What a path may have been meant to be at which there is nothing."""

from __future__ import annotations

import difflib
import os
from itertools import islice
from pathlib import Path

from flexseg.machine import near

# Of a larger folder only so many names are compared, which takes a tenth of a second.
_COMPARED = 2000


def check_path(path: Path, otherwise: str = "Check the path.") -> str:
    """How to repair a path to nothing: the nearest one that there is.

    Parameters
    ----------
    otherwise : what to do where none is near.
    """
    found = _nearest(path)
    return otherwise if found is None else f"Did you mean {near(found)}?"


def _nearest(path: Path) -> Path | None:
    """The path with the first of its names that is not there replaced by the most similar one."""
    folder = next((place for place in path.parents if place.is_dir()), None)
    if folder is None:
        return None
    missing, *rest = path.relative_to(folder).parts
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in islice(entries, _COMPARED)]
    except OSError:
        return None
    plain = {name.casefold(): name for name in names if not name.startswith(".")}
    similar = difflib.get_close_matches(missing.casefold(), plain, cutoff=0.7)
    # An equal suffix alone makes short names similar.
    stem = Path(missing.casefold()).stem
    meant = [name for name in similar if difflib.get_close_matches(stem, [Path(name).stem])]
    found = (folder.joinpath(plain[name], *rest) for name in meant)
    return next((place for place in found if place.exists()), None)
