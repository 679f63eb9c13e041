"""Which of several folders has the masks of the images beside it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from flexseg.dataset.candidates.mask_names import masks_of_images
from flexseg.dataset.candidates.templates import Stems, find_template, pairs
from flexseg.dataset.names import folded, stem_of_name
from flexseg.errors import DataError
from flexseg.files.entries import file_names
from flexseg.files.images import IMAGE_SUFFIXES, MASK_SUFFIXES, read_mask
from flexseg.machine import typed

# Names of folders in lower case, letters only; the first ones are preferred.
MASK_FOLDERS = (
    "masks", "mask", "labels", "label", "annotations", "annotation", "groundtruth",
    "groundtruths", "gt", "segmentations", "segmentation", "segs", "seg", "targets", "target",
    "segmentationclass", "manual", "labelstr",
)  # fmt: skip
_NEARLY_ALL = 0.9
# Of words in a name that make it another folder than one of masks of all images.
_OTHERS = {
    "image", "images", "img", "imgs", "train", "training", "val", "valid", "validation", "test",
    "testing",
}  # fmt: skip


def mask_folders(folders: Sequence[Path], wanted: str | None) -> list[Path]:
    """Of some folders those that are of masks by their name, the likeliest first.

    Parameters
    ----------
    wanted : the name that the user gives.
    """
    if wanted is not None:
        name = folded(re.split(r"[/\\]", wanted.rstrip("/\\"))[-1])
        return [path for path in folders if folded(path.name) == name]
    order = {name: i for i, name in enumerate(MASK_FOLDERS)}
    known = []
    for path in folders:
        words = re.findall("[a-z]+", path.name.lower())
        places = [order[word] for word in (re.sub(r"[\W_]+", "", path.name).lower(), *words)
                  if word in order]  # fmt: skip
        if places and not _OTHERS & {*words}:
            known.append((min(places), path))
    return [path for _, path in sorted(known)]


def other_folders(
    folders: Sequence[Path], wanted: str | None, holds: Callable[[Path], bool]
) -> list[Path]:
    """The folders that hold images and are no masks by their name; none where there are no masks.

    Parameters
    ----------
    wanted : see `mask_folders`.
    holds : whether a folder has images in it.
    """
    if not (masks := mask_folders(folders, wanted)):
        return []
    named = {*masks, *mask_folders(folders, None)}
    return [path for path in folders if path not in named and holds(path)]


def camvid_folders(folders: Sequence[Path]) -> list[tuple[Path, Path]]:
    """Folders of images and masks as CamVid names them: `train` and `trainannot`, and so on."""
    by_name = {folded(path.name): path for path in folders}
    return [
        (path, by_name[f"{name}annot"])
        for name, path in by_name.items()
        if f"{name}annot" in by_name
    ]


def masks_beside(
    images: Path | None, candidates: Sequence[Path], holds: Callable[[Path], bool]
) -> Path | None:
    """The folder of the masks of some images; the only one, or the only one whose names fit.

    Parameters
    ----------
    images : their folder; None where there is none yet.
    candidates : see `mask_folders`.
    holds : whether a folder has masks in it.

    Raises
    ------
    DataError : the names of several fit.
    """
    filled = [path for path in candidates if holds(path)]
    if len(filled) < 2 or images is None:
        return next(iter(filled or candidates), None)
    counts = {path: _pairs(images, path) for path in filled}
    fitting = [path for path in filled if 2 * counts[path] > max(counts.values())]
    if len(fitting) == 1:
        return fitting[0]
    fitting = fitting or filled
    shares = {path: _marked(images, path) for path in fitting}
    listed = ", ".join(
        f"{path.name}/ ({counts[path]} pairs{'' if share is None else f', {share:.0%} marked'})"
        for path, share in shares.items()
    )
    likely = min(fitting, key=lambda path: (shares[path] or 0) > _NEARLY_ALL)
    raise DataError(
        f"Several folders may hold the masks of {images.name}/: {listed}.",
        f"Name the one to use, e.g. --masks {typed(likely.name)}. A folder whose masks mark "
        "everything shows the field of view rather than what is to be found: [dataset] roi_dir "
        "leaves out what lies beyond it.",
        str(images.parent),
    )


def _stems(images: Path, masks: Path) -> Stems:
    return Stems(
        frozenset(map(stem_of_name, file_names(images, IMAGE_SUFFIXES))),
        frozenset(map(stem_of_name, file_names(masks, MASK_SUFFIXES))),
    )


def _pairs(images: Path, masks: Path) -> int:
    stems = _stems(images, masks)
    template = find_template([stems])
    return pairs(template, [stems]) if template else 0


def _marked(images: Path, masks: Path) -> float | None:
    """How much of the first mask that belongs to an image is marked; None if it is not known."""
    stems = _stems(images, masks)
    template = find_template([stems])
    if template is None:
        return None
    paired = masks_of_images(template, stems.images, stems.masks)
    first = min(own[0] for own in paired.values() if own)
    names = file_names(masks, MASK_SUFFIXES)
    path = masks / next(name for name in names if stem_of_name(name) == first)
    try:
        mask = read_mask(path)
    except DataError:
        return None
    pixels = mask.pixels
    if mask.palette is not None:
        pixels = mask.palette[np.minimum(pixels, len(mask.palette) - 1)]
    marked = pixels if pixels.ndim == 2 else pixels.any(axis=-1)
    return float(np.count_nonzero(marked) / marked.size)
