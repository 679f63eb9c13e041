"""How `run.py` opens an export of LiteRT."""

import json
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent


def load() -> tuple:
    """The model, images [N, H, W, C] to labels [N, H, W]; what it says of itself; its pixels."""
    from ai_edge_litert.interpreter import Interpreter

    model = Interpreter(str(HERE / "model.tflite"))
    predict = model.get_signature_runner("serving_default")
    facts = json.loads((HERE / "facts.json").read_text("utf-8"))
    dtype = np.dtype(predict.get_input_details()["images"]["dtype"]).name
    return lambda images: predict(images=images)["labels"], facts, dtype
