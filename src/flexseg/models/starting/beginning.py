"""Give a network the weights of another one, as far as they fit, and say what was taken."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import keras
from numpy.typing import NDArray

from flexseg.config.findings import examples
from flexseg.config.model import ModelConfig
from flexseg.config.network_options import with_options
from flexseg.dataset.labels import LabelClass, LabelMap
from flexseg.errors import ConfigError
from flexseg.machine import typed
from flexseg.models.architecture import MODELS
from flexseg.models.package import ModelPackage
from flexseg.models.starting.fitting import (
    ClassRows,
    Row,
    input_axis,
    with_channels,
    with_inputs,
    with_outputs,
    with_places,
)
from flexseg.models.starting.outline import (
    ASPECTS,
    LayerOutline,
    WeightOutline,
    compared,
    outline_of,
    partners,
)
from flexseg.models.weights import weighted_layers

# Where less of the smaller of two networks fits, what is left of it means nothing.
_LEAST_SHARE = 0.5
# Keys of [model] that say nothing of the network itself.
_OF_TRAINING = {
    "loss", "metrics", "learning_rate", "optimizer", "clipvalue", "generator", "evaluation",
    "show_summary", "weights", "freeze_backbone", "freeze_batch_norm", "dropout_rate",
    "dropout_seed_fixing",
}  # fmt: skip
_KEY = "[train] start_from"
# Classes that are named for each layer.
_NAMED = 8
TAKEN, NEW = "taken", "new"


@dataclass(frozen=True)
class LayerBeginning:
    """What a layer begins with.

    Attributes
    ----------
    source : the layer of the other network; "" without one.
    values, taken : numbers that its weights are, and those of them that come from the other one.
    how : "taken", "new", or what was changed in taking them.
    """

    layer: str
    source: str
    values: int
    taken: int
    how: str


@dataclass(frozen=True)
class Beginning:
    """What a network begins with, layer by layer in its order.

    Attributes
    ----------
    notes : on what the two networks see differently, one sentence each.
    """

    layers: tuple[LayerBeginning, ...]
    notes: tuple[str, ...] = ()

    @property
    def values(self) -> int:
        """Numbers that the network's weights are."""
        return sum(layer.values for layer in self.layers)

    @property
    def taken(self) -> int:
        """Those of them that come from the other network."""
        return sum(layer.taken for layer in self.layers)

    @property
    def share(self) -> float:
        """Of the weights, that was taken."""
        return self.taken / max(1, self.values)

    def lines(self) -> list[str]:
        """For people: runs of layers that are treated alike in one line, then the notes."""
        rows: list[tuple[str, str]] = []
        run: list[LayerBeginning] = []
        for layer in (*self.layers, None):
            if layer is not None and run and run[-1].how == layer.how and layer.how in (TAKEN, NEW):
                run.append(layer)
                continue
            if run:
                rows.append((_named(run), run[0].how))
            run = [layer] if layer is not None else []
        width = max((len(name) for name, _ in rows), default=0)
        return [*(f"  {name:{width}}  {how}" for name, how in rows), *self.notes]

    def table(self) -> list[dict[str, Any]]:
        """The layers as plain JSON."""
        return [asdict(layer) for layer in self.layers]


def _named(run: Sequence[LayerBeginning]) -> str:
    if len(run) == 1:
        return run[0].layer
    return f"{run[0].layer} to {run[-1].layer} ({len(run)} layers)"


