"""Pictures of cases: image, reference, prediction and difference, small enough to embed.

The image is embedded once per case; what is drawn over it are images with transparency, so that
four panels cost little more than one.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from flexseg.dataset.cases import Case, case_mask
from flexseg.dataset.division.config_splits import all_regions
from flexseg.dataset.ignored.pixels import IGNORED
from flexseg.dataset.labels import LabelClass, LabelMap, ids_or_foreground
from flexseg.dataset.names import stem_of
from flexseg.dataset.volumetric.pairing import volumes_by_name
from flexseg.errors import ConfigError, DataError
from flexseg.evaluation.folder_masks import as_scored
from flexseg.files.display import displayable
from flexseg.files.entries import list_files
from flexseg.files.images import (
    IMAGE_SUFFIXES,
    MASK_SUFFIXES,
    is_lossy,
    read_image,
    read_mask,
)
from flexseg.files.preprocess import Preprocessing
from flexseg.report.colors import Colors
from flexseg.report.content import epoch_change_folder
from flexseg.report.sources import CaseFiles, Missing, ReportSource
from flexseg.report.structure import EpochStrip, Report, ShownCase
from flexseg.report.volume_pictures import is_volume, volume_slice

Rgb = tuple[int, int, int]

_IGNORED = (128, 128, 128, 110)
LARGEST = 512
_LOSSY_SHARE = 0.02
_SMALLEST = 384
_LARGEST_IN_STRIP = 256


@dataclass(frozen=True)
class Panel:
    """One view of a case: a name, and what lies over the image (data URI, None: nothing)."""

    name: str
    overlay: str | None


@dataclass(frozen=True)
class Pictures:
    """The views of one image, all of `width` x `height` pixels."""

    case: str
    width: int
    height: int
    photo: str
    panels: tuple[Panel, ...]


def draw_cases(source: ReportSource, report: Report) -> dict[str, Pictures]:
    """Pictures of the shown cases by name. What cannot be drawn is added to `report.missing`."""
    if not report.shown_cases:
        return {}
    files = source.case_files()
    labels = label_map_of(source, report)
    foreign = _foreign_predictions(source)
    colors = colors_of(report)
    drawn: dict[str, Pictures] = {}
    problems: list[str] = []
    for shown in report.shown_cases:
        try:
            pictures = _case(shown, files.get(shown.case), labels, source, foreign, colors)
        except (DataError, OSError) as error:
            problems.append(str(error))
            continue
        if pictures is not None:
            drawn[shown.case] = pictures
    if problems:
        report.missing.append(Missing("pictures of some cases", "; ".join(problems[:3])))
    if drawn and not any(f.image for f in files.values()):
        report.missing.append(
            Missing("images of cases", "their folder is not known; give --images")
        )
    if drawn and all(panel.name != "Prediction" for d in drawn.values() for panel in d.panels):
        why = "the evaluation has kept none (older versions did not); run `flexseg evaluate` again"
        report.missing.append(Missing("predicted masks of cases", why))
    if not drawn and not any("pictures" in m.what for m in report.missing):
        why = (
            f"neither images nor masks of the cases are known, and {source.evaluation} has no "
            "folder predictions; give --images, --masks and --config"
        )
        report.missing.append(Missing("pictures of cases", why))
    return drawn


def colors_of(report: Report) -> Colors:
    """The colours of a report's classes."""
    return Colors.of(report.evaluation.classes if report.evaluation else ())


def label_map_of(source: ReportSource, report: Report) -> LabelMap | None:
    """The classes of the masks: of the config, else by the names and colours of the evaluation."""
    if source.loaded is not None:
        try:
            return LabelMap.from_config(source.loaded.experiment.class_sections)
        except ConfigError as error:
            report.missing.append(Missing("reference masks of cases", str(error)))
            return None
    classes = [
        LabelClass(c.id, c.name, ((r, g, b),))
        for c in (source.summary.classes if source.summary else ())
        for r, g, b in [c.color or (0, 0, 0)]
    ]
    background = LabelClass(0, "background", ((0, 0, 0),))
    if not classes or any(c.colors == background.colors for c in classes):
        return None
    return LabelMap((background, *classes), binary=len(classes) == 1)


def _foreign_predictions(source: ReportSource) -> dict[str, Path]:
    """Masks that another program predicted, by case; the evaluation's own copies need no look."""
    folder = source.predictions
    if folder is None or folder == source.evaluation / "predictions":
        return {}
    found = {stem_of(path): path for path in list_files(folder, MASK_SUFFIXES)}
    return found or volumes_by_name(folder)


