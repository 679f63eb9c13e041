"""Test-time augmentation: a network sees several views of an image, its answers are averaged.

Every view has the network's size, because that is fixed in the trained weights. Flips and turns
only move pixels, so their answers are moved back exactly. A scaled view is padded by mirroring
(smaller) or seen through overlapping windows (larger), and its answer is resized back.

References
----------
Krizhevsky, Sutskever, Hinton: ImageNet classification with deep convolutional neural networks.
NeurIPS 2012 (averaging over crops and flips).
Wang et al.: Aleatoric uncertainty estimation with test-time augmentation for medical image
segmentation with convolutional neural networks. Neurocomputing 338, 2019.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flexseg.errors import ConfigError
from flexseg.files.resizing import resize
from flexseg.inference.trust.signal import Members

Network = Callable[[NDArray], NDArray[np.float32]]

# name -> (quarter turns counter-clockwise, then mirrored left to right); the eight ways in which
# a square can lie.
_MOVES = {
    "hflip": (0, True),
    "vflip": (2, True),
    "rot90": (1, False),
    "rot180": (2, False),
    "rot270": (3, False),
    "transpose": (3, True),
    "antitranspose": (1, True),
}
_GROUPS = {"flips": ("hflip", "vflip", "rot180"), "all": tuple(_MOVES)}


@dataclass(frozen=True)
class Moved:
    """An image flipped or turned.

    Attributes
    ----------
    turns : quarter turns counter-clockwise.
    mirrored : left to right, after the turns.
    """

    name: str
    turns: int
    mirrored: bool

    def predict(self, network: Network, batch: NDArray) -> NDArray[np.float32]:
        """Probabilities [B, h, w, classes] of images [B, h, w, C], seen in this view."""
        view = np.rot90(batch, self.turns, axes=(1, 2))
        if self.mirrored:
            view = view[:, :, ::-1]
        p = network(np.ascontiguousarray(view))
        if self.mirrored:
            p = p[:, :, ::-1]
        return np.rot90(p, -self.turns, axes=(1, 2))


@dataclass(frozen=True)
class Scaled:
    """An image smaller or larger than the network's.

    Attributes
    ----------
    factor : 0.5 to 2.
    """

    name: str
    factor: float

    def predict(self, network: Network, batch: NDArray) -> NDArray[np.float32]:
        """Probabilities [B, h, w, classes] of images [B, h, w, C], seen at this scale."""
        height, width = batch.shape[1:3]
        size = (max(1, round(height * self.factor)), max(1, round(width * self.factor)))
        scaled = _resized(batch, size)
        p = _padded(network, scaled, height, width)
        return _resized(p, (height, width))


View = Moved | Scaled


def views(names: Sequence[str], height: int, width: int) -> tuple[View, ...]:
    """The views that `[infer] tta` names, each once.

    Parameters
    ----------
    names : see `TTA_VIEWS` and `TTA_GROUPS` in `flexseg.config.infer`, and "scale:FACTOR".
    height, width : of the network; quarter turns need a square one.

    Raises
    ------
    ConfigError : a view that is named does not fit the network.
    """
    chosen: dict[str, View] = {}
    for name in names:
        if name.startswith("scale:"):
            factor = float(name.removeprefix("scale:"))
            if factor != 1:
                chosen[f"scale:{factor:g}"] = Scaled(f"scale:{factor:g}", factor)
            continue
        for move in _GROUPS.get(name, (name,)):
            turns, mirrored = _MOVES[move]
            if turns % 2 == 0 or height == width:
                chosen[move] = Moved(move, turns, mirrored)
            elif move == name:
                raise ConfigError(
                    f"The view {name!r} needs a network with square input; this one takes "
                    f"{width} x {height}.",
                    "Leave it out: 'flips' and 'scale:0.8' fit any size, and 'all' takes what "
                    "fits.",
                    "[infer] tta",
                )
    return tuple(chosen.values())


def averaged(
    network: Network,
    batch: NDArray,
    chosen: Sequence[View],
    first: Network | None = None,
    members: Members | None = None,
) -> NDArray[np.float32]:
    """Mean probabilities [B, h, w, classes] of images [B, h, w, C] and of their views.

    Parameters
    ----------
    first : answers in the network's place to the images as they are.
    members : told of the answer to each further view.
    """
    p = (first or network)(batch)
    if not chosen:
        return p
    total = p.copy()
    for view in chosen:
        answer = view.predict(network, batch)
        if members is not None:
            members.see(answer)
        total += answer
    total /= np.float32(len(chosen) + 1)
    return total


def _padded(network: Network, images: NDArray, height: int, width: int) -> NDArray[np.float32]:
    """Predict images [B, h, w, C] of a size that is not the network's (`height`, `width`).

    A smaller image lies amid its own mirror image. A larger one is seen through a window in each
    corner (it is at most twice the window's size); where windows overlap, the one whose border is
    farther away counts more.
    """
    spare = [max(0, height - images.shape[1]), max(0, width - images.shape[2])]
    before = [n // 2 for n in spare]
    rows, columns = images.shape[1:3]
    padding = [(0, 0), *((b, n - b) for b, n in zip(before, spare, strict=True)), (0, 0)]
    images = np.pad(images, padding, mode="symmetric")
    weight = np.minimum.outer(ramp(height), ramp(width))[..., None]
    windows = [
        np.s_[top : top + height, left : left + width]
        for top in sorted({0, images.shape[1] - height})
        for left in sorted({0, images.shape[2] - width})
    ]
    answers = [network(np.ascontiguousarray(images[:, *window])) for window in windows]
    total = np.zeros((*images.shape[:3], answers[0].shape[-1]), np.float32)
    weights = np.zeros((*images.shape[1:3], 1), np.float32)
    for window, p in zip(windows, answers, strict=True):
        total[:, *window] += p * weight
        weights[window] += weight
    total /= weights
    return total[:, before[0] : before[0] + rows, before[1] : before[1] + columns]


def ramp(length: int) -> NDArray[np.float32]:
    """How much a pixel of a window counts, by its distance from the border: 1, 2, ..., 2, 1."""
    positions = np.arange(1, length + 1, dtype=np.float32)
    return np.minimum(positions, positions[::-1])


def _resized(batch: NDArray, size: tuple[int, int]) -> NDArray:
    """[B, h, w, C] at `size` (height, width): shrunk by area, enlarged bilinearly."""
    if batch.shape[1:3] == size:
        return batch
    shrink = size[0] * size[1] < batch.shape[1] * batch.shape[2]
    method = "area" if shrink else "bilinear"
    return np.stack([resize(np.ascontiguousarray(image), size, method) for image in batch])
