"""The network of a package as a file that plain Keras opens, to go on with."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from flexseg.errors import DataError
from flexseg.inference.engines.conversion import TOLERANCE, float32_copy, probe
from flexseg.inference.engines.opening import load_network
from flexseg.model_file.model_description import ModelDescription
from flexseg.outputs import explain_os_errors, make_folder, set_aside, whole

SUFFIX = ".keras"


def export_keras(
    package: ModelDescription, file: Path, target: Path, search: Path | None = None
) -> Path:
    """Write the network of a package in float32, made of Keras' own layers. Returns the file.

    It takes images [N, h, w, C] as the package prepares them, on the scale from 0 to 255, and gives
    probabilities [N, h, w, classes]. A file that is there moves aside.

    Parameters
    ----------
    file : that the package was read from.
    search : see `build_model`.

    Raises
    ------
    ConfigError : see `plain_copy`.
    DataError : the file is damaged, or what was written answers otherwise.
    ResourceError : there is no room for it.
    """
    import keras

    from flexseg.models.plain_keras import plain_copy

    own = float32_copy(load_network(package, file, "float32", search))
    copy = plain_copy(own)
    make_folder(target.parent)
    with whole(target) as part, explain_os_errors(target):
        copy.save(part)
        written = keras.saving.load_model(part, compile=False)
        x = probe(own.input_shape[1:])
        answers = [keras.ops.convert_to_numpy(model(x, training=False)) for model in (written, own)]
        difference = float(np.abs(np.subtract(*answers)).max())
        if not difference <= TOLERANCE:
            raise DataError(
                f"The network in Keras' file would differ by {difference:.2g} in its "
                "probabilities.",
                "Export to another format: --to saved-model, or --to onnx.",
                str(target),
            )
        set_aside(target)
    return target
