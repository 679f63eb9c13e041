"""Predictions cached on the disk, so that many ways to treat them can be tried."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from flexseg.batches.store import CaseReader
from flexseg.dataset.cases import Case
from flexseg.dataset.ignored.pixels import IGNORED
from flexseg.dataset.names import numbered
from flexseg.files.npy import read_npy, write_npy
from flexseg.inference.predictor import Predictor
from flexseg.inference.sliding_window import TiledPredictor
from flexseg.inference.trust.signal import Signal

# Images or volumes.
Kind = Literal["2d", "3d"]
# Fewer slices are hardly a volume.
FEWEST_SLICES = 4
# Of each case, for the temperature.
_PIXELS = 500


@dataclass(frozen=True)
class Unit:
    """What is scored as one: an image, or the slices of a volume in their order."""

    group: str
    cases: tuple[int, ...]
    is_volume: bool


class PredictionCache:
    """Predicted and true class ids of cases, one file each.

    Parameters
    ----------
    thresholds : of a network of one class, rising; instead of its class a pixel has the number
        of thresholds that its probability exceeds. Empty for several classes.

    Attributes
    ----------
    cases : in the order in which they were predicted.
    shapes, signals : of the prediction of each.
    pixels : probabilities [pixels, classes] and true class ids [pixels] of some pixels of each.
    """

    def __init__(self, folder: Path, thresholds: Sequence[float]) -> None:
        self.folder = folder
        self.thresholds = tuple(thresholds)
        self.cases: list[Case] = []
        self.shapes: list[tuple[int, ...]] = []
        self.signals: list[Signal] = []
        self.pixels: list[tuple[NDArray[np.float32], NDArray[np.uint8]]] = []

    def predict(
        self,
        sources: Sequence[tuple[Predictor | TiledPredictor, Sequence[Case]]],
        reader: CaseReader,
        on_case: Callable[[int, int], None] | None = None,
    ) -> None:
        """Predict and store the cases of each predictor; `on_case` gets (done, total)."""
        total = sum(len(cases) for _, cases in sources)
        for predictor, cases in sources:
            for case, predicted, truth in self._predicted(predictor, cases, reader):
                write_npy(self._file(len(self.cases)), np.stack([predicted, truth]))
                self.cases.append(case)
                self.shapes.append(predicted.shape)
                if on_case is not None:
                    on_case(len(self.cases), total)

    def _predicted(
        self, predictor: Predictor | TiledPredictor, cases: Sequence[Case], reader: CaseReader
    ) -> Iterator[tuple[Case, NDArray[np.uint8], NDArray[np.uint8]]]:
        references: deque[NDArray[np.uint8]] = deque()

        def images() -> Iterator[tuple[str, NDArray]]:
            for case in cases:
                image, labels = reader.native(case)
                references.append(labels)
                yield str(case.image), image

        limits = np.array(self.thresholds, np.float32)
        found = predictor.probabilities(images(), self.signals.append)
        for case, (_, _, p) in zip(cases, found, strict=True):
            if self.thresholds:
                # side="left" counts the thresholds below p, as `Predictor.labels` compares.
                predicted = np.searchsorted(limits, p[..., 0], side="left").astype(np.uint8)
            else:
                predicted = predictor.labels(p)
            truth = references.popleft()
            self.pixels.append(_some_pixels(p, truth))
            yield case, predicted, truth

    def _file(self, number: int) -> Path:
        return self.folder / f"{number}.npy"

    def load(self, unit: Unit) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Prediction (class ids, or thresholds exceeded) and true class ids of a unit,
        [H, W] or [z, y, x]."""
        arrays = [read_npy(self._file(number)) for number in unit.cases]
        both = np.stack(arrays, axis=1) if unit.is_volume else arrays[0]
        return both[0], both[1]

    def labels(self, prediction: NDArray[np.uint8], threshold: float) -> NDArray[np.uint8]:
        """Class ids of a stored prediction; `threshold` is one of `thresholds`, if any."""
        if not self.thresholds:
            return prediction
        return (prediction > self.thresholds.index(threshold)).astype(np.uint8)

    def images(self) -> list[Unit]:
        """Each case as a unit."""
        return [Unit(case.group, (i,), is_volume=False) for i, case in enumerate(self.cases)]

    def volumes(self) -> list[Unit]:
        """The volumes that the cases are slices of; empty if not all of them are.

        Cases of one group are slices of one volume if their names end in consecutive numbers,
        have the same beginning, and the images one size, as `flexseg derive volumes` writes them.
        """
        series: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
        for i, case in enumerate(self.cases):
            place = numbered(case.id)
            if place is None:
                return []
            name, number = place
            series[case.group, name].append((number, i))
        units = []
        for (group, _), slices in series.items():
            slices.sort()
            numbers = [number for number, _ in slices]
            members = tuple(i for _, i in slices)
            whole = numbers == list(range(numbers[0], numbers[0] + len(numbers)))
            if len(slices) < FEWEST_SLICES or not whole:
                return []
            if len({self.shapes[i] for i in members}) > 1:
                return []
            units.append(Unit(group, members, is_volume=True))
        return units


def _some_pixels(
    p: NDArray[np.float32], truth: NDArray[np.uint8]
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Of those that count, drawn the same way each time."""
    places = np.random.default_rng(0).integers(0, truth.size, _PIXELS)
    classes = truth.ravel()[places]
    counts = classes != IGNORED
    return p.reshape(truth.size, -1)[places][counts], classes[counts]
