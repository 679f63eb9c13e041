"""Uploads as images, volumes and labels, each written as an array: the work of a reader process."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NoReturn

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from flexseg.dataset.labels import IGNORED, LabelClass, LabelMap
from flexseg.errors import DataError, FlexsegError, ResourceError
from flexseg.files.dicom.image import is_picture
from flexseg.files.dicom.recognition import is_dicom
from flexseg.files.dicom.series import dicom_files, find_series, image_header
from flexseg.files.entries import list_files
from flexseg.files.images import IMAGE_SUFFIXES, is_image, read_image, read_mask
from flexseg.files.limits import TooLargeError
from flexseg.files.npy import map_npy, read_npy, write_npy
from flexseg.files.volumes.paths import find_volumes, volume_suffix
from flexseg.files.volumes.payload import explain_damage
from flexseg.files.volumes.read import read_labels, read_volume
from flexseg.files.volumes.volume import Volume
from flexseg.inference.results.dicom_seg import write_segmentation
from flexseg.machine import size_text
from flexseg.serve.uploads.archive import unpack
from flexseg.serve.uploads.case_facts import PIXELS, CaseFacts, ReadCase
from flexseg.serve.uploads.upload_limits import ReadLimits
from flexseg.serve.uploads.upload_names import (
    ARCHIVE_SUFFIX,
    UnknownTypeError,
    known_types,
    shown_name,
)

# Of labels, in the folder that they are read into.
LABELS = "labels.npy"
# What is written of labels for the viewers of a hospital, in an empty folder.
SEGMENTATION = "segmentation.dcm"
_UNPACKED = "unpacked"
# Arrays of three axes are images if the last one is no longer than this: channels.
_CHANNELS = 4
# Reasons that are told one by one; an archive may hold thousands of other files.
_MOST_TOLD = 100


@dataclass(frozen=True)
class LeftOut:
    """A file of an archive that is no case, and why."""

    name: str
    why: str


@dataclass(frozen=True)
class Upload:
    """What an upload holds: at least one case."""

    cases: list[ReadCase]
    left_out: list[LeftOut]


class Segments(BaseModel):
    """The labels of a case that was read of a DICOM series, which become a segmentation of it.

    Attributes
    ----------
    digest : of the case, see `CaseFacts`.
    labels : file of its class ids [z, y, x], uint8.
    classes : id, name, colour and codes of each, without the background.
    model : what made them.
    corrected : by a person.
    """

    model_config = ConfigDict(frozen=True)

    digest: str
    labels: Path
    classes: tuple[LabelClass, ...]
    model: str
    corrected: bool


def read_upload(file: Path, name: str, target: Path, limits: ReadLimits) -> Upload:
    """Read an uploaded file, and write the pixels of each of its cases.

    Parameters
    ----------
    file : stored under the suffix of `kept_suffix`.
    name : as the user knows it.
    target : an empty folder, which gets a folder for each case.

    Raises
    ------
    UnknownTypeError : it is neither an image, nor a volume, nor an archive of these.
    TooLargeError : it takes more than the limits.
    DataError : it is damaged.
    ResourceError : the folder cannot be written to.
    """
    with _explained(file, name, limits):
        if file.suffix.lower() == ARCHIVE_SUFFIX:
            return _of_archive(file, shown_name(name), target, limits)
        if not _is_case(file):
            raise _unknown(name)
        cases = _Cases(target, limits, lambda path: shown_name(name) if path == file else "")
        cases.read(file)
        return Upload(cases.found, [])


def read_label_upload(
    file: Path, name: str, shape: tuple[int, ...], target: Path, limits: ReadLimits
) -> None:
    """Read an uploaded mask, and write its class ids as LABELS, uint8 of `shape`.

    Parameters
    ----------
    file : an indexed or grey image whose values are class ids, or a label volume; an array `.npy`.
    shape : [H, W] of an image, [z, y, x] of a volume.
    target : an empty folder.

    Raises
    ------
    TooLargeError : it takes more than the limits.
    DataError : it is damaged, of another size, or holds colours.
    """
    with _explained(file, name, limits):
        labels = _labels(file, len(shape))
        if labels.shape != shape:
            wanted, found = (" x ".join(map(str, size)) for size in (shape, labels.shape))
            raise DataError(
                f"The mask has the size {found}, the case {wanted}.",
                "Give class ids of every pixel of the case, as an indexed image or a label volume.",
                shown_name(name),
            )
        if labels.dtype.kind not in "biu" or labels.min() < 0 or labels.max() > 255:
            raise DataError(
                "The values of the mask are no class ids.",
                "Give whole numbers from 0 to 255.",
                shown_name(name),
            )
        write_npy(target / LABELS, labels.astype(np.uint8))


def segment_upload(
    file: Path, name: str, segments: Segments, target: Path, limits: ReadLimits
) -> None:
    """Write SEGMENTATION, a DICOM segmentation of the series in an upload that has become a case.

    It refers to the series' own files, which are read once more. Pixels that nobody has looked at
    are in no segment.

    Parameters
    ----------
    target : an empty folder.

    Raises
    ------
    TooLargeError : it takes more than the limits.
    DataError : its headers are not sufficient, or there is nothing to mark.
    """
    with _explained(file, name, limits):
        root = file
        if file.suffix.lower() == ARCHIVE_SUFFIX:
            root = target / _UNPACKED
            root.mkdir()
            unpack(file, shown_name(name), root, limits)
        for path, series in _all_series(root):
            volume = read_volume(path, series=series)
            facts = CaseFacts.of(volume.array, name, "volume", volume.voxel_size, volume)
            if facts.digest == segments.digest:
                break
        else:
            raise DataError("It holds no such series.", "Send it again as a new case.", name)
        labels = read_npy(segments.labels)
        labels[labels == IGNORED] = 0
        written = write_segmentation(
            target / SEGMENTATION,
            replace(volume, array=labels),
            LabelMap.of_foreground(segments.classes),
            dicom_files(path, series),
            model_name=segments.model,
            corrected=segments.corrected,
        )
        if root != file:
            shutil.rmtree(root)
        if not written:
            raise DataError(
                "Nothing is marked, and a DICOM segmentation must have a segment.",
                "Choose another format for an empty mask.",
                name,
            )


def _all_series(root: Path) -> Iterator[tuple[Path, str | None]]:
    """Folders and files of DICOM below a folder, or the file itself, with each of their series."""
    for source in [root] if root.is_file() else _sources(root):
        if source.is_dir():
            yield from ((source, series) for series in _series_of(source))
        elif is_dicom(source) and _is_volume(source):
            yield source, None


def _series_of(folder: Path) -> list[str | None]:
    """To choose by; None where there is no choice."""
    known = [one.headers[0].series for one in find_series(folder, quiet=True)]
    several = [*dict.fromkeys(known)]
    return [*several] if len(several) > 1 else [None]


def _labels(file: Path, axes: int) -> NDArray:
    if file.suffix.lower() == ".npy":
        with explain_damage(file):
            return read_npy(file)
    return read_labels(file).array if axes == 3 else read_mask(file).pixels


@contextmanager
def _explained(file: Path, name: str, limits: ReadLimits) -> Iterator[None]:
    """Errors that name the upload, and not its place."""

    def shown(place: Path) -> str:
        return shown_name(name) if place == file else ""

    try:
        yield
    except TooLargeError as error:
        if error.where is not None and error.where == shown_name(name):
            raise
        _refuse_size(name, limits)
    except MemoryError:
        _refuse_size(name, limits)
    except FlexsegError as error:
        problem, fix = (_plain(text, file, shown) for text in (error.problem, error.fix))
        where = error.where if error.where not in (None, str(file)) else name
        raise type(error)(problem, fix, shown_name(where or name)) from None
    except OSError as error:
        raise ResourceError(
            f"The server cannot store the upload ({error.strerror or type(error).__name__}).",
            "Try again later, or tell whoever runs the server.",
            shown_name(name),
        ) from None


def _refuse_size(name: str, limits: ReadLimits) -> NoReturn:
    one, together = map(size_text, (limits.image_bytes, limits.unpacked_bytes))
    raise TooLargeError(
        f"It takes more memory than is allowed here: {one} for the pixels of one image or volume, "
        f"and {together} for those of one upload together.",
        "Cut or scale it down, or send the files of an archive in several parts. If it should be "
        "small, its header is damaged: export it again.",
        shown_name(name),
    ) from None


def _unknown(name: str) -> UnknownTypeError:
    return UnknownTypeError(
        "It holds neither an image nor a volume.", known_types(), shown_name(name)
    )


class _Cases:
    """The cases of one upload, as they are read into a folder.

    Parameters
    ----------
    shown : the name of a file for people; empty of what lies elsewhere.
    """

    def __init__(self, target: Path, limits: ReadLimits, shown: Callable[[Path], str]) -> None:
        self.found: list[ReadCase] = []
        self._target = target
        self._limits = limits
        self._shown = shown
        self._room = limits.unpacked_bytes

    def read(self, path: Path) -> None:
        """Read a file, or the folder of a series.

        Raises
        ------
        DataError : it cannot be read; `where` is its name.
        """
        name = shown_name(self._shown(path))
        try:
            if path.is_dir():
                self._read_series(path, name)
                return
            if _is_volume(path):
                self._write_volume(read_volume(path), name)
                return
            pixels = read_image(path)
            header = image_header(path) if is_dicom(path) else None
            place = Volume(pixels[None], modality=header.modality if header else "")
            spacing = (header.pixel if header else ()) or None
            self._write(pixels, name, "image", spacing, place)
        except TooLargeError:
            _refuse_size(name, self._limits)
        except FlexsegError as error:
            problem, fix = (_plain(text, path, self._shown) for text in (error.problem, error.fix))
            raise type(error)(problem, fix, name) from None

    def _read_series(self, folder: Path, name: str) -> None:
        """All series of a folder; of files that make several volumes, see `read_volume`."""
        several = _series_of(folder)
        for number, series in enumerate(several, start=1):
            own_name = name if len(several) == 1 else f"{name} {number}"
            self._write_volume(read_volume(folder, series=series), own_name)

    def _write_volume(self, volume: Volume, name: str) -> None:
        self._write(volume.array, name, "volume", volume.voxel_size, volume)

    def _write(
        self,
        array: NDArray,
        name: str,
        kind: Literal["image", "volume"],
        spacing: tuple[float, ...] | None,
        place: Volume,
    ) -> None:
        self._room -= array.nbytes
        # The size of each file was judged before it was read.
        if array.nbytes > self._limits.image_bytes or self._room < 0:
            raise TooLargeError("", "")
        array = np.ascontiguousarray(array)
        folder = self._target / str(len(self.found))
        folder.mkdir()
        write_npy(folder / PIXELS, array)
        self.found.append(ReadCase(folder, CaseFacts.of(array, name, kind, spacing, place)))


def _plain(text: str, path: Path, shown: Callable[[Path], str]) -> str:
    """A sentence without the folders that only the server knows."""
    for place in (path, *path.parents[:-1]):
        text = text.replace(f"{place}/", "").replace(str(place), shown(place))
    return text


def _of_archive(file: Path, name: str, target: Path, limits: ReadLimits) -> Upload:
    root = target / _UNPACKED
    root.mkdir()
    unpacked = unpack(file, name, root, limits)

    def shown(path: Path) -> str:
        if path == root:
            return Path(name).stem
        inside = path.is_relative_to(root)
        return unpacked.names.get(path, path.name if inside else "")

    cases = _Cases(target, limits, shown)
    failed: list[tuple[str, FlexsegError]] = []
    sources = _sources(root)
    for source in sources:
        try:
            cases.read(source)
        except (TooLargeError, ResourceError):
            raise
        except FlexsegError as error:
            failed.append((shown(source), error))
    others = [p for p in unpacked.names if not any(_holds(source, p) for source in sources)]
    shutil.rmtree(root)
    if not cases.found:
        raise failed[0][1] if failed else _unknown(name)
    told = [
        *(LeftOut(place, f"{error.problem} {error.fix}") for place, error in failed),
        *(LeftOut(place, "An archive within an archive.") for place in unpacked.left_out),
        *(LeftOut(unpacked.names[p], "Neither an image nor a volume.") for p in others),
    ]
    if len(told) > _MOST_TOLD:
        more = f"{len(told) - _MOST_TOLD} more files"
        told = [*told[:_MOST_TOLD], LeftOut(more, "These are not told one by one.")]
    return Upload(cases.found, told)


def _sources(root: Path) -> list[Path]:
    """The files, and folders of series, below a folder that are each one case."""
    try:
        volumes = [p for p in find_volumes(root, recursive=True) if p.is_dir() or _is_volume(p)]
    except DataError:  # there is none
        volumes = []
    images = [
        path
        for path in list_files(root, IMAGE_SUFFIXES, recursive=True)
        if not _is_volume(path) and not any(_holds(volume, path) for volume in volumes)
    ]
    return sorted({*volumes, *images})


def _holds(source: Path, path: Path) -> bool:
    """Whether a file is a case, or a slice of one (DICOM files lie in the very folder)."""
    if source == path:
        return True
    return path.parent == source and is_dicom(path)


def _is_case(path: Path) -> bool:
    return is_image(path) or bool(volume_suffix(path))


def _is_volume(path: Path) -> bool:
    """Whether a file is a volume; arrays tell it by their axes, all others by name or header."""
    if is_dicom(path):
        return not is_picture(path)
    if path.suffix.lower() != ".npy":
        return bool(volume_suffix(path))
    try:
        shape = map_npy(path).shape
    except (DataError, OSError, ValueError):
        return False  # reading it tells why
    return len(shape) == 4 or (len(shape) == 3 and shape[2] > _CHANNELS)
