"""A small model of brightness, and a server with it: `python tests/served.py FOLDER [PORT]`."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from PIL import Image

import flexseg
from flexseg.config.model import ModelConfig
from flexseg.config.schema import Experiment
from flexseg.dataset.labels import LabelMap
from flexseg.errors import ResourceError
from flexseg.export.about import About
from flexseg.export.artefact import write_export
from flexseg.export.graph import Graph
from flexseg.export.proof.proof_cases import generated_cases
from flexseg.files.images import encode_png
from flexseg.files.preprocess import Preprocessing
from flexseg.inference.engines.onnx_runtime import OnnxEngine
from flexseg.inference.predictor import Predictor
from flexseg.model_file.model_description import ModelDescription
from ports import free_port

SIZE = 64
CLASSES = [
    {"id": 1, "name": "bright", "color": (230, 60, 60)},
    {"id": 2, "name": "dark", "color": (60, 90, 230)},
]
# Above and below which pixels are bright and dark.
BRIGHT, DARK = 170.0, 60.0
PATIENCE = 120


def network(steepness: float = 0.2) -> onnx.ModelProto:
    """Grey images [N, h, w, 1] to probabilities of neither, bright and dark, pixel by pixel."""
    graph = Graph()
    images = graph.input("images", np.float32, ["N", SIZE, SIZE, 1])
    weights = np.array([0, steepness, -steepness], np.float32).reshape(3, 1, 1, 1)
    bias = np.array([0, -steepness * BRIGHT, steepness * DARK], np.float32)
    x = images.transposed(0, 3, 1, 2)
    x = graph.node(
        "Conv", x, graph.tensor(weights, np.float32), graph.tensor(bias, np.float32)
    ).transposed(0, 2, 3, 1)
    graph.output("p", graph.node("Softmax", x, axis=-1), ["N", SIZE, SIZE, 3])
    return graph.model("network", {})


def write_model(folder: Path, steepness: float = 0.2) -> Path:
    """An export of the network; the path of its file."""
    parts = folder.parent / f"{folder.name}_network"
    parts.mkdir(parents=True, exist_ok=True)
    file = parts / "network.onnx"
    onnx.save(network(steepness), file)
    config = ModelConfig(image_width=SIZE, image_height=SIZE, image_channels=1, num_classes=3)
    labels = LabelMap.from_config(
        Experiment.model_validate({"model": config, "mask": {"classes": CLASSES}}).class_sections
    )
    package = ModelDescription(
        config, labels, Preprocessing(SIZE, SIZE, 1, intensity="percentile"), 0.5
    )
    predictor = Predictor(package, 4, None, OnnxEngine(file))
    proof = generated_cases(package, "uint8")
    write_export(predictor, [file], folder, proof, About("brightness"), "uint8")
    return folder / "model.onnx"


def picture(seed: int = 0, size: tuple[int, int] = (96, 128)) -> NDArray[np.uint8]:
    """A grey image [H, W] with a bright and a dark ellipse."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[: size[0], : size[1]]
    pixels = np.full(size, 115.0)
    for value in (220.0, 25.0):
        y, x = rng.uniform(0.25, 0.75, 2) * size
        a, b = rng.uniform(0.1, 0.25, 2) * min(size)
        pixels[((rows - y) / a) ** 2 + ((columns - x) / b) ** 2 < 1] = value
    return np.clip(pixels + rng.normal(0, 6, size), 0, 255).astype(np.uint8)


def uploaded(client: Any, pixels: NDArray[np.uint8], **fields: Any) -> str:
    """Upload an image; the id of its case."""
    files = {"file": ("picture.png", encode_png(pixels))}
    answer = client.post("/api/cases", files=files, data=fields)
    assert answer.status_code == 202, answer.text
    return answer.json()["cases"][0]["id"]


def ended(client: Any, case: str) -> dict[str, Any]:
    """A case once its prediction has ended."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        found = client.get(f"/api/cases/{case}").json()
        if found["state"] in ("done", "failed", "canceled"):
            return found
        time.sleep(0.05)
    raise AssertionError(found)


@contextmanager
def serving(data: Path, *models: Path) -> Iterator[tuple[subprocess.Popen[bytes], flexseg.Client]]:
    """`flexseg serve` once it answers."""
    port = free_port()
    command = [sys.executable, "-m", "flexseg.cli", "serve", *map(str, models)]
    server = subprocess.Popen([*command, "--data", str(data), "--port", str(port)])
    client = flexseg.Client(f"http://127.0.0.1:{port}")
    try:
        end = time.monotonic() + PATIENCE
        while True:
            assert server.poll() is None and time.monotonic() < end
            try:
                client.models()
                break
            except ResourceError:
                time.sleep(0.1)
        yield server, client
    finally:
        server.send_signal(signal.SIGINT)
        assert server.wait(PATIENCE) in (0, -signal.SIGKILL)


def main(folder: Path, port: int) -> None:
    """Serve, with a few pictures to upload in FOLDER/pictures."""
    import uvicorn

    from flexseg.serve.app import create_app
    from flexseg.serve.settings import ServeSettings

    model = folder / "brightness" / "model.onnx"
    if not model.exists():
        write_model(model.parent)
        (folder / "pictures").mkdir(exist_ok=True)
        for seed in range(6):
            Image.fromarray(picture(seed)).save(folder / "pictures" / f"picture_{seed}.png")
    app = create_app(ServeSettings(folder / "data", (model,), port=port))
    uvicorn.run(app, host="127.0.0.1", port=port)


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute(), int(sys.argv[2]) if len(sys.argv) > 2 else 8000)
