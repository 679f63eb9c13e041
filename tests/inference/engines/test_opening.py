"""Engines answer as Keras does, are chosen by what is installed, and fail over to Keras."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from flexseg.config.schema import Experiment
from flexseg.errors import ConfigError
from flexseg.inference.engines import onnx_runtime, openvino_cpu
from flexseg.inference.engines import opening as engines
from flexseg.inference.engines.conversion import ConversionError
from flexseg.inference.engines.opening import KerasEngine, choose, installed, open_engine
from flexseg.inference.engines.quantized import files_of
from flexseg.inference.ensemble import EnsemblePredictor
from flexseg.models.architecture import MODELS
from flexseg.models.networks import efficientnet_b7_unet
from flexseg.models.package import ModelPackage
from support import run_script

sys.path.append(str(Path(__file__).parents[2] / "models"))
from small import SMALL

CONVERTED = ("openvino", "onnx")
# The others take several seconds each to convert.
QUICK = ("UNet", "TransUNet")

pytestmark = pytest.mark.usefixtures("engines_on")


def need(engine: str) -> None:
    if not installed(engine):
        pytest.skip(f"the extra {engine} is not installed")


def package_of(name: str, **keys: Any) -> ModelPackage:
    """A small network of the registry with random weights."""
    size = 16 if name == "SwinUNet" else 32
    model = {"model": name, "image_height": size, "image_width": 2 * size, "num_classes": 3}
    classes = [{"id": i, "color": [i, i, i]} for i in (1, 2)]
    experiment = Experiment.model_validate(
        {"model": model | SMALL[name] | keys, "mask": {"classes": classes}}
    )
    package = ModelPackage.create(experiment)
    rng = np.random.default_rng(0)
    for weight in package.model.weights:
        shape = tuple(weight.shape)
        if len(shape) > 1 and weight.trainable:
            r = rng.standard_normal(shape) / np.sqrt(np.prod(shape[:-1]))
            weight.assign(r.astype(np.float32))
    return package


def images(package: ModelPackage, count: int = 3) -> NDArray[np.float32]:
    shape = (count, *package.model.input_shape[1:])
    return np.random.default_rng(1).uniform(0, 255, shape).astype(np.float32)


@pytest.fixture
def saved(tmp_path: Path) -> tuple[ModelPackage, Path]:
    package = package_of("UNet")
    file = tmp_path / "models" / "best_model.h5"
    file.parent.mkdir()
    package.save(file, {})
    return package, file


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of converted networks."""
    monkeypatch.setenv("FLEXSEG_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "engines"


@pytest.fixture
def conversions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the engines that a network was converted for."""
    made: list[str] = []
    convert = engines.convert

    def counted(package: ModelPackage, engine: str, folder: Path) -> None:
        made.append(engine)
        convert(package, engine, folder)

    monkeypatch.setattr(engines, "convert", counted)
    return made


# tf2onnx writes shapes for its normalisation that ONNX Runtime refuses; Keras takes over.
FALL_BACK = {("SegFormer", "onnx")}


@pytest.mark.parametrize("engine", CONVERTED)
@pytest.mark.parametrize(
    "name",
    [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in sorted(MODELS)],
)
def test_every_network_answers_as_in_keras(
    name: str, engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Float32 within 1e-5 of Keras and the same labels, for batches of any size."""
    need(engine)
    # Of the same kinds of layers as B7, but a tenth of the time.
    monkeypatch.setattr(efficientnet_b7_unet, "BACKBONE", "EfficientNetB0")
    package = package_of(name)
    file = tmp_path / "m.h5"
    package.save(file, {})
    found = open_engine(package, file, setting=engine, precision="float32")
    if (name, engine) in FALL_BACK:
        assert found.name == "keras"
        return
    assert (found.name, found.precision) == (engine, "f32")
    x = images(package)
    expected = KerasEngine(package).predict(x)
    assert expected.std() > 0.005
    p = found.predict(x)
    assert p.dtype == np.float32 and p.shape == expected.shape
    assert np.abs(p - expected).max() <= 1e-5
    assert (p.argmax(-1) == expected.argmax(-1)).mean() >= 0.999
    np.testing.assert_allclose(found.predict(x[:1]), expected[:1], atol=1e-5)


def test_bfloat16_is_near(saved: tuple[ModelPackage, Path]) -> None:
    need("openvino")
    package, file = saved
    found = open_engine(package, file, setting="openvino")
    assert found.precision == ("bf16" if openvino_cpu.has_bfloat16() else "f32")
    difference = found.predict(images(package)) - KerasEngine(package).predict(images(package))
    assert np.abs(difference).max() < 0.02


@pytest.mark.parametrize("engine", CONVERTED)
def test_mixed_precision_is_converted_in_float32(engine: str, tmp_path: Path) -> None:
    need(engine)
    plain = package_of("UNet")
    file = tmp_path / "m.h5"
    plain.save(file, {})
    keras.config.set_dtype_policy("mixed_bfloat16")
    package = ModelPackage.load(file)
    found = open_engine(package, file, setting=engine, precision="float32")
    assert keras.config.dtype_policy().name == "mixed_bfloat16"
    x = images(plain)
    assert np.abs(found.predict(x) - KerasEngine(plain).predict(x)).max() <= 1e-5


class TestChoice:
    def test_fastest_that_is_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        there = {"openvino", "onnx"}
        monkeypatch.setattr(engines, "installed", lambda name: name == "keras" or name in there)
        assert choose("auto") == "openvino"
        there.remove("openvino")
        assert choose("auto") == "onnx"
        with pytest.raises(ConfigError, match=r'pip install "flexseg\[openvino\]"'):
            choose("openvino")
        there.clear()
        assert choose("auto") == choose("keras") == "keras"

    def test_keras_on_an_accelerator(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(engines.backend, "accelerator", lambda: "a GPU")
        monkeypatch.setattr(engines, "installed", lambda name: True)
        assert choose("auto") == "keras"
        assert choose("openvino") == "openvino"


class TestFailure:
    def test_keras_and_a_warning_that_says_why(
        self,
        saved: tuple[ModelPackage, Path],
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
        cache: Path,
    ) -> None:
        need("openvino")
        monkeypatch.setattr(logging.getLogger("flexseg"), "propagate", True)

        def refuse(*_: Any) -> None:
            raise RuntimeError("in core.cpp:1:\nNo conversion rule for FancyOp\n\n")

        monkeypatch.setattr(openvino_cpu, "write", refuse)
        found = open_engine(*saved, setting="openvino")
        assert found.name == "keras"
        assert "No conversion rule for FancyOp" in caplog.text
        assert not list(cache.glob("*"))

    def test_a_network_that_answers_differently_is_refused(
        self, saved: tuple[ModelPackage, Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        need("onnx")
        predict = onnx_runtime.OnnxEngine.predict
        monkeypatch.setattr(
            onnx_runtime.OnnxEngine, "predict", lambda self, x: predict(self, x) + 0.01
        )
        with pytest.raises(ConversionError, match=r"differ by 0\.01"):
            engines.convert(saved[0], "onnx", saved[1].parent)


class TestCache:
    def test_second_start_does_not_convert(
        self, saved: tuple[ModelPackage, Path], conversions: list[str]
    ) -> None:
        need("onnx")
        first = open_engine(*saved, setting="onnx").predict(images(saved[0]))
        second = open_engine(*saved, setting="onnx").predict(images(saved[0]))
        assert conversions == ["onnx"]
        np.testing.assert_array_equal(first, second)
        assert [file.name for file in saved[1].parent.iterdir()] == ["best_model.h5"]

    def test_other_weights_get_another_entry(
        self, saved: tuple[ModelPackage, Path], conversions: list[str]
    ) -> None:
        need("onnx")
        package, file = saved
        before = open_engine(package, file, setting="onnx").predict(images(package))
        for weight in package.model.trainable_weights:
            weight.assign(1.5 * weight)
        package.save(file, {})
        after = open_engine(package, file, setting="onnx").predict(images(package))
        assert np.abs(after - before).max() > 1e-3
        assert len(conversions) == 2

    def test_damaged_entry_is_made_anew(
        self, saved: tuple[ModelPackage, Path], conversions: list[str], cache: Path
    ) -> None:
        need("onnx")
        open_engine(*saved, setting="onnx")
        (entry,) = cache.glob("onnx-*/model.onnx")
        entry.write_bytes(entry.read_bytes()[:100])
        assert open_engine(*saved, setting="onnx").name == "onnx"
        assert len(conversions) == 2


def test_nothing_is_reported_to_the_makers(saved: tuple[ModelPackage, Path]) -> None:
    need("openvino")
    open_engine(*saved, setting="openvino")
    assert sys.modules["openvino_telemetry"] is None


def test_ensemble_uses_an_engine_for_each_member(saved: tuple[ModelPackage, Path]) -> None:
    class Constant:
        name, precision = "constant", "f32"

        def __init__(self, value: float) -> None:
            self.value = value

        def predict(self, batch: NDArray) -> NDArray[np.float32]:
            return np.full((len(batch), 2, 2, 3), self.value, np.float32)

    package = saved[0]
    predictor = EnsemblePredictor([package, package], engines=[Constant(0.2), Constant(0.6)])
    assert predictor.at_model_size(np.zeros((1, 2, 2, 3)))[0, 0, 0, 0] == pytest.approx(0.4)
    assert predictor.describe()["engine"] == "constant f32"


class TestInt8:
    def test_without_a_network(self, saved: tuple[ModelPackage, Path]) -> None:
        need("openvino")
        with pytest.raises(ConfigError, match="flexseg quantize CONFIG --keep"):
            open_engine(*saved, int8=True)

    def test_of_another_model(self, saved: tuple[ModelPackage, Path]) -> None:
        need("openvino")
        model, weights, description = files_of(saved[1])
        for file in (model, weights):
            file.write_text("")
        for text in ('{"sha256": "of another"}', "[]", "{"):
            description.write_text(text)
            with pytest.raises(ConfigError, match="from another model"):
                open_engine(*saved, int8=True)

    def test_is_of_openvino(self, saved: tuple[ModelPackage, Path]) -> None:
        with pytest.raises(ConfigError, match="computed by OpenVINO"):
            open_engine(*saved, setting="onnx", int8=True)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["jax", "torch"])
def test_networks_of_other_backends_are_converted(
    engine: str, saved: tuple[ModelPackage, Path], tmp_path: Path
) -> None:
    need("openvino")
    run_script(Path(__file__), engine, saved[1], tmp_path / "p.npz")
    with np.load(tmp_path / "p.npz") as found:
        assert str(found["name"]) == "openvino"
        assert np.abs(found["p"] - KerasEngine(saved[0]).predict(images(saved[0]))).max() <= 1e-4


def _predict(file: Path, target: Path) -> None:
    package = ModelPackage.load(file)
    found = open_engine(package, file, setting="openvino", precision="float32")
    np.savez(target, p=found.predict(images(package)), name=np.array(found.name))


if __name__ == "__main__":
    _predict(Path(sys.argv[1]), Path(sys.argv[2]))
