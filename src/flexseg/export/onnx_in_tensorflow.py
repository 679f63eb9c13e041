"""Graphs in ONNX, computed by operators of TensorFlow: those that exports and networks are made of.

What does not depend on the images is computed once, when the graph is written. ONNX convolves
[N, C, H, W], TensorFlow on CPUs [N, H, W, C]: axes are moved where an operator needs them in their
places, which in most networks is never.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeGuard

import numpy as np
import onnx
import tensorflow as tf
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from flexseg.errors import ConfigError
from flexseg.export import tensorflow_windows as windows
from flexseg.export.tensorflow_weights import constant

# As [N, H, W, C] reads where [N, C, H, W] is meant.
_CHANNELS_LAST = (0, 3, 1, 2)
# Bounds of slices beyond it mean the end.
_END = 2**31 - 1


@dataclass(frozen=True)
class _Tensor:
    """A tensor whose axes, taken in an order, are those that ONNX means."""

    tensor: tf.Tensor
    order: tuple[int, ...]

    @classmethod
    def of(cls, value: tf.Tensor | NDArray) -> _Tensor:
        """With its axes as they are."""
        tensor = constant(value) if isinstance(value, np.ndarray) else value
        return cls(tensor, tuple(range(len(tensor.shape))))

    @property
    def rank(self) -> int:
        """Number of axes."""
        return len(self.order)

    @property
    def dtype(self) -> Any:
        """Of its elements."""
        return self.tensor.dtype

    def axis(self, meant: int) -> int:
        """Where an axis lies."""
        return self.order[meant]

    def plain(self) -> tf.Tensor:
        """With its axes as ONNX means them."""
        return self.ordered(tuple(range(self.rank)))

    def ordered(self, order: tuple[int, ...]) -> tf.Tensor:
        """With its axes where they are in a tensor of an order."""
        found = [self.order[place] for place in np.argsort(order)]
        return self.tensor if found == sorted(found) else tf.transpose(self.tensor, found)

    def like(self, tensor: tf.Tensor) -> _Tensor:
        """A tensor with its axes in the same order."""
        return _Tensor(tensor, self.order)

    def without(self, tensor: tf.Tensor, meant: int) -> _Tensor:
        """A tensor with its axes in the same order, but for one that is gone."""
        left = [place for axis, place in enumerate(self.order) if axis != meant]
        return _Tensor(tensor, tuple(sorted(left).index(place) for place in left))


# An array is known before there are images; of a shape that is known in part it has objects, which
# are whole numbers and tensors.
_Value: TypeAlias = "_Tensor | NDArray"
_Attributes: TypeAlias = Mapping[str, Any]


def outputs(model: onnx.ModelProto, given: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """What a graph gives, by the names of its outputs.

    Parameters
    ----------
    given : its inputs by their names.

    Raises
    ------
    ConfigError : it has an operator that is not known here.
    """
    values: dict[str, _Value] = {x.name: numpy_helper.to_array(x) for x in model.graph.initializer}
    values |= {name: _Tensor.of(tensor) for name, tensor in given.items()}
    for node in model.graph.node:
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        taken = [values[name] if name else None for name in node.input]
        values[node.output[0]] = _computed(node.op_type, taken, attributes)
    return {output.name: _seen(values[output.name]).plain() for output in model.graph.output}


def _computed(op: str, taken: list[_Value | None], attributes: _Attributes) -> _Value:
    if op == "Constant":
        return numpy_helper.to_array(attributes["value"])
    if op == "Identity" and taken[0] is not None:
        return taken[0]
    if op == "Shape":
        return _shape(_seen(taken[0]).plain())
    if op == "Where" and isinstance(taken[0], np.ndarray) and taken[0].size == 1:
        chosen = taken[1 if taken[0].item() else 2]
        if chosen is not None:
            return chosen
    if op not in _OPERATORS:
        raise ConfigError(
            f"The network has the operator {op}, which this format does not have.",
            "Export to another format: `--to onnx` takes all networks.",
            "--to",
        )
    known = all(value is None or isinstance(value, np.ndarray) for value in taken)
    if not known:
        return _OPERATORS[op](taken, attributes)
    if any(map(_in_part, taken)):
        parts = _PARTS_OF_SHAPES.get(op)
        if op == "Cast" and not np.issubdtype(_wanted(attributes), np.integer):
            parts = None
        return _OPERATORS[op](taken, attributes) if parts is None else parts(taken, attributes)
    with tf.init_scope():
        return np.asarray(_OPERATORS[op](taken, attributes).plain().numpy())


def _shape(tensor: tf.Tensor) -> NDArray:
    own = tf.shape(tensor, tf.int64)
    sizes = [own[axis] if size is None else size for axis, size in enumerate(tensor.shape)]
    return _array(sizes, (len(sizes),))


def _array(sizes: Sequence[Any], shape: tuple[int, ...]) -> NDArray:
    """Whole numbers and tensors as an array, of numbers if there are no tensors."""
    found = np.empty(len(sizes), object)
    for place, size in enumerate(sizes):  # NumPy would look into tensors
        found[place] = size
    tensors = any(isinstance(size, tf.Tensor) for size in sizes)
    return found.reshape(shape) if tensors else found.reshape(shape).astype(np.int64)


def _in_part(value: _Value | None) -> TypeGuard[NDArray]:
    """Whether it is a shape that is known in part."""
    return isinstance(value, np.ndarray) and value.dtype == object


def _seen(value: _Value | None) -> _Tensor:
    if _in_part(value):
        sizes = [tf.cast(size, tf.int64) for size in value.flat]
        return _Tensor.of(tf.reshape(tf.stack(sizes), value.shape) if value.ndim else sizes[0])
    return value if isinstance(value, _Tensor) else _Tensor.of(value)


def _numbers(value: _Value | None) -> list[int]:
    """What must be known before there are images."""
    if not isinstance(value, np.ndarray) or _in_part(value):
        raise ConfigError(
            "The network computes its own axes from the image, which this format does not have.",
            "Export to another format: `--to onnx` takes all networks.",
            "--to",
        )
    return [int(number) for number in value.ravel()]


def _together(taken: Sequence[_Value | None]) -> tuple[list[tf.Tensor], tuple[int, ...]]:
    """Tensors whose elements go together, with their axes in the order of the first."""
    given = [value for value in taken if value is not None]
    # Sizes have the type of what they are computed with: networks have them of both lengths.
    dtype = next((value.dtype for value in given if not _in_part(value)), np.int64)
    values = [
        _Tensor.of(tf.cast(_seen(value).tensor, dtype)) if _in_part(value) else value
        for value in given
    ]
    rank = max(value.ndim if isinstance(value, np.ndarray) else value.rank for value in values)
    orders = [v.order for v in values if isinstance(v, _Tensor) and v.rank == rank]
    order = orders[0] if orders else tuple(range(rank))
    if order == tuple(range(rank)):
        return [_seen(value).plain() for value in values], order
    found = []
    for value in values:
        if isinstance(value, np.ndarray):
            whole = value.reshape((1,) * (rank - value.ndim) + value.shape)
            found.append(constant(whole.transpose(np.argsort(order)) if value.ndim else value))
        elif value.rank == rank:
            found.append(value.ordered(order))
        else:
            whole = value.plain()[(tf.newaxis,) * (rank - value.rank)]
            found.append(_Tensor.of(whole).ordered(order))
    return found, order


def _part_of_shape(taken: list[Any], attributes: _Attributes) -> NDArray:
    starts, ends = (_numbers(bounds) for bounds in taken[1:3])
    (step,) = _numbers(taken[4]) if len(taken) > 4 else (1,)
    found = taken[0][slice(_bound(np.array(starts), 0), _bound(np.array(ends), 0), step)]
    return _array(list(found), found.shape)


def _some_of_shape(taken: list[Any], attributes: _Attributes) -> NDArray:
    found = [taken[0][index] for index in _numbers(taken[1])]
    return _array(found, taken[1].shape)


def _joined_shapes(taken: list[Any], attributes: _Attributes) -> NDArray:
    sizes = [size for value in taken for size in value]
    return _array(sizes, (len(sizes),))


def _size_in_vector(taken: list[Any], attributes: _Attributes) -> NDArray:
    return np.expand_dims(taken[0], tuple(_numbers(taken[1])))


def _size_by_itself(taken: list[Any], attributes: _Attributes) -> NDArray:
    return taken[0].reshape(()) if taken[0].size == 1 else taken[0]


_PARTS_OF_SHAPES: dict[str, Callable[[list[Any], _Attributes], NDArray]] = {
    "Cast": lambda taken, _: taken[0],
    "Concat": _joined_shapes,
    "Gather": _some_of_shape,
    "Slice": _part_of_shape,
    "Squeeze": _size_by_itself,
    "Unsqueeze": _size_in_vector,
}
_Operator: TypeAlias = Callable[[list[Any], _Attributes], _Tensor]


def _by_element(function: Callable[..., tf.Tensor]) -> _Operator:
    def operator(taken: list[Any], attributes: _Attributes) -> _Tensor:
        tensors, order = _together(taken)
        return _Tensor(function(*tensors), order)

    return operator


def _of_many(function: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]) -> _Operator:
    def operator(taken: list[Any], attributes: _Attributes) -> _Tensor:
        (first, *others), order = _together(taken)
        for other in others:
            first = function(first, other)
        return _Tensor(first, order)

    return operator


def _divided(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    if not x.dtype.is_integer:
        return x / y
    # Whole numbers are sizes and their products, which are not negative and fit in 32 bits; LiteRT
    # divides no longer ones.
    return tf.cast(tf.cast(x, tf.int32) // tf.cast(y, tf.int32), x.dtype)


def _error_function(x: tf.Tensor) -> tf.Tensor:
    """Abramowitz and Stegun 7.1.26, which is off by 1.5e-7: not all formats have an operator."""
    y = tf.abs(x)
    t = 1.0 / (1.0 + 0.3275911 * y)
    series = 1.061405429
    for factor in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        series = series * t + factor
    return tf.sign(x) * (1.0 - series * t * tf.exp(-y * y))


def _cast(taken: list[Any], attributes: _Attributes) -> _Tensor:
    x = _seen(taken[0])
    return x.like(tf.cast(x.tensor, _wanted(attributes)))


def _wanted(attributes: _Attributes) -> np.dtype:
    return helper.tensor_dtype_to_np_dtype(attributes["to"])


def _leaky(taken: list[Any], attributes: _Attributes) -> _Tensor:
    x = _seen(taken[0])
    return x.like(tf.nn.leaky_relu(x.tensor, attributes.get("alpha", 0.01)))


def _clipped(taken: list[Any], attributes: _Attributes) -> _Tensor:
    x = _seen(taken[0])
    _, low, high = (*taken, None, None)[:3]
    found = x.tensor if low is None else tf.maximum(x.tensor, _seen(low).tensor)
    return x.like(found if high is None else tf.minimum(found, _seen(high).tensor))


def _normalized(taken: list[Any], attributes: _Attributes) -> _Tensor:
    image, scale, offset, mean, variance = taken
    factor = scale / np.sqrt(variance + attributes["epsilon"])
    by_channel = [x.reshape(-1, 1, 1).astype(np.float32) for x in (factor, offset - mean * factor)]
    (x, a, b), order = _together([image, *by_channel])
    return _Tensor(x * a + b, order)


def _over_axes(function: Callable[..., tf.Tensor]) -> _Operator:
    def operator(taken: list[Any], attributes: _Attributes) -> _Tensor:
        x = _seen(taken[0])
        axes = _numbers(taken[1]) if len(taken) > 1 else list(attributes.get("axes", ()))
        if not axes:
            if attributes.get("noop_with_empty_axes", 0):
                return x
            axes = list(range(x.rank))
        if not attributes.get("keepdims", 1):
            return _Tensor.of(function(x.plain(), axes, keepdims=False))
        return x.like(function(x.tensor, [x.axis(axis) for axis in axes], keepdims=True))

    return operator


def _highest_place(taken: list[Any], attributes: _Attributes) -> _Tensor:
    x, axis = _seen(taken[0]), attributes.get("axis", 0)
    found = tf.argmax(x.tensor, x.axis(axis), output_type=tf.int64)
    if attributes.get("keepdims", 1):
        return x.like(tf.expand_dims(found, x.axis(axis)))
    return x.without(found, axis % x.rank)


def _softmax(taken: list[Any], attributes: _Attributes) -> _Tensor:
    x = _seen(taken[0])
    return x.like(tf.nn.softmax(x.tensor, axis=x.axis(attributes.get("axis", -1))))


def _transposed(taken: list[Any], attributes: _Attributes) -> _Tensor:
    x = _seen(taken[0])
    return _Tensor(x.tensor, tuple(x.order[axis] for axis in attributes["perm"]))


def _joined(taken: list[Any], attributes: _Attributes) -> _Tensor:
    tensors, order = _together(taken)
    return _Tensor(tf.concat(tensors, order[attributes["axis"]]), order)


def _part(taken: list[Any], attributes: _Attributes) -> _Tensor:
    x = _seen(taken[0])
    _, starts, ends, axes, steps = (*taken, None, None)[:5]
    count = len(starts) if isinstance(starts, np.ndarray) else starts.tensor.shape[0]
    places = list(range(count)) if axes is None else _numbers(axes)
    strides = [1] * count if steps is None else _numbers(steps)
    index: list[Any] = [slice(None)] * x.rank
    for number, (axis, step) in enumerate(zip(places, strides, strict=True)):
        bounds = _bound(starts, number), _bound(ends, number)
        index[x.axis(axis)] = slice(*bounds, step)
    return x.like(x.tensor[tuple(index)])


def _bound(bounds: _Value, number: int) -> Any:
    if isinstance(bounds, _Tensor):
        return bounds.tensor[number]
    bound = bounds[number]
    if isinstance(bound, tf.Tensor):
        return bound
    return None if abs(int(bound)) >= _END else int(bound)


def _taken(taken: list[Any], attributes: _Attributes) -> _Tensor:
    x, axis = _seen(taken[0]), attributes.get("axis", 0)
    indices = _seen(taken[1])
    found = tf.gather(x.tensor, indices.plain(), axis=x.axis(axis))
    if indices.rank == 1:
        return x.like(found)
    if indices.rank == 0:
        return x.without(found, axis % x.rank)
    return _Tensor.of(tf.gather(x.plain(), indices.plain(), axis=axis))


def _padded(taken: list[Any], attributes: _Attributes) -> _Tensor:
    x = _seen(taken[0])
    pads = np.reshape(_numbers(taken[1]), (2, -1)).T
    axes = _numbers(taken[3]) if len(taken) > 3 else range(x.rank)
    around = np.zeros((x.rank, 2), np.int64)
    for axis, pad in zip(axes, pads, strict=True):
        around[x.axis(axis)] = pad
    mode = attributes.get("mode", b"constant").decode()
    value = _numbers(taken[2])[0] if len(taken) > 2 and taken[2] is not None else 0
    return x.like(tf.pad(x.tensor, around, mode, constant_values=value))


def _reshaped(taken: list[Any], attributes: _Attributes) -> _Tensor:
    tensor = _seen(taken[0]).plain()
    if isinstance(taken[1], _Tensor):
        return _Tensor.of(tf.reshape(tensor, taken[1].plain()))
    own = _shape(tensor)
    shape = [
        own[axis] if not isinstance(size, tf.Tensor) and size == 0 else size
        for axis, size in enumerate(taken[1])
    ]
    return _Tensor.of(tf.reshape(tensor, shape))


def _expanded(taken: list[Any], attributes: _Attributes) -> _Tensor:
    tensor, shape = (_seen(value).plain() for value in taken)
    whole = tf.broadcast_dynamic_shape(tf.shape(tensor, shape.dtype), shape)
    return _Tensor.of(tf.broadcast_to(tensor, whole))


def _with_axes(taken: list[Any], attributes: _Attributes) -> _Tensor:
    tensor = _seen(taken[0]).plain()
    axes = _numbers(taken[1])
    rank = len(tensor.shape) + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        tensor = tf.expand_dims(tensor, axis)
    return _Tensor.of(tensor)


def _without_axes(taken: list[Any], attributes: _Attributes) -> _Tensor:
    axes = _numbers(taken[1]) if len(taken) > 1 else None
    return _Tensor.of(tf.squeeze(_seen(taken[0]).plain(), axes))


def _repeated(taken: list[Any], attributes: _Attributes) -> _Tensor:
    return _Tensor.of(tf.tile(*(_seen(value).plain() for value in taken)))


def _counted(taken: list[Any], attributes: _Attributes) -> _Tensor:
    return _Tensor.of(tf.range(*(_seen(value).tensor for value in taken)))


def _product(taken: list[Any], attributes: _Attributes) -> _Tensor:
    for matrix, other in (taken, taken[::-1]):
        if isinstance(matrix, np.ndarray) and _is_identity(matrix):
            return _seen(other)
    x, y = map(_seen, taken)
    if y.rank == 2 < x.rank:
        return _along(x, x.rank - 1, y.plain())
    if x.rank == 2 < y.rank:
        return _along(y, y.rank - 2, x.ordered((1, 0)))
    return _Tensor.of(tf.matmul(x.plain(), y.plain()))


def _along(x: _Tensor, axis: int, matrix: tf.Tensor) -> _Tensor:
    """The product of one axis with a matrix.

    `tf.matmul` gives wrong numbers, or ends the process, where one matrix is multiplied with an
    array of four axes and oneDNN has AVX-512 (TensorFlow 2.21).
    """
    order = list(x.without(x.tensor, axis).order)
    order.insert(axis, x.rank - 1)
    return _Tensor(tf.tensordot(x.tensor, matrix, [[x.axis(axis)], [0]]), tuple(order))


def _is_identity(matrix: NDArray) -> bool:
    """As of resizing to the size that an image has."""
    square = matrix.ndim == 2 and matrix.shape[0] == matrix.shape[1]
    return square and np.array_equal(matrix, np.eye(len(matrix), dtype=matrix.dtype))


def _reversed(taken: list[Any], attributes: _Attributes) -> _Tensor:
    x, lengths = (_seen(value).plain() for value in taken)
    time, batch = attributes["time_axis"], attributes["batch_axis"]
    return _Tensor.of(tf.reverse_sequence(x, lengths, seq_axis=time, batch_axis=batch))


def _in_windows(function: Callable[[tf.Tensor, list[Any], _Attributes], tf.Tensor]) -> _Operator:
    def operator(taken: list[Any], attributes: _Attributes) -> _Tensor:
        image = _seen(taken[0]).ordered(_CHANNELS_LAST)
        return _Tensor(function(image, taken[1:], attributes), _CHANNELS_LAST)

    return operator


_OPERATORS: dict[str, _Operator] = {
    **{
        name: _by_element(function)
        for name, function in {
            "Abs": tf.abs,
            "Add": tf.add,
            "And": tf.logical_and,
            "Div": _divided,
            "Equal": tf.equal,
            "Erf": _error_function,
            "Exp": tf.exp,
            "Floor": tf.floor,
            "Greater": tf.greater,
            "GreaterOrEqual": tf.greater_equal,
            "Less": tf.less,
            "LessOrEqual": tf.less_equal,
            "Log": tf.math.log,
            "Mod": tf.math.floormod,
            "Mul": tf.multiply,
            "Neg": tf.negative,
            "Or": tf.logical_or,
            "Pow": tf.pow,
            "Reciprocal": lambda x: 1.0 / x,
            "Relu": tf.nn.relu,
            "Round": tf.round,
            "Sigmoid": tf.sigmoid,
            "Sin": tf.sin,
            "Softplus": tf.math.softplus,
            "Sqrt": tf.sqrt,
            "Sub": tf.subtract,
            "Tanh": tf.tanh,
            "Where": tf.where,
        }.items()
    },
    "Max": _of_many(tf.maximum),
    "Min": _of_many(tf.minimum),
    "ReduceMax": _over_axes(tf.reduce_max),
    "ReduceMean": _over_axes(tf.reduce_mean),
    "ReduceMin": _over_axes(tf.reduce_min),
    "ReduceProd": _over_axes(tf.reduce_prod),
    "ReduceSum": _over_axes(tf.reduce_sum),
    "ArgMax": _highest_place,
    "AveragePool": _in_windows(windows.averaged),
    "BatchNormalization": _normalized,
    "Cast": _cast,
    "Clip": _clipped,
    "Concat": _joined,
    "Conv": _in_windows(windows.convolved),
    "ConvTranspose": _in_windows(windows.convolved_back),
    "Expand": _expanded,
    "Gather": _taken,
    "LeakyRelu": _leaky,
    "MatMul": _product,
    "MaxPool": _in_windows(windows.highest),
    "Pad": _padded,
    "Range": _counted,
    "Reshape": _reshaped,
    "Resize": _in_windows(windows.resized),
    "ReverseSequence": _reversed,
    "Slice": _part,
    "Softmax": _softmax,
    "Squeeze": _without_axes,
    "Tile": _repeated,
    "Transpose": _transposed,
    "Unsqueeze": _with_axes,
}
