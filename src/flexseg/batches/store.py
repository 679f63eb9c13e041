"""Cases decoded once: network-size images and class ids, in bounded memory.

A store is picklable, so that workers in other processes can read from it.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from flexseg.batches.neighbours import (
    neighbour_files,
    read_slice,
    read_with_neighbours,
    warn_of_lone,
)
from flexseg.config.findings import examples
from flexseg.dataset.cases import Case, case_mask
from flexseg.dataset.labels import LabelMap
from flexseg.errors import DataError, ResourceError
from flexseg.files.images import is_8bit
from flexseg.files.preprocess import Preprocessing
from flexseg.files.resizing import fitted_mask

logger = logging.getLogger(__name__)

CacheKind = Literal["auto", "memory", "disk", "none"]


@dataclass(frozen=True)
class CaseReader:
    """Reads one case: files to pixels and class ids.

    Attributes
    ----------
    unknown_colors : "nearest" or "error": what to do with mask pixels in no class.
    """

    preprocessing: Preprocessing
    labels: LabelMap
    unknown_colors: str = "nearest"

    def native(self, case: Case) -> tuple[NDArray, NDArray[np.uint8]]:
        """Image [H, W, C] as stored and class ids [H, W] uint8, at the image's own size.

        Where the network sees neighbouring slices, the image is the stack of these.

        Raises
        ------
        DataError : a file cannot be read, the sizes do not fit, mask pixels are in no class and
            `unknown_colors` is "error", or a neighbour is missing.
        """
        image = read_with_neighbours(case.image, self.preprocessing.neighbours)
        return image, self.native_labels(case, image.shape[:2])

    def native_labels(self, case: Case, size: tuple[int, int]) -> NDArray[np.uint8]:
        """Class ids of a case's mask at `size` (height, width), see `native`."""
        encoded = self.labels.encode(case_mask(case), str(case.mask))
        if encoded.unknown and self.unknown_colors == "error":
            found = examples([str(value) for value in encoded.unknown])
            raise DataError(
                f"{sum(encoded.unknown.values())} pixels have a colour or value of no class: "
                f"{found}.",
                "Add it to [mask] classes, or set [mask] unknown_colors = 'nearest'; "
                "`flexseg check` proposes a map.",
                str(case.mask),
            )
        return fitted_mask(encoded.labels, size, case.mask)

    def model_size(self, case: Case) -> tuple[NDArray, NDArray[np.uint8]]:
        """Image [h, w, C] (uint8 or float32) and class ids [h, w], at the network's size."""
        image, labels = self.native(case)
        prepared = self.preprocessing.image(image, str(case.image))
        return prepared, self.preprocessing.labels(labels)

    def single(self, case: Case) -> tuple[NDArray, NDArray[np.uint8]]:
        """As `model_size`, of a stack of slices only the case's own [h, w, 1]."""
        if not self.preprocessing.neighbours:
            return self.model_size(case)
        image = read_slice(case.image)
        labels = self.native_labels(case, image.shape[:2])
        prepared = self.preprocessing.single.image(image, str(case.image))
        return prepared, self.preprocessing.labels(labels)

    def neighbour(self, path: Path) -> NDArray:
        """A neighbouring slice [h, w, 1] of that of a case, at the network's size."""
        return self.preprocessing.single.image(read_slice(path), str(path))


