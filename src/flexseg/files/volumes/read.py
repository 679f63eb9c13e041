"""Volumes in, whatever their format, and label volumes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from flexseg.config.findings import amount
from flexseg.errors import DataError
from flexseg.files.dicom.recognition import is_dicom, is_series_folder
from flexseg.files.dicom.series import dicom_files
from flexseg.files.entries import require_file
from flexseg.files.volumes.file_formats.file_format import FORMATS, Part
from flexseg.files.volumes.geometry import text
from flexseg.files.volumes.paths import VOLUME_SUFFIXES, find_volumes, volume_stem, volume_suffix
from flexseg.files.volumes.volume import Volume
from flexseg.files.volumes.write import write_volume

__all__ = [
    "MAX_LABEL",
    "VOLUME_SUFFIXES",
    "Volume",
    "chosen_channel",
    "dicom_files",
    "find_volumes",
    "is_series_folder",
    "label_array",
    "one_channel",
    "read_labels",
    "read_volume",
    "volume_stem",
    "write_volume",
]

MAX_LABEL = 65535
_ROUNDING = 1e-3
# Of labels; images have more values.
_FEW_CLASSES = 254

# ITK prints to the terminal by itself; what matters of that is checked and logged here.
sitk.ProcessObject.SetGlobalWarningDisplay(False)


def read_volume(
    path: Path, *, channel: int | None = None, series: str | None = None, key: str = "image"
) -> Volume:
    """A volume of numbers, as stored (DICOM: after slope and intercept).

    Parameters
    ----------
    path : a file, or a folder with a DICOM series.
    channel : which volume of a 4-D file, or component of a vector image, counted from 0.
        Without it all come, [z, y, x, channels].
    series : in a folder of several DICOM series: a part of the UID or of the description of
        the one to take. Without it the one of most files is taken, with a warning.
    key : which dataset of an HDF5 file.

    Returns
    -------
    Its array is read-only, and no second copy of the voxels is made. A 2-D file becomes a
    volume of one slice.

    Raises
    ------
    DataError : missing, damaged, no volume, no such channel.
    """
    if not path.is_dir() or (volume_suffix(path) and not is_series_folder(path)):
        require_file(path)
    suffix = volume_suffix(path)
    if path.is_dir() or is_dicom(path):
        suffix = ".dcm"
    elif not suffix:
        raise DataError(
            "By its name this is not a volume.",
            f"Give a volume ({', '.join(VOLUME_SUFFIXES)}) or a folder of DICOM files.",
            str(path),
        )
    return chosen_channel(FORMATS.get(suffix).read(path, Part(key, series)), channel, path)


def chosen_channel(volume: Volume, channel: int | None, path: Path) -> Volume:
    """One channel of a volume, counted from 0; None: all of them.

    Raises
    ------
    DataError : there is no such channel.
    """
    if channel is None:
        return volume
    if not 0 <= channel < volume.channels:
        raise DataError(
            f"Channel {channel} does not exist: the volume has "
            f"{amount(volume.channels, 'channel')}, counted from 0.",
            "Choose another --channel.",
            str(path),
        )
    return volume.channel(channel)


def one_channel(volume: Volume, path: Path) -> Volume:
    """The volume, if it has one value per voxel.

    Raises
    ------
    DataError : it has several.
    """
    if volume.channels > 1:
        size = text((*volume.shape[::-1], volume.channels))
        raise DataError(
            f"The volume has {volume.channels} channels (size {size}).",
            f"Choose one of 0 to {volume.channels - 1} with --channel (images only: a label volume "
            "must have one value per voxel).",
            str(path),
        )
    return volume


def read_labels(
    path: Path, *, channel: int | None = None, series: str | None = None, key: str = "image"
) -> Volume:
    """A label volume, [z, y, x] of whole numbers from 0; the parameters are those of `read_volume`.

    Labels stored as floats, as many programs do, are taken if they are whole numbers.

    Raises
    ------
    DataError : as `read_volume`; several channels; values that are no class numbers.
    """
    volume = one_channel(read_volume(path, channel=channel, series=series, key=key), path)
    return volume.with_array(label_array(volume.array, path, volume.step))


def label_array(array: NDArray, path: Path, step: float = 0.0) -> NDArray[np.integer]:
    """The voxels of a label volume as whole numbers.

    Labels stored as floats, as many programs do, are taken if they are whole numbers.

    Parameters
    ----------
    step : see `Volume`. Programs that scale by themselves, as nibabel does, store the class 1 as
        the nearest multiple of it: up to half a step beside.

    Raises
    ------
    DataError : values are fractions, negative, not finite, or too large for class numbers.
    """
    if np.issubdtype(array.dtype, np.floating):
        array = _whole(array, path, step)
    if array.min() < 0 or array.max() > MAX_LABEL:
        low, high = array.min(), array.max()
        fix = (
            f"Give labels that are class ids from 0 (background) to {MAX_LABEL}; this may be "
            "the image."
        )
        if low == -1 and high <= _FEW_CLASSES:
            fix = (
                "If -1 marks what is to be ignored, save it as 255 and declare that value: "
                '"ignore": 255 among the labels of dataset.json, or [mask] ignore = [255].'
            )
        raise DataError(f"The labels have values from {low} to {high}.", fix, str(path))
    return array


def _whole(array: NDArray, path: Path, step: float) -> NDArray[np.int32]:
    """Floats as whole numbers, slice by slice to save memory."""
    tolerance = _ROUNDING + (step / 2 if step < 1 else 0)
    result = np.empty(array.shape, np.int32)
    wrong, example = 0, 0.0
    for target, values in zip(result, array, strict=True):
        rounded = np.rint(values)
        # NaN fails this as well, and what a class number cannot be must not overflow.
        with np.errstate(invalid="ignore"):
            fits = (np.abs(values - rounded) < tolerance) & (
                np.abs(values) < np.iinfo(np.int32).max
            )
        if not fits.all():
            example = example if wrong else float(values[~fits][0])
            wrong += int(fits.size - fits.sum())
        else:
            target[...] = rounded
    if wrong:
        scaled = f" (its header scales what is stored by {step:g})" if step else ""
        raise DataError(
            f"{amount(wrong, 'label voxel', 'is not an integer', 'are not integers')}, e.g. "
            f"{example:g}{scaled}.",
            "Labels are class ids. If they were resampled, do that again with nearest neighbour; "
            "if this is an image or a probability map, give the label volume.",
            str(path),
        )
    return result
