"""Images that come with a file for each channel, as nnU-Net's `case_0000`, `case_0001`."""

from __future__ import annotations

import re
from collections.abc import Iterable

from flexseg.config.findings import Finding, Severity, examples

CHANNELS = tuple(f"_{number:04d}" for number in range(8))
_ENDING = re.compile(r"(.+)([-_ .]\d{4})")


def other_channels(names: Iterable[str], taken: Iterable[str]) -> list[str]:
    """The names that are of other channels of images that are taken.

    Parameters
    ----------
    names : of files without suffix.
    taken : those of the images that have masks.
    """
    endings = [match for name in taken if (match := _ENDING.fullmatch(name))]
    bases, own = {match[1] for match in endings}, {match[0] for match in endings}
    return [
        name
        for name in names
        if name not in own and (match := _ENDING.fullmatch(name)) and match[1] in bases
    ]


def channels_finding(files: list[str], taken: str, fix: str) -> Finding:
    """A warning that of several channels one is used.

    Parameters
    ----------
    files : of the others.
    taken : the file of one that is used.
    fix : how to take another one.
    """
    return Finding(
        Severity.WARNING,
        "data",
        "other-channels",
        "images",
        f"The images have several files, one per channel, and one channel is used, as {taken}: "
        f"{len(files)} files of others are left out: {examples(files)}.",
        fix,
        tuple(files),
    )
