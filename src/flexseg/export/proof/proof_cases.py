"""The images by which an export proves that it predicts as flexseg does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from flexseg.batches.store import CaseReader
from flexseg.config.load import LoadedConfig
from flexseg.dataset.cases import Case, group_of
from flexseg.dataset.division.config_splits import find_splits
from flexseg.dataset.reading import Dataset, ImageDataset
from flexseg.errors import DataError
from flexseg.export.whole_graph import stored_channels
from flexseg.files.entries import list_files
from flexseg.files.images import IMAGE_SUFFIXES
from flexseg.files.preprocess import Preprocessing
from flexseg.inference.pipeline import read_pixels
from flexseg.model_file.export_description import PixelType
from flexseg.model_file.model_description import ModelDescription

T = TypeVar("T")
# Of more cases so many are taken, evenly.
_MOST = 200
_GENERATED = 8


@dataclass(frozen=True)
class ProofCase:
    """An image, and its reference if there is one.

    Attributes
    ----------
    group : cases of one are not independent.
    read : gives pixels [H, W, C] as stored, and class ids [H, W] or None.
    """

    name: str
    group: str
    read: Callable[[], tuple[NDArray, NDArray[np.uint8] | None]]


@dataclass(frozen=True)
class ProofCases:
    """What is compared.

    Attributes
    ----------
    what : they are, for people.
    doubt : why they are no real cases; empty: they are.
    """

    what: str
    cases: Sequence[ProofCase]
    doubt: str = ""

    def pixel_type(self) -> PixelType:
        """The type of pixels that fits them: that of the first image.

        Raises
        ------
        DataError : it cannot be read.
        """
        stored = self.cases[0].read()[0].dtype
        if stored in (np.uint8, np.bool_):
            return "uint8"
        return "uint16" if stored == np.uint16 else "float32"


def cases_of_config(loaded: LoadedConfig, package: ModelDescription) -> ProofCases:
    """The split that a config evaluates.

    Raises
    ------
    ConfigError, DataError : there is none, or its files are missing.
    """
    e = loaded.experiment
    split = e.model.evaluation
    splits = find_splits(e.data, only=(split,))
    splits.raise_errors()
    reader = CaseReader(package.preprocessing, package.labels, e.mask.unknown_colors)
    return _annotated(f"{split} cases of the training's config", splits.need(split), reader)


def cases_of_folder(folder: Path, package: ModelDescription) -> ProofCases:
    """The images of a folder, with masks where it is a dataset.

    Raises
    ------
    DataError : there are no images.
    """
    try:
        found = Dataset.open(folder)
    except DataError:
        found = None
    if isinstance(found, ImageDataset):
        reader = CaseReader(package.preprocessing, package.labels)
        cases = [case for pairing in found.pairings.values() for case in pairing.cases]
        return _annotated("given cases", cases, reader)
    files = list_files(folder, IMAGE_SUFFIXES)
    if not files:
        raise DataError(
            "The folder has no images.", "Give a folder of images, or a dataset.", str(folder)
        )

    def read(file: Path) -> tuple[NDArray, None]:
        return read_pixels(file, package.preprocessing), None

    return ProofCases(
        "given images without masks",
        [ProofCase(file.name, group_of(file.stem, None), partial(read, file)) for file in files],
    )


def generated_cases(package: ModelDescription, pixels: PixelType, doubt: str = "") -> ProofCases:
    """Images that nobody has taken, smaller and larger than the network's.

    Parameters
    ----------
    doubt : why there are no real ones.
    """

    def read(number: int) -> tuple[NDArray, None]:
        return generated(package.preprocessing, pixels, number), None

    return ProofCases(
        "generated images",
        [
            ProofCase(f"generated_{number}", str(number), partial(read, number))
            for number in range(_GENERATED)
        ],
        doubt,
    )


def generated(preprocessing: Preprocessing, pixels: PixelType, number: int) -> NDArray:
    """An image [H, W, C] of areas and noise, of another size for each number.

    Its values are those that the network sees: of 8 or 16 bits, or within its window.
    """
    rng = np.random.default_rng(number)
    own = preprocessing.patch or (preprocessing.height, preprocessing.width)
    height, width = (max(8, round(side * rng.uniform(0.6, 1.8))) for side in own)
    channels = stored_channels(preprocessing) or (1 if number % 4 == 3 else preprocessing.channels)
    rows, columns = (np.arange(side) * 8 // side for side in (height, width))
    values = rng.uniform(0, 1, (8, 8, channels))[rows[:, None], columns]
    values = np.clip(values + rng.normal(0, 0.03, (height, width, channels)), 0, 1)
    low, high = preprocessing.window or (0.0, 65535.0 if pixels == "uint16" else 255.0)
    values = low + values * (high - low)
    if pixels != "float32":
        values = np.clip(np.rint(values), 0, np.iinfo(pixels).max)
    return values.astype(pixels)


def _annotated(what: str, cases: Sequence[Case], reader: CaseReader) -> ProofCases:
    chosen = evenly(cases, _MOST)
    return ProofCases(
        what, [ProofCase(case.id, case.group, partial(reader.native, case)) for case in chosen]
    )


def evenly(items: Sequence[T], most: int) -> list[T]:
    """Of more than `most` items so many, from all over them."""
    if len(items) <= most:
        return list(items)
    return [items[(2 * i + 1) * len(items) // (2 * most)] for i in range(most)]
