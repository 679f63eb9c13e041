"""Graphs in ONNX, written as one writes NumPy.

A `Tensor` stands for a value that is known when the graph runs. Operators between tensors, and
between tensors and numbers, become nodes; sizes that depend on the input are tensors as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import onnx
from numpy.typing import ArrayLike, NDArray
from onnx import helper, numpy_helper

# The highest that TensorRT, DirectML and onnxruntime-web all take, and tf2onnx makes.
OPSET = 18
# The newest version of the file's format that goes with it.
_IR_VERSION = 8

Operand: TypeAlias = "Tensor | float | NDArray"
Size: TypeAlias = "Tensor | int"


class Tensor:
    """A value in a graph.

    Attributes
    ----------
    name : in the graph.
    dtype : of its elements.
    """

    __array_priority__ = 1000  # of NumPy's arrays, whose operators leave it to this class

    def __init__(self, graph: Graph, name: str, dtype: np.dtype) -> None:
        self.graph = graph
        self.name = name
        self.dtype = dtype

    def __add__(self, other: Operand) -> Tensor:
        return self._with("Add", other)

    def __radd__(self, other: Operand) -> Tensor:
        return self._with("Add", other)

    def __sub__(self, other: Operand) -> Tensor:
        return self._with("Sub", other)

    def __rsub__(self, other: Operand) -> Tensor:
        return self._with("Sub", other, swapped=True)

    def __mul__(self, other: Operand) -> Tensor:
        return self._with("Mul", other)

    def __rmul__(self, other: Operand) -> Tensor:
        return self._with("Mul", other)

    def __truediv__(self, other: Operand) -> Tensor:
        return self._with("Div", other)

    def __rtruediv__(self, other: Operand) -> Tensor:
        return self._with("Div", other, swapped=True)

    def __matmul__(self, other: Operand) -> Tensor:
        return self._with("MatMul", other)

    def __rmatmul__(self, other: Operand) -> Tensor:
        return self._with("MatMul", other, swapped=True)

    def __and__(self, other: Tensor) -> Tensor:
        return self.graph.node("And", self, other)

    def __or__(self, other: Tensor) -> Tensor:
        return self.graph.node("Or", self, other)

    def __lt__(self, other: Tensor | float) -> Tensor:
        return self._with("Less", other, dtype=bool)

    def __le__(self, other: Tensor | float) -> Tensor:
        return self._with("LessOrEqual", other, dtype=bool)

    def __gt__(self, other: Tensor | float) -> Tensor:
        return self._with("Greater", other, dtype=bool)

    def __ge__(self, other: Tensor | float) -> Tensor:
        return self._with("GreaterOrEqual", other, dtype=bool)

    def equals(self, other: Operand) -> Tensor:
        """Where two tensors are equal."""
        return self._with("Equal", other, dtype=bool)

    def _with(self, op: str, other: Operand, *, swapped: bool = False, dtype: Any = None) -> Tensor:
        pair = [self, self.graph.tensor(other, self.dtype)]
        return self.graph.node(op, *(pair[::-1] if swapped else pair), dtype=dtype)

    def cast(self, dtype: Any) -> Tensor:
        """The same with elements of another type."""
        wanted = np.dtype(dtype)
        if wanted == self.dtype:
            return self
        to = helper.np_dtype_to_tensor_dtype(wanted)
        return self.graph.node("Cast", self, dtype=wanted, to=to)

    def size(self, axis: int) -> Tensor:
        """Its length along an axis, int64."""
        shape = self.graph.node("Shape", self, dtype=np.int64)
        return shape.take(axis)

    def take(self, indices: ArrayLike | Tensor, axis: int = 0) -> Tensor:
        """The elements at some places of an axis."""
        return self.graph.node("Gather", self, self.graph.tensor(indices, np.int64), axis=axis)

    def part(self, axis: int, first: Size, end: Size) -> Tensor:
        """The elements of an axis from `first` up to `end`."""
        g = self.graph
        ends = [g.vector(first), g.vector(end), g.tensor([axis], np.int64)]
        return g.node("Slice", self, *ends)

    def flipped(self, axis: int) -> Tensor:
        """With an axis in reverse."""
        g = self.graph
        lowest = np.iinfo(np.int64).min
        parts = [g.tensor([value], np.int64) for value in (-1, lowest, axis, -1)]
        return g.node("Slice", self, *parts)

    def transposed(self, *axes: int) -> Tensor:
        """With its axes in another order."""
        return self.graph.node("Transpose", self, perm=axes)

    def reshaped(self, *shape: Size) -> Tensor:
        """Of another shape: -1 is what is left, 0 as it is."""
        whole = [self.graph.vector(size) for size in shape]
        return self.graph.node("Reshape", self, self.graph.joined(whole, 0))

    def column(self) -> Tensor:
        """A vector [n] as [n, 1]."""
        return self.reshaped(-1, 1)

    def floor(self) -> Tensor:
        """The next lower whole numbers."""
        return self.graph.node("Floor", self)

    def rounded(self) -> Tensor:
        """The nearest whole numbers, halves to even ones."""
        return self.graph.node("Round", self)

    def clipped(self, low: Operand, high: Operand) -> Tensor:
        """Within limits."""
        return self.at_least(low).at_most(high)

    def at_least(self, low: Operand) -> Tensor:
        """The larger ones of pairs."""
        return self._with("Max", low)

    def at_most(self, high: Operand) -> Tensor:
        """The smaller ones of pairs."""
        return self._with("Min", high)

    def total(self, *axes: int) -> Tensor:
        """The sum over axes, which stay with length one."""
        return self._reduced("ReduceSum", axes)

    def lowest(self, *axes: int) -> Tensor:
        """The least value over axes, which stay with length one."""
        return self._reduced("ReduceMin", axes)

    def highest(self, *axes: int) -> Tensor:
        """The greatest value over axes, which stay with length one."""
        return self._reduced("ReduceMax", axes)

    def _reduced(self, op: str, axes: Sequence[int]) -> Tensor:
        return self.graph.node(op, self, self.graph.tensor(axes, np.int64), keepdims=1)


class Graph:
    """Nodes in the order in which they are computed, and the values that they begin with.

    Attributes
    ----------
    doubles : it may compute in float64, which not all that runs graphs has.
    """

    def __init__(self, *, doubles: bool = True) -> None:
        self.doubles = doubles
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []
        self._constants: dict[tuple[str, tuple[int, ...], bytes], Tensor] = {}
        self._count = 0

    def input(self, name: str, dtype: Any, shape: Sequence[str | int]) -> Tensor:
        """What the graph is given; names are sizes that are known when it runs."""
        found = Tensor(self, name, np.dtype(dtype))
        self.inputs.append(_value(found, shape))
        return found

    def output(
        self, name: str, tensor: Tensor, shape: Sequence[str | int], dtype: Any = None
    ) -> None:
        """What the graph gives.

        Parameters
        ----------
        dtype : of its elements, if another one: some runtimes have 8 bits only there.
        """
        wanted = tensor.dtype if dtype is None else np.dtype(dtype)
        if wanted == tensor.dtype:
            node = helper.make_node("Identity", [tensor.name], [name])
        else:
            to = helper.np_dtype_to_tensor_dtype(wanted)
            node = helper.make_node("Cast", [tensor.name], [name], to=to)
        self.nodes.append(node)
        self.outputs.append(_value(Tensor(self, name, wanted), shape))

    def node(self, op: str, *inputs: Tensor, dtype: Any = None, **attributes: Any) -> Tensor:
        """The first output of an operator; its elements have the type of the first input's."""
        name = self._name(op)
        names = [tensor.name for tensor in inputs]
        self.nodes.append(helper.make_node(op, names, [name], name=name, **attributes))
        return Tensor(self, name, inputs[0].dtype if dtype is None else np.dtype(dtype))

    def tensor(self, value: Operand | ArrayLike, dtype: Any) -> Tensor:
        """A tensor itself, or a constant; equal constants are one."""
        if isinstance(value, Tensor):
            return value
        array = np.asarray(value, dtype)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            name = self._name("constant")
            self.initializers.append(numpy_helper.from_array(array, name))
            self._constants[key] = Tensor(self, name, array.dtype)
        return self._constants[key]

    def vector(self, size: Size) -> Tensor:
        """A size as [1] int64."""
        if isinstance(size, Tensor):
            return self.node("Unsqueeze", size, self.tensor([0], np.int64))
        return self.tensor([size], np.int64)

    def count(self, size: Size) -> Tensor:
        """0, 1, ... up to a size, [size] int64."""
        zero, one = (self.tensor(value, np.int64) for value in (0, 1))
        return self.node("Range", zero, self.tensor(size, np.int64), one)

    def where(self, condition: Tensor, yes: Tensor, no: Tensor) -> Tensor:
        """Elements of one tensor where a condition holds, of another elsewhere."""
        return self.node("Where", condition, yes, no, dtype=yes.dtype)

    def joined(self, tensors: Sequence[Tensor], axis: int) -> Tensor:
        """Tensors one after the other along an axis."""
        return tensors[0] if len(tensors) == 1 else self.node("Concat", *tensors, axis=axis)

    def network(self, model: onnx.ModelProto, images: Tensor) -> Tensor:
        """The first output of another graph, of one input, whose nodes become part of this one.

        Parameters
        ----------
        model : changed by it: its names become those of this graph.
        """
        prefix = self._name("network") + "/"
        renamed = onnx.compose.add_prefix(model, prefix, inplace=True).graph
        (given,) = [
            value.name
            for value in renamed.input
            if value.name not in {weight.name for weight in renamed.initializer}
        ]
        self.nodes.append(helper.make_node("Identity", [images.name], [given]))
        self.nodes.extend(renamed.node)
        self.initializers.extend(renamed.initializer)
        return Tensor(self, renamed.output[0].name, np.dtype(np.float32))

    def model(self, name: str, metadata: dict[str, str]) -> onnx.ModelProto:
        """The whole as a model, checked for being one.

        Raises
        ------
        onnx.checker.ValidationError : it is none.
        """
        graph = helper.make_graph(self.nodes, name, self.inputs, self.outputs, self.initializers)
        opset = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opset, ir_version=_IR_VERSION)
        model.producer_name = "flexseg"
        helper.set_model_props(model, metadata)
        onnx.checker.check_model(model)
        return model

    def _name(self, op: str) -> str:
        self._count += 1
        return f"{op}_{self._count}"


def _value(tensor: Tensor, shape: Sequence[str | int]) -> onnx.ValueInfoProto:
    kind = helper.np_dtype_to_tensor_dtype(tensor.dtype)
    return helper.make_tensor_value_info(tensor.name, kind, shape)


def summed(tensors: Sequence[Tensor]) -> Tensor:
    """The sum of tensors, from the first to the last."""
    total = tensors[0]
    for tensor in tensors[1:]:
        total = total + tensor
    return total
