"""DICOM pixels by pydicom: files of several frames, and compression that GDCM does not know.

The functional groups are those of DICOM PS3.3, C.7.6.16.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from flexseg.errors import DataError, ResourceError
from flexseg.files.dicom.stack import stack
from flexseg.files.volumes.volume import Volume
from flexseg.machine import pip_install

if TYPE_CHECKING:
    from pydicom import Dataset

    # The functional groups of one frame, and those of all, if there are any.
    Groups = tuple[Dataset, Dataset | None]


def read_frames(path: Path) -> Volume:
    """The frames of one file as a volume, in order of their positions, after slope and intercept.

    Raises
    ------
    DataError : damaged, frames without positions or that make no volume.
    ResourceError : pydicom is not installed.
    """
    tags = _tags(path)
    frames = _frames(tags)
    places, axes, pixel, thickness = frame_places(tags, path)
    order = np.argsort(places @ np.cross(axes[:3], axes[3:]), kind="stable")
    voxels = gather(
        (
            _scaled(
                _black_lowest(pixels, tags), _first(frames[i], "PixelValueTransformationSequence")
            )
            for i, pixels in zip(order, _decoded(path, order.tolist()), strict=True)
        ),
        len(order),
    )
    return stack(voxels, places[order], axes.tolist(), pixel, thickness, path)


def frame_places(
    tags: Dataset, path: Path
) -> tuple[NDArray[np.float64], NDArray[np.float64], list[float], float]:
    """Where the frames of a file lie, in the order that they are stored in.

    Returns
    -------
    Positions [frames, 3] in mm, directions along a row and a column [6], distances of rows and
    of columns in mm, thickness in mm (0 if not known).

    Raises
    ------
    DataError : the tags do not tell, or the frames lie in several directions.
    """
    frames = _frames(tags)
    try:
        positions = [
            _group(frame, "PlanePositionSequence").ImagePositionPatient for frame in frames
        ]
        directions = [
            _group(frame, "PlaneOrientationSequence").ImageOrientationPatient for frame in frames
        ]
        measures = _group(frames[0], "PixelMeasuresSequence")
        pixel = [float(v) for v in measures.PixelSpacing]
        thickness = float(measures.get("SliceThickness") or 0)
        places, axes = np.array(positions, float), np.array(directions, float)
    except (AttributeError, LookupError, TypeError, ValueError):
        raise DataError(
            f"The DICOM file has {tags.get('NumberOfFrames')} frames, but does not say where in "
            "the patient they lie: it may be a video, or the tiles of a whole-slide image.",
            "Give a volume: a series of slices, or an enhanced CT or MR file.",
            str(path),
        ) from None
    if np.ptp(axes, axis=0).max() > 0.01:
        raise DataError(
            "The frames of the DICOM file have several orientations.",
            "Export every stack as a separate series.",
            str(path),
        )
    return places, axes[0], pixel, thickness


def _frames(tags: Dataset) -> list[Groups]:
    """The functional groups of each frame: its own, and those of all frames."""
    shared = (tags.get("SharedFunctionalGroupsSequence") or [None])[0]
    return [(frame, shared) for frame in tags.get("PerFrameFunctionalGroupsSequence") or ()]


def decode(path: Path) -> NDArray:
    """The pixels of a file of one frame, after slope and intercept.

    Raises
    ------
    DataError : damaged, or no decoder for the compression.
    """
    try:
        tags = _tags(path)
    except ResourceError:
        raise DataError(
            "Its pixels cannot be decoded.",
            "It is damaged (copy or export it again), or its compression is rare: "
            f"{pip_install('dicom')} adds decoders.",
            str(path),
        ) from None
    return _scaled(_black_lowest(next(iter(_decoded(path, [0]))), tags), tags)


def gather(slices: Iterable[NDArray], count: int) -> NDArray:
    """Slices as one array, of the smallest type that holds them all.

    ITK gives 32 bits as soon as an intercept could leave 16, which Hounsfield units hardly ever
    do, and 64-bit floats for fractions, of which stored values of 16 bits need 24.
    """
    result: NDArray | None = None
    for i, pixels in enumerate(slices):
        narrow = _narrow(pixels)
        if result is None:
            result = np.empty((count, *narrow.shape), narrow.dtype)
        elif not np.can_cast(narrow.dtype, result.dtype):
            result = result.astype(_common(result.dtype, narrow.dtype))
        result[i] = narrow
    if result is None:
        raise ValueError("a volume needs at least one slice")
    result.flags.writeable = False
    return result


def _narrow(pixels: NDArray) -> NDArray:
    if pixels.dtype.kind == "f":
        return pixels.astype(np.float32, copy=False)
    if pixels.dtype.itemsize > 2:
        low, high = int(pixels.min()), int(pixels.max())
        for kind in (np.int16, np.uint16, np.int32):
            if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
                return pixels.astype(kind, copy=False)
    return pixels


def _common(a: np.dtype, b: np.dtype) -> np.dtype:
    """A type for both; 32-bit floats for whatever has fractions."""
    return np.dtype(np.float32) if "f" in (a.kind, b.kind) else np.promote_types(a, b)


def _tags(path: Path) -> Dataset:
    """The tags of a file, without its pixels."""
    try:
        import pydicom
    except ImportError:
        raise ResourceError(
            "Reading multi-frame DICOM files needs pydicom, which is not installed.",
            f"Install it: {pip_install('dicom')}.",
            str(path),
        ) from None
    try:
        return pydicom.dcmread(path, stop_before_pixels=True)
    except Exception as error:  # pydicom's errors for damaged files have no common base
        raise _unreadable(path, error) from None


def _decoded(path: Path, frames: list[int]) -> Iterable[NDArray]:
    from pydicom.pixels import iter_pixels

    try:
        yield from iter_pixels(path, indices=frames)
    except Exception as error:  # neither have those of its decoders
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> DataError:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return DataError(
        f"It cannot be read as a volume ({reason.rstrip('.:')}).",
        "It is damaged, or no installed decoder knows its compression: copy it again, or export "
        "it uncompressed.",
        str(path),
    )


def _first(groups: Groups, name: str) -> Dataset | None:
    """A functional group: that of the frame itself, or that of all frames, or None."""
    return next((g[name][0] for g in groups if g is not None and g.get(name)), None)


def _group(groups: Groups, name: str) -> Dataset:
    found = _first(groups, name)
    if found is None:
        raise LookupError(name)
    return found


def _black_lowest(pixels: NDArray, tags: Dataset) -> NDArray:
    """Pixels of which low values are dark: those of MONOCHROME1 turned round, as GDCM does it."""
    if tags.get("PhotometricInterpretation") != "MONOCHROME1" or pixels.dtype.kind not in "iu":
        return pixels
    bits, signed = int(tags.BitsStored), pixels.dtype.kind == "i"
    ends = -1 if signed else 2**bits - 1  # the lowest and the highest value together
    return (ends - pixels.astype(np.int64)).astype(pixels.dtype)


def _scaled(pixels: NDArray, tags: Dataset | None) -> NDArray:
    """Pixels after the slope and intercept that the tags tell, if any."""
    slope, intercept = (
        float(1 if value is None else value)
        for value in (
            getattr(tags, "RescaleSlope", 1),
            getattr(tags, "RescaleIntercept", None) or 0,
        )
    )
    if (slope, intercept) == (1, 0):
        return pixels
    scaled = pixels * slope + intercept
    whole = slope.is_integer() and intercept.is_integer()
    return scaled.astype(np.int32) if whole else scaled
