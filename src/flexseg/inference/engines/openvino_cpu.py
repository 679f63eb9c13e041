"""OpenVINO: the fastest engine on a CPU."""

from __future__ import annotations

import errno
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from flexseg.machine import allowed_threads

if TYPE_CHECKING:
    import keras

MODEL = "model.xml"
# Their versions decide what a converted network looks like.
PACKAGES = ("openvino", "keras", "tensorflow")


def silence() -> None:
    """No word to anyone: OpenVINO's converter reports its use to its makers unless told not to."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]


def has_bfloat16() -> bool:
    """Whether this CPU computes in bfloat16."""
    silence()
    import openvino

    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def write(model: keras.Model, folder: Path) -> None:
    """Convert a network in float32, which TensorFlow computes, into `folder`."""
    silence()
    import openvino
    import tensorflow as tf

    images = tf.TensorSpec((None, *model.input_shape[1:]), tf.float32, name="images")
    function = tf.function(
        lambda images: model(images, training=False), input_signature=[images], autograph=False
    )
    save(openvino.convert_model(function.get_concrete_function()), folder / MODEL)


def save(model: Any, file: Path) -> None:
    """Write an OpenVINO network, `*.xml` and `*.bin`, with its weights as they are.

    Raises
    ------
    OSError : it cannot be written.
    """
    import openvino

    try:
        openvino.save_model(model, file, compress_to_fp16=False)
    except RuntimeError as error:
        raise OSError(errno.EIO, str(error), str(file)) from None


class OpenVinoEngine:
    """A converted network, compiled for this CPU.

    Parameters
    ----------
    folder : of the converted network; the compiled one is kept there too. None: `model` is not
        to be kept in compiled form.
    precision : "f32" or "bf16"; what an int8 network leaves in floating point is computed in it.
    model : file of the network; without it that of `folder`.
    name_of_precision : as results shall call it, where `precision` says not all.
    """

    name = "openvino"

    def __init__(
        self,
        folder: Path | None,
        precision: str,
        model: Path | None = None,
        name_of_precision: str | None = None,
    ) -> None:
        silence()
        import openvino

        settings: dict[str, str | int] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": precision,
        }
        if (threads := allowed_threads()) is not None:
            settings["INFERENCE_NUM_THREADS"] = threads
        if folder is not None:
            model = model or folder / MODEL
            settings["CACHE_DIR"] = str(folder)
            # The weights are there already: the cache need not hold them again.
            settings["CACHE_MODE"] = "OPTIMIZE_SIZE"
        self.precision = name_of_precision or precision
        self._compiled = openvino.Core().compile_model(model, "CPU", settings)

    def predict(self, batch: NDArray) -> NDArray[np.float32]:
        """Prepared images [B, h, w, C] to probabilities [B, h, w, classes]."""
        return np.asarray(self._compiled(np.asarray(batch, np.float32))[0], np.float32)
