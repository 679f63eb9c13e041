"""flexseg: medical image segmentation from one config file.

`import flexseg` imports neither Keras nor an engine; the names below are found when they are
asked for.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flexseg.api import Model, Run, init, train
    from flexseg.config.load import load as load_config
    from flexseg.dataset.reading import Dataset
    from flexseg.errors import (
        ConfigError,
        DataError,
        FlexsegError,
        Interrupted,
        InUseError,
        ResourceError,
        TrainingError,
    )
    from flexseg.inference.results.prediction import Prediction
    from flexseg.serve.client import Client

try:
    __version__ = version("flexseg")
except PackageNotFoundError:  # the source tree itself is on the path
    __version__ = "0+unknown"
__all__ = [
    "Client",
    "ConfigError",
    "DataError",
    "Dataset",
    "FlexsegError",
    "InUseError",
    "Interrupted",
    "Model",
    "Prediction",
    "ResourceError",
    "Run",
    "TrainingError",
    "__version__",
    "init",
    "load_config",
    "train",
]

_HOMES = {
    "Client": "flexseg.serve.client",
    "Dataset": "flexseg.dataset.reading",
    "Model": "flexseg.api",
    "Prediction": "flexseg.inference.results.prediction",
    "Run": "flexseg.api",
    "init": "flexseg.api",
    "load_config": "flexseg.config.load",
    "train": "flexseg.api",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(_HOMES.get(name, "flexseg.errors"))
    value = getattr(module, "load" if name == "load_config" else name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
