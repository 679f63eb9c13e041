"""Folders that hold images and their masks together."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from flexseg.files.entries import file_names
from flexseg.files.images import LOSSY_SUFFIXES, MASK_SUFFIXES

MASK_WORD = re.compile(
    r"(?i)(?<![a-z])(masks?|labels?|seg|segmentation|annotations?|annot|gt|ground[-_ ]?truth"
    r"|target|manual)(?![a-z])"
)


def is_mixed(folder: Path) -> bool:
    """Whether a folder holds images and their masks, told by names or by suffixes."""
    files = file_names(folder, MASK_SUFFIXES)
    if len(files) < 2:
        return False
    masks = sum(MASK_WORD.search(Path(name).stem) is not None for name in files)
    return 0 < masks < len(files) or _photos_with_masks(files)


def _photos_with_masks(files: Sequence[str]) -> bool:
    """x.jpg with x.png: the photograph and its mask."""
    stems: dict[bool, set[str]] = {True: set(), False: set()}
    for path in map(Path, files):
        stems[path.suffix.lower() in LOSSY_SUFFIXES].add(path.stem)
    photos, masks = stems[True], stems[False]
    return bool(photos) and 2 * len(photos & masks) > max(len(photos), len(masks))
