"""How the volumes of a dataset are cut into slices, and what they look like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from flexseg.config.findings import Finding
from flexseg.config.text import Choice
from flexseg.dataset.candidates.channels import declared_channels
from flexseg.dataset.division.dividing import Division
from flexseg.dataset.division.splits import SplitName
from flexseg.dataset.names import DATASET_FILE
from flexseg.dataset.reading import VolumeDataset
from flexseg.dataset.volumetric.groups import slice_pattern
from flexseg.dataset.volumetric.scans import Survey, survey_images
from flexseg.dataset.volumetric.volume_splits import note
from flexseg.files.intensity import Intensity
from flexseg.files.volumes.slices import ANATOMICAL_AXES

# Voxels this much longer in one direction make slices across it too coarse to learn from.
_ANISOTROPIC = 2.5
_FEWEST_VOXELS = 16
# Cutting so many slices of training and validation takes about half a minute.
_MOST_SLICES = 50_000


@dataclass(frozen=True)
class VolumePlan:
    """A dataset of volumes and what was decided about it.

    Attributes
    ----------
    volumes : the volumes of each split, by the names that their slices begin with; there may be
        no test volumes.
    axes : directions in which slices are cut, the main one first.
    intensity : how values become grey, as `[volume] intensity`.
    neighbours : slices on each side that the network sees as channels.
    channel : which channel of volumes of several; None where they have one, or all are seen.
    channels : that the network sees of each slice.
    files : the channels are files of their own.
    group : regular expression that finds the group of a slice.
    facts : sizes and spacing of all volumes, classes and grey values of those of training; plain
        JSON types.
    reasons : why axes, intensity, channel and group are so, by the name of the attribute.
    findings : what a person should know.
    """

    data: VolumeDataset
    volumes: Mapping[SplitName, tuple[str, ...]]
    axes: tuple[str, ...]
    intensity: str
    neighbours: int
    channel: int | None
    channels: int
    files: bool
    group: str
    facts: dict[str, Any]
    reasons: dict[str, str]
    findings: tuple[Finding, ...]

    @property
    def image_channels(self) -> int:
        """Of the network's input."""
        return self.channels * (2 * self.neighbours + 1)


def plan_volumes(data: VolumeDataset, division: Division, neighbours: int = 1) -> VolumePlan:
    """Read grey values of volumes, and decide how slices are cut.

    Raises
    ------
    DataError : files that cannot be read, labels on another grid than their image, or a group that
        finds other patients in the names of slices.
    """
    volumes = {name: tuple(case.id for case in own) for name, own in division.parts.items()}
    axes, why_axes = _axes(data.survey)
    group = slice_pattern(data.patients, data.group, axes)
    survey = survey_images(data.survey, data.pairs.by_stem, volumes["train"])
    # What is learned with must not depend on what other volumes show.
    training = survey.only(volumes["train"])
    files = {pair.files for pair in data.pairs.pairs} != {1}
    named = declared_channels(data.pairs.images.parent / DATASET_FILE)
    every = files or (survey.channels > 1 and survey.channels == named)
    intensity, why_intensity = _intensity(training, several=every)
    facts = (
        survey.size_facts()
        | training.content_facts(data.classes)
        | {
            "groups": len(set(data.patients.values())),
            "split": {name: len(names) for name, names in volumes.items()},
            "slices": {axis: _slices(survey, volumes, axis) for axis in axes},
        }
    )
    reasons = {
        "axes": why_axes,
        "intensity": why_intensity,
        "group": "the patient that a slice is of, as given"
        if data.group
        else "the volume that a slice is of",
    }
    findings = [*data.findings, *division.findings]
    channel = 0 if survey.channels > 1 and not every else None
    if every:
        neighbours = 0
        findings.append(note(f"The network sees all {survey.channels} channels of a slice."))
    if channel is not None:
        reasons["channel"] = f"the first of {survey.channels} channels"
        findings.append(
            note(f"The volumes have {survey.channels} channels; only the first is used.")
        )
    return VolumePlan(
        data,
        volumes,
        axes,
        intensity.spec,
        neighbours,
        channel,
        survey.channels if every else 1,
        files,
        group,
        facts,
        reasons,
        tuple(findings),
    )


