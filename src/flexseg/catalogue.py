"""What can be chosen by name in a config, for people and for programs."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from flexseg.augment.geometric import GEOMETRIC
from flexseg.augment.photometric import PHOTOMETRIC
from flexseg.config.augmentation import AugmentationConfig, AugmentorConfig
from flexseg.losses import LOSSES, METRICS, Score
from flexseg.models.architecture import MODELS
from flexseg.registry import Registry

Entry = dict[str, Any]


def models() -> list[Entry]:
    """The networks: name, aliases, summary, paper, options with default and meaning."""
    entries = []
    for name in sorted(MODELS):
        architecture = MODELS.get(name)
        fields = architecture.config.model_fields
        options = {
            key: {
                "default": architecture.defaults.get(
                    key, fields[key].get_default(call_default_factory=True)
                ),
                "meaning": fields[key].description,
            }
            for key in architecture.options
        }
        entries.append(
            {
                "name": name,
                "aliases": list(MODELS.aliases(name)),
                "summary": architecture.summary,
                "paper": architecture.paper,
                "options": options,
            }
        )
    return entries


def losses() -> list[Entry]:
    """The losses: name, aliases, head, formula with its source."""
    return _scores(LOSSES)


def metrics() -> list[Entry]:
    """The metrics of training: name, aliases, head, formula. Every loss can be one, too."""
    return _scores(METRICS)


def _scores(registry: Registry[Score]) -> list[Entry]:
    entries = []
    for name in sorted(registry):
        score = registry.get(name)
        entries.append(
            {
                "name": name,
                "aliases": list(registry.aliases(name)),
                "for": {"any": "one or several classes", "binary": "one class"}.get(
                    score.head, "several classes"
                ),
                "summary": " ".join((score.formula.__doc__ or "").split()),
            }
        )
    return entries


# Keys of the two sections that switch a transform on where they are not called like it.
_KEYS_OF = {
    "shrink": (None, "shrinks"),
    "shear": ("shear", "shears"),
    "deformation": ("elastic", "deformation"),
    "radial": ("barrel, pincushion", "barrdistortion, pincdistortion"),
    "brightness": ("brightness", "brightening"),
}


def augmentations() -> list[Entry]:
    """The transforms: name, kind, what they do, parameters, and the keys that switch them on."""
    entries = []
    for name in GEOMETRIC:
        parameters = list(inspect.signature(GEOMETRIC.get(name).steps).parameters)[2:]
        entries.append(
            _augmentation(name, "image and labels", GEOMETRIC.get(name).summary, parameters)
        )
    for name in PHOTOMETRIC:
        parameters = list(inspect.signature(PHOTOMETRIC.get(name).apply).parameters)[1:]
        entries.append(_augmentation(name, "image only", PHOTOMETRIC.get(name).summary, parameters))
    return sorted(entries, key=lambda entry: entry["name"])


def _augmentation(name: str, kind: str, summary: str, parameters: list[str]) -> Entry:
    new, old = _KEYS_OF.get(name, (name, name))
    keys = [
        f"[{section}] {key.strip()}"
        for section, fields, text in (
            ("augmentation", AugmentationConfig.model_fields, new),
            ("augmentor", AugmentorConfig.model_fields, old),
        )
        for key in (text or "").split(",")
        if key.strip() in fields
    ]
    return {
        "name": name,
        "aliases": [],
        "for": kind,
        "summary": summary.replace("`", ""),
        "parameters": parameters,
        "keys": keys,
    }


def as_config(value: Any) -> str:
    """A default as one would write it in a config."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(as_config, value))}]"
    return "none" if value is None else f"{value}"


CATALOGUE: dict[str, Callable[[], list[Entry]]] = {
    "models": models,
    "losses": losses,
    "metrics": metrics,
    "augmentations": augmentations,
}
