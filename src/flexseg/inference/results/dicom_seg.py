"""Label volumes of DICOM series as DICOM segmentation objects (SEG), written by highdicom.

One binary mask per class and slice (segmentation type BINARY, DICOM PS3.3 A.51), which 3D Slicer,
OHIF and dcmqi read; label maps, the newer kind, many readers do not know yet.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexseg import __version__
from flexseg.config.findings import examples
from flexseg.dataset.labels import LabelClass, LabelMap
from flexseg.errors import ConfigError, DataError
from flexseg.files.dicom.frames import frame_places
from flexseg.files.dicom.stack import stack
from flexseg.files.volumes.geometry import same_grid, text
from flexseg.files.volumes.volume import Volume
from flexseg.machine import pip_install
from flexseg.outputs import whole

logger = logging.getLogger(__name__)

# What 3D Slicer gives segments of which nothing is known.
_TISSUE = "SCT:85756007:Tissue"
_ANATOMY = "SCT:123037004:Anatomical Structure"
# Longest text of the value representation LO.
_LONG = 64

# Attributes that a segmentation takes over: those that must have a value (type 1), here the
# geometry of single frames apart, and those that may be empty (type 2).
_NEEDED = (
    "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID",
    "FrameOfReferenceUID", "Rows", "Columns",
)  # fmt: skip
_PLACE = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
_MAY_BE_EMPTY = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID",
    "StudyDate", "StudyTime", "ReferringPhysicianName",
)  # fmt: skip
_NO_SUCH_HEADERS = (
    "Export the series again from the system that it comes from, or set infer3d.dicom_seg to "
    "false: label volumes in other formats do not need them."
)


def require_highdicom() -> None:
    """Check that segmentations can be written, before anything is computed.

    Raises
    ------
    ConfigError : highdicom is not installed.
    """
    try:
        import highdicom  # noqa: F401
    except ImportError:
        raise ConfigError(
            "DICOM segmentations are written with highdicom, which is not installed.",
            f"Install it: {pip_install('dicom')}, or set infer3d.dicom_seg to false.",
        ) from None


def write_segmentation(
    path: Path,
    labels: Volume,
    label_map: LabelMap,
    sources: Sequence[Path],
    *,
    model_name: str,
    corrected: bool = False,
) -> tuple[str, ...]:
    """Write a label volume as a DICOM segmentation that refers to the images of its series.

    Every frame is matched to its source image by position, so the voxels may be in any order of
    axes and directions. Segments are numbered from 1 in order of the class ids. A class without
    voxels gets no segment; of a volume without any nothing is written, as a segmentation must
    have a segment.

    Parameters
    ----------
    path : an existing file is replaced once the new one is whole.
    labels : class ids [z, y, x] of any integer type, on the grid of the series.
    label_map : names, colours and codes of the classes.
    sources : the files of the series in any order, or one file of several frames.
    model_name : what made the labels.
    corrected : by a person.

    Returns
    -------
    The names of the classes that got a segment.

    Raises
    ------
    ConfigError : highdicom is not installed.
    DataError : other grids, labels of no class, headers that lack what a segmentation needs.
    ResourceError : the place cannot be written to.
    """
    require_highdicom()
    classes = _present(labels, label_map, path)
    empty = [c.name for c in label_map.foreground if c not in classes]
    if not classes:
        logger.warning("%s is not written: no voxel belongs to a class.", path)
        return ()
    if empty:
        logger.info(
            "%s: classes without voxels, and so without a segment: %s", path, examples(empty)
        )
    with warnings.catch_warnings():
        # pydicom warns of every value in the sources that is not as the standard wants it.
        warnings.simplefilter("ignore")
        headers, frames = _matched(labels, sources, path)
        numbered = _numbered(frames, classes)
        segmentation = _segmentation(headers, numbered, classes, model_name, corrected)
        with whole(path) as part:
            segmentation.save_as(part)
    return tuple(c.name for c in classes)


def _present(labels: Volume, label_map: LabelMap, path: Path) -> list[LabelClass]:
    """The classes that have voxels.

    Raises
    ------
    DataError : labels of no class.
    """
    found: set[int] = set()
    for plane in labels.array:
        found.update(np.unique(plane).tolist())
    unknown = sorted(found - {c.id for c in label_map.classes})
    if unknown:
        raise DataError(
            f"The labels {examples([str(v) for v in unknown])} belong to no class.",
            "Describe all classes in [mask] classes.",
            str(path),
        )
    return [c for c in label_map.foreground if c.id in found]


def _numbered(frames: NDArray, classes: Sequence[LabelClass]) -> NDArray:
    """Class ids as numbers of segments, from 1 without gaps."""
    ids = [c.id for c in classes]
    if frames.dtype == np.uint8 and ids == list(range(1, len(ids) + 1)):
        return frames
    table = np.zeros(ids[-1] + 1, np.uint8)
    table[ids] = np.arange(1, len(ids) + 1)
    return table[frames]


def _matched(labels: Volume, sources: Sequence[Path], path: Path) -> tuple[list[Any], NDArray]:
    """The headers of the sources, and for each of their frames, in that order, the labels.

    Raises
    ------
    DataError : the series lies elsewhere, or its headers do not tell.
    """
    headers = [_header(source) for source in sources]
    several = int(headers[0].get("NumberOfFrames") or 1) > 1
    if several:
        if len(headers) > 1:
            raise DataError(
                f"The labels are for {len(headers)} files with several frames each.",
                "Give the one file that they belong to.",
                str(sources[0]),
            )
        places, axes, pixel, thickness = frame_places(headers[0], sources[0])
    else:
        places = np.array([_numbers(h, "ImagePositionPatient") for h in headers])
        axes = np.array(_numbers(headers[0], "ImageOrientationPatient"))
        pixel = _numbers(headers[0], "PixelSpacing")
        known = headers[0].get("SpacingBetweenSlices") or headers[0].get("SliceThickness")
        thickness = float(known or 0)
    order = np.argsort(places @ np.cross(axes[:3], axes[3:]), kind="stable")
    nothing = np.broadcast_to(np.uint8(0), (len(places), headers[0].Rows, headers[0].Columns))
    grid = stack(nothing, places[order], axes.tolist(), pixel, thickness, sources[0], quiet=True)
    labels = labels.oriented(grid.orientation)
    if not same_grid(labels, grid):
        raise DataError(
            f"The labels (size {text(labels.shape[::-1])}, origin {text(labels.origin)}) are not "
            f"on the grid of the DICOM series (size {text(grid.shape[::-1])}, origin "
            f"{text(grid.origin)}).",
            "Predict the series itself.",
            str(path),
        )
    if several:
        return headers, labels.array[np.argsort(order)]
    for header in headers:
        header.ImageOrientationPatient = headers[0].ImageOrientationPatient  # but for rounding
        if not header.get("SliceThickness"):
            header.SliceThickness = f"{grid.spacing[2]:.10g}"
    return [headers[i] for i in order], labels.array


def _header(path: Path) -> Any:
    """The tags of a source, those that may be empty filled in.

    Raises
    ------
    DataError : damaged, or without an attribute that must have a value.
    """
    from pydicom import dcmread
    from pydicom.valuerep import DA, TM

    try:
        header = dcmread(path, stop_before_pixels=True)
    except Exception as error:  # pydicom's errors for damaged files have no common base
        raise DataError(
            f"Its header cannot be read ({error}).", "Copy or export it again.", str(path)
        ) from None
    needed = _NEEDED if "PerFrameFunctionalGroupsSequence" in header else (*_NEEDED, *_PLACE)
    if missing := [name for name in needed if header.get(name) in (None, "")]:
        raise DataError(
            f"A DICOM segmentation needs attributes of the source that this header lacks: "
            f"{', '.join(missing)}.",
            _NO_SUCH_HEADERS,
            str(path),
        )
    for name in _MAY_BE_EMPTY:
        if name not in header:
            setattr(header, name, None)
    for name, kind in (("PatientBirthDate", DA), ("StudyDate", DA), ("StudyTime", TM)):
        try:
            kind(header[name].value)
        except ValueError:
            _drop(header, name, path)
    if header.PatientSex not in (None, "", "M", "F", "O"):
        _drop(header, "PatientSex", path)
    return header


def _drop(header: Any, name: str, path: Path) -> None:
    logger.info(
        "%s: %s = %r is not a valid value; it is left empty.", path, name, header[name].value
    )
    setattr(header, name, None)


def _numbers(header: Any, name: str) -> list[float]:
    return [float(value) for value in header[name].value]


def _segmentation(
    headers: list[Any],
    frames: NDArray,
    classes: Sequence[LabelClass],
    model_name: str,
    corrected: bool,
) -> Any:
    """The object itself; `frames` holds the numbers of segments.

    Raises
    ------
    DataError : highdicom refuses the headers.
    """
    import highdicom as hd

    first = headers[0]
    name = _long(model_name)
    try:
        segmentation = hd.seg.Segmentation(
            source_images=headers,
            pixel_array=frames,
            segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=[
                _description(number, c, name, corrected) for number, c in enumerate(classes, 1)
            ],
            series_instance_uid=hd.UID(),
            series_number=1000 + max(0, int(first.get("SeriesNumber") or 0)),
            sop_instance_uid=hd.UID(),
            instance_number=1,
            manufacturer="flexseg",
            manufacturer_model_name=name,
            software_versions=__version__,
            device_serial_number="0",  # must have a value; programs have no such number
            content_label="SEGMENTATION",
            content_description=_long(
                f"Segmentation by {model_name}, corrected"
                if corrected
                else f"Automatic segmentation by {model_name}"
            ),
            content_creator_name="flexseg",
            series_description=_long(f"Segmentation by {model_name}"),
            specific_character_set="ISO_IR 192",
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"The headers of the series are not sufficient for a DICOM segmentation ({error}).",
            _NO_SUCH_HEADERS,
            str(first.filename),
        ) from None
    return segmentation


def _description(number: int, c: LabelClass, model_name: str, corrected: bool) -> Any:
    import highdicom as hd
    from pydicom.sr.codedict import codes

    known = _ANATOMY if c.code else _TISSUE
    kinds = hd.seg.SegmentAlgorithmTypeValues
    return hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=_long(c.name),
        segmented_property_category=_concept(c.category or known),
        segmented_property_type=_concept(c.code or _TISSUE),
        algorithm_type=kinds.SEMIAUTOMATIC if corrected else kinds.AUTOMATIC,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name=model_name,
            version=__version__,
            family=codes.cid7162.ArtificialIntelligence,
            source="flexseg",
        ),
        display_color=hd.color.CIELabColor.from_rgb(*c.colors[0]),
    )


def _concept(code: str) -> Any:
    """A code of the config, `scheme:value:meaning`."""
    from highdicom.sr import CodedConcept

    scheme, value, meaning = code.split(":", 2)
    return CodedConcept(value=value, scheme_designator=scheme, meaning=meaning)


def _long(value: str) -> str:
    """A text as the value representation LO allows it."""
    return "".join(c if c.isprintable() and c != "\\" else " " for c in value)[:_LONG].strip()