def _case(
    shown: ShownCase,
    files: CaseFiles | None,
    labels: LabelMap | None,
    source: ReportSource,
    foreign: Mapping[str, Path],
    colors: Colors,
) -> Pictures | None:
    if _of_volumes(files, foreign.get(shown.case), source):
        return _volume_case(shown, files, labels, source, foreign, colors)
    reference = prediction = image = None
    lossy = False
    own = source.evaluation / "predictions" / f"{shown.case}.png"
    if labels is not None and shown.case in foreign:
        path = foreign[shown.case]
        prediction = as_scored(labels, read_mask(path), path)
    elif own.is_file() and not foreign:
        prediction = read_mask(own).pixels
    if files is not None and files.image is not None:
        image = displayable(read_image(files.image))
    if files is not None and files.mask is not None and labels is not None:
        reference = reference_labels(shown.case, files, files.mask, labels, source)
        lossy = is_lossy(files.mask)
    known = [pixels for pixels in (image, reference, prediction) if pixels is not None]
    if not known:
        return None
    size = (known[0].shape[0], known[0].shape[1])
    masks = {
        name: fitted(mask, size)
        for name, mask in (("Reference", reference), ("Prediction", prediction))
        if mask is not None
    }
    if files is not None and files.mask is not None and reference is not None:
        _require_same(shown, (reference, masks["Reference"]), files.mask, lossy=lossy)
    return pictures_of(shown.case, size, image, masks, colors)


def reference_labels(
    name: str, files: CaseFiles, mask: Path, labels: LabelMap, source: ReportSource
) -> NDArray[np.uint8]:
    """The class ids of a reference, IGNORED where the config says it."""
    case = Case(name, files.image or mask, mask, "", files.more_masks)
    if source.loaded is not None:
        (case,) = all_regions(source.loaded.experiment.data).of([case])
    return as_scored(labels, case_mask(case), mask)


def pictures_of(
    case: str,
    size: tuple[int, int],
    image: NDArray[np.uint8] | None,
    masks: Mapping[str, NDArray[np.uint8]],
    colors: Colors,
    title: str = "Image",
) -> Pictures:
    """The views of an image [h, w, 3] of `size` and of class ids [h, w]."""
    picture = display_size(size)
    panels = [] if image is None else [Panel(title, None)]
    for name, mask in masks.items():
        panels.append(Panel(name, data_uri(class_overlay(mask, picture, colors))))
    if len(masks) == 2:
        overlay = difference_overlay(masks["Reference"], masks["Prediction"], picture, colors)
        panels.append(Panel("Difference", data_uri(overlay)))
    photo = np.full((*size, 3), 40, np.uint8) if image is None else image
    return Pictures(case, *picture[::-1], data_uri(_photo(photo, picture)), tuple(panels))


def _of_volumes(files: CaseFiles | None, foreign: Path | None, source: ReportSource) -> bool:
    """Whether a case is a volume, by any of its files."""
    known = (foreign, files.image if files else None, files.mask if files else None)
    return bool(source.summary and source.summary.volumes) or any(map(is_volume, known))


def _volume_case(
    shown: ShownCase,
    files: CaseFiles | None,
    labels: LabelMap | None,
    source: ReportSource,
    foreign: Mapping[str, Path],
    colors: Colors,
) -> Pictures | None:
    """The views of the slice that shows most of a volume."""
    own = not foreign
    folder = source.evaluation / "predictions"
    predictions = foreign or (volumes_by_name(folder) if folder.is_dir() else {})
    e = source.loaded.experiment if source.loaded else None
    found = volume_slice(
        files.image if files else None,
        files.mask if files else None,
        predictions.get(shown.case),
        labels,
        own=own,
        reading=e.infer3d if e else None,
        intensity=e.volume.intensity if e else None,
    )
    if found is None:
        return None
    if files is not None and files.mask is not None and found.all_reference is not None:
        _require_same(shown, (found.all_reference,), files.mask, lossy=False)
    pairs = (("Reference", found.reference), ("Prediction", found.prediction))
    masks = {name: mask for name, mask in pairs if mask is not None}
    arrays = [array for array in (found.image, *masks.values()) if array is not None]
    size = (arrays[0].shape[0], arrays[0].shape[1])
    return pictures_of(shown.case, size, found.image, masks, colors, f"Image, {found.title}")


def _require_same(
    shown: ShownCase, references: Sequence[NDArray[np.uint8]], path: Path, *, lossy: bool
) -> None:
    """Refuse a mask that is not the one that was scored, as its pixels of a class tell.

    Parameters
    ----------
    references : class ids at the mask's and at the image's size; one of them was scored.
    lossy : the file is a JPEG, which two decoders may read as edges of slightly other width.
    """
    for s in shown.scores:
        expected = s.values.get("reference_px")
        found = [int((r == s.class_id).sum()) for r in references]
        if expected is None:
            continue
        tolerance = _LOSSY_SHARE * expected if lossy else 0
        if all(abs(n - expected) > tolerance for n in found):
            raise DataError(
                f"The mask has {found[0]} pixels of {s.class_name}, but had {expected:.0f} when "
                "it was scored.",
                "Give the masks that were evaluated (--masks) and their classes (--config).",
                str(path),
            )


