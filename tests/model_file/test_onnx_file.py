"""The texts at the top of ONNX files: as the package onnx writes and reads them."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexseg.model_file.onnx_file import add_properties, read_properties

onnx = pytest.importorskip("onnx")
helper = pytest.importorskip("onnx.helper")


def write(path: Path, properties: dict[str, str]) -> None:
    value = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [None, 3])
    weights = helper.make_tensor("w", onnx.TensorProto.FLOAT, [500], [0.5] * 500)
    graph = helper.make_graph([], "identity", [value], [value], [weights])
    model = helper.make_model(graph)
    helper.set_model_props(model, properties)
    onnx.save(model, str(path))


def test_texts_are_added_to_those_that_are_there(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    write(path, {"author": "someone"})
    assert read_properties(path) == {"author": "someone"}
    added = {"digest": "f" * 64, "Größe": "x" * 300}
    add_properties(path, added)
    assert read_properties(path) == {"author": "someone"} | added
    model = onnx.load(str(path))
    assert {p.key: p.value for p in model.metadata_props} == {"author": "someone"} | added
    assert len(model.graph.initializer[0].float_data) == 500


@pytest.mark.parametrize(
    "content", [b"", b"\x89PNG\r\n\x1a\n", b"\xff" * 30, b"\x72\x05\x0a\x03abc"]
)
def test_other_files_have_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(content)
    assert read_properties(path) == {}
    assert read_properties(tmp_path / "missing.onnx") == {}


@given(st.binary(max_size=200))
def test_damage_is_never_a_crash(content: bytes) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.onnx"
        path.write_bytes(content)
        assert all(isinstance(text, str) for text in read_properties(path).values())
