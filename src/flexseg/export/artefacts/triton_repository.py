"""A model repository of NVIDIA's Triton Inference Server, whose ONNX Runtime runs the graph."""

from __future__ import annotations

from pathlib import Path

import onnx

from flexseg.export.artefacts.artefact_format import Artefact, ArtefactFormat
from flexseg.export.artefacts.onnx_graph import open_onnx
from flexseg.model_file.export_description import PRECISIONS, ExportDescription
from flexseg.outputs import write_text

# Triton takes the folder's name for the model's.
_NAME = "segmentation"
MODEL = f"{_NAME}/1/model.onnx"
_MOST_IMAGES = 8
_TYPES: dict[int, str] = {
    onnx.TensorProto.UINT8: "TYPE_UINT8",
    onnx.TensorProto.UINT16: "TYPE_UINT16",
    onnx.TensorProto.FLOAT: "TYPE_FP32",
}
_USAGE = f"""## In a Triton server

This folder is a model repository, and `{_NAME}` is the model's name in the server; rename that
folder to change it.

```
docker run --rm -p 8000:8000 -v "$PWD":/models nvcr.io/nvidia/tritonserver:YY.MM-py3 \\
    tritonserver --model-repository=/models
```

where YY.MM is a release. Add `--gpus all` for GPUs. A client (`pip install "tritonclient[http]"`):

```python
import numpy as np
from tritonclient.http import InferenceServerClient, InferInput
from tritonclient.utils import np_to_triton_dtype

images = np.load("test_input.npy")  # [N, H, W, C]
given = InferInput("images", images.shape, np_to_triton_dtype(images.dtype))
given.set_data_from_numpy(images)
client = InferenceServerClient("localhost:8000")
labels = client.infer("{_NAME}", [given]).as_numpy("labels")  # [N, H, W]
```

A request holds up to {_MOST_IMAGES} images of one size; Triton runs requests of equal sizes
together. Its answers are those of the graph; steps after the graph are left to the client, see
`cleaned` in run.py.

`config.pbtxt` agrees with `model.onnx`, which ONNX Runtime ran for the proof below. **It was not
run in a Triton server.**"""


def _write(graph: Path, folder: Path, description: ExportDescription) -> None:
    file = folder / MODEL
    file.parent.mkdir(parents=True)
    file.write_bytes(graph.read_bytes())
    write_text(folder / _NAME / "config.pbtxt", triton_config(onnx.load(graph)))


def triton_config(model: onnx.ModelProto) -> str:
    """The text of config.pbtxt: names, types and sizes are those of the graph.

    The first axis of each tensor is Triton's batch.
    """

    def tensors(name: str, values: list[onnx.ValueInfoProto]) -> str:
        return f"{name} [\n" + ",\n".join(_tensor(value) for value in values) + "\n]"

    return f"""# The model takes the name of this folder.
backend: "onnxruntime"
max_batch_size: {_MOST_IMAGES}
{tensors("input", list(model.graph.input))}
{tensors("output", list(model.graph.output))}
# Requests are run together if their images have one size.
dynamic_batching {{ }}
"""


def _tensor(value: onnx.ValueInfoProto) -> str:
    kind = value.type.tensor_type
    sizes = [d.dim_value if d.HasField("dim_value") else -1 for d in kind.shape.dim[1:]]
    return f'  {{ name: "{value.name}" data_type: {_TYPES[kind.elem_type]} dims: {sizes} }}'


def _open(folder: Path) -> Artefact:
    return open_onnx(folder / MODEL)


TRITON = ArtefactFormat(
    "onnxruntime", "onnx", MODEL, _write, _open, usage=_USAGE, precisions=PRECISIONS
)
