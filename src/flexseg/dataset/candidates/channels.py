"""Images that come with a file for each channel: which of them are whole, and how many are used."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from flexseg.config.findings import Finding, Severity, amount, examples
from flexseg.files.channel_files.channel_names import channel_of
from flexseg.files.json_file import read_json


def other_channels(
    names: Collection[str], masks: Mapping[str, Sequence[str]], description: Path
) -> list[str]:
    """The names that are of other channels of images that have masks.

    Numbers may be those of a camera. They are of channels where the masks of several images are
    named without them and count from 0 or 1; or where `dataset.json` names channels.

    Parameters
    ----------
    names : of all files of images, without suffix.
    masks : name of each image that has masks -> the names of these.
    description : the `dataset.json` of the images.
    """
    declared = declared_channels(description)
    own = {
        found[0]
        for name in masks
        if (found := channel_of(name))
        and (declared is not None or _without_number(name, masks[name]))
    }
    if declared is not None:
        channels = frozenset(range(declared))
    else:
        if len(own) < 2:
            return []
        numbers: dict[str, set[int]] = defaultdict(set)
        for name in names:
            if (found := channel_of(name)) and found[0] in own:
                numbers[found[0]].add(found[1])
        channels = _most_frequent(numbers.values())
    return [
        name
        for name in names
        if name not in masks
        and (found := channel_of(name))
        and found[0] in own
        and found[1] in channels
    ]


def _without_number(name: str, masks: Iterable[str]) -> bool:
    """Whether masks have the name of an image but for the number at its end."""
    number = name[-4:]
    count = re.findall(r"\d+", name).count(number)
    return all(re.findall(r"\d+", mask).count(number) < count for mask in masks)


def _most_frequent(numbers: Iterable[Collection[int]]) -> frozenset[int]:
    """The numbers that most images have, two or more of them from 0 or 1 on; none without such."""
    counts = Counter(frozenset(own) for own in numbers if len(own) > 1 and min(own) in (0, 1))
    return max(counts, key=lambda own: counts[own], default=frozenset[int]())


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
        f"The images have several files, one per channel, of which one channel is used: {taken}. "
        f"{amount(len(files), 'file')} of other channels {'is' if len(files) == 1 else 'are'} "
        f"left out: {examples(files)}.",
        fix,
        tuple(files),
    )
