"""What `flexseg inspect` says: layers, parameters, FLOP and memory against other counts."""

from __future__ import annotations

import contextlib
import json
import math
from pathlib import Path
from typing import Any

import keras
import pytest
from contract import application
from keras import layers
from small import SMALL

from flexseg.config.load import load
from flexseg.config.model import ModelConfig
from flexseg.models import convolution, encoders
from flexseg.models.build import build_model
from flexseg.models.inspection import inspect_model, layer_flop, summary_text
from flexseg.models.networks import efficientnet_b7_unet
from flexseg.models.package import ModelPackage
from support import flexseg


def one(layer: keras.layers.Layer, *shape: int) -> keras.layers.Layer:
    """A layer that was applied to an input of this shape."""
    layer(keras.Input(shape))
    return layer


@pytest.mark.parametrize(
    ("layer", "shape", "flop"),
    [
        (layers.Conv2D(4, 3, padding="same"), (8, 10, 2), 2 * 9 * 2 * 4 * 80),
        (layers.Conv2D(4, 3, strides=2, padding="same"), (8, 10, 2), 2 * 9 * 2 * 4 * 20),
        (layers.Conv2D(4, (1, 3), padding="valid"), (8, 10, 2), 2 * 3 * 2 * 4 * 64),
        (layers.Conv2D(4, 3, groups=2, padding="same"), (8, 8, 4), 2 * 9 * 2 * 4 * 64),
        (layers.DepthwiseConv2D(3, padding="same"), (8, 8, 4), 2 * 9 * 4 * 64),
        (layers.SeparableConv2D(6, 3, padding="same"), (8, 8, 4), 2 * (9 * 4 + 4 * 6) * 64),
        (layers.Conv2DTranspose(3, 2, strides=2), (8, 8, 4), 2 * 4 * 3 * 4 * 64),
        (layers.Dense(5), (7, 3), 2 * 3 * 5 * 7),
        (layers.MaxPooling2D(2), (8, 8, 4), 0),
        (layers.BatchNormalization(), (8, 8, 4), 0),
    ],
)
def test_known_layers(layer: Any, shape: tuple[int, ...], flop: int) -> None:
    assert layer_flop(one(layer, *shape)) == flop


def test_attention() -> None:
    """4 projections of 6 tokens of width 8 to 2 heads of 3, and 2 products of 6 x 6 x 3 x 2."""
    layer = layers.MultiHeadAttention(num_heads=2, key_dim=3)
    x = keras.Input((6, 8))
    layer(x, x)
    assert layer_flop(layer) == 2 * (4 * 6 * 8 * 6) + 2 * (2 * 6 * 6 * 3 * 2)


def _einsum_flop(graph: Any, node: Any) -> Any:
    """Two per combination of all indices of an Einstein sum, which the profiler leaves out."""
    from tensorflow.python.framework import graph_util, ops

    terms = node.attr["equation"].s.decode().partition("->")[0].split(",")
    sizes: dict[str, int] = {}
    for term, name in zip(terms, node.input, strict=True):
        shape = graph_util.tensor_shape_from_node_def_name(graph, name).as_list()
        sizes |= dict(zip(term, shape, strict=True))
    return ops.OpStats("flops", 2 * math.prod(sizes.values()))


def counted_by_tensorflow(model: keras.Model) -> int:
    """FLOP of a forward pass of one image by TensorFlow's own profiler."""
    import tensorflow as tf
    from tensorflow.python.framework import ops

    with contextlib.suppress(KeyError):  # registered by an earlier test
        ops.RegisterStatistics("Einsum", "flops")(_einsum_flop)
    spec = tf.TensorSpec((1, *model.input_shape[1:]), tf.float32)
    function = tf.function(lambda x: model(x, training=False), autograph=False)
    graph = function.get_concrete_function(spec).graph
    options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
    options["output"] = "none"
    profile = tf.compat.v1.profiler.profile(graph, cmd="op", options=options)
    matrix = {"Conv2D", "MatMul", "DepthwiseConv2dNative", "Conv2DBackpropInput",
              "BatchMatMulV2", "Einsum"}  # fmt: skip
    total, level = 0, [profile]
    while level:  # the profiler nests each kind of operation in the one before
        total += sum(node.float_ops for node in level if node.name in matrix)
        level = [child for node in level for child in node.children]
    return total


