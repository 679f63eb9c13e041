"""The int8 network that `flexseg quantize --keep` leaves beside a model package.

Its description holds a hash of the package: another one under the same name does not get it.
"""

from __future__ import annotations

from pathlib import Path

from flexseg.errors import ConfigError
from flexseg.files.json_file import read_json

MODEL_SUFFIX = ".int8.xml"
WEIGHTS_SUFFIX = ".int8.bin"
DESCRIPTION_SUFFIX = ".int8.json"


def files_of(file: Path) -> tuple[Path, Path, Path]:
    """Network, its weights, and description of the int8 version of a package."""
    model, weights, description = (
        file.with_name(f"{file.stem}{suffix}")
        for suffix in (MODEL_SUFFIX, WEIGHTS_SUFFIX, DESCRIPTION_SUFFIX)
    )
    return model, weights, description


def quantized_file(file: Path, digest: str) -> Path:
    """The int8 network of a package.

    Parameters
    ----------
    digest : hash of the package's file.

    Raises
    ------
    ConfigError : there is none, or it was made of another model.
    """
    model, weights, description = files_of(file)
    if not (model.is_file() and weights.is_file() and description.is_file()):
        raise ConfigError(
            f"There is no int8 network {model.name} beside the model.",
            "`flexseg quantize CONFIG --keep` makes one.",
            "[infer] int8",
        )
    if _made_of(description) != digest:
        raise ConfigError(
            f"{model.name} was made from another model than the present {file.name}.",
            "Make it again: `flexseg quantize CONFIG --keep`.",
            "[infer] int8",
        )
    return model


def _made_of(description: Path) -> object:
    try:
        content = read_json(description)
        return content.get("sha256")
    except (OSError, ValueError, AttributeError):
        return None
