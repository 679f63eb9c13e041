"""The formats of exports: how each is made of the graph in ONNX, opened here, and opened alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flexseg.errors import ConfigError
from flexseg.export.whole_graph import IMAGES, LABELS, PROBABILITIES
from flexseg.inference.engines import openvino_cpu
from flexseg.machine import pip_install
from flexseg.outputs import write_json

RUNNERS = Path(__file__).with_name("runners")
# Images [N, H, W, C] to labels [N, H, W] and probabilities [N, H, W, classes].
Artefact = Callable[[NDArray], tuple[NDArray[np.uint8], NDArray[np.float32]]]


@dataclass(frozen=True)
class ArtefactFormat:
    """A format.

    Attributes
    ----------
    library : that runs it, as Python imports it and as pip installs it.
    extra : of flexseg, that has it.
    model : file of the model.
    write : makes it in a folder of the graph, a file in ONNX, and of what it says of itself.
    open : opens it in a folder, in float32 on the CPU.
    runner : the source whose `load` opens it in `run.py`.
    doubles : see `Graph`.
    """

    library: str
    extra: str
    model: str
    write: Callable[[Path, Path, Mapping[str, str]], None]
    open: Callable[[Path], Artefact]
    runner: str
    doubles: bool = True

    def require(self) -> None:
        """Refuse a format whose library is not installed.

        Raises
        ------
        ConfigError : it is not.
        """
        if find_spec(self.library) is None:
            raise ConfigError(
                f"{self.library} is not installed, which runs this format.",
                f"Install it: {pip_install(self.extra)}.",
                "--to",
            )

    def program(self) -> str:
        """The text of `run.py`."""
        text, own = (
            (RUNNERS / name).read_text(encoding="utf-8") for name in ("run.py", self.runner)
        )
        begin, end = text.index("def load("), text.index("def read(")
        load = own[own.index("def load(") :]
        load = load[: load.find("\n\n\n") + 1] if "\n\n\n" in load else load
        return text[:begin] + load.rstrip() + "\n\n\n" + text[end:]


def _keep_onnx(graph: Path, folder: Path, facts: Mapping[str, str]) -> None:
    (folder / "model.onnx").write_bytes(graph.read_bytes())


def _open_onnx(folder: Path) -> Artefact:
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
    )

    def run(images: NDArray) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        labels, p = session.run([LABELS, PROBABILITIES], {IMAGES: images})
        return labels, p

    return run


def _write_openvino(graph: Path, folder: Path, facts: Mapping[str, str]) -> None:
    openvino_cpu.silence()
    import openvino

    openvino_cpu.save(openvino.convert_model(graph), folder / "model.xml")
    write_json(folder / "facts.json", facts)


def _open_openvino(folder: Path) -> Artefact:
    openvino_cpu.silence()
    import openvino

    in_float32 = {"INFERENCE_PRECISION_HINT": "f32"}
    model = openvino.Core().compile_model(folder / "model.xml", "CPU", in_float32)

    def run(images: NDArray) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        found = model({IMAGES: images})
        return found[LABELS], found[PROBABILITIES]

    return run


FORMATS = {
    "onnx": ArtefactFormat("onnxruntime", "onnx", "model.onnx", _keep_onnx, _open_onnx, "run.py"),
    "openvino": ArtefactFormat(
        "openvino",
        "openvino",
        "model.xml",
        _write_openvino,
        _open_openvino,
        "with_openvino.py",
        doubles=False,
    ),
}
