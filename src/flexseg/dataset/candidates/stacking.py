"""Arrays of all channels, of images that come with a file for each."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from flexseg.config.findings import examples
from flexseg.dataset.candidates.channels import channel_count
from flexseg.dataset.cases import Case, Pairing
from flexseg.dataset.layout import Layout
from flexseg.dataset.names import DATASET_FILE, stem_of
from flexseg.dataset.parallel import run_parallel
from flexseg.errors import DataError
from flexseg.files.channel_files.channel_names import channel_of, missing_channels
from flexseg.files.channel_files.channel_reading import read_channels
from flexseg.outputs import explain_os_errors, refuse_overlap, refuse_within, whole_folder
from flexseg.own_results import claim_folder

# Masks are named as their images without the number of the first channel.
_MASK_NAME = re.compile(r"\{id:[-_ .]0000=\}")


@dataclass(frozen=True)
class Stacked:
    """Images whose channels were files of their own.

    Attributes
    ----------
    layout : of the arrays.
    left_out : images that lack channels, with the reason.
    """

    layout: Layout
    left_out: tuple[str, ...]


def channels_of(layout: Layout, pairings: dict[str, Pairing]) -> int:
    """How many files each image consists of: 1 unless the masks are named without the channel."""
    if not _MASK_NAME.fullmatch(layout.mask_name):
        return 1
    if any(folders.mixed for folders in layout.folders.values()):
        return 1
    files = [
        path
        for pairing in pairings.values()
        for path in (*(case.image for case in pairing.cases), *pairing.other_channels)
    ]
    return channel_count(map(stem_of, files), layout.root / DATASET_FILE)


def stack_channels(
    layout: Layout, pairings: dict[str, Pairing], channels: int, output: Path
) -> Stacked:
    """Write the images as arrays [H, W, channels] (.npy) named without the channel.

    Raises
    ------
    DataError : channels of an image differ in size, cannot be read, or every image lacks some.
    ConfigError : the output folder holds an input, or lies in one.
    """
    inputs = [place for own in layout.folders.values() for place in (own.images, own.masks)]
    refuse_overlap({"--output": output}, inputs)
    refuse_within(output, inputs)
    whole: dict[str, list[Case]] = {}
    left_out = []
    for split, pairing in pairings.items():
        whole[split] = []
        for case in pairing.cases:
            if missing := missing_channels(case.image, channels):
                left_out.append(f"{case.image.name}: {examples(missing)} is missing")
            else:
                whole[split].append(case)
    if not any(whole.values()):
        raise DataError(
            f"Every image lacks at least one of its {channels} channels: {examples(left_out)}.",
            "Add these files, or correct the number of channels in dataset.json.",
            str(layout.root),
        )
    claim_folder(output)
    with whole_folder(output) as folder:
        for split, cases in whole.items():
            place = folder / (split or "images")
            with explain_os_errors(output):
                place.mkdir()
            run_parallel(partial(_write, place, channels), cases, None, None)
    folders = {
        split: replace(own, images=output / (split or "images"))
        for split, own in layout.folders.items()
        if whole[split]
    }
    note = (
        f"The {channels} files of each image are taken for its channels: {output.name}/ has "
        "images of all channels."
    )
    made = replace(
        layout,
        folders=folders,
        mask_name="{id}",
        image_format="auto",
        notes=(*(n for n in layout.notes if not n.startswith("Masks are named")), note),
    )
    return Stacked(made, tuple(left_out))


def _write(folder: Path, channels: int, case: Case) -> None:
    found = channel_of(case.id)
    name = found[0] if found else case.id
    with explain_os_errors(folder):
        np.save(folder / f"{name}.npy", read_channels(case.image, channels))
