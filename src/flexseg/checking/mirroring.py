"""Flips of trainings and predictions that turn classes into each other."""

from __future__ import annotations

from collections.abc import Sequence

from flexseg.augment.policy import policy_of
from flexseg.config.findings import Finding, Severity
from flexseg.config.infer import TTA_GROUPS
from flexseg.config.load import LoadedConfig
from flexseg.config.schema import Experiment
from flexseg.dataset.cases import Case
from flexseg.dataset.labels import LabelMap
from flexseg.dataset.quality.mirrors import Flip, mirrored_classes
from flexseg.dataset.quality.orientation import FLIP_WORDS, FLIPS


def mirror_findings(loaded: LoadedConfig, labels: LabelMap, cases: Sequence[Case]) -> list[Finding]:
    """Mirroring that turns classes into each other, as left and right organs are.

    Parameters
    ----------
    cases : for training, whose masks may show it; without them only the classes' names do.
    """
    trained, predicted = _trained_flips(loaded.experiment), _predicted_flips(loaded.experiment)
    if not trained and not predicted:
        return []
    mirrored = mirrored_classes(labels, cases)
    section = "augmentation" if loaded.experiment.augmentation.enabled else "augmentor"
    findings = []
    for flip in (flip for flip in FLIPS if flip in mirrored):
        a, b = mirrored[flip]
        lays = f"mirrored {FLIP_WORDS[flip]}, which lays {a!r} where {b!r} is, a class of its own"
        if flip in trained:
            findings.append(
                Finding(
                    Severity.WARNING,
                    "config",
                    "mirrored-sides",
                    f"{loaded.source(section, flip)}, [{section}] {flip}",
                    f"Images are {lays}: the network is taught the wrong name for what it sees.",
                    f"Set {section}.{flip} = {'0' if section == 'augmentation' else 'False'}.",
                )
            )
        if flip in predicted:
            findings.append(
                Finding(
                    Severity.WARNING,
                    "config",
                    "mirrored-sides",
                    f"{loaded.source('infer', 'tta')}, [infer] tta",
                    f"Predictions are averaged with those of images that are {lays}.",
                    f"Leave out {flip}, which 'flips' and 'all' include.",
                )
            )
    return findings


def _trained_flips(experiment: Experiment) -> list[Flip]:
    if policy_of(experiment.augmentation, experiment.trained_variants) is None:
        return []
    augmentation = experiment.augmentation
    section = augmentation if augmentation.enabled else experiment.augmentor
    return [flip for flip in FLIPS if getattr(section, flip)]


def _predicted_flips(experiment: Experiment) -> list[Flip]:
    views = experiment.infer.tta
    return [flip for flip in FLIPS if {flip, *TTA_GROUPS} & set(views)]
