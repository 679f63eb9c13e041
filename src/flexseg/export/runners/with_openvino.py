"""How `run.py` opens an export of OpenVINO."""

import json
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent


def load() -> tuple:
    """The model, images [N, H, W, C] to labels [N, H, W]; what it says of itself; its pixels."""
    import openvino

    in_float32 = {"INFERENCE_PRECISION_HINT": "f32"}
    model = openvino.Core().compile_model(HERE / "model.xml", "CPU", in_float32)
    facts = json.loads((HERE / "facts.json").read_text("utf-8"))
    dtype = np.dtype(model.input(0).get_element_type().to_dtype()).name
    return lambda images: model({"images": images})["labels"], facts, dtype
