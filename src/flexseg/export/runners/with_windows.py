"""How `run.py` opens an export whose network sees images by windows."""

import json
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent


def load() -> tuple:
    """The model, images [N, H, W, C] to labels [N, H, W]; what it says of itself; its pixels."""
    import onnxruntime
    from windows import probabilities

    model = onnxruntime.InferenceSession(HERE / "model.onnx", providers=["CPUExecutionProvider"])
    facts = model.get_modelmeta().custom_metadata_map
    dtype = model.get_inputs()[0].type[len("tensor(") : -1].replace("float", "float32")
    windows = json.loads(facts["windows"])

    def labels(image: np.ndarray) -> np.ndarray:
        run = lambda part: model.run(["probabilities"], {"images": part})[0]  # noqa: E731
        p = probabilities(run, image, windows)
        found = p[..., 0] > windows["threshold"] if p.shape[-1] == 1 else p.argmax(-1)
        return found.astype(np.uint8)

    return lambda images: np.stack([labels(image) for image in images]), facts, dtype
