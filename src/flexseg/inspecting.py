"""A network or a model package, opened to look at it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras

from flexseg import backend
from flexseg.config.model import ModelConfig
from flexseg.config.schema import InspectConfig
from flexseg.models.build import build_model
from flexseg.models.inspection import ModelFacts, draw_graph, inspect_model, summary_text
from flexseg.models.package import ModelPackage
from flexseg.outputs import make_folder, set_aside, write_text


@dataclass(frozen=True)
class Inspection:
    """What was found about a network, and where it will be written.

    Attributes
    ----------
    title : what was inspected, one line.
    about : of a package, what it knows beside the weights: classes, preprocessing, training.
    """

    title: str
    model: keras.Model
    facts: ModelFacts
    targets: InspectConfig
    about: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"title": self.title, **self.about, **self.facts.as_dict()}

    def options(self) -> dict[str, Any]:
        """How the network of a package scales its input, and its options."""
        common = ModelConfig.model_fields.keys() - {"input_normalize"}
        return {k: value for k, value in self.about["model"].items() if k not in common}

    def write_summary(self) -> Path:
        """Write the table of all layers; an earlier file moves aside."""
        summary, text = self.targets.summary, summary_text(self.facts, self.title)
        make_folder(summary.parent)
        if not (summary.is_file() and summary.read_bytes() == text.encode()):
            set_aside(summary)
            write_text(summary, text)
        return summary

    def draw(self) -> Path:
        """Draw the graph of layers; an earlier picture moves aside.

        Raises
        ------
        ResourceError : the picture cannot be drawn here.
        """
        make_folder(self.targets.model_graph.parent)
        draw_graph(self.model, self.targets.model_graph)
        return self.targets.model_graph


def inspect_network(
    config: ModelConfig,
    targets: InspectConfig,
    *,
    precision: str = "auto",
    search: Path | None = None,
    output: Path | None = None,
) -> Inspection:
    """Inspect a network that is not trained yet.

    Parameters
    ----------
    precision : see `[train] precision`.
    search : see `build_model`.
    output : folder of the files [default: as `targets` say].

    Raises
    ------
    ConfigError : the network cannot be built.
    """
    backend.prepare(precision)
    return _inspection(build_model(config, search), config, _targets(targets, output))


def inspect_package(path: Path, output: Path | None = None) -> Inspection:
    """Inspect a model package.

    Parameters
    ----------
    output : folder of the files [default: the current one].

    Raises
    ------
    DataError : the package cannot be read.
    """
    package = ModelPackage.load(path)
    targets = _targets(InspectConfig(), output or Path())
    return _inspection(package.model, package.config, targets, package.describe())


def _inspection(
    model: keras.Model,
    config: ModelConfig,
    targets: InspectConfig,
    about: dict[str, Any] | None = None,
) -> Inspection:
    size = f"{config.image_width} x {config.image_height} x {config.image_channels}"
    title = (
        f"{config.model}, {size} to {config.num_classes} "
        f"{'class' if config.num_classes == 1 else 'classes'}"
    )
    return Inspection(title, model, inspect_model(model), targets, about or {})


def _targets(targets: InspectConfig, folder: Path | None) -> InspectConfig:
    if folder is None:
        return targets
    return targets.model_copy(
        update={
            "summary": folder / targets.summary.name,
            "model_graph": folder / targets.model_graph.name,
        }
    )
