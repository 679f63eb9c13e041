"""What other runtimes say that they take of ONNX, as far as exports have it.

Of TensorRT: docs/operators.md of onnx/onnx-tensorrt for TensorRT 10.15 (opset 9 to 24), by types
of the inputs; uint8 is taken only by the first and the last operator. Of DirectML: the part on
DmlExecutionProvider of docs/OperatorKernels.md in microsoft/onnxruntime, by opset and types. What
DirectML lacks, ONNX Runtime computes on the CPU.
"""

from __future__ import annotations

from collections import defaultdict

import onnx
from onnx import TensorProto

_NAMES = {
    TensorProto.FLOAT: "float32",
    TensorProto.FLOAT16: "float16",
    TensorProto.DOUBLE: "float64",
    TensorProto.INT64: "int64",
    TensorProto.INT32: "int32",
    TensorProto.UINT8: "uint8",
    TensorProto.UINT16: "uint16",
    TensorProto.BOOL: "bool",
}
_FLOATS = {"float32", "float16"}
_NUMBERS = _FLOATS | {"int32", "int64"}
_ANY = _NUMBERS | {"bool"}
_OF_FLOATS = (
    "AveragePool BatchNormalization Conv ConvTranspose Erf Exp Floor LeakyRelu MatMul MaxPool "
    "Reciprocal Resize Round Sigmoid Sin Softmax Sqrt Tanh"
)
_OF_NUMBERS = (
    "Add ArgMax Div Equal Greater GreaterOrEqual Less LessOrEqual Max Min Mod Mul Neg Pad Pow "
    "Range ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum Relu Sub"
)
_OF_ANY = (
    "Concat Expand Gather Identity Reshape ReverseSequence Shape Slice Squeeze Tile Transpose "
    "Unsqueeze Where"
)
TENSORRT: dict[str, set[str]] = {
    **dict.fromkeys(_OF_FLOATS.split(), _FLOATS),
    **dict.fromkeys(_OF_NUMBERS.split(), _NUMBERS),
    **dict.fromkeys(_OF_ANY.split(), _ANY),
    "And": {"bool"},
    "Or": {"bool"},
    "Cast": _ANY | {"uint8"},
}
# Its `Resize` ends at opset 13, and its `Mod` has no int64.
DIRECTML: dict[str, set[str]] = {
    **TENSORRT,
    "Cast": _ANY | {"uint8", "uint16", "float64"},
    "Identity": _ANY | {"uint8", "float64"},
    "Mod": _FLOATS | {"int32"},
    "Pow": _FLOATS | {"int32"},
}
del DIRECTML["Resize"]


def operators(model: onnx.ModelProto) -> dict[str, set[str]]:
    """The operators of a graph, and the types of their inputs."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    values = [*graph.value_info, *graph.input, *graph.output]
    kinds = {value.name: value.type.tensor_type.elem_type for value in values}
    kinds |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    found = defaultdict(set)
    for node in graph.node:
        assert not node.domain, f"{node.op_type} is of {node.domain}"
        found[node.op_type] |= {_NAMES[kinds[name]] for name in node.input if name}
    return dict(found)


def foreign(model: onnx.ModelProto, platform: dict[str, set[str]]) -> set[str]:
    """The operators, with their types, that a platform does not list.

    Lengths, places and axes, which are always int64, and conditions are inputs of any.
    """
    more = {"int64", "bool"}
    return {
        f"{name} {kind}"
        for name, kinds in operators(model).items()
        for kind in kinds - (more if name in _TAKE_PLACES else set())
        if kind not in platform.get(name, set())
    }


_TAKE_PLACES = {
    "Expand", "Gather", "Pad", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum",
    "Reshape", "Resize", "ReverseSequence", "Slice", "Squeeze", "Tile", "Unsqueeze", "Where",
}  # fmt: skip
