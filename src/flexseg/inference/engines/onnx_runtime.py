"""ONNX Runtime: on a CPU faster than Keras, and there for every processor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

MODEL = "model.onnx"
PACKAGES = ("onnxruntime", "tf2onnx", "keras", "tensorflow")
# The first that has GELU's error function, and layer normalisation, as one operation.
_OPSET = 18


def write(function: Any, images: Any, folder: Path) -> None:
    """Convert a TensorFlow function of `images` (a TensorSpec) into `folder`."""
    import tf2onnx

    _teach_erfc()
    tf2onnx.convert.from_function(
        function, input_signature=[images], opset=_OPSET, output_path=str(folder / MODEL)
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
    folder : of the converted network.
    """

    name = "onnx"
    precision = "f32"

    def __init__(self, folder: Path) -> None:
        import onnxruntime

        onnxruntime.disable_telemetry_events()
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            str(folder / MODEL), options, providers=["CPUExecutionProvider"]
        )
        self._input = self._session.get_inputs()[0].name

    def predict(self, batch: NDArray) -> NDArray[np.float32]:
        """Prepared images [B, h, w, C] to probabilities [B, h, w, classes]."""
        return np.asarray(
            self._session.run(None, {self._input: np.asarray(batch, np.float32)})[0], np.float32
        )
