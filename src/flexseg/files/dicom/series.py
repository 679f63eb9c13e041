"""DICOM series: which files belong together, in what order, and where their slices lie.

Positions decide, never file names or instance numbers. The tags are those of the modules
General Series, Image Plane and Image Pixel (DICOM PS3.3, C.7.3.1, C.7.6.2, C.7.6.3).
"""

from __future__ import annotations

import hashlib
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from flexseg.config.findings import examples
from flexseg.errors import DataError
from flexseg.files.dicom.elements import check_lengths
from flexseg.files.dicom.frames import decode, gather, read_frames
from flexseg.files.dicom.recognition import has_dicom_name, is_dicom
from flexseg.files.dicom.stack import stack
from flexseg.files.entries import require_file
from flexseg.files.volumes.payload import check_volume_size
from flexseg.files.volumes.volume import Volume

logger = logging.getLogger(__name__)

# Directions of slices that differ by less are one: they are written with few digits.
_SAME_DIRECTION = 0.01
# DICOM-SEG, with one mask per segment or with a label map.
_SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
# Storage classes of files without an image: directories, documents, radiotherapy
# plans and structures, presentation states, registrations, waveforms, annotations.
_NO_IMAGE = tuple(
    f"1.2.840.10008.{rest}"
    for rest in (
        "1.3.10", "5.1.4.1.1.481.", "5.1.4.1.1.88.", "5.1.4.1.1.104.", "5.1.4.1.1.11.",
        "5.1.4.1.1.66.1", "5.1.4.1.1.66.3", "5.1.4.1.1.66.5", "5.1.4.1.1.9.", "5.1.4.1.1.91.1",
    )
)  # fmt: skip


@dataclass(frozen=True)
class Header:
    """What the tags of one file say; `position` and `axes` are empty where they say nothing.

    `patient` stands for the patient and does not tell who it is; empty without an ID.
    """

    path: Path
    series: str
    instance: str
    description: str
    number: int
    size: tuple[int, int]
    components: int
    frames: int
    position: tuple[float, ...]
    axes: tuple[float, ...]
    pixel: tuple[float, ...]
    thickness: float
    bits: int
    modality: str
    storage: str
    patient: str = ""

    @property
    def kind(self) -> tuple[object, ...]:
        """What files of one volume have in common, beside their direction."""
        return (self.series, self.size, self.components, len(self.axes), self.frames > 1)

    def is_parallel(self, other: Header) -> bool:
        """Whether two slices have the same directions of rows and columns."""
        return np.allclose(self.axes, other.axes, rtol=0, atol=_SAME_DIRECTION)

    @property
    def normal(self) -> NDArray[np.float64]:
        """The unit vector from slice to slice, if they are stacked at right angles."""
        return np.cross(self.axes[:3], self.axes[3:])


def read_header(path: Path) -> Header | None:
    """The tags of a DICOM file; None for one that holds no image, or segments.

    Raises
    ------
    DataError : the file is damaged.
    """
    if storage_class(path).startswith((*_NO_IMAGE, *_SEGMENTATIONS)):
        return None
    reader = _reader(path)
    try:
        check_lengths(path)
        reader.ReadImageInformation()
    except ValueError as error:
        raise _unreadable(path, str(error)) from None
    except RuntimeError:
        raise _unreadable(path, "its header is damaged") from None

    def text(tag: str) -> str:
        return reader.GetMetaData(tag).strip(" \0") if reader.HasMetaDataKey(tag) else ""

    def numbers(tag: str, count: int) -> tuple[float, ...]:
        try:
            values = tuple(float(v) for v in text(tag).split("\\"))
        except ValueError:
            return ()
        return values if len(values) == count and np.isfinite(values).all() else ()

    return Header(
        path=path,
        series=text("0020|000e"),
        instance=text("0008|0018"),
        description=text("0008|103e"),
        number=int(*numbers("0020|0013", 1)),
        size=(reader.GetSize()[1], reader.GetSize()[0]),
        components=reader.GetNumberOfComponents(),
        frames=int(*numbers("0028|0008", 1) or (1,)),
        position=numbers("0020|0032", 3),
        axes=numbers("0020|0037", 6),
        pixel=numbers("0028|0030", 2),
        bits=int(*numbers("0028|0100", 1) or (16,)),
        thickness=(numbers("0018|0088", 1) or numbers("0018|0050", 1) or (0.0,))[0],
        modality=text("0008|0060"),
        storage=text("0008|0016"),
        patient=_pseudonym(text("0010|0020")),
    )


def _pseudonym(patient_id: str) -> str:
    """A name for a patient by which files of one are known, while their ID is told nowhere."""
    digest = hashlib.sha256(patient_id.encode("utf-8", "surrogatepass")).hexdigest()
    return f"patient-{digest[:12]}" if patient_id else ""


def image_header(path: Path) -> Header:
    """The tags of a file of an image. Raises DataError if it is damaged, or holds none."""
    header = read_header(path)
    if header is None:
        raise _no_image(path)
    return header


