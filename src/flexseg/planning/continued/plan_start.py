"""What a plan takes from the network that it starts from: the network itself, and its division."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from flexseg.config.model import ModelConfig
from flexseg.config.network_options import with_options
from flexseg.config.text import Choice
from flexseg.dataset.division.splits import SplitName
from flexseg.dataset.reading import ImageDataset, VolumeDataset
from flexseg.errors import ConfigError
from flexseg.files.preprocess import Preprocessing
from flexseg.models.build import check_architecture
from flexseg.models.options import EncoderOptions
from flexseg.models.package import ModelPackage
from flexseg.planning.network import KnownSize, Shape
from flexseg.planning.recipe import WARM_RATE, WARM_WARMUP
from flexseg.planning.repair_rules import highest_rate
from flexseg.runs.earlier import EarlierCases, earlier_cases
from flexseg.runs.trained import TrainedNetwork, find_network

KEY = "--from"
# Keys of [model] that are the network, beside its options; options that are of its pretraining.
_NETWORK = ("input_normalize", "final_activation", "multiclass_activation")
# Images that have taught a network of which nothing else is known.
_TAUGHT = 10_000.0
# Either may take the place of the other.
_STANDARDIZED = ("standardize", "standardize_channels")
_OWN = ("weights", "freeze_backbone", "freeze_batch_norm")


@dataclass(frozen=True)
class PlanStart:
    """The network that a plan starts from.

    Attributes
    ----------
    config : its `[model]`, with all options.
    preprocessing : how it sees images.
    names : class id -> name.
    """

    network: TrainedNetwork
    config: ModelConfig
    preprocessing: Preprocessing
    names: Mapping[int, str]

    @classmethod
    def open(cls, path: Path) -> PlanStart:
        """The network that a path means, see `find_network`.

        Raises
        ------
        DataError, ConfigError : there is no single network, or it is damaged.
        """
        network = find_network(path.absolute(), KEY)
        package = ModelPackage.load(network.file)
        names = {c.id: c.name for c in package.labels.foreground}
        return cls(network, with_options(package.config), package.preprocessing, names)

    @cached_property
    def cases(self) -> EarlierCases:
        """Its division."""
        return earlier_cases(self.network)

    def parts_of(self, data: ImageDataset | VolumeDataset) -> dict[Path, SplitName]:
        """The earlier part of each image that had one; those of a single colour tell nothing."""
        if isinstance(data, VolumeDataset):
            return self.cases.parts_of(data.cases, self.preprocessing)
        found = self.cases.parts_of(data.cases)
        for look in data.looks:
            if not look.digest:
                found.pop(look.case.image, None)
        return found

    def size(self, seen: float) -> KnownSize:
        """The size that it knows, and how many images have taught it there.

        Other data at that size have taught it little of these: a network of nuclei, planned at its
        own 256 pixels for the 120 of `wbc`, reached 0.89 where a fresh one of 128 reached 0.95.

        Parameters
        ----------
        seen : share of the training cases that it has seen.
        """
        manifest, images = self.network.manifest, _TAUGHT
        if manifest is not None and manifest.batch_size is not None and manifest.epochs:
            steps = manifest.config.get("train", {}).get("epoch_steps")
            cases = manifest.data["train"].cases if "train" in manifest.data else None
            if isinstance(steps, int) and steps:
                images = float(manifest.epochs * steps * manifest.batch_size.size)
            elif cases:
                images = float(manifest.epochs * cases)
        return KnownSize(self.config.image_width, self.config.image_height, seen * images)

    def fitted(self, shape: Shape) -> Shape:
        """The planned size; that of the package where its network cannot have it."""
        sized = {"image_width": shape.width, "image_height": shape.height}
        try:
            check_architecture(self.config.model_copy(update=sized))
        except ConfigError:
            own = {"width": self.config.image_width, "height": self.config.image_height}
            return replace(shape, **own)
        return shape

    def applied(self, choices: list[Choice], seen: float) -> list[Choice]:
        """The choices of a plan with this network instead of the planned one.

        Parameters
        ----------
        seen : share of the training cases that the network has seen. Of other data it has only
            its weights: rate, warm-up and normalisation are those of a fresh network.
        """
        changed = {(choice.section, choice.key): choice for choice in self._network()}
        changed["tune", "space"] = Choice(
            "tune", "space", _space(choices), "given by the earlier network"
        )
        rate, why = highest_rate(self.config)
        if seen:
            rate *= WARM_RATE
            why = f"{WARM_RATE:g} of that of a new network, so as not to lose what was learned"
            changed["train", "warmup"] = Choice("train", "warmup", WARM_WARMUP, "share of the time")
        elif self.config.input_normalize in _STANDARDIZED:
            changed.pop(("model", "input_normalize"), None)
        changed["model", "learning_rate"] = Choice("model", "learning_rate", rate, why)
        gone = {"num_layers", "base_filters", "base_kernels", "normalization", "model"}
        found = [
            changed.pop((c.section, c.key), c)
            for c in choices
            if (c.section, c.key) in changed or not (c.section == "model" and c.key in gone)
        ]
        start = Choice(
            "train", "start_from", self.network.file, "weights with which the training begins"
        )
        return [*found, *changed.values(), start]

    def _network(self) -> list[Choice]:
        """The keys of [model] that make this network, where they are not the defaults."""
        defaults = type(self.config).model_fields
        options = [key for key in type(self.config).option_names() if key not in _OWN]
        values = self.config.model_dump(mode="json")
        found = [Choice("model", "model", self.config.model, "that of the earlier network")]
        for key in (*options, *_NETWORK):
            if values[key] is not None and getattr(self.config, key) != defaults[key].default:
                found.append(Choice("model", key, values[key], "as in the earlier network"))
        if isinstance(self.config, EncoderOptions):
            found.append(Choice("model", "weights", "none", "those of the earlier network follow"))
        return found


def _space(choices: list[Choice]) -> dict[str, object]:
    """What `flexseg tune` may vary without changing the network."""
    values = (c.value for c in choices if (c.section, c.key) == ("tune", "space"))
    space = next((value for value in values if isinstance(value, dict)), {})
    return {key: value for key, value in space.items() if key != "model.base_filters"}
