"""Which keys [model] has: those of every network, and the options of the one that it names.

`flexseg.models` enters the networks here when it is imported. Where it is not, as in commands that
build no network, options stay as they are given and nobody looks at them.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from flexseg.config.model import ModelConfig
from flexseg.errors import ConfigError
from flexseg.registry import Registry

OwnNetwork = Callable[[str, Path | None], type[ModelConfig]]


class Networks(Registry[type[ModelConfig]]):
    """The class of [model] by the name of the network.

    Attributes
    ----------
    own : (`package.module:builder`, folder in which the module may lie) to the class that the
        builder takes; `ModelConfig` where nothing is known of it.
    """

    own: OwnNetwork | None = None

    def section_of(self, name: str) -> type[ModelConfig]:
        """The class of [model] for a network of the registry; `ModelConfig` for any other name."""
        return self.get(name) if name in self else ModelConfig

    def own_section_of(self, name: str, search: Path | None) -> type[ModelConfig]:
        """The same, also for `package.module:builder`, whose code is run."""
        if ":" not in name:
            return self.section_of(name)
        return self.own(name, search) if self.own else ModelConfig

    def readers(self, key: str) -> list[str]:
        """The networks that have an option of this name."""
        return [name for name in self if key in self.get(name).option_names()]

    def option_names(self) -> set[str]:
        """The options of all networks."""
        return {key for name in self for key in self.get(name).option_names()}


NETWORKS = Networks("model")


def parse_section(values: Mapping[str, Any]) -> ModelConfig:
    """[model] as the class of the network that it names; options of other networks are left out.

    Raises
    ------
    ValidationError : a value is wrong, or there is no such key.
    """
    name = values.get("model", ModelConfig.model_fields["model"].default)
    kind = NETWORKS.section_of(name) if isinstance(name, str) else ModelConfig
    return kind.model_validate(_own_keys(kind, values))


def with_options(config: ModelConfig, search: Path | None = None) -> ModelConfig:
    """[model] with all options of its network, as what builds the network takes it.

    Options of other networks are left out. See `read_section`.
    """
    kind = NETWORKS.own_section_of(config.model, search)
    if type(config) is kind:
        return config
    return read_section(_own_keys(kind, config.model_dump(exclude_unset=True)), search)


def read_section(values: Mapping[str, Any], search: Path | None = None) -> ModelConfig:
    """[model] from its keys, as the class of the network that it names.

    Parameters
    ----------
    search : folder in which the module of a `package.module:builder` may lie. Its code is run.

    Raises
    ------
    ConfigError : a value is wrong, or the network has no such key.
    """
    name = str(values.get("model", ModelConfig.model_fields["model"].default))
    kind = NETWORKS.own_section_of(name, search)
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            near = difflib.get_close_matches(key, kind.model_fields, n=1, cutoff=0.5)
            fix = f"Did you mean {near[0]!r}?" if near else f"Remove it: {reads(kind, name)}."
            raise ConfigError(f"[model] has no key {key!r}.", fix, f"[model] {key}") from None
        message = str(first["msg"]).removeprefix("Value error, ")
        raise ConfigError(
            f"{first['input']!r} given: {message[0].lower()}{message[1:]}.",
            "Correct the value.",
            f"[model] {key}",
        ) from None


def _own_keys(kind: type[ModelConfig], values: Mapping[str, Any]) -> dict[str, Any]:
    if kind is ModelConfig:
        return dict(values)
    foreign = NETWORKS.option_names() - kind.model_fields.keys()
    return {key: value for key, value in values.items() if key not in foreign}


def reads(kind: type[ModelConfig], name: str) -> str:
    """Which options a network has, in words."""
    options = ", ".join(kind.option_names())
    shown = NETWORKS.canonical(name) if name in NETWORKS else name
    return f"{shown} reads {options}" if options else f"{shown} has no options"
