"""What a network consists of and what it costs: layers, parameters, FLOP, activation memory."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
from keras import layers

from flexseg.errors import ResourceError
from flexseg.machine import pip_install
from flexseg.outputs import set_aside, whole


@dataclass(frozen=True)
class LayerFacts:
    """One layer of a network.

    Attributes
    ----------
    shape : of its (first) output for one image.
    flop : floating-point operations per image; a multiplication and an addition are two.
    inputs : names of the layers before it.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int
    flop: int
    inputs: tuple[str, ...]


@dataclass(frozen=True)
class ModelFacts:
    """A network's layers and what it needs per image.

    Attributes
    ----------
    flop : per image and forward pass: convolutions, dense layers and attention.
    activation_bytes : the input and the outputs of all layers for one image, which training
        keeps until the backward pass. What is inside a block that is one layer is not counted.
    precision : Keras' dtype policy that the network was built in.
    """

    layers: tuple[LayerFacts, ...]
    parameters: int
    trainable: int
    flop: int
    activation_bytes: int
    precision: str

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "parameters": self.parameters,
            "trainable_parameters": self.trainable,
            "precision": self.precision,
            "gflop_per_image": round(self.flop / 1e9, 4),
            "activation_mib_per_image": round(self.activation_bytes / 2**20, 3),
            "layers": [vars(layer) for layer in self.layers],
        }


def inspect_model(model: keras.Model) -> ModelFacts:
    """The facts of a functional model, its layers in their order."""
    facts, activation_bytes = [], 0
    for layer in model.layers:
        outputs = keras.tree.flatten(layer.output)
        shape = tuple(int(n) for n in outputs[0].shape[1:])
        activation_bytes += sum(
            math.prod(output.shape[1:]) * (2 if "16" in str(output.dtype) else 4)
            for output in outputs
        )
        facts.append(
            LayerFacts(
                layer.name,
                type(layer).__name__,
                shape,
                layer.count_params(),
                layer_flop(layer),
                _inputs(layer),
            )
        )
    return ModelFacts(
        tuple(facts),
        model.count_params(),
        sum(math.prod(weight.shape) for weight in model.trainable_weights),
        sum(layer.flop for layer in facts),
        activation_bytes,
        model.dtype_policy.name,
    )


def layer_flop(layer: keras.layers.Layer) -> int:
    """FLOP of a layer per image: two for each multiplication with a weight or in attention.

    A layer that is a block of others says it itself by a method `flop(input_shape)`.
    """
    if hasattr(layer, "flop"):
        return int(layer.flop(layer.input.shape))
    if isinstance(layer, keras.Model):
        return sum(layer_flop(part) for part in layer.layers)
    if isinstance(layer, layers.MultiHeadAttention):
        return _attention_flop(layer)
    if isinstance(layer, layers.SeparableConv2D):
        depthwise, pointwise = layer.depthwise_kernel.shape, layer.pointwise_kernel.shape
        return 2 * _positions(layer.output) * (math.prod(depthwise) + math.prod(pointwise))
    kernel = getattr(layer, "kernel", None)
    if kernel is None or not hasattr(kernel, "shape"):
        return 0
    at = layer.input if isinstance(layer, layers.Conv2DTranspose) else layer.output
    return 2 * math.prod(kernel.shape) * _positions(at)


def _positions(tensor: Any) -> int:
    """How many pixels or tokens a tensor [B, ..., C] has per image."""
    return math.prod(int(n) for n in tensor.shape[1:-1])


def _attention_flop(layer: keras.layers.MultiHeadAttention) -> int:
    """Projections of query, key, value and output, and two products of queries with keys."""
    tensors = layer.input if isinstance(layer.input, list) else [layer.input]
    queries, keys = _positions(tensors[0]), _positions(tensors[-1])
    config = layer.get_config()
    value_dim = config["value_dim"] or config["key_dim"]
    per_query = config["key_dim"] * int(tensors[0].shape[-1]) + value_dim * int(
        layer.output.shape[-1]
    )
    per_key = (config["key_dim"] + value_dim) * int(tensors[-1].shape[-1])
    products = queries * keys * (config["key_dim"] + value_dim)
    return int(2 * config["num_heads"] * (queries * per_query + keys * per_key + products))


def _inputs(layer: keras.Operation) -> tuple[str, ...]:
    names: dict[str, None] = {}
    for node in layer._inbound_nodes[:1]:
        for tensor in node.input_tensors:
            before = tensor._keras_history.operation
            # Between layers, there may be bare operations.
            found = (before.name,) if isinstance(before, keras.layers.Layer) else _inputs(before)
            names |= dict.fromkeys(found)
    return tuple(names)


def summary_text(facts: ModelFacts, title: str) -> str:
    """All layers and the sums, as plain text."""
    rows = [("layer", "kind", "output", "parameters", "MFLOP", "after")]
    for layer in facts.layers:
        rows.append(
            (
                layer.name,
                layer.kind,
                " x ".join(map(str, layer.shape)),
                f"{layer.parameters:,}" if layer.parameters else "",
                f"{layer.flop / 1e6:,.2f}" if layer.flop else "",
                ", ".join(layer.inputs),
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    lines = [title, ""]
    for row in rows:
        left = (cell.ljust(width) for cell, width in zip(row[:3], widths[:3], strict=True))
        right = (cell.rjust(width) for cell, width in zip(row[3:5], widths[3:], strict=True))
        lines.append("  ".join((*left, *right, row[5])).rstrip())
    return "\n".join([*lines, "", *totals(facts)]) + "\n"


def totals(facts: ModelFacts) -> list[str]:
    """The sums in words, one line each."""
    return [
        f"parameters: {facts.parameters:,} ({facts.trainable:,} trained)",
        f"compute: {facts.flop / 1e9:,.3f} GFLOP per image (convolutions, dense layers, attention)",
        f"activations: {facts.activation_bytes / 2**20:,.1f} MiB per image in training "
        f"({facts.precision})",
    ]


def draw_graph(model: keras.Model, path: Path) -> None:
    """Draw the graph of layers with their shapes as a PNG.

    Raises
    ------
    ResourceError : pydot or the program graphviz is not installed.
    """
    try:
        with whole(path) as part:
            keras.utils.plot_model(model, str(part), show_shapes=True, dpi=72)
            set_aside(path)
    except ImportError:
        raise ResourceError(
            "The graph was not drawn: that needs the program graphviz and the package pydot.",
            "Install graphviz (https://graphviz.org/download) and pydot: "
            f"{pip_install('inspect')}; the table shows the same.",
            str(path),
        ) from None
