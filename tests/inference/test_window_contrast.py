"""Windows without an object: their noise is not stretched until it looks like objects."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import keras
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from config_parts import labels_of, preprocessing_of
from flexseg.config.schema import Experiment
from flexseg.files.volumes.volume import Volume
from flexseg.inference.engines.conversion import convert
from flexseg.inference.engines.onnx_runtime import MODEL, OnnxEngine
from flexseg.inference.engines.opening import Engine
from flexseg.inference.engines.openvino_cpu import OpenVinoEngine
from flexseg.inference.ensemble import EnsemblePredictor
from flexseg.inference.predictor import Predictor
from flexseg.inference.sliding_window import TiledPredictor
from flexseg.inference.volumes.volume_predictor import VolumePredictor
from flexseg.model_file.contrast import least_contrast
from flexseg.models.layers import Standardize
from flexseg.models.package import ModelPackage

SIDE = 64


def blobs(height: int, width: int, until: int, channels: int = 1, gain: float = 1) -> NDArray:
    """Noise, and left of the column `until` a bright disc in every square of 32 pixels."""
    rng = np.random.default_rng(0)
    image = rng.normal(60, 4, (height, width, channels))
    image[discs(height, width, until)] += 80
    return np.clip(gain * image, 0, 255).astype(np.uint8)


def discs(height: int, width: int, until: int) -> NDArray[np.bool_]:
    y, x = np.mgrid[:height, :width]
    return ((y % 32 - 16) ** 2 + (x % 32 - 16) ** 2 < 25) & (x < until)


def package(channels: int = 1, *, per_channel: bool = False, trained: bool = True) -> ModelPackage:
    """What is two deviations brighter than its window is an object."""
    experiment = Experiment.model_validate(
        {
            "model": {
                "num_classes": 1,
                "image_height": SIDE,
                "image_width": SIDE,
                "image_channels": channels,
                "input_normalize": "standardize_channels" if per_channel else "standardize",
            }
        }
    )
    inputs = keras.Input((SIDE, SIDE, channels))
    layer = keras.layers.Conv2D(1, 1, activation="sigmoid")
    model = keras.Model(inputs, layer(Standardize(per_channel)(inputs)))
    layer.set_weights([np.full((1, 1, channels, 1), 4 / channels), np.array([-8.0])])
    shown = [blobs(SIDE, SIDE, SIDE, channels)]
    found = ModelPackage(
        experiment.model, labels_of(experiment), preprocessing_of(experiment), model=model
    )
    least = least_contrast(shown, channels if per_channel else 1)
    return replace(found, least_contrast=least) if trained else found


def tiled(found: ModelPackage, engine: Engine | None = None) -> TiledPredictor:
    return TiledPredictor(Predictor(found, engine=engine), overlap=16)


def labels(predictor: TiledPredictor, image: NDArray) -> NDArray[np.uint8]:
    ((_, _, p),) = predictor.probabilities([("a", image)])
    return predictor.labels(p)


def objects(found: NDArray) -> int:
    return int(ndimage.label(found)[1])


@pytest.mark.parametrize(("channels", "per_channel"), [(1, False), (3, False), (3, True)])
def test_there_is_no_object_in_empty_parts(channels: int, per_channel: bool) -> None:
    image = blobs(256, 512, 128, channels)
    truth = discs(256, 512, 128)
    before = labels(tiled(package(channels, per_channel=per_channel, trained=False)), image)
    assert objects(before) > objects(truth) + 10
    found = labels(tiled(package(channels, per_channel=per_channel)), image)
    np.testing.assert_array_equal(found, truth)


def test_windows_that_have_objects_are_seen_as_in_training() -> None:
    image = blobs(256, 256, 256)
    known, unknown = (tiled(package(trained=trained)) for trained in (True, False))
    ((_, _, p),) = known.probabilities([("a", image)])
    ((_, _, before),) = unknown.probabilities([("a", image)])
    np.testing.assert_allclose(p, before, atol=1e-2)


@pytest.mark.parametrize("until", [0, SIDE])
def test_an_image_of_one_window_is_seen_whole(until: int) -> None:
    image, found = blobs(SIDE, SIDE, until), package()
    ((_, _, whole),) = Predictor(found).probabilities([("a", image)])
    ((_, _, p),) = tiled(found).probabilities([("a", image)])
    np.testing.assert_array_equal(p, whole)


def test_a_fainter_image_is_no_emptier() -> None:
    faint = blobs(256, 512, 128, gain=0.3)
    np.testing.assert_array_equal(labels(tiled(package()), faint), discs(256, 512, 128))


@pytest.mark.parametrize(
    "engine",
    [
        pytest.param(lambda folder: OnnxEngine(folder / MODEL), id="onnx"),
        pytest.param(lambda folder: OpenVinoEngine(folder, "f32"), id="openvino"),
        pytest.param(lambda folder: OpenVinoEngine(folder, "bf16"), id="openvino-bf16"),
    ],
)
@pytest.mark.parametrize("per_channel", [False, True])
def test_converted_networks_answer_as_keras(
    engine: Callable[[Path], Engine],
    per_channel: bool,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    name = request.node.callspec.id
    pytest.importorskip("onnxruntime" if "onnx" in name else "openvino")
    found, image = package(3, per_channel=per_channel), blobs(128, 256, 96, 3)
    convert(found, "onnx" if "onnx" in name else "openvino", tmp_path)
    ((_, _, expected),) = tiled(found).probabilities([("a", image)])
    ((_, _, p),) = tiled(found, engine(tmp_path)).probabilities([("a", image)])
    np.testing.assert_allclose(p, expected, atol=0.05 if "bf16" in name else 1e-4)


def test_networks_of_whole_numbers_keep_inputs_of_little_contrast(tmp_path: Path) -> None:
    # Not imported here: its converter would report to its makers, see `openvino_cpu.silence`.
    if find_spec("nncf") is None:
        pytest.skip("nncf is not installed")
    from flexseg.inference.engines.quantization import quantize

    found = package(3)
    rng = np.random.default_rng(0)
    seen = blobs(SIDE, SIDE, SIDE, 3)[None] + rng.normal(0, 3, (8, 1, SIDE, SIDE, 3))
    quantize(found, seen.astype(np.float32), tmp_path / "network.xml")
    engine = OpenVinoEngine(None, "f32", tmp_path / "network.xml")
    # Few objects, whose window has less than the least contrast.
    image = blobs(128, 256, 8, 3)
    image[:64, :64] = blobs(SIDE, SIDE, 40, 3)
    image[64:, 192:] = blobs(SIDE, SIDE, SIDE, 3)
    ((_, _, expected),) = tiled(found).probabilities([("a", image)])
    ((_, _, p),) = tiled(found, engine).probabilities([("a", image)])
    np.testing.assert_allclose(p, expected, atol=0.1)


def test_each_member_of_an_ensemble_has_its_own_contrast() -> None:
    members = [package(3, trained=False), package(3), package(3, per_channel=True)]
    image = blobs(128, 256, 96, 3)
    together = TiledPredictor(EnsemblePredictor(members), overlap=16)
    ((_, _, p),) = together.probabilities([("a", image)])
    alone = []
    for member in members:
        ((_, _, own),) = tiled(member).probabilities([("a", image)])
        alone.append(own)
    np.testing.assert_allclose(p, np.mean(alone, axis=0), atol=1e-5)


def test_empty_slices_of_a_volume_have_no_object() -> None:
    slices = [blobs(128, 128, until)[..., 0] for until in (0, 96, 0)]
    predictor = Predictor(package())
    windows = TiledPredictor(predictor, overlap=16)
    found = VolumePredictor(predictor, tiles=windows).labels(Volume(np.stack(slices)))
    cut = [discs(128, 128, until) for until in (0, 96, 0)]
    assert found.sum() == pytest.approx(np.sum(cut), rel=0.02)
    assert not found[0].any() and not found[2].any()
