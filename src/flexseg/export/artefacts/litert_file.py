"""LiteRT (TensorFlow Lite), for phones and small machines: one file, by its builtin operators.

Its signatures share their weights. Delegates to accelerators want sizes that do not change, so one
has the network's own, and is the first in the file, which programs take by default.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from numpy.typing import NDArray

from flexseg.errors import ResourceError
from flexseg.export.artefacts.artefact_format import Artefact, ArtefactFormat, write_facts
from flexseg.export.artefacts.saved_model import SIGNATURE, in_tensorflow
from flexseg.export.whole_graph import IMAGES, LABELS, PROBABILITIES
from flexseg.inference.engines.conversion import silenced
from flexseg.machine import available_memory, size_text, usable_cores
from flexseg.model_file.export_description import ExportDescription

MODEL = "model.tflite"
FIXED = "fixed_size"  # signatures are written in the order of the alphabet

# Bytes that TensorFlow's converter takes for one of the network: 7 to 11 were seen.
_MEMORY = 12

_USAGE = f"""## On a phone

The file has two signatures, which share their weights: `{SIGNATURE}` takes images of any size, as
`run.py` does; `{FIXED}`, the first in the file, takes one image of the network's own size and as
many channels, because accelerators of phones need sizes that do not change. Resize images before
it, and labels after it, yourself."""


def _write(graph: Path, folder: Path, description: ExportDescription) -> None:
    _require_memory(graph.stat().st_size)
    import tensorflow as tf

    from flexseg.export.tensorflow_weights import Weights

    size, model = description.preprocessing, onnx.load(graph)
    module = tf.Module()
    module.weights = Weights()
    shape = [1, size.height, size.width, size.channels]
    module.fixed = in_tensorflow(model, shape, module.weights)
    module.any = in_tensorflow(model, weights=module.weights)
    signatures = {FIXED: module.fixed, SIGNATURE: module.any}
    with TemporaryDirectory(dir=graph.parent) as saved, silenced():
        tf.saved_model.save(module, saved, signatures=signatures)
        converter = tf.lite.TFLiteConverter.from_saved_model(saved, signature_keys=[*signatures])
        (folder / MODEL).write_bytes(converter.convert())
    write_facts(folder, description)


def _require_memory(weights: int) -> None:
    """Refuse what the system would end without a word.

    Raises
    ------
    ResourceError : the conversion will probably take more memory than there is.
    """
    needed, free = _MEMORY * weights, available_memory()
    if free is not None and needed > free:
        raise ResourceError(
            f"The conversion to LiteRT takes about {size_text(needed)} of memory for a network of "
            f"{size_text(weights)}; {size_text(free)} are free.",
            "Export on a machine with more memory, or choose another format, e.g. --to onnx.",
            "--to litert",
        )


def _open(folder: Path) -> Artefact:
    from ai_edge_litert.interpreter import Interpreter

    predict = Interpreter(str(folder / MODEL), num_threads=usable_cores()).get_signature_runner(
        SIGNATURE
    )

    def run(images: NDArray) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        found = predict(**{IMAGES: images})
        return found[LABELS], found[PROBABILITIES]

    return run


LITERT = ArtefactFormat(
    "ai_edge_litert",
    "litert",
    MODEL,
    _write,
    _open,
    "with_litert.py",
    maker="tensorflow",
    usage=_USAGE,
    doubles=False,
)
