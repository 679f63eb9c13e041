"""The network of a package as an ONNX file, which ONNX Runtime and OpenVINO read without Keras."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from flexseg import __version__
from flexseg.errors import DataError, FlexsegError, ResourceError
from flexseg.inference.engines import opening
from flexseg.inference.engines.conversion import ConversionError, convert, missing_for
from flexseg.inference.engines.onnx_runtime import MODEL
from flexseg.machine import pip_install
from flexseg.model_file.model_description import ModelDescription
from flexseg.model_file.onnx_file import (
    DIGEST,
    add_properties,
    is_of,
    network_digest,
    onnx_file,
    read_properties,
)
from flexseg.outputs import explain_os_errors, make_folder, scratch_folder, set_aside, whole

logger = logging.getLogger(__name__)

# As measured on a UNet of 31 million parameters and on small ones.
_SECONDS, _SECONDS_PER_PARAMETER = 3.0, 4e-7


def export_onnx(
    package: ModelDescription, file: Path, target: Path | None = None, search: Path | None = None
) -> Path:
    """Write the network of a package in ONNX, unless it is there already. Returns the file.

    A file of another network that flexseg has written is replaced, any other moves aside.

    Parameters
    ----------
    file : that the package was read from.
    target : where to; default: beside the package, where `flexseg infer` finds it.
    search : see `build_model`.

    Raises
    ------
    DataError : the file is damaged, or does not say what network its weights are of.
    ResourceError : the network cannot be converted here, or there is no room for it.
    """
    target = target or onnx_file(file)
    digest = network_digest(file)
    if digest is None:
        raise DataError(
            "The file holds weights, but does not say of which network.",
            "Make a package of it with `flexseg import-weights FILE CONFIG`.",
            str(file),
        )
    if is_of(target, file):
        return target
    if not opening.installed("onnx"):
        raise _not_converted(file, ConversionError("ONNX Runtime is not installed"))
    network = opening.load_network(package, file, "float32", search)
    make_folder(target.parent)
    with scratch_folder(target) as scratch, explain_os_errors(target):
        try:
            convert(network, "onnx", scratch)
        except ConversionError as error:
            raise _not_converted(file, error) from error
        add_properties(scratch / MODEL, {DIGEST: digest, "flexseg": __version__})
        if DIGEST not in read_properties(target):
            set_aside(target)
        with whole(target) as part:
            (scratch / MODEL).replace(part)
    return target


def _not_converted(file: Path, error: ConversionError) -> ResourceError:
    return ResourceError(
        f"The network cannot be converted ({error}).",
        f"Install what converts it: {pip_install('tensorflow,onnx')}."
        if not can_export()
        else "Predict with it where Keras is installed, or choose another network.",
        str(file),
    )


def can_export() -> bool:
    """Whether what converts networks is installed."""
    return opening.installed("onnx") and missing_for("onnx") is None


def export_seconds(parameters: int) -> float:
    """About how long it takes to leave a network in ONNX here; 0 where none is left."""
    return _SECONDS + _SECONDS_PER_PARAMETER * parameters if can_export() else 0.0


def leave_onnx(files: Iterable[Path], search: Path | None = None) -> None:
    """Leave the networks of packages in ONNX beside them, where what converts them is installed.

    Parameters
    ----------
    files : packages that were trained here, whose code is trusted.
    search : see `build_model`.
    """
    if not can_export():
        return
    for file in files:
        try:
            package = ModelDescription.read(file, None, search, lambda code: True)
            logger.info(
                "Without Keras, predictions are made from %s.",
                export_onnx(package, file, None, search),
            )
        except FlexsegError as error:
            logger.warning("%s is not written: %s", onnx_file(file).name, error.problem)
