"""Folders that hold images and their masks together."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from flexseg.files.entries import list_files
from flexseg.files.images import LOSSY_SUFFIXES, MASK_SUFFIXES

MASK_WORD = re.compile(
    r"(?i)(?<![a-z])(masks?|labels?|seg|segmentation|annotations?|annot|gt|ground[-_ ]?truth"
    r"|target|manual)(?![a-z])"
)


def is_mixed(folder: Path) -> bool:
    """Whether a folder holds images and their masks, told by names or by suffixes."""
    files = list_files(folder, MASK_SUFFIXES)
    if len(files) < 2:
        return False
    masks = [p for p in files if MASK_WORD.search(p.stem)]
    return 0 < len(masks) < len(files) or _photos_with_masks(files)


def _photos_with_masks(files: Sequence[Path]) -> bool:
    """x.jpg with x.png: the photograph and its mask."""
    photos = {p.stem for p in files if p.suffix.lower() in LOSSY_SUFFIXES}
    masks = {p.stem for p in files if p.suffix.lower() not in LOSSY_SUFFIXES}
    return bool(photos) and 2 * len(photos & masks) > max(len(photos), len(masks))
