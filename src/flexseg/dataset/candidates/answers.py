"""What a user says of a folder of data where several things fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from flexseg.errors import ConfigError

MaskValues = Literal["classes", "objects"]


@dataclass(frozen=True)
class Answers:
    """Answers to what a folder of data does not tell; None where nothing is said.

    Attributes
    ----------
    masks : name of the folder of masks.
    mask_name : names of masks, see `mask_stem`; with a `*` all that fit mark together.
    mask_values : the values of masks are those of classes, or number the objects of one class.
    classes : class id -> name.

    Raises
    ------
    ConfigError : `mask_values` is something else, or `mask_name` has no {id}.
    """

    masks: str | None = None
    mask_name: str | None = None
    mask_values: MaskValues | None = None
    classes: Mapping[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.mask_values not in (None, *get_args(MaskValues)):
            raise ConfigError(
                f"{self.mask_values!r} is not a possible meaning of mask values.",
                f"Give one of {', '.join(get_args(MaskValues))}.",
                "--mask-values",
            )
        if self.mask_name is not None and "{id" not in self.mask_name:
            raise ConfigError(
                f"{self.mask_name!r} is not a pattern for the names of masks.",
                "Write {id} where the name of the image stands, e.g. '{id}_mask'.",
                "--mask-name",
            )


NO_ANSWERS = Answers()
