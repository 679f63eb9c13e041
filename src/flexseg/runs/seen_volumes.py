"""Volumes that a network, or a member of an ensemble, was trained on: no test of it.

Networks are trained on slices. Runs note the names of these, which tell their volume; packages
note hashes of their files, by which a volume is known under another name too, as slices cut again
are the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flexseg.config.findings import amount, examples, some_of
from flexseg.dataset.cases import Case
from flexseg.dataset.division.splits import SplitName
from flexseg.dataset.volumetric.pairing import volume_of
from flexseg.errors import DataError
from flexseg.files.images import encode_png
from flexseg.files.preprocess import Preprocessing
from flexseg.files.volumes.slices import slice_axes, volume_intensity
from flexseg.files.volumes.volume import Volume
from flexseg.inference.ensemble import seen_by
from flexseg.inference.model_files import is_ensemble
from flexseg.model_file.seen_images import SeenImages, content_digest
from flexseg.runs.folds import FILE_NAME as FOLDS
from flexseg.runs.folds import read_folds
from flexseg.runs.manifest import FILE_NAME as MANIFEST
from flexseg.runs.manifest import Manifest
from flexseg.runs.seen import POOLED_SCORES

# Slices of each axis that are compared; more would show nothing else.
_COMPARED = 5


def refuse_trained_names(cases: Sequence[Case], split: SplitName, model: Path, run: Path) -> None:
    """Refuse volumes of the evaluated split whose slices another split of the run has.

    Parameters
    ----------
    model : a package, or an ensemble.
    run : folder of its run, which may not exist.

    Raises
    ------
    DataError : there are such volumes, or the files of the run are damaged.
    """
    manifest = Manifest.find(run)
    data = manifest.data if manifest is not None else {}
    others = {"test": ("train", "valid"), "valid": ("train",)}.get(split, ())
    for other in others:
        names = _volumes_of(data[other].ids if other in data else (), cases)
        if names:
            raise DataError(
                f"{amount(len(names), f'{split} volume', 'was', 'were')} in the {other} set of "
                f"this run: {examples(names)}; the split has changed since.",
                "Use the same train.seed and files as in training, or train again.",
                str(run / MANIFEST),
            )
    if split == "test" and is_ensemble(model):
        held = (name for fold in read_folds(run) or () for name in fold.held_out)
        if names := _volumes_of(held, cases):
            raise DataError(
                f"{some_of(len(names), len(cases), 'test volume', 'was', 'were')} in the folds "
                f"of the cross-validation: {examples(names)}.",
                "Give test volumes that took no part in it.",
                str(run / FOLDS),
            )


def _volumes_of(slices: Iterable[str], cases: Sequence[Case]) -> list[str]:
    stems = {case.id for case in cases}
    return sorted({stem for name in slices if (stem := volume_of(str(name), stems))})


def images_seen(model: Path, split: SplitName) -> frozenset[bytes]:
    """Hashes of the slices that tell a volume which must not be evaluated; empty without any.

    Images that only chose weights may be evaluated as what they are, the validation set. A single
    network may be scored on what it was trained on.
    """
    seen = seen_by(model)
    if split == "test":
        return seen.all
    return seen.trained if is_ensemble(model) else frozenset()


def refuse_trained_content(
    volume: Volume, preprocessing: Preprocessing, seen: frozenset[bytes], where: Path
) -> None:
    """Refuse a volume that slices of `seen` were cut from, whatever its name is.

    Raises
    ------
    DataError : it is one.
    """
    if seen and any(d in seen for d in _digests(volume, preprocessing, str(where))):
        raise DataError(
            "The model was trained on slices of this volume.",
            f"Give volumes that took no part in the training; {POOLED_SCORES}",
            str(where),
        )


def part_by_content(
    volume: Volume, preprocessing: Preprocessing, seen: SeenImages, where: Path
) -> SplitName | None:
    """What a network used a volume for, told by slices that are cut from it again; None: nothing.

    Volumes of several channels tell nothing.
    """
    for digest in _digests(volume, preprocessing, str(where)):
        if digest in seen.trained:
            return "train"
        if digest in seen.validated:
            return "valid"
    return None


def _digests(volume: Volume, preprocessing: Preprocessing, where: str) -> Iterable[bytes]:
    """Hashes of the PNGs of some slices of a volume, those of one grey left out."""
    if volume.channels > 1:
        return
    grey = volume_intensity(volume, preprocessing, where)
    for axis in slice_axes(preprocessing):
        view = axis.slice_view(volume.array, volume.orientation)
        for i in np.linspace(0, len(view) - 1, min(_COMPARED, len(view))).round().astype(int):
            pixels: NDArray = grey(view[i])
            if pixels.dtype in (np.uint8, np.uint16) and pixels.min() < pixels.max():
                yield content_digest(encode_png(pixels))
