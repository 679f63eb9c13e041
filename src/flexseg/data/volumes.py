"""Volumes: reading of NIfTI, MHA, NRRD and DICOM, and of label volumes.

Volumes travel as SimpleITK images, which carry their geometry (spacing, origin, direction).
Arrays made of them are in SimpleITK's order, [z, y, x].
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from enum import StrEnum
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from flexseg.data.nifti import check_nifti
from flexseg.errors import DataError

logger = logging.getLogger(__name__)

VOLUME_SUFFIXES = (".nii.gz", ".nii", ".mha", ".mhd", ".nrrd", ".nhdr", ".dcm")
MAX_LABEL = 65535
_DICOM_SUFFIXES = (".dcm", ".ima")
_MODALITY = "0008|0060"
_DESCRIPTION = "0008|103e"
_POSITION = "0020|0032"

# ITK prints to the terminal by itself; what matters of that is checked and logged here.
sitk.ProcessObject.SetGlobalWarningDisplay(False)


def volume_stem(path: Path) -> str:
    """The name of a volume without its suffix; `.nii.gz` is one suffix."""
    for suffix in VOLUME_SUFFIXES:
        if path.name.lower().endswith(suffix) and path.name.lower() != suffix:
            return path.name[: -len(suffix)]
    return path.name


def is_series_folder(path: Path) -> bool:
    """Whether a folder holds DICOM files."""
    return any(_is_dicom(file) for file in path.iterdir() if file.is_file())


def _is_dicom(path: Path) -> bool:
    if path.suffix.lower() in _DICOM_SUFFIXES:
        return True
    if path.suffix and not path.suffix[1:].isdigit():
        return False
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def read_volume(path: Path, *, channel: int | None = None, series: str | None = None) -> sitk.Image:
    """A 3-D volume of numbers, as stored (DICOM: after slope and intercept).

    Parameters
    ----------
    path : a file, or a folder with a DICOM series.
    channel : which volume of a 4-D file, or component of a vector image, counted from 0.
    series : in a folder of several DICOM series: a part of the UID or of the description of
        the one to take. Without it the one of most files is taken, with a warning.

    Returns
    -------
    A scalar 3-D image; a 2-D file becomes a volume of one slice.

    Raises
    ------
    DataError : missing, damaged, no volume, several channels and none chosen.
    """
    if path.is_dir():
        image = _read_series(path, series)
    elif path.exists():
        if path.name.lower().endswith((".nii", ".nii.gz")):
            check_nifti(path)
        image = _read([str(path)], path)
    else:
        raise DataError("There is no such file.", "Check the path.", str(path))
    if image.HasMetaDataKey(_MODALITY) and image.GetMetaData(_MODALITY).strip() == "SEG":
        raise DataError(
            "This is a DICOM segmentation object (SEG), which holds one mask per segment.",
            "Convert it to NIfTI or NRRD first, for example with segimage2itkimage of dcmqi.",
            str(path),
        )
    return _one_channel(image, channel, path)


def _read(files: Sequence[str], where: Path) -> sitk.Image:
    try:
        return sitk.ReadImage(files if len(files) > 1 else files[0])
    except RuntimeError as error:
        raise _unreadable(where, error) from None


def _unreadable(where: Path, error: RuntimeError) -> DataError:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reason = lines[-1].rsplit("): ", 1)[-1].removeprefix("ITK ERROR: ") if lines else "no reason"
    if where.is_file() and where.stat().st_size == 0:
        reason = "the file is empty"
    return DataError(
        f"It cannot be read as a volume ({reason.rstrip('.')}).",
        "It is damaged, or of another format than its name says: copy or export it again.",
        str(where),
    )


def _read_series(folder: Path, wanted: str | None) -> sitk.Image:
    reader = sitk.ImageSeriesReader()
    found = {
        uid: reader.GetGDCMSeriesFileNames(str(folder), uid)
        for uid in reader.GetGDCMSeriesIDs(str(folder))
    }
    if not found:
        raise DataError(
            "The folder holds no DICOM series.",
            f"Give a folder of DICOM files, or a volume file ({', '.join(VOLUME_SUFFIXES)}).",
            str(folder),
        )
    files = found[_choose_series(found, wanted, folder)]
    image = _read(files, folder)
    if len(files) > 1:
        _warn_of_gaps(files, folder)
    first = _header(files[0])
    if first.HasMetaDataKey(_MODALITY):
        image.SetMetaData(_MODALITY, first.GetMetaData(_MODALITY))
    return image


def _choose_series(found: dict[str, Sequence[str]], wanted: str | None, folder: Path) -> str:
    if wanted is None and len(found) == 1:
        return next(iter(found))
    names = {uid: _describe(uid, files) for uid, files in found.items()}
    listed = "; ".join(names.values())
    if wanted is not None:
        hits = [uid for uid, name in names.items() if wanted.lower() in name.lower()]
        if len(hits) == 1:
            return hits[0]
        raise DataError(
            f"{len(hits)} of the DICOM series match {wanted!r}. Found: {listed}.",
            "Give --series a part of the description or of the UID that only one series has.",
            str(folder),
        )
    by_size = sorted(found, key=lambda uid: len(found[uid]), reverse=True)
    if len(found[by_size[0]]) == len(found[by_size[1]]):
        raise DataError(
            f"The folder holds {len(found)} DICOM series: {listed}.",
            "Choose one with --series and a part of its description or UID.",
            str(folder),
        )
    logger.warning(
        "%s: %d DICOM series; the one of most files is taken: %s. Others: %s. "
        "Choose another with --series.",
        folder, len(found), names[by_size[0]], "; ".join(names[uid] for uid in by_size[1:]),
    )  # fmt: skip
    return by_size[0]


def _header(file: str) -> sitk.ImageFileReader:
    reader = sitk.ImageFileReader()
    reader.SetFileName(file)
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise _unreadable(Path(file), error) from None
    return reader


def _describe(uid: str, files: Sequence[str]) -> str:
    header = _header(files[0])
    text = header.GetMetaData(_DESCRIPTION).strip() if header.HasMetaDataKey(_DESCRIPTION) else ""
    return f"{text or 'no description'} ({len(files)} files, {uid})"


def _warn_of_gaps(files: Sequence[str], folder: Path) -> None:
    """A missing slice makes distances along the series wrong, though every slice is fine."""
    positions = []
    for file in files:
        header = _header(file)
        if not header.HasMetaDataKey(_POSITION):
            return
        try:
            text = header.GetMetaData(_POSITION).split("\\")
            positions.append(np.array([float(v) for v in text]))
        except ValueError:
            return
    gaps = [float(np.linalg.norm(b - a)) for a, b in pairwise(positions)]
    low, high = min(gaps), max(gaps)
    if high - low > 0.01 * max(high, 1e-6):
        logger.warning(
            "%s: the slices of the DICOM series are %.3g to %.3g mm apart: is one missing, or "
            "are there two series under one UID?", folder, low, high,
        )  # fmt: skip


def _one_channel(image: sitk.Image, channel: int | None, path: Path) -> sitk.Image:
    dimension, components = image.GetDimension(), image.GetNumberOfComponentsPerPixel()
    is_4d = dimension == 4
    count = image.GetSize()[3] if is_4d else components
    if dimension > 4 or (is_4d and components > 1):
        raise DataError(
            f"The file has {dimension} dimensions and {components} components per voxel.",
            "Save one 3-D volume per file.",
            str(path),
        )
    if channel is not None and not 0 <= channel < count:
        raise DataError(
            f"Channel {channel} does not exist: the volume has {count}, counted from 0.",
            "Choose another --channel.",
            str(path),
        )
    if count > 1 and channel is None:
        raise DataError(
            f"The volume has {count} channels (size {_text(image.GetSize())}).",
            f"Choose one of 0 to {count - 1} with --channel (images only: a label volume must have "
            "one value per voxel).",
            str(path),
        )
    if is_4d:
        image = image[:, :, :, channel or 0]
    elif components > 1:
        image = sitk.VectorIndexSelectionCast(image, channel or 0)
    return sitk.JoinSeries(image) if image.GetDimension() == 2 else image


def volume_array(image: sitk.Image) -> NDArray:
    """The voxels [z, y, x] of an image.

    A copy: SimpleITK's views of an image outlive it, and then show memory that is freed.
    """
    return sitk.GetArrayFromImage(image)


def label_array(image: sitk.Image, path: Path) -> NDArray[np.integer]:
    """The voxels [z, y, x] of a label volume as whole numbers.

    Labels stored as floats, as many programs do, are taken if they are whole numbers.

    Raises
    ------
    DataError : values are fractions, negative, not finite, or too large for class numbers.
    """
    array = volume_array(image)
    if np.issubdtype(array.dtype, np.floating):
        rounded = np.rint(array)
        # Header scales such as 0.0039 leave an error of rounding; NaN fails this as well.
        wrong = ~(np.abs(array - rounded) < 1e-3)
        if wrong.any():
            raise DataError(
                f"{int(wrong.sum())} voxels of the labels are no whole numbers, "
                f"e.g. {array[wrong][0]:g}.",
                "Labels are class numbers. If they were resampled, do it again with nearest "
                "neighbour; if this is an image or a probability, give the label volume.",
                str(path),
            )
        array = rounded.astype(np.int32)
    if array.min() < 0 or array.max() > MAX_LABEL:
        raise DataError(
            f"The labels have values from {array.min()} to {array.max()}.",
            f"Labels are class numbers from 0 (background) to {MAX_LABEL}. Is this the image?",
            str(path),
        )
    return array


class GeometryRule(StrEnum):
    """What to do where an image and its label volume lie on different grids.

    `strict`: an error. `voxels`: the headers of the label are wrong, its voxels belong to
    those of the image one by one. `resample`: carry the label over in patient space, nearest.
    """

    STRICT = "strict"
    VOXELS = "voxels"
    RESAMPLE = "resample"


# Corners of two grids that differ by less than this share of a voxel are the same: headers
# are stored in single precision.
_TOLERANCE = 0.2


def match_label(
    label: sitk.Image, image: sitk.Image, rule: GeometryRule, path: Path
) -> tuple[sitk.Image, bool]:
    """A label volume on the grid of its image, and whether it had to be resampled for that.

    A label that covers the same grid in another voxel order (say RAS and LPS) is only
    reordered, unless its header does not count (`voxels`).

    Raises
    ------
    DataError : the grids differ and `rule` does not allow it, or no labelled voxel is left.
    """
    if rule is GeometryRule.VOXELS:
        if label.GetSize() != image.GetSize():
            raise _grids_differ(label, image, path)
        label.CopyInformation(image)
        return label, False
    label = sitk.DICOMOrient(label, orientation(image))
    if _same_grid(label, image):
        label.CopyInformation(image)
        return label, False
    if rule is GeometryRule.STRICT:
        raise _grids_differ(label, image, path)
    matched = sitk.Resample(label, image, sitk.Transform(), sitk.sitkNearestNeighbor, 0)
    if _has_labels(label) and not _has_labels(matched):
        raise DataError(
            "No labelled voxel lies within the image: they are at different places.",
            "Check that they belong together.",
            str(path),
        )
    return matched, True


def _has_labels(label: sitk.Image) -> bool:
    return bool(sitk.GetArrayViewFromImage(label).any())


def _same_grid(a: sitk.Image, b: sitk.Image) -> bool:
    return a.GetSize() == b.GetSize() and _corner_distance(a, b) <= _TOLERANCE * min(b.GetSpacing())


def _corner_distance(a: sitk.Image, b: sitk.Image) -> float:
    """The largest distance in mm between the same corners of two grids of equal size."""
    return max(
        float(np.linalg.norm(np.subtract(*(g.TransformIndexToPhysicalPoint(c) for g in (a, b)))))
        for c in product(*((0, size - 1) for size in a.GetSize()))
    )


def _grids_differ(label: sitk.Image, image: sitk.Image, path: Path) -> DataError:
    differences = [
        f"{name} {_text(of_label)} (image: {_text(of_image)})"
        for name, of_label, of_image in (
            ("size", label.GetSize(), image.GetSize()),
            ("spacing", label.GetSpacing(), image.GetSpacing()),
            ("origin", label.GetOrigin(), image.GetOrigin()),
            ("direction", label.GetDirection(), image.GetDirection()),
        )
        if not np.allclose(of_label, of_image, rtol=1e-3, atol=1e-3)
    ]
    fix = "Check that they belong together; --geometry resample carries the labels over by position"
    if label.GetSize() == image.GetSize():
        fix += ", --geometry voxels ignores the position if the voxels correspond one by one"
    return DataError(
        f"The labels lie on another grid than the image: {', '.join(differences)}.",
        f"{fix}.",
        str(path),
    )


def _text(numbers: Sequence[float]) -> str:
    return " x ".join(f"{n:.5g}" for n in numbers)


def orientation(image: sitk.Image) -> str:
    """Where the axes of an image point, e.g. "LPS": x to the left, y posterior, z superior."""
    return sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(image.GetDirection())


def nonfinite_to_lowest(array: NDArray, path: Path) -> NDArray:
    """The array with NaN and infinite voxels replaced by the lowest finite value, and a warning.

    Raises
    ------
    DataError : no voxel is finite.
    """
    if not np.issubdtype(array.dtype, np.floating):
        return array
    finite = np.isfinite(array)
    count = int(array.size - finite.sum())
    if not count:
        return array
    if count == array.size:
        raise DataError("No voxel has a finite value.", "Export the volume again.", str(path))
    logger.warning("%s: %d voxels are NaN or infinite; they take the lowest value.", path, count)
    return np.where(finite, array, array[finite].min())
