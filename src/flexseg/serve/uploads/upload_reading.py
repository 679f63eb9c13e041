"""An uploaded file as cases: pixels in a file of their own, and what is known of them.

Nothing here needs a network, an engine or the database.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from flexseg.errors import DataError
from flexseg.files.dicom.image import is_picture
from flexseg.files.dicom.recognition import is_dicom
from flexseg.files.images import IMAGE_SUFFIXES, is_image, read_image, read_mask
from flexseg.files.npy import write_npy
from flexseg.files.volumes.paths import VOLUME_SUFFIXES, volume_suffix
from flexseg.files.volumes.read import read_labels, read_volume
from flexseg.files.volumes.volume import Volume

# Name of the pixels in the folder of a case.
PIXELS = "image.npy"
_SAMPLE = 1_000_000
_FEW_CHANNELS = 4
_CHUNK = 1 << 24
# Names that programs add to archives.
_NO_CONTENT = ("__MACOSX", ".", "Thumbs.db", "DICOMDIR")


@dataclass(frozen=True)
class ReadLimits:
    """Of one upload.

    Attributes
    ----------
    bytes : of the file, and of what an archive holds.
    files : that an archive may hold.
    pixels : of one image or volume.
    """

    bytes: int = 4 << 30
    files: int = 5000
    pixels: int = 1 << 30


@dataclass(frozen=True)
class CaseFacts:
    """What is known of the pixels of a case.

    Attributes
    ----------
    name : as people know it: of the uploaded file, or of one in an archive.
    kind : what the array is: an image [H, W, C], or a volume [z, y, x] or [z, y, x, C].
    shape, dtype : of the array.
    spacing : of pixels or voxels in mm along the axes of the array; None: not known.
    origin, direction : of volumes, see `Volume`.
    modality : of DICOM, e.g. "CT".
    window : the values that are shown as black and as white: of images of 8 bits 0 and 255, else
        the 0.5th and the 99.5th percentile.
    range : smallest and largest value.
    digest : SHA-256 of all that a prediction depends on.
    """

    name: str
    kind: Literal["image", "volume"]
    shape: tuple[int, ...]
    dtype: str
    spacing: tuple[float, ...] | None
    origin: tuple[float, ...]
    direction: tuple[float, ...]
    modality: str
    window: tuple[float, float]
    range: tuple[float, float]
    digest: str

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return _FACTS.dump_python(self, mode="json")

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> CaseFacts:
        """What `as_dict` gave."""
        return _FACTS.validate_python(data)

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel in ml."""
        return self.volume(np.empty((1, 1, 1), np.uint8)).voxel_ml

    def volume(self, array: NDArray) -> Volume:
        """An array of the case's size at its place in the patient."""
        z, y, x = self.spacing or (1.0, 1.0, 1.0)
        i, j, k = self.origin
        return Volume(array, (x, y, z), (i, j, k), self.direction, modality=self.modality)


_FACTS = TypeAdapter(CaseFacts)


@dataclass(frozen=True)
class ReadCase:
    """A case of an upload.

    Attributes
    ----------
    folder : holds its pixels as PIXELS, and nothing else.
    """

    folder: Path
    facts: CaseFacts


class UnknownTypeError(DataError):
    """A file is of no type that can be read."""


def read_upload(file: Path, name: str, target: Path, limits: ReadLimits) -> list[ReadCase]:
    """Read an uploaded file, and write the pixels of each of its cases.

    Parameters
    ----------
    file : its suffix is that of `name`.
    name : as the user knows it.
    target : an empty folder, which gets a folder for each case.

    Raises
    ------
    UnknownTypeError : it is neither an image, nor a volume, nor an archive of these.
    DataError : it is damaged or too large.
    """
    if file.suffix.lower() != ".zip":
        return [_read_one(file, name, target / "0", limits)]
    unpacked = target / "unpacked"
    names = _unpack(file, unpacked, limits)
    try:
        found = list(_of_archive(unpacked, names, PurePosixPath(name).stem, target, limits))
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)
    if not found:
        raise UnknownTypeError("The archive holds no image and no volume.", _formats(), name)
    return found


def read_label_upload(file: Path, name: str, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """An uploaded mask, class ids of `shape`: [H, W] of an image, [z, y, x] of a volume.

    Parameters
    ----------
    file : an indexed or grey image whose values are class ids, or a label volume; an array `.npy`.

    Raises
    ------
    DataError : it is damaged, of another size, or holds colours.
    """
    if file.suffix.lower() == ".npy":
        labels = _read_array(file)
    elif len(shape) == 3:
        labels = read_labels(file).array
    else:
        labels = read_mask(file).pixels
    if labels.shape != shape:
        wanted, found = (" x ".join(map(str, size)) for size in (shape, labels.shape))
        raise DataError(
            f"The mask has the size {found}, the case {wanted}.",
            "Give class ids of every pixel of the case, as an indexed image or a label volume.",
            name,
        )
    if labels.dtype.kind not in "biu" or labels.min() < 0 or labels.max() > 255:
        raise DataError(
            "The values of the mask are no class ids.", "Give whole numbers from 0 to 255.", name
        )
    return labels.astype(np.uint8)


def _read_array(path: Path) -> NDArray:
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(
            f"The file cannot be read as an array ({error}).", "Save it with numpy.save."
        ) from None


def _formats() -> str:
    return (
        f"Upload images ({', '.join(IMAGE_SUFFIXES)}), volumes ({', '.join(VOLUME_SUFFIXES)}), or "
        "a zip of images or of a DICOM series."
    )


def _unpack(file: Path, target: Path, limits: ReadLimits) -> dict[Path, str]:
    """The files of an archive, under names of our own; file -> the name that it has there."""
    target.mkdir(parents=True)
    names: dict[Path, str] = {}
    left = limits.bytes
    try:
        with zipfile.ZipFile(file) as archive:
            entries = [e for e in archive.infolist() if not e.is_dir() and not _is_apart(e)]
            if len(entries) > limits.files:
                raise DataError(
                    f"The archive holds {len(entries)} files; at most {limits.files} are read.",
                    "Upload it in parts.",
                )
            for number, entry in enumerate(entries):
                own = target / f"{number:06d}{_suffix(entry.filename)}"
                with archive.open(entry) as source, own.open("wb") as copy:
                    while chunk := source.read(min(_CHUNK, left + 1)):
                        left -= len(chunk)
                        if left < 0:
                            raise DataError(
                                f"The archive holds more than {limits.bytes >> 20} MB.",
                                "Upload it in parts.",
                            )
                        copy.write(chunk)
                names[own] = entry.filename
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError, OSError) as error:
        raise DataError(
            f"The archive cannot be read ({error}).", "Make it again, without a password."
        ) from None
    return names


