"""Datasets in arrays: `images.npy` with `masks.npy` (PanNuke), and MATLAB files."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.io.matlab import MatReadError

from flexseg.dataset.labels import MAX_CLASSES, make_classes
from flexseg.dataset.marks.made_up_names import made_up_name
from flexseg.dataset.parallel import Progress, run_parallel
from flexseg.derive.dataset_writer import DatasetWriter, Derived
from flexseg.derive.folders import HEADER
from flexseg.derive.mat_files import arrays_of_mat
from flexseg.errors import DataError
from flexseg.files.intensity import Intensity
from flexseg.files.npy import map_npy
from flexseg.outputs import refuse_overlap

_IMAGES = ("image", "images", "img", "scan")
_MASKS = ("mask", "tumormask", "masks", "seg", "gt", "labels")
_CLASS = "label"
_DAMAGED = (
    OSError, ValueError, NotImplementedError, TypeError, KeyError, IndexError, MemoryError,
    MatReadError, zlib.error, struct.error,
)  # fmt: skip
# Name, image [H, W] or [H, W, 3], class ids [H, W], file.
Pair = tuple[str, NDArray, NDArray[np.uint8], Path]


def derive_arrays(
    images: Path,
    masks: Path | None,
    output: Path,
    *,
    class_names: Sequence[str] = (),
    image_key: str | None = None,
    mask_key: str | None = None,
    intensity: Intensity | None = None,
    on_done: Progress | None = None,
) -> Derived:
    """Write images and masks that lie in arrays as a dataset.

    Parameters
    ----------
    images : [N, H, W] or [N, H, W, 3] in an .npy file; or a .mat file, or a folder of them, with
        an image and its mask each.
    masks : of an .npy file: class ids [N, H, W], or [N, H, W, classes] with a channel for each. A
        channel that is set just where all others are not is the background (of several the
        largest one). Where channels
        overlap, the smaller area counts.
    class_names : of the channels without the background, or of the ids from 1 on.
    image_key, mask_key : in .mat files, e.g. "cjdata/image"; without them they are found by name.
        A number `label` beside the mask is the class of all that it marks.
    intensity : how values become grey; without it .npy images stay as they are, and those of .mat
        files are spread from their lowest to their highest value.

    Raises
    ------
    DataError : arrays are missing, damaged or do not fit together.
    """
    refuse_overlap({"--output": output}, [images, masks])
    notes: list[str] = []
    if images.suffix.lower() == ".npy":
        stack = _Stack(images, masks)
        total, grey, notes = len(stack), intensity or Intensity("none"), stack.notes

        def pairs() -> Iterator[Pair]:
            yield from stack.pairs()

        highest = max(int(ids.max(initial=0)) for _, _, ids, _ in pairs())
    else:
        files = [images] if images.is_file() else sorted(images.glob("*.mat"))
        if not files:
            raise DataError(
                "There are no .mat or .npy files in this folder.", "Check the path.", str(images)
            )
        total, grey = len(files), intensity or Intensity("full")

        def pairs() -> Iterator[Pair]:
            for file in files:
                yield (file.stem, *_of_mat(file, image_key, mask_key), file)

        def highest_id(file: Path) -> int:
            return int(_of_mat(file, image_key, mask_key)[1].max(initial=0))

        highest = max(run_parallel(highest_id, files, 1, None))
    count = max(highest, len(class_names), 1)
    names = [*class_names, *(made_up_name(i) for i in range(len(class_names) + 1, count + 1))]
    classes = make_classes([(name, (i,)) for i, name in enumerate(names, start=1)])
    rows, empty = [], 0
    with DatasetWriter(output, classes=classes) as writer:
        for done, (name, image, ids, source) in enumerate(pairs(), start=1):
            pixels = grey.apply(image, grey.limits(image), 8, str(source))
            present = np.unique(ids[ids != 0])
            empty += not len(present)
            files_of = (
                writer.write_image(f"{name}.png", pixels),
                writer.write_mask(f"{name}.png", ids),
            )
            told = " ".join(map(str, present))
            rows.append((*files_of, name, told, source.name, (masks or source).name))
            if on_done is not None:
                on_done(done, total)
        parameters = {"images": images, "masks": masks, "intensity": str(grey)}
        return writer.finish(
            HEADER, rows, kind="arrays", parameters=parameters, empty=empty, group=None, notes=notes
        )


class _Stack:
    """Images and masks of two .npy files, read one by one."""

    def __init__(self, images: Path, masks: Path | None) -> None:
        if masks is None:
            raise DataError("The masks are missing.", "Give masks.npy as well.", str(images))
        self.source = images
        self.images, self.masks = _mapped(images), _mapped(masks)
        x, y = self.images.shape, self.masks.shape
        fits = len(x) in (3, 4) and len(y) in (3, 4) and x[:3] == y[:3]
        if not fits or (len(x) == 4 and x[3] not in (1, 3)):
            raise DataError(
                f"Images of shape {list(x)} and masks of {list(y)} do not match.",
                "Give images [N, H, W] or [N, H, W, 3], and masks [N, H, W] or [N, H, W, classes].",
                str(masks),
            )
        self.channels: list[int] | None = None
        self.notes: list[str] = []
        if len(y) == 4:
            background = _background_channel(self.masks)
            self.channels = [c for c in range(y[3]) if c != background]
            if background is not None:
                self.notes.append(
                    f"Channel {background} of the masks (counted from 0) is taken for the "
                    "background."
                )

    def __len__(self) -> int:
        return len(self.images)

    def pairs(self) -> Iterator[Pair]:
        digits = len(str(len(self) - 1))
        for i in range(len(self)):
            image = _shown(np.asarray(self.images[i]))
            mask = np.asarray(self.masks[i])
            ids = _ids(mask) if self.channels is None else _of_channels(mask, self.channels)
            yield f"{i:0{digits}}", image, ids, self.source


def _mapped(path: Path) -> NDArray:
    try:
        return map_npy(path)
    except (OSError, ValueError) as error:
        raise DataError(f"This is not an array ({error}).", "Save it again.", str(path)) from None


def _shown(image: NDArray) -> NDArray:
    """Numbers that are whole become 8 bits: PanNuke's images are floats from 0 to 255."""
    image = image[..., 0] if image.ndim == 3 and image.shape[2] == 1 else image
    whole = image.dtype.kind == "f" and image.min() >= 0 and image.max() <= 255
    return np.rint(image).astype(np.uint8) if whole and image.max() > 1 else image


