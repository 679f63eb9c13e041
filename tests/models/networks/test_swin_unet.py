"""SwinUNet: the contract, windows and their mask, legal sizes, and the original files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from contract import ModelContract
from numpy.typing import NDArray

from flexseg.config.load import load
from flexseg.errors import ConfigError
from flexseg.models.build import build_model, check_architecture
from flexseg.models.networks.swin_unet import (
    SwinTransformerBlock,
    SwinUNetConfig,
    fits,
    nearest_sizes,
    relative_positions,
    shift_mask,
    window_and_shift,
)
from flexseg.models.package import ModelPackage
from flexseg.models.weights import save_weights


class TestSwinUNet(ModelContract):
    name = "SwinUNet"
    unit = 16
    pads = False


def _config(**keys: Any) -> SwinUNetConfig:
    base = {"model": "SwinUNet", "image_width": 64, "image_height": 64, "input_normalize": False}
    return SwinUNetConfig.model_validate(base | keys)


FIXTURE = {
    "filter_num_begin": 16,
    "depth": 3,
    "patch_size": 2,
    "num_heads": [2, 4, 4],
    "window_size": [4, 2, 2],
    "num_mlp": 32,
}


def _blocks(model: keras.Model) -> list[SwinTransformerBlock]:
    return [layer for layer in model.layers if isinstance(layer, SwinTransformerBlock)]


class TestTopology:
    def test_the_way_up_reads_the_lists_from_their_end(self) -> None:
        blocks = _blocks(build_model(_config(**FIXTURE)))
        assert [(b.window, b.shift, b.heads, b.input.shape[1]) for b in blocks[::2]] == [
            (4, 0, 2, 32),
            (2, 0, 4, 16),
            (2, 0, 4, 8),
            (2, 0, 4, 16),
            (2, 0, 4, 32),
        ]
        assert [b.shift for b in blocks[1::2]] == [2, 1, 1, 1, 1]

    def test_unshifted_windows_and_one_block_per_level(self) -> None:
        keys = {"shift_window": False, "stack_num_down": 1, "stack_num_up": 1}
        keys |= {"window_size": [4], "num_heads": 2}
        blocks = _blocks(build_model(_config(**FIXTURE | keys)))
        assert [(b.window, b.shift, b.heads) for b in blocks] == 5 * [(4, 0, 2)]

    def test_heads_by_default_are_four_and_then_eight(self) -> None:
        config = _config(filter_num_begin=8, num_mlp=8, image_width=128, image_height=128)
        assert [b.heads for b in _blocks(build_model(config))[::2]] == [4, 8, 8, 8, 8, 8, 8]

    def test_a_window_larger_than_the_grid_shrinks_to_its_shorter_side(self) -> None:
        config = _config(window_size=[8])
        assert window_and_shift(config, 0, (16, 8)) == (8, 4)
        assert window_and_shift(config, 0, (16, 4)) == (4, 0)
        assert window_and_shift(_config(window_size=[8], shift_window=False), 0, (16, 8)) == (8, 0)

    @pytest.mark.parametrize("channels", [1, 3])
    @pytest.mark.parametrize("up", [1, 2])
    def test_parameters_follow_the_rule(self, channels: int, up: int) -> None:
        first, mlp, heads, window, classes = 8, 20, 2, 2, 3

        def block(c: int, grid: int, shifted: bool) -> int:
            attention = (2 * window - 1) ** 2 * heads + 4 * c * c + 4 * c
            perceptron = 2 * c * mlp + c + mlp
            mask = (grid // window) ** 2 * window**4 if shifted else 0
            return 4 * c + attention + perceptron + mask + window**4

        tokens = (32 // 2) ** 2
        total = 4 * channels * first + first + tokens * first  # patches
        total += block(first, 16, False) + block(first, 16, True)
        total += 4 * first * 2 * first  # merging
        total += block(2 * first, 8, False) + block(2 * first, 8, True)
        total += 2 * first * 4 * first + 2 * first * first  # expanding, skip
        total += sum(block(first, 16, bool(i % 2)) for i in range(up))
        total += first * 2 * first + first // 2 * classes  # expanding, head
        config = _config(
            image_width=32, image_height=32, image_channels=channels, num_classes=classes, depth=2,
            filter_num_begin=first, num_mlp=mlp, num_heads=heads, window_size=window, patch_size=2,
            stack_num_up=up,
        )  # fmt: skip
        assert build_model(config).count_params() == total


class TestWindows:
    def test_relative_positions(self) -> None:
        expected = [[4, 3, 1, 0], [5, 4, 2, 1], [7, 6, 4, 3], [8, 7, 5, 4]]
        np.testing.assert_array_equal(relative_positions(2), expected)

    def test_the_mask_parts_what_the_shift_has_brought_together(self) -> None:
        mask = shift_mask(4, 4, window=2, shift=1)
        columns = np.where([[1, 0, 1, 0], [0, 1, 0, 1]] * 2, 0, -100)
        rows = np.where([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]], 0, -100)
        alone = np.where(np.eye(4), 0, -100)
        np.testing.assert_array_equal(mask, [np.zeros((4, 4)), columns, rows, alone])

    def test_the_mask_of_a_grid_that_is_not_square(self) -> None:
        assert shift_mask(4, 12, window=4, shift=2).shape == (3, 16, 16)
        assert (shift_mask(4, 12, 4, 2)[0] == shift_mask(4, 12, 4, 2)[1]).all()

    @staticmethod
    def _reach(shift: int, place: tuple[int, int], mask: float | None = None) -> NDArray:
        """Which places of a 4x4 grid change with one of them."""
        block = SwinTransformerBlock(heads=2, window=2, shift=shift, mlp=8)
        x = np.random.default_rng(0).normal(size=(1, 4, 4, 4)).astype(np.float32)
        block.build(x.shape)
        if mask is not None:
            block.tables.mask.assign(np.full(block.tables.mask.shape, mask))
        changed = x.copy()
        changed[0, *place, 0] += 1
        before, after = (keras.ops.convert_to_numpy(block(v)) for v in (x, changed))
        return np.abs(after - before).max(axis=-1)[0] > 1e-6

    def test_attention_stays_within_the_window(self) -> None:
        expected = np.zeros((4, 4), bool)
        expected[:2, 2:] = True
        np.testing.assert_array_equal(self._reach(0, (1, 2)), expected)

    def test_shifted_windows_cross_the_borders_of_the_others(self) -> None:
        expected = np.zeros((4, 4), bool)
        expected[1:3, 1:3] = True
        np.testing.assert_array_equal(self._reach(1, (1, 2)), expected)

    def test_shifted_windows_do_not_wrap_around_the_image(self) -> None:
        expected = np.zeros((4, 4), bool)
        expected[0, 1:3] = True
        np.testing.assert_array_equal(self._reach(1, (0, 1)), expected)

    def test_the_constant_mask_of_original_files_lets_them_wrap(self) -> None:
        expected = np.zeros((4, 4), bool)
        expected[np.ix_([0, 3], [1, 2])] = True
        np.testing.assert_array_equal(self._reach(1, (0, 1), mask=-100), expected)


def test_half_precision_is_close_to_full() -> None:
    x = np.random.default_rng(0).uniform(0, 255, (1, 64, 64, 3)).astype(np.float32)
    full = build_model(_config(**FIXTURE))
    keras.config.set_dtype_policy("mixed_bfloat16")
    half = build_model(_config(**FIXTURE))
    half.set_weights(full.get_weights())
    difference = np.abs(half.predict_on_batch(x) - full.predict_on_batch(x))
    assert 0 < difference.mean() < 0.02


class TestSizes:
    def test_the_defaults_take_the_size_of_the_seeds(self) -> None:
        check_architecture(_config(image_width=512, image_height=512))

    @pytest.mark.parametrize(
        ("width", "height", "keys", "sizes"),
        [
            (500, 500, {}, "448 x 448 and 512 x 512"),
            (1000, 300, {}, "960 x 256 and 1024 x 320"),
            (230, 230, {"window_size": 7}, "224 x 224 and 448 x 448"),
            (20, 20, {"depth": 2, "patch_size": 2, "window_size": 1}, None),
            (21, 20, {"depth": 2, "patch_size": 2, "window_size": 1}, "20 x 20 and 24 x 20"),
            (10, 10, {"window_size": 7}, "224 x 224"),
            (10, 10, {"window_size": 10}, "32 x 32"),
        ],
    )
    def test_others_are_refused_with_the_nearest(
        self, width: int, height: int, keys: dict[str, Any], sizes: str | None
    ) -> None:
        heads = {"num_heads": 4, "filter_num_begin": 16}
        config = _config(image_width=width, image_height=height, **(heads | keys))
        if sizes is None:
            check_architecture(config)
            return
        with pytest.raises(ConfigError) as error:
            check_architecture(config)
        assert f"Nearest legal sizes (width x height): {sizes}." in str(error.value)

    @pytest.mark.parametrize("windows", [[4, 2, 2], [7], [8, 3, 5], [997, 4, 2]])
    def test_every_proposal_is_legal(self, windows: list[int]) -> None:
        keys = {"depth": 3, "patch_size": 2, "window_size": windows, "num_heads": 1}
        for width, height in [(1, 1), (100, 100), (37, 400), (513, 511)]:
            config = _config(image_width=width, image_height=height, **keys)
            sizes = nearest_sizes(config)
            assert all(fits(config, h, w) for w, h in sizes)
            assert sizes[-1][0] >= width and sizes[-1][1] >= height
            if len(sizes) == 2:
                assert sizes[0][0] <= width and sizes[0][1] <= height

    def test_a_legal_size_can_be_built(self) -> None:
        keys = FIXTURE | {"window_size": [8, 3, 5], "num_mlp": 8}
        config = _config(image_width=64, image_height=48, **keys)
        (width, height) = nearest_sizes(config)[0]
        model = build_model(_config(image_width=width, image_height=height, **keys))
        assert model.output_shape == (None, height, width, 2)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"patch_size": (2, 4)}, "patch_size = (2, 4) is not square"),
        ({"window_size": [4, 2]}, "window_size = [4, 2] has 2 numbers for depth = 4"),
        (
            {"depth": 5, "window_size": [4, 2, 2, 2]},
            "window_size = [4, 2, 2, 2] has 4 numbers for depth = 5",
        ),
        ({"num_heads": [4, 8]}, "num_heads = [4, 8] has 2 numbers for depth = 4"),
        ({"filter_num_begin": 18}, "filter_num_begin = 18 is not a multiple of patch_size = 4"),
        ({"num_heads": 3}, "3 heads cannot share the 128 channels of level 0"),
        ({"num_heads": [4, 8, 8, 7]}, "7 heads cannot share the 1024 channels of level 3"),
    ],
)
def test_refusals(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        check_architecture(_config(**keys))
    assert message in str(error.value)


class TestOriginalFile:
    @staticmethod
    def _layers(path: Path) -> list[list[tuple[tuple[int, ...], str]]]:
        """Shape and kind of the weights of each layer that has some."""
        with h5py.File(path) as file:
            group = file.get("model_weights", file)
            layers = [group[name] for name in group.attrs["layer_names"]]
            weights = [[layer[w] for w in layer.attrs["weight_names"]] for layer in layers]
            return [[(w.shape, w.dtype.kind) for w in own] for own in weights if own]

    def test_an_exported_file_has_the_same_layers(self, shared: Path, tmp_path: Path) -> None:
        config = load(shared / "parity" / "flex_swin.config").experiment.model
        save_weights(build_model(config), tmp_path / "own.h5")
        original = self._layers(shared / "parity" / "flex_swin.h5")
        assert self._layers(tmp_path / "own.h5") == original

    def test_the_file_brings_its_own_tables(self, shared: Path) -> None:
        experiment = load(shared / "parity" / "flex_swin.config").experiment
        package = ModelPackage.load(shared / "parity" / "flex_swin.h5", experiment)
        for block in _blocks(package.model):
            tables = block.tables
            np.testing.assert_array_equal(
                keras.ops.convert_to_numpy(tables.relative_positions),
                relative_positions(block.window),
            )
            if block.shift:
                assert (keras.ops.convert_to_numpy(tables.mask) == -100).all()
