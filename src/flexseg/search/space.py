"""The space that a search looks for better values in: declared, checked, or a default one."""

from __future__ import annotations

import ast
import difflib
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flexseg.config.augmentation import AUGMENTOR_SECTIONS, AugmentationConfig
from flexseg.config.base import PathRole
from flexseg.config.load import LoadedConfig, load
from flexseg.config.model import ModelConfig
from flexseg.config.network_options import NETWORKS
from flexseg.config.schema import Experiment
from flexseg.config.tune import ValueRange
from flexseg.errors import ConfigError

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from pydantic.fields import FieldInfo

logger = logging.getLogger(__name__)

# What a key may be: a range, or values in plain JSON types.
Values = ValueRange | list[object]
Space = Mapping[str, Values]

WHERE = "[tune] space"
# A value drawn from a range is a number that a person could have written.
_DIGITS = 4

_SIZES = "scores at different sizes cannot be compared"
_TASK = "it is a part of the task"
# Keys of sections that can be tuned otherwise, and why these cannot.
_FIXED = {
    "model.image_width": _SIZES,
    "model.image_height": _SIZES,
    "model.image_channels": _TASK,
    "model.num_classes": _TASK,
    "model.evaluation": "the test set takes no part in a search",
    "model.metrics": "they measure the trials",
    "model.show_summary": "it changes nothing in a training",
    "image.file_format": _TASK,
    "augmentation.augment_on": "it changes the time alone",
}
_TRAIN = (
    "batch_size", "steps_per_epoch", "epoch_steps", "patience", "learning_rate_reducer",
    "reducer_factor", "reducer_patience", "schedule", "warmup", "ema", "oversample", "snapshots",
    "shuffle", "precision", "deep_supervision",
)  # fmt: skip
_SECTIONS = ("model", "image", "augmentation", "generator", *AUGMENTOR_SECTIONS)


@dataclass(frozen=True)
class Parameter:
    """One key that may vary.

    Attributes
    ----------
    name : "section.key".
    start : its value in the config as it is, in plain JSON types.
    values : what it may be, `start` among them; empty for a range.
    low, high, log, step : of a range, as in `ValueRange`.
    """

    name: str
    start: object
    values: tuple[object, ...] = ()
    low: float = 0
    high: float = 0
    log: bool = False
    step: float | None = None

    @property
    def is_integer(self) -> bool:
        """A range of whole numbers."""
        return not self.values and isinstance(self.start, int)

    @property
    def count(self) -> float:
        """How many values there are."""
        if self.values:
            return len(self.values)
        if self.step is None and not self.is_integer:
            return math.inf
        return math.floor((self.high - self.low) / (self.step or 1)) + 1

    def distribution(self) -> BaseDistribution:
        """The same for Optuna; listed values as Python literals, since it takes no lists."""
        from optuna.distributions import (
            CategoricalDistribution,
            FloatDistribution,
            IntDistribution,
        )

        if self.values:
            return CategoricalDistribution([repr(value) for value in self.values])
        if self.is_integer:
            low, high, step = int(self.low), int(self.high), int(self.step or 1)
            return IntDistribution(low, high, log=self.log, step=step)
        return FloatDistribution(self.low, self.high, log=self.log, step=self.step)

    def value(self, drawn: float | str) -> object:
        """The value that Optuna's one stands for."""
        if self.values:
            return ast.literal_eval(str(drawn))
        if self.is_integer:
            return int(drawn)
        return min(max(float(f"{drawn:.{_DIGITS}g}"), self.low), self.high)

    def stored(self, value: object) -> object:
        """What Optuna knows a value as."""
        return repr(value) if self.values else value

    def __str__(self) -> str:
        if self.values:
            return ", ".join(map(as_text, self.values))
        step = f", step {self.step:g}" if self.step else ", logarithmic" if self.log else ""
        return f"{self.low:g} to {self.high:g}{step}"


def as_text(value: object) -> str:
    """A value for people: numbers short, text bare."""
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.{_DIGITS}g}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(as_text, value))}]"
    return str(value)


def override(name: str, value: object) -> str:
    """The text by which `config.load.load` sets a value."""
    return f"{name}={value!r}"


