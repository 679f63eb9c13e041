"""A batch augmented on the device by all transforms at once, on the engine of the process."""

from __future__ import annotations

import sys

import keras
import numpy as np
from numpy.typing import NDArray

from flexseg.augment.device import DeviceAugmenter, slots_of
from flexseg.augment.device_ops import augment
from flexseg.augment.policy import Augmenter, RecipePolicy
from flexseg.config.augmentation import AugmentationConfig


def augmented_batch() -> dict[str, NDArray]:
    """Images [3, 40, 48, 1] and labels [3, 40, 48]."""
    every = {name: 1.0 for name, value in AugmentationConfig() if isinstance(value, float)}
    policy = RecipePolicy(AugmentationConfig.model_validate(every))
    rng = np.random.default_rng(0)
    labels = np.kron(rng.integers(0, 3, (3, 5, 6)), np.ones((1, 8, 8))).astype(np.uint8)
    images = (60.0 * labels[..., None] + np.linspace(0, 60, 48)[:, None]).astype(np.float32)
    slots = slots_of(policy, (40, 48))
    pairs = list(zip(images, labels, strict=True))
    x, y = DeviceAugmenter(Augmenter(policy, 1), slots).batch([], pairs, 0, 0)
    x = {key: keras.ops.convert_to_tensor(value) for key, value in x.items()}
    images, labels = augment(x, keras.ops.convert_to_tensor(y), slots)
    return {
        "images": keras.ops.convert_to_numpy(images),
        "labels": keras.ops.convert_to_numpy(labels),
    }


if __name__ == "__main__":
    np.savez(sys.argv[1], **augmented_batch())
