"""How large an image may be: judged by its header, before any of its pixels is read."""

from __future__ import annotations

import os
from collections.abc import Sequence
from math import prod
from pathlib import Path

import numpy as np

from flexseg.errors import ConfigError, DataError
from flexseg.machine import count_text, size_text, total_memory

SETTING = "FLEXSEG_LARGEST_IMAGE_GB"
# Deflate makes data 1032 times smaller at most.
DEFLATE_RATIO = 1040
_SHARE_OF_MEMORY = 4
_UNKNOWN_MEMORY = 16 * 2**30
_GIB = 2**30
# A quarter of any memory that this program runs in; to ask the system takes as long as to decode a
# small image.
_SMALL = 2**24
_TILES = "save it as a tiled TIFF, which infer, tiled-infer and derive tiles read in parts"


class TooLargeError(DataError):
    """An image or volume takes more than is allowed, or than the memory holds. Exit code 3."""


def largest_image() -> int:
    """Bytes that the pixels of one image or volume may take: the setting, or a quarter of memory.

    Raises
    ------
    ConfigError : the setting is no number above 0.
    """
    text = os.environ.get(SETTING)
    if text is None:
        return (total_memory() or _UNKNOWN_MEMORY) // _SHARE_OF_MEMORY
    try:
        size = float(text)
    except ValueError:
        size = 0.0
    if not 0 < size < 2**30:
        raise ConfigError(
            f"The environment variable is {text!r}.",
            "Set it to a number of GiB, for example 8.",
            SETTING,
        )
    return int(size * _GIB)


def check_size(
    shape: Sequence[int],
    dtype: np.dtype | type | str,
    path: Path,
    *,
    most: int | None = None,
    instead: str = _TILES,
) -> None:
    """Refuse what a header says of an image, if its file or the memory cannot hold that.

    Parameters
    ----------
    shape : pixels or voxels along each axis, and channels.
    most : bytes of pixels that the file can hold; None if that cannot be told.
    instead : what to do with an image that is too large.

    Raises
    ------
    ValueError : sizes below 1, or more pixels than the file holds.
    TooLargeError : more pixels than `largest_image`.
    """
    sizes = [int(n) for n in shape]
    if min(sizes, default=0) < 1:
        raise ValueError(f"its header has the impossible size {_text(sizes)}")
    needed = prod(sizes) * np.dtype(dtype).itemsize
    if most is not None and needed > most:
        raise ValueError(
            f"it is cut off, or its header is wrong: the size {_text(sizes)} takes "
            f"{count_text(needed)} bytes, but the file holds at most {count_text(most)} bytes"
        )
    if needed <= _SMALL and SETTING not in os.environ:
        return
    if needed > (largest := largest_image()):
        raise TooLargeError(
            f"The image has the size {_text(sizes)} and takes {size_text(needed)}; at most "
            f"{size_text(largest)} are read at once.",
            f"If the size is right, {instead}, or raise the environment variable {SETTING} (in "
            "GiB); otherwise the file is damaged.",
            str(path),
        )


def _text(sizes: Sequence[int]) -> str:
    shown = " x ".join(str(n) if abs(n) < 10**12 else "10^12 and more" for n in sizes[:6])
    return shown + (" x ..." if len(sizes) > 6 else "")
