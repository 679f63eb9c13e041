"""ONNX Runtime: on a CPU faster than Keras, and there for every processor."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from flexseg.machine import allowed_threads

if TYPE_CHECKING:
    import keras

MODEL = "model.onnx"
PACKAGES = ("onnxruntime", "tf2onnx", "keras", "tensorflow")
# The first that has GELU's error function, and layer normalisation, as one operation.
_OPSET = 18
_TYPES = {
    "tensor(float)": np.float32,
    "tensor(uint8)": np.uint8,
    "tensor(uint16)": np.uint16,
}


def write(model: keras.Model, folder: Path) -> None:
    """Convert a network in float32 into `folder`, by Keras' own export."""
    import keras

    if keras.backend.backend() == "tensorflow":
        _teach_erfc()
    shape = (None, *model.input_shape[1:])
    images = keras.InputSpec(shape=shape, dtype="float32", name="images")
    model.export(
        str(folder / MODEL),
        format="onnx",
        verbose=False,
        input_signature=[images],
        opset_version=_OPSET,
    )


def _teach_erfc() -> None:
    """The complementary error function, by which Keras computes GELU, as 1 - erf."""
    from tf2onnx.handler import tf_op

    @tf_op("Erfc")
    class _Erfc:
        @classmethod
        def version_9(cls, ctx: Any, node: Any, **kwargs: Any) -> None:
            shape, dtype = ctx.get_shape(node.output[0]), ctx.get_dtype(node.output[0])
            erf = ctx.make_node("Erf", node.input, shapes=[shape], dtypes=[dtype])
            one = ctx.make_const(f"{node.name}_one", np.ones((), np.float32))
            inputs, outputs = [one.output[0], erf.output[0]], node.output
            ctx.remove_node(node.name)
            ctx.make_node("Sub", inputs, outputs=outputs, shapes=[shape], dtypes=[dtype])


class OnnxEngine:
    """A converted network in float32 on this CPU.

    Parameters
    ----------
    model : file of the network.
    output : that it gives; None: the first.
    """

    name = "onnx"
    precision = "f32"

    def __init__(self, model: Path, output: str | None = None) -> None:
        import onnxruntime

        onnxruntime.disable_telemetry_events()
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = allowed_threads() or 0
        self._session = onnxruntime.InferenceSession(
            str(model), options, providers=["CPUExecutionProvider"]
        )
        given = self._session.get_inputs()[0]
        self._input, self._dtype = given.name, _TYPES[given.type]
        self._output = output or self._session.get_outputs()[0].name

    def predict(self, batch: NDArray) -> NDArray[np.float32]:
        """Prepared images [B, h, w, C] to probabilities [B, h, w, classes]."""
        images = {self._input: np.asarray(batch, self._dtype)}
        return np.asarray(self._session.run([self._output], images)[0], np.float32)