@dataclass
class _Fit:
    """How weights of one network become those of another.

    Attributes
    ----------
    old, new : with all options.
    """

    old: ModelConfig
    new: ModelConfig
    rows: ClassRows
    done: list[str] = field(default_factory=list)

    @property
    def resized(self) -> bool:
        """The networks see images of different sizes."""
        return any(getattr(self.old, key) != getattr(self.new, key) for key in ASPECTS["size"])

    def values(
        self, layer: LayerOutline, weight: WeightOutline, values: NDArray, fresh: NDArray
    ) -> NDArray | None:
        """What a weight begins with; None where nothing of the other network fits."""
        if weight.constant and self.resized:
            return fresh
        found: NDArray | None = values
        inputs = input_axis(layer.kind, len(weight.shape))
        for axis in weight.of("channels"):
            found = self._channels(found, axis) if axis == inputs else None
        for axis in weight.of("size"):
            found = self._places(found, weight) if axis == 0 else None
        rows = self.rows.scores if layer.name.endswith("logits") else self.rows.plain
        # Those of inputs first: new outputs have fresh weights of all inputs.
        for axis in sorted(weight.of("classes"), key=lambda axis: axis != inputs):
            if found is None:
                return None
            if axis == inputs:
                found = with_inputs(found, axis, self.rows.plain, self.rows.old)
            else:
                found = with_outputs(found, fresh, axis, rows, self.rows.old)
        return None if found is None or found.shape != fresh.shape else found

    def _channels(self, values: NDArray | None, axis: int) -> NDArray | None:
        if values is None:
            return None
        return with_channels(values, axis, self.old.image_channels, self.new.image_channels)

    def _places(self, values: NDArray | None, weight: WeightOutline) -> NDArray | None:
        if values is None:
            return None
        ratios = (c.image_height / c.image_width for c in (self.old, self.new))
        square = weight.path.endswith("bias_table")
        return with_places(values, weight.shape[0], *ratios, square=square)


def begin_with(
    package: ModelPackage,
    start: ModelPackage,
    search: Path | None = None,
    file: str | Path = "NETWORK",
) -> Beginning:
    """Set the weights of a fresh network to those of another one, as far as they fit.

    Both are of one architecture. Layers are paired by their order, kind and shape; heads are cut
    and grown by the names of classes; the first layers are fitted to other input channels, and
    vectors for places in the image to other sizes. What nothing fits keeps its fresh weights.

    Parameters
    ----------
    package : with fresh weights, which change.
    search : see `build_model`.
    file : what the other network is called in advice.

    Raises
    ------
    ConfigError : the networks are of different architectures, or under half of the smaller one
        fits; nothing is changed then.
    """
    old, new = with_options(start.config, search), with_options(package.config, search)
    _refuse_other_architecture(old, new)
    rows = ClassRows.of(start.labels, package.labels, old, new)
    own = outline_of(package.model)
    base, own = compared(own, old, new, search, other_classes=not rows.same)
    sources = partners(outline_of(start.model), base)
    fit = _Fit(old, new, rows)
    old_layers, new_layers = weighted_layers(start.model), weighted_layers(package.model)
    settings: list[tuple[keras.Variable, NDArray]] = []
    told: list[LayerBeginning] = []
    for outline, layer, source in zip(own, new_layers, sources, strict=True):
        partner = None if source is None else old_layers[source]
        settings += _layer(fit, outline, layer, partner, told)
    beginning = Beginning(tuple(told), tuple(_notes(start, package, file)))
    share = beginning.taken / max(1, min(beginning.values, start.model.count_params()))
    if share < _LEAST_SHARE:
        raise ConfigError(
            f"The config has a {_described(new, old)}, but the package has a "
            f"{_described(old, new)}: only {100 * share:.0f} % of the weights fit, less than "
            "half.",
            "Use the network of the package, as `flexseg plan --from` does, or leave start_from "
            "out.",
            _KEY,
        )
    for weight, values in settings:
        weight.assign(values)
    return beginning


def _layer(
    fit: _Fit,
    outline: LayerOutline,
    layer: keras.layers.Layer,
    partner: keras.layers.Layer | None,
    told: list[LayerBeginning],
) -> list[tuple[keras.Variable, NDArray]]:
    """What the weights of one layer are set to, which is told too."""
    size = outline.size
    if partner is None:
        told.append(LayerBeginning(layer.name, "", size, 0, NEW))
        return []
    settings = []
    for described, weight, source in zip(
        outline.weights, layer.weights, partner.weights, strict=True
    ):
        values, fresh = (keras.ops.convert_to_numpy(w) for w in (source, weight))
        found = fit.values(outline, described, values, fresh)
        if found is not None:
            settings.append((weight, found))
    taken = sum(_taken(fit, outline, weight) for weight in outline.weights) if settings else 0
    how = _how(fit, outline, whole=len(settings) == len(layer.weights)) if taken else NEW
    if not taken and any(weight.of("classes") for weight in outline.weights):
        how = _classes(fit.rows, fit.rows.plain)
    told.append(LayerBeginning(layer.name, partner.name if taken else "", size, taken, how))
    return settings if taken else []


