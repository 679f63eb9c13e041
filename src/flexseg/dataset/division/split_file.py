"""Files that say which case is in which split."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flexseg.config.findings import Finding, Severity, amount, examples
from flexseg.dataset.cases import Case
from flexseg.dataset.division.splits import SPLITS, SplitName, Splits
from flexseg.dataset.names import NameLookup
from flexseg.errors import DataError
from flexseg.files.json_file import read_json
from flexseg.near_paths import check_path
from flexseg.outputs import make_folder, set_aside, write_json
from flexseg.own_results import claim_file
from flexseg.storage.mirror import present

SPLIT_FILE = "split.json"
_FILE_NAMES = {"val": "valid", "validation": "valid", "training": "train", "testing": "test"}


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
    raise DataError(f"{key!r} is not a split.", f"Use the names {', '.join(SPLITS)}.", str(path))


def _read_split_file(path: Path) -> dict[str, list[Any]]:
    try:
        content = read_json(present(path), "utf-8-sig")  # editors of Windows mark it
    except FileNotFoundError:
        raise DataError("There is no such split file.", check_path(path), str(path)) from None
    except ValueError as error:
        raise DataError(f"This is not JSON: {error}.", "Correct the file.", str(path)) from None
    if not isinstance(content, dict) or not all(isinstance(v, list) for v in content.values()):
        raise DataError(
            "The split file does not have the expected form.",
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
        if case.group != case.id:
            by_name[case.group].append(case)
    by_name.update((case.id, [case]) for case in cases)
    known = NameLookup(by_name)
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
                        f"The case {entry!r} is in {seen[entry]} and in {key}.",
                        "Keep it in one of them: a case may be in one split only.",
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
                f"{amount(len(missing), 'name', 'belongs', 'belong')} to no image with a mask "
                f"and to no group: {examples(missing)}.",
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
        f"{amount(len(names), 'case', 'is', 'are')} in no split and not used: "
        f"{examples(list(names))}.",
        "To use them, add them to the split file; `init`, `plan` and `split` leave out damaged "
        "ones.",
        tuple(names),
    )


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
