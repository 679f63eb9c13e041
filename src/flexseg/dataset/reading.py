"""What a folder of 2-D images and masks says, whoever arranged it: the facts of a plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import ValidationError

from flexseg.config.findings import Finding, examples
from flexseg.config.schema import Experiment
from flexseg.dataset.cases import Case, Pairing, group_of, pair
from flexseg.dataset.config_keys import folder_keys, mask_keys, volume_keys
from flexseg.dataset.data_findings import copies_left_out, data_findings, unread_split
from flexseg.dataset.dividing import SHARES, Parts, divide_cases
from flexseg.dataset.grouping import guess_group, names_found
from flexseg.dataset.labels import LabelMap
from flexseg.dataset.layout import Folders, Layout, find_layout
from flexseg.dataset.looks import (
    CaseLook,
    Progress,
    count_classes,
    judge_images,
    read_cases,
    suggested_window,
)
from flexseg.dataset.meaning import MaskMeaning, find_meaning
from flexseg.dataset.splits import (
    SPLITS,
    SplitName,
    cases_in_no_split,
    find_splits,
    read_split_file,
)
from flexseg.dataset.survey import (
    Description,
    FoundClass,
    VolumeCut,
    description,
    label_names,
)
from flexseg.derive.dataset_writer import DATASET_FILE, part_of
from flexseg.errors import DataError

SPLIT_FILE = "split.json"
MIN_CASES = 3
_SPLIT_NAMES = {"train": "training", "valid": "validation", "test": "test"}


@dataclass(frozen=True)
class Source:
    """A dataset as a config has to describe it.

    Attributes
    ----------
    dataset : the folder that was given.
    layout : where images and masks lie, with their names and formats.
    parts : the cases of each split; damaged ones are in none.
    split_reason : why they are divided so, in words.
    split_file : a split file that says just that already, for `[dataset] split_file`.
    needs_split_file : `split` has to be written to a file, as neither folders nor `split_file`
        say it.
    classes : foreground classes by id.
    unknown_colors, threshold : see `[mask]`.
    channels : of the images as stored; gray ones among coloured ones are read as coloured.
    gray : all channels of all images are equal, so one channel says as much.
    wide : images have more than 8 bits.
    window : for wide images the values that become black and white, from those of training.
    lossy : some masks are JPEG.
    group, group_reason : see `[dataset] group`; the reason in words.
    volume : how slices were cut, for slices of volumes that `flexseg derive` made.
    left_out : cases that cannot be used, with the reason.
    findings : what a user should know.
    looks : what reading the cases told, of all parts in order.
    """

    dataset: Path
    layout: Layout
    parts: Parts
    split_reason: str
    split_file: Path | None
    needs_split_file: bool
    classes: tuple[FoundClass, ...]
    unknown_colors: Literal["nearest", "error"]
    threshold: float | None
    channels: int
    gray: bool
    wide: bool
    window: tuple[float, float] | None
    lossy: bool
    group: str | None
    group_reason: str
    volume: VolumeCut | None
    left_out: tuple[str, ...]
    findings: tuple[Finding, ...] = ()
    looks: tuple[CaseLook, ...] = field(default=(), repr=False)

    @property
    def cases(self) -> tuple[Case, ...]:
        """The cases of all splits."""
        return tuple(case for split in SPLITS for case in self.parts.get(split, ()))

    @property
    def split(self) -> dict[str, list[str]]:
        """The ids of the cases of each split: the content of a split file."""
        return {split: [case.id for case in self.parts.get(split, ())] for split in SPLITS}

    @property
    def folders(self) -> dict[str, Folders]:
        """The folders of the splits, or of the whole dataset under the name ""."""
        return self.layout.folders

    @property
    def mask_name(self) -> str:
        """See `[dataset] mask_name`."""
        return self.layout.mask_name

    def sections(self, split_file: Path | None = None) -> dict[str, dict[str, Any]]:
        """The part of a config that describes the data: section -> key -> value.

        Keys whose default fits are left out. Paths are absolute.

        Parameters
        ----------
        split_file : where `split` was written to, if that is needed.
        """
        sections = folder_keys(self.layout, self.group, split_file or self.split_file)
        sections["model"] = {
            "image_channels": self.channels,
            "num_classes": len(self.classes) + 1 if len(self.classes) > 1 else 1,
        }
        if self.window is not None:
            sections.setdefault("image", {})["window"] = list(self.window)
        sections["mask"] |= mask_keys(self.classes, self.unknown_colors, self.threshold)
        if self.volume is not None:
            sections["volume"] = volume_keys(self.volume)
        return sections

    def experiment(self, split_file: Path | None = None) -> Experiment:
        """The config that `sections` makes, with the defaults for everything else."""
        return Experiment.model_validate(self.sections(split_file))


def read_source(
    dataset: Path,
    *,
    split_file: Path | None = None,
    group: str | None = None,
    on_case: Progress | None = None,
) -> Source:
    """Read a folder of images and masks, all of them once.

    Parameters
    ----------
    split_file : JSON file {"train": [...], "valid": [...], "test": [...]} to divide by; without
        it `split.json` of the dataset, else a new division.
    group : regular expression that finds patient or volume in the file names; without it that of
        `dataset.json`, else what the names themselves suggest.
    on_case : called with (done, total) while files are read.

    Raises
    ------
    ConfigError : `group` is no regular expression.
    DataError : there are no images with masks, fewer than three usable cases, or the split file
        is wrong.
    """
    dataset = dataset.absolute()
    layout = find_layout(dataset)
    described = description(dataset)
    pairings, group, group_reason = _paired(layout, group, described)
    looks = _looks(pairings, on_case)
    channels, gray, bad = judge_images([look for own in looks.values() for look in own])
    usable = {
        name: [look for look in own if look.case.image not in bad] for name, own in looks.items()
    }
    left_out = tuple(bad.values())
    _need_cases(usable, left_out, dataset)
    everything = [look for own in usable.values() for look in own]
    meaning = _meaning(everything, described, label_names(dataset / DATASET_FILE))
    source = Source(
        dataset=dataset,
        layout=layout,
        parts={},
        split_reason="",
        split_file=None,
        needs_split_file=False,
        classes=meaning.classes,
        unknown_colors=meaning.unknown,
        threshold=meaning.threshold,
        channels=channels,
        gray=gray,
        wide=any(look.dtype != "uint8" for look in everything),
        window=None,
        lossy=any(look.facts.lossy for look in everything),
        group=group,
        group_reason=group_reason,
        volume=described.volume if described else None,
        left_out=left_out,
    )
    try:
        labels = LabelMap.from_experiment(source.experiment())
    except ValidationError as error:  # classes that no config can have
        raise DataError(
            f"The description of the dataset does not fit: {error.errors()[0]['msg']}.",
            "Restore the file that `flexseg derive` wrote, or remove it.",
            str(dataset / DATASET_FILE),
        ) from None
    count_classes(everything, labels)
    source = _divided(source, usable, split_file)
    chosen = {case.image for case in source.cases}
    source = replace(source, looks=tuple(k for k in everything if k.case.image in chosen))
    found = data_findings(
        layout, pairings, left_out, source.parts, source.looks, source.experiment()
    )
    return replace(source, findings=(*found, *meaning.findings, *source.findings))


def _paired(
    layout: Layout, group: str | None, described: Description | None
) -> tuple[dict[str, Pairing], str | None, str]:
    """The cases of each folder, and the group with its reason."""
    pairings = {
        name: pair(
            folders.images,
            folders.masks,
            mask_name=layout.mask_name,
            image_format=layout.image_format,
            mask_format=layout.mask_format,
        )
        for name, folders in layout.folders.items()
    }
    ids = [case.id for pairing in pairings.values() for case in pairing.cases]
    if group is not None:
        matched = len(names_found(group, ids))
        some = f", found in {matched} of {len(ids)} names" if matched < len(ids) else ""
        reason = f"as given{some}"
    elif described is not None and described.group is not None:
        group, reason = described.group, "as the dataset's own description says"
    else:
        group, reason = guess_group(ids)
    grouped = {
        name: replace(
            pairing,
            cases=tuple(replace(c, group=group_of(c.id, group)) for c in pairing.cases),
        )
        for name, pairing in pairings.items()
    }
    return grouped, group, reason


def _looks(pairings: Mapping[str, Pairing], on_case: Progress | None) -> dict[str, list[CaseLook]]:
    total, start = sum(len(p.cases) for p in pairings.values()), 0
    looks = {}
    for name, pairing in pairings.items():
        looks[name] = read_cases(pairing.cases, part_of(on_case, start, total))
        start += len(pairing.cases)
    return looks


def _need_cases(
    usable: Mapping[str, Sequence[CaseLook]], left_out: Sequence[str], dataset: Path
) -> None:
    count = sum(map(len, usable.values()))
    if count < MIN_CASES:
        wrong = f", {len(left_out)} cannot be used: {examples(list(left_out))}" if left_out else ""
        raise DataError(
            f"There are {count} usable images with masks{wrong}.",
            f"At least {MIN_CASES} are needed: one each to train, to validate and to test.",
            str(dataset),
        )


def _meaning(
    looks: Sequence[CaseLook], described: Description | None, names: Mapping[int, str]
) -> MaskMeaning:
    """What the masks hold; `names` are those of some values."""
    if described is not None and described.classes:
        return MaskMeaning(described.classes)
    found = find_meaning([look.mask for look in looks if look.mask is not None])
    classes = tuple(
        replace(c, name=names[c.values[0]]) if len(c.values) == 1 and c.values[0] in names else c
        for c in found.classes
    )
    return replace(found, classes=classes)


def _divided(
    source: Source, usable: Mapping[str, Sequence[CaseLook]], split_file: Path | None
) -> Source:
    """The source with its splits: as given, and what is not given held out from training."""
    looks = {look.case.image: look for own in usable.values() for look in own}
    beside = source.dataset / SPLIT_FILE
    given = split_file or (beside if "" in usable and beside.is_file() else None)
    findings: list[Finding] = []
    parts: Parts = {}
    reason, exact = "", True
    if given is not None and split_file is None:
        try:
            read_split_file(given)
        except DataError as error:  # a file of another program may have this name
            findings.append(unread_split(error, given))
            given = None
    if given is not None:
        parts, exact, findings = _parts_by_file(source, given, looks)
        reason = f"as {given.name} says" if split_file else f"as the dataset's {given.name} says"
    if not parts and "" not in usable:
        parts = {s: tuple(k.case for k in usable[s]) for s in SPLITS if usable.get(s)}
        exact = not source.left_out
        reason = "as the folders say" if len(parts) > 1 else ""
    parts = parts or {"train": tuple(look.case for look in usable[""])}
    if not parts.get("train"):
        raise DataError(
            "No usable case is for training.",
            "Name cases for training in the split file.",
            str(given or source.dataset),
        )
    missing = [split for split in SPLITS if not parts.get(split)]
    if missing:
        parts, made, copies = _held_out(parts, missing, looks)
        reason, exact = f"{reason}; {made}" if reason else made, False
        findings += copies
    return replace(
        source,
        parts={split: parts[split] for split in SPLITS},
        window=suggested_window([looks[case.image] for case in parts["train"]]),
        split_reason=reason,
        split_file=given if exact else None,
        needs_split_file=not exact,
        findings=tuple(findings),
    )


def _parts_by_file(
    source: Source, path: Path, looks: Mapping[Path, CaseLook]
) -> tuple[Parts, bool, list[Finding]]:
    """The splits of a file, whether it names usable cases only, and what was found."""
    found = find_splits(source.experiment(path))
    cases = dict(found.cases)
    if any(f.code == "validation-held-out" for f in found.findings):
        # What is missing is held out by class, not by name.
        cases["train"] += cases.pop("valid")
    parts: Parts = {s: tuple(c for c in own if c.image in looks) for s, own in cases.items()}
    exact = all(len(parts[s]) == len(own) for s, own in cases.items())
    findings = [f for f in found.findings if f.code == "split-ids-missing"]
    named = {case.image for own in cases.values() for case in own}
    others = sorted(look.case.id for image, look in looks.items() if image not in named)
    if others:
        findings.append(cases_in_no_split(others, path))
    return parts, exact, findings


def _held_out(
    parts: Parts, missing: Sequence[SplitName], looks: Mapping[Path, CaseLook]
) -> tuple[Parts, str, list[Finding]]:
    """Cases of training for the splits that have none, the reason in words, what is left out."""
    cases = parts["train"]
    known = [looks[case.image].facts for case in cases]
    presence = np.array([np.array(f.class_pixels[1:]) > 0 for f in known])
    shares = dict(zip(SPLITS, SHARES, strict=True))
    wanted = {split: shares[split] for split in missing}
    wanted["train"] = 1 - sum(wanted.values())
    made = divide_cases(cases, presence, {f.case.id: f.digest for f in known}, wanted)
    used = {case.id for own in made.values() for case in own}
    findings = copies_left_out([case.id for case in cases if case.id not in used])
    groups = len({case.group for case in cases})
    by = f" in {groups} groups, each of which stays together," if groups < len(cases) else ""
    every = ", every class in its share" if presence.shape[1] > 1 else ""
    if len(missing) == len(SPLITS) - 1:
        numbers = " / ".join(str(len(made[split])) for split in SPLITS)
        reason = f"{len(cases)} cases{by} are divided now: {numbers}{every}"
        return parts | made, reason, findings
    names = " and ".join(_SPLIT_NAMES[split] for split in missing)
    held = sum(len(made[split]) for split in missing)
    reason = f"{held} of {len(cases)} training cases{by} are held out for {names}{every}"
    return parts | made, reason, findings