def _background_channel(masks: NDArray) -> int | None:
    """The channel that is set just where all others are not.

    Where classes fill the images, each channel is; the one of the largest area counts then.
    """
    count = masks.shape[3]
    candidates = set(range(count)) if count > 1 else set()
    areas = np.zeros(count)
    for one in masks:
        marked = np.asarray(one) > 0
        areas += marked.sum(axis=(0, 1))
        number = marked.sum(axis=-1)
        alone = {c: (number - marked[..., c]) == 0 for c in candidates}
        candidates = {c for c in candidates if (marked[..., c] == alone[c]).all()}
    return max(sorted(candidates), key=lambda c: areas[c], default=None)


def _of_channels(mask: NDArray, channels: list[int]) -> NDArray[np.uint8]:
    """Class ids [H, W] of a mask [H, W, channels]; small areas lie on large ones."""
    ids = np.zeros(mask.shape[:2], np.uint8)
    marked = [(mask[..., c] > 0, i) for i, c in enumerate(channels, start=1)]
    for area, i in sorted(marked, key=lambda one: -int(one[0].sum())):
        ids[area] = i
    return ids


def _ids(mask: NDArray) -> NDArray[np.uint8]:
    low, high = mask.min(initial=0), mask.max(initial=0)
    if low < 0 or high > MAX_CLASSES or (mask.dtype.kind == "f" and (mask % 1).any()):
        raise DataError(
            f"The mask holds values from {low:g} to {high:g}; expected class ids up to "
            f"{MAX_CLASSES}.",
            "Give masks of class ids, or with a channel for each class.",
        )
    return mask.astype(np.uint8)


def _of_mat(
    path: Path, image_key: str | None, mask_key: str | None
) -> tuple[NDArray, NDArray[np.uint8]]:
    """The image and the class ids [H, W] of a .mat file, whatever its version."""
    try:
        arrays = dict(arrays_of_mat(path))
    except _DAMAGED as error:
        raise DataError(
            f"This is not a MATLAB file ({error}).", "Save it again.", str(path)
        ) from None
    image = arrays[_chosen(arrays, image_key, _IMAGES, "image", path)]
    key = _chosen(arrays, mask_key, _MASKS, "mask", path)
    mask = arrays[key]
    if mask.shape != image.shape[:2]:
        raise DataError(
            f"The image has the shape {list(image.shape)}, but its mask has {list(mask.shape)}.",
            "Name other arrays with --image-key and --mask-key.",
            str(path),
        )
    label = arrays.get("/".join([*key.split("/")[:-1], _CLASS]))
    if label is not None and label.size == 1 and key.split("/")[-1] != _CLASS:
        return image, _ids((mask > 0) * label.ravel()[0])
    return image, _ids(mask)


def _chosen(
    arrays: dict[str, NDArray], given: str | None, words: tuple[str, ...], what: str, path: Path
) -> str:
    planes = [key for key, array in arrays.items() if array.ndim in (2, 3) and array.size > 1]
    if given is not None and given in planes:
        return given
    last = {key: key.split("/")[-1].lower() for key in planes}
    found = [key for word in words for key in planes if last[key] == word] if not given else []
    if found:
        return found[0]
    raise DataError(
        f"It is not clear which array is the {what}; there are {', '.join(planes) or 'none'}.",
        f"Name it with --{what}-key.",
        str(path),
    )
