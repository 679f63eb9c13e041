"""TransUNet: the contract, its options, its parameters, and encoders in its levels down."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from contract import ModelContract

from flexseg.errors import ConfigError
from flexseg.models.architecture import MODELS
from flexseg.models.build import build_model, check_architecture
from flexseg.models.layers import PatchEmbedding
from flexseg.models.networks.trans_unet import TransUNetConfig


class TestTransUNet(ModelContract):
    name = "TransUNet"
    unit = 8


SMALL = {
    "filter_num": [4, 6, 8],
    "embed_dim": 8,
    "num_mlp": 12,
    "num_heads": 2,
    "num_transformer": 2,
}


def _config(**keys: Any) -> TransUNetConfig:
    base = {"model": "TransUNet", "image_width": 32, "image_height": 32, "input_normalize": False}
    return TransUNetConfig.model_validate(base | SMALL | keys)


def _kinds(model: keras.Model) -> list[str]:
    return [type(layer).__name__ for layer in model.layers]


def _parameters(config: TransUNetConfig) -> int:
    """The count by the rule: convolutions with bias, max pooling, bilinear upsampling."""
    filters, dim, mlp = config.filter_num, config.embed_dim, config.num_mlp or 3072
    heads = config.num_heads or 12

    def conv(inputs: int, outputs: int) -> int:
        return 9 * inputs * outputs + outputs

    total, channels = 0, config.image_channels
    for width in filters:
        total += conv(channels, width) + (config.stack_num_down - 1) * conv(width, width)
        channels = width
    places = config.image_width * config.image_height // 4 ** (len(filters) - 1)
    total += channels * channels + channels * dim + dim + places * dim
    attention = 3 * heads * (dim * dim + dim) + heads * dim * dim + dim
    perceptron = dim * mlp + mlp + mlp * dim + dim
    total += config.num_transformer * (4 * dim + attention + perceptron) + dim * channels
    for width in filters[-2::-1]:
        total += conv(channels, width) + conv(2 * width, width)
        total += (config.stack_num_up - 1) * conv(width, width)
        channels = width
    return total + channels * config.num_classes + config.num_classes


class TestParameters:
    @pytest.mark.parametrize(
        "keys",
        [
            {},
            {"num_classes": 5, "image_channels": 1, "num_heads": 3},
            {"stack_num_down": 1, "stack_num_up": 3, "filter_num": [4, 8]},
            {"image_width": 64, "num_transformer": 1},
        ],
    )
    def test_small_networks_follow_the_rule(self, keys: dict[str, Any]) -> None:
        assert build_model(_config(**keys)).count_params() == _parameters(_config(**keys))

    def test_the_defaults_are_a_base_transformer(self) -> None:
        keys = {"num_heads": None, "num_mlp": None, "embed_dim": 768, "num_transformer": 1}
        model = build_model(_config(**keys))
        (attention,) = _attentions(model)
        assert (attention.num_heads, attention.key_dim) == (12, 768)
        assert 3072 in {layer.units for layer in model.layers if hasattr(layer, "units")}


def _attentions(model: keras.Model) -> list[keras.layers.MultiHeadAttention]:
    return [layer for layer in model.layers if isinstance(layer, keras.layers.MultiHeadAttention)]


class TestOptions:
    def test_pooling_and_bilinear_upsampling_by_default(self) -> None:
        model = build_model(_config())
        assert _kinds(model).count("MaxPooling2D") == 2
        ups = [x for x in model.layers if isinstance(x, keras.layers.UpSampling2D)]
        assert [layer.interpolation for layer in ups] == ["bilinear", "bilinear"]

    def test_average_pooling_and_nearest_neighbours(self) -> None:
        model = build_model(_config(pool="ave", unpool="nearest"))
        assert _kinds(model).count("AveragePooling2D") == 2
        ups = [x for x in model.layers if isinstance(x, keras.layers.UpSampling2D)]
        assert [layer.interpolation for layer in ups] == ["nearest", "nearest"]

    def test_strided_and_transposed_convolutions(self) -> None:
        model = build_model(_config(pool=False, unpool=False))
        assert not {"MaxPooling2D", "UpSampling2D"} & set(_kinds(model))
        ups = [x for x in model.layers if isinstance(x, keras.layers.Conv2DTranspose)]
        convolutions = [x for x in model.layers if isinstance(x, keras.layers.Conv2D)]
        downs = [layer for layer in convolutions if layer.strides == (2, 2)]
        assert [(x.filters, x.kernel_size) for x in downs] == [(6, (2, 2)), (8, (2, 2))]
        assert [(x.filters, x.kernel_size) for x in ups] == [(6, (3, 3)), (4, (3, 3))]

    @pytest.mark.parametrize("batch_norm", [True, False])
    def test_normalisation_takes_the_place_of_the_bias(self, batch_norm: bool) -> None:
        model = build_model(_config(batch_norm=batch_norm))
        assert ("BatchNormalization" in _kinds(model)) == batch_norm
        convolutions = [x for x in model.layers if getattr(x, "kernel_size", None) == (3, 3)]
        assert {layer.use_bias for layer in convolutions} == {not batch_norm}

    def test_gelu_is_its_tanh_approximation(self) -> None:
        model = build_model(_config())
        layer = next(x for x in model.layers if isinstance(x, keras.layers.Dense))
        activation = layer.output._keras_history.operation
        follower = next(
            x for x in model.layers if isinstance(x, keras.layers.Activation) and x.input.ndim == 3
        )
        assert activation is layer
        x = np.linspace(-3, 3, 13, dtype=np.float32)
        expected = 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
        found = keras.ops.convert_to_numpy(follower(x[None, :, None]))[0, :, 0]
        np.testing.assert_allclose(found, expected, atol=1e-6)

    def test_heads_may_be_a_list_of_one(self) -> None:
        assert _attentions(build_model(_config(num_heads=[3])))[0].num_heads == 3

    def test_places_bind_the_network_to_its_size(self) -> None:
        model = build_model(_config(image_width=61, image_height=30))
        (embedding,) = [x for x in model.layers if isinstance(x, PatchEmbedding)]
        assert embedding.positions.embeddings.shape == (64 // 4 * (32 // 4), 8)


class TestBackbone:
    @pytest.fixture(scope="class")
    @staticmethod
    def resnet() -> keras.Model:
        return build_model(_config(backbone="resnet50", weights="imagenet"))

    def test_its_levels_replace_the_convolutions_down(self, resnet: keras.Model) -> None:
        joins = [x for x in resnet.layers if isinstance(x, keras.layers.Concatenate)]
        assert [[tuple(i.shape[1:]) for i in join.input] for join in joins] == [
            [(16, 16, 6), (16, 16, 64)]
        ]
        assert resnet.output_shape == (None, 32, 32, 2)
        assert not [x for x in resnet.layers if x.name.startswith("conv3")]

    def test_it_is_frozen_with_its_statistics(self, resnet: keras.Model) -> None:
        names = [x.name for x in resnet.layers if x.name.startswith("conv") and x.weights]
        encoder = [n for n in names if n.startswith(("conv1_", "conv2_"))]
        assert len(encoder) > 10
        assert not any(resnet.get_layer(name).trainable for name in encoder)

    def test_without_pretrained_weights_nothing_is_frozen(self) -> None:
        model = build_model(_config(backbone="ResNet50", weights="none"))
        assert all(layer.trainable for layer in model.layers)

    def test_statistics_may_go_on_learning(self) -> None:
        model = build_model(_config(backbone="ResNet50", freeze_batch_norm=False))
        assert not model.get_layer("conv1_conv").trainable
        assert model.get_layer("conv1_bn").trainable

    def test_levels_below_the_encoder_and_missing_features(self) -> None:
        """ConvNeXt has nothing at 1/2; the seventh level is below its last."""
        keys = {"backbone": "ConvNeXtTiny", "weights": "none", "filter_num": [2, 3, 4, 5, 6, 7, 8]}
        config = _config(**keys, image_width=64, image_height=64)
        model = build_model(config)
        assert MODELS.get("TransUNet").multiple(config) == 64
        joins = [x.input[1].shape[1] for x in model.layers if type(x).__name__ == "Concatenate"]
        assert joins == [2, 4, 8, 16]
        assert _kinds(model).count("MaxPooling2D") == 1


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"num_heads": [4, 8]}, "num_heads = [4, 8] has 2 numbers"),
        ({"mlp_activation": "gelou"}, "'gelou' is not an activation"),
        ({"backbone": "ResNet50", "filter_num": [8, 16]}, "filter_num = [8, 16] has 2 levels"),
        ({"backbone": "ResNet49"}, "ResNet49"),
        ({"backbone": "ResNet50", "image_channels": 4}, "image_channels = 4"),
    ],
)
def test_refusals(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        check_architecture(_config(**keys))
    assert message in str(error.value)