def _is_apart(entry: zipfile.ZipInfo) -> bool:
    return any(part.startswith(_NO_CONTENT) for part in PurePosixPath(entry.filename).parts)


def _suffix(name: str) -> str:
    path = Path(PurePosixPath(name).name)
    suffix = volume_suffix(path) or path.suffix.lower()
    return suffix if suffix.replace(".", "").isalnum() else ""


def _of_archive(
    folder: Path, names: dict[Path, str], archive: str, target: Path, limits: ReadLimits
) -> Iterator[ReadCase]:
    """Series of DICOM as one case each, all other files as they are; those of no type are left."""
    slices = [path for path in names if is_dicom(path) and not is_picture(path)]
    number = 0
    if slices:
        from flexseg.files.dicom.series import find_series, read_series  # takes a while to import

        known = (s for s in find_series(folder, quiet=True) if s.paths[0] in slices)
        for uid in dict.fromkeys(series.headers[0].series for series in known):
            volume = read_series(folder, uid)
            yield _write_volume(volume, archive, target / str(number), limits)
            number += 1
    for path, name in names.items():
        if path in slices or not _is_known(path):
            continue
        yield _read_one(path, name, target / str(number), limits)
        number += 1


def _is_known(path: Path) -> bool:
    return is_image(path) or bool(volume_suffix(path))


def _read_one(path: Path, name: str, target: Path, limits: ReadLimits) -> ReadCase:
    if not _is_known(path):
        raise UnknownTypeError(
            f"{path.suffix or 'A file without suffix'} is no type that can be read.",
            _formats(),
            name,
        )
    if _is_volume(path):
        return _write_volume(read_volume(path), name, target, limits)
    pixels, spacing = read_image(path), _spacing_of_image(path)
    return _write(pixels, name, target, limits, "image", spacing)


def _is_volume(path: Path) -> bool:
    if path.suffix.lower() == ".npy":
        shape = _read_array(path).shape
        return len(shape) == 4 or (len(shape) == 3 and shape[2] > _FEW_CHANNELS)
    return not is_picture(path) if is_dicom(path) else bool(volume_suffix(path))


def _spacing_of_image(path: Path) -> tuple[float, ...] | None:
    if not is_dicom(path):
        return None
    from flexseg.files.dicom.series import read_header

    header = read_header(path)
    return tuple(header.pixel) or None if header is not None else None


def _write_volume(volume: Volume, name: str, target: Path, limits: ReadLimits) -> ReadCase:
    known = volume.voxel_size
    return _write(volume.array, name, target, limits, "volume", known, volume)


def _write(
    array: NDArray,
    name: str,
    target: Path,
    limits: ReadLimits,
    kind: Literal["image", "volume"],
    spacing: tuple[float, ...] | None,
    place: Volume | None = None,
) -> ReadCase:
    if array.size > limits.pixels:
        raise DataError(
            f"It has {array.size} values; at most {limits.pixels} are read.",
            "Upload a part of it.",
            name,
        )
    array = np.ascontiguousarray(array)
    place = place or Volume(array[None])
    facts = CaseFacts(
        name,
        kind,
        array.shape,
        array.dtype.str,
        spacing,
        place.origin,
        place.direction,
        place.modality,
        *_window(array),
        _digest(array, kind, spacing, place),
    )
    target.mkdir(parents=True)
    write_npy(target / PIXELS, array)
    return ReadCase(target, facts)


def _window(array: NDArray) -> tuple[tuple[float, float], tuple[float, float]]:
    sample = array.reshape(-1)[:: max(1, array.size // _SAMPLE)]
    sample = sample[np.isfinite(sample)].astype(np.float64)
    if not sample.size:
        return (0.0, 1.0), (0.0, 1.0)
    limits = float(sample.min()), float(sample.max())
    if array.dtype == np.uint8:
        return (0.0, 255.0), limits
    low, high = (float(v) for v in np.percentile(sample, (0.5, 99.5)))
    return (low, high if high > low else low + 1.0), limits


def _digest(array: NDArray, kind: str, spacing: tuple[float, ...] | None, place: Volume) -> str:
    about = [kind, array.shape, array.dtype.str, spacing, place.direction, place.modality]
    digest = hashlib.sha256(json.dumps(about).encode())
    for plane in array:
        digest.update(np.ascontiguousarray(plane).data)
    return digest.hexdigest()
