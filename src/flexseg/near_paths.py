"""What a path may have been meant to be at which there is nothing."""

from __future__ import annotations

import difflib
import os
from itertools import islice
from pathlib import Path

from flexseg.machine import near

# Of a larger folder only so many names are compared, which takes a tenth of a second.
_COMPARED = 2000
_CONFIGS = (".config", ".toml")


def check_path(path: Path, otherwise: str = "Check the path.") -> str:
    """How to repair a path to nothing: the nearest one that there is.

    Parameters
    ----------
    otherwise : what to do where none is near.
    """
    found = _nearest(path)
    return otherwise if found is None else f"Did you mean {near(found)}?"


def is_config(path: Path) -> bool:
    """Whether a path is a file that is named as configs are."""
    return path.suffix.lower() in _CONFIGS and path.is_file()


def check_config(path: Path) -> str:
    """How to repair a path at which there is no config: the nearest one, or those of its folder."""
    folder = path.parent
    names = [p.name for p in sorted(folder.iterdir()) if is_config(p)] if folder.is_dir() else []
    beside = f" (this folder has {', '.join(names[:5])})" if names else ""
    return check_path(path, f"Check the path{beside}; `flexseg init FOLDER` writes a new config.")


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
