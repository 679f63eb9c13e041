"""A Keras network in the formats of other engines, converted by TensorFlow where it is installed.

TensorFlow's graphs are what both converters know best. Where Keras runs on JAX or PyTorch, or on a
GPU, the conversion is done in a process of its own. Without TensorFlow, PyTorch writes ONNX itself.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from flexseg import backend
from flexseg.errors import FlexsegError
from flexseg.execution.child_processes import end_with
from flexseg.processes import ProcessMark

if TYPE_CHECKING:
    import keras

    from flexseg.models.package import ModelPackage

# Probabilities that differ by more than this in float32 are those of another network.
TOLERANCE = 1e-3


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
    if (missing := missing_for(engine)) is not None:
        raise ConversionError(f"{missing} is not installed")
    on_cpu = backend.running() == "tensorflow" and backend.accelerator() is None
    if on_cpu or find_spec("tensorflow") is None:
        _convert_here(package, engine, folder)
    elif ":" in package.config.model:
        raise ConversionError("networks of your own are converted only by TensorFlow on a CPU")
    else:
        _convert_in_tensorflow(package, engine, folder)


def missing_for(engine: str) -> str | None:
    """What the conversion for an engine takes beside Keras and is not installed here."""
    tensorflow = find_spec("tensorflow") is not None
    if not tensorflow and (backend.running() != "torch" or engine != "onnx"):
        return "TensorFlow, which converts networks,"
    needed = "tf2onnx" if tensorflow else "onnx"
    return needed if engine == "onnx" and find_spec(needed) is None else None


def _convert_here(package: ModelPackage, engine: str, folder: Path) -> None:
    import keras

    write, answer = _engine(engine)
    model = float32_copy(package)
    x = probe(model.input_shape[1:])
    expected = keras.ops.convert_to_numpy(model(x, training=False))
    try:
        with silenced():
            write(model, folder)
        found = answer(folder, x)
    except (FlexsegError, OSError):
        raise
    except Exception as error:  # converters raise whatever they stumble on
        raise ConversionError(reason(error)) from error
    difference = float(np.abs(found - expected).max()) if found.shape == expected.shape else np.nan
    if not difference <= TOLERANCE:
        raise ConversionError(f"its probabilities would differ by {difference:.2g}")


def reason(error: Exception) -> str:
    """What an error says, in one line; native libraries begin with places in their sources."""
    if isinstance(error, ConversionError):
        return str(error)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {(lines or [''])[-1][:300]}"


@contextmanager
def silenced() -> Iterator[None]:
    """Converters print, and warn, of what nobody can act on."""
    nowhere = io.StringIO()
    with redirect_stdout(nowhere), redirect_stderr(nowhere), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _engine(name: str) -> tuple[Callable[[keras.Model, Path], None], Answer]:
    """How to write a network for an engine, and to ask it."""
    if name == "openvino":
        from flexseg.inference.engines import openvino_cpu as openvino

        return openvino.write, lambda folder, x: openvino.OpenVinoEngine(folder, "f32").predict(x)
    from flexseg.inference.engines import onnx_runtime as onnx

    return onnx.write, lambda folder, x: onnx.OnnxEngine(folder / onnx.MODEL).predict(x)


def probe(shape: tuple[int, ...]) -> NDArray[np.float32]:
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
    import keras

    from flexseg.models.build import build_model

    with backend.same_dtype_policy():
        keras.config.set_dtype_policy("float32")
        copy = build_model(package.config)
    copy.set_weights(package.model.get_weights())
    return copy


def _convert_in_tensorflow(package: ModelPackage, engine: str, folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        file = Path(temporary) / "model.h5"
        package.save(file, {})
        own = str(ProcessMark.own())
        line = [sys.executable, "-m", __name__, own, str(file), engine, str(folder)]
        environment = {
            **os.environ,
            "KERAS_BACKEND": "tensorflow",
            "CUDA_VISIBLE_DEVICES": "-1",
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "PYTHONIOENCODING": "utf-8",
        }
        log = Path(temporary) / "errors.txt"
        with log.open("wb") as errors:
            code = subprocess.run(  # noqa: S603 - this very program
                line,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                check=False,
            ).returncode
        told = log.read_text(encoding="utf-8", errors="replace")
    if code:
        lines = told.strip().splitlines() or ["it failed without a message"]
        raise ConversionError(lines[-1][:300])


def _main() -> None:
    parent, file, engine, folder = sys.argv[1:]
    if (mark := ProcessMark.parse(parent)) is not None:
        end_with(mark)
    import keras

    from flexseg.models.package import ModelPackage

    keras.config.set_dtype_policy("float32")
    try:
        _convert_here(ModelPackage.load(Path(file)), engine, Path(folder))
    except ConversionError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    _main()
