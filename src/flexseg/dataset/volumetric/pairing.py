"""Folders of volumes and their labels: which belong together, and which slices are of which."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, replace
from pathlib import Path

from flexseg.config.findings import Finding, examples
from flexseg.dataset.candidates.channels import (
    channel_count,
    channels_finding,
    other_channels,
)
from flexseg.dataset.candidates.mask_names import masks_of_images
from flexseg.dataset.candidates.mixed import MASK_WORD
from flexseg.dataset.candidates.templates import Stems, best_rule, find_template
from flexseg.dataset.cases import Case, Pairing, group_of
from flexseg.dataset.names import DATASET_FILE, NamePattern, base_name, numbered
from flexseg.errors import DataError
from flexseg.files.channel_files.channel_names import channel_files, missing_channels
from flexseg.files.entries import list_files
from flexseg.files.volumes.file_formats.file_format import all_formats
from flexseg.files.volumes.read import VOLUME_SUFFIXES, is_series_folder, volume_stem
from flexseg.files.volumes.slices import ANATOMICAL_AXES, SliceAxis
from flexseg.machine import same_place
from flexseg.near_paths import check_path
from flexseg.storage.mirror import present

# The volume in the name of a slice, without and with the axis that it is cut along.
GROUP = r"^(.*)_\d+$"
GROUP_OF_AXES = rf"^(.*)_(?:{'|'.join(ANATOMICAL_AXES)})_\d+$"
# Of images and labels: equal names (Medical Segmentation Decathlon), the first channel of nnU-Net,
# and what annotation programs append.
_CHANNELS = tuple(f"_{number:04d}" for number in range(8))
NAMES = (
    ("{id}", "{id}"),
    ("{id}_0000", "{id}"),
    ("{id}", "{id}_seg"),
    ("{id}", "{id}_label"),
    ("{id}", "{id}_mask"),
    *((f"{{id}}{channel}", "{id}") for channel in _CHANNELS[1:]),
)
_FIRST_CHANNEL = f"{{id}}{_CHANNELS[0]}"
# The same as names of labels after those of images.
_NAMES_OF_LABELS = (
    "{id}",
    *(f"{{id:{channel}=}}" for channel in _CHANNELS),
    *(label for image, label in NAMES if image == "{id}" != label),
)
# What label volumes of two folders are compared by; arrays may be images as well.
LABEL_SUFFIXES = tuple(
    suffix for known in all_formats() if known.only_volumes for suffix in known.suffixes
)


@dataclass(frozen=True)
class VolumePair:
    """An image volume and its labels; `id` names the slices.

    Attributes
    ----------
    files : that the image consists of, one for each channel; `image` is one of them.
    """

    id: str
    image: Path
    label: Path
    files: int = 1


@dataclass(frozen=True)
class VolumePairs:
    """Volumes with their labels.

    Attributes
    ----------
    images, labels : their folders, or one volume each.
    image_name, label_name : the name patterns that they pair by, see `NamePattern`.
    images_without_label, labels_without_image : the names of what has no partner.
    other_channels : the names of files of further channels, which are left out.
    incomplete : the names of files that images lack of their channels; these images are left out.
    """

    images: Path
    labels: Path
    image_name: str
    label_name: str
    pairs: tuple[VolumePair, ...]
    images_without_label: tuple[str, ...] = ()
    labels_without_image: tuple[str, ...] = ()
    other_channels: tuple[str, ...] = ()
    incomplete: tuple[str, ...] = ()

    @property
    def findings(self) -> tuple[Finding, ...]:
        """A warning of channels that are left out."""
        if not self.other_channels:
            return ()
        fix = "Without --image-name, all channels are used."
        return (channels_finding([*self.other_channels], self.pairs[0].image.name, fix),)

    @property
    def by_stem(self) -> dict[str, VolumePair]:
        """The pairs by the name that their slices begin with."""
        return {file_name(pair.id): pair for pair in self.pairs}


def find_pairs(images: Path, labels: Path) -> VolumePairs:
    """Pair two folders of volumes by the name pattern that fits most of them.

    It is one of `NAMES`, else what the names themselves say, as those of images and masks do, see
    `find_template`. Where each channel is a file, all of them are the image, see
    `files.channel_files`.

    Raises
    ------
    DataError : a folder is missing, nothing fits together, or every image lacks a channel.
    """
    found: list[VolumePairs] = []
    problems: list[DataError] = []
    for image_name, label_name in NAMES:
        try:
            found.append(pair_volumes(images, labels, image_name, label_name))
        except DataError as error:
            problems.append(error)
            continue
        if not (found[-1].images_without_label or found[-1].labels_without_image):
            break
    else:
        found += _by_template(images, labels)
    if not found:
        raise problems[0]
    return _with_channels(max(found, key=lambda one: len(one.pairs)))


def _by_template(images: Path, labels: Path) -> list[VolumePairs]:
    """Pairs whose labels are named after the images in any way, whatever the letter case."""
    if _is_one(images) or not (images.is_dir() and labels.is_dir()):
        return []
    volumes, masks = (
        NamePattern.parse("{id}", VOLUME_SUFFIXES, option).find(folder, is_series_folder)
        for folder, option in ((images, "--image-name"), (labels, "--label-name"))
    )
    if same_place(images, labels):
        masks = {name: path for name, path in masks.items() if MASK_WORD.search(name)}
        volumes = {name: path for name, path in volumes.items() if name not in masks}
    template = find_template([Stems(frozenset(volumes), frozenset(masks))])
    if template is None:
        return []
    partners = masks_of_images(template, volumes, masks)
    pairs = [
        VolumePair(name, volumes[name], masks[own[0]]) for name, own in partners.items() if own
    ]
    used = {name for own in partners.values() for name in own}
    return [
        VolumePairs(
            images,
            labels,
            "{id}",
            template,
            tuple(pairs),
            tuple(volumes[name].name for name, own in partners.items() if not own),
            tuple(name for name in masks if name not in used),
        )
    ]


def _with_channels(found: VolumePairs) -> VolumePairs:
    """Pairs whose images have all their channels."""
    if found.image_name != _FIRST_CHANNEL:
        return found
    names = [*(pair.image.name for pair in found.pairs), *found.other_channels]
    stems = [volume_stem(Path(name)) for name in names]
    count = channel_count(stems, found.images.parent / DATASET_FILE)
    if count < 2:
        return found
    lacking = {pair: missing_channels(pair.image, count) for pair in found.pairs}
    whole = tuple(replace(pair, files=count) for pair, names in lacking.items() if not names)
    missing = tuple(name for names in lacking.values() for name in names)
    if not whole:
        raise DataError(
            f"Every image lacks at least one of its {count} channels: {examples(missing)}.",
            "Add these files, or correct the number of channels in dataset.json.",
            str(found.images),
        )
    files = {file.name for pair in whole for file in channel_files(pair.image, count)}
    others = tuple(name for name in found.other_channels if name not in files)
    return replace(found, pairs=whole, other_channels=others, incomplete=missing)


def pair_volumes(
    images: Path, labels: Path, image_name: str = "{id}", label_name: str = "{id}"
) -> VolumePairs:
    """Pair volumes by name patterns (see `NamePattern`), or two single volumes.

    Raises
    ------
    DataError : nothing is found, nothing fits together, or names are ambiguous.
    """
    image_pattern = NamePattern.parse(image_name, VOLUME_SUFFIXES, "--image-name")
    label_pattern = NamePattern.parse(label_name, VOLUME_SUFFIXES, "--label-name")
    for path in (images, labels):
        if not present(path).exists():
            raise DataError("There is no such file or folder.", check_path(path), str(path))
    if _is_one(images):
        if not _is_one(labels):
            raise DataError(
                "The image is one volume, but the labels are a folder.",
                "Give the label volume itself.",
                str(labels),
            )
        name = images.name if images.is_dir() else volume_stem(images)
        one = VolumePair(name, images, labels)
        return VolumePairs(images, labels, image_name, label_name, (one,))
    if labels.is_file():
        raise DataError(
            "The labels are one volume, but the images are a folder.",
            "Give the image volume itself.",
            str(images),
        )
    found = image_pattern.find(images, is_series_folder)
    found_labels = label_pattern.find(labels, is_series_folder)
    names = sorted(found_labels)
    cases = image_pattern.ids(found)
    partners = {case_id: label_pattern.of_case(case_id, names) for case_id in cases}
    used = {name for of_case in partners.values() for name in of_case}
    used_paths = {found_labels[name] for name in used}
    # Where both lie in one folder, the pattern of the images may fit the labels as well.
    cases = {case_id: path for case_id, path in cases.items() if path not in used_paths}
    pairs, unpaired = [], []
    for case_id, path in cases.items():
        of_case = [n for n in partners[case_id] if found_labels[n] != path]
        if len(of_case) > 1:
            raise DataError(
                f"{len(of_case)} label volumes match {path.name}: {', '.join(of_case)}.",
                "Change --label-name so that it tells them apart.",
                str(labels),
            )
        if of_case:
            pairs.append(VolumePair(case_id, path, found_labels[of_case[0]]))
        else:
            unpaired.append(path.name)
    if not pairs:
        raise DataError(
            f"No volume has labels: {len(found)} volumes were found for the images and "
            f"{len(found_labels)} for the labels, but no names match.",
            f"Volumes ({', '.join(VOLUME_SUFFIXES)}, or folders of DICOM files) are paired by "
            "--image-name and --label-name, e.g. --label-name '{id}_seg'.",
            str(images),
        )
    image_paths = {pair.image for pair in pairs}
    rest = [n for n, p in found_labels.items() if n not in used and p not in image_paths]
    if same_place(images, labels):
        rest = []
    label_of = {pair.image: volume_stem(pair.label) for pair in pairs}
    own_labels = {name: [label_of[path]] for name, path in found.items() if path in image_paths}
    others = other_channels(found, own_labels, images.parent / DATASET_FILE)
    channels = tuple(found[name].name for name in others)
    return VolumePairs(
        images,
        labels,
        image_name,
        label_name,
        tuple(pairs),
        tuple(name for name in unpaired if name not in channels),
        tuple(rest),
        channels,
    )


def pair_label_volumes(
    predictions: Path, references: Path, *, mask_name: str = "{id}", group: str | None = None
) -> Pairing:
    """Pair the label volumes of two folders by name, whatever their format.

    Parameters
    ----------
    mask_name : name of the reference that belongs to the prediction `{id}`, see `mask_stem`; where
        it pairs none, the names do by which images and labels pair, as predictions are named
        after their images.
    group : regular expression for `Case.group`.

    Raises
    ------
    DataError : see `volumes_by_name`.
    """
    predicted, reference = volumes_by_name(predictions), volumes_by_name(references)
    stems = Stems(frozenset(predicted), frozenset(reference))
    rule = best_rule((mask_name, *_NAMES_OF_LABELS), stems) or mask_name
    masks = masks_of_images(rule, predicted, reference)
    partner = {name: reference[own[0]] if own else None for name, own in masks.items()}
    cases = tuple(
        Case(name, predicted[name], found, group_of(name, group))
        for name, found in partner.items()
        if found is not None
    )
    used = {case.mask for case in cases}
    return Pairing(
        cases,
        tuple(path for name, path in predicted.items() if partner[name] is None),
        tuple(path for path in reference.values() if path not in used),
    )


def volumes_by_name(folder: Path) -> dict[str, Path]:
    """The label volumes of a folder by file name without suffix, sorted.

    Raises
    ------
    DataError : there is no such folder, or two files have the same name.
    """
    found: dict[str, Path] = {}
    for path in list_files(folder, LABEL_SUFFIXES):
        name = volume_stem(path)
        if name in found:
            raise DataError(
                f"{found[name].name} and {path.name} have the same name but for the suffix.",
                "Keep one file per volume.",
                str(folder),
            )
        found[name] = path
    return found


def _is_one(path: Path) -> bool:
    return path.is_file() or (path.is_dir() and is_series_folder(path))


def file_name(case_id: str) -> str:
    """A case's id as (part of) a file name: parts of paths are joined by "_"."""
    return case_id.replace("/", "_")


