"""Files of neighbouring slices: what 2.5-D networks see next to the slice that they predict.

Slices of one volume lie in one folder, and their names end in their number, `<volume>_0000.png`
as `flexseg derive volumes` writes them.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flexseg.config.findings import amount, examples
from flexseg.dataset.cases import images_by_stem
from flexseg.dataset.names import DATASET_FILE, numbered, stem_of
from flexseg.derive.dataset_writer import LEFT_OUT
from flexseg.errors import DataError
from flexseg.files.images import read_image
from flexseg.files.json_file import read_json

logger = logging.getLogger(__name__)

_AGAIN = "Make the dataset again with `flexseg derive volumes --empty-every 1`"


def neighbour_files(path: Path, n: int) -> tuple[Path, ...]:
    """The files of slices i - n to i + n of the volume that `path` is slice i of.

    At the ends of the volume the last slice repeats, and so does an image without a number.

    Raises
    ------
    DataError : a slice in between is missing, or some were left out of the dataset.
    """
    if not n:
        return (path,)
    place = numbered(stem_of(path))
    if place is None:
        return (path,) * (2 * n + 1)
    series, at = place
    slices = _numbered(path.parent).get(series, {})
    first, last = min(slices, default=at), max(slices, default=at)
    numbers = [min(max(i, first), last) for i in range(at - n, at + n + 1)]
    missing = sorted({i for i in numbers if i not in slices and i != at})
    if missing:
        raise DataError(
            f"Slice {missing[0]} of the volume is missing, and the network sees {n} neighbours on "
            "each side.",
            f"{_AGAIN}; all slices of a volume must be in one folder.",
            str(path),
        )
    return tuple(path if i == at else slices[i] for i in numbers)


def read_slice(path: Path) -> NDArray:
    """A grey image [H, W, 1] as stored; one of three equal channels counts as grey.

    Raises
    ------
    DataError : it cannot be read, or has colours.
    """
    pixels = read_image(path)
    first = pixels[..., :1]
    if pixels.shape[2] > 1 and not (pixels.shape[2] == 3 and (pixels == first).all()):
        raise DataError(
            f"The image has {pixels.shape[2]} channels; slices with neighbours must be grey.",
            "Set [volume] neighbours = 0, or convert the images to grey.",
            str(path),
        )
    return first


def read_with_neighbours(path: Path, n: int) -> NDArray:
    """An image [H, W, C] as stored, or with `n` > 0 the stack [H, W, 2 n + 1] around a slice.

    Raises
    ------
    DataError : see `read_image`, `neighbour_files`; or the slices are of several sizes.
    """
    if not n:
        return read_image(path)
    files = neighbour_files(path, n)
    read = {file: read_slice(file) for file in dict.fromkeys(files)}
    own = read[path]
    for file, pixels in read.items():
        if pixels.shape != own.shape or pixels.dtype != own.dtype:
            raise DataError(
                f"The slice is {_size(own)}, but its neighbour {file.name} is {_size(pixels)}.",
                "Files whose names differ only in the last number must be slices of one volume: "
                "rename the others.",
                str(path),
            )
    return np.concatenate([read[file] for file in files], axis=-1)


def warn_of_lone(paths: Sequence[Path], n: int) -> None:
    """Tell which images have no neighbours at all, where the network wants some.

    Raises
    ------
    DataError : slices were left out of the dataset.
    """
    if not n:
        return
    lone = [path.name for path in paths if not _has_neighbours(path)]
    if lone:
        logger.warning(
            "%d of %d images have no neighbouring slices by name (<volume>_<number>): each is "
            "used in place of its neighbours too, unlike the volumes that the network was "
            "trained on: %s.",
            len(lone), len(paths), examples(lone),
        )  # fmt: skip


def _has_neighbours(path: Path) -> bool:
    place = numbered(stem_of(path))
    return place is not None and len(_numbered(path.parent).get(place[0], {})) > 1


def _numbered(folder: Path) -> Mapping[str, Mapping[int, Path]]:
    """The slices of a folder: name of the volume -> number -> file."""
    found = _listed(folder, folder.stat().st_mtime_ns)
    left_out = _left_out(folder.parent) or _left_out(folder.parent.parent)
    if left_out:
        raise DataError(
            f"{amount(left_out, 'slice')} without labels {'was' if left_out == 1 else 'were'} "
            "left out of the dataset, but the network sees neighbouring slices.",
            f"{_AGAIN}.",
            str(folder),
        )
    return found


def _left_out(dataset: Path) -> int:
    """How many slices are missing in a derived dataset, whose volumes then seem to end earlier."""
    path = dataset / DATASET_FILE
    try:
        return _left_out_by(path, path.stat().st_mtime_ns)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return 0


@lru_cache(maxsize=16)
def _left_out_by(description: Path, _changed: int) -> int:
    content = read_json(description)
    return int(content["parameters"].get(LEFT_OUT, 0))


@lru_cache(maxsize=16)
def _listed(folder: Path, _changed: int) -> Mapping[str, Mapping[int, Path]]:
    found: dict[str, dict[int, Path]] = {}
    for stem, path in images_by_stem(folder).items():
        place = numbered(stem)
        if place is None:
            continue
        series, number = place
        other = found.setdefault(series, {}).setdefault(number, path)
        if other != path:
            raise DataError(
                f"{other.name} and {path.name} have the same slice number.",
                "Rename one of them.",
                str(folder),
            )
    return found


def _size(pixels: NDArray) -> str:
    return f"{pixels.shape[1]} x {pixels.shape[0]} of type {pixels.dtype}"
