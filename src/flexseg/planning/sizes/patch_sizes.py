"""Patches at the images' own scale, where whole images that a network can see lose the masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from flexseg.batches.patches import MOST_VALIDATED, grid
from flexseg.planning.network import Candidate, Shape, shape_of
from flexseg.planning.sizes.resolution import Resolution

# A whole image of at most 512 px that keeps this Dice of the masks shows enough.
_KEPT = 0.98
# Of the images' own size, and of what a patch has per side.
_SCALES = (1.0, 0.5, 0.25)
_SIDES = (128, 192, 256)
# What a network does not see around a patch costs about so much Dice / pixels of its side: an
# assumption, 0.02 at 128 pixels and 0.01 at 256.
_CONTEXT = 2.5
# Few cases have many patches: they do not limit the size of batches.
_ANY = 1000


@dataclass(frozen=True)
class PatchCandidate(Candidate):
    """Patches of a size and scale, and what is expected of them."""

    @property
    def expected(self) -> float:
        """Dice: as of whole images, less what is not seen around a patch."""
        return super().expected - _CONTEXT / min(self.shape.width, self.shape.height)

    def __str__(self) -> str:
        scale = self.shape.patch_scale or 1.0
        where = "their own size" if scale == 1 else f"{scale:.3g} times their size"
        return (
            f"patches of {self.shape.width} x {self.shape.height} of the images at {where}: masks "
            f"keep a Dice of {self.ceiling:.3f}, time for {self.images:,.0f} patches"
        )


def patches_instead(
    natural: Shape,
    whole: Shape,
    seconds_per_image: float,
    seconds: float,
    resolution: Resolution,
    size: tuple[float, float],
) -> tuple[Shape, str] | None:
    """Patches of which more is expected than of whole images, and why; None: there are none.

    Parameters
    ----------
    natural : the largest network for whole images.
    whole : the one that was chosen.
    seconds_per_image : of a training step of `natural`.
    seconds : for the training.
    size : median width and height of the images in pixels.
    """

    def images(shape: Shape) -> float:
        return seconds / (seconds_per_image * shape.pixels / natural.pixels)

    largest = resolution.ceiling(natural.width, natural.height)
    if largest >= _KEPT:
        return None
    kept = resolution.ceiling(whole.width, whole.height)
    candidates = []
    for scale in _SCALES:
        ceiling = resolution.ceiling_of_patches(scale)
        for side in _SIDES:
            own = scale / resolution.enlarged
            shape = replace(shape_of(side, side, _ANY), patch_scale=own)
            if side <= own * min(size):
                candidates.append(PatchCandidate(shape, ceiling, images(shape)))
    best = max(candidates, key=lambda candidate: candidate.expected, default=None)
    if best is None or best.expected <= Candidate(whole, kept, images(whole)).expected:
        return None
    why = (
        f"{best}; whole images of {natural.width} x {natural.height} keep {largest:.3f}, and of "
        f"{whole.width} x {whole.height}, which were the best of them, {kept:.3f}"
    )
    return best.shape, why


def windows_of(shape: Shape, size: Sequence[float]) -> int:
    """How often the network looks at an image of this width and height to predict it."""
    if shape.patch_scale is None:
        return 1
    patch = shape.patch
    return len(grid(_pixels(size), patch, 2 * (min(patch) // 8)))


def validated(shape: Shape, size: Sequence[float], images: int) -> int:
    """What so many images of this width and height are in a validation while training."""
    if shape.patch_scale is None:
        return images
    return min(MOST_VALIDATED, images * len(grid(_pixels(size), shape.patch)))


def _pixels(size: Sequence[float]) -> tuple[int, int]:
    width, height = size
    return round(height), round(width)
