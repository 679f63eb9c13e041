"""A dataset of volumes and labels: what is known of it, how it is divided and evaluated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from flexseg.config.findings import Finding, examples
from flexseg.dataset.cases import Case
from flexseg.dataset.labels import LabelClass
from flexseg.dataset.splits import SplitName
from flexseg.dataset.survey import label_names
from flexseg.dataset.volume_dataset import VolumeDataset, find_dataset
from flexseg.dataset.volumes.copies import (
    copies_across,
    equal_volumes,
    groups_across,
    joined_groups,
)
from flexseg.dataset.volumes.division import absent_classes, split_volumes
from flexseg.dataset.volumes.groups import volume_groups
from flexseg.dataset.volumes.scans import Survey, survey_images, survey_labels
from flexseg.derive.dataset_writer import DATASET_FILE, MAX_FOUND, ClassSpec, classes_of_values
from flexseg.errors import DataError
from flexseg.files.images import IMAGE_SUFFIXES, list_files
from flexseg.files.intensity import Intensity
from flexseg.files.volumes.paths import find_volumes
from flexseg.files.volumes.slices import ANATOMICAL_AXES
from flexseg.outputs import refuse_overlap
from flexseg.planning.choice import Choice

Progress = Callable[[int, int], None]
# Images and labels, as people and the Medical Segmentation Decathlon call them.
_FOLDERS = (("images", "masks"), ("images", "labels"), ("imagesTr", "labelsTr"))
# Voxels this much longer in one direction make slices across it too coarse to learn from.
_ANISOTROPIC = 2.5
_FEWEST_VOXELS = 16
# Cutting so many slices of training and validation takes about half a minute.
_MOST_SLICES = 50_000


@dataclass(frozen=True)
class VolumeSource:
    """A dataset of volumes and what was decided about it.

    Attributes
    ----------
    split : the volumes of each split, by the names that their slices begin with; none is missing,
        but there may be no test volumes.
    classes : background first; their values are those of the label volumes.
    axes : directions in which slices are cut, the main one first.
    intensity : how values become grey, as `[volume] intensity`.
    neighbours : slices on each side that the network sees as channels.
    channel : which channel of volumes of several; None where they have one.
    group : regular expression that finds the group of a slice.
    facts : sizes and spacing of all volumes, classes and grey values of those of training; plain
        JSON types.
    reasons : why axes, intensity, channel and group are so, by the name of the attribute.
    notes : what a person should know, one sentence each.
    findings : what tells of volumes or patients that are in several splits, and of classes that
        are not in all.
    """

    dataset: VolumeDataset
    survey: Survey
    split: dict[SplitName, tuple[str, ...]]
    classes: tuple[LabelClass, ...]
    axes: tuple[str, ...]
    intensity: str
    neighbours: int
    channel: int | None
    group: str
    facts: dict[str, Any]
    reasons: dict[str, str]
    notes: tuple[str, ...]
    findings: tuple[Finding, ...]


def volume_folders(dataset: Path) -> tuple[Path, Path] | None:
    """The folders of volumes and labels in a dataset of volumes; None if it is none.

    Images of two dimensions make it a dataset of images.
    """
    for names in _FOLDERS:
        images, labels = (dataset / name for name in names)
        if not (images.is_dir() and labels.is_dir()):
            continue
        try:
            found = find_volumes(images), find_volumes(labels)
        except DataError:
            continue
        volumes = [[p for p in paths if p.suffix.lower() != ".npy"] for paths in found]
        if all(volumes) and not list_files(images, IMAGE_SUFFIXES):
            return images, labels
    return None


def read_volumes_source(
    dataset: Path,
    output: Path,
    *,
    split_file: Path | None = None,
    group: str | None = None,
    on_case: Progress | None = None,
) -> VolumeSource:
    """Survey a dataset of volumes, and decide how its slices are cut and divided.

    Parameters
    ----------
    dataset : folder with images/ and masks/ (or labels/), or imagesTr/ and labelsTr/.
    output : where results will go; not where the data are.
    split_file : names of volumes or groups; without it `split.json` of the dataset, else a split
        is made.
    group : regular expression that finds the patient in a volume's name; without it every volume
        is a patient.
    on_case : called with (done, total) while labels are read.

    Raises
    ------
    ConfigError : `output` lies on the data, or `group` is no regular expression.
    DataError : no volumes, files that cannot be read, labels on another grid than their image, a
        group or a split that does not fit, or too few volumes.
    """
    folders = volume_folders(dataset)
    if folders is None:
        raise DataError(
            "The folder is no dataset of volumes.",
            "Arrange them as images/ and masks/, with equal names, or imagesTr/ and labelsTr/.",
            str(dataset),
        )
    refuse_overlap({"--output": output}, [*folders])
    found = find_dataset(*folders)
    survey = survey_labels(found.by_stem, on_case)
    specs = _specs(survey, dataset)
    classes = classes_of_values(specs, ())
    axes, why_axes = _axes(survey)
    groups, pattern = volume_groups(list(survey.scans), group, axes)
    notes = _left_out(found)
    equal = equal_volumes(found.by_stem, survey)
    joined = joined_groups(groups, equal)
    cases = [Case(s, pair.image, pair.label, joined[s]) for s, pair in found.by_stem.items()]
    given = split_file or _own_split_file(dataset)
    split, about_split = split_volumes(survey, cases, groups, given)
    survey = survey_images(survey, found.by_stem, split["train"])
    # What is learned with must not depend on what other volumes show.
    training = survey.only(split["train"])
    intensity, why_intensity = _intensity(training)
    facts = (
        survey.size_facts()
        | training.content_facts(classes)
        | {
            "groups": len(set(groups.values())),
            "split": {name: len(names) for name, names in split.items()},
            "slices": {axis: _slices(survey, split, axis) for axis in axes},
        }
    )
    channel = 0 if survey.channels > 1 else None
    reasons = {
        "axes": why_axes,
        "intensity": why_intensity,
        "group": "the patient that a slice is of, as given"
        if group
        else "the volume that a slice is of",
    }
    if channel is not None:
        reasons["channel"] = f"of {survey.channels} channels the first"
        notes.append(f"The volumes have {survey.channels} channels; the first is taken.")
    return VolumeSource(
        found,
        survey,
        split,
        classes,
        axes,
        intensity.spec,
        1,
        channel,
        pattern,
        facts,
        reasons,
        (*notes, *about_split),
        (
            *copies_across(split, equal),
            *groups_across(split, groups),
            *absent_classes(split, survey, classes),
        ),
    )


def volume_choices(source: VolumeSource) -> list[Choice]:
    """What a config says of the volumes of a source."""
    folders = source.dataset
    several = len(source.axes) > 1
    choices = [
        Choice("volume", "axis", source.axes[0], source.reasons["axes"]),
        *([Choice("volume", "axes", list(source.axes), "all are trained on")] if several else ()),
        Choice("volume", "intensity", source.intensity, source.reasons["intensity"]),
        Choice("volume", "bits", 8, "256 shades are more than the noise leaves"),
        Choice(
            "volume",
            "neighbours",
            source.neighbours,
            f"2.5-D: the network sees {source.neighbours} slice before and after",
        ),
        Choice("volume", "images_dir", folders.images, "evaluated as volumes, in mm and ml"),
        Choice("volume", "masks_dir", folders.labels, "their labels"),
        Choice(
            "infer",
            "images_dir",
            folders.images,
            "what `flexseg infer` predicts unless it is told otherwise",
        ),
        Choice("model", "image_channels", 2 * source.neighbours + 1, "a slice and its neighbours"),
        Choice("eval", "batch_size", 16, "slices that are predicted at once"),
    ]
    if several:
        mean = "mean of the probabilities over the axes: few voxels are wrong in all of them"
        choices.append(Choice("infer3d", "average_axes", True, mean))
    if source.channel is not None:
        choices.append(Choice("infer3d", "channel", source.channel, source.reasons["channel"]))
    return choices


def _specs(survey: Survey, dataset: Path) -> tuple[ClassSpec, ...]:
    """The classes, with the names that the dataset gives them."""
    values = survey.values
    if not values:
        raise DataError(
            "No label volume has any label.", "Check that these are the labels.", str(dataset)
        )
    if len(values) > MAX_FOUND:
        raise DataError(
            f"The labels have {len(values)} different values: are they images?",
            "Check which folder is which.",
            str(dataset),
        )
    names = label_names(dataset / DATASET_FILE)
    named = [names.get(value, f"label {value}") for value in values]
    if len(set(named)) < len(named) or "background" in {name.casefold() for name in named}:
        named = [f"label {value}" for value in values]
    return tuple(ClassSpec(name, (value,)) for name, value in zip(named, values, strict=True))


def _axes(survey: Survey) -> tuple[tuple[str, ...], str]:
    """The directions of slices, the main one first, and why."""
    spacing, shape = survey.spacing, survey.shape
    ratio = float(spacing.max() / spacing.min())
    # Across the longest voxels; where they are nearly cubes, across the fewest.
    main = ANATOMICAL_AXES[int(spacing.argmax() if ratio > _ANISOTROPIC else shape.argmin())]
    mm = " x ".join(f"{v:.3g}" for v in spacing[::-1])
    if ratio > _ANISOTROPIC:
        return (main,), f"voxels of {mm} mm are {ratio:.1f} times as long across these slices"
    if shape.min() < _FEWEST_VOXELS:
        return (main,), f"only {shape.min():.0f} slices: other planes would be too thin"
    slices = int(sum(sum(scan.shape) for scan in survey.scans.values()))
    if slices > _MOST_SLICES:
        return ("axial",), f"of three axes there would be {slices} slices"
    return ANATOMICAL_AXES, f"voxels of {mm} mm are nearly cubes: slices of all three axes"


def _intensity(training: Survey) -> tuple[Intensity, str]:
    foreground = training.foreground()
    if training.is_ct and foreground.size:
        low, high = (float(v) for v in np.percentile(foreground, (0.5, 99.5)))
        low, high = np.floor(low), np.ceil(max(high, low + 1))
        why = f"CT: {low:g} to {high:g} HU, the 0.5th to 99.5th percentile of the classes"
        return Intensity.parse(f"{(low + high) / 2:g}/{high - low:g}"), why
    return Intensity.parse("zscore"), "no CT: mean and deviation of each volume, within +-3"


def _own_split_file(dataset: Path) -> Path | None:
    path = dataset / "split.json"
    return path if path.is_file() else None


def _left_out(dataset: VolumeDataset) -> list[str]:
    found = dataset.found
    return [
        f"{len(names)} {what} left out: {examples(list(names))}."
        for what, names in (
            ("volumes without labels", found.images_without_label),
            ("labels without a volume", found.labels_without_image),
        )
        if names
    ]


def _slices(survey: Survey, split: dict[SplitName, tuple[str, ...]], axis: str) -> dict[str, Any]:
    """Sizes and numbers of the slices of one axis."""
    across = ANATOMICAL_AXES.index(axis)
    rows, columns = (a for a in range(3) if a != across)
    scans = survey.scans
    sizes = np.array([(s.shape[rows], s.shape[columns]) for s in scans.values()])
    spacing = survey.spacing
    return {
        "median_size": [int(v) for v in np.median(sizes, axis=0)],
        "largest_size": [int(v) for v in sizes.max(axis=0)],
        "spacing_mm": [float(spacing[rows]), float(spacing[columns]), float(spacing[across])],
        "number": {
            name: int(sum(scans[stem].shape[across] for stem in stems))
            for name, stems in split.items()
        },
        "labelled": {
            name: int(sum(scans[stem].labelled[across] for stem in stems))
            for name, stems in split.items()
        },
    }