def draw_epochs(source: ReportSource, strips: list[EpochStrip], colors: Colors) -> list[Pictures]:
    """The epoch-change predictions of a few images, over the image where it can be found."""
    folder = epoch_change_folder(source)
    experiment = source.loaded.experiment if source.loaded else None
    images = experiment.infer.images_dir if experiment else None
    drawn = []
    for strip in strips:
        try:
            masks = {
                epoch: read_mask((folder or Path()) / name).pixels
                for epoch, name in strip.files.items()
            }
            image = _image_named(images, strip.image)
        except DataError as error:
            source.missing.append(Missing(f"epochs of {strip.image}", str(error)))
            continue
        first = next(iter(masks.values()))
        size = image.shape[:2] if image is not None else first.shape[:2]
        photo = image if image is not None else np.full((*size, 3), 40, np.uint8)
        shown = display_size((size[0], size[1]), _LARGEST_IN_STRIP, 192)
        panels = [Panel("Image", None)] if image is not None else []
        for epoch, mask in masks.items():
            overlay = class_overlay(fitted(mask, (size[0], size[1])), shown, colors)
            panels.append(Panel(f"Epoch {epoch}", data_uri(overlay)))
        uri = data_uri(_photo(photo, shown))
        drawn.append(Pictures(strip.image, shown[1], shown[0], uri, tuple(panels)))
    return drawn


def _image_named(folder: Path | None, stem: str) -> NDArray[np.uint8] | None:
    if folder is None or not folder.is_dir():
        return None
    path = next((p for p in list_files(folder, IMAGE_SUFFIXES) if stem_of(p) == stem), None)
    return None if path is None else displayable(read_image(path))


def fitted(labels: NDArray, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Class ids at the image's size."""
    labels = ids_or_foreground(labels)
    return labels if labels.shape == size else Preprocessing(size[1], size[0], 1).labels(labels)


def display_size(
    size: tuple[int, int], largest: int = LARGEST, smallest: int = _SMALLEST
) -> tuple[int, int]:
    """Height and width to show an image at: no side above `largest`, small ones enlarged by
    whole numbers until the long side is about `smallest`."""
    long = max(size)
    scale = largest / long if long > largest else float(max(1, smallest // long))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _photo(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    method = cv2.INTER_AREA if size[0] < image.shape[0] else cv2.INTER_CUBIC
    return cv2.resize(image, size[::-1], interpolation=method)


def _nearest(labels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    return cv2.resize(labels, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)


def class_overlay(
    labels: NDArray[np.uint8], size: tuple[int, int], colors: Colors
) -> NDArray[np.uint8]:
    """Outlines of the classes, faintly filled, [height, width, 4] with transparency.

    What is ignored is grey.
    """
    shown = _nearest(labels, size)
    result = np.zeros((*size, 4), np.uint8)
    width = 2 if max(size) > _LARGEST_IN_STRIP else 1
    result[shown == IGNORED] = _IGNORED
    for c in np.unique(shown[(shown > 0) & (shown != IGNORED)]).tolist():
        region = (shown == c).astype(np.uint8)
        color = colors.of_class(c)
        result[region == 1] = (*color, 70)
        result[_rim(region, width)] = (*color, 255)
    return result


def _rim(region: NDArray[np.uint8], width: int) -> NDArray[np.bool_]:
    """The outermost pixels of a region; the picture's edge is no outline."""
    kernel = np.ones((2 * width + 1, 2 * width + 1), np.uint8)
    inner = cv2.erode(region, kernel, borderType=cv2.BORDER_REPLICATE)
    return (region == 1) & (inner == 0)


def difference_overlay(
    reference: NDArray[np.uint8],
    prediction: NDArray[np.uint8],
    size: tuple[int, int],
    colors: Colors,
) -> NDArray[np.uint8]:
    """Hits, missed, falsely marked and confused pixels, [height, width, 4] with transparency.

    Missed pixels are hatched, so that they differ from the others in more than their colour. Where
    the reference is ignored it is grey, whatever is predicted.
    """
    r, p = _nearest(reference, size), _nearest(prediction, size)
    ignored = r == IGNORED
    r[ignored], p[ignored] = 0, 0
    rows, columns = np.mgrid[: size[0], : size[1]]
    hatch = (rows + columns) % 6 < 3
    result = np.zeros((*size, 4), np.uint8)
    result[ignored] = _IGNORED
    result[(r == p) & (r > 0)] = (*colors.hit, 90)
    missed = (r > 0) & (p == 0)
    result[missed] = (*colors.missed, 130)
    result[missed & hatch] = (*colors.missed, 255)
    result[(r == 0) & (p > 0)] = (*colors.false, 225)
    result[(r > 0) & (p > 0) & (r != p)] = (*colors.confused, 235)
    return result


def data_uri(pixels: NDArray[np.uint8]) -> str:
    """RGB as lossy, RGBA as lossless WebP, in a `data:` address."""
    buffer = io.BytesIO()
    image = Image.fromarray(pixels)
    if pixels.shape[-1] == 4:
        image.save(buffer, "WEBP", lossless=True, quality=80)
    else:
        image.save(buffer, "WEBP", quality=82)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
