"""A network made of Keras' own layers alone, so that its file opens without flexseg."""

from __future__ import annotations

import json

import keras
import numpy as np

from flexseg.errors import ConfigError
from flexseg.models.convolution import Conv2D, Conv2DTranspose
from flexseg.models.dropout import Dropout
from flexseg.models.encoders import ImageNormalization
from flexseg.models.layers import EPSILON, Standardize, leaky_relu_001
from flexseg.models.normalization import BatchNormalization

# Layers that give what those of Keras give.
_SAME: dict[type, type[keras.layers.Layer]] = {
    BatchNormalization: keras.layers.BatchNormalization,
    Conv2D: keras.layers.Conv2D,
    Conv2DTranspose: keras.layers.Conv2DTranspose,
    Dropout: keras.layers.Dropout,
}


def plain_copy(model: keras.Model) -> keras.Model:
    """A copy of a network, with the same weights and the same answers.

    Parameters
    ----------
    model : images [N, h, w, C] to probabilities, which computes in float32.

    Raises
    ------
    ConfigError : it has layers for which Keras has none.
    """
    copy = keras.models.clone_model(model, clone_function=_plain)
    for own, new in zip(model.layers, copy.layers, strict=True):
        if new.weights:
            new.set_weights(own.get_weights())
    others = _names(json.dumps(keras.saving.serialize_keras_object(copy)))
    if others:
        raise ConfigError(
            f"The network has layers that Keras itself does not have: {', '.join(others)}.",
            "Export to another format: --to saved-model, or --to onnx.",
            "--to keras",
        )
    return copy


def _plain(layer: keras.layers.Layer | keras.Operation) -> keras.layers.Layer | keras.Operation:
    keys = {"name": layer.name, "dtype": "float32"}
    if type(layer) in _SAME:
        return _SAME[type(layer)].from_config(layer.get_config())
    if isinstance(layer, Standardize):
        axes = [1, 2] if layer.per_channel else [1, 2, 3]
        return keras.layers.LayerNormalization(axes, EPSILON, False, False, **keys)
    if isinstance(layer, ImageNormalization):
        mean, variance = (keras.ops.convert_to_numpy(x) for x in (layer.mean, layer.variance))
        scale = np.array(layer.factor) / np.maximum(np.sqrt(variance), keras.config.epsilon())
        return keras.layers.Rescaling(scale.tolist(), (-mean * scale).tolist(), **keys)
    if isinstance(layer, keras.layers.Activation) and layer.activation is leaky_relu_001:
        return keras.layers.LeakyReLU(0.01, **keys)
    return layer.__class__.from_config(layer.get_config())


def _names(config: str) -> list[str]:
    """What a file would need beside Keras, in the order of the alphabet."""
    found = set()

    def look(value: object) -> None:
        if isinstance(value, dict):
            if value.get("registered_name") and not str(value.get("module")).startswith("keras"):
                inner = value["config"]  # of a function its name
                found.add(inner if isinstance(inner, str) else str(value["class_name"]))
            for one in value.values():
                look(one)
        elif isinstance(value, list):
            for one in value:
                look(one)

    look(json.loads(config))
    return sorted(found)
