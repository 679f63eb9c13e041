"""Networks whose answer is known, so that inference can be checked pixel by pixel."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import pytest

from config_parts import labels_of, preprocessing_of
from flexseg.config.schema import Experiment
from flexseg.inference.pictures.viewer import niivue_problem
from flexseg.inference.predictor import Predictor
from flexseg.models.package import ModelPackage

# Not in the order of the spectrum, so that a palette by position would be noticed.
COLORS = [(10, 20, 30), (0, 0, 255), (255, 128, 0)]


@pytest.fixture(autouse=True)
def float32() -> Iterator[None]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    yield
    keras.config.set_dtype_policy(before)


@pytest.fixture
def niivue_bundle() -> None:
    """Fail, or skip where npm is not there, unless NiiVue was fetched."""
    if problem := niivue_problem():
        (pytest.fail if shutil.which("npm") else pytest.skip)(str(problem))


def _pixelwise(size: tuple[int, int], kernel: Any, bias: Any, activation: str) -> keras.Model:
    inputs = keras.Input((*size, len(kernel)))
    layer = keras.layers.Conv2D(len(bias), 1, activation=activation)
    model = keras.Model(inputs, layer(inputs))
    layer.set_weights([np.array(kernel, np.float32)[None, None], np.array(bias, np.float32)])
    return model


@pytest.fixture
def brightest_channel() -> Callable[..., Predictor]:
    """A predictor of 3 classes: the class of a pixel is its brightest channel (R 0, G 1, B 2)."""

    def make(size: tuple[int, int] = (8, 8), order: str = "RGB", **keys: Any) -> Predictor:
        experiment = Experiment.model_validate(
            {
                "model": {"num_classes": 3, "image_height": size[0], "image_width": size[1]},
                "mask": {"classes": [{"id": i, "color": c} for i, c in enumerate(COLORS)]},
                "image": {"color_order": order},
            }
        )
        return _predictor(experiment, _pixelwise(size, 0.1 * np.eye(3), [0, 0, 0], "softmax"), keys)

    return make


@pytest.fixture
def brightness() -> Callable[..., Predictor]:
    """A predictor of one class: the probability of a pixel is its mean brightness / 255."""

    def make(
        size: tuple[int, int] = (8, 8), threshold: float = 0.5, channels: int = 3, **keys: Any
    ) -> Predictor:
        experiment = Experiment.model_validate(
            {
                "model": {
                    "num_classes": 1,
                    "image_height": size[0],
                    "image_width": size[1],
                    "image_channels": channels,
                },
                "mask": {"classes": [{"id": i, "color": c} for i, c in enumerate(COLORS[:2])]},
                "infer": {"threshold": threshold * 255},
            }
        )
        kernel = np.full((channels, 1), 1 / (255 * channels))
        return _predictor(experiment, _pixelwise(size, kernel, [0], "linear"), keys, threshold)

    return make


def _predictor(
    experiment: Experiment, model: keras.Model, keys: dict[str, Any], threshold: float = 0.5
) -> Predictor:
    package = ModelPackage(
        experiment.model,
        labels_of(experiment),
        preprocessing_of(experiment),
        threshold,
        model=model,
    )
    return Predictor(package, **keys)
