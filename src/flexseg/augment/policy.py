"""What happens to which sample: drawn once, before any pixel is touched.

A policy draws, a `Draw` says what was drawn, and an engine does it: NumPy in the workers
(`Augmenter`), or `keras.ops` on the device (`flexseg.augment.device`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from flexseg.augment.fields import Border, Interpolation, Size, warp
from flexseg.augment.geometric import GEOMETRIC, Steps, noise_rms
from flexseg.augment.photometric import PHOTOMETRIC, Adjustment, adjust
from flexseg.batches.store import Pair
from flexseg.config.augmentation import AugmentationConfig, RadialConfig, VariantSections
from flexseg.config.schema import ImageConfig
from flexseg.dataset.cases import Case
from flexseg.dataset.ignored.pixels import IGNORED
from flexseg.errors import DataError
from flexseg.files.images import stored_dtype

Range = tuple[float, float]

_MIDDLE: Range = (0.3, 0.7)  # where random centres lie, as shares of width and height
_FIRST_CENTER = 101  # number of the first centre in the originals' file names
# Tells these random numbers from those that choose the cases of a batch (`BatchPlan`): with one
# case per batch, each case would meet the same variant in every epoch.
_STREAM = 1


@dataclass(frozen=True)
class Draw:
    """What is done to one sample: one field for image and labels, then the image's values.

    Attributes
    ----------
    prefix : of the name that the result is written under; "" where nothing is done.
    """

    steps: Steps = ()
    adjustments: tuple[Adjustment, ...] = ()
    border: Border = "reflect"
    interpolation: Interpolation = "bilinear"
    prefix: str = ""

    def apply(self, image: NDArray, labels: NDArray[np.uint8]) -> tuple[NDArray, NDArray[np.uint8]]:
        """Image [H, W, C] (uint8 or float32 in 0..255) and class ids [H, W] after this draw."""
        image, labels = warp(
            image, labels, self.steps, border=self.border, interpolation=self.interpolation
        )
        return adjust(image, self.adjustments), labels


class Policy(Protocol):
    """Draws what is done to a sample."""

    def draw(self, rng: np.random.Generator, labels: NDArray[np.uint8]) -> Draw:
        """What to do to the sample with these class ids [H, W]."""

    def extremes(self, size: Size) -> list[Draw]:
        """Draws that together have everything that any draw for images of `size` may have."""


@dataclass(frozen=True)
class Augmenter:
    """Augments the samples of a training: the same for the same (seed, epoch, position)."""

    policy: Policy
    seed: int

    def draw(self, labels: NDArray[np.uint8], epoch: int, position: int) -> Draw:
        """What happens to the sample at `position` of an epoch."""
        rng = np.random.default_rng([self.seed, epoch, position, _STREAM])
        return self.policy.draw(rng, labels)

    def batch(
        self, cases: Sequence[Case], pairs: Sequence[Pair], epoch: int, position: int
    ) -> tuple[NDArray, NDArray[np.uint8]]:
        """Images [B, H, W, C] and class ids [B, H, W], augmented; see `batch_plan.Augment`."""
        draws = self.draws(pairs, epoch, position)
        done = [draw.apply(*pair) for draw, pair in zip(draws, pairs, strict=True)]
        return np.stack([image for image, _ in done]), np.stack([label for _, label in done])

    def draws(self, pairs: Sequence[Pair], epoch: int, position: int) -> list[Draw]:
        """What happens to the pairs of a batch whose first has the place `position`."""
        return [self.draw(labels, epoch, position + i) for i, (_, labels) in enumerate(pairs)]


@dataclass(frozen=True)
class Move:
    """A geometric transform of the registry with its parameters."""

    name: str
    parameters: Mapping[str, object] = field(default_factory=dict)

    def steps(self, rng: np.random.Generator, size: Size) -> Steps:
        """Its steps for images of `size`, with what `rng` draws."""
        return GEOMETRIC.get(self.name).steps(rng, size, **self.parameters)


@dataclass(frozen=True)
class Variant:
    """One way in which the originals vary an image.

    Attributes
    ----------
    prefix : what they put before the file name.
    """

    prefix: str
    moves: tuple[Move, ...] = ()
    border: Border = "reflect"
    adjustments: tuple[Adjustment, ...] = ()

    def draw(self, rng: np.random.Generator, size: Size) -> Draw:
        """What it does to an image of `size`, with what `rng` draws."""
        steps = tuple(step for move in self.moves for step in move.steps(rng, size))
        return Draw(steps, self.adjustments, self.border, prefix=self.prefix)


@dataclass(frozen=True)
class VariantPolicy:
    """Each sample is its original or one of the variants, all equally probable.

    The originals compute all variants of each image of a batch and throw away all but one in
    (1 + variants); here that one is drawn, and nothing else is computed.
    """

    variants: tuple[Variant, ...]

    def draw(self, rng: np.random.Generator, labels: NDArray[np.uint8]) -> Draw:
        """See `Policy`."""
        chosen = int(rng.integers(len(self.variants) + 1))
        if chosen == 0:
            return Draw()
        return self.variants[chosen - 1].draw(rng, labels.shape)

    def extremes(self, size: Size) -> list[Draw]:
        """See `Policy`."""
        rng = np.random.default_rng(0)
        return [variant.draw(rng, size) for variant in self.variants]


def variants_of(sections: VariantSections) -> tuple[Variant, ...]:
    """The variants that [augmentor] and its sections describe, in the originals' order."""
    a = sections.augmentor
    hflip, vflip = Move("hflip"), Move("vflip")
    result = []
    if a.hflip:
        result.append(Variant("hfliped_", (hflip,)))
    if a.vflip:
        result.append(Variant("vfliped_", (vflip,)))
    if a.rotation:
        result += [
            Variant(f"rotated_{angle:g}_", (Move("rotation", {"angle": angle}),), "pixel")
            for angle in a.angles
        ]
    result += [
        Variant(f"shrinked_{_underscored(s)}_", (Move("shrink", {"scale": s}),), "pixel")
        for s in a.shrinks
    ]
    for factor in a.shears:
        shear, name = Move("shear", {"factor": factor}), f"sheared_{_underscored(factor)}_"
        result.append(Variant(name, (shear,), "pixel"))
        if a.hflip:
            result.append(Variant(f"hflipped_{name}", (shear, hflip), "pixel"))
        if a.vflip:
            result.append(Variant(f"vflipped_{name}", (shear, vflip), "pixel"))
        if a.hflip and a.vflip:
            result.append(Variant(f"hvflipped_{name}", (shear, hflip, vflip), "pixel"))
    return tuple(result + _warped(sections) + _adjusted(sections))