def parameters_of(
    loaded: LoadedConfig, overrides: Sequence[str], metric: str
) -> tuple[Parameter, ...]:
    """What may vary: `[tune] space`, else a default for the network of the config.

    Listed values get the config's own one added, ranges are widened to hold it: the search begins
    with it.

    Parameters
    ----------
    overrides : texts that the config was read with.
    metric : what the trials are measured by, see `metric_of`.

    Raises
    ------
    ConfigError : an unknown key, one that cannot be tuned, or a value that the config refuses.
    """
    e = loaded.experiment
    space: Space = e.tune.space or default_space(e.model, e.augmentation, metric)
    for name in space:
        _check_name(name, e.model, e.augmentation, space)
    if metric == "val_loss":
        for name in ("model.loss", "train.batch_size"):
            if name in space:
                raise ConfigError(
                    f"val_loss cannot be compared between trials of different {name}.",
                    "Set [tune] metric to one of [model] metrics, or leave the key out.",
                    WHERE,
                )
    return tuple(
        _parameter(name, spec, *_reading(name, loaded, overrides, space))
        for name, spec in space.items()
    )


def _reading(
    name: str, loaded: LoadedConfig, overrides: Sequence[str], space: Space
) -> tuple[object, _Reader]:
    """The value of a key in the config, and what reads other ones.

    An option that the config's network does not have is read with one in the space that has it.
    """
    section, _, key = name.partition(".")
    if section != "model" or key in type(loaded.experiment.model).model_fields:
        return _plain(loaded.experiment, name), _Reader(loaded.path, tuple(overrides))
    with_network = (*overrides, override("model.model", _reader(key, space)))
    started = load(loaded.path, with_network).experiment
    return _plain(started, name), _Reader(loaded.path, with_network)


def metric_of(chosen: str, metrics: Sequence[str]) -> tuple[str, bool]:
    """The score of the trials as Keras names it, and whether higher is better.

    Parameters
    ----------
    chosen : `[tune] metric`.
    metrics : those of the training, `[model] metrics`.

    Raises
    ------
    ConfigError : `chosen` is none of those that the training computes.
    """
    from flexseg.losses import LOSSES, METRICS

    names = [f"val_{name}" for name in metrics]
    wanted = chosen
    if wanted == "auto":
        wanted = (*names, "val_loss")[0]
    if wanted not in (*names, "val_loss"):
        wanted = f"val_{wanted}"
    if wanted not in (*names, "val_loss"):
        raise ConfigError(
            f"{chosen!r} is not computed on the validation set.",
            f"Choose one of {', '.join((*names, 'val_loss'))}, or add it to [model] metrics.",
            "[tune] metric",
        )
    name = wanted.removeprefix("val_")
    return wanted, name in METRICS and METRICS.canonical(name) not in LOSSES


