"""How `run.py` opens an export of TensorFlow."""

import json
from pathlib import Path

HERE = Path(__file__).parent


def load() -> tuple:
    """The model, images [N, H, W, C] to labels [N, H, W]; what it says of itself; its pixels."""
    import tensorflow as tf

    predict = tf.saved_model.load(str(HERE / "saved_model")).signatures["serving_default"]
    facts = json.loads((HERE / "facts.json").read_text("utf-8"))
    dtype = predict.structured_input_signature[1]["images"].dtype.name
    return lambda images: predict(images=tf.constant(images))["labels"].numpy(), facts, dtype
