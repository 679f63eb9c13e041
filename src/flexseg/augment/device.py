"""Augmentation on the device, the half on the host: draws become arrays of a fixed form.

What happens to a sample is drawn on the host by the policy, and travels as a few numbers; the
device does it within the training step (`flexseg.augment.device_ops`). So that the step is
compiled once, every sample has the same slots, filled with what changes nothing where it does
not need them; `Slots` says which ones a policy may need at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from flexseg.augment.fields import (
    Affine,
    Border,
    Displacement,
    Interpolation,
    Radial,
    Size,
    merged,
)
from flexseg.augment.photometric import BLUR_REACH, PHOTOMETRIC, sampled_neighbours
from flexseg.augment.policy import Augmenter, Draw, Policy
from flexseg.backend import Tensor
from flexseg.batches.batch_plan import Pair
from flexseg.dataset.cases import Case

Arrays = dict[str, Tensor]

BORDERS: tuple[Border, ...] = get_args(Border)
_STILL = Affine(((1.0, 0.0, 0.0), (0.0, 1.0, 0.0)))


@dataclass(frozen=True)
class Slots:
    """What the samples of a training may need.

    Attributes
    ----------
    radial : radial distortions per sample.
    grid : nodes (rows, columns) of the displacement grid, None without one.
    adjustments : names of the photometric transforms, in the order of doing.
    blur_reach : half the width of the blur's kernel in pixels.
    """

    radial: int = 0
    grid: tuple[int, int] | None = None
    adjustments: tuple[str, ...] = ()
    blur_reach: int = 0
    interpolation: Interpolation = "bilinear"


def slots_of(policy: Policy, size: Size) -> Slots:
    """The slots that hold whatever a policy may draw for images of `size`."""
    radial, grid, names, sigma = 0, None, set(), 0.0
    interpolation: Interpolation = "bilinear"
    for draw in policy.extremes(size):
        _, rings, displacement = _ordered(draw)
        radial = max(radial, len(rings))
        if displacement is not None:
            rows, columns = displacement.grid.shape[:2]
            grid = (rows, columns) if grid is None else (max(grid[0], rows), max(grid[1], columns))
        for adjustment in draw.adjustments:
            names.add(adjustment.name)
            if adjustment.name == "blur":
                sigma = max(sigma, adjustment.parameters["sigma"])
        interpolation = draw.interpolation
    ordered = tuple(name for name in PHOTOMETRIC if name in names)
    return Slots(radial, grid, ordered, int(np.ceil(BLUR_REACH * sigma)), interpolation)


def _ordered(draw: Draw) -> tuple[Affine, list[Radial], Displacement | None]:
    """A draw's steps as the slots have them: an affine map, radial distortions, a displacement."""
    linear, displacement = _STILL, None
    rings: list[Radial] = []
    for step in merged(draw.steps):
        if isinstance(step, Affine) and linear is _STILL and not rings and displacement is None:
            linear = step
        elif isinstance(step, Radial) and displacement is None:
            rings.append(step)
        elif isinstance(step, Displacement) and displacement is None:
            displacement = step
        else:
            raise ValueError(f"a policy must draw affine, radial, elastic steps, not {draw.steps}")
    return linear, rings, displacement


@dataclass(frozen=True)
class DeviceAugmenter:
    """Draws what happens to the samples of a batch, and leaves the doing to the device.

    It takes the place of `Augmenter` in a training; `device_ops.augment` is its other half.
    """

    augmenter: Augmenter
    slots: Slots

    def batch(
        self, cases: Sequence[Case], pairs: Sequence[Pair], epoch: int, position: int
    ) -> tuple[Arrays, NDArray[np.uint8]]:
        """A batch as `augment` takes it; its samples begin at `position` of the epoch."""
        draws = self.augmenter.draws(pairs, epoch, position)
        images = np.stack([image for image, _ in pairs])
        numbers = stack(draws, self.slots, images.shape[1:3])
        return {"image": images, **numbers}, np.stack([labels for _, labels in pairs])


def stack(draws: Sequence[Draw], slots: Slots, size: Size) -> dict[str, NDArray]:
    """The draws of a batch as arrays [B, ...] by the names of their slots."""
    parts = [_ordered(draw) for draw in draws]
    result = {
        "affine": np.array([linear.rows for linear, _, _ in parts], np.float32),
        "border": np.array([BORDERS.index(draw.border) for draw in draws], np.int32),
    }
    if slots.radial:
        result["radial"] = np.array(
            [_padded(rings, slots.radial) for _, rings, _ in parts], np.float32
        )
    if slots.grid is not None:
        result["grid"] = np.stack([_resized(d, slots.grid) for _, _, d in parts])
    for name in slots.adjustments:
        parameters = [
            next((a.parameters for a in draw.adjustments if a.name == name), {}) for draw in draws
        ]
        if name == "low_resolution":
            result |= _sampled_rows([p.get("scale", 1.0) for p in parameters], size)
            continue
        for key, neutral in PHOTOMETRIC.get(name).neutral.items():
            dtype = np.int32 if key == "seed" else np.float32
            result[f"{name}_{key}"] = np.array([p.get(key, neutral) for p in parameters], dtype)
    return result


def _padded(rings: Sequence[Radial], count: int) -> list[tuple[float, ...]]:
    # A ring far outside of the image changes nothing.
    still = (-1e6, -1e6, 1.0, 0.0)
    given = [(*ring.center, ring.radius, ring.amount) for ring in rings]
    return [*given, *[still] * (count - len(given))]


def _resized(displacement: Displacement | None, shape: tuple[int, int]) -> NDArray[np.float32]:
    if displacement is None:
        return np.zeros((*shape, 2), np.float32)
    if displacement.grid.shape[:2] == shape:
        return displacement.grid
    return cv2.resize(displacement.grid, shape[::-1], interpolation=cv2.INTER_LINEAR)


def _sampled_rows(scales: Iterable[float], size: Size) -> dict[str, NDArray]:
    result = {}
    for axis, length in zip("yx", size, strict=True):
        rows = [sampled_neighbours(length, max(1, round(length * scale))) for scale in scales]
        for part, arrays in zip(
            ("first", "second", "weight"), zip(*rows, strict=True), strict=True
        ):
            result[f"low_resolution_{part}_{axis}"] = np.stack(arrays)
    return result