def _warped(sections: VariantSections) -> list[Variant]:
    a, result = sections.augmentor, []
    if a.deformation:
        d = sections.deformation
        for sigma in d.sigmoids:
            move = Move(
                "deformation",
                {
                    "alpha": d.alpha,
                    "sigma": sigma,
                    "strength": d.strength,
                    "channels": sections.channels,
                },
            )
            name = f"deformed_alpha_{d.alpha:g}_sigmoid_{sigma:g}_"
            result.append(Variant(name, (move,), "edge"))
    if a.distortion:
        t = sections.distortion
        for amount in t.distortions:
            move = Move("distortion", {"amount": amount, "sigma": t.gaussian_filter_rsigma})
            # The two words are the wrong way round in the originals; their tools' files are so.
            name = (
                f"distorted_{amount:g}_rsigma{t.gaussian_filter_sigma:g}_"
                f"sigma{t.gaussian_filter_rsigma:g}_"
            )
            result.append(Variant(name, (move,), "constant"))
    if a.barrdistortion:
        result += _radial("barrdistorted", sections.barrdistortion)
    if a.pincdistortion:
        result += _radial("pincdistorted", sections.pincdistortion)
    return result


def _radial(name: str, section: RadialConfig) -> list[Variant]:
    variants = []
    for count in range(1, len(section.centers) + 1):
        # Each centre works on the result of those before it.
        centers = tuple(section.centers[:count])
        move = Move(
            "radial", {"radius": section.radius, "amount": section.amount, "centers": centers}
        )
        number = _FIRST_CENTER + count - 1
        prefix = f"{name}_{number}_{section.radius:g}_{section.amount:g}_"
        variants.append(Variant(prefix, (move,), "constant"))
    return variants


