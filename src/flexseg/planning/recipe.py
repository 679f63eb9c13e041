"""How a network is trained that nobody has planned: the values that paid most when measured.

`repair` gives them to old configs, whose networks it keeps.
"""

from __future__ import annotations

from typing import Any

# [model] keys of a planned network, and why.
NETWORK: tuple[tuple[str, Any, str], ...] = (
    ("model", "UNet", "residual blocks gained nothing in the same time"),
    ("base_kernels", [3, 3], "small kernels, many levels"),
    ("normalization", True, "batch normalisation: steady, and fast on a CPU"),
    ("input_normalize", "standardize", "each image to mean 0 and variance 1"),
)
LOSS = "dice_ce_loss"
OPTIMIZER = "AdamW"
LEARNING_RATE = 1e-3
# For networks that a higher one makes diverge: without normalisation layers, transformers, and
# encoders that are trained already.
GENTLE_LEARNING_RATE = 5e-4
SCHEDULE = "cosine"
# Share of the training in which the learning rate rises.
WARMUP = 0.1
# Smaller batches are raised to it. On a CPU larger ones only make fewer steps of the same time.
SMALLEST_BATCH = 2
# Keys of [augmentation] beside its defaults.
AUGMENTATION: dict[str, Any] = {}
# Average predictions over the flips that training has seen.
TTA = True
