"""Cases: one image, its mask, and the group that both belong to."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from flexseg.dataset.names import base_name, is_mask, mask_stem
from flexseg.errors import DataError
from flexseg.files.entries import list_files
from flexseg.files.images import IMAGE_SUFFIXES, MASK_SUFFIXES


@dataclass(frozen=True)
class Case:
    """One image with its mask.

    Attributes
    ----------
    id : the image's file name without suffix.
    group : patient, volume or source image; cases of one group are not independent.
    """

    id: str
    image: Path
    mask: Path
    group: str


@dataclass(frozen=True)
class Pairing:
    """The cases of a folder pair, and what stayed without a partner."""

    cases: tuple[Case, ...]
    images_without_mask: tuple[Path, ...]
    masks_without_image: tuple[Path, ...]


def group_of(case_id: str, pattern: str | None) -> str:
    """The group of a case: what `pattern` finds in its id, else the name of its original.

    Prefixes of augmented copies ("hfliped_", see `flexseg.dataset.names`) are taken off first, so
    that copies are in the group of their original.
    """
    base = base_name(case_id)
    match = (re.search(pattern, base) or re.search(pattern, case_id)) if pattern else None
    if match is None:
        return base
    # An optional group of the pattern may have found nothing.
    return (match.group(1) if match.groups() else None) or match.group(0)


def pair(
    images_dir: Path,
    masks_dir: Path,
    *,
    mask_name: str = "{id}",
    group: str | None = None,
    image_format: str = "auto",
    mask_format: str = "auto",
    image_suffixes: tuple[str, ...] = IMAGE_SUFFIXES,
) -> Pairing:
    """Pair images and masks by the stem of their file names.

    Parameters
    ----------
    mask_name : stem of the mask, see `mask_stem`. Where both folders are one, files of such
        names are masks, the others images.
    group : regular expression for `Case.group`.
    image_format, mask_format : a suffix that all files have, or "auto" for any.
    image_suffixes : what "auto" means for images.

    Raises
    ------
    DataError : a folder is missing or empty, or two files have the same stem.
    """
    images = images_by_stem(images_dir, _suffixes(image_format, image_suffixes))
    masks = _by_stem(masks_dir, _suffixes(mask_format, MASK_SUFFIXES), "mask")
    if mask_name != "{id}" and images_dir.resolve() == masks_dir.resolve():
        images = {stem: path for stem, path in images.items() if not is_mask(mask_name, stem)}
        masks = {stem: path for stem, path in masks.items() if is_mask(mask_name, stem)}
    cases_list, unpaired = [], []
    used: set[str] = set()
    for stem, image in images.items():
        wanted = mask_stem(mask_name, stem)
        if wanted in masks:
            cases_list.append(Case(stem, image, masks[wanted], group_of(stem, group)))
            used.add(wanted)
        else:
            unpaired.append(image)
    extra = tuple(path for stem, path in masks.items() if stem not in used)
    return Pairing(tuple(cases_list), tuple(unpaired), extra)


def check_same_aspect(mask: tuple[int, ...], image: tuple[int, int], case: Case) -> None:
    """Accept a mask of another resolution, but not of another shape than its image.

    Raises
    ------
    DataError : the ratios of height to width differ by more than 2 %.
    """
    ratio = (mask[0] / mask[1]) / (image[0] / image[1])
    if not 0.98 < ratio < 1.02:
        raise DataError(
            f"The mask is {mask[1]} x {mask[0]} pixels, its image {image[1]} x {image[0]}.",
            "Export the mask at its image's size; one of them may be rotated or cropped.",
            str(case.mask),
        )


def images_by_stem(folder: Path, suffixes: tuple[str, ...] = IMAGE_SUFFIXES) -> dict[str, Path]:
    """The images of a folder by file name without suffix, sorted.

    Raises
    ------
    DataError : the folder is missing or has no images, or two of them have the same stem.
    """
    images = _by_stem(folder, suffixes, "image")
    if not images:
        raise DataError(
            "The folder has no images.", f"Looked for: {', '.join(suffixes)}.", str(folder)
        )
    return images


def _suffixes(name: str, default: tuple[str, ...]) -> tuple[str, ...]:
    if name.lower() == "auto":
        return default
    return ("." + name.lower().lstrip("."),)


def _by_stem(folder: Path, suffixes: tuple[str, ...], what: str) -> dict[str, Path]:
    found: dict[str, list[Path]] = defaultdict(list)
    for path in list_files(folder, suffixes):
        found[path.stem].append(path)
    double = [paths for paths in found.values() if len(paths) > 1]
    if double:
        names = " and ".join(p.name for p in double[0])
        raise DataError(
            f"{len(double)} {what} name(s) occur with more than one suffix, e.g. {names}.",
            f"Keep one file per {what}.",
            str(folder),
        )
    return {stem: paths[0] for stem, paths in found.items()}
