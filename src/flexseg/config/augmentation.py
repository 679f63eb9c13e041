"""The sections on augmentation: those of the originals, and [augmentation]."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field

from flexseg.config.base import (
    AmountRange,
    Amounts,
    Centers,
    Numbers,
    OutputPath,
    PositiveRange,
    Probability,
    Range,
    Section,
    ShareRange,
    Widths,
)

# The originals' sections that say what a sample may become.
AUGMENTOR_SECTIONS = (
    "augmentor", "deformation", "distortion", "barrdistortion", "pincdistortion", "sharpening",
    "brightening",
)  # fmt: skip


class GeneratorConfig(Section):
    """Online augmentation as in the originals: the switch."""

    augmentation: bool = Field(
        True, description="Augment by the sections below when training with [model] generator."
    )
    debug: bool = Field(
        False, description="Write the pairs made by these sections to the two folders."
    )
    generated_images_dir: OutputPath = Field(Path("generated_images_dir"), description="Images.")
    generated_masks_dir: OutputPath = Field(Path("generated_masks_dir"), description="Masks.")


class AugmentorConfig(Section):
    """Online augmentation as in the originals: the variants of an image, all equally probable."""

    hflip: bool = Field(True, description="Mirror left-right.")
    vflip: bool = Field(True, description="Mirror top-bottom.")
    rotation: bool = Field(True, description="Rotate by `angles`.")
    angles: Numbers = Field([90, 180, 270], description="Degrees, counter-clockwise.")
    shrinks: Widths = Field([0.8], description="Scales.")
    shears: Numbers = Field([], description="Shear factors.")
    deformation: bool = Field(False, description="Elastic deformation.")
    distortion: bool = Field(False, description="Smooth random distortion.")
    sharpening: bool = Field(False, description="Sharpen the image.")
    brightening: bool = Field(False, description="Brighten the image.")
    barrdistortion: bool = Field(False, description="Barrel distortion.")
    pincdistortion: bool = Field(False, description="Pincushion distortion.")


class DeformationConfig(Section):
    """Elastic deformation."""

    alpha: float = Field(1300, ge=0, description="Strength.")
    sigmoids: Widths = Field([8], description="Widths of the Gaussian in pixels.")
    strength: Literal["legacy", "full"] = Field(
        "legacy",
        description="'legacy': `alpha` moves pixels as far as it did in the originals, 3 px rms by "
        "default; 'full': as in the paper, about 0.23 alpha / sigma px rms.",
    )


class DistortionConfig(Section):
    """Smooth random distortion."""

    gaussian_filter_rsigma: float = Field(40, gt=0, description="Width of the Gaussian in pixels.")
    gaussian_filter_sigma: float = Field(0.5, description="Used in file names only.")
    distortions: Amounts = Field([0.02], description="Sizes as a share of the image.")


class RadialConfig(Section):
    """Barrel (amount > 0) or pincushion (amount < 0) distortion."""

    radius: float = Field(0.5, gt=0, description="Radius as a share of the width.")
    amount: float = Field(0.5, description="Strength.")
    centers: Centers = Field(
        [(0.5, 0.5)], min_length=1, description="Centres as shares of width and height."
    )


class PincushionConfig(RadialConfig):
    """Pincushion distortion."""

    amount: float = Field(-0.5, description="Strength.")


class SharpeningConfig(Section):
    """Sharpening."""

    k: float = Field(1.0, description="Strength.")


class BrighteningConfig(Section):
    """Brightening: alpha v + beta."""

    alpha: float = Field(1.2, description="Factor.")
    beta: float = Field(10, description="Offset.")


class AugmentationConfig(Section):
    """Online augmentation by probabilities and ranges; it replaces the sections above.

    A key named like a transform is its probability for each sample. Lengths are shares of the
    image's longer side, so that they hold at any size. The defaults are those of nnU-Net's trainer
    for two-dimensional images (version 2, after Isensee 2021), on the 0..255 scale and for all
    channels alike.
    """

    enabled: bool = Field(False, description="Augment the training samples as set in this section.")
    augment_on: Literal["auto", "workers", "device"] = Field(
        "auto",
        description="Where to augment: in the workers that prepare batches, or on the device as "
        "part of the training step; 'auto': on the device if it is a GPU or TPU. Applies to the "
        "older sections too.",
    )
    border: Literal["reflect", "edge", "constant"] = Field(
        "reflect",
        description="What to assume outside the image: its mirror image, its outermost pixel, or "
        "0.",
    )
    interpolation: Literal["bilinear", "cubic"] = Field(
        "bilinear", description="Interpolation of images; labels always use nearest neighbour."
    )
    hflip: Probability = Field(0.5, description="Mirror left-right.")
    vflip: Probability = Field(0.5, description="Mirror top-bottom.")
    rotation: Probability = Field(0.2, description="Rotate about the centre.")
    rotation_degrees: Range = Field((-180, 180), description="Angles, counter-clockwise.")
    scaling: Probability = Field(0.2, description="Enlarge or shrink about the centre.")
    scaling_factor: PositiveRange = Field((0.7, 1.4), description="Factors on the size.")
    scaling_separate: Probability = Field(
        0.0, description="Share of these in which height and width get different factors."
    )
    shear: Probability = Field(0.0, description="Shear vertically.")
    shear_factor: Range = Field((-0.1, 0.1), description="Shear factors.")
    crop: Probability = Field(0.0, description="Enlarge a random window to the size of the image.")
    crop_share: ShareRange = Field(
        (0.5, 1.0), description="Side lengths of the window as shares of the image's."
    )
    crop_foreground: Probability = Field(
        0.33,
        description="Share of the windows placed on a pixel of a random class of the image "
        "instead of anywhere.",
    )
    elastic: Probability = Field(0.0, description="Elastic deformation (Simard 2003).")
    elastic_shift: AmountRange = Field((0.0, 0.02), description="RMS displacement per axis.")
    elastic_sigma: PositiveRange = Field((0.03, 0.08), description="Width of its Gaussian.")
    barrel: Probability = Field(0.0, description="Barrel distortion around a random centre.")
    barrel_amount: AmountRange = Field((0.1, 0.5), description="Strength.")
    pincushion: Probability = Field(
        0.0, description="Pincushion distortion around a random centre."
    )
    pincushion_amount: AmountRange = Field((0.1, 0.5), description="Strength.")
    radial_radius: PositiveRange = Field(
        (0.3, 0.5), description="Radius of both distortions, as a share of the width."
    )
    noise: Probability = Field(0.1, description="Add Gaussian noise.")
    noise_std: AmountRange = Field(
        (0.0, 0.1), description="Its standard deviation, in units of the image's."
    )
    blur: Probability = Field(0.2, description="Smooth with a Gaussian.")
    blur_sigma: AmountRange = Field((0.5, 1.0), description="Its width in pixels.")
    low_resolution: Probability = Field(
        0.25, description="Shrink and enlarge again, as if acquired at a lower resolution."
    )
    low_resolution_scale: ShareRange = Field((0.5, 1.0), description="Scale of the shrinking.")
    sharpening: Probability = Field(0.0, description="Sharpen with a 3 x 3 filter.")
    sharpening_k: AmountRange = Field((0.0, 0.5), description="Its strength.")
    contrast: Probability = Field(0.15, description="Change the contrast around the image's mean.")
    contrast_factor: AmountRange = Field(
        (0.75, 1.25), description="Factor on the distance from the mean."
    )
    gamma: Probability = Field(0.4, description="Gamma correction.")
    gamma_exponent: PositiveRange = Field((0.7, 1.5), description="Exponents.")
    gamma_inverted: Probability = Field(
        0.25, description="Share of these in which the negative image is corrected."
    )
    brightness: Probability = Field(0.15, description="Change the brightness: multiply all values.")
    brightness_factor: AmountRange = Field((0.75, 1.25), description="Factors.")
    window: Probability = Field(
        0.0, description="Stretch or compress the grey values, as another CT window would."
    )
    window_low: Range = Field((-0.1, 0.1), description="What becomes 0, as a share of 255.")
    window_high: PositiveRange = Field((0.9, 1.1), description="What becomes 255, likewise.")
    curve: Probability = Field(
        0.0, description="Change values by a random monotonically rising curve."
    )
    curve_strength: ShareRange = Field(
        (0.2, 0.8), description="Largest deviation of its slope from 1."
    )
    curve_separate: Probability = Field(
        0.0, description="Share of these in which each channel has a curve of its own."
    )
    curve_inverted: Probability = Field(
        0.0, description="Share of these in which the negative image is taken."
    )
    color: Probability = Field(0.0, description="Mix and shift the channels at random.")
    color_strength: AmountRange = Field(
        (0.0, 0.15), description="Standard deviation of the changes; 1 is the image's own contrast."
    )
    stain: Probability = Field(
        0.0, description="Vary the amounts of haematoxylin, eosin and a third stain (RGB images)."
    )
    stain_strength: AmountRange = Field(
        (0.0, 0.2), description="Standard deviation of the logarithms of the factors."
    )
    stain_offset: AmountRange = Field(
        (0.0, 0.05), description="Standard deviation of the optical densities added."
    )
    bias: Probability = Field(
        0.0, description="Apply a smooth bias field, as from MR coils or uneven light."
    )
    bias_strength: AmountRange = Field(
        (0.0, 0.3), description="Standard deviation of the coefficients of its logarithm."
    )


@dataclass(frozen=True)
class VariantSections:
    """The originals' way of augmentation: [augmentor] and the sections of its transforms.

    Attributes
    ----------
    channels : of the images; their elastic deformation depends on it.
    """

    augmentor: AugmentorConfig
    deformation: DeformationConfig
    distortion: DistortionConfig
    barrdistortion: RadialConfig
    pincdistortion: RadialConfig
    sharpening: SharpeningConfig
    brightening: BrighteningConfig
    channels: int
