"""Which images belong together by their names: slices of a volume, images of a patient."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from flexseg.config.findings import Finding, Severity, amount, examples
from flexseg.dataset.cases import MIN_GROUPS, Case, Pairing, group_of
from flexseg.dataset.description import Description
from flexseg.dataset.names import base_name
from flexseg.errors import ConfigError, DataError

# What names the patient or volume. A field is a number at the end, with or without a word.
_FIELD = r"[-_ .](?:[A-Za-z]{1,8}[-_ ]?)?\d+"
PATTERNS = (
    r"(?i)(?<![a-z])((?:patient|subject|subj|sub|pat|pt|p)[-_ ]?\d+)",
    rf"^(.+?)(?:{_FIELD}){{3}}$",
    rf"^(.+?)(?:{_FIELD}){{2}}$",
    rf"^(.+?){_FIELD}$",
    r"^\d+[-_ ](.*\d.*)$",
)


def grouped(
    pairings: Mapping[str, Pairing], group: str | None, described: Description | None
) -> tuple[dict[str, Pairing], str | None, str]:
    """The cases of each folder in their groups, the pattern that finds these, and its reason.

    Parameters
    ----------
    group : the pattern that the user gives; without it that of the description, else what the
        names suggest; where that parts patients whom DICOM headers name, these count.

    Raises
    ------
    ConfigError, DataError : see `names_found`.
    """
    ids = [case.id for pairing in pairings.values() for case in pairing.cases]
    if group is not None:
        matched = len(names_found(group, ids))
        some = f", found in {matched} of {amount(len(ids), 'name')}" if matched < len(ids) else ""
        reason = f"as given{some}"
    elif described is not None and described.group is not None:
        group, reason = described.group, "as the dataset's own description says"
    else:
        group, reason = _guessed([case for pairing in pairings.values() for case in pairing.cases])
    if group is None:
        return dict(pairings), None, reason
    cases = {
        name: replace(
            pairing,
            cases=tuple(replace(c, group=group_of(c.id, group)) for c in pairing.cases),
        )
        for name, pairing in pairings.items()
    }
    return cases, group, reason


def grouped_by_names(
    cases: Sequence[Case], pattern: str | None
) -> tuple[tuple[Case, ...], tuple[Finding, ...]]:
    """The cases in the groups that their names tell of, where the config names no `pattern`.

    Where that would part patients whom DICOM headers name, these stay the groups.
    """
    if pattern is not None:
        return tuple(cases), ()
    found, reason = _guessed(cases)
    if found is None:
        return tuple(cases), ()
    finding = Finding(
        Severity.NOTE,
        "data",
        "groups-found",
        "[dataset] group",
        f"The config names no group, but {reason}. Each of them stays in one split as a whole.",
        f"Set group = '{found}', so that other commands keep them together too; or '^(.*)$', if "
        "the images are independent.",
    )
    return tuple(replace(case, group=group_of(case.id, found)) for case in cases), (finding,)


def _guessed(cases: Sequence[Case]) -> tuple[str | None, str]:
    """See `guess_group`; None where it would part patients that are groups by DICOM headers."""
    pattern, reason = guess_group([case.id for case in cases])
    by_header = [case for case in cases if case.patient and case.patient == case.group]
    counts = Counter(case.patient for case in by_header)
    if not by_header:
        return pattern, reason
    if pattern is not None:
        together = {(case.patient, group_of(case.id, pattern)) for case in by_header}
        if len(together) == len(counts):
            return pattern, reason
    return None, (
        f"the DICOM headers name {amount(len(counts), 'patient')} with {_sizes(counts.values())} "
        "images"
    )


def _sizes(counts: Collection[int]) -> str:
    low, high = min(counts), max(counts)
    return f"{low}" if low == high else f"{low} to {high}"


def unmatched_findings(pattern: str | None, names: Sequence[str]) -> list[Finding]:
    """A warning where `[dataset] group` finds nothing in any of the names of cases."""
    if pattern is None or not names or any(re.search(pattern, name) for name in names):
        return []
    return [
        Finding(
            Severity.WARNING,
            "data",
            "group-finds-nothing",
            "[dataset] group",
            f"The group '{pattern}' is found in no case's name: {examples(list(names))}. Each "
            "image is taken as a group of its own.",
            "Correct it, e.g. '^(p[0-9]+)_'; in single quotes, TOML takes backslashes as they are.",
        )
    ]


def names_found(group: str, names: Sequence[str], what: str = "case") -> list[str]:
    """The names in which the group that was given, a regular expression, finds something.

    Parameters
    ----------
    what : the names are of, in words.

    Raises
    ------
    ConfigError : it is no regular expression.
    DataError : it finds nothing in any name.
    """
    try:
        found = [name for name in names if re.search(group, name)]
    except re.error as error:
        raise ConfigError(
            f"{group!r} is not a regular expression: {error}.",
            "Correct it, e.g. '^(p[0-9]+)_'.",
            "--group",
        ) from None
    if not found:
        raise DataError(
            f"The group {group!r} is found in no {what}'s name: {examples(list(names))}.",
            "Give an expression that finds the patient or volume in the file names, e.g. "
            "'^(p[0-9]+)_'.",
            "--group",
        )
    return found


def check_group(pattern: str | None, names: Sequence[str], option: str = "--patient") -> None:
    """Refuse a regular expression that finds no patient in some of the names.

    Raises
    ------
    ConfigError : it is no regular expression, or does not match.
    """
    if pattern is None:
        return
    try:
        missed = [name for name in names if not re.search(pattern, name)]
    except re.error as error:
        raise ConfigError(
            f"{pattern!r} is not a regular expression: {error}.",
            "Give an expression that finds the patient in a file name, e.g. '^(p\\d+)_'.",
            option,
        ) from None
    if missed:
        raise ConfigError(
            f"{pattern!r} finds nothing in {len(missed)} of {amount(len(names), 'name')}: "
            f"{examples(missed)}.",
            "Give an expression that finds the patient in the name of every written file.",
            option,
        )


def find_group(
    given: str | None, names: Sequence[str], described: Description | None = None
) -> tuple[str | None, list[str]]:
    """The regular expression that finds the patient in the names of files, and a note on it.

    That is the one given; else that of the description of the source; else what the names
    suggest; None where they suggest nothing.

    Raises
    ------
    ConfigError : see `check_group`.
    """
    if given is not None:
        check_group(given, names)
        return given, []
    if described is not None and described.group is not None:
        return described.group, []
    found, reason = guess_group(names)
    return found, [] if found is None else [f"Groups: {reason}."]


def guess_group(ids: Sequence[str]) -> tuple[str | None, str]:
    """A regular expression that finds patient or volume in the names of cases, and why.

    Of all that fit, the one with the fewest groups is taken: too large groups cost some variety
    in training, too small ones let copies of a patient into the test. A pattern fits if it finds
    something with a number in every name, at least three groups, and several cases in some.

    Parameters
    ----------
    ids : names of image files without suffix.
    """
    names = sorted({base_name(case_id) for case_id in ids})
    best: tuple[int, str, Counter[str]] | None = None
    few = 0
    for pattern in PATTERNS:
        groups = _groups(names, pattern)
        if groups is None or len(groups) > 0.95 * len(names):
            continue
        if len(groups) < MIN_GROUPS:
            few = max(few, len(groups))
        elif best is None or len(groups) < best[0]:
            best = (len(groups), pattern, groups)
    if best is None:
        reason = "the names show no patients or volumes: each image is a group of its own"
        if few:
            reason = (
                f"the names suggest {amount(few, 'patient', '(or volume)', '(or volumes)')}, too "
                "few to split: each image is a group of its own, and the score may be too good"
            )
        return None, reason
    _, pattern, groups = best
    shown = examples([f"{name} ({n})" for name, n in groups.most_common()], 2)
    return pattern, (
        f"the names show {len(groups)} patients or volumes with {_sizes(groups.values())} "
        f"images: {shown}"
    )


def _groups(names: Sequence[str], pattern: str) -> Counter[str] | None:
    """The cases per group; None if the pattern does not fit every name."""
    expression = re.compile(pattern)
    found: Counter[str] = Counter()
    for name in names:
        match = expression.search(name)
        if match is None or not re.search(r"\d", match[1]):
            return None
        found[group_of(name, pattern)] += 1
    return found