@pytest.mark.parametrize(
    ("name", "more"),
    [(name, {}) for name in sorted(SMALL)] + [("EncoderUNet", {"backbone": "ConvNeXtTiny"})],
)
def test_flop_are_those_that_tensorflow_counts(
    name: str, more: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Convolutions, matrix products and attention of every network, to 2 %."""
    monkeypatch.setattr(efficientnet_b7_unet, "BACKBONE", "EfficientNetB0")  # the same layers
    monkeypatch.setattr(encoders, "_application", application)
    # Few pixels are gathered by a matrix product, which is no part of the convolution's work.
    monkeypatch.setattr(convolution, "_few_pixels", lambda x, limit: False)
    size = 16 if name == "SwinUNet" else 32
    keys = {"model": name, "image_width": size, "image_height": size, "num_classes": 3}
    model = build_model(ModelConfig.model_validate(keys | SMALL[name] | more))
    found = inspect_model(model).flop
    for layer in model.layers:
        # TensorFlow pads for dilated convolutions and counts that.
        if getattr(layer, "dilation_rate", None):
            layer.dilation_rate = (1, 1)
    # Grouped convolutions run in functions of their own, into which the profiler does not look.
    grouped = [x for x in model.layers if getattr(x, "groups", 1) > 1 and hasattr(x, "kernel")]
    expected = counted_by_tensorflow(model) + sum(
        2 * math.prod(x.kernel.shape) * math.prod(x.output.shape[1:3]) for x in grouped
    )
    assert expected > 0
    assert found == pytest.approx(expected, rel=0.02)


def test_memory_is_the_sum_of_all_outputs() -> None:
    x = keras.Input((8, 8, 1))
    y = layers.Conv2D(4, 3, padding="same")(x)
    y = layers.MaxPooling2D(2)(y)
    facts = inspect_model(keras.Model(x, y))
    assert facts.activation_bytes == 4 * (64 + 64 * 4 + 16 * 4)
    assert [layer.inputs for layer in facts.layers][1:] == [
        (facts.layers[0].name,),
        (facts.layers[1].name,),
    ]


def test_a_layer_with_several_outputs_and_bare_operations() -> None:
    x = keras.Input((8, 8, 3))
    parts = layers.Lambda(lambda t: [t[..., :1], t[..., 1:]], output_shape=[(8, 8, 1), (8, 8, 2)])(
        x
    )
    y = layers.Conv2D(1, 1, name="last")(keras.ops.flip(parts[1], axis=-1))
    facts = inspect_model(keras.Model(x, y))
    assert facts.activation_bytes == 4 * 64 * (3 + 3 + 1)
    assert facts.layers[-1].inputs == (facts.layers[1].name,)


def test_frozen_weights_are_no_trained_parameters() -> None:
    x = keras.Input((8, 8, 1))
    y = layers.Conv2D(4, 3, trainable=False)(x)
    facts = inspect_model(keras.Model(x, layers.Conv2D(1, 1)(y)))
    assert (facts.parameters, facts.trainable) == (40 + 5, 5)


CONFIG = """
[model]
image_width = 16
image_height = 24
num_layers = 2
base_filters = 4
num_classes = 2
[[mask.classes]]
id = 1
name = "lesion"
color = "#00ff00"
"""


class TestCommand:
    @pytest.fixture
    def config(self, tmp_path: Path) -> Path:
        path = tmp_path / "a.toml"
        path.write_text(CONFIG, encoding="utf-8")
        return path

    def test_of_a_config(self, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert flexseg("inspect", config) == 0
        shown = capsys.readouterr().out
        model = build_model(load(config).experiment.model)
        assert f"parameters: {model.count_params():,}" in shown
        assert "UNet, 16 x 24 x 3 to 2 classes" in shown
        text = (config.parent / "summary.txt").read_text(encoding="utf-8")
        facts = inspect_model(model)
        assert len(text.splitlines()) == len(summary_text(facts, "title").splitlines())
        for layer in facts.layers[1:]:
            assert f" {layer.parameters:,} " in text or not layer.parameters
            assert layer.kind in text

    def test_the_same_again_leaves_no_copies(self, config: Path) -> None:
        (config.parent / "out").mkdir()
        for _ in range(2):
            keras.backend.clear_session()  # layers are named as in a new process
            assert flexseg("inspect", config, "-o", config.parent / "out") == 0
        assert [p.name for p in (config.parent / "out").iterdir()] == ["summary.txt"]

    def test_what_cannot_be_written_is_an_error(self, config: Path) -> None:
        (config.parent / "file").write_text("mine", encoding="utf-8")
        assert flexseg("inspect", config, "-o", config.parent / "file") == 4
        assert (config.parent / "file").read_text(encoding="utf-8") == "mine"

    def test_misspelt_keys_of_old_configs_are_told(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        config = tmp_path / "a.config"
        config.write_text(
            '[model]\nmodel = "TensorflowUNet"\nimage_width = 32\nimage_height = 32\n'
            "base_filter = 4\nnum_layers = 3\n"
        )
        assert flexseg("inspect", config) == 0
        assert "Did you mean 'base_filters'?" in " ".join(capsys.readouterr().err.split())
        assert flexseg("inspect", config, "--strict") == 2

    def test_earlier_files_move_aside(self, config: Path) -> None:
        (config.parent / "summary.txt").write_text("my notes", encoding="utf-8")
        assert flexseg("inspect", config) == 0
        backups = list(config.parent.glob("summary.txt_*_bak"))
        assert [b.read_text(encoding="utf-8") for b in backups] == ["my notes"]

    def test_of_a_package(self, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
        folder = config.parent
        package = ModelPackage.create(load(config).experiment)
        package.save(folder / "p.h5", {"training": {"epoch": 3, "val_loss": 0.25}})
        assert flexseg("inspect", folder / "p.h5", "-o", folder / "out") == 0
        shown = " ".join(capsys.readouterr().out.split())
        assert "0 background, 1 lesion" in shown
        assert "info.training.val_loss: 0.25" in shown
        assert "preprocessing.color_order: RGB" in shown
        assert "model.input_normalize: auto" in shown and "model.num_layers: 2" in shown
        assert (folder / "out" / "summary.txt").exists()

    def test_json(self, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert flexseg("inspect", config, "--json") == 0
        content = json.loads(capsys.readouterr().out)
        model = build_model(load(config).experiment.model)
        assert content["parameters"] == model.count_params()
        assert len(content["layers"]) == len(model.layers)

    def test_without_graphviz_a_note_and_the_table(
        self,
        config: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        def refuse(*_: Any, **__: Any) -> None:
            raise ImportError("You must install graphviz")

        monkeypatch.setattr(keras.utils, "plot_model", refuse)
        assert flexseg("inspect", config) == 0
        out = " ".join(capsys.readouterr().err.split())
        assert "needs the program graphviz and the package pydot" in out
        assert (config.parent / "summary.txt").exists()
        assert not (config.parent / "model.png").exists()

    def test_with_graphviz_the_picture(self, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def draw(model: keras.Model, to_file: str, **_: Any) -> None:
            Path(to_file).write_bytes(b"picture of " + model.name.encode())

        monkeypatch.setattr(keras.utils, "plot_model", draw)
        (config.parent / "model.png").write_bytes(b"old")
        assert flexseg("inspect", config) == 0
        assert (config.parent / "model.png").read_bytes() == b"picture of unet"
        assert [b.read_bytes() for b in config.parent.glob("model.png_*_bak")] == [b"old"]

    def test_inspect_section_of_an_old_config(self, tmp_path: Path) -> None:
        config = tmp_path / "a.config"
        config.write_text(
            '[model]\nmodel = "TensorflowUNet"\nimage_width = 32\nimage_height = 32\n'
            'base_filters = 4\nnum_layers = 3\n[inspect]\nsummary = "./notes/s.txt"\n'
        )
        assert flexseg("inspect", config) == 0
        assert (tmp_path / "notes" / "s.txt").exists()