def slice_name(stem: str, axis: SliceAxis, number: int, axes: tuple[SliceAxis, ...]) -> str:
    """The name without suffix of a slice of the volume `stem`, cut along `axis` among `axes`."""
    return f"{stem}_{number:04d}" if len(axes) == 1 else f"{stem}_{axis.name}_{number:04d}"


def group_of_volume(stem: str, pattern: str | None, *, several_axes: bool) -> str:
    """The group of a volume: that of its slices, see `group_of`.

    Parameters
    ----------
    pattern : `[dataset] group`.
    several_axes : the slices are of several axes, which their names tell.
    """
    axes = tuple(SliceAxis(name) for name in ANATOMICAL_AXES[: 3 if several_axes else 1])
    return group_of(slice_name(stem, axes[0], 0, axes), pattern)


def volume_of(case_id: str, stems: Container[str]) -> str | None:
    """The volume among `stems` that a slice is of by its name; None if it is of none.

    Names are those of `slice_name`, augmented copies included.
    """
    for name in (case_id, base_name(case_id)):
        place = numbered(name)
        if place is None:
            continue
        series, _ = place
        if series in stems:
            return series
        volume, _, axis = series.rpartition("_")
        if axis in ANATOMICAL_AXES and volume in stems:
            return volume
    return None