def _adjusted(sections: VariantSections) -> list[Variant]:
    a, result = sections.augmentor, []
    if a.sharpening:
        k = sections.sharpening.k
        sharpen = Adjustment("sharpening", {"k": k})
        result.append(Variant(f"sharpened_{k:g}_", adjustments=(sharpen,)))
    if a.brightening:
        b = sections.brightening
        brighten = Adjustment("brightness", {"factor": b.alpha, "offset": b.beta})
        # The originals end this one without an underscore.
        result.append(Variant(f"brightened_{b.alpha:g}_{b.beta:g}", adjustments=(brighten,)))
    return result


def _underscored(value: float) -> str:
    return f"{value:g}".replace(".", "_")


@dataclass(frozen=True)
class RecipePolicy:
    """Each transform of [augmentation] with its probability, its parameters from its range."""

    config: AugmentationConfig

    def draw(self, rng: np.random.Generator, labels: NDArray[np.uint8]) -> Draw:
        """See `Policy`."""
        c = self.config
        moves = self._moves(rng, labels)
        steps = tuple(step for move in moves for step in move.steps(rng, labels.shape))
        adjustments = self._adjustments(rng)
        names = [move.name for move in moves] + [a.name for a in adjustments]
        prefix = "".join(f"{name}_" for name in names)
        return Draw(steps, adjustments, c.border, c.interpolation, prefix)

    def extremes(self, size: Size) -> list[Draw]:
        """See `Policy`."""
        c = self.config
        changes: dict[str, object] = {
            key: 1.0 for key, value in c if isinstance(value, float) and value > 0
        }
        # The finest grid and the widest kernel.
        changes["elastic_sigma"] = (c.elastic_sigma[0],) * 2
        changes["blur_sigma"] = (c.blur_sigma[1],) * 2
        every = RecipePolicy(c.model_copy(update=changes))
        return [every.draw(np.random.default_rng(0), np.zeros(size, np.uint8))]

    def _moves(self, rng: np.random.Generator, labels: NDArray[np.uint8]) -> list[Move]:
        """In the order of doing. Every engine knows it: linear, then radial, then elastic."""
        c = self.config
        size = labels.shape
        moves = []
        if _happens(rng, c.crop):
            moves.append(self._crop(rng, labels))
        if _happens(rng, c.hflip):
            moves.append(Move("hflip"))
        if _happens(rng, c.vflip):
            moves.append(Move("vflip"))
        if _happens(rng, c.shear):
            moves.append(Move("shear", {"factor": _within(rng, c.shear_factor)}))
        if _happens(rng, c.rotation):
            moves.append(Move("rotation", {"angle": _within(rng, c.rotation_degrees)}))
        if _happens(rng, c.scaling):
            x = y = _within(rng, c.scaling_factor)
            if _happens(rng, c.scaling_separate):
                y = _within(rng, c.scaling_factor)
            moves.append(Move("scaling", {"x": x, "y": y}))
        for share, sign, amounts in (
            (c.barrel, 1, c.barrel_amount),
            (c.pincushion, -1, c.pincushion_amount),
        ):
            if _happens(rng, share):
                center = (_within(rng, _MIDDLE), _within(rng, _MIDDLE))
                radius, amount = _within(rng, c.radial_radius), sign * _within(rng, amounts)
                parameters: Mapping[str, object] = {
                    "radius": radius,
                    "amount": amount,
                    "centers": (center,),
                }
                moves.append(Move("radial", parameters))
        if _happens(rng, c.elastic):
            sigma = _within(rng, c.elastic_sigma) * max(size)
            shift = _within(rng, c.elastic_shift) * max(size)
            alpha = shift / noise_rms(sigma)
            moves.append(Move("deformation", {"alpha": alpha, "sigma": sigma}))
        return moves

    def _crop(self, rng: np.random.Generator, labels: NDArray[np.uint8]) -> Move:
        share = _within(rng, self.config.crop_share)
        x, y = rng.uniform(size=2).tolist()
        if _happens(rng, self.config.crop_foreground):
            present = np.flatnonzero(np.bincount(labels.ravel(), minlength=256)[1:IGNORED]) + 1
            if present.size:
                # The class first, so that small ones are shown as often as large ones.
                pixels = np.flatnonzero(labels == rng.choice(present))
                row, column = divmod(int(rng.choice(pixels)), labels.shape[1])
                x = column / max(labels.shape[1] - 1, 1)
                y = row / max(labels.shape[0] - 1, 1)
        return Move("crop", {"share": share, "x": x, "y": y})

    def _adjustments(self, rng: np.random.Generator) -> tuple[Adjustment, ...]:
        """In the order of the registry; a key of [augmentation] is about each parameter."""
        drawn = []
        for name in PHOTOMETRIC:
            if _happens(rng, getattr(self.config, name)):
                keys = {key: f"{name}_{key}" for key in PHOTOMETRIC.get(name).neutral}
                parameters = {
                    key: self._parameter(rng, option)
                    for key, option in keys.items()
                    if key == "seed" or option in AugmentationConfig.model_fields
                }
                drawn.append(Adjustment(name, parameters))
        return tuple(drawn)

    def _parameter(self, rng: np.random.Generator, option: str) -> float:
        """A seed, a number from a range, or 1 with a probability."""
        if option.endswith("_seed"):
            return int(rng.integers(2**31))
        chosen = getattr(self.config, option)
        return _within(rng, chosen) if isinstance(chosen, tuple) else _happens(rng, chosen)


