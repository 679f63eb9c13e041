"""A slice of a volume case for its pictures: image, reference and prediction."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from flexseg.config.schema import Infer3dConfig
from flexseg.dataset.labels import LabelMap
from flexseg.evaluation.folder_masks import as_scored
from flexseg.evaluation.volume_scores import on_grid_of, volume_pixels
from flexseg.files.images import IMAGE_SUFFIXES
from flexseg.files.intensity import GreyValues, Intensity
from flexseg.files.volumes.paths import volume_suffix
from flexseg.files.volumes.read import read_labels, read_volume
from flexseg.files.volumes.slices import ANATOMICAL_AXES, SliceAxis
from flexseg.files.volumes.volume import Volume

_PERCENTILES = Intensity("percentile", 0.5, 99.5)


@dataclass(frozen=True)
class VolumeSlice:
    """One slice of a case, in the patient's proportions.

    Attributes
    ----------
    title : which slice, for people.
    image : RGB [h, w, 3]; None without an image.
    reference, prediction : class ids [h, w]; None where they are not known.
    all_reference : class ids of the whole reference [z, y, x], to tell whether it was scored.
    """

    title: str
    image: NDArray[np.uint8] | None
    reference: NDArray[np.uint8] | None
    prediction: NDArray[np.uint8] | None
    all_reference: NDArray[np.uint8] | None


def is_volume(path: Path | None) -> bool:
    """Whether a file, or folder, of a case is a volume by its name."""
    if path is None:
        return False
    return path.is_dir() or (
        bool(volume_suffix(path)) and path.suffix.lower() not in IMAGE_SUFFIXES
    )


def volume_slice(
    image: Path | None,
    reference: Path | None,
    prediction: Path | None,
    labels: LabelMap | None,
    *,
    own: bool,
    reading: Infer3dConfig | None = None,
    intensity: str | None = None,
) -> VolumeSlice | None:
    """The slice of a case that shows most of the reference's classes; None without any file.

    It lies in the plane of the smallest voxels. Without a reference that of the prediction counts,
    without any label the middle slice is shown.

    Parameters
    ----------
    labels : the classes; without them references are not read.
    own : the prediction is of flexseg, its values are class ids.
    reading : channel, series and HDF5 key of the image; None: the first ones.
    intensity : how grey values are read, as `[volume] intensity`; None: percentiles.

    Raises
    ------
    DataError : a file cannot be read, or they lie on several grids.
    """
    scan = _image(image, reading)
    truth = None if reference is None or labels is None else read_labels(reference)
    found = None
    if prediction is not None and (own or labels is not None):
        found = read_labels(prediction)
    grid = next((v for v in (scan, truth, found) if v is not None), None)
    if grid is None:
        return None
    ids: list[NDArray[np.uint8] | None] = []
    for volume, path, encoded in ((truth, reference, True), (found, prediction, not own)):
        if volume is None or path is None:
            ids.append(None)
            continue
        array = on_grid_of(grid, volume, path).array
        ids.append(_ids(array, labels, path) if encoded and labels else array.astype(np.uint8))
    axis = _finest(grid)
    shown = next((array for array in ids if array is not None and array.any()), None)
    number, total = _fullest(axis, grid, shown)
    size = _size(axis, grid)
    grey = None if scan is None else _grey(scan, axis, number, size, intensity)
    reference_ids, prediction_ids = (
        None if array is None else _nearest(axis.slice_view(array, grid.orientation)[number], size)
        for array in ids
    )
    title = f"{axis.name} slice {number + 1} of {total}"
    return VolumeSlice(title, grey, reference_ids, prediction_ids, ids[0])


def _ids(array: NDArray, labels: LabelMap, path: Path) -> NDArray[np.uint8]:
    return as_scored(labels, volume_pixels(array), path).reshape(array.shape)


def _image(path: Path | None, reading: Infer3dConfig | None) -> Volume | None:
    if path is None:
        return None
    c = reading or Infer3dConfig()
    return read_volume(path, channel=c.channel, series=c.series, key=c.hdf5_key).channel(0)


def _finest(grid: Volume) -> SliceAxis:
    """Slices across the longest voxels; of cubes axial ones."""
    sizes = grid.oriented("LPS").voxel_size
    longest = max(range(3), key=lambda i: round(sizes[i], 3))
    return SliceAxis(ANATOMICAL_AXES[longest])


def _fullest(axis: SliceAxis, grid: Volume, labels: NDArray[np.uint8] | None) -> tuple[int, int]:
    """The slice with most labelled voxels, or the middle one, and the number of slices."""
    total = len(axis.slice_view(grid.array, grid.orientation))
    if labels is None:
        return total // 2, total
    slices = axis.slice_view(labels, grid.orientation)
    return int(np.argmax([np.count_nonzero(part) for part in slices])), total


def _size(axis: SliceAxis, grid: Volume) -> tuple[int, int]:
    """Rows and columns of a slice whose pixels are squares of the smaller spacing."""
    rows, columns, _ = axis.spacing(grid)
    height, width = axis.slice_view(grid.array, grid.orientation).shape[1:3]
    unit = min(rows, columns)
    return max(1, round(height * rows / unit)), max(1, round(width * columns / unit))


def _grey(
    scan: Volume,
    axis: SliceAxis,
    number: int,
    size: tuple[int, int],
    intensity: str | None,
) -> NDArray[np.uint8]:
    read = _PERCENTILES if intensity in (None, "none") else Intensity.parse(intensity)
    grey = GreyValues.of(scan.array, read, 8, "volume", quiet=True)
    pixels = grey(axis.slice_view(scan.array, scan.orientation)[number])
    if pixels.shape != size:
        pixels = cv2.resize(pixels, size[::-1], interpolation=cv2.INTER_LINEAR)
    return np.repeat(pixels[..., None], 3, axis=-1)


def _nearest(labels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    plain = np.ascontiguousarray(labels)
    if plain.shape == size:
        return plain
    return cv2.resize(plain, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
