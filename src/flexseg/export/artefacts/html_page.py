"""A page that segments images in a browser: no server, no network, nothing to install.

The page holds the graph and ONNX Runtime Web (MIT), which `tools/browser_libraries.py` puts into
the package when a release or the environment of development is made. Its content security policy
lets its own program run and forbids every connection.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from flexseg import __version__
from flexseg.errors import ConfigError
from flexseg.export.about import About
from flexseg.export.artefacts.artefact_format import ArtefactFormat
from flexseg.export.artefacts.onnx_graph import MODEL, ONNX
from flexseg.export.whole_graph import stored_channels
from flexseg.files.display import shown_color
from flexseg.inference.trust import conformal
from flexseg.model_file.export_description import ExportDescription
from flexseg.outputs import write_text

PAGE = "index.html"
_ASSETS = resources.files("flexseg.export").joinpath("page")
_RUNTIME, _RUNTIME_WASM = "onnxruntime-web.mjs", "onnxruntime-web.wasm.gz"
_SEES = {
    "uint8": "Images have 8 bits per colour.",
    "uint16": "PNGs may have 16 bits.",
    "float32": "PNGs may have 16 bits.",
}
_USAGE = f"""## In a browser

Open `{PAGE}` in a browser of 2023 or later, by a double click. This one file is all that is needed;
it works without a network and sends nothing. It holds the graph of `{MODEL}` and ONNX Runtime Web.
The proof below is that of the same graph with ONNX Runtime for Python; a button of the page
compares the browser with it."""


class _HtmlFormat(ArtefactFormat):
    def require(self, licence: str | None) -> None:
        """See `ArtefactFormat.require`; the page takes ONNX Runtime Web as well."""
        super().require(licence)
        for name in (_RUNTIME, _RUNTIME_WASM):
            if not _ASSETS.joinpath(name).is_file():
                raise ConfigError(
                    "This installation of flexseg lacks ONNX Runtime Web, which computes in "
                    "browsers.",
                    "Run `python tools/browser_libraries.py` (needs npm) in flexseg's source "
                    "folder and install it again, or install a release.",
                    "--to",
                )


def _write(graph: Path, folder: Path, description: ExportDescription) -> None:
    seen = description.preprocessing
    if stored_channels(seen) is not None:
        raise ConfigError(
            f"The network sees {seen.channels} channels at once; files that browsers read are grey "
            "or colour images.",
            "Use --to onnx.",
            "--to",
        )
    if seen.window is not None and seen.window[0] < 0:
        raise ConfigError(
            f"The network sees values from {seen.window[0]:g} on; files that browsers read have "
            "none below 0.",
            "Use --to onnx.",
            "--to",
        )
    ONNX.write(graph, folder, description)


def _complete(folder: Path, about: About, description: ExportDescription) -> None:
    test = np.load(folder / "test_input.npy")
    blobs = {
        "wasm": _asset(_RUNTIME_WASM),
        "worker": _compressed(_worker().encode("utf-8")),
        "licences": _compressed(_asset("onnxruntime-web.LICENSES.txt")),
        "model": _compressed((folder / MODEL).read_bytes()),
        "test-pixels": _compressed(test.tobytes()),
        "test-labels": _compressed(np.load(folder / "test_labels.npy").tobytes()),
    }
    settings = _settings(description) | {"test": test.shape}
    css, script = map(_text, ("page.css", "page.js"))
    environment = Environment(
        loader=PackageLoader("flexseg.export", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("page.html.j2").render(
        about=about,
        classes=description.labels.foreground,
        background=description.labels.classes[0].name,
        sees=_SEES[description.pixels],
        calibrated=bool(description.quality),
        proof=json.loads((folder / "parity.json").read_text("utf-8")),
        version=__version__,
        css=css,
        css_hash=_hash(css),
        script=script,
        script_hash=_hash(script),
        settings=json.dumps(settings).replace("<", "\\u003c"),
        blobs={name: base64.b64encode(blob).decode("ascii") for name, blob in blobs.items()},
    )
    write_text(folder / PAGE, page)


def _settings(description: ExportDescription) -> dict[str, Any]:
    """What the page's program has to know, plain JSON types."""
    classes = description.labels.classes
    ids = {c.name: c.id for c in classes}
    return {
        "classes": [
            {
                "id": c.id,
                "name": c.name,
                "colour": c.colors[0],
                "shown": shown_color(c.colors[0], c.id),
            }
            for c in classes
        ],
        "pixels": description.pixels,
        "scaled": description.scaled,
        "window": description.preprocessing.window,
        "steps": {
            ids[name]: steps for name, steps in description.postprocess.get("2d", {}).items()
        },
        "quality": description.quality,
        "limits": {
            "fewest": conformal.FEWEST,
            "fewestOfALine": conformal.FEWEST_OF_A_LINE,
            "alpha": conformal.ALPHA,
            "leastError": conformal.LEAST_ERROR,
            "good": conformal.GOOD,
            "failed": conformal.FAILED,
        },
    }


def _worker() -> str:
    """The program beside the page as one classic script: pages of files may not load modules."""
    runtime = _text(_RUNTIME).replace("import.meta.url", "self.location.href")
    runtime, exported = runtime.rsplit("export{", 1)
    names = re.findall(r"(\w+) as (\w+)", exported[: exported.index("}")])
    given = ", ".join(f"{name}: {inner}" for inner, name in names)
    parts = [f'const onnxruntime = (() => {{ "use strict"; {runtime}\nreturn {{ {given} }}; }})();']
    for name in ("png.js", "labels.js", "zip.js", "worker.js"):
        parts.append(re.sub("^export ", "", _text(name), flags=re.MULTILINE))
    return "\n".join(parts)


def _asset(name: str) -> bytes:
    return _ASSETS.joinpath(name).read_bytes()


def _text(name: str) -> str:
    return _asset(name).decode("utf-8")


def _compressed(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)


def _hash(text: str) -> str:
    """What the page's policy knows a program or style by."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode()


HTML = _HtmlFormat(
    ONNX.library,
    ONNX.extra,
    MODEL,
    _write,
    ONNX.open,
    usage=_USAGE,
    signal=True,
    precisions=ONNX.precisions,
    complete=_complete,
)
