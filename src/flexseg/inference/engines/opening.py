"""What computes the network: Keras, or a faster engine that its network is converted for.

On an accelerator Keras is the engine. On a CPU OpenVINO is taken if it is installed, else ONNX
Runtime, else Keras. A network that cannot be converted stays with Keras, and the log says why.
"""

from __future__ import annotations

import logging
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from flexseg import backend
from flexseg.errors import ConfigError
from flexseg.inference.engines.conversion import ConversionError, convert, reason
from flexseg.inference.engines.converted_cache import EngineCache, file_hash
from flexseg.inference.engines.quantized import quantized_file
from flexseg.models.package import ModelPackage

logger = logging.getLogger(__name__)

EngineName = Literal["keras", "openvino", "onnx"]
# By speed on a CPU, and the modules that each needs.
_MODULES: dict[EngineName, tuple[str, ...]] = {
    "openvino": ("openvino",),
    "onnx": ("onnxruntime", "tf2onnx"),
}


class Engine(Protocol):
    """Computes a network.

    Attributes
    ----------
    name : as `[infer] engine` names it.
    precision : of its arithmetic: "f32", "bf16", "int8", or Keras' name of the type.
    """

    name: str
    precision: str

    def predict(self, batch: NDArray) -> NDArray[np.float32]:
        """Prepared images [B, h, w, C] to probabilities [B, h, w, classes]."""
        ...


class KerasEngine:
    """The network as it is."""

    name = "keras"

    def __init__(self, package: ModelPackage) -> None:
        self._model = package.model
        self.precision = str(getattr(package.model, "compute_dtype", "float32"))

    def predict(self, batch: NDArray) -> NDArray[np.float32]:
        """Prepared images [B, h, w, C] to probabilities [B, h, w, classes]."""
        return np.asarray(self._model.predict_on_batch(batch), np.float32)


def installed(name: EngineName) -> bool:
    """Whether an engine and what converts networks for it are there."""
    return all(find_spec(module) is not None for module in _MODULES.get(name, ()))


def choose(setting: str) -> EngineName:
    """The engine that `[infer] engine` means on this machine.

    Raises
    ------
    ConfigError : it is not installed.
    """
    if setting == "auto":
        if backend.accelerator() is not None:
            return "keras"
        return next((name for name in _MODULES if installed(name)), "keras")
    name: EngineName = "keras"
    for known in _MODULES:
        if setting == known:
            name = known
    if not installed(name):
        raise ConfigError(
            f"The engine {name} is not installed.",
            f"Install it: pip install 'flexseg[{name}]', or set engine = \"auto\".",
            "[infer] engine",
        )
    return name


def open_engine(
    package: ModelPackage,
    file: Path,
    *,
    setting: str = "auto",
    precision: str = "auto",
    int8: bool = False,
) -> Engine:
    """The engine for a package.

    Parameters
    ----------
    file : that the package was read from; its content names the converted network in the cache.
    setting : `[infer] engine`.
    precision : `[train] precision`. OpenVINO computes in bfloat16 where the CPU does, unless
        this is "float32"; ONNX Runtime always in float32.
    int8 : take the network that `flexseg quantize --keep` has left.

    Raises
    ------
    ConfigError : the engine is not installed, or there is no int8 network.
    """
    if int8:
        return _quantized(file, setting, precision)
    name = choose(setting)
    if name == "keras":
        return KerasEngine(package)
    try:
        return _converted(package, file, name, precision)
    except ConfigError:  # of the cache's size
        raise
    except Exception as error:  # native libraries raise whatever they stumble on
        why = str(error) if isinstance(error, ConversionError) else reason(error)
        logger.warning(
            "%s cannot compute this network (%s); Keras does, which is slower.", name, why
        )
        logger.debug("%s", name, exc_info=True)
        return KerasEngine(package)


def _converted(package: ModelPackage, file: Path, name: str, precision: str) -> Engine:
    cache = _cache(package, file, name)
    # The code of a user's own network is no part of the key: it is converted each time.
    own = ":" in package.config.model
    if (found := cache.find()) is not None:
        if not own:
            try:
                return _opened(found, name, precision)
            except Exception as error:  # see `open_engine`
                logger.debug("%s is damaged: %s", found, error)
        cache.drop(found)
    logger.info("Converting the network for %s; the next start finds it in the cache.", name)
    return _opened(cache.keep(lambda folder: convert(package, name, folder)), name, precision)


def _cache(package: ModelPackage, file: Path, name: str) -> EngineCache:
    from flexseg.inference.engines import onnx_runtime as engine_onnx
    from flexseg.inference.engines import openvino_cpu as engine_openvino

    packages = (engine_openvino if name == "openvino" else engine_onnx).PACKAGES
    return EngineCache(file, package, name, packages)


def _opened(folder: Path, name: str, precision: str) -> Engine:
    if name == "onnx":
        from flexseg.inference.engines.onnx_runtime import OnnxEngine

        return OnnxEngine(folder)
    from flexseg.inference.engines.openvino_cpu import OpenVinoEngine

    return OpenVinoEngine(folder, openvino_precision(precision))


def openvino_precision(setting: str) -> str:
    """What OpenVINO computes in, by `[train] precision`."""
    from flexseg.inference.engines.openvino_cpu import has_bfloat16

    return "f32" if setting == "float32" or not has_bfloat16() else "bf16"


def _quantized(file: Path, setting: str, precision: str) -> Engine:
    if setting not in ("auto", "openvino"):
        raise ConfigError(
            f'int8 is computed by OpenVINO, but engine = "{setting}".',
            'Set engine = "auto", or int8 = false.',
            "[infer] int8",
        )
    choose("openvino")
    from flexseg.inference.engines.openvino_cpu import OpenVinoEngine

    model = quantized_file(file, file_hash(file))
    return OpenVinoEngine(None, openvino_precision(precision), model, "int8")
