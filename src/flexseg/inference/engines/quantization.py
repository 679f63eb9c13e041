"""Post-training quantisation: the network in 8-bit integers, for OpenVINO.

The ranges of weights and activations are measured on images; nothing is trained (Jacob et al.
2018, "Quantization and training of neural networks for efficient integer-arithmetic-only
inference"; NNCF's implementation).
"""

from __future__ import annotations

import io
import logging
import shutil
from collections.abc import Iterable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexseg.errors import ResourceError
from flexseg.inference.engines import openvino_cpu as engine_openvino
from flexseg.inference.engines.conversion import ConversionError, convert
from flexseg.inference.engines.quantized import files_of
from flexseg.models.package import ModelPackage
from flexseg.outputs import explain_os_errors, scratch_folder, set_aside, whole, write_json


def quantize(package: ModelPackage, images: Iterable[NDArray[np.float32]], target: Path) -> None:
    """Write the int8 network of a package.

    Parameters
    ----------
    images : prepared images [1, h, w, C] by which the ranges are set.
    target : the file `*.xml`; the weights go beside it.

    Raises
    ------
    ResourceError : the network cannot be converted or quantised.
    """
    with scratch_folder(target) as scratch:
        try:
            with explain_os_errors(target):
                convert(package, "openvino", scratch)
        except ConversionError as error:
            raise ResourceError(
                f"OpenVINO cannot compute this network ({error}).",
                "Predict with Keras, or choose another network.",
            ) from error
        calibrated = _calibrate(scratch / engine_openvino.MODEL, list(images))
        engine_openvino.save(calibrated, target)


def _calibrate(model: Path, images: list[NDArray[np.float32]]) -> Any:
    engine_openvino.silence()
    import nncf
    import openvino

    logging.getLogger("nncf").setLevel(logging.ERROR)
    network = openvino.Core().read_model(model)
    try:
        # MIXED: activations that are also negative (ELU, GELU, ...) get ranges of both signs.
        with redirect_stdout(io.StringIO()):  # its progress bars
            return nncf.quantize(
                network,
                nncf.Dataset(images),
                preset=nncf.QuantizationPreset.MIXED,
                subset_size=len(images),
                # Input of little contrast is far smaller than that, see `model_file.contrast`.
                ignored_scope=nncf.IgnoredScope(types=["MVN"], validate=False),
            )
    except Exception as error:  # NNCF raises whatever it stumbles on
        raise ResourceError(
            f"NNCF cannot quantise this network ({type(error).__name__}: {error}).",
            "Predict without int8: bfloat16 is nearly as fast on recent processors.",
        ) from error


def keep(model: Path, file: Path, digest: str, evidence: dict[str, object]) -> Path:
    """Put an int8 network beside its package, where `[infer] int8` finds it; returns the place.

    Parameters
    ----------
    model : as `quantize` wrote it.
    digest : hash of the package's file.
    evidence : what is known of its accuracy, JSON types.
    """
    places = files_of(file)
    for place in places:
        set_aside(place)
    with whole(places[0]) as part:
        shutil.copyfile(model, part)
        shutil.copyfile(model.with_suffix(".bin"), part.with_name(places[1].name))
    write_json(places[2], {"sha256": digest, **evidence})
    return places[0]