@dataclass
class Store:
    """Decoded cases by index.

    Build it with `open_store`. `memory` holds arrays of all cases, `file` a path to records
    of fixed length; without both, every access decodes. Of stacks of slices each slice is held
    once; they are stacked at access.

    Attributes
    ----------
    stacks : per case the slices of its stack, by their index, or by their file where they are
        no case; empty where the network sees no neighbours.
    """

    cases: tuple[Case, ...]
    reader: CaseReader
    dtype: np.dtype
    memory: tuple[NDArray, NDArray[np.uint8], NDArray[np.bool_]] | None = None
    file: Path | None = None
    stacks: tuple[tuple[int | Path, ...], ...] = ()
    _image_shape: tuple[int, int, int] = field(init=False)

    def __post_init__(self) -> None:
        p = self.reader.preprocessing
        self._image_shape = (p.height, p.width, p.single.channels)

    def __len__(self) -> int:
        return len(self.cases)

    def __getitem__(self, index: int) -> tuple[NDArray, NDArray[np.uint8]]:
        """Image [h, w, C] of `dtype` and class ids [h, w] of case `index`."""
        image, labels = self._single(index)
        if self.stacks:
            image = np.concatenate([self._slice(s) for s in self.stacks[index]], axis=-1)
        return image, labels

    def labels(self, index: int) -> NDArray[np.uint8]:
        """Class ids [h, w] of case `index`."""
        return self._single(index)[1]

    def _slice(self, source: int | Path) -> NDArray:
        if isinstance(source, int):
            return self._single(source)[0]
        return self.reader.neighbour(source).astype(self.dtype, copy=False)

    def _single(self, index: int) -> tuple[NDArray, NDArray[np.uint8]]:
        if self.memory is not None:
            images, labels, ready = self.memory
            if not ready[index]:
                images[index], labels[index] = self._decode(index)
                ready[index] = True
            return images[index], labels[index]
        if self.file is not None:
            return self._from_file(self.file, index)
        return self._decode(index)

    def batch(self, indices: Sequence[int]) -> tuple[NDArray, NDArray[np.uint8]]:
        """Images [B, h, w, C] and class ids [B, h, w] of several cases."""
        pairs = [self[i] for i in indices]
        return np.stack([image for image, _ in pairs]), np.stack([label for _, label in pairs])

    def _decode(self, index: int) -> tuple[NDArray, NDArray[np.uint8]]:
        image, labels = self.reader.single(self.cases[index])
        return image.astype(self.dtype, copy=False), labels

    def _from_file(self, path: Path, index: int) -> tuple[NDArray, NDArray[np.uint8]]:
        # A record is a byte "ready", the image, the labels. Plain reads instead of a memory
        # map: a mapped file would count as this process's memory.
        h, w, c = self._image_shape
        image_bytes = h * w * c * self.dtype.itemsize
        start = index * record_bytes(self.reader.preprocessing, self.dtype)
        with path.open("r+b") as file:
            file.seek(start)
            if file.read(1) == b"\x01":
                image = np.frombuffer(file.read(image_bytes), self.dtype).reshape(h, w, c)
                labels = np.frombuffer(file.read(h * w), np.uint8).reshape(h, w)
                return image, labels
            image, labels = self._decode(index)
            file.seek(start + 1)
            file.write(np.ascontiguousarray(image).data)
            file.write(np.ascontiguousarray(labels).data)
            file.seek(start)
            file.write(b"\x01")
        return image, labels

    def close(self) -> None:
        """Remove the cache file."""
        if self.file is not None:
            self.file.unlink(missing_ok=True)


def record_bytes(preprocessing: Preprocessing, dtype: np.dtype) -> int:
    """Bytes of one cached case in a file."""
    pixels = preprocessing.height * preprocessing.width
    return 1 + pixels * (preprocessing.single.channels * dtype.itemsize + 1)


def open_store(
    cases: tuple[Case, ...],
    reader: CaseReader,
    *,
    cache: CacheKind = "auto",
    cache_bytes: float = 2 * 2**30,
    cache_file: Path | None = None,
    shared: bool = False,
) -> Store:
    """A store over `cases` with the cache that fits.

    Parameters
    ----------
    cache : "memory", "disk", "none", or "auto": memory if all cases fit into `cache_bytes`,
        else the file.
    shared : worker processes will read from it, which cannot share memory: prefer the file.

    Raises
    ------
    ResourceError : `cache` is "disk" or "memory" and there is no room for it.
    DataError : the network sees neighbouring slices, and some are missing.
    """
    p = reader.preprocessing
    stacks = _stacks(cases, p.neighbours)
    others = {source for stack in stacks for source in stack if isinstance(source, Path)}
    eight_bit = p.window is None and all(map(is_8bit, (*(case.image for case in cases), *others)))
    dtype = np.dtype(np.uint8 if eight_bit else np.float32)
    needed = len(cases) * record_bytes(p, dtype)
    fits = needed <= cache_bytes
    store = Store(cases, reader, dtype, stacks=stacks)
    if cache == "memory" and not fits:
        raise ResourceError(
            f"{len(cases)} decoded images need {needed / 2**30:.1f} GiB, "
            f"dataset.cache_gb allows {cache_bytes / 2**30:.1f}.",
            "Raise cache_gb, or set dataset.cache = 'auto'.",
        )
    if cache in ("auto", "memory") and fits and not shared:
        size = (len(cases), p.height, p.width)
        store.memory = (
            np.empty((*size, p.single.channels), dtype),
            np.empty(size, np.uint8),
            np.zeros(len(cases), bool),
        )
    elif cache != "none" and cache_file is not None:
        cache_file.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(cache_file.parent).free
        if needed < 0.8 * free:
            with cache_file.open("wb") as file:
                file.truncate(needed)
            store.file = cache_file
        elif cache == "disk":
            raise ResourceError(
                f"{len(cases)} decoded images need {needed / 2**30:.1f} GiB on the disk, "
                f"{free / 2**30:.1f} are free.",
                "Free some space, or set dataset.cache = 'none' (slower).",
                str(cache_file.parent),
            )
        else:
            logger.warning(
                "The disk has no room for %.1f GiB of decoded images: they are decoded anew in "
                "every epoch, which is slower.",
                needed / 2**30,
            )
    return store


def _stacks(cases: tuple[Case, ...], n: int) -> tuple[tuple[int | Path, ...], ...]:
    """`Store.stacks` of cases."""
    if not n:
        return ()
    warn_of_lone([case.image for case in cases], n)
    index = {case.image: i for i, case in enumerate(cases)}
    return tuple(
        tuple(index.get(file, file) for file in neighbour_files(case.image, n)) for case in cases
    )
