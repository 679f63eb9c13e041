"""Encoders of keras.applications: taps, scaling, pretrained weights, and their absence."""

from __future__ import annotations

import functools
import hashlib
import socket
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from contract import application
from numpy.typing import NDArray

from flexseg.config.model import ModelConfig
from flexseg.config.network_options import parse_section
from flexseg.errors import ConfigError, DataError, ResourceError
from flexseg.models import encoders
from flexseg.models.architecture import MODELS
from flexseg.models.build import check_architecture
from flexseg.models.encoders import (
    ENCODERS,
    Encoder,
    ImageNormalization,
    build_encoder,
    check_encoder,
    encoder_input,
    family_of,
    load_pretrained,
)
from flexseg.models.pretrained import downloads
from flexseg.models.pretrained.downloads import HASHES
from flexseg.models.weights import save_weights

# One encoder of each kind, with the taps that segmentation networks customarily use.
TAPS = {
    "EfficientNetB0": [
        "block2a_expand_activation",
        "block3a_expand_activation",
        "block4a_expand_activation",
        "block6a_expand_activation",
        "top_activation",
    ],
    "EfficientNetV2B0": [
        "block1a_project_activation",
        "block2b_add",
        "block4a_expand_activation",
        "block6a_expand_activation",
        "top_activation",
    ],
    "ResNet50": [
        "conv1_relu",
        "conv2_block3_out",
        "conv3_block4_out",
        "conv4_block6_out",
        "conv5_block3_out",
    ],
    "ResNet50V2": [
        "conv1_conv",
        "conv2_block3_1_relu",
        "conv3_block4_1_relu",
        "conv4_block6_1_relu",
        "post_relu",
    ],
}
NAMES = [*TAPS, "ConvNeXtTiny"]
PREPROCESS = {
    "ResNet50": keras.applications.resnet.preprocess_input,
    "ResNet50V2": keras.applications.resnet_v2.preprocess_input,
}
STD = np.array([0.229, 0.224, 0.225], np.float32)


def config_of(**keys: Any) -> ModelConfig:
    base = {"model": "EncoderUNet", "image_height": 64, "image_width": 64, "weights": "none"}
    return parse_section(base | keys)


def encoder_of(name: str, **keys: Any) -> tuple[keras.Model, Encoder]:
    """An encoder alone: a network from the image to all features."""
    config = config_of(**keys)
    inputs, x = encoder_input(config)
    encoder = build_encoder(x, config, name)
    return keras.Model(inputs, encoder.features), encoder


@pytest.fixture(autouse=True)
def applications_are_built_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are but patterns of an encoder: no test sees the weights of one before."""
    monkeypatch.setattr(encoders, "_application", application)


@functools.cache
def original(name: str) -> keras.Model:
    """The encoder of keras.applications itself, with random but telling weights."""
    create = getattr(keras.applications, name)
    model: keras.Model = create(include_top=False, weights=None, input_shape=(64, 64, 3))
    rng = np.random.default_rng(7)
    for weight in model.weights:
        r = 0.1 * rng.standard_normal(weight.shape)
        if "gamma" in weight.path or "variance" in weight.path:
            weight.assign(1 + np.abs(r))
        elif len(weight.shape) == 1:
            weight.assign(r)
    for layer in model.layers:
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()
    return model


def images(channels: int = 3) -> NDArray[np.float32]:
    size = (2, 64, 64, channels)
    return np.random.default_rng(0).uniform(0, 255, size).astype(np.float32)


def run(model: keras.Model, x: NDArray) -> list[NDArray]:
    """All outputs."""
    outputs = keras.tree.flatten(model(x.copy(), training=False))
    return [keras.ops.convert_to_numpy(y) for y in outputs]


def close(found: NDArray, expected: NDArray) -> bool:
    return bool(np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max())


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Downloads are refused at once; returns the folder that holds downloaded weights."""
    monkeypatch.setattr(urllib.request, "_opener", None)  # it remembers a former proxy
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    return tmp_path / "models"


class TestNames:
    def test_all_are_of_keras(self) -> None:
        names = [name for name in ENCODERS if ENCODERS.get(name).own is None]
        assert len(names) == 26 == len(ENCODERS) - 1
        assert all(callable(getattr(keras.applications, name)) for name in names)

    def test_letter_case_does_not_matter(self) -> None:
        assert family_of("convnexttiny") is family_of("ConvNeXtTiny")

    def test_unknown_name_gets_the_nearest(self) -> None:
        with pytest.raises(ConfigError) as caught:
            check_encoder(config_of(), "ResNet51")
        assert caught.value.where == "[model] backbone"
        assert "'ResNet51' is not a known encoder" in caught.value.problem
        assert "resnet50" in caught.value.fix


