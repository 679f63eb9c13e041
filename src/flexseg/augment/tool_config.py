"""Configs of the originals' offline tools, which `flexseg augment` runs.

They name folders in the section of their transform: images with or without masks, or a dataset
of splits. All else of them is as in a config of a training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import Field, ValidationError

from flexseg.config import legacy
from flexseg.config.augmentation import AugmentorConfig, RadialConfig, VariantSections
from flexseg.config.base import Centers, Names, Numbers, Section, Widths
from flexseg.config.findings import Finding
from flexseg.config.load import (
    drop_unknown_keys,
    explained,
    override,
    place_of,
    section_models,
    validated,
)
from flexseg.config.model import ModelConfig
from flexseg.errors import ConfigError, joined
from flexseg.machine import real_path

_DATASET, _PAIRS = "dataset", "augmentor"
_SECTIONS = ("deformation", "distortion", "barrdistortion", "pincdistortion", _PAIRS)
# The tools work on three channels, whose number changes what their elastic deformation does.
_CHANNELS = 3


class ToolKeys(Section):
    """The keys that only tools have, in the section that names the folders."""

    images_dir: str | None = None
    masks_dir: str | None = None
    output_dir: str | None = None
    dataset_dir: str | None = None
    augmented_dir: str | None = None
    image_width: int = Field(512, gt=0)
    image_height: int = Field(512, gt=0)
    no_augmentation: Names = Field(["test"])
    radius: float = Field(0.5, gt=0)
    amount: float = 0.5
    radii: Widths = Field([])
    amounts: Numbers = Field([])
    centers: Centers = Field([(0.5, 0.5)], min_length=1)


_FOLDERS = ("images_dir", "masks_dir", "output_dir")
_KEYS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(_SECTIONS, _FOLDERS),
    _PAIRS: (*_FOLDERS, "radius", "amount", "radii", "amounts", "centers"),
    _DATASET: ("dataset_dir", "augmented_dir", "image_width", "image_height", "no_augmentation"),
}


@dataclass(frozen=True)
class ToolJob:
    """What one tool makes of one folder.

    Attributes
    ----------
    section : the section of the config that names the folders.
    images : a folder of images, or of folders of them; of a dataset the folder of its splits.
    masks : of the images; None where there are none, or where they lie in the tree.
    sections : the transforms.
    radial : (radius, amount) of barrel distortions that are done at each centre by itself.
    size : (height, width) that pairs are resized to; None: their own.
    untouched : folders of splits whose pairs are not augmented.
    originals : the pairs themselves are written too.
    """

    section: str
    images: Path
    masks: Path | None
    output: Path
    sections: VariantSections
    radial: tuple[tuple[float, float], ...] = ()
    size: tuple[int, int] | None = None
    untouched: tuple[str, ...] = ()
    originals: bool = False


@dataclass(frozen=True)
class ToolConfig:
    """A config of offline tools, and what was found in it."""

    path: Path
    jobs: tuple[ToolJob, ...]
    findings: tuple[Finding, ...]


def read_tool(path: Path, overrides: Sequence[str] = ()) -> ToolConfig | None:
    """The jobs of a tool's config; None for any other config.

    Raises
    ------
    ConfigError : it is a tool's config, and something in it is wrong; all faults are told.
    """
    path = Path(path).absolute()
    if path.suffix.lower() == ".toml" or not path.is_file():
        return None
    raw = legacy.read(path)
    sections = [s for s in _SECTIONS if (s, "images_dir") in raw.values]
    if (_DATASET, "dataset_dir") in raw.values:
        sections.append(_DATASET)
    if not sections:
        return None
    for text in overrides:
        override(raw, text, is_legacy=True)
    keys = {section: _checked(raw, section, path) for section in sections}
    drop_unknown_keys(raw, section_models(), path, strict=False)
    experiment = validated(raw, ModelConfig, path)
    jobs = []
    for section, found in keys.items():
        if experiment is not None and found is not None:
            try:
                jobs.append(_job(section, found, path, experiment.variants))
            except ConfigError as error:
                raw.errors.append(error)
    if raw.errors:
        raise joined(raw.errors)
    return ToolConfig(path, tuple(jobs), tuple(raw.findings))


def _checked(raw: legacy.RawConfig, section: str, path: Path) -> ToolKeys | None:
    """A section's keys for tools, taken out of the config; None if a value is wrong."""
    names = [key for key in _KEYS[section] if (section, key) in raw.values]
    values = {key: raw.values.pop((section, key)) for key in names}
    try:
        return ToolKeys.model_validate(values)
    except ValidationError as error:
        for item in error.errors():
            item["loc"] = (section, *item["loc"])
            raw.errors.append(explained(raw, [item], path))
        return None
    finally:
        for key in names:
            raw.sources.pop((section, key))


def _job(section: str, keys: ToolKeys, path: Path, variants: VariantSections) -> ToolJob:
    def folder(key: str, value: str | None) -> Path:
        where = f"{path.name}, [{section}] {key}"
        return real_path(path.parent / place_of(value or "", where))

    if section == _DATASET:
        return ToolJob(
            section,
            folder("dataset_dir", keys.dataset_dir),
            None,
            folder("augmented_dir", keys.augmented_dir),
            replace(variants, channels=_CHANNELS),
            size=(keys.image_height, keys.image_width),
            untouched=tuple(keys.no_augmentation),
            originals=True,
        )
    images, output = folder("images_dir", keys.images_dir), folder("output_dir", keys.output_dir)
    masks = folder("masks_dir", keys.masks_dir) if keys.masks_dir is not None else None
    if section != _PAIRS:
        return ToolJob(section, images, masks, output, _only(section, variants))
    radial = RadialConfig(radius=keys.radius, amount=keys.amount, centers=keys.centers)
    several = [
        (radius, amount)
        for radius in keys.radii or [keys.radius]
        for amount in keys.amounts or [keys.amount]
    ]
    sections = _only("barrdistortion", replace(variants, barrdistortion=radial))
    single = not (keys.radii or keys.amounts)
    return ToolJob(section, images, masks, output, sections, () if single else tuple(several))


def _only(transform: str, variants: VariantSections) -> VariantSections:
    """The sections with one transform switched on."""
    off = dict.fromkeys(("hflip", "vflip", "rotation"), False)
    augmentor = AugmentorConfig.model_validate({**off, "shrinks": [], transform: True})
    return replace(variants, augmentor=augmentor, channels=_CHANNELS)