def default_space(model: ModelConfig, augmentation: AugmentationConfig, metric: str) -> Space:
    """What is worth a search for most networks: few keys, since trials are few."""
    rate = model.learning_rate
    space: dict[str, Values] = {
        "model.learning_rate": ValueRange(low=rate / 10, high=rate * 10, log=True)
    }
    if metric != "val_loss":
        entropy = "binary_crossentropy" if model.num_classes == 1 else "categorical_crossentropy"
        space["model.loss"] = ["dice_ce_loss", "tversky_loss", entropy]
    options = _options(model)
    if isinstance(width := options.get("base_filters"), int):
        space["model.base_filters"] = [max(1, width // 2), width, 2 * width]
    if "dropout_rate" in options:
        space["model.dropout_rate"] = ValueRange(low=0.0, high=0.1)
    if augmentation.enabled:
        for key in ("rotation", "scaling", "gamma"):
            space[f"augmentation.{key}"] = ValueRange(low=0.0, high=0.6)
    elif not model.generator:
        space["augmentation.enabled"] = [False, True]
    return space


def _options(model: ModelConfig) -> dict[str, object]:
    """The options that a network is known to read, with their values."""
    if ":" in model.model and type(model) is NETWORKS.section_of("UNet"):
        return {}  # a network of the user's that does not say which keys it reads
    return model.model_dump(mode="json", include=set(model.option_names()))


def _fields(model: ModelConfig, section: str) -> dict[str, FieldInfo]:
    """The keys of a section; of [model] those of all networks, which may be tried in turn."""
    if section != "model":
        return type(getattr(Experiment(), section)).model_fields
    kinds = (*(NETWORKS.get(name) for name in NETWORKS), type(model))
    return {key: field for kind in kinds for key, field in kind.model_fields.items()}


def _keys(model: ModelConfig) -> Iterator[str]:
    """All that can be tuned."""
    for section in Experiment.model_fields:
        for key, info in _fields(model, section).items():
            if any(isinstance(extra, PathRole) for extra in info.metadata):
                continue
            name = f"{section}.{key}"
            if section == "train":
                possible = key in _TRAIN
            elif section == "dataset":
                possible = key == "resize_interpolation"
            else:
                possible = section in _SECTIONS and name not in _FIXED
            if possible:
                yield name


def _check_name(
    name: str, model: ModelConfig, augmentation: AugmentationConfig, space: Space
) -> None:
    section, _, key = name.partition(".")
    known = list(_keys(model))
    if name not in known:
        exists = section in Experiment.model_fields and key in _fields(model, section)
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        if not exists:
            raise ConfigError(
                f"There is no key {name!r}.",
                f"Did you mean {near[0]!r}?" if near else "`flexseg schema` lists all keys.",
                WHERE,
            )
        reason = _FIXED.get(name, "it does not change how a network is trained")
        raise ConfigError(
            f"{name} cannot be tuned: {reason}.",
            "Leave it out; keys of [model], [augmentation], and those of [train] that the "
            "training depends on, can be tuned.",
            WHERE,
        )
    if vain := _without_effect(section, key, model, augmentation, space):
        raise ConfigError(f"{name} has no effect here: {vain}.", "Leave it out.", WHERE)


def _without_effect(
    section: str, key: str, model: ModelConfig, augmentation: AugmentationConfig, space: Space
) -> str | None:
    """Why a search over a key would be in vain."""
    may_be_enabled = augmentation.enabled or "augmentation.enabled" in space
    if section == "model" and key not in type(model).model_fields:
        if "model.model" not in space:
            return f"{model.model} does not have it"
        if not _reader(key, space):
            return "none of the networks in model.model has it"
    if section == "augmentation" and key != "enabled" and not may_be_enabled:
        return "[augmentation] enabled is false"
    if section in ("generator", *AUGMENTOR_SECTIONS) and (
        augmentation.enabled or not (model.generator or "model.generator" in space)
    ):
        return "these sections augment only with [model] generator and without [augmentation]"
    return None


def _reader(key: str, space: Space) -> str | None:
    """The first of the networks in a space that has an option of this name."""
    listed = space.get("model.model", [])
    names = [] if isinstance(listed, ValueRange) else map(str, listed)
    return next((name for name in names if key in NETWORKS.section_of(name).model_fields), None)


@dataclass(frozen=True)
class _Reader:
    """Reads the config with one value changed."""

    path: Path
    overrides: tuple[str, ...]

    def plain(self, name: str, value: object) -> object:
        """The value as the config understands it.

        Raises
        ------
        ConfigError : it refuses the value, or the network cannot be built with it.
        """
        from flexseg.models.build import check_architecture

        try:
            overrides = [*self.overrides, override(name, value)]
            experiment = load(self.path, overrides, run_code=True).experiment
            if ":" not in experiment.model.model:
                check_architecture(experiment.model)
        except ConfigError as error:
            raise ConfigError(
                f"{name} = {as_text(value)} is refused: {error.problem}", error.fix, WHERE
            ) from None
        return _plain(experiment, name)


def _plain(experiment: Experiment, name: str) -> object:
    section, _, key = name.partition(".")
    return getattr(experiment, section).model_dump(mode="json", include={key})[key]


def _parameter(name: str, spec: Values, start: object, reader: _Reader) -> Parameter:
    if not isinstance(spec, ValueRange):
        values: list[object] = []
        for value in (reader.plain(name, v) for v in spec):
            if repr(value) not in map(repr, values):
                values.append(value)
        if repr(start) not in map(repr, values):
            values.insert(0, start)
        if len(values) < 2:
            raise ConfigError(f"All values of {name} are the same.", "List different ones.", WHERE)
        return Parameter(name, start, tuple(values))
    if isinstance(start, bool) or not isinstance(start, int | float):
        raise ConfigError(
            f"{name} is {as_text(start)} in the config, which is not a number and so in no range.",
            "List its values instead: [...].",
            WHERE,
        )
    low, high = min(spec.low, start), max(spec.high, start)
    if (low, high) != (spec.low, spec.high):
        logger.info(
            "%s: the range is widened to the config's own value %s, with which the search begins.",
            name,
            as_text(start),
        )
    if spec.step and abs((start - low) / spec.step - round((start - low) / spec.step)) > 1e-6:
        raise ConfigError(
            f"{name} is {as_text(start)} in the config, which {spec.low:g} + n x {spec.step:g} "
            "misses.",
            "Choose low and step so that the search can begin with it, or list the values.",
            WHERE,
        )
    if spec.step:
        high = low + spec.step * math.floor((high - low) / spec.step + 1e-9)
    parameter = Parameter(name, start, (), low, high, spec.log, spec.step)
    if parameter.is_integer and any(float(v) != int(v) for v in (low, high, spec.step or 1)):
        raise ConfigError(
            f"{name} takes integers, but its range is {parameter}.",
            "Write integers for low, high and step.",
            WHERE,
        )
    for value in (low, high):
        reader.plain(name, int(value) if parameter.is_integer else value)
    return parameter