@pytest.mark.parametrize("name", NAMES)
class TestAgainstKeras:
    def test_pretrained_features_are_those_of_keras(self, name: str, tmp_path: Path) -> None:
        """By files in the layouts of Keras 2 and of Keras 3."""
        reference, x = original(name), images()
        saved = reference
        if name == "EfficientNetB0":
            # Keras itself divides by sqrt(STD) once more with weights="imagenet" only; here the
            # variance in the file makes up for it.
            saved = keras.models.clone_model(reference)
            saved.set_weights(reference.get_weights())
            saved.layers[2].adapt_variance.assign(saved.layers[2].adapt_variance / STD)
        if name in ("ResNet50V2", "ConvNeXtTiny"):
            path = tmp_path / "notop.weights.h5"
            saved.save_weights(path)
        else:
            path = tmp_path / "notop.h5"
            save_weights(saved, path)
        config = config_of(weights=path)
        model, encoder = encoder_of(name, weights=path)
        load_pretrained(model, config, name)

        taps = TAPS.get(name, [])
        assert [encoder.outputs[tap] for tap in taps] == encoder.features[: len(taps)]
        outputs = [reference.get_layer(tap).output for tap in taps] or [reference.output]
        expected = run(
            keras.Model(reference.input, outputs), PREPROCESS.get(name, np.array)(x.copy())
        )
        found = run(model, x)[-len(expected) :]
        assert all(e.std() > 1e-3 for e in expected)
        assert all(close(f, e) for f, e in zip(found, expected, strict=True))
        assert model.count_params() == reference.count_params()

    def test_resolutions(self, name: str) -> None:
        """32 pixels are a trap: paddings and squeezed maps have the size of a resolution."""
        _, encoder = encoder_of(name, image_height=32, image_width=96)
        shapes = [feature.shape[1:3] for feature in encoder.features]
        first = 2 if name == "ConvNeXtTiny" else 1
        assert shapes == [(32 >> k, 96 >> k) for k in range(first, 6)]
        for tap, feature in zip(TAPS.get(name, []), encoder.features, strict=False):
            assert encoder.outputs[tap] is feature


