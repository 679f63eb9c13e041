"""Label volumes against each other: surfaces and lesions in 3-D, in mm and ml."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flexseg.config.findings import amount, examples
from flexseg.dataset.cases import Case
from flexseg.dataset.ignored.pixels import IGNORED
from flexseg.dataset.labels import Encoded, LabelMap
from flexseg.dataset.volumetric.pairing import LABEL_SUFFIXES, pair_label_volumes, volumes_by_name
from flexseg.errors import DataError
from flexseg.evaluation.case_by_case.scored_case import SHEARED, UNDECIDED, ScoredCase
from flexseg.evaluation.case_by_case.scoring_all import score_all
from flexseg.evaluation.case_scores import CaseScores
from flexseg.evaluation.folder_masks import (
    Files,
    among,
    folder_of_masks,
    note_of_undecided,
    understand,
    unlike_names,
)
from flexseg.evaluation.scoring import CaseResult, Measures, score_case
from flexseg.files.entries import list_files
from flexseg.files.images import MASK_SUFFIXES, MaskPixels
from flexseg.files.volumes.geometry import same_grid, text
from flexseg.files.volumes.read import read_labels
from flexseg.files.volumes.volume import Volume

logger = logging.getLogger(__name__)

VolumeReader = Callable[[Path], Volume]


def score_volume(
    predicted: NDArray[np.uint8],
    reference: NDArray[np.uint8],
    spacing: tuple[float, float, float],
    labels: LabelMap,
    measures: Measures,
) -> CaseResult:
    """Compare a predicted volume with its reference.

    Parameters
    ----------
    predicted, reference : class ids [Z, Y, X].
    spacing : distances of voxels along z, y, x in mm; that of `measures` does not count.
    labels : the classes.
    measures : tolerance of the NSD in mm.

    Raises
    ------
    DataError : the shapes differ, or a class id is in no class.
    ValueError : the arrays are no volumes, or the spacing is not positive.
    """
    if reference.ndim != 3 or len(spacing) != 3 or not all(0 < step < np.inf for step in spacing):
        raise ValueError(f"shape {reference.shape} with spacing {spacing}; expected [Z, Y, X], mm")
    if predicted.shape != reference.shape:
        raise DataError(
            f"The prediction has {text(predicted.shape)} voxels (z, y, x), but its reference has "
            f"{text(reference.shape)}.",
            "Predict at the reference's size.",
        )
    highest = max(_highest(array, labels) for array in (predicted, reference))
    if highest >= len(labels.classes):
        raise DataError(
            f"A volume has the class {highest}, but the classes end at {len(labels.classes) - 1}.",
            "Set model.num_classes, or correct the labels.",
        )
    own = replace(measures, spacing=spacing, volumes=True)
    result = score_case(reference, predicted, len(labels.classes), own)
    return replace(result, voxel_ml=float(np.prod(spacing)) / 1000)


def _highest(ids: NDArray[np.uint8], labels: LabelMap) -> int:
    """The highest class id of a volume; IGNORED counts where the label map ignores nothing."""
    highest = int(ids.max(initial=0))
    if highest == IGNORED and labels.ignored is not None:
        return int(ids.max(initial=0, where=ids != IGNORED))
    return highest


def score_on_grid(
    predicted: NDArray[np.uint8],
    reference: NDArray[np.uint8],
    grid: Volume,
    labels: LabelMap,
    measures: Measures,
) -> CaseResult:
    """`score_volume` with the spacing of a volume, and the true ml where its axes are oblique."""
    result = score_volume(predicted, reference, grid.voxel_size, labels, measures)
    return replace(result, voxel_ml=grid.voxel_ml) if grid.sheared else result


def warn_of_sheared(names: list[str]) -> None:
    """Tell of volumes whose axes are not at right angles."""
    if names:
        logger.warning(
            "Distances are inexact where the axes are not at right angles, in %s: %s",
            amount(len(names), "volume"),
            examples(names),
        )


def folder_of_predictions(folder: Path) -> Path:
    """The folder of the masks or label volumes; that of a whole result holds them in another."""
    return folder_of_masks(folder, lambda inside: bool(volumes_by_name(inside)))


def hold_volumes(predictions: Path, references: Path) -> bool:
    """Whether two folders are to be scored as volumes, not as images.

    They are if both have volumes; other images there, such as previews, do not count.

    Raises
    ------
    DataError : a folder is missing, or one has volumes only and the other images only.
    """
    volumes = [bool(volumes_by_name(folder)) for folder in (predictions, references)]
    images = [bool(list_files(folder, MASK_SUFFIXES)) for folder in (predictions, references)]
    if all(volumes):
        return True
    if any(volumes) and not all(images):
        one, other = (references, predictions) if volumes[1] else (predictions, references)
        raise DataError(
            f"The folder has no volume ({', '.join(LABEL_SUFFIXES)}), but {one} has some.",
            "Give two folders of volumes, or two of masks.",
            str(other),
        )
    return False


def score_volume_folders(
    predictions: Path,
    references: Path,
    labels: LabelMap,
    measures: Measures,
    *,
    mask_name: str = "{id}",
    group: str | None = None,
    read: VolumeReader = read_labels,
    only: Collection[Path] | None = None,
    on_case: Callable[[int, int], None] | None = None,
    folder: Path | None = None,
) -> tuple[CaseScores, list[str]]:
    """Score a folder of predicted label volumes against a folder of reference volumes.

    Volumes pair by file name, whatever their format; two of them are in memory at a time, with
    workers two for each.
    Spacing comes from the reference. Returns the scores and the names without a partner.

    Parameters
    ----------
    measures : tolerance of the NSD in mm; its spacing does not count.
    mask_name : name of the reference that belongs to the prediction `{id}`.
    group : regular expression for `Case.group`.
    read : gives the voxels [Z, Y, X] of a file as whole numbers, and their geometry.
    only : the references that are scored; None: all.
    on_case : called with (done, total).
    folder : see `score_all`.

    Raises
    ------
    DataError : no pair at all, different grids, values in no class, or unreadable files.
    """
    pairing = pair_label_volumes(predictions, references, mask_name=mask_name, group=group)
    if not pairing.cases:
        one, other = (next(iter(volumes_by_name(folder))) for folder in (predictions, references))
        raise unlike_names(one, other, predictions, references)
    if only is not None:
        pairing = among(pairing, only, predictions)
    cases = pairing.cases
    if measures.spacing is not None:
        logger.warning("[eval] spacing is not used: each volume has its own.")
    _warn_of_images(predictions, references)
    scores = CaseScores(labels, replace(measures, spacing=None, volumes=True))
    pixels = partial(_pixels, read)
    predicted = understand(
        "predictions", [(case.image,) for case in cases], labels, "error", pixels, workers=1
    )
    true = understand(
        "reference volumes", [case.masks for case in cases], labels, "error", pixels, workers=1
    )
    compare = _Comparison(predicted.labels, true.labels, labels, measures, read)
    results = score_all(compare, cases, folder, on_case, threads=1, most_errors=1)
    pairs = [*zip(cases, results, strict=True)]
    for case, score in pairs:
        scores.put(case, score.result)
    undecided = [case.image.name for case, score in pairs if UNDECIDED in score.remarks]
    warn_of_sheared([case.id for case, score in pairs if SHEARED in score.remarks])
    notes = (predicted.note, true.note, note_of_undecided(undecided))
    scores.notes = [note for note in notes if note]
    scores.folders = {
        "masks_dir": str(references.absolute()),
        "predictions_dir": str(predictions.absolute()),
    }
    unpaired = (*pairing.images_without_mask, *pairing.masks_without_image)
    return scores, [path.name for path in unpaired]


def _pixels(read: VolumeReader, files: Files) -> MaskPixels:
    return volume_pixels(read(files[0]).array)


@dataclass(frozen=True)
class _Comparison:
    """Scores a predicted label volume against its reference.

    Attributes
    ----------
    predicted, true : the maps that read the two.
    """

    predicted: LabelMap
    true: LabelMap
    labels: LabelMap
    measures: Measures
    read: VolumeReader = field(repr=False)

    def __call__(self, case: Case) -> ScoredCase:
        truth = self.read(case.mask)
        found = on_grid_of(truth, self.read(case.image), case.image)
        prediction = encoded_volume(found.array, self.predicted).labels
        reference = encoded_volume(truth.array, self.true).labels
        result = score_on_grid(prediction, reference, truth, self.labels, self.measures)
        remarks = {UNDECIDED: bool((prediction == IGNORED).any()), SHEARED: truth.sheared}
        return ScoredCase(result, tuple(remark for remark, holds in remarks.items() if holds))


def _warn_of_images(*folders: Path) -> None:
    images = [path.name for folder in folders for path in list_files(folder, MASK_SUFFIXES)]
    if images:
        logger.warning(
            "%s scored, as there are volumes in the same folder: %s",
            amount(len(images), "image", "is not", "are not"),
            examples(images),
        )


def class_ids(voxels: NDArray, labels: LabelMap, path: Path) -> NDArray[np.uint8]:
    """Class ids [Z, Y, X] of label values, read as those of grey masks are.

    Values in no class are an error: unlike the blended edges of images, they are no accident.
    """
    encoded = encoded_volume(voxels, labels)
    if encoded.unknown:
        values = examples([f"{value:g}" for value in sorted(encoded.unknown)])
        raise DataError(
            f"{amount(sum(encoded.unknown.values()), 'voxel', 'has', 'have')} a value of no "
            f"class: {values}.",
            "Assign these values to classes in [mask] classes, or set model.num_classes.",
            str(path),
        )
    return encoded.labels


def encoded_volume(voxels: NDArray, labels: LabelMap) -> Encoded:
    """Label values [Z, Y, X] read as those of grey masks are."""
    encoded = labels.encode(volume_pixels(voxels))
    return replace(encoded, labels=encoded.labels.reshape(voxels.shape))


def volume_pixels(voxels: NDArray) -> MaskPixels:
    """Label values [Z, Y, X] as those of a grey mask [Z * Y, X]."""
    flat = voxels.reshape(-1, voxels.shape[-1])
    return MaskPixels(flat, None, lossy=False, one_hot=False, mode="volume")


def on_grid_of(reference: Volume, prediction: Volume, path: Path) -> Volume:
    """The prediction in the voxel order of its reference.

    A prediction that covers the same grid in another voxel order (say RAS and LPS) is reordered.

    Raises
    ------
    DataError : the grids differ in size, spacing, position or direction.
    """
    if same_grid(prediction, reference):
        return prediction
    matched = prediction.oriented(reference.orientation)
    if same_grid(matched, reference):
        return matched
    differences = [
        f"{name} {text(found)} (reference: {text(wanted)})"
        for name, found, wanted in (
            ("size", matched.shape[::-1], reference.shape[::-1]),
            ("spacing", matched.spacing, reference.spacing),
            ("origin", matched.origin, reference.origin),
            ("direction", matched.direction, reference.direction),
        )
        if not np.allclose(found, wanted, rtol=1e-3, atol=1e-3)
    ]
    raise DataError(
        f"The prediction is on another grid than its reference: {', '.join(differences)}.",
        "Check that they belong together, and resample the prediction to the grid of its "
        "reference (nearest neighbour) before scoring.",
        str(path),
    )
