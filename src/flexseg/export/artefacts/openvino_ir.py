"""OpenVINO's own format: model.xml and model.bin."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flexseg.export.artefacts.artefact_format import Artefact, ArtefactFormat, write_facts
from flexseg.export.whole_graph import IMAGES, LABELS, PROBABILITIES
from flexseg.inference.engines import openvino_cpu
from flexseg.model_file.export_description import PRECISIONS, ExportDescription

MODEL = "model.xml"


def _write(graph: Path, folder: Path, description: ExportDescription) -> None:
    openvino_cpu.silence()
    import openvino

    openvino_cpu.save(openvino.convert_model(graph), folder / MODEL)
    write_facts(folder, description)


def _open(folder: Path) -> Artefact:
    openvino_cpu.silence()
    import openvino

    in_float32 = {"INFERENCE_PRECISION_HINT": "f32"}
    model = openvino.Core().compile_model(folder / MODEL, "CPU", in_float32)

    def run(images: NDArray) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        found = model({IMAGES: images})
        return found[LABELS], found[PROBABILITIES]

    return run


OPENVINO = ArtefactFormat(
    "openvino",
    "openvino",
    MODEL,
    _write,
    _open,
    "with_openvino.py",
    doubles=False,
    precisions=PRECISIONS,
)
