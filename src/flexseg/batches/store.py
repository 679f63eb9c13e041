"""Cases decoded once: images and class ids as networks take them, in bounded memory.

A store is picklable, so that workers in other processes can read from it.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
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
from flexseg.config.findings import amount, examples
from flexseg.dataset.cases import Case, case_mask
from flexseg.dataset.labels import LabelMap
from flexseg.dataset.parallel import in_threads
from flexseg.errors import DataError, ResourceError
from flexseg.files.images import is_8bit, pixel_count
from flexseg.files.preprocess import Preprocessing
from flexseg.files.resizing import fitted_mask
from flexseg.open_files import remove

logger = logging.getLogger(__name__)

Pair = tuple[NDArray, NDArray[np.uint8]]
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
                f"{amount(sum(encoded.unknown.values()), 'pixel', 'has', 'have')} a colour or "
                f"value of no class: {found}.",
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

    def kept(self, case: Case) -> Pair:
        """What a store keeps of a case: `single`, or what patches are cut from.

        That is image [H, W, C] and class ids [H, W] at their own size, see `Preprocessing.values`.
        """
        if self.preprocessing.patch is None:
            return self.single(case)
        image, labels = self.native(case)
        return self.preprocessing.values(image, str(case.image)), labels

    def neighbour(self, path: Path) -> NDArray:
        """A neighbouring slice [h, w, 1] of that of a case, at the network's size."""
        return self.preprocessing.single.image(read_slice(path), str(path))


@dataclass
class Store:
    """Decoded cases by index, as `CaseReader.kept` gives them.

    Build it with `open_store`. `memory` holds the pixels of all cases one after the other, and the
    sizes of those that are there already; `file` is a path to records of the same. Without both,
    every access decodes. Of stacks of slices each slice is held once; they are stacked at access.

    Attributes
    ----------
    starts : [cases + 1], the first pixel of each case in the cache, and the end of the last one.
    memory : pixels [N, C], class ids [N], height and width [cases, 2], and who is there [cases].
    stacks : per case the slices of its stack, by their index, or by their file where they are
        no case; empty where the network sees no neighbours.
    """

    cases: tuple[Case, ...]
    reader: CaseReader
    dtype: np.dtype
    starts: NDArray[np.int64]
    memory: tuple[NDArray, NDArray[np.uint8], NDArray[np.int32], NDArray[np.bool_]] | None = None
    file: Path | None = None
    stacks: tuple[tuple[int | Path, ...], ...] = ()

    def __len__(self) -> int:
        return len(self.cases)

    def __getitem__(self, index: int) -> Pair:
        """Image [H, W, C] of `dtype` and class ids [H, W] of case `index`."""
        image, labels = self._single(index)
        if self.stacks:
            image = np.concatenate([self._slice(s) for s in self.stacks[index]], axis=-1)
        return image, labels

    def samples(self, indices: Sequence[int], epoch: int, position: int) -> list[Pair]:
        """These cases, the same in all epochs and places; see `Samples`."""
        return [self[index] for index in indices]

    def labels(self, index: int) -> NDArray[np.uint8]:
        """Class ids [H, W] of case `index`."""
        return self._single(index)[1]

    @property
    def bytes(self) -> int:
        """Of the cache."""
        pixels = int(self.starts[-1])
        return len(self) * _RECORD_HEAD + pixels * _pixel_bytes(self.reader, self.dtype)

    def _slice(self, source: int | Path) -> NDArray:
        if isinstance(source, int):
            return self._single(source)[0]
        return self.reader.neighbour(source).astype(self.dtype, copy=False)

    def _single(self, index: int) -> Pair:
        if self.memory is not None:
            return self._from_memory(index, *self.memory)
        if self.file is not None:
            return self._from_file(self.file, index)
        return self._decode(index)

    def _decode(self, index: int) -> Pair:
        image, labels = self.reader.kept(self.cases[index])
        return image.astype(self.dtype, copy=False), labels

    def _fits(self, index: int, labels: NDArray[np.uint8]) -> bool:
        """Whether the cache has the room; a file may have been changed, or its header be wrong."""
        return labels.size == self.starts[index + 1] - self.starts[index]

    def _from_memory(
        self,
        index: int,
        images: NDArray,
        labels: NDArray[np.uint8],
        sizes: NDArray[np.int32],
        ready: NDArray[np.bool_],
    ) -> Pair:
        place = slice(self.starts[index], self.starts[index + 1])
        if not ready[index]:
            image, own = self._decode(index)
            if not self._fits(index, own):
                return image, own
            images[place] = image.reshape(-1, image.shape[2])
            labels[place] = own.ravel()
            sizes[index] = own.shape
            ready[index] = True
        height, width = sizes[index]
        return images[place].reshape(height, width, -1), labels[place].reshape(height, width)

    def _from_file(self, path: Path, index: int) -> Pair:
        # A record is a byte "ready", height and width, the image, the labels. Plain reads instead
        # of a memory map: a mapped file would count as this process's memory.
        pixel = _pixel_bytes(self.reader, self.dtype)
        start = index * _RECORD_HEAD + int(self.starts[index]) * pixel
        with path.open("r+b") as file:
            file.seek(start)
            if file.read(1) == b"\x01":
                height, width = np.frombuffer(file.read(8), np.int32)
                count = int(height) * int(width)
                image = np.frombuffer(file.read(count * (pixel - 1)), self.dtype)
                labels = np.frombuffer(file.read(count), np.uint8)
                return image.reshape(height, width, -1), labels.reshape(height, width)
            image, labels = self._decode(index)
            if self._fits(index, labels):
                file.seek(start + 1)
                file.write(np.array(labels.shape, np.int32).data)
                file.write(np.ascontiguousarray(image).data)
                file.write(np.ascontiguousarray(labels).data)
                file.seek(start)
                file.write(b"\x01")
        return image, labels

    def close(self) -> None:
        """Remove the cache file."""
        if self.file is not None:
            remove(self.file)


