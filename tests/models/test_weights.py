"""Weight files: the layout of Keras 2, exact round trips, and files that do not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

from flexseg.config.model import ModelConfig
from flexseg.errors import DataError
from flexseg.model_file.hdf5_weights import read_weights
from flexseg.models.build import build_model
from flexseg.models.weights import load_weights, save_weights, weights_file_size


def _network(**keys: Any) -> keras.Model:
    base = {"image_width": 16, "image_height": 16, "num_layers": 2, "base_filters": 4}
    return build_model(ModelConfig.model_validate(base | keys))


@pytest.fixture
def saved(tmp_path: Path) -> tuple[keras.Model, Path]:
    model = _network(normalization=True, dropout_rate=0.1)
    path = tmp_path / "best_model.h5"
    save_weights(model, path, {"answer": 42, "name": "Größe"})
    return model, path


class TestLayout:
    def test_layers_and_names_are_those_of_keras_2(self, saved: tuple[keras.Model, Path]) -> None:
        model, path = saved
        with h5py.File(path) as file:
            layers = [name.decode() for name in file.attrs["layer_names"]]
            assert layers == [layer.name for layer in model.layers]
            convolution = next(layer for layer in model.layers if "conv2d" in layer.name)
            names = file[convolution.name].attrs["weight_names"]
            expected = [f"{convolution.name}/kernel:0", f"{convolution.name}/bias:0"]
            assert [name.decode() for name in names] == expected
            kernel = file[convolution.name][expected[0]]
            assert kernel.dtype == np.float32 and kernel.shape == (3, 3, 3, 4)
            norm = next(layer for layer in model.layers if "batch_norm" in layer.name)
            ends = [name.decode().split("/")[-1] for name in file[norm.name].attrs["weight_names"]]
            assert ends == ["gamma:0", "beta:0", "moving_mean:0", "moving_variance:0"]
            dropout = next(layer for layer in model.layers if "dropout" in layer.name)
            assert len(file[dropout.name].attrs["weight_names"]) == 0
            assert file.attrs["keras_version"] in ("2.10.0", b"2.10.0")

    def test_keras_itself_reads_the_file(self, saved: tuple[keras.Model, Path]) -> None:
        model, path = saved
        other = _network(normalization=True, dropout_rate=0.1)
        other.load_weights(path)
        for a, b in zip(model.get_weights(), other.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)

    def test_long_lists_of_layers_are_split(self, tmp_path: Path) -> None:
        inputs = x = keras.Input((3,))
        for i in range(80):
            x = keras.layers.Activation("linear", name=f"{'layer' * 180}_{i}")(x)
        model = keras.Model(inputs, keras.layers.Dense(2, name="last")(x))
        save_weights(model, tmp_path / "deep.h5", {})
        with h5py.File(tmp_path / "deep.h5") as file:
            assert "layer_names" not in file.attrs
            parts = [file.attrs[f"layer_names{i}"] for i in range(2)]
            assert [len(part) for part in parts] == [41, 41]
        assert [name for name, _ in read_weights(tmp_path / "deep.h5")] == [
            "last/kernel:0",
            "last/bias:0",
        ]

    def test_no_partial_file_stays(self, saved: tuple[keras.Model, Path]) -> None:
        assert [p.name for p in saved[1].parent.iterdir()] == ["best_model.h5"]

    def test_a_failed_save_leaves_the_former_file(self, saved: tuple[keras.Model, Path]) -> None:
        model, path = saved
        before = path.read_bytes()
        with pytest.raises(TypeError):
            save_weights(model, path, {"not JSON": object()})
        assert path.read_bytes() == before


class Twins(keras.layers.Layer):
    """Two sublayers of one name."""

    def __init__(self) -> None:
        super().__init__()
        self.first = keras.layers.Dense(3, name="twin")
        self.second = keras.layers.Dense(3, name="twin")

    def call(self, x: Any) -> Any:
        return self.second(self.first(x))


class TestNestedLayers:
    """Users' own networks have layers within layers, whose weights share their last name."""

    @staticmethod
    def _nested() -> keras.Model:
        inputs = keras.Input((6, 4))
        x = keras.layers.MultiHeadAttention(2, 2)(inputs, inputs)
        block = keras.Sequential([keras.layers.Dense(4), keras.layers.Dense(3)])
        return keras.Model(inputs, Twins()(block(x)))

    def test_round_trip(self, tmp_path: Path) -> None:
        first, second = self._nested(), self._nested()
        save_weights(first, tmp_path / "nested.h5", {})
        load_weights(second, tmp_path / "nested.h5")
        assert len(first.weights) == 16
        for a, b in zip(first.get_weights(), second.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)

    def test_names_are_unique(self, tmp_path: Path) -> None:
        save_weights(self._nested(), tmp_path / "nested.h5", {})
        names = [name for name, _ in read_weights(tmp_path / "nested.h5")]
        assert len(set(names)) == len(names) == 16
        assert any(name.endswith("query/kernel:0") for name in names)


class TestMismatch:
    def test_other_shape_names_the_first_layer(self, saved: tuple[keras.Model, Path]) -> None:
        other = _network(normalization=True, base_filters=8)
        first = other.layers[2].name  # after the input and its scaling
        before = other.get_weights()
        with pytest.raises(DataError) as caught:
            load_weights(other, saved[1])
        assert f"layer '{first}' has kernel (3, 3, 3, 8)" in caught.value.problem
        assert "(3, 3, 3, 4)" in caught.value.problem
        assert caught.value.where == str(saved[1])
        for a, b in zip(before, other.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)

    def test_only_the_head_differs(self, saved: tuple[keras.Model, Path]) -> None:
        before = (other := _network(normalization=True, num_classes=5)).get_weights()
        with pytest.raises(DataError, match=r"layer 'logits' has kernel \(1, 1, 4, 5\)"):
            load_weights(other, saved[1])
        for a, b in zip(before, other.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)

    def test_fewer_weights_than_the_network(self, tmp_path: Path) -> None:
        inputs = keras.Input((3,))
        hidden = keras.layers.Dense(4, name="first")(inputs)
        short = keras.Model(inputs, hidden)
        long = keras.Model(inputs, keras.layers.Dense(2, name="second")(hidden))
        save_weights(short, tmp_path / "short.h5", {})
        save_weights(long, tmp_path / "long.h5", {})
        with pytest.raises(DataError, match=r"2 weights, but the network has 4; .* is second"):
            load_weights(long, tmp_path / "short.h5")
        with pytest.raises(
            DataError, match=r"4 weights, but the network has 2; .* is second/kernel:0"
        ):
            load_weights(short, tmp_path / "long.h5")


def test_the_size_is_known_before_a_file_is_written(tmp_path: Path) -> None:
    """Names and tables too: within the blocks that HDF5 takes room by."""
    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Dropout(0.1)(inputs)))
    save_weights(model, tmp_path / "a.h5")
    size = (tmp_path / "a.h5").stat().st_size
    assert size > 5000  # of which 32 are weights
    assert abs(weights_file_size(model) - size) < 2048
    with keras.StatelessScope(initialize_variables=False):
        imagined = keras.models.clone_model(model)
        assert weights_file_size(imagined) == weights_file_size(model)


def test_weights_of_keras_3(tmp_path: Path) -> None:
    model = _network()
    model.save_weights(tmp_path / "model.weights.h5")
    with pytest.raises(DataError, match="no weights in the layout of Keras 2"):
        load_weights(model, tmp_path / "model.weights.h5")
