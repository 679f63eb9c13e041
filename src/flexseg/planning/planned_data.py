"""What a plan needs to know of a dataset, be it images or volumes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from flexseg.batches.neighbours import neighbour_files, warn_of_lone
from flexseg.config.findings import Finding
from flexseg.config.schema import Experiment
from flexseg.config.text import Choice
from flexseg.dataset.candidates.answers import NO_ANSWERS, Answers
from flexseg.dataset.cases import Case
from flexseg.dataset.division.config_splits import find_splits
from flexseg.dataset.division.dividing import Division
from flexseg.dataset.division.split_file import SPLIT_FILE, write_split_file
from flexseg.dataset.division.splits import SplitName
from flexseg.dataset.labels import LabelMap
from flexseg.dataset.marks.class_names import renamed
from flexseg.dataset.marks.made_up_names import is_made_up
from flexseg.dataset.quality.orientation import Orientation, orientation_of
from flexseg.dataset.reading import Dataset, ImageDataset, VolumeDataset
from flexseg.dataset.volumetric.volume_splits import note
from flexseg.derive.annotations.annotated_dataset import AnnotationOptions, derive_annotations
from flexseg.derive.annotations.export import FORMATS
from flexseg.derive.annotations.found_export import find_export
from flexseg.outputs import refuse_overlap, refuse_within
from flexseg.planning.continued.extended_division import EarlierParts, divided
from flexseg.planning.fingerprint import Fingerprint, describe, take_fingerprint
from flexseg.planning.sizes.resolution import Resolution
from flexseg.planning.volume_plan import VolumePlan, describe_volumes, plan_volumes, volume_choices
from flexseg.planning.volume_slices import CutSlices, cut

logger = logging.getLogger(__name__)

# Slices are seen at a size that is a multiple of this, so that a network can halve them.
_SLICE_MULTIPLE = 16
_ARRAYS = "channels"
_ANNOTATED = "annotated"
# Microscopy by transmitted light has a bright background: the mean of its values is more than this
# share of the highest.
_TRANSMITTED = 0.6
_IGNORED = "void: it counts in no loss, metric or statistic"
# What images are of: colours of absorbing dyes, other colours, grey values of no known meaning,
# Hounsfield units, or the arbitrary units of MR.
Kind = Literal["stained", "colored", "gray", "CT", "MR"]


@dataclass(frozen=True)
class PlannedData:
    """A dataset as a plan sees it.

    Attributes
    ----------
    output : folder of the plan.
    choices : what a config says of the data.
    classes : the tables `[[mask.classes]]`.
    separate_channels : the channels were measured in several ways, as sequences of MRI are.
    kind : what the values are of.
    size : median width and height of the images (slices) in pixels.
    resolution : what the masks say of the size that a network needs.
    training, validation, test : number of images or slices; of volumes `test` is the number of
        those that are evaluated.
    rarest : share of the training images that show the rarest class.
    orientation : which flips and turns are harmless.
    volumes : slices of all volumes that are evaluated; 0 for images.
    facts : (name, value) in words, fingerprint : the same as plain JSON.
    seen : share of the training cases that the earlier network has seen, if there is one.
    """

    output: Path
    choices: list[Choice]
    classes: list[dict[str, Any]]
    channels: int
    separate_channels: bool
    kind: Kind
    size: tuple[float, float]
    resolution: Resolution
    training: int
    validation: int
    test: int
    rarest: float
    orientation: Orientation
    volumes: int
    facts: list[tuple[str, str]]
    fingerprint: dict[str, Any]
    findings: tuple[Finding, ...]
    seen: float = 0.0


def read_data(
    dataset: Path,
    output: Path,
    *,
    split_file: Path | None,
    group: str | None,
    stage: Callable[[str], None],
    neighbours: int | None = None,
    answers: Answers = NO_ANSWERS,
    earlier: EarlierParts | None = None,
    names: Mapping[int, str] = MappingProxyType({}),
) -> PlannedData:
    """Read a dataset of images, or of volumes, whose slices are then cut into `output`.

    Of exports of annotation tools masks are made in `output` first.

    Parameters
    ----------
    split_file : see `Dataset.divide`.
    group, answers : see `Dataset.open`; names of classes take the place of those found.
    stage : told what is going on.
    neighbours : slices on each side that the network sees as further channels; without it one for
        volumes, none for images.
    earlier : the parts that cases had in the division of an earlier network, which is extended.
    names : class id -> name of the earlier network. If it has seen these data, its classes are
        theirs: they keep its names if neither files nor answers name them.

    Raises
    ------
    ConfigError : `output` lies among the data, or `group` is no regular expression.
    DataError : see `Dataset.open` and `Dataset.divide`.
    """
    folder, notes = _with_masks(dataset, output, group, stage, answers)
    data = Dataset.open(folder, group, answers=answers, arrays=output / _ARRAYS)
    if answers.classes:
        data = replace(data, labels=renamed(data.labels, answers.classes, "--classes"))
    _refuse_among(data, output)
    division, seen = divided(data, split_file, earlier)
    if seen and not answers.classes and _nameless(data.labels, names):
        data = replace(data, labels=renamed(data.labels, names, "--from"))
        listed = ", ".join(f"{i} {name}" for i, name in names.items())
        logger.info("The classes are called as in the earlier network: %s.", listed)
    if isinstance(data, VolumeDataset):
        plan = plan_volumes(data, division, 1 if neighbours is None else neighbours)
        stage("Cutting the volumes into slices")
        return replace(_of_volumes(plan, cut(plan, output), output), seen=seen)
    if neighbours:
        _need_neighbours(data, neighbours)
    found = _of_images(data, division, output, neighbours or 0)
    return replace(found, findings=(*notes, *found.findings), seen=seen)


def _nameless(labels: LabelMap, names: Mapping[int, str]) -> bool:
    """Whether no class has a name of its own, and `names` has one for each."""
    made_up = all(is_made_up(c.name, c.id) for c in labels.foreground)
    return made_up and {c.id for c in labels.foreground} == set(names)


def _with_masks(
    dataset: Path,
    output: Path,
    group: str | None,
    stage: Callable[[str], None],
    answers: Answers,
) -> tuple[Path, tuple[Finding, ...]]:
    """The dataset that is read, and what a user should know of its making.

    It is the one given, or what is made of an export.
    """
    export = find_export(dataset, answers)
    if export is None:
        return dataset, ()
    title = FORMATS.get(export.format_name).title
    stage(f"Turning annotations into masks ({title})")
    refuse_within(output, [export.images] if export.images != dataset else [])
    derived = derive_annotations(
        export.source,
        export.images,
        output / _ANNOTATED,
        AnnotationOptions(patient=group),
        format_name=export.format_name,
    )
    return derived.output, tuple(map(note, derived.notes))


def _need_neighbours(data: ImageDataset, neighbours: int) -> None:
    warn_of_lone([case.image for case in data.cases], neighbours)
    for case in data.cases:
        neighbour_files(case.image, neighbours)


def _refuse_among(data: ImageDataset | VolumeDataset, output: Path) -> None:
    """See `refuse_overlap` and `refuse_within`."""
    if isinstance(data, VolumeDataset):
        refuse_overlap({"--output": output}, [data.pairs.images, data.pairs.labels])
        return
    own = data.layout.folders.values()
    refuse_within(output, [place for one in own for place in (one.images, one.masks)])


def _of_images(
    data: ImageDataset, division: Division, output: Path, neighbours: int
) -> PlannedData:
    written = None
    if division.needs_file:
        written = output / SPLIT_FILE
        write_split_file(written, division.parts)
    sections = data.sections(division, written)
    if (images := _to_predict(data)) is not None:
        sections["infer"] = {"images_dir": images}
    if neighbours:
        sections["model"]["image_channels"] = 2 * neighbours + 1
        sections.setdefault("volume", {})["neighbours"] = neighbours
    reasons = {
        "dataset.split_file": division.reason,
        "dataset.group": data.group_reason,
        "model.num_classes": "one class" if data.labels.binary else "with the background",
        "volume.axis": "direction in which volumes are cut for the network",
        "volume.axes": "all that it is trained on",
        "volume.neighbours": "slices on each side as further channels: image_channels = 2 n + 1",
        "infer.images_dir": "what `flexseg infer` predicts by default",
        "image.channel_files": "of <image>_0000, <image>_0001, ..., also of new images",
        "image.window": "the values that become black and white, of all training images",
        "mask.ignore": _IGNORED,
        "mask.unknown_colors": "blended or compressed masks: the nearest class"
        if data.unknown_colors == "nearest"
        else "a mask value in no class is an error",
    }
    fingerprint = take_fingerprint(data, division)
    parts = division.parts
    return PlannedData(
        output=output,
        choices=_choices(sections, reasons),
        classes=sections["mask"]["classes"],
        channels=sections["model"]["image_channels"],
        separate_channels=data.channel_files,
        kind="gray" if neighbours or data.channel_files else _kind(fingerprint),
        size=(fingerprint.widths.median, fingerprint.heights.median),
        resolution=Resolution.of(parts["train"], data.labels),
        training=len(parts["train"]),
        validation=len(parts["valid"]),
        test=len(parts["test"]),
        rarest=min((c.case_share for c in fingerprint.classes), default=1.0),
        orientation=_orientation_of_slices(
            () if data.volume is None else data.volume.axes, data.labels, parts["train"]
        ),
        volumes=0,
        facts=describe(fingerprint),
        fingerprint=fingerprint.as_dict(),
        findings=(*data.findings, *division.findings),
    )


def _kind(fingerprint: Fingerprint) -> Kind:
    if fingerprint.gray or fingerprint.channels != 3:
        return "gray"
    shares = [i.mean / i.high for i in fingerprint.intensities if i.high > 0]
    return "stained" if shares and sum(shares) / len(shares) > _TRANSMITTED else "colored"


def _to_predict(data: ImageDataset) -> Path | None:
    """The test images, else all; None where other files than images lie among them."""
    layout = data.layout
    if "test" not in layout.folders and layout.unlabeled:
        return [*layout.unlabeled.values()][-1].absolute()  # the last split is that for the test
    folders = layout.folders.get("test") or layout.folders.get("") or layout.folders["train"]
    return None if folders.mixed else folders.images.absolute()


def _choices(sections: dict[str, dict[str, Any]], reasons: dict[str, str]) -> list[Choice]:
    return [
        Choice(section, key, value, reasons.get(f"{section}.{key}", ""))
        for section, keys in sections.items()
        for key, value in keys.items()
        if (section, key) != ("mask", "classes")
    ]


def _of_volumes(plan: VolumePlan, slices: CutSlices, output: Path) -> PlannedData:
    classes = [
        {"id": c.id, "name": c.name, "color": list(c.colors[0]), "values": list(c.values)}
        for c in plan.data.labels.foreground
    ]
    choices = [
        *volume_choices(plan),
        Choice("model", "num_classes", len(classes) + 1 if len(classes) > 1 else 1,
               "with the background" if len(classes) > 1 else "one class"),
        Choice("dataset", "images_dir", slices.images_dir, "slices of the volumes"),
        Choice("dataset", "masks_dir", slices.masks_dir, ""),
        Choice("dataset", "split_file", slices.split_file, "split by volume, never by slice"),
        Choice("dataset", "group", plan.group, plan.reasons["group"]),
        Choice("dataset", "cache_gb", 4.0, "all slices in memory, decoded once"),
    ]  # fmt: skip
    if plan.data.labels.ignored is not None:
        marks = plan.data.labels.ignored.marks
        choices.append(Choice("mask", "ignore", marks, _IGNORED))
    evaluated: SplitName = "test" if plan.volumes["test"] else "valid"
    if evaluated == "valid":
        why = "there are no test volumes, so these scores are too good"
        choices.append(Choice("model", "evaluation", evaluated, why))
    sizes = plan.facts["slices"].values()
    # Slices of several axes share one network, so it is square.
    side = max(length for axis in sizes for length in axis["median_size"])
    side = -(-side // _SLICE_MULTIPLE) * _SLICE_MULTIPLE
    experiment = Experiment.model_validate(sections_of(choices, classes))
    cases = find_splits(experiment.data, only=("train", "valid")).cases
    labels = LabelMap.from_config(experiment.class_sections)
    return PlannedData(
        output=output,
        choices=choices,
        classes=classes,
        channels=plan.image_channels,
        separate_channels=plan.channels > 1,
        kind="CT" if plan.facts["modality"] == "CT" else "MR",
        size=(side, side),
        resolution=Resolution.of(cases["train"], labels),
        training=len(cases["train"]),
        validation=len(cases.get("valid", ())),
        test=len(plan.volumes[evaluated]),
        rarest=slices.rarest,
        orientation=_orientation_of_slices(plan.axes, labels, cases["train"]),
        volumes=sum(axis["number"][evaluated] for axis in sizes),
        facts=describe_volumes(plan),
        fingerprint=plan.facts,
        findings=(*plan.findings, *map(note, slices.notes)),
    )


def _orientation_of_slices(
    axes: Sequence[str], labels: LabelMap, cases: Sequence[Case]
) -> Orientation:
    """See `orientation_of`: what the slices of one axis forbid, one network never does."""
    if len(axes) < 2:
        return orientation_of(labels, cases)
    first, *others = (
        orientation_of(labels, [case for case in cases if f"_{axis}_" in case.id]) for axis in axes
    )
    return reduce(Orientation.and_of, others, first)


def sections_of(
    choices: Sequence[Choice], classes: Sequence[dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    """The content of a config: section -> key -> value."""
    sections: dict[str, dict[str, Any]] = {}
    for choice in choices:
        sections.setdefault(choice.section, {})[choice.key] = choice.value
    sections.setdefault("mask", {})["classes"] = list(classes)
    return sections
