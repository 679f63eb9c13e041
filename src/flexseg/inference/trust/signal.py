"""What a prediction tells of its own quality: how sure and how much of one mind its members are.

Sureness is the mean probability of a class where it is predicted: the share of its pixels that
would be right if the probabilities were. What it has elsewhere does not count: a little of it over
a large background outweighs all that a small object tells. Agreement is the pairwise Dice of the
members, the answers that are averaged anyway (views, networks of an ensemble). Both are made of
sums, which add up over slices and windows, so that nothing has to wait in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Told of the signal of each image, in order.
OnSignal = Callable[["Signal"], None]


@dataclass(frozen=True, eq=False)
class Signal:
    """Sums over the pixels of an image, or of several that are one case.

    Attributes
    ----------
    sums : [foreground classes, 4]: the class's probability where it is predicted and the pixels
        where it is, of the networks' own answers; then votes for it, and votes times other votes
        for it, of all members.
    members : their number.
    """

    sums: NDArray[np.float64]
    members: int

    def __add__(self, other: Signal) -> Signal:
        return Signal(self.sums + other.sums, self.members)

    def values(self, *, members: bool) -> NDArray[np.float64]:
        """Of each foreground class, from 0 to 1; 0 where nothing is predicted.

        Parameters
        ----------
        members : they count as well, not only the networks' own answers.
        """
        mass, size, votes, pairs = self.sums.T
        sure = mass / np.maximum(size, 1e-9)
        if not members or self.members < 2:
            return np.asarray(sure)
        agreement = pairs / np.maximum((self.members - 1) * votes, 1e-9)
        return np.asarray((sure + agreement) / 2)


def with_answers(signal: Signal, answers: Sequence[NDArray[np.uint8]]) -> Signal:
    """The signal of a prediction whose members are whole answers, as those along several axes.

    Parameters
    ----------
    signal : of all of them, whose sureness stays.
    answers : their class ids, of one shape [z, y, x].
    """
    classes = len(signal.sums)
    pairs = np.zeros((classes, 2), np.float64)
    for planes in zip(*answers, strict=True):
        for c in range(classes):
            votes = np.sum([plane == c + 1 for plane in planes], axis=0, dtype=np.int64)
            pairs[c] += votes.sum(), (votes * (votes - 1)).sum()
    return Signal(np.concatenate([signal.sums[:, :2], pairs], axis=-1), len(answers))


class Members:
    """Collects the answers to one batch of images, from which `signals` follow.

    Parameters
    ----------
    threshold : probability above which a pixel is foreground (one class only).
    """

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        self.count = 0
        self._votes: NDArray[np.uint8] | None = None
        self._own: NDArray[np.float64] | None = None

    def see(self, p: NDArray[np.float32], *, own: bool = False) -> None:
        """An answer [B, h, w, classes], in the geometry of the images.

        Parameters
        ----------
        own : it is a network's to the images as they are, not to another view of them.
        """
        if p.shape[-1] == 1:
            values = p
            labels = (p[..., 0] > self.threshold).astype(np.uint8)
        else:
            values = p[..., 1:]
            labels = p.argmax(axis=-1).astype(np.uint8)
        count = values.shape[-1]
        masks = labels[..., None] == np.arange(1, count + 1, dtype=np.uint8)
        if own:
            mass = np.einsum("bhwc,bhwc->bc", values, masks, dtype=np.float32)
            size = [np.bincount(one.ravel(), minlength=count + 1)[1:] for one in labels]
            sums = np.stack([mass, size], axis=-1)
            self._own = sums if self._own is None else self._own + sums
        votes = masks.view(np.uint8)
        self._votes = votes.copy() if self._votes is None else self._votes + votes
        self.count += 1

    def signals(self) -> list[Signal]:
        """Of each image of the batch."""
        if self._votes is None or self._own is None:
            return []
        found = []
        for votes, own in zip(self._votes, self._own, strict=True):
            # v members agree on a pixel: a table of how often, instead of squares of each pixel.
            counts = np.arange(self.count + 1)
            table = np.array(
                [np.bincount(votes[..., c].ravel(), minlength=self.count + 1)
                 for c in range(votes.shape[-1])]
            )  # fmt: skip
            pairs = np.stack([table @ counts, table @ (counts * (counts - 1))], axis=-1)
            found.append(Signal(np.concatenate([own, pairs], axis=-1), self.count))
        return found


class SignalSum:
    """Adds up the signals of what is one case; see `OnSignal`."""

    def __init__(self, signal: Signal | None = None) -> None:
        self.signal = signal

    def __call__(self, signal: Signal) -> None:
        self.signal = signal if self.signal is None else self.signal + signal