def _reader(path: Path) -> sitk.ImageFileReader:
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.SetImageIO("GDCMImageIO")
    return reader


def storage_class(path: Path) -> str:
    """The SOP class of a DICOM file by its first bytes; empty if they do not tell."""
    with path.open("rb") as file:
        head = file.read(1024)
    at = head.find(b"\x02\x00\x02\x00UI")
    if at < 0:
        return ""
    length = int.from_bytes(head[at + 6 : at + 8], "little")
    return head[at + 8 : at + 8 + length].rstrip(b"\0 ").decode("ascii", "replace")


def _unreadable(path: Path, reason: str) -> DataError:
    if path.is_file() and path.stat().st_size == 0:
        reason = "the file is empty"
    return DataError(
        f"It cannot be read as a volume ({reason}).",
        "It is damaged, or not in the format that its name says: copy or export it again.",
        str(path),
    )


@dataclass(frozen=True)
class Series:
    """The files of one volume, in the order of its slices."""

    headers: tuple[Header, ...]

    @property
    def name(self) -> str:
        """What tells a person, and `--series`, which one it is."""
        first = self.headers[0]
        rows, columns = first.size
        parts = [f"{len(self.headers)} files", f"{columns} x {rows}", first.series]
        if len(first.axes) == 6:
            across = int(np.abs(first.normal).argmax())
            parts.insert(2, ("sagittal", "coronal", "axial")[across])
        return f"{first.description or 'no description'} ({', '.join(filter(None, parts))})"

    @property
    def paths(self) -> list[Path]:
        """The files."""
        return [header.path for header in self.headers]


def find_series(folder: Path, *, quiet: bool = False) -> list[Series]:
    """The volumes of a folder (not of its subfolders), that of most files first.

    Files of one series that differ in size or direction, as localizers do, are volumes of
    their own. Files without an image (reports, plans, structures) and segmentation objects are
    left out.

    Parameters
    ----------
    quiet : do not tell again what was told before.

    Raises
    ------
    DataError : a file is damaged.
    """
    headers, others = [], []
    for path in sorted(folder.iterdir()):
        if path.is_dir() or not (has_dicom_name(path) or is_dicom(path)):
            continue
        require_file(path)  # a link to nothing would be a slice that is missing
        if not is_dicom(path):
            continue
        header = read_header(path)
        if header is None:
            others.append(path.name)
        else:
            headers.append(header)
    if others and not quiet:
        logger.info("%s: left out, as these are not images: %s", folder, examples(others))
    return series_of(headers, quiet=quiet)


def series_of(headers: Iterable[Header], *, quiet: bool = False) -> list[Series]:
    """The volumes that files make, that of most files first; `quiet`: see `find_series`."""
    kinds: dict[tuple[object, ...], list[Header]] = defaultdict(list)
    for header in headers:
        kinds[header.kind].append(header)
    groups = (group for own in kinds.values() for group in _parallel(own))
    return sorted((_in_order(group, quiet) for group in groups), key=_by_size)


def _parallel(headers: list[Header]) -> list[list[Header]]:
    """Slices by their direction."""
    groups: list[list[Header]] = []
    for header in headers:
        group = next((own for own in groups if header.is_parallel(own[0])), None)
        if group is None:
            groups.append([header])
        else:
            group.append(header)
    return groups


def _by_size(series: Series) -> tuple[int, str]:
    return -len(series.headers), series.name


def _in_order(headers: list[Header], quiet: bool) -> Series:
    """By position along the normal; without positions by number, then by name."""
    warn = logger.debug if quiet else logger.warning
    seen: dict[str, Header] = {}
    for header in headers:
        if header.instance and header.instance in seen:
            warn(
                "%s is the same image as %s and is left out.", header.path,
                seen[header.instance].path.name,
            )  # fmt: skip
        else:
            seen[header.instance or str(header.path)] = header
    slices = sorted(seen.values(), key=lambda h: (h.number, h.path.name))
    if all(h.position and h.axes for h in slices):
        normal = slices[0].normal
        slices = _without_copies(slices, warn)
        slices.sort(key=lambda h: float(np.dot(h.position, normal)))
    return Series(tuple(slices))


def _without_copies(slices: list[Header], warn: Callable[..., None]) -> list[Header]:
    """Slices of which none is at the place of an earlier one with the same pixels.

    Exports give copies an identity of their own. Where pixels at one place differ, there are
    several volumes, so no more are compared.
    """
    first: dict[tuple[float, ...], Header] = {}
    kept: list[Header] = []
    for i, header in enumerate(slices):
        other = first.setdefault(header.position, header)
        if other is not header and header.frames == 1:
            if not np.array_equal(slice_pixels(header.path), slice_pixels(other.path)):
                return [*kept, *slices[i:]]
            warn("%s is a copy of %s and is left out.", header.path, other.path.name)
        else:
            kept.append(header)
    return kept