class TestScaling:
    def test_resnet_takes_raw_pixels_if_asked(self, tmp_path: Path) -> None:
        reference, x = original("ResNet50"), images()
        save_weights(reference, tmp_path / "notop.h5")
        keys = {"weights": tmp_path / "notop.h5", "input_normalize": False}
        model, _ = encoder_of("ResNet50", **keys)
        load_pretrained(model, config_of(**keys), "ResNet50")
        assert close(run(model, x)[-1], run(keras.Model(reference.input, [reference.output]), x)[0])

    @pytest.mark.parametrize(
        ("name", "mode", "scale"),
        [
            ("EfficientNetV2S", "auto", lambda x: x / 128 - 1),
            ("EfficientNetV2B0", "auto", lambda x: (x / 255 - [0.485, 0.456, 0.406]) / STD),
            ("EfficientNetV2B0", "encoder", lambda x: (x / 255 - [0.485, 0.456, 0.406]) / STD),
            ("EfficientNetV2B0", True, lambda x: x / 255),
            ("EfficientNetV2B0", False, lambda x: x),
        ],
    )
    def test_what_the_first_convolution_sees(
        self, name: str, mode: Any, scale: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        image = keras.Input((256, 256, 3))
        short = keras.Model(image, keras.layers.Conv2D(2, 3)(image))
        monkeypatch.setattr(encoders, "_application", lambda *_: short)
        config = config_of(input_normalize=mode)
        inputs, x = encoder_input(config)
        encoder = build_encoder(x, config, name)
        seen = keras.Model(inputs, encoder.layers[0].input)
        np.testing.assert_allclose(run(seen, images())[0], scale(images()), atol=2e-5)

    @pytest.mark.parametrize("weights", ["none", "imagenet"])
    def test_efficientnet_scales_itself(self, weights: str) -> None:
        model, encoder = encoder_of("EfficientNetB0", weights=weights, input_normalize=False)
        mean, variance = np.array([0.4, 0.5, 0.6]), np.array([0.04, 0.05, 0.06])
        normalization = model.get_layer("encoder_normalization")
        normalization.set_weights([mean, variance, np.array(0)])
        expected = (images() / 255 - mean) / np.sqrt(variance)
        if weights == "imagenet":
            expected /= np.sqrt(STD)
        found = run(keras.Model(model.input, [encoder.outputs["encoder_normalization"]]), images())
        np.testing.assert_allclose(found[0], expected, atol=1e-4)

    @pytest.mark.parametrize("mode", [True, "standardize"])
    def test_efficientnet_is_not_scaled_twice(self, mode: Any) -> None:
        with pytest.raises(ConfigError, match="EfficientNetB3 scales its input itself"):
            check_encoder(config_of(input_normalize=mode), "efficientnetb3")
        check_encoder(config_of(input_normalize=mode), "EfficientNetV2B3")

    def test_normalization_keeps_float32_in_mixed_precision(self) -> None:
        keras.config.set_dtype_policy("mixed_bfloat16")
        layer = ImageNormalization(2.0)
        assert keras.backend.standardize_dtype(layer(images()).dtype) == "float32"


class TestChannels:
    def test_one_channel_is_repeated(self, tmp_path: Path) -> None:
        path = tmp_path / "notop.h5"
        save_weights(original("EfficientNetV2B0"), path)
        features = []
        for channels in (1, 3):
            model, _ = encoder_of("EfficientNetV2B0", image_channels=channels)
            load_pretrained(model, config_of(weights=path), "EfficientNetV2B0")
            features.append(run(model, np.repeat(images(1), channels, axis=-1))[-1])
        np.testing.assert_array_equal(*features)

    @pytest.mark.parametrize("weights", ["imagenet", "some.h5"])
    def test_other_counts_have_no_pretrained_weights(self, weights: str) -> None:
        with pytest.raises(ConfigError, match=r"image_channels = 4.*weights = 'none'"):
            check_encoder(config_of(image_channels=4, weights=weights), "ResNet50")

    @pytest.mark.parametrize("name", ["EfficientNetV2B0", "EfficientNetB0"])
    @pytest.mark.filterwarnings("error::UserWarning")
    def test_other_counts_with_random_weights(self, name: str) -> None:
        model, _ = encoder_of(name, image_channels=5)
        assert all(feature.std() > 0 for feature in run(model, images(5)))


class TestFreezing:
    def test_what_is_trained(self) -> None:
        model, encoder = encoder_of("EfficientNetB0")
        encoder.freeze()
        assert not model.trainable_weights
        encoder.freeze(trained="block7")
        assert {w.path.partition("/")[0].partition("_")[0] for w in model.trainable_weights} == {
            "block7a"
        }
        encoder.freeze(batch_norm=False)
        assert model.trainable_weights
        assert all("_bn/" in weight.path for weight in model.trainable_weights)


def requested_by_keras(name: str, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str, str]:
    """Name and address of the file that keras.applications itself would download, and its hash."""
    files: list[tuple[str, str, str]] = []

    def get_file(name: str, origin: str, **keys: Any) -> str:
        files.append((name, origin, keys["file_hash"]))
        raise FileNotFoundError

    monkeypatch.setattr(sys.modules[keras.utils.get_file.__module__], "get_file", get_file)
    with pytest.raises(FileNotFoundError):
        getattr(keras.applications, name)(include_top=False, weights="imagenet")
    return files[0]


class TestDownload:
    @pytest.mark.parametrize("name", NAMES)
    def test_without_network(
        self,
        name: str,
        no_network: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        with pytest.raises(ResourceError) as caught:
            load_pretrained(keras.Sequential(), config_of(weights="imagenet"), name)
        file, origin, file_hash = requested_by_keras(name, monkeypatch)
        assert file_hash == HASHES[file]
        assert f"{file} cannot be downloaded" in caught.value.problem
        assert f"{origin} into the folder {no_network}," in caught.value.fix
        assert "weights = '/path/to/file.h5'" in caught.value.fix
        assert "weights = 'none'" in caught.value.fix
        assert capsys.readouterr().out == ""

    def test_silent_network(self, no_network: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A host that accepts connections and never answers."""
        monkeypatch.setattr(downloads, "DOWNLOAD_TIMEOUT", 0.3)
        with socket.create_server(("127.0.0.1", 0)) as host:
            monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{host.getsockname()[1]}")
            start = time.monotonic()
            with pytest.raises(ResourceError, match="timed out"):
                encoders._published("efficientnetb0_notop.h5", "keras-applications")
        assert time.monotonic() - start < 10
        assert socket.getdefaulttimeout() is None

    def test_file_placed_by_hand(self, no_network: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        reference = original("EfficientNetB0")
        no_network.mkdir()
        file = no_network / "efficientnetb0_notop.h5"
        save_weights(reference, file)
        with pytest.raises(DataError, match="not the file that was published"):
            load_pretrained(keras.Sequential(), config_of(weights="imagenet"), "efficientnetb0")
        monkeypatch.setitem(HASHES, file.name, hashlib.sha256(file.read_bytes()).hexdigest())
        model, _ = encoder_of("EfficientNetB0")
        load_pretrained(model, config_of(weights="imagenet"), "efficientnetb0")
        for name in ("stem_conv", "block3b_bn", "top_conv"):
            for found, expected in zip(
                model.get_layer(name).weights, reference.get_layer(name).weights, strict=True
            ):
                np.testing.assert_array_equal(found, expected)

    @pytest.mark.parametrize(("weights", "name"), [("none", "ResNet50"), ("imagenet", None)])
    def test_nothing_to_load(self, weights: str, name: str | None, no_network: Path) -> None:
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
        before = model.get_weights()
        load_pretrained(model, config_of(weights=weights), name)
        np.testing.assert_array_equal(model.get_weights()[0], before[0])
        assert not no_network.exists()

    def test_building_loads_nothing(self, no_network: Path) -> None:
        model, _ = encoder_of("EfficientNetV2B0", weights="imagenet")
        assert model.get_layer("stem_conv").weights
        assert not no_network.exists()


@pytest.mark.parametrize(
    ("name", "keys", "encoder"),
    [
        ("DeepLabV3Plus", {}, "ResNet50"),
        ("EfficientUNet", {"efficientnet": "B1"}, "EfficientNetB1"),
        ("EfficientNetB7UNet", {}, "EfficientNetB7"),
        ("EncoderUNet", {}, "EfficientNetV2B0"),
        ("EncoderUNet", {"backbone": "ResNet50V2"}, "ResNet50V2"),
    ],
)
def test_encoders_of_the_networks(name: str, keys: dict[str, Any], encoder: str) -> None:
    config = config_of(model=name, weights="imagenet", **keys)
    check_architecture(config)
    assert MODELS.get(name).backbone(config) == encoder


class TestLocalFile:
    @staticmethod
    def _load(path: Path) -> DataError:
        with pytest.raises(DataError) as caught:
            load_pretrained(keras.Sequential(), config_of(weights=path), "efficientnetb0")
        assert caught.value.where == str(path)
        assert "the weights of EfficientNetB0 without its top" in caught.value.fix
        return caught.value

    @pytest.mark.parametrize("file", ["a.h5", "a.weights.h5"])
    def test_missing(self, tmp_path: Path, file: str) -> None:
        assert "no such weight file" in self._load(tmp_path / file).problem

    @pytest.mark.parametrize("file", ["a.h5", "a.weights.h5"])
    def test_damaged(self, tmp_path: Path, file: str) -> None:
        (tmp_path / file).write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
        assert self._load(tmp_path / file).problem

    def test_of_another_encoder(self, tmp_path: Path) -> None:
        other = keras.applications.EfficientNetB1(include_top=False, weights=None)
        save_weights(other, tmp_path / "b1.h5")
        assert "layer 'block2a_expand_conv'" in self._load(tmp_path / "b1.h5").problem

    def test_of_another_network_in_the_layout_of_keras_3(self, tmp_path: Path) -> None:
        other = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)])
        other.save_weights(tmp_path / "other.weights.h5")
        problem = self._load(tmp_path / "other.weights.h5").problem
        assert "layer 'encoder_normalization' does not fit" in problem

    def test_with_a_hole_in_the_layout_of_keras_3(self, tmp_path: Path) -> None:
        path = tmp_path / "hole.weights.h5"
        original("EfficientNetB0").save_weights(path)
        with h5py.File(path, "a") as file:
            del file["layers/conv2d_9"]
        assert "layer 'block2b_se_reduce'" in self._load(path).problem
