"""Augmentation within a training: who does it, and how it comes into the training step."""

from __future__ import annotations

from typing import Any, Literal

import keras

from flexseg import backend
from flexseg.augment.device import DeviceAugmenter, Slots, slots_of
from flexseg.augment.device_ops import augment
from flexseg.augment.policy import Augmenter, policy_of
from flexseg.config.schema import Experiment
from flexseg.data.batches import Augment
from flexseg.training.supervision import DeeplySupervised

Place = Literal["workers", "device"]


def augmenter_of(experiment: Experiment) -> Augment | None:
    """What makes the batches of a training, None where the config does not augment."""
    policy = policy_of(experiment)
    if policy is None:
        return None
    augmenter = Augmenter(policy, experiment.train.seed)
    if place_of(experiment) == "device":
        size = (experiment.model.image_height, experiment.model.image_width)
        return DeviceAugmenter(augmenter, slots_of(policy, size))
    return augmenter


def place_of(experiment: Experiment) -> Place:
    """Where samples are augmented.

    Pairs that are to be written are made in the workers. On TensorFlow and PyTorch, the CPU
    beside a GPU is free for it while the step runs; JAX has one step for both.
    """
    place = experiment.augmentation.augment_on
    if place != "auto":
        return place
    writes = experiment.generator.debug and not experiment.augmentation.enabled
    return "device" if backend.accelerator() is not None and not writes else "workers"


class Augmenting(keras.Model):
    """A network whose training step augments its batch first; all else sees plain images."""

    slots = Slots()

    def train_step(self, *arguments: Any) -> Any:
        """Keras' step: (data) on TensorFlow and PyTorch, (state, data) on JAX."""
        *state, data = arguments
        x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
        x, y = augment(x, y, self.slots)
        return super().train_step(*state, keras.utils.pack_x_y_sample_weight(x, y, weight))


class AugmentingSupervised(Augmenting, DeeplySupervised):
    """The same, with deep supervision."""


def augmenting(model: keras.Model, augment: Augment | None) -> keras.Model:
    """The network that training runs on; it shares all layers with `model`."""
    if not isinstance(augment, DeviceAugmenter):
        return model
    kind = AugmentingSupervised if isinstance(model, DeeplySupervised) else Augmenting
    network = kind(model.input, model.output, name=model.name)
    network.slots = augment.slots
    return network
