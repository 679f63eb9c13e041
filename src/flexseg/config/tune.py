"""The section [tune]: what `flexseg tune` searches, and how."""

from __future__ import annotations

from typing import Annotated

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    field_validator,
    model_validator,
)

from flexseg.config.base import Section


class ValueRange(Section):
    """The numbers from `low` to `high`."""

    low: int | float = Field(description="Smallest value.")
    high: int | float = Field(description="Largest value.")
    log: bool = Field(
        False, description="Draw on a logarithmic scale: equal ratios are equally probable."
    )
    step: int | float | None = Field(None, gt=0, description="Draw only low, low + step, ...")

    @model_validator(mode="after")
    def _possible(self) -> ValueRange:
        if not self.low < self.high:
            raise ValueError(f"the range {self.low} to {self.high} needs low < high")
        if self.log and self.low <= 0:
            raise ValueError("a range with log = true begins above 0")
        if self.log and self.step is not None:
            raise ValueError("a range has log = true or a step, not both")
        return self

    def __repr__(self) -> str:
        more = ", log" if self.log else f", step {self.step:g}" if self.step else ""
        return f"{self.low:g} to {self.high:g}{more}"


def _kind(spec: object) -> str:
    return "values" if isinstance(spec, list | tuple) else "range"


def _described(spec: object) -> object:
    if not isinstance(spec, list | tuple | dict | ValueRange):
        raise ValueError("write a list of values, or { low = ..., high = ... }")
    return spec


def _flat(space: object) -> object:
    """`model.depth = [3, 4]` without quotes is a table in a table to TOML."""
    if not isinstance(space, dict):
        return space
    flat: dict[str, object] = {}
    for name, spec in space.items():
        if "." not in str(name) and isinstance(spec, dict):
            flat |= {f"{name}.{key}": value for key, value in spec.items()}
        else:
            flat[name] = spec
    return flat


Values = Annotated[
    Annotated[ValueRange, Tag("range")]
    | Annotated[list[object], Field(min_length=2), Tag("values")],
    Discriminator(_kind),
    BeforeValidator(_described),
]
Space = Annotated[dict[str, Values], BeforeValidator(_flat)]


class TuneConfig(Section):
    """Search for better values with `flexseg tune`."""

    space: Space = Field(
        {},
        description="What may vary: 'section.key' = list of values, or { low, high, log, step }; "
        "by default the learning rate, the loss, the augmentation and the network's own options.",
    )
    metric: str = Field(
        "auto",
        description="Score on the validation set: 'val_loss' or one of [model] metrics; 'auto': "
        "the first of these metrics.",
    )
    trial_minutes: float = Field(
        0,
        ge=0,
        description="Time of each trial in minutes; 0: a twelfth of the whole time, but at least "
        "a minute if that leaves five trials.",
    )
    trials: int = Field(
        0, ge=0, description="Maximum number of trials; 0: as many as the time allows."
    )
    startup: int = Field(
        5,
        ge=1,
        description="Trials before values are chosen by their scores and trials may be pruned.",
    )
    prune: bool = Field(
        True, description="End a trial early if its score is below the median of the others."
    )

    @field_validator("space")
    @classmethod
    def _names(cls, space: Space) -> Space:
        for name in space:
            if name.count(".") != 1:
                raise ValueError(f"{name!r} must be section.key")
        return space
