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
from flexseg.config.schema import Experiment
from flexseg.dataset.ignored.pixels import IGNORED
from flexseg.losses import LOSSES, METRICS, get_loss, get_metric, weighted_mean
from flexseg.models.build import build_model
from flexseg.models.package import ModelPackage
from flexseg.training.callbacks.averaging import AveragedWeights
from flexseg.training.callbacks.schedule import LearningRate
from flexseg.training.callbacks.step_values import StepCallbacks
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


def ignored_losses() -> dict[str, NDArray]:
    """All losses and metrics where some pixels are ignored, and all of them in one image; "step":
    the weights after a step on images that differ in what is predicted for these pixels."""
    rng = np.random.default_rng(0)
    labels = np.kron(rng.integers(0, 3, (3, 4, 4)), np.ones((1, 6, 6))).astype(np.uint8)
    labels[0, :, 12:], labels[1] = IGNORED, IGNORED
    found = {}
    for channels in (1, 3):
        p = rng.uniform(0.1, 1, (3, 24, 24, channels)).astype(np.float32)
        p = p / p.sum(-1, keepdims=True) if channels > 1 else p
        own = labels if channels > 1 else np.where(labels == IGNORED, labels, labels > 0)
        for kind, names, get in (("loss", LOSSES, get_loss), ("metric", METRICS, get_metric)):
            for name in names:
                if names.get(name).head in ("any", "binary" if channels == 1 else "multiclass"):
                    function = get(name, channels, ignoring=True)
                    value = weighted_mean(function, own.astype(np.uint8), p)
                    found[f"{kind}.{name}.{channels}"] = np.array(value)
    keys = {"model": "UNet", "image_width": 24, "image_height": 24, "num_layers": 2,
            "base_filters": 4, "num_classes": 3, "metrics": ["dice_coef_foreground"]}  # fmt: skip
    config = Experiment.model_validate({"model": keys}).model
    model = build_model(config)
    compile_model(model, config, ignoring=True)
    before = [np.array(w) for w in model.get_weights()]
    model.train_on_batch(np.zeros((3, 24, 24, 3), np.uint8), np.full_like(labels, IGNORED))
    unmoved = all(
        np.array_equal(one, np.array(other))
        for one, other in zip(before, model.get_weights(), strict=True)
    )
    return found | {"unmoved": np.array(unmoved)}


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


class _Watch(keras.callbacks.Callback):
    """Keeps the weights of a network."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[NDArray] = []

    def keep(self, *_: object, **__: object) -> None:
        """Take the weights as they are now."""
        if hasattr(self.model, "jax_state_sync"):
            self.model.jax_state_sync()
        arrays = [keras.ops.convert_to_numpy(v) for v in self.model.trainable_variables]
        self.seen.append(np.concatenate([np.array(array, np.float32).ravel() for array in arrays]))


class _Steps(_Watch):
    """After each step, and at the end of the epoch."""

    on_train_batch_end = on_epoch_end = _Watch.keep


class _Validation(_Watch):
    """At the end of a validation."""

    on_test_end = _Watch.keep


def course_of_weights() -> NDArray[np.float32]:
    """The weights in a training with an average of decay 0.5 and a rate that falls to 0: after
    each of four steps, at the end of the epoch while validated and while the average is kept, and
    afterwards, [7, weights]. The third and fourth step have the rate 0."""
    keys = {"model": "UNet", "image_width": 16, "image_height": 16, "num_layers": 2,
            "base_filters": 4, "num_classes": 2, "learning_rate": 0.1}  # fmt: skip
    experiment = Experiment.model_validate({"model": keys})
    model = build_model(experiment.model)
    compile_model(model, experiment.model, ema=0.5)
    x = np.random.default_rng(0).uniform(0, 255, (8, 16, 16, 3)).astype(np.float32)
    y = (x[..., 0] > 127).astype(np.uint8)
    averaged, steps, validation = AveragedWeights(), _Steps(), _Validation()
    rate = LearningRate(0.1, lambda share: float(share < 2), float)
    model.fit(
        x,
        y,
        batch_size=2,
        validation_data=(x[:2], y[:2]),
        shuffle=False,
        verbose=0,
        callbacks=[rate, averaged, validation, steps, averaged.after],
    )
    steps.keep()
    return np.array([*steps.seen[:4], *validation.seen, *steps.seen[4:]])


def check_course(weights: NDArray[np.float32]) -> None:
    """What `course_of_weights` must be on every engine."""
    first, second, third, fourth, validated, kept, after = weights
    assert np.abs(first - second).max() > 0.01
    np.testing.assert_array_equal(second, third)
    np.testing.assert_array_equal(third, fourth)
    # The first step is the whole average, each further one half of it.
    mean = first / 8 + second * 7 / 8
    np.testing.assert_allclose(validated, mean, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(validated, kept)
    np.testing.assert_allclose(after, fourth, rtol=1e-6)


def train_evaluate_infer(config: Path) -> None:
    """The commands, with augmentation on the device, by the clock."""
    from support import flexseg

    engine = keras.backend.backend()
    values = (
        "augmentation.enabled=true",
        "augmentation.augment_on=device",
        "train.minutes=0.05",
        "train.schedule=cosine",
        "train.warmup=0.1",
        "train.ema=0.9",
        "train.epoch_steps=2",
        "train.oversample=0.5",
        "mask.ignore=#0000ff",
    )
    sets = [argument for value in values for argument in ("--set", value)]
    for command, options in (("train", sets), ("evaluate", []), ("infer", [])):
        assert flexseg(command, config, "--backend", engine, *options) == 0, command


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    np.savez(folder / "batch.npz", **augmented_batch())
    np.savez(folder / "ignored.npz", **ignored_losses())
    np.save(folder / "course.npy", course_of_weights())
    experiment = load(folder / "a.toml").experiment
    package = ModelPackage.load(folder / "w.h5", experiment)
    np.save(folder / "p.npy", probabilities(package))
    if keras.backend.backend() == "jax":
        np.save(folder / "reused.npy", reused_state(package, experiment.model))
    train_evaluate_infer(folder / "train.toml")
