"""What every engine must do alike; as a script, all of it on the engine of the process."""

from __future__ import annotations

import sys
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from flexseg.augment.device import DeviceAugmenter, slots_of
from flexseg.augment.device_ops import augment
from flexseg.augment.policy import Augmenter, RecipePolicy
from flexseg.config import load
from flexseg.config.augmentation import AugmentationConfig
from flexseg.config.model import ModelConfig
from flexseg.models.package import ModelPackage
from flexseg.training.callbacks import StepCallbacks
from flexseg.training.compiling import compile_model


def augmented_batch() -> dict[str, NDArray]:
    """A batch augmented by all transforms at once: images [3, 40, 48, 1], labels [3, 40, 48]."""
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


def probabilities(package: ModelPackage) -> NDArray[np.float32]:
    """What a package says of two random images, [2, 40, 48, classes]."""
    x = np.random.default_rng(0).uniform(0, 255, (2, 40, 48, 3)).astype(np.float32)
    return np.asarray(package.model.predict_on_batch(x))


def reused_state(package: ModelPackage, config: ModelConfig) -> float:
    """Share of weights and optimizer state whose memory a step of `fit` has taken over (JAX)."""
    model = package.model
    compile_model(model, config)
    before = [v.value for v in (*model.trainable_variables, *model.optimizer.variables)]
    x, y = np.zeros((2, 40, 48, 3), np.uint8), np.zeros((2, 40, 48), np.uint8)
    calls = StepCallbacks([], add_history=True, model=model, epochs=1)
    model.fit(x, y, batch_size=1, verbose=0, callbacks=calls)
    return float(np.mean([array.is_deleted() for array in before]))


def train_evaluate_infer(config: Path) -> None:
    """The commands, with augmentation on the device."""
    from support import flexseg

    engine = keras.backend.backend()
    on_device = ["--set", "augmentation.enabled=true", "--set", "augmentation.augment_on=device"]
    for command, options in (("train", on_device), ("evaluate", []), ("infer", [])):
        assert flexseg(command, config, "--backend", engine, *options) == 0, command


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    np.savez(folder / "batch.npz", **augmented_batch())
    experiment = load(folder / "a.toml").experiment
    package = ModelPackage.load(folder / "w.h5", experiment)
    np.save(folder / "p.npy", probabilities(package))
    if keras.backend.backend() == "jax":
        np.save(folder / "reused.npy", reused_state(package, experiment.model))
    train_evaluate_infer(folder / "train.toml")