def _taken(fit: _Fit, layer: LayerOutline, weight: WeightOutline) -> int:
    """How many numbers of a weight come from the other network; constants count as taken."""
    size = math.prod(weight.shape)
    outputs = [a for a in weight.of("classes") if a != input_axis(layer.kind, len(weight.shape))]
    if not outputs:
        return size
    rows = fit.rows.scores if layer.name.endswith("logits") else fit.rows.plain
    return size * sum(row.kind != "new" for row in rows) // len(rows)


def _how(fit: _Fit, layer: LayerOutline, *, whole: bool) -> str:
    """What was done to the weights of a layer in taking them."""
    done = [] if whole else ["in part"]
    if any(weight.of("channels") for weight in layer.weights):
        done.append(f"channels {fit.old.image_channels} -> {fit.new.image_channels}")
    if any(weight.of("size") and not weight.constant for weight in layer.weights):
        done.append("places resized")
    if any(weight.of("classes") for weight in layer.weights):
        rows = fit.rows.scores if layer.name.endswith("logits") else fit.rows.plain
        done.append(_classes(fit.rows, rows))
    return ", ".join(done) if done else TAKEN


def _classes(all_rows: ClassRows, rows: Sequence[Row]) -> str:
    """The classes whose outputs come from the other network, and those that are new."""
    named = list(zip(all_rows.names, rows, strict=True))
    kinds = {row.kind for row in rows}
    if "zero" in kinds:
        parts = ["sigmoid as softmax"]
    elif "difference" in kinds:
        parts = ["softmax as sigmoid"]
    elif taken := [name for name, row in named if row.kind == "copy"]:
        parts = [f"classes taken: {examples(taken, _NAMED)}"]
    else:
        parts = []
    if new := [name for name, row in named if row.kind == "new"]:
        parts.append(f"classes new: {examples(new, _NAMED)}")
    return "; ".join(parts)


def _refuse_other_architecture(old: ModelConfig, new: ModelConfig) -> None:
    if _architecture(old) != _architecture(new):
        raise ConfigError(
            f"The package has a network {_architecture(old)}, but the config has a "
            f"{_architecture(new)}: no weights of the one fit the other.",
            f"Set [model] model = {_architecture(old)!r}, or leave start_from out.",
            _KEY,
        )


def _architecture(config: ModelConfig) -> str:
    return config.model if ":" in config.model else MODELS.canonical(config.model)


def _described(config: ModelConfig, other: ModelConfig) -> str:
    """A network by its name and the options in which it differs from another one."""
    own, its = config.model_dump(mode="json"), other.model_dump(mode="json")
    aspects = {key for keys in ASPECTS.values() for key in keys}
    differing = [
        f"{key} = {value}"
        for key, value in own.items()
        if key not in _OF_TRAINING | aspects | {"model"} and its.get(key) != value
    ]
    name = _architecture(config)
    return f"{name} with {', '.join(differing)}" if differing else name


def _notes(start: ModelPackage, package: ModelPackage, file: str | Path) -> list[str]:
    """What the two networks see or are asked differently."""
    notes = []
    old, new = start.config.input_normalize, package.config.input_normalize
    if old != new:
        notes.append(
            f"The earlier network saw images with input_normalize = {old!r}, this one sees them "
            f"with {new!r}: what its first layers have learned fits less."
        )
    gone = _missing(start.labels, package.labels)
    added = _missing(package.labels, start.labels)
    if gone:
        names = ", ".join(c.name for c in gone)
        notes.append(f"Classes of the earlier network that this one does not have: {names}.")
    if added:
        names = ", ".join(c.name for c in added)
        notes.append(
            f"Classes that the earlier network did not have, which begin with new weights: {names}."
        )
    if gone and added:
        pairs = list(zip(gone, added, strict=False))
        to_new = typed(",".join(f"{a.id}={b.name}" for a, b in pairs))
        to_old = typed(",".join(f"{b.id}={a.name}" for a, b in pairs))
        notes.append(
            "If these are one class under two names, give it one name before training: `flexseg "
            f"rename {typed(file)} {to_new}` renames it in the earlier network, `--classes "
            f"{to_old}` of `plan` and `auto` in this one."
        )
    return notes


def _missing(one: LabelMap, other: LabelMap) -> list[LabelClass]:
    known = {c.name.strip().casefold() for c in other.foreground}
    return [c for c in one.foreground if c.name.strip().casefold() not in known]