def volume_choices(plan: VolumePlan) -> list[Choice]:
    """What a config says of volumes."""
    folders = plan.data.pairs
    several = len(plan.axes) > 1
    choices = [
        Choice("volume", "axis", plan.axes[0], plan.reasons["axes"]),
        *([Choice("volume", "axes", list(plan.axes), "all are trained on")] if several else ()),
        Choice("volume", "intensity", plan.intensity, plan.reasons["intensity"]),
        Choice("volume", "bits", 8, "256 shades are more than the noise leaves"),
        Choice("volume", "neighbours", plan.neighbours, _why_neighbours(plan)),
        Choice("volume", "images_dir", folders.images, "evaluated as volumes, in mm and ml"),
        Choice("volume", "masks_dir", folders.labels, "their labels"),
        Choice(
            "infer",
            "images_dir",
            folders.images,
            "what `flexseg infer` predicts by default",
        ),
        Choice(
            "model",
            "image_channels",
            plan.image_channels,
            "all channels of the volumes" if plan.channels > 1 else "a slice and its neighbours",
        ),
        Choice("eval", "batch_size", 16, "slices that are predicted at once"),
    ]
    if several:
        mean = "mean of the probabilities over the axes: few voxels are wrong in all of them"
        choices.append(Choice("infer3d", "average_axes", True, mean))
    if plan.files:
        names = "of <volume>_0000, <volume>_0001, ..., also those that are to be predicted"
        choices.append(Choice("image", "channel_files", True, names))
    if plan.channel is not None:
        choices.append(Choice("infer3d", "channel", plan.channel, plan.reasons["channel"]))
    return choices


def _channels(plan: VolumePlan) -> str:
    where = "of files of their own, as in *_0000, *_0001" if plan.files else "of each file"
    return f"{plan.channels} {where}; the network sees all of them"


def describe_volumes(plan: VolumePlan) -> list[tuple[str, str]]:
    """The figures of volumes in words."""
    facts = plan.facts
    counts = {name: len(volumes) for name, volumes in plan.volumes.items()}
    shape, spacing = facts["shape"]["median"], facts["spacing_mm"]["median"]
    lines = [
        ("volumes", ", ".join(f"{count} {name}" for name, count in counts.items())),
        ("size", f"{_product(shape[::-1], 'd')} voxels (x, y, z; median)"),
        ("spacing", f"{_product(spacing[::-1], 'g')} mm"),
        ("modality", facts["modality"]),
        *([("channels", _channels(plan))] if plan.channels > 1 else []),
    ]
    for c in facts["classes"]:
        ml = "" if c["median_ml"] is None else f", {c['median_ml']:.3g} ml"
        lines.append(
            (
                f"class {c['id']} ({c['name']})",
                f"{100 * c['voxel_share']:.3g} % of the voxels, in {c['volumes']} of "
                f"{counts['train']} training volumes{ml} (median)",
            )
        )
    return lines


def _why_neighbours(plan: VolumePlan) -> str:
    if plan.channels > 1:
        return "the network sees several channels, and of these one slice"
    return f"2.5-D: the network sees {plan.neighbours} slice before and after"


def _product(values: Sequence[float], kind: str) -> str:
    return " x ".join(f"{round(v) if kind == 'd' else v:{kind}}" for v in values)


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


def _intensity(training: Survey, *, several: bool) -> tuple[Intensity, str]:
    """How values become grey; `several` channels may be of any modality."""
    if several:
        return Intensity.parse("zscore"), "each channel of each volume by its mean and deviation"
    foreground = training.foreground()
    if training.is_ct and foreground.size:
        low, high = (float(v) for v in np.percentile(foreground, (0.5, 99.5)))
        low, high = np.floor(low), np.ceil(max(high, low + 1))
        why = f"CT: {low:g} to {high:g} HU, the 0.5th to 99.5th percentile of the classes"
        return Intensity.parse(f"{(low + high) / 2:g}/{high - low:g}"), why
    return Intensity.parse("zscore"), "no CT: mean and deviation of each volume, within +-3"


def _slices(
    survey: Survey, split: Mapping[SplitName, tuple[str, ...]], axis: str
) -> dict[str, Any]:
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
