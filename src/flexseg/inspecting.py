"""A network or a model package, opened to look at it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras

from flexseg.config.load import LoadedConfig, load
from flexseg.config.schema import InspectConfig
from flexseg.errors import ConfigError
from flexseg.models.build import build_model
from flexseg.models.inspection import ModelFacts, draw_graph, inspect_model, summary_text
from flexseg.models.package import ModelPackage
from flexseg.outputs import make_folder, set_aside, write_text

PACKAGE_SUFFIXES = (".h5", ".hdf5")


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

    def write_summary(self) -> Path:
        """Write the table of all layers; an earlier file moves aside."""
        summary = self.targets.summary
        make_folder(summary.parent)
        set_aside(summary)
        write_text(summary, summary_text(self.facts, self.title))
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


def is_package(source: Path) -> bool:
    """Whether a path names a weight file rather than a config."""
    return source.suffix.lower() in PACKAGE_SUFFIXES


def inspect_source(
    source: Path, overrides: Sequence[str] = (), output: Path | None = None
) -> Inspection:
    """Inspect the network of a config, or a model package.

    Parameters
    ----------
    output : folder of the files [default: [inspect] of the config; the current folder].

    Raises
    ------
    ConfigError, DataError : the config or the package cannot be read.
    """
    about: dict[str, Any] = {}
    if is_package(source):
        _refuse_overrides(overrides)
        package = ModelPackage.load(source)
        model, config, about = package.model, package.config, package.describe()
        targets = _in_folder(InspectConfig(), output or Path())
    else:
        loaded = load(source, overrides)
        config = loaded.experiment.model
        model = build_model(config, loaded.path.parent)
        targets = loaded.experiment.inspect
        if output is not None:
            targets = _in_folder(targets, output)
    size = f"{config.image_width} x {config.image_height} x {config.image_channels}"
    title = f"{config.model}, {size} to {config.num_classes} class(es)"
    return Inspection(title, model, inspect_model(model), targets, about)


def open_package(source: Path, overrides: Sequence[str] = ()) -> ModelPackage:
    """A model package: the file itself, or what a config has trained."""
    if is_package(source):
        _refuse_overrides(overrides)
        return ModelPackage.load(source)
    loaded: LoadedConfig = load(source, overrides)
    train = loaded.experiment.train
    weights = train.model_dir / train.best_model_file
    return ModelPackage.load(weights, loaded.experiment, loaded.path.parent)


def _refuse_overrides(overrides: Sequence[str]) -> None:
    if overrides:
        raise ConfigError(
            "A model package describes itself; --set changes nothing in it.",
            "Leave --set out, or give a config.",
            "--set",
        )


def _in_folder(targets: InspectConfig, folder: Path) -> InspectConfig:
    return targets.model_copy(
        update={
            "summary": folder / targets.summary.name,
            "model_graph": folder / targets.model_graph.name,
        }
    )
