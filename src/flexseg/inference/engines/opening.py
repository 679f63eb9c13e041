"""What computes the network: Keras, or a faster engine that its network is converted for.

On an accelerator Keras is the engine. On a CPU OpenVINO is taken if it is installed, else ONNX
Runtime, else Keras. They read the ONNX file beside the package; where there is none the network is
converted, and one that cannot be stays with Keras, and the log says why. Only then is Keras needed.
"""

from __future__ import annotations

import logging
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from flexseg import backend
from flexseg.errors import ConfigError, DataError
from flexseg.inference.engines.conversion import convert, reason
from flexseg.inference.engines.converted_cache import EngineCache, file_hash
from flexseg.inference.engines.quantized import quantized_file
from flexseg.machine import pip_install, typed
from flexseg.model_file.model_description import ModelDescription
from flexseg.model_file.onnx_file import is_of, onnx_file

if TYPE_CHECKING:
    from flexseg.models.package import ModelPackage

logger = logging.getLogger(__name__)

EngineName = Literal["keras", "openvino", "onnx"]
# By speed on a CPU, and the module of each.
_MODULES: dict[EngineName, str] = {"openvino": "openvino", "onnx": "onnxruntime"}


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

    @classmethod
    def of(cls, package: ModelDescription) -> KerasEngine:
        """The network of a package that holds it."""
        return cls(cast("ModelPackage", package))

    def predict(self, batch: NDArray) -> NDArray[np.float32]:
        """Prepared images [B, h, w, C] to probabilities [B, h, w, classes]."""
        return np.asarray(self._model.predict_on_batch(batch), np.float32)


def load_network(
    package: ModelDescription, file: Path, precision: str = "auto", search: Path | None = None
) -> ModelPackage:
    """The network of a package in Keras: itself where the package holds it.

    Parameters
    ----------
    file : that the package was read from.
    precision : see `[train] precision`.
    search : see `build_model`.

    Raises
    ------
    ConfigError : Keras, or an engine for it, is not installed.
    DataError : the file is of another network.
    """
    backend.select()
    from flexseg.models.package import ModelPackage

    if isinstance(package, ModelPackage):
        return package
    backend.prepare(precision)
    return ModelPackage.of_file(package, file, search)


def installed(name: EngineName) -> bool:
    """Whether an engine is there."""
    if name == "keras":
        return bool(backend.installed())
    return find_spec(_MODULES[name]) is not None


def choose(setting: str) -> EngineName:
    """The engine that `[infer] engine` means on this machine.

    Raises
    ------
    ConfigError : it is not installed.
    """
    if setting == "auto":
        if installed("keras") and backend.select() and backend.accelerator() is not None:
            return "keras"
        return next((name for name in _MODULES if installed(name)), "keras")
    name: EngineName = "keras"
    for known in _MODULES:
        if setting == known:
            name = known
    if name != "keras" and not installed(name):
        raise ConfigError(
            f"The engine {name} is not installed.",
            f'Install it: {pip_install(name)}, or set engine = "auto".',
            "[infer] engine",
        )
    return name


def open_engine(
    package: ModelDescription,
    file: Path,
    *,
    search: Path | None = None,
    setting: str = "auto",
    precision: str = "auto",
    int8: bool = False,
) -> Engine:
    """The engine for a package.

    Parameters
    ----------
    file : that the package was read from; its content names the converted network in the cache.
    search : see `build_model`.
    setting : `[infer] engine`.
    precision : `[train] precision`. OpenVINO computes in bfloat16 where the CPU does, unless
        this is "float32"; ONNX Runtime always in float32.
    int8 : take the network that `flexseg quantize --keep` has left.

    Raises
    ------
    ConfigError : the engine is not installed, there is no int8 network, or only Keras can compute
        the network, and is not installed.
    """
    if int8:
        return _quantized(file, setting, precision)
    name = choose(setting)
    if name != "keras" and (engine := _of_onnx_file(file, name, precision)) is not None:
        return engine
    if not installed("keras"):
        raise _needs_keras(file, name)
    network = load_network(package, file, precision, search)
    if name == "keras":
        return KerasEngine(network)
    try:
        return _converted(network, file, name, precision)
    except ConfigError:  # of the cache's size
        raise
    except Exception as error:  # native libraries raise whatever they stumble on
        logger.warning(
            "%s cannot compute this network (%s); Keras does, which is slower.",
            name,
            reason(error),
        )
        logger.debug("%s", name, exc_info=True)
        return KerasEngine(network)


def _of_onnx_file(file: Path, name: EngineName, precision: str) -> Engine | None:
    """The network of the ONNX file beside a package, if there is one and it is this network."""
    onnx = onnx_file(file)
    if not onnx.is_file():
        return None
    if not is_of(onnx, file):
        logger.warning("%s is not the network of %s and is not used.", onnx, file.name)
        return None
    try:
        if name == "onnx":
            from flexseg.inference.engines.onnx_runtime import OnnxEngine

            return OnnxEngine(onnx)
        from flexseg.inference.engines.openvino_cpu import OpenVinoEngine

        return OpenVinoEngine(None, openvino_precision(precision), onnx)
    except Exception as error:  # native libraries raise whatever they stumble on
        if not installed("keras"):
            raise DataError(
                f"{name} cannot read the network ({reason(error)}).",
                f"Make it again: flexseg export {typed(file.name)} --to network",
                str(onnx),
            ) from None
        logger.warning("%s cannot read %s (%s).", name, onnx, reason(error))
        return None


def _needs_keras(file: Path, name: EngineName) -> ConfigError:
    """The error about a package that only Keras, which is not there, can compute."""
    onnx = onnx_file(file)
    if is_of(onnx, file):
        return ConfigError(
            f"No installed engine can compute {onnx.name}.",
            f"Install one: {pip_install('onnx')}.",
            str(onnx),
        )
    return ConfigError(
        f"Keras is not installed, and {onnx.name} beside the model, which needs no Keras, "
        f"{'is of another network' if onnx.exists() else 'does not exist'}.",
        'Where the model was trained, or wherever "flexseg[tensorflow,onnx]" is installed, run '
        f"flexseg export {typed(file.name)} --to network, and copy {onnx.name} here. "
        f"Or install Keras: {pip_install(backend.BACKENDS[0])}",
        str(file),
    )


def _converted(package: ModelPackage, file: Path, name: EngineName, precision: str) -> Engine:
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
    logger.info("Converting the network for %s; the next start takes it from the cache.", name)
    return _opened(cache.keep(lambda folder: convert(package, name, folder)), name, precision)


def _cache(package: ModelPackage, file: Path, name: str) -> EngineCache:
    from flexseg.inference.engines import onnx_runtime as engine_onnx
    from flexseg.inference.engines import openvino_cpu as engine_openvino

    packages = (engine_openvino if name == "openvino" else engine_onnx).PACKAGES
    return EngineCache(file, package, name, packages)


def _opened(folder: Path, name: str, precision: str) -> Engine:
    if name == "onnx":
        from flexseg.inference.engines.onnx_runtime import MODEL, OnnxEngine

        return OnnxEngine(folder / MODEL)
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
