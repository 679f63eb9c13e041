"""What the kind of the images changes in the recipe."""

from __future__ import annotations

from types import SimpleNamespace
from typing import get_args

import pytest

from flexseg.config.augmentation import AugmentationConfig
from flexseg.dataset.quality.orientation import Judgement, Orientation
from flexseg.planning.fingerprint import Intensities
from flexseg.planning.network import Shape, natural_shape
from flexseg.planning.planned_data import Kind, _kind
from flexseg.planning.recipe import recipe_choices

HARMLESS = Judgement(True, "as likely")
EITHER = Orientation({"hflip": HARMLESS, "vflip": HARMLESS})


def choices(kind: Kind) -> dict[str, object]:
    """Section.key -> value of a plan for images of this kind."""
    shape: Shape = natural_shape(128, 128, 100)
    data = SimpleNamespace(
        kind=kind, separate_channels=False, rarest=1.0, orientation=EITHER, volumes=0
    )
    return {f"{c.section}.{c.key}": c.value for c in recipe_choices(data, shape)}


@pytest.mark.parametrize(
    ("kind", "varied"),
    [
        ("stained", {"color", "stain", "bias"}),
        ("colored", {"color", "bias"}),
        ("gray", set()),
        ("CT", {"window"}),
        ("MR", {"bias", "curve"}),
    ],
)
def test_what_other_devices_change_is_varied(kind: Kind, varied: set[str]) -> None:
    planned = {k.removeprefix("augmentation."): v for k, v in choices(kind).items()
               if k.startswith("augmentation.")}  # fmt: skip
    config = AugmentationConfig.model_validate(planned)
    asked = {"color", "stain", "curve", "bias", "window"}
    assert {key for key in asked if getattr(config, key) > 0} == varied


@pytest.mark.parametrize("kind", get_args(Kind))
def test_channels_of_colours_are_standardised_one_by_one(kind: Kind) -> None:
    apart = choices(kind)["model.input_normalize"] == "standardize_channels"
    assert apart == (kind in ("stained", "colored"))


@pytest.mark.parametrize(
    ("channels", "gray", "means", "kind"),
    [
        (3, False, (224, 199, 166), "stained"),
        (3, False, (60, 50, 80), "colored"),
        (3, True, (224, 224, 224), "gray"),
        (1, True, (224,), "gray"),
        (4, False, (224, 199, 166, 30), "gray"),
    ],
)
def test_bright_colours_are_of_stains(
    channels: int, gray: bool, means: tuple[float, ...], kind: Kind
) -> None:
    intensities = tuple(Intensities(mean, 20.0, 0.0, 255.0) for mean in means)
    found = SimpleNamespace(channels=channels, gray=gray, intensities=intensities)
    assert _kind(found) == kind
