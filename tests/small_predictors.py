"""Predictors of networks of one convolution, in ONNX alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from flexseg.config.model import ModelConfig
from flexseg.config.schema import Experiment
from flexseg.dataset.labels import LabelMap
from flexseg.export.graph import Graph
from flexseg.files.preprocess import Preprocessing
from flexseg.inference.engines.onnx_runtime import OnnxEngine
from flexseg.inference.ensemble import EnsemblePredictor
from flexseg.inference.predictor import Predictor
from flexseg.model_file.model_description import ModelDescription

HEIGHT, WIDTH = 24, 32


def network(height: int, width: int, channels: int, classes: int, seed: int = 0) -> onnx.ModelProto:
    """Images [N, h, w, C] to probabilities [N, h, w, classes], by a convolution of 3 x 3."""
    graph = Graph()
    images = graph.input("images", np.float32, ["N", height, width, channels])
    rng = np.random.default_rng(seed)
    weights = rng.normal(0, 0.02 / channels, (classes, channels, 3, 3)).astype(np.float32)
    x = (images - 120.0).transposed(0, 3, 1, 2)
    x = graph.node("Conv", x, graph.tensor(weights, np.float32), pads=[1, 1, 1, 1])
    x = x.transposed(0, 2, 3, 1)
    p = graph.node("Sigmoid", x) if classes == 1 else graph.node("Softmax", x, axis=-1)
    graph.output("p", p, ["N", height, width, classes])
    return graph.model("network", {})


def predictor(
    folder: Path,
    *,
    channels: int = 3,
    classes: int = 3,
    size: tuple[int, int] = (HEIGHT, WIDTH),
    members: int = 1,
    threshold: float = 0.5,
    blur: tuple[int, int] | None = None,
    labels: LabelMap | None = None,
    **options: Any,
) -> tuple[Predictor, list[onnx.ModelProto]]:
    """A predictor and its networks.

    Parameters
    ----------
    options : of the preprocessing.
    """
    height, width = size
    preprocessing = Preprocessing(width, height, channels, **options)
    config = ModelConfig(
        image_width=width, image_height=height, image_channels=channels, num_classes=classes
    )
    labels = labels or LabelMap.from_config(Experiment(model=config).class_sections)
    package = ModelDescription(config, labels, preprocessing, threshold)
    networks, engines = [], []
    for number in range(members):
        networks.append(network(height, width, channels, classes, number))
        file = folder / f"network_{number}.onnx"
        onnx.save(networks[-1], file)
        engines.append(OnnxEngine(file))
    if members == 1:
        return Predictor(package, 2, blur, engines[0]), networks
    return EnsemblePredictor([package] * members, 2, blur, engines), networks


def blobs(size: tuple[int, int], channels: int, seed: int = 0) -> NDArray[np.uint8]:
    """An image [H, W, channels] of smooth areas with some noise."""
    rng = np.random.default_rng(seed)
    rows, columns = (np.arange(side) * 6 // side for side in size)
    coarse = rng.uniform(0, 255, (6, 6, channels))[rows[:, None], columns]
    return np.clip(coarse + rng.normal(0, 8, (*size, channels)), 0, 255).astype(np.uint8)
