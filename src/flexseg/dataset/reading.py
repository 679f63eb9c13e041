"""What a folder of data is, whoever arranged it: cases, classes, groups, and what is odd there."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np

from flexseg.config.findings import Finding, Severity, amount, examples
from flexseg.dataset.candidates.answers import NO_ANSWERS, Answers
from flexseg.dataset.candidates.stacking import channels_of, stack_channels
from flexseg.dataset.cases import Case, Pairing
from flexseg.dataset.config_keys import folder_keys, mask_keys, volume_keys
from flexseg.dataset.description import VolumeCut, description, volume_label_names
from flexseg.dataset.division.dividing import SHARES, CaseTable, Division, Parts, divide_cases
from flexseg.dataset.division.extending import counted, extend_parts
from flexseg.dataset.division.grouping import grouped
from flexseg.dataset.division.split_file import (
    SPLIT_FILE,
    cases_in_no_split,
    parts_of_file,
    read_split_file,
)
from flexseg.dataset.division.splits import SPLITS, SplitName
from flexseg.dataset.ignored.pixels import IgnoredPixels
from flexseg.dataset.ignored.void import void_finding, void_value
from flexseg.dataset.labels import LabelClass, LabelMap
from flexseg.dataset.layout import Layout, find_layout, volume_folders
from flexseg.dataset.looks import (
    Look,
    count_classes,
    judge_images,
    read_cases,
    suggested_window,
)
from flexseg.dataset.marks.judgement import doubtful_masks, refuse_masks
from flexseg.dataset.marks.label_tables import label_table, table_folders
from flexseg.dataset.meaning import meaning_of
from flexseg.dataset.parallel import Progress
from flexseg.dataset.quality.defects import (
    copies_left_out,
    dataset_findings,
    parts_findings,
    unread_split,
)
from flexseg.dataset.volumetric.copies import (
    copies_across,
    equal_volumes,
    groups_across,
    joined_groups,
)
from flexseg.dataset.volumetric.groups import volume_groups
from flexseg.dataset.volumetric.pairing import VolumePairs, find_pairs
from flexseg.dataset.volumetric.scans import (
    Survey,
    refuse_filled_volumes,
    survey_labels,
    volume_meaning,
)
from flexseg.dataset.volumetric.volume_splits import (
    absent_classes,
    completed,
    given_division,
    unusable,
)
from flexseg.errors import DataError
from flexseg.storage.mirror import local_copy

MIN_CASES = 3
_NONE: Mapping[Path, SplitName] = {}
_SPLIT_NAMES = {"train": "training", "valid": "validation", "test": "test"}


@dataclass(frozen=True, repr=False)
class Dataset(ABC):
    """A folder of data. `Dataset.open` looks at every case once; `divide` says who trains.

    Attributes
    ----------
    folder : what was given.
    cases : all that can be used, in the order of the folders and of their names.
    labels : the classes, and how masks show them.
    group : regular expression that finds patient or volume in the name of a case, see `[dataset]
        group`; None where each case stands for itself.
    group_reason : why it is that, in words.
    left_out : what cannot be used, with the reason.
    findings : what a user should know.
    """

    folder: Path
    cases: tuple[Case, ...]
    labels: LabelMap
    group: str | None
    group_reason: str
    left_out: tuple[str, ...]
    findings: tuple[Finding, ...]

    @staticmethod
    def open(
        folder: Path | str,
        group: str | None = None,
        on_case: Progress | None = None,
        answers: Answers = NO_ANSWERS,
        arrays: Path | None = None,
    ) -> ImageDataset | VolumeDataset:
        """Look at a folder of images and masks, or of volumes and label volumes.

        Parameters
        ----------
        group : regular expression that finds patient or volume in the file names; without it that
            of `dataset.json`, else what the names themselves suggest.
        on_case : called with (done, total) while files are read.
        answers : what the user says where several things fit.
        arrays : folder that images are written to whose channels are files of their own; without
            it one channel of them is used, with a warning.

        Raises
        ------
        ConfigError : `group` is no regular expression.
        DataError : there are no images (volumes) with masks, or none can be used; or several
            things fit, with the answers.
        """
        folder = local_copy(folder)
        volumes = volume_folders(folder, answers)
        if volumes is None:
            return _open_images(folder, group, on_case, answers, arrays)
        return _open_volumes(folder, *volumes, group, on_case, answers)

    @property
    def given_parts(self) -> Division | None:
        """What folders or the dataset's own `split.json` say of training, validation and test.

        It may be a part of it only; None where nothing does.

        Raises
        ------
        DataError : the split file names a case in two splits.
        """
        return self._given[0]

    @property
    def divided_by_folders(self) -> bool:
        """The cases lie in folders of the splits, or of some of them."""
        return self._as_folders_say() is not None

    @cached_property
    def _given(self) -> tuple[Division | None, tuple[Finding, ...]]:
        """What is given, and what a user should know of a split file that is not used."""
        path = self.folder / SPLIT_FILE
        by_folders = self._as_folders_say()
        if by_folders is not None or not path.is_file():
            return by_folders, ()
        try:
            read_split_file(path)
        except DataError as error:  # a file of another program may have this name
            return None, (unread_split(error, path),)
        reason = f"as the dataset's {path.name} says"
        return replace(self._as_file_says(path), reason=reason), ()

    def _as_folders_say(self) -> Division | None:
        """None where the folders do not divide the cases."""
        return None

    @abstractmethod
    def _as_file_says(self, path: Path) -> Division:
        """What a split file says. Raises DataError if it is wrong."""

    def divide(
        self, split_file: Path | None = None, earlier: Mapping[Path, SplitName] = _NONE
    ) -> Division:
        """Training, validation and test cases: as given, and what is not given divided.

        Whole groups are divided so that every class is in every part, see
        `flexseg.dataset.division.dividing`. The same folder is always divided in the same way.

        Parameters
        ----------
        split_file : JSON file {"train": [...], "valid": [...], "test": [...]} to divide by, with
            names of cases or groups; without it `given_parts` count.
        earlier : image -> its part in an earlier division, which it keeps where nothing is given;
            see `extend_parts`.

        Raises
        ------
        DataError : there are too few cases or groups, or the split file is wrong.
        """
        if split_file is not None:
            return self._completed(self._as_file_says(split_file), earlier)
        given, findings = self._given
        division = self._completed(given, earlier)
        return replace(division, findings=(*findings, *division.findings))

    @abstractmethod
    def _completed(self, given: Division | None, earlier: Mapping[Path, SplitName]) -> Division:
        """A division with all parts and its findings."""

    @cached_property
    @abstractmethod
    def table(self) -> CaseTable:
        """The cases with the classes that they show, as `divide_cases` takes them."""

    @property
    def classes(self) -> tuple[LabelClass, ...]:
        """The classes, background first."""
        return self.labels.classes

    @cached_property
    def groups(self) -> dict[str, tuple[Case, ...]]:
        """Patient, volume or image -> its cases, which are not independent of each other."""
        groups: dict[str, list[Case]] = defaultdict(list)
        for case in self.cases:
            groups[case.group].append(case)
        return {name: tuple(own) for name, own in groups.items()}

    @abstractmethod
    def _lines(self) -> Iterable[str]:
        """Where the files are, and what they are: two lines for people."""

    def __repr__(self) -> str:
        where, what = self._lines()
        shown = [
            f"{c.id} {c.name}" + (f" ({', '.join(map(str, c.values))})" if c.values else "")
            for c in self.labels.foreground
        ]
        counts = Counter(finding.severity for finding in self.findings)
        told = [f"{counts[s]} {s}{'s' * (counts[s] != 1)}" for s in Severity if counts[s]]
        return "\n".join(
            [
                f"{self.folder} ({where})",
                f"{amount(len(self.cases), 'case')} in {amount(len(self.groups), 'group')}: "
                f"{self.group_reason}",
                what,
                f"classes: {examples(shown, 6)}",
                f"findings: {', '.join(told) or 'none'}",
            ]
        )


@dataclass(frozen=True, repr=False)
class ImageDataset(Dataset):
    """A folder of 2-D images and masks.

    Attributes
    ----------
    layout : where images and masks lie, with their names and formats.
    pairings : the cases of each folder of the layout, also those that cannot be used.
    looks : what reading the cases told, in their order.
    unknown_colors : see `[mask]`.
    channels : of the images as stored; gray ones among coloured ones are read as coloured.
    gray : all channels of all images are equal, so one channel says as much.
    volume : how slices were cut, for slices of volumes that `flexseg derive` made.
    channel_files : the channels were files of their own.
    """

    layout: Layout
    pairings: Mapping[str, Pairing]
    looks: tuple[Look, ...]
    unknown_colors: Literal["nearest", "error"]
    channels: int
    gray: bool
    volume: VolumeCut | None
    channel_files: bool = False

    @property
    def wide(self) -> bool:
        """Some images have more than 8 bits."""
        return any(look.dtype != "uint8" for look in self.looks)

    @property
    def lossy(self) -> bool:
        """Some masks blur values."""
        return any(look.lossy for look in self.looks)

    @cached_property
    def table(self) -> CaseTable:
        return CaseTable.of_looks(self.looks, self.labels)

    def looks_of(self, cases: Iterable[Case]) -> list[Look]:
        """What reading some of the cases told."""
        places = (case.place for case in cases)
        return [self._by_place[folder][name] for folder, name in places]

    def _look_of(self, case: Case) -> Look | None:
        """None of a case that cannot be used."""
        folder, name = case.place
        return self._by_place.get(folder, {}).get(name)

    @cached_property
    def _by_place(self) -> dict[str, dict[str, Look]]:
        """Folder of the image -> its name -> look."""
        found: dict[str, dict[str, Look]] = defaultdict(dict)
        for look in self.looks:
            folder, name = look.case.place
            found[folder][name] = look
        return found

    def _as_file_says(self, path: Path) -> Division:
        folders = {name: pairing.cases for name, pairing in self.pairings.items()}
        chosen = parts_of_file(path, folders)
        parts: Parts = {
            split: tuple(case for case in own if self._look_of(case))
            for split, own in chosen.cases.items()
        }
        exact = all(len(parts[split]) == len(own) for split, own in chosen.cases.items())
        findings = [f for f in chosen.findings if f.code == "split-ids-missing"]
        named = {*chain(*chosen.cases.values())}
        if others := sorted(case.id for case in self.cases if case not in named):
            findings.append(cases_in_no_split(others, path))
        return Division(
            parts, f"as {path.name} says", path if exact else None, not exact, tuple(findings)
        )

    def _as_folders_say(self) -> Division | None:
        if "" in self.pairings:
            return None
        parts: Parts = {
            split: own
            for split in SPLITS
            if split in self.pairings
            and (own := tuple(c for c in self.pairings[split].cases if self._look_of(c)))
        }
        reason = "as the folders say" if len(parts) > 1 else ""
        return Division(parts, reason, needs_file=bool(self.left_out))

    def _completed(self, given: Division | None, earlier: Mapping[Path, SplitName]) -> Division:
        division = self._filled(given or Division({"train": self.cases}), earlier)
        looks: dict[str, list[Look]] = {
            split: self.looks_of(own) for split, own in division.parts.items()
        }
        found = parts_findings(looks, self.labels, named=self.group is not None)
        return replace(division, findings=(*division.findings, *found))

    def _filled(self, given: Division, earlier: Mapping[Path, SplitName]) -> Division:
        """A division with cases of training held out for the splits that have none."""
        if len(self.cases) < MIN_CASES:
            raise _too_few(len(self.cases), self.left_out, self.folder)
        training = given.parts.get("train")
        if not training:
            raise DataError(
                "None of the usable cases is for training.",
                "Name cases for training in the split file.",
                str(given.split_file or self.folder),
            )
        missing = [split for split in SPLITS if not given.parts.get(split)]
        if not missing:
            return given
        made, copies = self._held_out(training, missing, earlier)
        parts = {split: (given.parts | made)[split] for split in SPLITS}
        if empty := [split for split, own in parts.items() if not own]:
            raise DataError(
                f"No case is left for {_SPLIT_NAMES[empty[0]]}: the earlier network has seen all "
                "cases.",
                "Add cases that are new to it, or name the cases of each split in a split file.",
                str(self.folder),
            )
        reason = self._reason(training, made, missing)
        if earlier:
            known = counted(parts, earlier)
            reason = f"cases of the earlier network stay where they were: {known}"
        if given.reason:
            reason = f"{given.reason}; {reason}"
        return Division(parts, reason, None, True, (*given.findings, *copies_left_out(copies)))

    def _held_out(
        self,
        training: Sequence[Case],
        missing: Sequence[SplitName],
        earlier: Mapping[Path, SplitName],
    ) -> tuple[Parts, list[str]]:
        """New parts of training, and the copies that are in none."""
        wanted = {s: share for s, share in zip(SPLITS, SHARES, strict=True) if s in missing}
        wanted["train"] = 1 - sum(wanted.values())
        table = self.table.only(training)
        made = extend_parts(table, wanted, earlier) if earlier else divide_cases(table, wanted)
        used = {case.id for own in made.values() for case in own}
        return made, [case.id for case in training if case.id not in used]

    def _reason(self, training: Sequence[Case], made: Parts, missing: Sequence[SplitName]) -> str:
        groups = len({case.group for case in training})
        by = f" in {groups} groups, each of which stays together," if groups < len(training) else ""
        every = ", every class in its share" if len(self.labels.foreground) > 1 else ""
        if len(missing) == len(SPLITS) - 1:
            numbers = " / ".join(str(len(made[split])) for split in SPLITS)
            return f"{amount(len(training), 'case')}{by} are split now: {numbers}{every}"
        names = " and ".join(_SPLIT_NAMES[split] for split in missing)
        held = sum(len(made[split]) for split in missing)
        return (
            f"{held} of {amount(len(training), 'training case')}{by} "
            f"{'is' if held == 1 else 'are'} held out for {names}{every}"
        )

    def sections(
        self, division: Division, split_file: Path | None = None
    ) -> dict[str, dict[str, Any]]:
        """The part of a config that describes the data: section -> key -> value.

        Keys whose default fits are left out. Paths are absolute.

        Parameters
        ----------
        split_file : where the division was written to, if that is needed.
        """
        sections = folder_keys(self.layout, self.group, split_file or division.split_file)
        count = len(self.classes)
        sections["model"] = {
            "image_channels": self.channels,
            "num_classes": 1 if self.labels.binary else count,
        }
        window = suggested_window(self.looks_of(division.parts["train"]))
        if window is not None:
            sections.setdefault("image", {})["window"] = list(window)
        if self.channel_files:
            sections.setdefault("image", {})["channel_files"] = True
        sections["mask"] |= mask_keys(self.labels, self.unknown_colors)
        if self.volume is not None:
            sections["volume"] = volume_keys(self.volume)
        return sections

    def _lines(self) -> Iterable[str]:
        root = self.layout.root
        folders = [
            (folder.relative_to(root) if folder.is_relative_to(root) else folder).as_posix()
            for own in self.layout.folders.values()
            for folder in dict.fromkeys([own.images, own.masks])
        ]
        name = "" if self.layout.mask_name == "{id}" else f", masks named {self.layout.mask_name}"
        yield f"{', '.join(f'{f}/' for f in folders)}{name}"
        sizes = Counter(look.size for look in self.looks if look.size)
        (height, width), most = sizes.most_common(1)[0]
        some = f" ({most} of them)" if most < len(self.looks) else ""
        kinds = ", ".join(sorted({look.dtype for look in self.looks}))
        channels = f"{amount(self.channels, 'channel')}"
        yield f"images of {width} x {height} pixels{some}, {channels}, {kinds}"


@dataclass(frozen=True, repr=False)
class VolumeDataset(Dataset):
    """A folder of volumes and label volumes; a case is a volume.

    Attributes
    ----------
    pairs : the files.
    survey : what reading the label volumes told.
    patients : the group of each volume as its name says it; that of a case also joins equal ones.
    copies : volumes whose images are the same, each list of two or more.
    """

    pairs: VolumePairs
    survey: Survey
    patients: Mapping[str, str]
    copies: list[list[str]] = field(default_factory=list)

    @cached_property
    def table(self) -> CaseTable:
        counts = [self.survey.scans[case.id].counts for case in self.cases]
        classes = self.labels.foreground
        shown = [[any(v in own for v in c.values) for c in classes] for own in counts]
        # Equal volumes are of one group already.
        none = (b"",) * len(self.cases)
        return CaseTable(self.cases, np.array(shown), none, tuple(c.name for c in classes))

    def _as_file_says(self, path: Path) -> Division:
        return given_division(path, self.cases, self.patients)

    def _completed(self, given: Division | None, earlier: Mapping[Path, SplitName]) -> Division:
        division = completed(given, self.table, self.folder, earlier)
        names = {split: tuple(c.id for c in own) for split, own in division.parts.items()}
        found = (
            *copies_across(names, self.copies),
            *groups_across(names, self.patients),
            *absent_classes(names, self.survey, self.labels.foreground),
        )
        return replace(division, findings=(*division.findings, *found))

    def _lines(self) -> Iterable[str]:
        yield f"volumes: {self.pairs.images.name}/, {self.pairs.labels.name}/"
        shape = " x ".join(f"{v:.0f}" for v in self.survey.shape[::-1])
        spacing = " x ".join(f"{v:.3g}" for v in self.survey.spacing[::-1])
        yield f"volumes of {shape} voxels of {spacing} mm (x, y, z; median)"


def _open_images(
    folder: Path,
    group: str | None,
    on_case: Progress | None,
    answers: Answers,
    arrays: Path | None,
) -> ImageDataset:
    layout = find_layout(folder, answers)
    described = description(folder)
    found = layout.pair()
    incomplete: tuple[str, ...] = ()
    files = 1 if arrays is None or answers.mask_name else channels_of(layout, found)
    if arrays is not None and files > 1:
        stacked = stack_channels(layout, found, files, arrays)
        layout, incomplete = stacked.layout, stacked.left_out
        found = layout.pair()
    pairings, group, group_reason = grouped(found, group, described)
    looks = _looks(pairings, on_case)
    channels, gray, bad = judge_images(looks)
    left_out = (*incomplete, *bad.values())
    usable = [look for look in looks if look.case.image not in bad]
    if not usable:
        problems = [error for look in looks for error in look.problems]
        raise _too_few(0, left_out, folder, f"{problems[0].fix} " if problems else "")
    masks = [look.mask for look in usable if look.mask is not None]
    table = label_table(table_folders(folder, layout))
    meaning = meaning_of(masks, described, table, answers.mask_values)
    labels = meaning.labels
    count_classes(usable, labels)
    refuse_masks(usable, labels)
    findings = dataset_findings(layout, pairings, left_out, usable, labels)
    findings += doubtful_masks(usable, labels)
    return ImageDataset(
        folder=folder,
        cases=tuple(look.case for look in usable),
        labels=labels,
        group=group,
        group_reason=group_reason,
        left_out=left_out,
        findings=(*findings, *meaning.findings),
        layout=layout,
        pairings=pairings,
        looks=tuple(usable),
        unknown_colors=meaning.unknown,
        channels=channels,
        gray=gray,
        channel_files=files > 1,
        volume=described.volume if described else None,
    )


def _looks(pairings: Mapping[str, Pairing], on_case: Progress | None) -> list[Look]:
    cases = [case for pairing in pairings.values() for case in pairing.cases]
    return read_cases(cases, on_case)


def _too_few(count: int, left_out: Sequence[str], folder: Path, fix: str = "") -> DataError:
    wrong = f", and {len(left_out)} cannot be used: {examples(left_out)}" if left_out else ""
    return DataError(
        f"There {'is' if count == 1 else 'are'} {amount(count, 'usable image')} with "
        f"{'a mask' if count == 1 else 'masks'}{wrong}.",
        f"{fix}At least {MIN_CASES} are needed: one each to train, validate and test.",
        str(folder),
    )


def _open_volumes(
    folder: Path,
    images: Path,
    masks: Path,
    group: str | None,
    on_case: Progress | None,
    answers: Answers,
) -> VolumeDataset:
    pairs = find_pairs(images, masks)
    survey = survey_labels(pairs.by_stem, on_case)
    names = volume_label_names(folder)
    void = void_value([scan.counts for scan in survey.scans.values()], names)
    ignored, told = None, []
    if void is not None:
        ignored = IgnoredPixels.of([void])
        told = [void_finding(ignored, survey.share_of(void))]
        survey = survey.without(void)
    refuse_filled_volumes(survey.voxels, masks)
    classes, numbered = volume_meaning(survey, names, answers.mask_values)
    labels = LabelMap.of_foreground(classes, ignored=ignored)
    patients = volume_groups(list(survey.scans), group)
    copies = equal_volumes(pairs.by_stem, survey)
    joined = joined_groups(patients, copies)
    cases = [Case(s, pair.image, pair.label, joined[s]) for s, pair in pairs.by_stem.items()]
    left_out = tuple(
        f"{what} are left out ({len(names)}): {examples(names)}."
        for what, names in (
            ("Volumes without labels", pairs.images_without_label),
            ("Labels without a volume", pairs.labels_without_image),
            ("Images that lack files of channels", pairs.incomplete),
        )
        if names
    )
    return VolumeDataset(
        folder=folder,
        cases=tuple(cases),
        labels=labels,
        group=group,
        group_reason="the patient, as given" if group else "each volume is a group of its own",
        left_out=left_out,
        findings=(*map(unusable, left_out), *pairs.findings, *told, *numbered),
        pairs=pairs,
        survey=survey,
        patients=patients,
        copies=copies,
    )
