"""Files of weights that PyTorch has written, read without PyTorch and without running their code.

They are a series of pickles, then the numbers of each storage (the format of PyTorch before 1.6).
A pickle may name any function of Python; here the few that weights need are known, and no others.
"""

from __future__ import annotations

import os
import pickle
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from flexseg.errors import DataError

_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
_STORAGES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}


@dataclass(frozen=True)
class _Tensor:
    """A tensor whose numbers come later in the file."""

    storage: str
    dtype: np.dtype
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    def of(self, numbers: NDArray) -> NDArray:
        """Its values, from those of its storage."""
        if 0 in self.shape:
            return np.zeros(self.shape, self.dtype)
        steps = [(n - 1) * step for n, step in zip(self.shape, self.stride, strict=True)]
        if min(self.offset, *steps, 0) < 0 or self.offset + sum(steps) >= len(numbers):
            raise ValueError("a tensor does not lie in its storage")
        strides = [step * self.dtype.itemsize for step in self.stride]
        return np.lib.stride_tricks.as_strided(numbers[self.offset :], self.shape, strides)


def _tensor(
    storage: tuple[str, np.dtype], offset: int, shape: tuple[int, ...], stride: tuple[int, ...],
    *_: object,
) -> _Tensor:  # fmt: skip
    return _Tensor(*storage, offset, tuple(shape), tuple(stride))


_KNOWN: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    **{("torch", name): dtype for name, dtype in _STORAGES.items()},
}


class _Reader(pickle.Unpickler):
    """Knows what weights are made of, and refuses all else."""

    def find_class(self, module: str, name: str) -> Any:
        """One of `_KNOWN`."""
        if (module, name) not in _KNOWN:
            raise pickle.UnpicklingError(
                f"it names {module}.{name}, which does not belong to weights"
            )
        return _KNOWN[module, name]

    def persistent_load(self, pid: Any) -> tuple[str, np.dtype]:
        """A storage by its key."""
        _, dtype, key, *_ = pid
        return str(key), dtype


def read_torch_weights(path: Path) -> dict[str, NDArray]:
    """Name -> array of a file that `torch.save(model.state_dict(), path)` has written before 1.6.

    Raises
    ------
    DataError : it is missing, damaged, in another format, or holds anything but weights.
    """
    try:
        with path.open("rb") as file:
            if _Reader(file).load() != _MAGIC or _Reader(file).load() != _PROTOCOL:
                raise ValueError("it is in another format")
            if not _Reader(file).load()["little_endian"]:
                raise ValueError("its numbers are big-endian")
            tensors: dict[str, _Tensor] = dict(_Reader(file).load())
            dtypes = {tensor.storage: tensor.dtype for tensor in tensors.values()}
            numbers = {key: _numbers(file, dtypes[key]) for key in _Reader(file).load()}
            return {name: tensor.of(numbers[tensor.storage]) for name, tensor in tensors.items()}
    except (
        OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, IndexError,
        pickle.UnpicklingError,
    ) as error:  # fmt: skip
        raise DataError(
            f"These are not weights in PyTorch's older format ({error}).",
            "Give the file as it was published.",
            str(path),
        ) from None


def _numbers(file: IO[bytes], dtype: np.dtype) -> NDArray:
    size = int.from_bytes(file.read(8), "little") * dtype.itemsize
    # Judged before it is read: a damaged number may be more than any memory.
    if size > os.fstat(file.fileno()).st_size - file.tell():
        raise EOFError("it ends too early")
    return np.frombuffer(file.read(size), dtype)