def choose_series(folder: Path, wanted: str | None, *, quiet: bool = False) -> Series:
    """One volume of a folder: the only one, the one wanted, or with a warning the largest.

    Parameters
    ----------
    wanted : a part of the description, size, orientation or UID.
    quiet : see `find_series`.

    Raises
    ------
    DataError : there is none, or the choice is not clear.
    """
    found = find_series(folder, quiet=quiet)
    if not found:
        raise DataError(
            "The folder contains no DICOM series.",
            "Give a folder of DICOM files, or a volume file.",
            str(folder),
        )
    listed = "; ".join(series.name for series in found)
    if wanted is not None:
        hits = [series for series in found if wanted.lower() in series.name.lower()]
        if len(hits) == 1:
            return hits[0]
        raise DataError(
            f"{len(hits) or 'None'} of the DICOM series "
            f"{'matches' if len(hits) < 2 else 'match'} {wanted!r}; expected exactly one. Found: "
            f"{listed}.",
            "Give --series a part of the description or UID that only one series has.",
            str(folder),
        )
    if len(found) == 1:
        return found[0]
    if len(found[0].headers) == len(found[1].headers):
        raise DataError(
            f"The folder contains {len(found)} DICOM series: {listed}.",
            "Choose one with --series and part of its description or UID.",
            str(folder),
        )
    warn = logger.debug if quiet else logger.warning
    warn(
        "%s: %d DICOM series; the one with the most files is used: %s. Others: %s. Choose "
        "another with --series.",
        folder, len(found), found[0].name, "; ".join(series.name for series in found[1:]),
    )  # fmt: skip
    return found[0]


def dicom_files(path: Path, series: str | None = None) -> list[Path]:
    """The files that `read_volume` takes, in the order of its slices (one for all frames).

    Nothing is logged: `read_volume` has told about them.

    Parameters
    ----------
    path : a folder, or one file.
    series : see `choose_series`.

    Raises
    ------
    DataError : there is no series, or the choice is not clear.
    """
    return choose_series(path, series, quiet=True).paths if path.is_dir() else [path]


def read_series(path: Path, wanted: str | None) -> Volume:
    """The volume of a DICOM series (folder) or file, after slope and intercept.

    Fractions come as float32.

    Raises
    ------
    DataError : no series, several and none chosen, slices that make no volume, damaged files.
    """
    headers = choose_series(path, wanted).headers if path.is_dir() else (image_header(path),)
    first = headers[0]
    try:
        count = sum(max(1, header.frames) for header in headers)
        check_volume_size((count, *first.size, first.components), np.int16, path)
    except ValueError as error:
        raise _unreadable(path, str(error)) from None
    if first.frames > 1:
        if len(headers) > 1:
            raise DataError(
                f"The series has {len(headers)} files, each with several frames.",
                "Give one of these files.",
                str(path),
            )
        return replace(read_frames(first.path), modality=first.modality)
    voxels = gather((slice_pixels(h.path) for h in headers), len(headers))
    if not all(h.position and h.axes for h in headers):
        logger.warning(
            "%s: no positions in the DICOM tags; a slice spacing of 1 mm is assumed.", path
        )
        rows, columns = first.pixel or (1.0, 1.0)
        return Volume(voxels, (columns, rows, 1.0), modality=first.modality)
    positions = np.array([h.position for h in headers])
    found = stack(voxels, positions, first.axes, first.pixel, first.thickness, path)
    return replace(found, modality=first.modality)


def slice_pixels(path: Path) -> NDArray:
    """One slice, [rows, columns] or [rows, columns, channels], after slope and intercept."""
    reader = _reader(path)
    try:
        pixels: NDArray = Volume.from_image(reader.Execute()).array[0]
    except (RuntimeError, ValueError):
        return decode(path)  # GDCM lacks some compressions
    # It also mixes up the bytes of colours of 16 bits, and leaves white lowest in these numbers.
    deep_colors = pixels.ndim == 3 and pixels.itemsize > 1
    return decode(path) if deep_colors or _is_signed_negative(reader) else pixels


def _is_signed_negative(reader: sitk.ImageFileReader) -> bool:
    """Whether the lowest value is white (MONOCHROME1), of signed numbers that do not fill bytes."""

    def text(tag: str) -> str:
        return reader.GetMetaData(tag).strip(" \0") if reader.HasMetaDataKey(tag) else ""

    whole = text("0028|0101") == text("0028|0100")
    return text("0028|0004") == "MONOCHROME1" and text("0028|0103") == "1" and not whole


def _no_image(path: Path) -> DataError:
    if storage_class(path) in _SEGMENTATIONS:
        return DataError(
            "This is a DICOM segmentation object (SEG), which holds one mask per segment.",
            "Convert it to NIfTI or NRRD first, for example with segimage2itkimage of dcmqi.",
            str(path),
        )
    return DataError(
        "This DICOM file contains no image.", "Give a file that has pixel data.", str(path)
    )
