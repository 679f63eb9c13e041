"""TensorFlow's SavedModel: a folder that TensorFlow, its server and its converters read."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
from numpy.typing import NDArray

from flexseg.export.artefacts.artefact_format import Artefact, ArtefactFormat, write_facts
from flexseg.export.whole_graph import IMAGES, LABELS, PROBABILITIES
from flexseg.model_file.export_description import ExportDescription

if TYPE_CHECKING:
    import tensorflow as tf

    from flexseg.export.tensorflow_weights import Weights

MODEL = "saved_model"
# Where programs look for what a model does.
SIGNATURE = "serving_default"


def _write(graph: Path, folder: Path, description: ExportDescription) -> None:
    import tensorflow as tf

    from flexseg.export.tensorflow_weights import Weights

    module = tf.Module()
    module.weights = Weights()
    module.predict = in_tensorflow(onnx.load(graph), weights=module.weights)
    tf.saved_model.save(module, str(folder / MODEL), signatures={SIGNATURE: module.predict})
    write_facts(folder, description)


def in_tensorflow(
    model: onnx.ModelProto,
    shape: Sequence[int] | None = None,
    weights: Weights | None = None,
) -> tf.types.experimental.PolymorphicFunction:
    """A graph in ONNX as a function of TensorFlow, which gives a dictionary.

    Parameters
    ----------
    shape : of the images; None: any that the graph takes.
    weights : what holds large constants, and is saved with the function; None: the function does.

    Raises
    ------
    ConfigError : when it is called, see `onnx_in_tensorflow.outputs`.
    """
    import tensorflow as tf

    from flexseg.export.onnx_in_tensorflow import outputs

    (given,) = model.graph.input
    kind = given.type.tensor_type
    sizes: Sequence[int | None] = shape or [size.dim_value or None for size in kind.shape.dim]
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)

    @tf.function(input_signature=[tf.TensorSpec(sizes, dtype, name=IMAGES)], autograph=False)
    def predict(images: tf.Tensor) -> dict[str, tf.Tensor]:
        with nullcontext() if weights is None else weights.used():
            return outputs(model, {IMAGES: images})

    return predict


def _open(folder: Path) -> Artefact:
    import tensorflow as tf

    model = tf.saved_model.load(str(folder / MODEL))
    predict = model.signatures[SIGNATURE]

    def run(images: NDArray) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        found = predict(images=tf.constant(images))
        return found[LABELS].numpy(), found[PROBABILITIES].numpy()

    return run


SAVED_MODEL = ArtefactFormat(
    "tensorflow", "tensorflow", MODEL, _write, _open, "with_saved_model.py"
)
