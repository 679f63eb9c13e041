"""The Dice that a training shows, scored by case as an evaluation does."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import keras
import numpy as np
from keras import ops

from flexseg.backend import Tensor
from flexseg.dataset.cases import Case
from flexseg.losses import DICE, Score, mean_dice, on_labels, overlap


def owners_of(samples: Sequence[Case], *, volumes: bool) -> list[int]:
    """The number of what each sample is scored as a part of.

    Parameters
    ----------
    samples : the case that each is, or is a patch of.
    volumes : the cases are slices, and an evaluation scores their volumes.
    """
    names = [case.group if volumes else str(case.image) for case in samples]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return [numbers[name] for name in names]


class CaseDice(keras.metrics.Metric):
    """`flexseg.losses.dice` over cases that may be spread over samples and batches.

    It relies on the order of the samples, which is the same in every validation.

    Parameters
    ----------
    owners : for each sample of a validation the number of its case, see `owners_of`; other samples
        of as many cases may take their place before the first step.
    threshold : probability above which a pixel is foreground (one class only).
    ignoring : see `flexseg.losses.on_labels`.
    """

    def __init__(
        self, owners: Sequence[int], classes: int, threshold: float, *, ignoring: bool = False
    ) -> None:
        super().__init__(name=DICE)
        self.owners = owners
        self.cases = max(owners) + 1
        formula = partial(overlap, threshold=threshold)
        self.overlap = on_labels(Score(formula, "any"), ignoring=ignoring)
        self.seen = self.add_variable((), "zeros", dtype="int32", name="seen")
        self.common = self.add_variable((self.cases, classes), "zeros", name="common")
        self.both = self.add_variable((self.cases, classes), "zeros", name="both")

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Any = None) -> None:
        """Add a batch: class ids [B, H, W] and probabilities [B, H, W, C]."""
        images = ops.shape(y_pred)[0]
        places = (self.seen + ops.arange(images, dtype="int32")) % len(self.owners)
        owner = ops.take(np.asarray(self.owners, np.int32), places)
        for total, part in zip((self.common, self.both), self.overlap(y_true, y_pred), strict=True):
            total.assign_add(ops.segment_sum(part, owner, num_segments=self.cases))
        self.seen.assign_add(images)

    def result(self) -> Tensor:
        """The mean over classes of the mean over cases so far."""
        return mean_dice(self.common, self.both)
