"""Deep supervision: losses on the stages of the decoder, not on its end alone (Lee 2015)."""

from __future__ import annotations

import re
from typing import Any, Literal

import keras

from flexseg.backend import Tensor
from flexseg.config.model import ModelConfig
from flexseg.errors import ConfigError
from flexseg.models.architecture import MODELS
from flexseg.models.layers import segmentation_head

Wanted = bool | Literal["auto"]


class DeeplySupervised(keras.Model):
    """A network with further outputs that only training sees.

    Its outputs are [B, H, W, C] probabilities, the network's own one first. The training loss
    is the weighted mean over the outputs with the weights 1, 1/2, 1/4, ... (Isensee 2021,
    nnU-Net, where the coarsest has weight 0); the loss of a validation and all metrics are those
    of the first output.
    """

    def compute_loss(
        self,
        x: Tensor = None,
        y: Tensor = None,
        y_pred: Tensor = None,
        sample_weight: Tensor = None,
        training: bool = True,
    ) -> Any:
        """The loss of one batch, a scalar; `y` are class ids [B, H, W]."""
        outputs = y_pred if training else y_pred[:1]
        total = sum(0.5**i for i in range(len(outputs)))
        return sum(
            0.5**i / total * super(DeeplySupervised, self).compute_loss(x, y, p, sample_weight)
            for i, p in enumerate(outputs)
        )

    def compute_metrics(
        self, x: Tensor, y: Tensor, y_pred: Tensor, sample_weight: Tensor = None
    ) -> Tensor:
        """Metric name -> value so far."""
        return super().compute_metrics(x, y, y_pred[0], sample_weight)


def wants_supervision(name: str, wanted: Wanted) -> bool:
    """Whether a network is trained with deep supervision.

    Parameters
    ----------
    name : of the network.
    wanted : `[train] deep_supervision`.

    Raises
    ------
    ConfigError : it is wanted for a network of the registry that has no stages to supervise.
    """
    if ":" in name:
        return wanted is True
    has_stages = MODELS.get(name).deep_supervision
    if wanted is True and not has_stages:
        able = ", ".join(n for n in MODELS if MODELS.get(n).deep_supervision)
        raise ConfigError(
            f"{name} is not made for deep supervision.",
            f"Leave deep_supervision out, or choose one of {able}.",
            "[train] deep_supervision",
        )
    return has_stages and wanted is not False


def supervised(model: keras.Model, config: ModelConfig, wanted: Wanted) -> keras.Model:
    """The network that training runs on; it shares all layers with `model`.

    The layers `decoder_0`, `decoder_1`, ... are the stages of the decoder, finest first. The
    network's own head follows `decoder_0`; each of the others gets a head of its own: a 1 x 1
    convolution to class scores, enlarged bilinearly to the resolution of `decoder_0`.

    Parameters
    ----------
    config : of the network.
    wanted : `[train] deep_supervision`.

    Raises
    ------
    ConfigError : supervision is wanted, and there are no such layers.
    """
    if not wants_supervision(config.model, wanted):
        return model
    stages = {
        int(layer.name.removeprefix("decoder_")): layer.output
        for layer in model.layers
        if re.fullmatch(r"decoder_\d+", layer.name)
    }
    if 0 not in stages or len(stages) < 2:
        if wanted == "auto":
            return model
        raise ConfigError(
            f"{config.model} has no layers called decoder_0 and decoder_1.",
            "Give the stages of the decoder these names, finest first, or leave deep_supervision "
            "out.",
            "[train] deep_supervision",
        )
    finest = stages.pop(0)
    outputs = [model.output]
    for stage in sorted(stages):
        x = stages[stage]
        factor = (finest.shape[1] // x.shape[1], finest.shape[2] // x.shape[2])
        outputs.append(segmentation_head(x, config, factor=factor, name=f"supervised_{stage}"))
    return DeeplySupervised(model.input, outputs, name=model.name)
