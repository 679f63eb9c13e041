"""From facts about cases to findings: what is wrong or doubtful with a dataset."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from flexseg.config.findings import Finding, Severity, examples
from flexseg.config.load import LoadedConfig
from flexseg.config.model import ModelConfig
from flexseg.config.network_options import with_options
from flexseg.config.schema import Experiment
from flexseg.dataset.acquisition import InputDoubt
from flexseg.dataset.division.splits import SplitName, Splits
from flexseg.dataset.ignored.pixels import IgnoredPixels
from flexseg.dataset.labels import LabelMap
from flexseg.dataset.looks import Look
from flexseg.dataset.marks.label_tables import LabelTable
from flexseg.dataset.marks.values import NEAR_LOSSY
from flexseg.dataset.meaning import meaning_of
from flexseg.errors import DataError, FlexsegError
from flexseg.files.preprocess import Preprocessing
from flexseg.inference.image_files import find_images
from flexseg.inference.value_range import scale_doubt, standardises
from flexseg.inference.volumes.volume_sources import holds_volumes
from flexseg.models.architecture import MODELS
from flexseg.models.encoders import family_of
from flexseg.models.options import pretrained_weights
from flexseg.storage.mirror import present

# A blend of two class colours at an edge is no class of its own; a colour that makes up
# this share of all mask pixels probably is.
_CLASS_SHARE = 0.001


def _data(
    severity: Severity, code: str, where: str, what: str, fix: str, items: list[str]
) -> Finding:
    return Finding(severity, "data", code, where, what, fix, tuple(items))


def network_findings(loaded: LoadedConfig) -> list[Finding]:
    """What of [model] the chosen network does not use, padding, and pretrained weights."""
    if ":" in loaded.experiment.model.model:
        return []
    config = with_options(loaded.experiment.model)
    findings = []
    for name, reason in _unused_keys(config).items():
        source = loaded.source("model", name)
        if not source.startswith("default"):
            where = f"{source}, [model] {name}"
            findings.append(Finding(Severity.NOTE, "config", "unread-key", where, reason))
    multiple = MODELS.get(config.model).multiple(config)
    size = (config.image_width, config.image_height)
    padded = [-(-n // multiple) * multiple for n in size]
    if padded != [*size]:
        findings.append(
            Finding(
                Severity.NOTE,
                "config",
                "padded-input",
                "[model] image_width, image_height",
                f"{size[0]} x {size[1]} is padded to {padded[0]} x {padded[1]} inside the network, "
                f"which works on multiples of {multiple}; the result is cropped back.",
                "Multiples of {multiple} save this time.",
            )
        )
    if _wants_rgb(config) and loaded.experiment.image.color_order == "BGR":
        findings.append(
            Finding(
                Severity.WARNING,
                "config",
                "encoder-colors",
                f"{loaded.source('image', 'color_order')}, [image] color_order",
                "The images come as BGR, but the pretrained encoder was trained on RGB.",
                'Set color_order = "RGB".',
            )
        )
    return findings + _pretrained_findings(config)


def _wants_rgb(config: ModelConfig) -> bool:
    """Whether the network scales the channels of a pretrained encoder, which are RGB."""
    return (
        pretrained_weights(config) is not None
        and MODELS.get(config.model).backbone(config) is not None
        and config.input_normalize in ("auto", "encoder")
    )


def _unused_keys(config: ModelConfig) -> dict[str, str]:
    """Keys of [model] that have no effect or only a part of it, and why."""
    architecture = MODELS.get(config.model)
    head = "multiclass_activation" if config.num_classes == 1 else "final_activation"
    unused = {head: f"Without effect with num_classes = {config.num_classes}."}
    has_encoder = architecture.backbone(config) is not None
    if not has_encoder or pretrained_weights(config) is None:
        missing = "there are no pretrained weights" if has_encoder else "there is no backbone"
        unused |= dict.fromkeys(
            ("freeze_backbone", "freeze_batch_norm"), f"Without effect: {missing}."
        )
    if not has_encoder:
        unused["weights"] = "Without effect: there is no backbone."
    partly = architecture.unused(config)
    return unused | {key: f"Used in part: {reason}" for key, reason in partly.items()}


def _pretrained_findings(config: ModelConfig) -> list[Finding]:
    """Whether the pretrained weights of an encoder are there."""
    backbone, weights = MODELS.get(config.model).backbone(config), pretrained_weights(config)
    where = "[model] weights"
    if backbone is None or weights is None:
        return []
    own = family_of(backbone).own
    if weights == "imagenet" and own is not None:
        try:
            own.published()
        except FlexsegError as error:
            return [
                Finding(Severity.ERROR, "config", "no-weights", where, error.problem, error.fix)
            ]
        return []
    if weights == "imagenet":
        what = f"The training begins with ImageNet weights of {backbone}, which are downloaded"
        fix = "Where there is no connection, give a file, or 'none' for random weights."
        return [
            Finding(Severity.NOTE, "config", "download", where, f"{what} once.", fix),
        ]
    if not present(Path(weights)).is_file():
        return [
            Finding(
                Severity.ERROR,
                "config",
                "no-weights",
                where,
                f"There is no file {weights}.",
                "Check the path, or give 'imagenet' (downloads the weights) or 'none' (random "
                "weights).",
            )
        ]
    return []


def fold_class_findings(trained: Mapping[str, Sequence[Look]], labels: LabelMap) -> list[Finding]:
    """Classes that some folds cannot learn, as all cases with them are elsewhere.

    Parameters
    ----------
    trained : the training cases of each fold.
    """
    findings = []
    for c in labels.foreground:
        lacking = [
            fold
            for fold, facts in trained.items()
            if not any(f.class_pixels and f.class_pixels[c.id] for f in facts)
        ]
        # A class that is nowhere is told once, for all cases.
        if 0 < len(lacking) < len(trained):
            findings.append(
                _data(
                    Severity.WARNING,
                    "class-absent-in-fold",
                    "folds",
                    f"The {c.in_words} is in no training mask of {examples(lacking)}: "
                    "the networks of these folds cannot learn it.",
                    "Use more folds, or add cases of the class.",
                    lacking,
                )
            )
    return findings


def scale_findings(facts: list[Look], experiment: Experiment) -> list[Finding]:
    """Images whose values do not fit the 0 to 255 that networks and augmentation expect."""
    e = experiment
    preprocessing = Preprocessing.from_config(e.model, e.image, e.volume)
    standardised = standardises(e.model if ":" in e.model.model else with_options(e.model))
    odd: list[tuple[Look, InputDoubt]] = []
    for look in facts:
        stored = np.dtype(look.dtype or np.uint8)
        low, high = preprocessing.on_scale(np.array(look.values).astype(stored)).tolist()
        doubt = scale_doubt(preprocessing, stored, low, high, standardised=standardised)
        if doubt is not None:
            odd.append((look, doubt))
    if not odd:
        return []
    low, high = (end(look.values[i] for look, _ in odd) for i, end in enumerate((min, max)))
    return [
        _data(
            Severity.WARNING,
            "no-window",
            "[image] window",
            f"{len(odd)} images have {odd[0][1].what}.",
            f"Set [image] window = [{low:g}, {high:g}], or to the part of this range that matters.",
            [look.case.id for look, _ in odd],
        )
    ]


def unknown_findings(
    facts: Sequence[Look], labels: LabelMap, *, refused: bool, legacy: bool
) -> list[Finding]:
    """Mask pixels in no class, with a proposed map.

    Parameters
    ----------
    refused : such masks are not trained on, see `[mask] unknown_colors`.
    legacy : the map is for a config of the old syntax.
    """
    unknown: Counter[Any] = Counter()
    for f in facts:
        unknown.update(f.unknown)
    pixels = sum(sum(f.class_pixels) for f in facts)
    outside = sum(f.unknown_pixels for f in facts)
    if not outside:
        return []
    files = sorted({str(f.case.mask) for f in facts if f.unknown_pixels})
    top = [f"{key} ({count / pixels:.3%})" for key, count in unknown.most_common(6)]
    large = [key for key, count in unknown.most_common() if count / pixels >= _CLASS_SHARE]
    void: IgnoredPixels | None = None
    if large:
        with suppress(DataError):  # told by `mask_findings`
            large, void = _unknown_classes(facts, labels)
    severity = Severity.ERROR if refused else Severity.WARNING if large or void else Severity.NOTE
    treatment = "are refused" if refused else "take the nearest class"
    what = (
        f"{outside / pixels:.3%} of the mask pixels, in {len(files)} files, have a colour or "
        f"value that belongs to no class and {treatment}: "
        f"{', '.join(top)}{' ...' if len(unknown) > 6 else ''}."
    )
    if large:
        fix = f"Proposed map: {_proposed_map(labels, large, _known_values(labels, facts), legacy)}"
    elif void:
        fix = ""
    elif refused:
        fix = "These look like blended edges: set [mask] unknown_colors = 'nearest'."
    else:
        fix = ""
    if void:
        fix = f"{void} looks like void: [mask] ignore = {void.marks} leaves it out. {fix}".strip()
    return [_data(severity, "unknown-colors", "masks", what, fix, files)]


def _unknown_classes(
    facts: Sequence[Look], labels: LabelMap
) -> tuple[list[Any], IgnoredPixels | None]:
    """The values or colours of the masks that are classes, but not those of the map, and void.

    Others are shades of blended edges, or those that compression has made.
    """
    looks = [f.mask for f in facts if f.class_pixels and f.mask is not None]
    meaning = meaning_of(looks, None, LabelTable())
    known = [(v, v, v) for c in labels.classes for v in c.values] + [(0, 0, 0)]
    if labels.explicit:
        known += [rgb for c in labels.classes for rgb in c.colors]
    if labels.ignored is not None:
        known += [*labels.ignored.colors, *((v, v, v) for v in labels.ignored.values)]
    found = [key for c in meaning.classes for key in (c.values or c.colors)]
    colors = np.array([key if isinstance(key, tuple) else (key,) * 3 for key in found])
    distances = np.abs(colors[:, None] - np.array(known)).max(axis=-1).min(axis=-1)
    near = NEAR_LOSSY if meaning.unknown == "nearest" else 0
    new = [key for key, distance in zip(found, distances.tolist(), strict=True) if distance > near]
    return new, None if labels.ignored else meaning.ignored


def _known_values(labels: LabelMap, facts: Sequence[Look]) -> dict[int, int]:
    """Foreground value -> class id, as far as the masks are already understood."""
    given = {v: c.id for c in labels.foreground for v in c.values}
    foreground = sum(sum(f.class_pixels[1:]) for f in facts)
    unclear = given or labels.explicit or any(f.lossy for f in facts)
    # More foreground than unknown pixels: some masks hold the ids themselves as values.
    if not unclear and foreground > sum(f.unknown_pixels for f in facts):
        return {c.id: c.id for c in labels.foreground}
    return given


def _proposed_map(labels: LabelMap, found: list[Any], known: dict[int, int], legacy: bool) -> str:
    """A map with all that was found, in the syntax of the config at hand."""
    if all(isinstance(v, int | float) for v in found):
        ids = dict(known)
        for v in sorted({int(v) for v in found} - {0, *known}):
            ids[v] = max(ids.values(), default=0) + 1
        arrows = ", ".join(f"{v} -> {i}" for v, i in ids.items())
        count = max(ids.values(), default=0) + 1
        if legacy:
            grays = ", ".join(f"({v},{v},{v}): {i}" for v, i in {0: 0, **ids}.items())
            return f"{arrows}; rgb_map = {{{grays}}}, num_classes = {count}."
        tables = " ".join(
            f"[[mask.classes]] id = {i}, color = [{v % 256}, {v % 256}, {v % 256}], values = [{v}];"
            for v, i in ids.items()
        )
        return f"{arrows}; in the config: {tables} num_classes = {count}."
    colors = [c.colors[0] for c in labels.classes] if labels.explicit else [(0, 0, 0)]
    as_colors = [v if isinstance(v, tuple) else (int(v),) * 3 for v in found]
    entries = list(dict.fromkeys([*colors, *as_colors]))
    if legacy:
        body = ", ".join(f"({r},{g},{b}): {i}" for i, (r, g, b) in enumerate(entries))
        return f"rgb_map = {{{body}}}, num_classes = {len(entries)}."
    body = " ".join(
        f"[[mask.classes]] id = {i}, color = {list(rgb)};" for i, rgb in enumerate(entries)
    )
    return f"{body} num_classes = {len(entries)}."


def unscored_findings(split: SplitName, splits: Splits) -> list[Finding]:
    """That `flexseg evaluate` would find no cases.

    Parameters
    ----------
    split : `[model] evaluation`.
    """
    if splits.cases.get(split) or splits.volumes.get(split):
        return []
    instead = ""
    if splits.cases.get("valid"):
        instead = (
            " Or set model.evaluation = 'valid'; its scores are too good, as they also choose "
            "the best epoch."
        )
    return [
        Finding(
            Severity.WARNING,
            "config",
            "no-cases-to-score",
            "[model] evaluation",
            f"The config names no cases for the {split} split, so `flexseg evaluate` has none to "
            "score.",
            f"Set [{split}] images_dir and masks_dir, or name its cases in [dataset] "
            f"split_file.{instead}",
        )
    ]


def infer_findings(experiment: Experiment) -> list[Finding]:
    """Images to predict that are missing."""
    source = experiment.infer.images_dir
    if source is None or holds_volumes(source):
        return []
    try:
        find_images(source)
    except DataError as error:
        return [
            _data(
                Severity.WARNING,
                "no-infer-images",
                "[infer] images_dir",
                f"{error.where}: {error.problem} Nothing is predicted at epoch changes.",
                "Correct it, or use `flexseg infer --input PATH` later.",
                [],
            )
        ]
    return []
