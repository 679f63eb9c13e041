"""The patients of volumes, and how they are found in the names of slices."""

from __future__ import annotations

from collections.abc import Sequence

from flexseg.config.findings import examples
from flexseg.dataset.cases import group_of
from flexseg.dataset.grouping import names_found
from flexseg.derive.volumes import GROUP, GROUP_OF_AXES, slice_name
from flexseg.errors import DataError
from flexseg.files.volumes.slices import SliceAxis

_FIX = "Find the patient at the beginning of every volume's name, e.g. '^(p[0-9]+)_'."


def volume_groups(
    stems: Sequence[str], given: str | None, axes: Sequence[str]
) -> tuple[dict[str, str], str]:
    """The patient of each volume, and `[dataset] group`, which finds the same one for its slices.

    Names of slices go on after that of the volume, so a pattern that is about the end of the name
    is written anew for them.

    Parameters
    ----------
    stems : the names that slices begin with.
    given : regular expression that finds the patient in the name of a volume; without it every
        volume is a patient.
    axes : directions in which slices are cut.

    Raises
    ------
    ConfigError : `given` is no regular expression.
    DataError : it finds nothing in some names, or something else in the names of slices.
    """
    cuts = tuple(SliceAxis(axis) for axis in axes)
    # Two numbers, as a pattern may go on into them.
    slices = {s: [slice_name(s, cut, n, cuts) for cut in cuts for n in (0, 123)] for s in stems}
    whole = GROUP if len(axes) == 1 else GROUP_OF_AXES
    if given is None:
        return {stem: group_of(names[0], whole) for stem, names in slices.items()}, whole
    found = names_found(given, stems, "volume")
    if missed := [stem for stem in stems if stem not in found]:
        raise DataError(
            f"The group {given!r} finds nothing in {len(missed)} of {len(stems)} names of volumes: "
            f"{examples(missed)}.",
            _FIX,
            "--group",
        )
    groups = {stem: group_of(stem, given) for stem in stems}
    rest = whole.removeprefix("^(.*)")
    ends = given.endswith("$") and not given.endswith(r"\$")
    within = f"{given[:-1]}(?={rest})" if ends else f"{given}(?=.*{rest})"
    pairs = [(stem, name) for stem, names in slices.items() for name in names]
    for pattern in (given, within):
        if all(group_of(name, pattern) == groups[stem] for stem, name in pairs):
            return groups, pattern
    stem, name = next((s, n) for s, n in pairs if group_of(n, given) != groups[s])
    raise DataError(
        f"The group {given!r} finds other patients in the names of slices: {groups[stem]!r} in "
        f"{stem!r}, {group_of(name, given)!r} in {name!r}.",
        _FIX,
        "--group",
    )
