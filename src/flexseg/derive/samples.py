"""Parts of a dataset, and its masks in another form, as the originals' small tools make them."""

from __future__ import annotations

import random
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flexseg.dataset.cases import pair
from flexseg.dataset.labels import LabelMap
from flexseg.dataset.parallel import together
from flexseg.errors import DataError
from flexseg.files.entries import list_files, none_here, require_folder
from flexseg.files.images import MASK_SUFFIXES, read_mask
from flexseg.outputs import refuse_overlap, whole, whole_folder


def sample_pairs(images: Path, masks: Path, output: Path, count: int, seed: int = 137) -> int:
    """Copy some pairs, drawn at random, into `images/` and `masks/` of a folder (`mini_test`).

    The same seed draws the same pairs. Returns how many were copied.

    Raises
    ------
    DataError : nothing pairs.
    ConfigError : the output holds an input.
    """
    refuse_overlap({"--output": output}, [images, masks])
    cases = pair(images, masks).cases
    if not cases:
        raise DataError(
            "No image has a mask.",
            "Check both folders: a mask has the name of its image.",
            str(images),
        )
    chosen = random.Random(seed).sample(cases, min(count, len(cases)))
    with whole_folder(output) as folder:
        for case in chosen:
            for kind, file in (("images", case.image), *(("masks", mask) for mask in case.masks)):
                (folder / kind).mkdir(exist_ok=True)
                shutil.copyfile(file, folder / kind / file.name)
    return len(chosen)


@dataclass(frozen=True)
class Exported:
    """How many masks were written, and the errors of those that were not."""

    masks: int
    failed: list[DataError]


def export_categorized(masks: Path, output: Path, labels: LabelMap) -> Exported:
    """Write masks as the categorised ones of the originals: one-hot arrays `mask` in .npz files.

    Each is [H, W, classes], float32, 0 or 1, background first. Masks that cannot be read are left
    out.

    Raises
    ------
    DataError : there are no masks, or none can be read.
    ConfigError : the output holds an input.
    """
    refuse_overlap({"--output": output}, [masks])
    require_folder(masks)
    files = list_files(masks, MASK_SUFFIXES)
    if not files:
        raise none_here(masks, "masks")
    count = max(2, len(labels.classes))
    failed: list[DataError] = []
    with whole_folder(output) as folder:
        for file in files:
            try:
                ids = labels.encode(read_mask(file), str(file)).labels
            except DataError as error:
                failed.append(error)
                continue
            one_hot = (ids[..., None] == np.arange(count)).astype(np.float32)
            with whole(folder / f"{file.stem}.npz") as part:
                np.savez_compressed(part, mask=one_hot)
        if len(failed) == len(files):
            raise together(failed, stopped=False)
    return Exported(len(files) - len(failed), failed)
