"""Networks in ONNX that compute with fewer bits; what they take and give stays in float32."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator, Sequence
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from flexseg.errors import ResourceError
from flexseg.model_file.export_description import Precision
from flexseg.model_file.onnx_file import add_properties, read_properties

# What is multiplied, and what only moves or compares numbers between; all else stays in float32,
# as the standardisation of the input and the probabilities have to.
_QUANTIZED = (
    "Conv",
    "ConvTranspose",
    "Gemm",
    "MatMul",
    "MaxPool",
    "Resize",
    "Transpose",
    "Reshape",
)


def in_precision(
    networks: Sequence[Path],
    precision: Precision,
    images: Sequence[NDArray[np.float32]],
    folder: Path,
) -> list[Path]:
    """Networks in another precision, as files in a folder; those of float32 are returned as is.

    Parameters
    ----------
    images : prepared images [1, h, w, C], by which the ranges of 8-bit integers are set; only
        "int8" takes any.

    Raises
    ------
    ResourceError : ONNX Runtime cannot convert one.
    """
    if precision == "float32":
        return list(networks)
    found = []
    for number, network in enumerate(networks):
        target = folder / f"{number}.onnx"
        try:
            with _silence():
                if precision == "float16":
                    _halve(network, target)
                else:
                    _quantize(network, target, images)
        except Exception as error:  # what converts networks raises whatever it stumbles on
            why = f"{type(error).__name__}: {error}"
            raise ResourceError(
                f"The network cannot be converted to {precision} ({why}).",
                "Export it in float32.",
                str(network),
            ) from error
        add_properties(target, read_properties(network))
        found.append(target)
    return found


def _halve(network: Path, target: Path) -> None:
    """Weights and activations in float16; operators that have none of it stay."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    halved = convert_float_to_float16(onnx.load(network), keep_io_types=True)
    # Casts stand behind all others.
    nodes = list(halved.graph.node)
    maker = {name: number for number, node in enumerate(nodes) for name in node.output}
    needs = {
        number: {maker[name] for name in node.input if name in maker}
        for number, node in enumerate(nodes)
    }
    del halved.graph.node[:]
    halved.graph.node.extend(nodes[number] for number in TopologicalSorter(needs).static_order())
    onnx.save(halved, target)


def _quantize(network: Path, target: Path, images: Sequence[NDArray[np.float32]]) -> None:
    """Weights and activations in int8 (Jacob et al. 2018, "Quantization and training of neural
    networks for efficient integer-arithmetic-only inference"; ONNX Runtime's implementation)."""
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    plain = target.with_suffix(".plain.onnx")
    quant_pre_process(network, plain, skip_symbolic_shape=True)
    given = onnx.load(plain, load_external_data=False).graph.input[0].name

    class Images(CalibrationDataReader):
        def __init__(self) -> None:
            self._left = iter(images)

        def get_next(self) -> dict[str, Any] | None:
            image = next(self._left, None)
            return None if image is None else {given: image}

    quantize_static(
        plain,
        target,
        Images(),
        op_types_to_quantize=list(_QUANTIZED),
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        # Processors without VNNI add products of 8 bits in 16.
        reduce_range=True,
    )
    plain.unlink()


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """They print and log what nobody can act on."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)
