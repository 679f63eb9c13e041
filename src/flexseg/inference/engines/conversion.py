"""A Keras network in the formats of other engines, converted by TensorFlow.

TensorFlow's graphs are what both converters know best. Where Keras runs on JAX or PyTorch, the
conversion is done once in a process of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from flexseg.errors import FlexsegError
from flexseg.execution.child_processes import end_with_input
from flexseg.models.build import build_model
from flexseg.models.package import ModelPackage

# Probabilities that differ by more than this in float32 are those of another network.
_TOLERANCE = 1e-3


class ConversionError(Exception):
    """A network cannot be converted; the text says why."""


# Opens what was written and predicts: (folder, images [B, h, w, C]) to [B, h, w, classes].
Answer = Callable[[Path, NDArray[np.float32]], NDArray[np.float32]]


def convert(package: ModelPackage, engine: str, folder: Path) -> None:
    """Write a package's network in float32 into `folder`, in the format of an engine.

    What was written must answer as Keras does, else it is refused.

    Raises
    ------
    ConversionError : it cannot be converted, or answers differently.
    OSError : the folder cannot be written to.
    """
    if keras.backend.backend() == "tensorflow":
        _convert_here(package, engine, folder)
    elif ":" in package.config.model:
        raise ConversionError("networks of one's own are converted only under TensorFlow")
    elif find_spec("tensorflow") is None:
        raise ConversionError("the conversion needs TensorFlow")
    else:
        _convert_in_tensorflow(package, engine, folder)


def _convert_here(package: ModelPackage, engine: str, folder: Path) -> None:
    import tensorflow as tf

    write, answer = _engine(engine)
    model = float32_copy(package)
    shape = (None, *model.input_shape[1:])
    images = tf.TensorSpec(shape, tf.float32, name="images")
    function = tf.function(
        lambda images: model(images, training=False), input_signature=[images], autograph=False
    )
    x = _probe(shape[1:])
    expected = np.asarray(function(x))
    try:
        write(function, images, folder)
        found = answer(folder, x)
    except (FlexsegError, OSError):
        raise
    except Exception as error:  # converters raise whatever they stumble on
        raise ConversionError(reason(error)) from error
    difference = float(np.abs(found - expected).max()) if found.shape == expected.shape else np.nan
    if not difference <= _TOLERANCE:
        raise ConversionError(f"its probabilities would differ by {difference:.2g}")


def reason(error: Exception) -> str:
    """What an error says, in one line; native libraries begin with places in their sources."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {(lines or [''])[-1][:300]}"


def _engine(name: str) -> tuple[Callable[[Any, Any, Path], None], Answer]:
    """How to write a TensorFlow function for an engine, and to ask it."""
    if name == "openvino":
        from flexseg.inference.engines import openvino_cpu as openvino

        return openvino.write, lambda folder, x: openvino.OpenVinoEngine(folder, "f32").predict(x)
    from flexseg.inference.engines import onnx_runtime as onnx

    return onnx.write, lambda folder, x: onnx.OnnxEngine(folder).predict(x)


def _probe(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """An image [1, h, w, C] of all values 0..255, whose areas are larger than a pixel."""
    rng = np.random.default_rng(0)
    coarse = rng.uniform(0, 255, (8, 8, shape[-1]))
    rows, columns = (np.arange(side) * 8 // side for side in shape[:2])
    image = coarse[rows[:, None], columns] + rng.uniform(-8, 8, shape)
    return np.clip(image, 0, 255).astype(np.float32)[None]


def float32_copy(package: ModelPackage) -> keras.Model:
    """The network of a package computing in float32: itself, or a copy."""
    if all(layer.compute_dtype in ("float32", None) for layer in package.model.layers):
        return package.model
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        copy = build_model(package.config)
    finally:
        keras.config.set_dtype_policy(before)
    copy.set_weights(package.model.get_weights())
    return copy


def _convert_in_tensorflow(package: ModelPackage, engine: str, folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        file = Path(temporary) / "model.h5"
        package.save(file, {})
        line = [sys.executable, "-m", __name__, str(file), engine, str(folder)]
        environment = {
            **os.environ,
            "KERAS_BACKEND": "tensorflow",
            "CUDA_VISIBLE_DEVICES": "-1",
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "PYTHONIOENCODING": "utf-8",
        }
        log = Path(temporary) / "errors.txt"
        with (
            log.open("wb") as errors,
            subprocess.Popen(  # noqa: S603 - this very program
                line,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=errors,
            ) as process,
        ):
            code = process.wait()
        told = log.read_text(encoding="utf-8", errors="replace")
    if code:
        lines = told.strip().splitlines() or ["it failed without a word"]
        raise ConversionError(lines[-1][:300])


def _main() -> None:
    end_with_input()
    file, engine, folder = sys.argv[1:]
    keras.config.set_dtype_policy("float32")
    try:
        _convert_here(ModelPackage.load(Path(file)), engine, Path(folder))
    except ConversionError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    _main()
