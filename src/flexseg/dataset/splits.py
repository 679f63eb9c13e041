"""Which case is for training, which for validation, which for the test."""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from flexseg.config.findings import Finding, Severity, examples
from flexseg.config.schema import DataSections, DatasetConfig, SplitConfig
from flexseg.config.train import TrainConfig
from flexseg.dataset.cases import EQUAL_NAMES, Case, Pairing, Regions, pair, require_case_files
from flexseg.dataset.names import NameLookup
from flexseg.dataset.parallel import Progress
from flexseg.errors import ConfigError, DataError
from flexseg.files.json_file import read_json
from flexseg.machine import real_path
from flexseg.outputs import (
    explain_os_errors,
    make_folder,
    set_aside,
    whole_folder,
    write_json,
)
from flexseg.own_results import claim_file, claim_folder, mark

logger = logging.getLogger(__name__)

SplitName = Literal["train", "valid", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "valid", "test")
SPLIT_FILE = "split.json"
_FILE_NAMES = {"val": "valid", "validation": "valid", "training": "train", "testing": "test"}


@dataclass
class Splits:
    """The cases of each split, and what was found while looking for them.

    Attributes
    ----------
    volumes : the volumes of `[volume] images_dir` that the split file names and that have no
        slices: `evaluate` takes them whole.
    """

    cases: dict[SplitName, tuple[Case, ...]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    volumes: dict[SplitName, tuple[str, ...]] = field(default_factory=dict)

    def add(self, other: Splits) -> None:
        """Take over the cases of splits that another one has, and what it found."""
        self.cases.update(other.cases)
        self.volumes.update(other.volumes)
        self.findings += other.findings

    def log(self) -> None:
        """Log the findings that are no errors."""
        for finding in self.findings:
            level = logging.WARNING if finding.severity is Severity.WARNING else logging.INFO
            logger.log(level, "%s: %s", finding.where, finding.what)

    def raise_errors(self) -> None:
        """Raise DataError for the first finding that is an error, or for all files that are none.

        `flexseg check` tells of each of these as it reads the cases.
        """
        for finding in self.findings:
            if finding.severity is Severity.ERROR:
                raise DataError(finding.what, finding.fix, finding.where)
        require_case_files(case for cases in self.cases.values() for case in cases)

    def need(self, split: SplitName) -> tuple[Case, ...]:
        """The cases of a split. Raises ConfigError if the config does not say where they are."""
        if not self.cases.get(split):
            raise ConfigError(
                f"The config names no cases for the {split} split.",
                f"Set [{split}] images_dir and masks_dir, or [dataset] images_dir, masks_dir; "
                "[model] evaluation says which split is scored.",
                f"[{split}]",
            )
        return self.cases[split]


def find_splits(data: DataSections, only: Iterable[SplitName] = SPLITS) -> Splits:
    """Find and pair the cases of all splits that the config describes.

    Each split has folders of its own, of which `split_file` may choose cases; or `[dataset]
    images_dir` holds all cases and `split_file`, or the shares of `split`, divide them. Without
    a validation set, a fifth of the training groups becomes one.

    Parameters
    ----------
    only : the splits that are needed; missing folders of others do not matter.

    Raises
    ------
    DataError, ConfigError : folders or the split file are missing or wrong.
    """
    splits = Splits()
    wanted = set(only)
    sections: dict[SplitName, TrainConfig | SplitConfig] = {
        "train": data.train,
        "valid": data.valid,
        "test": data.test,
    }
    own = [name for name, section in sections.items() if section.images_dir is not None]
    if data.dataset.images_dir is not None:
        if own:
            raise ConfigError(
                f"[dataset] images_dir holds all splits, but [{'], ['.join(own)}] has images too.",
                "Keep one of the two.",
                "[dataset] images_dir",
            )
        _from_one_folder(data, splits)
        return splits
    split_file = data.dataset.split_file
    if "valid" not in own and wanted & {"train", "valid"}:
        wanted |= {"train", "valid"}  # the one is held out from the other
    if split_file is not None and not wanted <= set(own):
        wanted.add("train")
    for split in SPLITS:
        section = sections[split]
        if split in wanted and section.images_dir is not None:
            pairing = _pair(data, section)
            splits.findings += _pairing_findings(pairing, split)
            splits.cases[split] = pairing.cases
    if split_file is not None:
        splits.add(parts_of_file(split_file, dict(splits.cases.items())))
    if "valid" in wanted and not splits.cases.get("valid") and splits.cases.get("train"):
        _hold_out_validation(data.train.seed, splits)
    return splits


def _pair(
    data: DataSections, section: DatasetConfig | TrainConfig | SplitConfig, group: str | None = None
) -> Pairing:
    images, masks, dataset = section.images_dir, section.masks_dir, data.dataset
    if images is None or masks is None:
        raise ConfigError(
            f"There are images ({images}) but no masks_dir beside them.",
            "Set masks_dir in the same section.",
        )
    pairing = pair(
        images,
        masks,
        mask_name=dataset.mask_name,
        group=group or dataset.group,
        image_format=data.image.file_format,
        mask_format=data.mask.mask_file_format,
    )
    ignore, roi = section.ignore_dir or dataset.ignore_dir, section.roi_dir or dataset.roi_dir
    regions = Regions((ignore,) if ignore else (), (roi,) if roi else (), data.dataset.region_name)
    return replace(pairing, cases=regions.of(pairing.cases))


def all_regions(data: DataSections) -> Regions:
    """The folders of all sections, of masks that may be in any split."""
    return Regions(
        tuple(s.ignore_dir for s in data.with_folders if s.ignore_dir is not None),
        tuple(s.roi_dir for s in data.with_folders if s.roi_dir is not None),
        data.dataset.region_name,
    )


def pair_one_folder(data: DataSections, group: str | None = None) -> Pairing:
    """The cases of a config that names one folder of images, or one for training alone.

    Parameters
    ----------
    group : instead of `[dataset] group`.

    Raises
    ------
    ConfigError : the config names no folder, or several.
    DataError : nothing pairs.
    """
    dataset, train = data.dataset, data.train
    own = [n for n in SPLITS if getattr(data, n).images_dir is not None]
    section = train if dataset.images_dir is None and own == ["train"] else dataset
    if section.images_dir is None:
        named = f"[{'], ['.join(own)}] have folders of their own" if own else "it names no folder"
        raise ConfigError(
            f"There is no one folder to divide: {named}.",
            "Set [dataset] images_dir and masks_dir, or give the folder instead of the config.",
            "[dataset] images_dir",
        )
    pairing = _pair(data, section, group)
    for finding in _pairing_findings(pairing, "dataset"):
        if finding.severity is Severity.ERROR:
            raise DataError(finding.what, finding.fix, str(section.images_dir))
    return pairing


def _pairing_findings(pairing: Pairing, where: str) -> list[Finding]:
    findings = pairing.note_of_others()
    if not pairing.cases:
        return [
            Finding(
                Severity.ERROR,
                "data",
                "no-pairs",
                f"[{where}]",
                f"None of {len(pairing.images_without_mask)} images has a mask of the same name "
                f"(first image {examples([p.name for p in pairing.images_without_mask], 1)}, "
                f"first mask {examples([p.name for p in pairing.masks_without_image], 1)}).",
                "Masks pair by file name; [dataset] mask_name = '{id}_mask' says another rule.",
            )
        ]
    if pairing.images_without_mask:
        names = tuple(p.name for p in pairing.images_without_mask)
        findings.append(
            Finding(
                Severity.WARNING,
                "data",
                "images-without-mask",
                f"[{where}]",
                f"{len(names)} image(s) have no mask and are left out: {examples(list(names))}.",
                "Add the masks, or remove the images.",
                names,
            )
        )
    if pairing.equal_names:
        names = tuple(p.name for p in pairing.equal_names)
        findings.append(
            Finding(
                Severity.WARNING,
                "data",
                "equal-names",
                f"[{where}]",
                f"{len(names)} {EQUAL_NAMES}: {examples(list(names))}.",
                "Remove them, or set [image] file_format or [mask] mask_file_format.",
                names,
            )
        )
    if pairing.masks_without_image:
        names = tuple(p.name for p in pairing.masks_without_image)
        findings.append(
            Finding(
                Severity.WARNING,
                "data",
                "masks-without-image",
                f"[{where}]",
                f"{len(names)} mask(s) have no image and are left out: {examples(list(names))}.",
                "Add the images, or remove the masks.",
                names,
            )
        )
    return findings


def _from_one_folder(data: DataSections, splits: Splits) -> None:
    dataset = data.dataset
    pairing = _pair(data, dataset)
    splits.findings += _pairing_findings(pairing, "dataset")
    if dataset.split_file is not None:
        whole = _whole_volumes(data)
        splits.add(parts_of_file(dataset.split_file, {"": pairing.cases}, whole))
    else:
        splits.cases.update(_by_share(pairing.cases, dataset.split, data.train.seed))


def _whole_volumes(data: DataSections) -> dict[str, list[str]]:
    """The volumes that `[volume]` names, by their own name and by that of their group."""
    volume = data.volume
    if volume.images_dir is None or volume.masks_dir is None:
        return {}
    # Only here, as reading volumes takes a while to import.
    from flexseg.dataset.volumetric.pairing import find_pairs, group_of_volume

    by_name: dict[str, list[str]] = defaultdict(list)
    stems = list(find_pairs(volume.images_dir, volume.masks_dir).by_stem)
    for stem in stems:
        pattern, several = data.dataset.group, len(volume.axes) > 1
        by_name[group_of_volume(stem, pattern, several_axes=several)].append(stem)
    return by_name | {stem: [stem] for stem in stems}


def read_split_file(path: Path) -> dict[SplitName, list[str]]:
    """The names of cases or groups that a split file gives to each split.

    Raises
    ------
    DataError : the file is missing or of another form, or names no split.
    """
    names: dict[SplitName, list[str]] = {}
    for key, ids in _read_split_file(path).items():
        names.setdefault(_split_name(key, path), []).extend(map(str, ids))
    return names


def _split_name(key: str, path: Path) -> SplitName:
    for split in SPLITS:
        if _FILE_NAMES.get(key, key) == split:
            return split
    raise DataError(f"{key!r} is no split.", f"Use the names {', '.join(SPLITS)}.", str(path))


def _read_split_file(path: Path) -> dict[str, list[Any]]:
    try:
        content = read_json(path, "utf-8-sig")  # editors of Windows mark it
    except FileNotFoundError:
        raise DataError("There is no such split file.", "Check the path.", str(path)) from None
    except ValueError as error:
        raise DataError(f"This is no JSON: {error}.", "Correct the file.", str(path)) from None
    if not isinstance(content, dict) or not all(isinstance(v, list) for v in content.values()):
        raise DataError(
            "The split file has another form than expected.",
            'Write {"train": ["id", ...], "valid": [...], "test": [...]}.',
            str(path),
        )
    return content


def parts_of_file(
    path: Path,
    folders: Mapping[str, tuple[Case, ...]],
    whole: Mapping[str, list[str]] | None = None,
) -> Splits:
    """Of the cases of each folder those that a split file names.

    A split without a folder takes its cases from that of training.

    Parameters
    ----------
    folders : the cases of each split's folder, or all cases under the name "".
    whole : volumes that have no slices among the cases, by their own name and that of their group.

    Raises
    ------
    DataError : the file is missing or of another form, or names a case twice.
    """
    content = _read_split_file(path)
    if "" in folders:
        splits = Splits()
        _by_names(content, path, folders[""], whole or {}, splits)
        return splits
    splits = Splits({split: folders[split] for split in SPLITS if split in folders})
    for split, cases in folders.items():
        names = {
            key: ids
            for key, ids in content.items()
            if (own if (own := _FILE_NAMES.get(key, key)) in folders else "train") == split
        }
        _by_names(names, path, cases, {}, splits)
    return splits


def _by_names(
    content: Mapping[str, list[Any]],
    path: Path,
    cases: tuple[Case, ...],
    whole: Mapping[str, list[str]],
    splits: Splits,
) -> None:
    # A name stands for a case or for all cases of a group, e.g. the slices of a volume.
    by_name: dict[str, list[Case]] = defaultdict(list)
    for case in cases:
        by_name[case.group].append(case)
    known = NameLookup(by_name | {case.id: [case] for case in cases})
    volume_names = NameLookup(whole)
    missing: list[str] = []
    seen: dict[str, str] = {}
    for key, ids in content.items():
        split = _split_name(key, path)
        chosen: list[Case] = []
        volumes: list[str] = []
        for name in map(str, ids):
            found = known.find(name) or []
            named = [] if found else volume_names.find(name) or []
            for entry in (name, *(case.id for case in found), *named):
                if seen.setdefault(entry, key) != key:
                    raise DataError(
                        f"The case {entry!r} stands in {seen[entry]} and in {key}.",
                        "A case may be in one split only.",
                        str(path),
                    )
            chosen += found
            volumes += named
            if not (found or named):
                missing.append(name)
        # A case may be named twice, or by its own name and by that of its group.
        splits.cases[split] = tuple(dict.fromkeys(chosen))
        if volumes:
            splits.volumes[split] = tuple(dict.fromkeys(volumes))
    used = {case for own in splits.cases.values() for case in own}
    others = sorted(case.id for case in cases if case not in used)
    if others and not whole:  # of volumes only some slices may have been chosen
        splits.findings.append(cases_in_no_split(others, path))
    if missing:
        splits.findings.append(
            Finding(
                Severity.WARNING,
                "data",
                "split-ids-missing",
                str(path),
                f"{len(missing)} name(s) are of no image with a mask and of no group: "
                f"{examples(missing)}.",
                "Correct the split file, or add the files.",
                tuple(missing),
            )
        )


def cases_in_no_split(names: Sequence[str], path: Path) -> Finding:
    """Of cases that a split file does not name."""
    return Finding(
        Severity.NOTE,
        "data",
        "cases-in-no-split",
        str(path),
        f"{len(names)} case{'s are' if len(names) > 1 else ' is'} in no split and not used: "
        f"{examples(list(names))}.",
        "Add them to the split file, if they are to be used; damaged ones are left out of it by "
        "`init`, `plan` and `split`.",
        tuple(names),
    )


def _by_share(
    cases: tuple[Case, ...], shares: tuple[float, float, float], seed: int
) -> dict[SplitName, tuple[Case, ...]]:
    if min(shares) < 0 or not 0.999 < sum(shares) < 1.001:
        raise ConfigError(
            f"split = {shares} does not sum to 1.", "Write e.g. [0.7, 0.15, 0.15].", "[dataset]"
        )
    groups = _shuffled_groups(cases, seed)
    counts = [round(share * len(groups)) for share in shares]
    if len(groups) >= 3:
        counts = [max(1, n) if share > 0 else 0 for n, share in zip(counts, shares, strict=True)]
    elif len(groups) == 2 and shares[1] > 0:
        counts = [1, 1, 0]
    cut = max(0, len(groups) - counts[1] - counts[2])
    parts = (groups[:cut], groups[cut : cut + counts[1]], groups[cut + counts[1] :])
    split_of = {group: name for name, part in zip(SPLITS, parts, strict=True) for group in part}
    return {name: tuple(case for case in cases if split_of[case.group] == name) for name in SPLITS}


def _hold_out_validation(seed: int, splits: Splits) -> None:
    cases = splits.cases["train"]
    groups = _shuffled_groups(cases, seed)
    if len(groups) < 2:
        return
    held = set(groups[: max(1, len(groups) // 5)])
    splits.cases["train"] = tuple(c for c in cases if c.group not in held)
    splits.cases["valid"] = tuple(c for c in cases if c.group in held)
    splits.findings.append(
        Finding(
            Severity.NOTE,
            "data",
            "validation-held-out",
            "[valid]",
            f"No validation set is given: {len(splits.cases['valid'])} of {len(cases)} training "
            "cases, chosen by group and seed, are held out for it.",
            "Set [valid] images_dir and masks_dir for one of your own.",
        )
    )


def _shuffled_groups(cases: tuple[Case, ...], seed: int) -> list[str]:
    """Groups in an order that depends on seed and name alone, so that new cases do not
    reshuffle the old ones."""

    def key(group: str) -> str:
        return hashlib.sha256(f"{seed}:{group}".encode()).hexdigest()

    return sorted({case.group for case in cases}, key=key)


def write_split_file(path: Path, parts: Mapping[SplitName, Sequence[Case]]) -> None:
    """Write which cases are in which split; a file in the way moves aside, unless it says that."""
    content = {split: [case.id for case in own] for split, own in parts.items()}
    make_folder(path.absolute().parent)
    if path.is_file() and _says(path, content):
        return
    claim_file(path, "split file", _is_split_file)
    set_aside(path)
    write_json(path, content)


def _is_split_file(path: Path) -> bool:
    try:
        return bool(read_split_file(path))
    except DataError:
        return False


def _says(path: Path, content: Mapping[SplitName, list[str]]) -> bool:
    try:
        return read_split_file(path) == content
    except DataError:
        return False


def copy_parts(
    parts: Mapping[SplitName, Sequence[Case]], folder: Path, on_case: Progress | None = None
) -> None:
    """Copy the cases into `<folder>/<split>/{images,masks}`; a folder in the way moves aside.

    Raises
    ------
    ConfigError : the folder contains the source, or the cases are folders of DICOM files.
    ResourceError : it cannot be written.
    """
    folder = folder.absolute()
    cases = [case for own in parts.values() for case in own]
    sources = {path.parent for case in cases for path in case.files}
    claim_folder(folder, sources, "--copy")
    if any(real_path(folder).is_relative_to(real_path(path)) for path in sources):
        raise ConfigError(
            f"The output folder {folder} lies within the input.",
            "Choose a folder of its own.",
            "--copy",
        )
    if any(case.image.is_dir() for case in cases):
        raise ConfigError(
            "DICOM series are not copied.", "Leave --copy out: the split file says it.", "--copy"
        )
    done = 0
    with whole_folder(folder) as part, explain_os_errors(folder):
        mark(part, "split")
        for split, own in parts.items():
            for kind in ("images", "masks"):
                (part / split / kind).mkdir(parents=True)
            for case in own:
                shutil.copy2(case.image, part / split / "images" / case.image.name)
                for mask in case.masks:
                    shutil.copy2(mask, part / split / "masks" / mask.name)
                done += 1
                if on_case is not None:
                    on_case(done, len(cases))
