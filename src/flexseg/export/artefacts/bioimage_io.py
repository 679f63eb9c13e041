"""A model package of BioImage.IO: the graph, and a description that other programs run it by.

The description is that of bioimageio.spec, and the package has to pass bioimageio.core's test.
"""

from __future__ import annotations

import json
import re
import textwrap
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import tifffile
from numpy.typing import NDArray

from flexseg import __version__
from flexseg.errors import ConfigError, DataError
from flexseg.export.about import About
from flexseg.export.artefacts.artefact_format import ArtefactFormat
from flexseg.export.artefacts.onnx_graph import MODEL, ONNX
from flexseg.export.whole_graph import IMAGES, LABELS, PROBABILITIES
from flexseg.files.display import displayable
from flexseg.files.images import write_png
from flexseg.model_file.export_description import ExportDescription

DESCRIPTION, PACKAGE = "rdf.yaml", "bioimageio.zip"
_COVER, _COVER_SIZE = "cover.png", 256
# Letters of names and texts: at least and at most.
_SHORTEST_NAME, _LONGEST_NAME, _LONGEST_TEXT = 5, 64, 1024
# Of a million labels, so many may be others on other machines, as in run.py.
_OTHER_LABELS = 1000
_USAGE = f"""## In programs of BioImage.IO

`{PACKAGE}` is the package that such programs take, `{DESCRIPTION}` what it says of itself. It
passed the test of bioimageio.core where it was made:

```
pip install bioimageio.core onnxruntime
bioimageio test {PACKAGE}
```

Images have to be given whole, not in blocks, as the graph resizes what it is given. Labels are
those of the graph; steps after it are in run.py. To publish the model, add `authors`, `cite` and,
where it lacks one, `license` to `{DESCRIPTION}`, and pack it anew:
`bioimageio package {DESCRIPTION} {PACKAGE}`."""


class _BioImageFormat(ArtefactFormat):
    def require(self, licence: str | None) -> None:
        """See `ArtefactFormat.require`; the licence has to be one of SPDX."""
        super().require(licence)
        if licence is not None:
            spdx_identifier(licence)


def spdx_identifier(licence: str) -> str:
    """A licence as SPDX spells it.

    Raises
    ------
    ConfigError : SPDX does not have it.
    """
    from bioimageio.spec.generic.v0_3 import LicenseId

    known = LicenseId.root_model.model_json_schema()["enum"]
    found = next((one for one in known if one.lower() == licence.lower()), None)
    if found is None:
        raise ConfigError(
            f"BioImage.IO takes licences by their identifiers of SPDX, not {licence!r}.",
            "Give one of https://spdx.org/licenses, such as CC-BY-4.0, Apache-2.0 or MIT.",
            "--license",
        )
    return str(found)


def _complete(folder: Path, about: About, description: ExportDescription) -> None:
    from bioimageio.core import test_model
    from bioimageio.spec import (
        ValidationContext,
        save_bioimageio_package,
        save_bioimageio_package_as_folder,
    )
    from loguru import logger

    logger.disable("bioimageio")  # it warns of all that a description may have
    _write_pictures(folder, description)
    with ValidationContext(root=folder, file_name=DESCRIPTION, log_warnings=False):
        content = _described(folder, about, description)
        save_bioimageio_package_as_folder(content, output_path=folder)
        save_bioimageio_package(content, output_path=folder / PACKAGE)
    summary = test_model(folder / PACKAGE, weight_format="onnx")
    if summary.status != "passed":
        why = "; ".join(error.msg for detail in summary.details for error in detail.errors)
        raise DataError(
            f"The package does not pass bioimageio.core's test: {why}.",
            "Use --to onnx, which writes the same graph.",
            str(folder),
        )


def _write_pictures(folder: Path, description: ExportDescription) -> None:
    """The generated image and its labels, for programs that show them, and as one picture."""
    image, labels = (np.load(folder / f"test_{name}.npy")[0] for name in ("input", "labels"))
    middle = description.preprocessing.neighbours
    if image.shape[-1] == 3 and not middle:
        tifffile.imwrite(folder / _sample(IMAGES), image, photometric="rgb")
    else:  # a page for each channel
        pages = image.transpose(2, 0, 1)
        tifffile.imwrite(folder / _sample(IMAGES), pages, photometric="minisblack")
    tifffile.imwrite(folder / _sample(LABELS), labels, photometric="minisblack")
    shown = displayable(image[..., middle : middle + 1] if middle else image)
    halves = [_square(shown), _square(description.labels.id_colors[labels])]
    write_png(folder / _COVER, np.hstack(halves))


