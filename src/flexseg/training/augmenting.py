"""Augmentation within a training: who does it, and how it comes into the training step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np
from numpy.typing import NDArray

from flexseg import backend
from flexseg.augment.device import DeviceAugmenter, Slots, slots_of
from flexseg.augment.device_ops import augment
from flexseg.augment.policy import Augmenter, Policy, policy_of
from flexseg.augment.writing import PairWriter
from flexseg.batches.batch_plan import Augment
from flexseg.batches.store import Pair
from flexseg.config.augmentation import (
    AUGMENTOR_SECTIONS,
    AugmentationConfig,
    VariantSections,
)
from flexseg.config.base import Section
from flexseg.config.schema import GeneratorConfig
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


@dataclass(frozen=True)
class Augmentation:
    """How the samples of a training are augmented, and where.

    Attributes
    ----------
    policy : None: they are not.
    place : "auto": see `resolved_place`.
    writer : of the pairs that are made, None where they are not written.
    values : "section.key" -> JSON value, of all that changes what is made.
    """

    policy: Policy | None
    place: Place | Literal["auto"]
    writer: PairWriter | None
    values: Mapping[str, object]

    @classmethod
    def from_config(
        cls,
        recipe: AugmentationConfig,
        variants: VariantSections | None,
        generator: GeneratorConfig,
        labels: LabelMap,
        color_order: str,
    ) -> Augmentation:
        """Of the sections that count in a training; an enabled recipe wins.

        Raises
        ------
        ConfigError : pairs are to be written, and their folders or colours do not allow it.
        """
        policy = policy_of(recipe, variants)
        writer = None
        sections: dict[str, Section] = {}
        if recipe.enabled:
            sections = {"augmentation": recipe}
        elif policy is not None and variants is not None:
            sections = {name: getattr(variants, name) for name in AUGMENTOR_SECTIONS}
            if generator.debug:
                writer = PairWriter.from_config(generator, labels, color_order)
        values = {
            f"{name}.{key}": value
            for name, section in sections.items()
            # Where it is done may change.
            for key, value in section.model_dump(mode="json", exclude={"augment_on"}).items()
        }
        return cls(policy, recipe.augment_on, writer, values if policy is not None else {})

    def resolved_place(self) -> Place:
        """Where samples are augmented.

        "auto" is the device where that is a GPU or TPU: workers on the same machine seldom keep up
        with it. On a CPU both compete for the same cores, and OpenCV is the faster one. Pairs that
        are to be written are made in the workers.
        """
        if self.place != "auto":
            return self.place
        if self.writer is not None:
            return "workers"
        return "device" if backend.accelerator() is not None else "workers"

    def augmenter(self, seed: int, size: tuple[int, int]) -> Augment | None:
        """What makes the batches of a training, None where it does not augment.

        Parameters
        ----------
        size : height and width of the network's images.
        """
        if self.policy is None:
            return None
        augmenter = Augmenter(self.policy, seed)
        if self.resolved_place() == "device":
            return DeviceAugmenter(augmenter, slots_of(self.policy, size))
        return augmenter if self.writer is None else WritingAugmenter(augmenter, self.writer)


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