def _happens(rng: np.random.Generator, probability: float) -> bool:
    return bool(rng.random() < probability)


def _within(rng: np.random.Generator, limits: Range) -> float:
    return float(rng.uniform(*limits))


def refuse_unscaled(
    policy: Policy | None, image: ImageConfig, size: Size, cases: Sequence[Case]
) -> None:
    """Refuse to change the values of images whose scale is not known.

    The transforms of values work on 0..255. Integers without sign are brought there from their
    range, anything by `[image] window`; signed and real numbers without one stay as they are.

    Parameters
    ----------
    size : [height, width] of the network.

    Raises
    ------
    DataError : names the first such image.
    """
    if policy is None or image.window is not None:
        return
    if not any(draw.adjustments for draw in policy.extremes(size)):
        return
    for case in cases:
        dtype = stored_dtype(case.image)
        if dtype.kind not in "ub":
            raise DataError(
                f"The image holds {dtype} values, whose range is unknown, so that brightness, "
                "contrast and noise cannot be varied.",
                "Set [image] window = [low, high], e.g. [-160, 240] for CT in HU, or switch these "
                "transforms off.",
                str(case.image),
            )


def policy_of(recipe: AugmentationConfig, variants: VariantSections | None) -> Policy | None:
    """The policy of a training, None where it does not augment; an enabled recipe wins.

    Parameters
    ----------
    variants : the originals' sections where they count, see `Experiment.trained_variants`.
    """
    if recipe.enabled:
        return RecipePolicy(recipe)
    drawn = variants_of(variants) if variants else ()
    return VariantPolicy(drawn) if drawn else None
