"""What all sections of the configuration are made of: their base and the types of values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from flexseg.storage.mirror import named


@dataclass(frozen=True)
class PathRole:
    """Marks a path field: what it is relative to, and which words in it are no path."""

    kind: Literal["input", "output"]
    words: tuple[str, ...] = ()


def _as_pair(value: object) -> object:
    return (value, value) if isinstance(value, int) else value


def _as_color(value: object) -> object:
    if isinstance(value, str) and value.startswith("#") and len(value) == 7:
        return tuple(bytes.fromhex(value[1:]))
    return value


def as_list(value: object) -> object:
    return [value] if isinstance(value, int | float | str) else value


def as_none(value: object) -> object:
    return None if value == "none" else value


def _ascending(limits: tuple[float, float]) -> tuple[float, float]:
    if limits[0] > limits[1]:
        raise ValueError(f"the range {list(limits)} must be [low, high] with low <= high")
    return limits


def _copy_of_url(value: object) -> object:
    return (named(value) or value) if isinstance(value, str) else value


InputPath = Annotated[Path | None, BeforeValidator(_copy_of_url), PathRole("input")]
# Of all outputs; it is relative to the config, as inputs are.
RunFolder = Annotated[Path, BeforeValidator(_copy_of_url), PathRole("input")]
OutputPath = Annotated[Path, BeforeValidator(_copy_of_url), PathRole("output")]
OptionalOutputPath = Annotated[Path | None, BeforeValidator(_copy_of_url), PathRole("output")]
Pair = Annotated[tuple[int, int], BeforeValidator(_as_pair)]
Positive = Annotated[int, Field(gt=0)]
SizePair = Annotated[tuple[Positive, Positive], BeforeValidator(_as_pair)]
Byte = Annotated[int, Field(ge=0, le=255)]
Blocks = Annotated[
    list[Annotated[int, Field(gt=0, le=100)]], Field(min_length=1), BeforeValidator(as_list)
]
Color = Annotated[tuple[Byte, Byte, Byte], BeforeValidator(_as_color)]
Counts = Annotated[list[Positive], Field(min_length=1), BeforeValidator(as_list)]
Numbers = Annotated[list[float], BeforeValidator(as_list)]
Names = Annotated[list[str], BeforeValidator(as_list)]
Probability = Annotated[float, Field(ge=0, le=1)]
Range = Annotated[tuple[float, float], AfterValidator(_ascending)]
Share = Annotated[float, Field(gt=0, le=1)]
ShareRange = Annotated[tuple[Share, Share], AfterValidator(_ascending)]
PositiveNumber = Annotated[float, Field(gt=0)]
PositiveRange = Annotated[tuple[PositiveNumber, PositiveNumber], AfterValidator(_ascending)]
Amount = Annotated[float, Field(ge=0)]
AmountRange = Annotated[tuple[Amount, Amount], AfterValidator(_ascending)]
Amounts = Annotated[list[Amount], BeforeValidator(as_list)]
Widths = Annotated[list[PositiveNumber], BeforeValidator(as_list)]
Centers = list[tuple[float, float]]


class Section(BaseModel):
    """Base of all sections: unknown keys are errors, values are checked and then fixed."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False
    )
