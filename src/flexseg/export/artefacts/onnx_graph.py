"""The graph itself, a file in ONNX."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flexseg.export.artefacts.artefact_format import Artefact, ArtefactFormat
from flexseg.export.whole_graph import IMAGES, LABELS, PROBABILITIES
from flexseg.model_file.export_description import PRECISIONS, ExportDescription

MODEL = "model.onnx"


def _write(graph: Path, folder: Path, description: ExportDescription) -> None:
    (folder / MODEL).write_bytes(graph.read_bytes())


def open_onnx(file: Path) -> Artefact:
    """A graph in ONNX, in float32 on the CPU."""
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])

    def run(images: NDArray) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        labels, p = session.run([LABELS, PROBABILITIES], {IMAGES: images})
        return labels, p

    return run


def _open(folder: Path) -> Artefact:
    return open_onnx(folder / MODEL)


ONNX = ArtefactFormat(
    "onnxruntime", "onnx", MODEL, _write, _open, precisions=PRECISIONS, windows=True
)
