"""Augmentation within a training: who does it, and how it comes into the training step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np
from numpy.typing import NDArray

from flexseg import backend
from flexseg.augment.device import DeviceAugmenter, Slots, slots_of
from flexseg.augment.device_ops import augment
from flexseg.augment.policy import Augmenter, policy_of
from flexseg.augment.writing import PairWriter
from flexseg.batches.batch_plan import Augment, Pair
from flexseg.config.schema import Experiment
from flexseg.dataset.cases import Case
from flexseg.dataset.labels import LabelMap
from flexseg.training.supervision import DeeplySupervised

Place = Literal["workers", "device"]


@dataclass(frozen=True)
class WritingAugmenter:
    """Augments in the workers, and writes the pairs that are made (`[generator] debug`)."""

    augmenter: Augmenter
    writer: PairWriter

    def batch(
        self, cases: Sequence[Case], pairs: Sequence[Pair], epoch: int, position: int
    ) -> tuple[NDArray, NDArray[np.uint8]]:
        """As `Augmenter.batch`; files are named by what was done and the case."""
        images, labels = [], []
        draws = self.augmenter.draws(pairs, epoch, position)
        for case, draw, pair in zip(cases, draws, pairs, strict=True):
            image, classes = draw.apply(*pair)
            if draw.prefix:
                self.writer.write(draw.prefix + case.id, image, classes)
            images.append(image)
            labels.append(classes)
        return np.stack(images), np.stack(labels)


def augmenter_of(experiment: Experiment) -> Augment | None:
    """What makes the batches of a training, None where the config does not augment."""
    policy = policy_of(experiment.augmentation, experiment.trained_variants)
    if policy is None:
        return None
    augmenter = Augmenter(policy, experiment.train.seed)
    if place_of(experiment) == "device":
        size = (experiment.model.image_height, experiment.model.image_width)
        return DeviceAugmenter(augmenter, slots_of(policy, size))
    if not _writes_pairs(experiment):
        return augmenter
    labels = LabelMap.from_experiment(experiment)
    writer = PairWriter.from_config(experiment.generator, labels, experiment.image.color_order)
    return WritingAugmenter(augmenter, writer)


def _writes_pairs(experiment: Experiment) -> bool:
    drawn = experiment.trained_variants is not None and not experiment.augmentation.enabled
    return drawn and experiment.generator.debug


def place_of(experiment: Experiment) -> Place:
    """Where samples are augmented.

    "auto" is the device where that is a GPU or TPU: workers beside it seldom keep up with it. On
    a CPU both compete for the same cores, and OpenCV is the faster one. Pairs that are to be
    written are made in the workers.
    """
    place = experiment.augmentation.augment_on
    if place != "auto":
        return place
    if _writes_pairs(experiment):
        return "workers"
    return "device" if backend.accelerator() is not None else "workers"


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
