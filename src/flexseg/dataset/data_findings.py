"""What a user should know about a dataset before anything is planned on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from flexseg.checking.rules import file_findings, shows_classes, split_findings
from flexseg.config.findings import Finding, Severity, examples
from flexseg.config.schema import Experiment
from flexseg.dataset.case_facts import CaseFacts
from flexseg.dataset.cases import Pairing
from flexseg.dataset.dividing import Parts
from flexseg.dataset.labels import LabelMap
from flexseg.dataset.layout import Layout
from flexseg.dataset.leaks import leak_findings
from flexseg.dataset.looks import CaseLook
from flexseg.dataset.names import is_augmented
from flexseg.dataset.splits import SPLITS
from flexseg.errors import DataError

# A class in fewer cases than this can neither be learned nor scored with any certainty.
_FEW_CASES = 10


def data_findings(
    layout: Layout,
    pairings: Mapping[str, Pairing],
    left_out: Sequence[str],
    parts: Parts,
    looks: Sequence[CaseLook],
    experiment: Experiment,
) -> list[Finding]:
    """Files that are left out, what is doubtful with the others, and what crosses the splits.

    Parameters
    ----------
    left_out : cases that cannot be used, with the reason.
    looks : of the cases of all parts, their class pixels counted.
    experiment : the config of the data.
    """
    labels = LabelMap.from_experiment(experiment)
    known = {look.case.image: look.facts for look in looks}
    facts: dict[str, list[CaseFacts]] = {
        s: [known[case.image] for case in own] for s, own in parts.items()
    }
    findings = [_finding(Severity.NOTE, "layout", "folders", note) for note in layout.notes]
    findings += [
        _finding(
            Severity.NOTE,
            "unlabeled-images",
            str(folder),
            "These images have no masks: they can be predicted, not learned from or scored.",
        )
        for folder in layout.unlabeled
    ]
    findings += _unpaired(pairings) + _left_out(left_out)
    findings += file_findings([f for own in facts.values() for f in own])
    for split in SPLITS:
        marked = split != "train" and shows_classes(facts["train"])
        findings += split_findings(split, facts[split], labels, marked=marked)
    findings += leak_findings(experiment, facts)
    findings += _rare_classes(looks, labels) + _augmented(parts)
    return findings


def _finding(
    severity: Severity, code: str, where: str, what: str, fix: str = "", items: Sequence[str] = ()
) -> Finding:
    return Finding(severity, "data", code, where, what, fix, tuple(items))


def _unpaired(pairings: Mapping[str, Pairing]) -> list[Finding]:
    findings = []
    for what, other in (("image", "mask"), ("mask", "image")):
        key = f"{what}s_without_{other}"
        files: list[Path] = [p for own in pairings.values() for p in getattr(own, key)]
        if files:
            names = sorted(path.name for path in files)
            verb = "has" if len(names) == 1 else "have"
            findings.append(
                _finding(
                    Severity.WARNING,
                    f"{what}s-without-{other}",
                    f"{what}s",
                    f"{len(names)} {what}{'s' if len(names) > 1 else ''} {verb} no {other} and "
                    f"cannot be used: {examples(names)}.",
                    f"Add the {other}s, or remove the {what}s.",
                    names,
                )
            )
    return findings


def _left_out(left_out: Sequence[str]) -> list[Finding]:
    if not left_out:
        return []
    return [
        _finding(
            Severity.WARNING,
            "unusable-cases",
            "cases",
            f"{len(left_out)} case(s) cannot be used and are left out: "
            f"{examples(list(left_out), 3)}.",
            "Export or copy these files again.",
            left_out,
        )
    ]


def _rare_classes(looks: Sequence[CaseLook], labels: LabelMap) -> list[Finding]:
    findings = []
    for c in labels.foreground:
        shown = [k.case.id for k in looks if k.facts.class_pixels and k.facts.class_pixels[c.id]]
        if 0 < len(shown) < min(_FEW_CASES, len(looks)):
            findings.append(
                _finding(
                    Severity.WARNING,
                    "rare-class",
                    "masks",
                    f"The class {c.id} ({c.name}) is in {len(shown)} of {len(looks)} cases only: "
                    "what is learned of it, and its score, are chance for a good part.",
                    "Add cases that show it.",
                    shown,
                )
            )
    return findings


def _augmented(parts: Parts) -> list[Finding]:
    names = [case.id for case in parts["train"] if is_augmented(case.id)]
    if not names:
        return []
    return [
        _finding(
            Severity.NOTE,
            "augmented-training-cases",
            "[train]",
            f"{len(names)} of {len(parts['train'])} training images are augmented copies, as "
            f"their names tell: {examples(names, 2)}.",
            "Augmentation while training makes new ones each time; copies are not needed.",
            names,
        )
    ]


def copies_left_out(names: Sequence[str]) -> list[Finding]:
    """Of augmented copies that are in no part of a division."""
    if not names:
        return []
    return [
        _finding(
            Severity.NOTE,
            "copies-left-out",
            "splits",
            f"{len(names)} augmented copies of validation and test images, as their names tell, "
            f"are not used: {examples(list(names), 2)}.",
            "Their originals are scored; copies would only count them several times.",
            names,
        )
    ]


def unread_split(error: DataError, path: Path) -> Finding:
    """Of a split file of the dataset that is of another form."""
    return _finding(
        Severity.WARNING,
        "split-file-unread",
        str(path),
        f"The dataset's split file is not used: {error.problem}",
        f"{error.fix} Or name another one with --split.",
    )
