"""The patients of volumes, and how they are found in the names of slices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from flexseg.config.findings import amount, examples
from flexseg.dataset.cases import group_of
from flexseg.dataset.division.grouping import names_found
from flexseg.dataset.names import base_name
from flexseg.dataset.volumetric.pairing import GROUP, GROUP_OF_AXES, slice_name
from flexseg.errors import DataError
from flexseg.files.volumes.slices import SliceAxis

_FIX = (
    "Give an expression that finds the patient at the beginning of every volume's name, e.g. "
    "'^(p[0-9]+)_'."
)


def volume_groups(stems: Sequence[str], pattern: str | None) -> dict[str, str]:
    """The patient of each volume.

    Parameters
    ----------
    stems : the names of the volumes.
    pattern : regular expression that finds the patient; without it every volume is a patient.

    Raises
    ------
    ConfigError : `pattern` is no regular expression.
    DataError : it finds nothing in some names.
    """
    if pattern is None:
        return {stem: base_name(stem) for stem in stems}
    found = names_found(pattern, stems, "volume")
    if missed := [stem for stem in stems if stem not in found]:
        raise DataError(
            f"The group {pattern!r} finds nothing in {len(missed)} of "
            f"{amount(len(stems), 'volume name')}: {examples(missed)}.",
            _FIX,
            "--group",
        )
    return {stem: group_of(stem, pattern) for stem in stems}


def slice_pattern(groups: Mapping[str, str], pattern: str | None, axes: Sequence[str]) -> str:
    """`[dataset] group` for slices of volumes: it finds the patient of the volume in their names.

    Names of slices go on after that of the volume, so a pattern that is about the end of the name
    is written anew for them.

    Parameters
    ----------
    groups : the patient of each volume, which `pattern` finds in its name.
    axes : directions in which slices are cut.

    Raises
    ------
    DataError : no such pattern finds the same in the names of slices.
    """
    whole = GROUP if len(axes) == 1 else GROUP_OF_AXES
    if pattern is None:
        return whole
    rest = whole.removeprefix("^(.*)")
    ends = pattern.endswith("$") and not pattern.endswith(r"\$")
    within = f"{pattern[:-1]}(?={rest})" if ends else f"{pattern}(?=.*{rest})"
    cuts = tuple(SliceAxis(axis) for axis in axes)
    # Two numbers, as a pattern may go on into them.
    pairs = [(s, slice_name(s, cut, n, cuts)) for s in groups for cut in cuts for n in (0, 123)]
    for candidate in (pattern, within):
        if all(group_of(name, candidate) == groups[stem] for stem, name in pairs):
            return candidate
    stem, name = next((s, n) for s, n in pairs if group_of(n, pattern) != groups[s])
    raise DataError(
        f"The group {pattern!r} finds different patients in a volume's name and in those of its "
        f"slices: {groups[stem]!r} in {stem!r}, but {group_of(name, pattern)!r} in {name!r}.",
        _FIX,
        "--group",
    )
