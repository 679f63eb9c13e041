"""What every network of the registry must do; a network's tests inherit from it."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any, ClassVar

import keras
import numpy as np
import pytest
from numpy.typing import NDArray
from small import SMALL

from flexseg.config.model import ModelConfig, NetworkConfig
from flexseg.config.network_options import with_options
from flexseg.errors import ConfigError
from flexseg.losses import keras_loss
from flexseg.models import encoders
from flexseg.models.architecture import MODELS
from flexseg.models.build import build_model, check_architecture
from flexseg.models.weights import load_weights, save_weights

# The pattern of an encoder, which is costly to make; its weights are not used.
application = functools.cache(encoders._application)


class ModelContract:
    """Inherit as `class TestX(ModelContract)` and set `name`; `small` keys keep it small.

    Attributes
    ----------
    unit : heights and widths of the tests are multiples of it.
    pads : the network takes any size, by padding inside.
    resting : parts of the paths of trainable weights that rightly have no gradient.
    learning_rate : of the training step that must lower the loss.
    """

    name: ClassVar[str]
    small: ClassVar[dict[str, Any]] = {}
    unit: ClassVar[int] = 0
    pads: ClassVar[bool] = True
    resting: ClassVar[tuple[str, ...]] = ()
    learning_rate: ClassVar[float] = 1e-3

    @pytest.fixture(autouse=True)
    def quick(self, eager: None) -> None:
        """Only the training step is compiled; so are all predictions in test_backends.py."""

    def keys(self) -> dict[str, Any]:
        """The keys of [model] that make the network small."""
        return SMALL[MODELS.canonical(self.name)] | self.small

    def config(self, classes: int, size: tuple[int, int] | None = None, **keys: Any) -> ModelConfig:
        """A small network of this kind; `size` is height, width, by default one unit."""
        height, width = size or (self.multiple(), self.multiple())
        return ModelConfig.model_validate(
            {
                "model": self.name,
                "num_classes": classes,
                "image_height": height,
                "image_width": width,
                **self.keys(),
                **keys,
            }
        )

    def multiple(self) -> int:
        """What heights and widths of the tests are multiples of."""
        keys = {"model": self.name, **self.keys()}
        config = with_options(ModelConfig.model_validate(keys))
        return self.unit or MODELS.get(self.name).multiple(config)

    @staticmethod
    def images(config: ModelConfig, count: int = 2) -> NDArray[np.float32]:
        """Random images on the 0..255 scale."""
        size = (count, config.image_height, config.image_width, config.image_channels)
        return np.random.default_rng(0).uniform(0, 255, size).astype(np.float32)

    def test_says_what_it_is(self) -> None:
        architecture = MODELS.get(self.name)
        assert 20 < len(architecture.summary) < 100
        assert re.search(r"(19|20)\d\d", architecture.paper)
        assert issubclass(architecture.config, NetworkConfig)
        fields = architecture.config.model_fields
        assert all(fields[key].description for key in architecture.options)
        assert set(self.keys()) <= set(architecture.options)

    def test_one_class_of_grey_images_of_a_legal_size(self) -> None:
        size = (3 * self.multiple(), 5 * self.multiple())
        self.probabilities(self.config(1, size, image_channels=1))

    def test_several_classes_and_any_size_padded_inside_or_refused(self) -> None:
        size = (self.multiple() + 3, 2 * self.multiple() - 1)
        if not self.pads:
            with pytest.raises(ConfigError, match="Nearest"):
                check_architecture(self.config(5, size))
            size = (5 * self.multiple(), self.multiple())
        p = self.probabilities(self.config(5, size))
        np.testing.assert_allclose(p.sum(axis=-1), 1, atol=1e-5)
        assert p[:, 0, :, 0].std() > 0 and p[:, :, -1, 0].std() > 0

    def probabilities(self, config: ModelConfig) -> NDArray[np.float32]:
        """What a new network says of two images, which must be probabilities of their size."""
        model = build_model(config)
        size = config.image_height, config.image_width
        assert model.output_shape == (None, *size, config.num_classes)
        p: NDArray[np.float32] = model.predict_on_batch(self.images(config))
        assert p.shape == (2, *size, config.num_classes) and p.dtype == np.float32
        assert (p >= 0).all() and (p <= 1).all() and p.std() > 0
        return p

    def test_float32_output_in_mixed_precision(self) -> None:
        keras.config.set_dtype_policy("mixed_bfloat16")
        model = build_model(self.config(2))
        assert model.outputs[0].dtype == "float32"
        assert "bfloat16" in {layer.compute_dtype for layer in model.layers if layer.weights}

    def test_weights_survive_a_file_bit_for_bit(self, tmp_path: Path) -> None:
        config = self.config(3)
        first = build_model(config)
        rng = np.random.default_rng(5)
        for weight in first.weights:
            weight.assign(np.abs(rng.normal(1, 0.1, weight.shape)).astype(np.float32))
        second = build_model(config)
        save_weights(first, tmp_path / "weights.h5", {})
        load_weights(second, tmp_path / "weights.h5")
        assert len(first.weights) > 0
        for a, b in zip(first.get_weights(), second.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
        x = self.images(config)
        np.testing.assert_array_equal(first.predict_on_batch(x), second.predict_on_batch(x))

    def test_a_training_step_lowers_the_loss(self) -> None:
        self.train(1, "bce_dice_loss")

    @pytest.mark.usefixtures("compiled")
    def test_a_compiled_training_step_lowers_the_loss(self) -> None:
        self.train(3, "dice_ce_loss")

    def train(self, classes: int, loss: str) -> None:
        """Every weight gets a gradient, and after a step the loss is lower."""
        config = self.config(classes)
        model = build_model(config)
        objective = keras_loss(loss, classes)
        model.compile(
            optimizer=keras.optimizers.Adam(self.learning_rate), loss=objective, jit_compile=False
        )
        model.optimizer.build(model.trainable_variables)  # else the step is traced twice
        x = self.images(config)
        labels = (x[..., 0] * max(classes, 2) / 256).astype(np.uint8)
        before = model.get_weights()
        losses = [float(np.mean(model.train_on_batch(x, labels))) for _ in range(2)]
        assert np.isfinite(losses).all()
        assert losses[1] < losses[0]
        trained = {weight.path for weight in model.trainable_weights}
        resting = {
            weight.path
            for weight, a, b in zip(model.weights, before, model.get_weights(), strict=True)
            if np.array_equal(a, b) and weight.path in trained
        }
        expected = {path for path in resting if any(part in path for part in self.resting)}
        assert resting == expected, "weights without a gradient"


class EncoderContract(ModelContract):
    """For networks on encoders of keras.applications: many layers, and few pixels in the deepest.

    The images have structure: of noise, all deep features are alike, and batch normalisation
    would make their tiny differences so large that one step does anything to the loss.
    """

    @pytest.fixture(autouse=True)
    def quick(self, eager: None, monkeypatch: pytest.MonkeyPatch) -> None:
        """To compile hundreds of layers takes longer than the few steps of the tests."""
        monkeypatch.setattr(encoders, "_application", application)

    test_a_compiled_training_step_lowers_the_loss = None

    @pytest.fixture(autouse=True)
    def every_block(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """No stochastic depth: a block that is left out has no gradient."""
        monkeypatch.setattr(keras.layers.Dropout, "call", lambda self, x, training=False: x)

    def test_a_training_step_lowers_the_loss(self) -> None:
        self.train(3, "dice_ce_loss")

    @staticmethod
    def images(config: ModelConfig, count: int = 2) -> NDArray[np.float32]:
        """Images of 4 x 4 areas in random colours on the 0..255 scale."""
        height, width = config.image_height, config.image_width
        size = (count, 4, 4, config.image_channels)
        colors = np.random.default_rng(0).uniform(0, 255, size).astype(np.float32)
        rows, columns = np.arange(height) * 4 // height, np.arange(width) * 4 // width
        return colors[:, rows[:, None], columns]
