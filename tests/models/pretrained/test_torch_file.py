"""Weights of PyTorch are read without it, and nothing in their files is run."""

from __future__ import annotations

import os
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flexseg.errors import DataError
from flexseg.models.pretrained.torch_file import (
    _MAGIC,
    _PROTOCOL,
    _Tensor,
    read_torch_weights,
)


def test_equals_what_was_saved(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    shared = torch.arange(24, dtype=torch.float32)
    state = OrderedDict(
        a=torch.randn(4, 3, 2).permute(2, 0, 1),
        b=torch.tensor(7),
        c=shared[6:18].reshape(3, 4),
        d=shared[:0],
    )
    path = tmp_path / "w.pth"
    torch.save(state, path, _use_new_zipfile_serialization=False)
    found = read_torch_weights(path)
    assert list(found) == list(state)
    for name, tensor in state.items():
        np.testing.assert_array_equal(found[name], tensor.numpy())
        assert found[name].dtype == tensor.numpy().dtype
    for length in (0, 1, 20, 200, path.stat().st_size - 1):
        (tmp_path / "cut.pth").write_bytes(path.read_bytes()[:length])
        with pytest.raises(DataError, match="not weights in PyTorch's older format"):
            read_torch_weights(tmp_path / "cut.pth")
    torch.save(state, path)
    with pytest.raises(DataError, match="older format"):
        read_torch_weights(path)


def test_a_size_that_no_memory_holds_is_refused_before_it_is_read(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    path = tmp_path / "w.pth"
    torch.save({"a": torch.zeros(3)}, path, _use_new_zipfile_serialization=False)
    whole = path.read_bytes()
    path.write_bytes(whole[:-20] + b"\xff" * 8 + whole[-12:])
    with pytest.raises(DataError, match="it ends too early"):
        read_torch_weights(path)


class _Harmful:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("place", [0, 2, 3, 4])
def test_code_is_refused(tmp_path: Path, place: int) -> None:
    parts: list[Any] = [_MAGIC, _PROTOCOL, {"little_endian": True}, {}, []]
    parts[place] = _Harmful(tmp_path / "made")
    path = tmp_path / "w.pth"
    path.write_bytes(b"".join(pickle.dumps(part, 2) for part in parts))
    with pytest.raises(DataError, match=r"it names \w+\.mkdir"):
        read_torch_weights(path)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("content", [[], 5, {"a": 1}, {1: (2, 3)}])
def test_other_content(tmp_path: Path, content: object) -> None:
    path = tmp_path / "w.pth"
    parts = (_MAGIC, _PROTOCOL, {"little_endian": True}, content, ["0"])
    path.write_bytes(b"".join(pickle.dumps(part, 2) for part in parts))
    with pytest.raises(DataError, match="not weights"):
        read_torch_weights(path)
    with pytest.raises(DataError):
        read_torch_weights(tmp_path / "missing.pth")


@pytest.mark.parametrize(
    ("offset", "shape", "stride", "right"),
    [
        (0, (2, 3), (3, 1), True),
        (0, (2, 3), (1, 2), True),
        (1, (2, 3), (3, 1), False),
        (-1, (2,), (1,), False),
        (5, (2,), (-1,), False),
        (0, (2, 3), (30, 1), False),
    ],
)
def test_a_tensor_lies_in_its_storage(
    offset: int, shape: tuple[int, ...], stride: tuple[int, ...], right: bool
) -> None:
    tensor = _Tensor("0", np.dtype("<f4"), offset, shape, stride)
    numbers = np.arange(6, dtype="<f4")
    if right:
        assert sorted(tensor.of(numbers).ravel()) == list(range(6))
    else:
        with pytest.raises(ValueError, match="does not lie"):
            tensor.of(numbers)
