"""All formats of exports by their names."""

from __future__ import annotations

from flexseg.export.artefacts.bioimage_io import BIOIMAGE_IO
from flexseg.export.artefacts.html_page import HTML
from flexseg.export.artefacts.litert_file import LITERT
from flexseg.export.artefacts.mlflow_model import MLFLOW
from flexseg.export.artefacts.onnx_graph import ONNX
from flexseg.export.artefacts.openvino_ir import OPENVINO
from flexseg.export.artefacts.saved_model import SAVED_MODEL
from flexseg.export.artefacts.triton_repository import TRITON

FORMATS = {
    "onnx": ONNX,
    "openvino": OPENVINO,
    "saved-model": SAVED_MODEL,
    "litert": LITERT,
    "bioimageio": BIOIMAGE_IO,
    "triton": TRITON,
    "mlflow": MLFLOW,
    "html": HTML,
}
