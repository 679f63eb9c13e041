"""What the objects of reference masks are like: whether a step would take away from them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray

from flexseg.batches.store import CaseReader
from flexseg.dataset.cases import Case
from flexseg.dataset.names import numbered
from flexseg.evaluation.postprocessing.cached_predictions import Kind
from flexseg.inference.postprocess import Steps, parts

# More groups than these tell nothing new, and are not read.
_MOST_GROUPS = 40


@dataclass(frozen=True)
class ReferenceParts:
    """The parts of one class in one reference that shows it: their sizes in pixels."""

    group: str
    sizes: NDArray[np.int64]

    def dice_after(self, steps: Steps) -> float:
        """Dice of the reference without the parts that `steps` drop."""
        kept, total = int(self.sizes[steps.kept(self.sizes)].sum()), int(self.sizes.sum())
        return 2 * kept / (kept + total)


class TrainingReferences:
    """The reference masks of cases that a network was trained on, read when they are asked for.

    Parameters
    ----------
    find : tells the cases.
    """

    def __init__(self, reader: CaseReader, find: Callable[[], Sequence[Case]]) -> None:
        self.reader = reader
        self._find = find
        self.of = cache(self._of)

    @cached_property
    def _groups(self) -> list[list[Case]]:
        """Some of the groups with their cases, evenly from all."""
        groups: dict[str, list[Case]] = defaultdict(list)
        for case in self._find():
            groups[case.group].append(case)
        every = -(-len(groups) // _MOST_GROUPS) or 1
        return list(groups.values())[::every]

    def _of(self, kind: Kind) -> dict[int, list[ReferenceParts]]:
        """Class id -> what shows the class, images ("2d") or volumes ("3d")."""
        found: dict[int, list[ReferenceParts]] = defaultdict(list)
        for cases in self._groups:
            for labels in self._images(cases) if kind == "2d" else self._volumes(cases):
                for c in self.reader.labels.foreground:
                    own = parts(labels, c.id)
                    if own is not None:
                        found[c.id].append(ReferenceParts(cases[0].group, own[2]))
        return found

    def _images(self, cases: Sequence[Case]) -> Iterator[NDArray[np.uint8]]:
        return (self.reader.native(case)[1] for case in cases)

    def _volumes(self, cases: Sequence[Case]) -> Iterator[NDArray[np.uint8]]:
        """Class ids [z, y, x] of the series of slices; slices that are left out have no labels."""
        series: dict[str, dict[int, Case]] = defaultdict(dict)
        for case in cases:
            place = numbered(case.id)
            if place is None:
                return
            series[place[0]][place[1]] = case
        for slices in series.values():
            first = min(slices)
            labels = {n - first: self.reader.native(case)[1] for n, case in slices.items()}
            volume = np.zeros((max(labels) + 1, *labels[0].shape), np.uint8)
            for z, image in labels.items():
                volume[z] = image
            yield volume
