"""A network made ready to train: optimizer, loss, metrics."""

from __future__ import annotations

import keras

from flexseg import backend
from flexseg.config.model import ModelConfig
from flexseg.losses import DICE, LabelMetric, keras_loss, keras_metric
from flexseg.models.optimizers import make_optimizer
from flexseg.training.case_dice import CaseDice
from flexseg.training.supervision import DeeplySupervised


def compile_model(
    model: keras.Model,
    config: ModelConfig,
    ema: float = 0.0,
    *,
    ignoring: bool = False,
    case_dice: CaseDice | None = None,
) -> None:
    """Give a network its optimizer, loss and metrics by name.

    Parameters
    ----------
    ema : see `make_optimizer`.
    ignoring : see `flexseg.losses.on_labels`. The loss that is told is then the mean over all
        pixels that count, where Keras' own would be that over batches, also those without any.
    case_dice : takes the place of the metric `dice`, else that of the images of each batch.
    """
    channels = config.num_classes

    def metric(name: str) -> keras.metrics.Metric:
        if name == DICE and case_dice is not None:
            return case_dice
        return keras_metric(name, channels, ignoring=ignoring)

    metrics = [metric(name) for name in config.metrics]
    if ignoring:
        # The value of a metric takes the place of Keras' own mean of the same name.
        metrics.append(LabelMetric(config.loss, ignoring, name="loss"))
    model.compile(
        optimizer=make_optimizer(config, ema),
        loss=keras_loss(config.loss, channels, ignoring=ignoring),
        metrics=metrics,
        jit_compile=backend.compiles_ahead(),
    )
    # Their variables must exist before a checkpoint can be restored into them (with float16 the
    # optimizer is not the one above but Keras' loss scaling around it).
    model.optimizer.build(model.trainable_variables)
    _build_scores(model)


def _build_scores(model: keras.Model) -> None:
    """Let loss and metrics make their variables, which they do with the first batch."""
    outputs = [keras.ops.zeros((1, *output.shape[1:])) for output in model.outputs]
    predicted = outputs if isinstance(model, DeeplySupervised) else outputs[0]
    image = keras.ops.zeros((1, *model.input_shape[1:]))
    labels = keras.ops.zeros((1, *model.input_shape[1:3]), "uint8")
    model.compute_loss(image, labels, predicted)
    model.compute_metrics(image, labels, predicted)
    model.reset_metrics()
