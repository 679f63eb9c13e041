"""The seeds' FlexUNet as a config and as its twin in plain PyTorch, with one training step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from flexseg.config.model import ModelConfig

LEVELS, FILTERS, KERNELS, DROPOUT, CLASSES = 7, 16, (9, 7, 5, 3, 3, 3, 3), 0.04, 2


def config_of(size: int, levels: int = LEVELS) -> ModelConfig:
    """The config of the network for square images."""
    from flexseg.config.model import ModelConfig

    return ModelConfig(
        model="UNet", image_width=size, image_height=size, num_classes=CLASSES,
        num_layers=levels, base_filters=FILTERS, base_kernels=(9, 9), dropout_rate=DROPOUT,
        learning_rate=7e-5, clipvalue=0.4, loss="categorical_crossentropy",
    )  # fmt: skip


def random_batch(size: int, count: int) -> tuple[Any, Any]:
    """Images [B, H, W, 3] and class ids [B, H, W], uint8."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 255, (count, size, size, 3), np.uint8)
    return x, rng.integers(0, CLASSES, (count, size, size)).astype(np.uint8)


def forward_gflop(size: int, levels: int = LEVELS) -> float:
    """Multiplications and additions of one forward pass for one image."""
    total, before = 0.0, 3
    for level in range(levels):
        filters, pixels = FILTERS * 2**level, (size / 2**level) ** 2
        taps = KERNELS[level] ** 2
        total += pixels * taps * filters * (before + filters)
        if level < levels - 1:  # the way up: transposed convolution, then two convolutions
            total += pixels * filters * 2 * filters + pixels * taps * filters * 3 * filters
        before = filters
    return 2 * total / 1e9


def torch_step(
    size: int, count: int, levels: int = LEVELS, *, device: str = "cpu", compiled: bool = False
) -> Callable[[], Any]:
    """A training step of the twin: channels-last, bfloat16 autocast, fused Adam.

    Returns
    -------
    function : makes one step on the same random batch, and returns its loss on the device.
    """
    import torch
    from torch import nn

    def double(before: int, level: int) -> nn.Sequential:
        filters, kernel = FILTERS * 2**level, KERNELS[level]
        return nn.Sequential(
            nn.Conv2d(before, filters, kernel, padding="same"), nn.ReLU(True),
            nn.Dropout(DROPOUT * level),
            nn.Conv2d(filters, filters, kernel, padding="same"), nn.ReLU(True),
        )  # fmt: skip

    class Twin(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            widths = [FILTERS * 2**level for level in range(levels)]
            self.down = nn.ModuleList(
                double(3 if level == 0 else widths[level - 1], level) for level in range(levels)
            )
            self.up = nn.ModuleList(
                nn.ConvTranspose2d(widths[level + 1], widths[level], 2, 2)
                for level in range(levels - 1)
            )
            self.join = nn.ModuleList(
                double(2 * widths[level], level) for level in range(levels - 1)
            )
            self.head = nn.Conv2d(FILTERS, CLASSES, 1)

        def forward(self, x: Any) -> Any:
            skips = []
            for level, block in enumerate(self.down):
                x = block(x if level == 0 else nn.functional.max_pool2d(x, 2))
                skips.append(x)
            for level in reversed(range(levels - 1)):
                x = self.join[level](torch.cat([self.up[level](x), skips[level]], 1))
            return self.head(x)

    images, labels = random_batch(size, count)
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float().to(device)
    x = x.contiguous(memory_format=torch.channels_last)
    y = torch.from_numpy(labels).long().to(device)
    model = Twin().to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), 7e-5, fused=True)

    def loss_of() -> Any:
        with torch.autocast(device, torch.bfloat16):
            scores = model(x)
        return nn.functional.cross_entropy(scores.float(), y)

    forward = torch.compile(loss_of) if compiled else loss_of

    def step() -> Any:
        optimizer.zero_grad()
        loss = forward()
        loss.backward()
        torch.nn.utils.clip_grad_value_(model.parameters(), 0.4)
        optimizer.step()
        return loss

    return step