# Of a cached case: whether it is there, its height and its width.
_RECORD_HEAD = 1 + 4 + 4


def _pixel_bytes(reader: CaseReader, dtype: np.dtype) -> int:
    """Bytes of a cached pixel and its class id."""
    return reader.preprocessing.single.channels * dtype.itemsize + 1


def _starts(cases: Sequence[Case], preprocessing: Preprocessing) -> NDArray[np.int64]:
    """See `Store`; sizes of images at their own size are those that their headers say."""
    counts = np.full(len(cases), preprocessing.height * preprocessing.width, np.int64)
    if preprocessing.patch is not None:
        found = in_threads(lambda case: pixel_count(case.image), cases)
        counts[:] = np.fromiter(found, np.int64, len(cases))
    return np.concatenate([[0], counts.cumsum()])


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
    store = Store(cases, reader, dtype, _starts(cases, p), stacks=stacks)
    needed = store.bytes
    fits = needed <= cache_bytes
    if cache == "memory" and not fits:
        raise ResourceError(
            f"{amount(len(cases), 'decoded image', 'needs', 'need')} {needed / 2**30:.1f} GiB; "
            f"dataset.cache_gb allows {cache_bytes / 2**30:.1f} GiB.",
            "Raise cache_gb, or set dataset.cache = 'auto'.",
        )
    if cache in ("auto", "memory") and fits and not shared:
        pixels = int(store.starts[-1])
        store.memory = (
            np.empty((pixels, p.single.channels), dtype),
            np.empty(pixels, np.uint8),
            np.empty((len(cases), 2), np.int32),
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
                f"{amount(len(cases), 'decoded image', 'needs', 'need')} {needed / 2**30:.1f} "
                f"GiB on the disk; {free / 2**30:.1f} GiB are free.",
                "Free some space, or set dataset.cache = 'none' (slower).",
                str(cache_file.parent),
            )
        else:
            logger.warning(
                "The disk has no room for %.1f GiB of decoded images: they are decoded again in "
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
