"""An export is a model repository of Triton, whose config says of the graph what it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from small_predictors import predictor
from written_exports import run_alone, save_images, write

pytestmark = pytest.mark.usefixtures("engines_on")


@pytest.mark.parametrize(
    ("options", "pixels"),
    [
        ({"channels": 1}, "uint8"),
        ({"channels": 3, "neighbours": 1}, "uint16"),
        ({"channels": 3, "classes": 1}, "float32"),
    ],
)
def test_the_config_has_the_signature_of_the_graph(
    options: dict[str, int], pixels: str, tmp_path: Path
) -> None:
    """Read by the definition of Triton's own client."""
    model_config_pb2 = pytest.importorskip("tritonclient.grpc.model_config_pb2")
    from google.protobuf import text_format

    folder = write(tmp_path / "out", *predictor(tmp_path, **options), pixels, kind="triton")
    (model,) = (path for path in folder.iterdir() if path.is_dir())  # the rest Triton ignores
    text = (model / "config.pbtxt").read_text(encoding="utf-8")
    config = text_format.Parse(text, model_config_pb2.ModelConfig())
    assert config.backend == "onnxruntime" and not config.name
    assert config.max_batch_size > 1 and config.HasField("dynamic_batching")
    (version,) = (path for path in model.iterdir() if path.is_dir())
    assert version.name == "1"
    session = onnxruntime.InferenceSession(version / "model.onnx")
    types = {
        "tensor(uint8)": "TYPE_UINT8",
        "tensor(uint16)": "TYPE_UINT16",
        "tensor(float)": "TYPE_FP32",
    }
    for told, has in (
        (config.input, session.get_inputs()),
        (config.output, session.get_outputs()),
    ):
        for tensor, own in zip(told, has, strict=True):
            assert tensor.name == own.name
            assert model_config_pb2.DataType.Name(tensor.data_type) == types[own.type]
            sizes = [-1 if isinstance(size, str) else size for size in own.shape]
            assert [-1, *tensor.dims] == sizes
    images = np.load(folder / "test_input.npy")
    many = np.concatenate([images] * config.max_batch_size)
    labels, _ = session.run(None, {"images": many})
    assert (labels == np.load(folder / "test_labels.npy")).all()


def test_it_predicts_alone_and_in_flexseg(tmp_path: Path) -> None:
    from flexseg.api.trained_model import Model

    folder = write(tmp_path / "out", *predictor(tmp_path, channels=1), kind="triton")
    images = save_images(tmp_path / "scans")
    assert run_alone(folder, "--check").returncode == 0
    run = run_alone(folder, tmp_path / "scans", "-o", tmp_path / "masks")
    assert run.returncode == 0, run.stderr
    card = " ".join((folder / "README.md").read_text(encoding="utf-8").split())
    assert "not run in a Triton" in card and "infer segmentation/1/model.onnx" in card
    model = Model.load(folder / "segmentation/1/model.onnx")
    facts = {p.key for p in onnx.load(folder / "segmentation/1/model.onnx").metadata_props}
    assert "classes" in facts
    assert model.predict(images["a"]).labels.shape == images["a"].shape[:2]
