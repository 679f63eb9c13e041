"""The same experiment with all its results in a folder below those of the first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flexseg.config.load import path_fields, section_models
from flexseg.config.schema import Experiment


def in_subfolder(experiment: Experiment, name: str) -> Experiment:
    """The experiment with `<run_dir>/<name>` as its run's folder, and every output inside it.

    Outputs keep their place within the run's folder. Those that lie elsewhere, by absolute paths,
    keep their name alone: what they hold must not move aside.

    Parameters
    ----------
    experiment : with absolute paths, as `flexseg.config.load` gives it.
    """
    old = experiment.train.run_dir
    new = old / name
    moved: dict[Path, Path] = {}
    sections: dict[str, Any] = {}
    for section_name, model in section_models().items():
        section = getattr(experiment, section_name)
        changes = {}
        for key, _, role in path_fields(model):
            place = getattr(section, key)
            if role.kind == "output" and place is not None:
                if place not in moved:
                    moved[place] = _moved(place, old, new, set(moved.values()))
                changes[key] = moved[place]
        if section_name == "train":
            changes["run_dir"] = new
        if changes:
            sections[section_name] = section.model_copy(update=changes)
    return experiment.model_copy(update=sections)


def _moved(place: Path, old: Path, new: Path, taken: set[Path]) -> Path:
    if place.is_relative_to(old):
        return new / place.relative_to(old)
    parts = place.relative_to(place.anchor).parts
    # Folders of one name in different places: as much of the path as tells them apart.
    names = ["_".join(parts[-count:]) for count in range(1, len(parts) + 1)]
    return next((new / name for name in names if new / name not in taken), new / names[-1])