def _sample(tensor: str) -> str:
    return f"sample_{tensor}.tif"


def _square(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    size = (_COVER_SIZE, _COVER_SIZE)
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_NEAREST))


def _described(folder: Path, about: About, description: ExportDescription) -> dict[str, Any]:
    """The content of `DESCRIPTION`; files are relative to the folder."""
    from bioimageio.spec.model.v0_5 import ModelDescr

    graph = onnx.load(folder / MODEL, load_external_data=False)
    licence = {} if about.licence is None else {"license": spdx_identifier(about.licence)}
    steps = description.postprocess.get("2d") or {}
    equal_labels = {
        "output_ids": [LABELS],
        "relative_tolerance": 0.0,
        "absolute_tolerance": 0.0,
        "mismatched_elements_per_million": _OTHER_LABELS,
    }
    return {
        "type": "model",
        "format_version": ModelDescr.implemented_format_version,
        "name": _name(about.title),
        "description": _text(about, description, steps),
        **licence,
        "tags": ["flexseg", "medical", "2d", "semantic-segmentation"],
        "covers": [{"source": _COVER}],
        "documentation": {"source": "README.md"},
        "attachments": [{"source": "run.py"}, {"source": "parity.json"}],
        "inputs": [_images(folder, description)],
        "outputs": _outputs(description),
        "weights": {
            "onnx": {"source": MODEL, "opset_version": graph.opset_import[0].version},
        },
        "config": {
            "bioimageio": {
                "task": "semantic segmentation",
                "reproducibility_tolerance": [equal_labels],
            },
            "flexseg": {"version": __version__, "postprocessing": json.dumps(steps)},
        },
    }


def _name(title: str) -> str:
    """A title in the letters that names have."""
    plain = " ".join(re.sub(r"[^A-Za-z0-9_+\-() ]", " ", title).split())[:_LONGEST_NAME].strip()
    return plain if len(plain) >= _SHORTEST_NAME else f"segmentation {plain}".strip()


def _text(about: About, description: ExportDescription, steps: dict[str, Any]) -> str:
    classes = ", ".join(c.name for c in description.labels.classes)
    parts = [
        f"Segmentation into {classes}. Takes pixels of whole images of any size as they are "
        "stored; scaling, resizing and normalisation are in the graph.",
        f"Not in the graph, but in run.py, are these steps on labels: {json.dumps(steps)}."
        if steps
        else "",
        about.intended_use,
    ]
    return textwrap.shorten(" ".join(parts), _LONGEST_TEXT, placeholder=" ...")


def _images(folder: Path, description: ExportDescription) -> dict[str, Any]:
    count = np.load(folder / "test_input.npy", mmap_mode="r").shape[-1]
    n = description.preprocessing.neighbours
    if n:
        channels = [f"slice {place:+d}" for place in range(-n, n + 1)]
    elif count == 3:
        channels = ["red", "green", "blue"]
    else:
        channels = ["grey"] if count == 1 else [f"channel {i}" for i in range(count)]
    return {
        "id": IMAGES,
        "description": "Pixels as they are stored",
        "axes": [
            {"type": "batch"},
            *({"type": "space", "id": side, "size": {"min": 1, "step": 1}} for side in "yx"),
            {"type": "channel", "channel_names": channels},
        ],
        "data": {"type": description.pixels},
        "test_tensor": {"source": "test_input.npy"},
        "sample_tensor": {"source": _sample(IMAGES)},
    }


def _outputs(description: ExportDescription) -> list[dict[str, Any]]:
    names = [c.name for c in description.labels.classes]
    axes = [
        {"type": "batch"},
        *(
            {"type": "space", "id": side, "size": {"tensor_id": IMAGES, "axis_id": side}}
            for side in "yx"
        ),
    ]
    channels = names[1:] if description.labels.binary else names
    return [
        {
            "id": LABELS,
            "description": "Class of each pixel",
            "axes": axes,
            "data": {"type": "uint8", "values": names},
            "test_tensor": {"source": "test_labels.npy"},
            "sample_tensor": {"source": _sample(LABELS)},
        },
        {
            "id": PROBABILITIES,
            "description": "Probability of each class",
            "axes": [*axes, {"type": "channel", "channel_names": channels}],
            "data": {"type": "float32", "range": [0.0, 1.0]},
            "test_tensor": {"source": "test_probabilities.npy"},
        },
    ]


BIOIMAGE_IO = _BioImageFormat(
    ONNX.library,
    "bioimageio",
    MODEL,
    ONNX.write,
    ONNX.open,
    maker="bioimageio.core",
    usage=_USAGE,
    complete=_complete,
)
