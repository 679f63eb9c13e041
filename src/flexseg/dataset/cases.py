"""Cases: one image, its mask, and the group that both belong to."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexseg.config.findings import Finding, Severity, examples, some_of
from flexseg.dataset.candidates.channels import channels_finding, other_channels
from flexseg.dataset.candidates.mask_names import is_mask, masks_of_images
from flexseg.dataset.ignored.regions import with_ignored
from flexseg.dataset.names import DATASET_FILE, base_name, folded, stem_of_name
from flexseg.dataset.parallel import together
from flexseg.dataset.small_fields import path_field, plain_field
from flexseg.errors import DataError
from flexseg.files.dicom.image import patient_of
from flexseg.files.dicom.recognition import is_series_folder
from flexseg.files.entries import (
    described,
    file_names,
    require_file,
    suffix_of,
    visible_names,
    without_places,
)
from flexseg.files.images import (
    IMAGE_SUFFIXES,
    LOSSY_SUFFIXES,
    MASK_SUFFIXES,
    MaskPixels,
    read_mask,
)
from flexseg.machine import same_place

# Fewer groups cannot be divided into training, validation and test.
MIN_GROUPS = 3
# Of `Pairing.equal_names`, in words.
EQUAL_NAMES = "Files with the name of another one but for the suffix are left out"


@dataclass(frozen=True, eq=False)
class Case:
    """One image with its mask.

    Attributes
    ----------
    id : the image's file name without suffix.
    group : patient, volume or source image; cases of one group are not independent.
    more_masks : of the same image, which is marked by all of them together, see `case_mask`.
    ignore, roi : masks of what counts in nothing, and of what counts, see `with_ignored`.
    patient : stands for the patient that a DICOM header names; empty where none does.
    """

    __slots__ = (
        "_group", "_ignore", "_ignore_folder", "_image", "_image_folder", "_mask", "_mask_folder",
        "_more_masks", "_patient", "_roi", "_roi_folder", "id",
    )  # fmt: skip
    id: str
    image: Path = path_field()
    mask: Path = path_field()
    group: str = plain_field()
    more_masks: tuple[Path, ...] = plain_field(())
    ignore: Path | None = path_field(None)
    roi: Path | None = path_field(None)
    patient: str = plain_field("")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Case) and self.__getstate__() == other.__getstate__()

    def __hash__(self) -> int:
        return hash(self.__getstate__())

    def __getstate__(self) -> tuple[Any, ...]:
        return tuple(getattr(self, slot) for slot in self.__slots__)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        for slot, value in zip(self.__slots__, state, strict=True):
            object.__setattr__(self, slot, value)

    @property
    def place(self) -> tuple[str, str]:
        """Folder and name of the image: no other case has both."""
        folder, name = self._image_folder, self._image  # type: ignore[attr-defined]
        return (folder, name) if folder is not None else (str(name.parent), name.name)

    @property
    def masks(self) -> tuple[Path, ...]:
        """The files of the mask, mostly one."""
        return (self.mask, *self.more_masks)

    @property
    def files(self) -> tuple[Path, ...]:
        """All files of the case."""
        regions = (path for path in (self.ignore, self.roi) if path is not None)
        return (self.image, *self.masks, *regions)


@dataclass(frozen=True)
class Pairing:
    """The cases of a folder pair, and what stayed without a partner.

    Attributes
    ----------
    other_channels : files of further channels of the images, which are left out.
    equal_names : files left out because another one differs from them by its suffix only.
    others : what else is in the folders, counted and named: files of other formats, folders.
    """

    cases: tuple[Case, ...]
    images_without_mask: tuple[Path, ...]
    masks_without_image: tuple[Path, ...]
    equal_names: tuple[Path, ...] = ()
    others: str = ""
    other_channels: tuple[Path, ...] = ()

    def note_of_others(self) -> list[Finding]:
        """What is left out for its name alone."""
        found = []
        if self.other_channels:
            names = [path.name for path in self.other_channels]
            ending = self.other_channels[0].stem[-5:]
            found.append(
                channels_finding(
                    names,
                    self.cases[0].image.name,
                    f"--mask-name '{{id:{ending}=}}' ([dataset] mask_name) takes another "
                    "channel. Without it, `flexseg plan` and `init` use all channels where the "
                    "masks are named without the number of the channel.",
                )
            )
        return [*found, *self._note_of_entries()]

    def _note_of_entries(self) -> list[Finding]:
        if not self.others:
            return []
        what = f"Left out, as they are neither images nor masks by their names: {self.others}."
        return [Finding(Severity.NOTE, "data", "other-entries", "folders", what, "")]


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
    """Pair images and masks by the stem of their file names, see `masks_of_images`.

    Of files that differ by their suffix only, one is taken: exact masks rather than lossy ones,
    then the suffix that most files of the folder have.

    Parameters
    ----------
    mask_name : stem of the mask, see `mask_stem`; with a `*` an image may have several. Where both
        folders are one, files of such names are masks, the others images.
    group : regular expression for `Case.group`; without it the patients of DICOM headers count.
    image_format, mask_format : a suffix that all files have, or "auto" for any.
    image_suffixes : what "auto" means for images.

    Raises
    ------
    DataError : a folder is missing or empty.
    """
    in_one = same_place(images_dir, masks_dir)
    mixed = mask_name != "{id}" and in_one
    images, double = _images(images_dir, _suffixes(image_format, image_suffixes))
    masks, double_masks = _chosen(masks_dir, _suffixes(mask_format, MASK_SUFFIXES), exact=True)
    if mixed:
        template = folded(mask_name)
        images = {s: name for s, name in images.items() if not is_mask(template, folded(s))}
        masks = {s: name for s, name in masks.items() if is_mask(template, folded(s))}
    read = {images_dir: {*images.values(), *double}, masks_dir: {*masks.values(), *double_masks}}
    if in_one:
        read = dict.fromkeys(read, {*images.values(), *double} | read[masks_dir])
    others = _others(read)
    found = masks_of_images(mask_name, images, masks)
    cases = [
        Case(
            stem,
            images_dir / images[stem],
            masks_dir / masks[own[0]],
            group_of(stem, group),
            tuple(masks_dir / masks[name] for name in own[1:]),
        )
        for stem, own in found.items()
        if own
    ]
    used = {name for own in found.values() for name in own}
    extra = tuple(masks_dir / name for stem, name in masks.items() if stem not in used)
    paired = {stem: own for stem, own in found.items() if own}
    channels = other_channels(images, paired, images_dir.parent / DATASET_FILE)
    left = found.keys() - paired.keys() - {*channels}
    same_name = dict.fromkeys(
        (*(images_dir / name for name in double), *(masks_dir / name for name in double_masks))
    )
    if in_one and same_name:  # a photograph and its mask
        files = {path for case in cases for path in case.files}
        same_name = {path: None for path in same_name if path not in files}
    return Pairing(
        _of_patients(cases, group),
        tuple(images_dir / images[stem] for stem in found if stem in left),
        extra,
        tuple(same_name),
        others,
        tuple(images_dir / images[stem] for stem in channels),
    )


def _of_patients(cases: Sequence[Case], pattern: str | None) -> tuple[Case, ...]:
    """Cases with the patients of their headers, which are their groups where no pattern is given.

    IDs that tell of fewer than three patients, as of files that were made anonymous, make no group.
    Copies that an augmenter made have the patient of their original.
    """
    told = {base_name(case.id): own for case in cases if (own := patient_of(case.image))}
    if not told:
        return tuple(cases)
    known = tuple(replace(case, patient=told.get(base_name(case.id), "")) for case in cases)
    if pattern is not None or len({*told.values()}) < MIN_GROUPS:
        return known
    return tuple(replace(case, group=case.patient or case.group) for case in known)


def case_mask(case: Case) -> MaskPixels:
    """The mask of a case, see `read_masks` and `with_ignored`."""
    return with_ignored(read_masks(case.masks), case.ignore, case.roi)


@dataclass(frozen=True)
class Regions:
    """Folders of masks of what is ignored, and of what counts.

    Attributes
    ----------
    name : stem of the files in them, see `mask_stem`.
    """

    ignore: tuple[Path, ...] = ()
    roi: tuple[Path, ...] = ()
    name: str = "{id}"

    @property
    def folders(self) -> tuple[Path, ...]:
        """All of them."""
        return (*self.ignore, *self.roi)

    def of(self, cases: Sequence[Case]) -> tuple[Case, ...]:
        """Cases with their files.

        Raises
        ------
        DataError : a folder is missing, or a case has no file in any of a kind.
        """
        if not self.folders:
            return tuple(cases)
        ignored, counted = (_regions(cases, own, self.name) for own in (self.ignore, self.roi))
        return tuple(
            replace(case, ignore=ignored.get(case.id), roi=counted.get(case.id)) for case in cases
        )


def _regions(cases: Sequence[Case], folders: Sequence[Path], name: str) -> dict[str, Path]:
    if not folders:
        return {}
    files: dict[str, Path] = {}
    for folder in folders:
        chosen, _ = _chosen(folder, MASK_SUFFIXES, exact=True)
        files |= {stem: folder / name for stem, name in chosen.items()}
    found = masks_of_images(name, [case.id for case in cases], files)
    lacking = [case_id for case_id, own in found.items() if not own]
    if lacking:
        raise DataError(
            f"{some_of(len(lacking), len(found), 'image', 'has', 'have')} no file in this "
            f"folder: {examples(lacking)}.",
            "Add the files, or name them by [dataset] region_name, e.g. '{id}_mask'. An image "
            "that counts as a whole needs a file too.",
            str(folders[0]),
        )
    return {case_id: files[own[0]] for case_id, own in found.items()}


def read_masks(paths: Sequence[Path]) -> MaskPixels:
    """The masks of one image as one: where the first marks nothing (0, black), the others count.

    Raises
    ------
    DataError : a file cannot be read, or they differ in size or in what they store.
    """
    whole = read_mask(paths[0])
    for path in paths[1:]:
        whole = _united(whole, read_mask(path), path)
    return whole


def _united(first: MaskPixels, second: MaskPixels, path: Path) -> MaskPixels:
    a, b = first.pixels, second.pixels
    fits = a.shape == b.shape and not (first.one_hot or second.one_hot)
    palette = _longer(first.palette, second.palette)
    without = first.palette is None and second.palette is None
    if not fits or (palette is None and not without):
        raise DataError(
            f"The masks of one image differ: {_stored(first)} and {_stored(second)}.",
            "Export all of them in the same way, at the image's size.",
            str(path),
        )
    bright, other = (v if v.ndim == 2 else v.max(axis=-1, keepdims=True) for v in (a, b))
    # Compression leaves no zeros.
    marked = bright >= other if first.lossy or second.lossy else bright != 0
    lossy = first.lossy or second.lossy
    return replace(first, pixels=np.where(marked, a, b), palette=palette, lossy=lossy)


def _longer(
    first: NDArray[np.uint8] | None, second: NDArray[np.uint8] | None
) -> NDArray[np.uint8] | None:
    """The palette that has all colours of both; None if there is none."""
    if first is None or second is None:
        return None
    short, long = sorted((first, second), key=len)
    return long if np.array_equal(long[: len(short)], short) else None


def _stored(mask: MaskPixels) -> str:
    return f"{mask.pixels.shape[1]} x {mask.pixels.shape[0]} pixels of {mask.mode}"


def images_by_stem(folder: Path, suffixes: tuple[str, ...] = IMAGE_SUFFIXES) -> dict[str, Path]:
    """The images of a folder by file name without suffix, sorted; one of equal names, see `pair`.

    Raises
    ------
    DataError : the folder is missing or has no images.
    """
    chosen, _ = _images(folder, suffixes)
    return {stem: folder / name for stem, name in chosen.items()}


def _images(folder: Path, suffixes: tuple[str, ...]) -> tuple[dict[str, str], list[str]]:
    """See `images_by_stem` and `_chosen`."""
    images, double = _chosen(folder, suffixes)
    if not images:
        raise DataError(
            "The folder has no images.",
            f"Give a folder with files that end in {', '.join(suffixes)}.",
            str(folder),
        )
    return images, double


def _others(read: Mapping[Path, Collection[str]]) -> str:
    """What else is in some folders than the names that are read, and the folders themselves."""
    told = {}
    for folder, names in read.items():
        rest = [folder / name for name in visible_names(folder) if name not in names]
        told[folder] = described(folder, without_places(rest, read))
    return "; ".join(f"in {folder} {text}" for folder, text in told.items() if text)


def require_case_files(cases: Iterable[Case]) -> None:
    """Refuse cases of which a file is none, see `require_file`; folders are DICOM series.

    Raises
    ------
    DataError : there are some, all of which it lists.
    """
    failed = []
    for path in (path for case in cases for path in case.files):
        try:
            if not (path.is_dir() and is_series_folder(path)):
                require_file(path)
        except DataError as error:
            failed.append(error)
    if failed:
        raise together(failed, stopped=False)


def _suffixes(name: str, default: tuple[str, ...]) -> tuple[str, ...]:
    if name.lower() == "auto":
        return default
    return ("." + name.lower().lstrip("."),)


def _chosen(
    folder: Path, suffixes: tuple[str, ...], *, exact: bool = False
) -> tuple[dict[str, str], list[str]]:
    """The name of one file for each stem, and of those of equal stems that are left out.

    Parameters
    ----------
    exact : lossy formats only where there is no other one.
    """
    names = file_names(folder, suffixes)
    chosen: dict[str, str] = {}
    equal: dict[str, list[str]] = {}
    for name in names:
        stem = stem_of_name(name)
        if (first := chosen.setdefault(stem, name)) is not name:
            equal.setdefault(stem, [first]).append(name)
    if not equal:
        return chosen, []
    counts = Counter(suffix_of(name).lower() for name in names)
    order = {suffix: i for i, suffix in enumerate(suffixes)}

    def preference(name: str) -> tuple[bool, int, int]:
        suffix = suffix_of(name).lower()
        lossy = exact and suffix in LOSSY_SUFFIXES
        return lossy, -counts[suffix], order.get(suffix, len(order))

    chosen |= {stem: min(own, key=preference) for stem, own in equal.items()}
    ordered = (name for stem in chosen for name in equal.get(stem, ()) if name != chosen[stem])
    return chosen, [*ordered]
