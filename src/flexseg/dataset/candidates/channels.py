"""Images that come with a file for each channel: which of them are whole, and how many are used."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from flexseg.config.findings import Finding, Severity, examples
from flexseg.files.channel_files.channel_names import channel_of
from flexseg.files.json_file import read_json


def other_channels(names: Iterable[str], taken: Iterable[str]) -> list[str]:
    """The names that are of other channels of images that are taken.

    Parameters
    ----------
    names : of files without suffix.
    taken : those of the images that have masks.
    """
    own = {*taken}
    images = {found[0] for name in own if (found := channel_of(name))}
    return [
        name
        for name in names
        if name not in own and (found := channel_of(name)) and found[0] in images
    ]


def declared_channels(description: Path) -> int | None:
    """How many channels a `dataset.json` of nnU-Net or the Decathlon names; None if it does not."""
    try:
        content = read_json(description)
        named = content.get("channel_names", content.get("modality"))
        return len(named) or None
    except (OSError, ValueError, AttributeError, TypeError):
        return None


def channel_count(names: Iterable[str], description: Path) -> int:
    """The number of channels of all images: what `dataset.json` says, else by the files' names.

    Parameters
    ----------
    names : without suffix, of all files of images whose masks are named without the channel.
    """
    numbers = [found[1] for name in names if (found := channel_of(name))]
    return declared_channels(description) or 1 + max(numbers, default=0)


def channels_finding(files: list[str], taken: str, fix: str) -> Finding:
    """A warning that of several channels one is used.

    Parameters
    ----------
    files : of the others.
    taken : the file of one that is used.
    fix : how to take another one, or all.
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
