"""What a user should know about a dataset: its files, its classes, its parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from flexseg.config.findings import Finding, Severity, amount, examples, some_of
from flexseg.dataset.cases import EQUAL_NAMES, Pairing
from flexseg.dataset.labels import LabelMap
from flexseg.dataset.layout import Layout
from flexseg.dataset.looks import Look
from flexseg.dataset.names import is_augmented
from flexseg.dataset.quality.leaks import leak_findings
from flexseg.errors import DataError
from flexseg.files.images import is_8bit

# A class in fewer cases than this can neither be learned nor scored with any certainty.
_FEW_CASES = 10


def dataset_findings(
    layout: Layout,
    pairings: Mapping[str, Pairing],
    left_out: Sequence[str],
    looks: Sequence[Look],
    labels: LabelMap,
) -> list[Finding]:
    """Files that are left out, and what is doubtful with the others.

    Parameters
    ----------
    left_out : cases that cannot be used, with the reason.
    looks : of the usable cases, their class pixels counted.
    """
    findings = [_finding(Severity.NOTE, "layout", "folders", note) for note in layout.notes]
    findings += [
        _finding(
            Severity.NOTE,
            "unlabeled-images",
            str(folder),
            "These images have no masks: they can be predicted, but not trained on or scored.",
        )
        for folder in layout.unlabeled.values()
    ]
    findings += [note for pairing in pairings.values() for note in pairing.note_of_others()]
    findings += _unpaired(pairings) + _left_out(left_out)
    return findings + file_findings(looks) + _rare_classes(looks, labels)


def parts_findings(
    parts: Mapping[str, Sequence[Look]], labels: LabelMap, *, named: bool
) -> list[Finding]:
    """What the parts of a division lack, and what crosses them.

    Parameters
    ----------
    named : groups are those that a pattern finds in the names.
    """
    findings = []
    for split, looks in parts.items():
        marked = split != "train" and shows_classes(parts["train"])
        findings += split_findings(split, looks, labels, marked=marked)
    return [*findings, *leak_findings(parts, named=named), *_augmented(parts["train"])]


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
                    f"{amount(len(names), what)} {verb} no {other} and cannot be used: "
                    f"{examples(names)}.",
                    f"Add the {other}s, or remove the {what}s.",
                    names,
                )
            )
    if equal := sorted(path.name for own in pairings.values() for path in own.equal_names):
        findings.append(
            _finding(
                Severity.WARNING,
                "equal-names",
                "images",
                f"{EQUAL_NAMES} ({len(equal)}): {examples(equal)}.",
                "Remove them, so that it is clear which ones count.",
                equal,
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
            f"{amount(len(left_out), 'case')} cannot be used and "
            f"{'is' if len(left_out) == 1 else 'are'} left out: {examples(left_out, 3)}.",
            "Fetch, copy or export these files again.",
            left_out,
        )
    ]


def _rare_classes(looks: Sequence[Look], labels: LabelMap) -> list[Finding]:
    findings = []
    for c in labels.foreground:
        shown = [k.case.id for k in looks if k.class_pixels and k.class_pixels[c.id]]
        if 0 < len(shown) < min(_FEW_CASES, len(looks)):
            findings.append(
                _finding(
                    Severity.WARNING,
                    "rare-class",
                    "masks",
                    f"The {c.in_words} is in only {len(shown)} of {amount(len(looks), 'case')} "
                    f"({examples(shown, 3)}): what is learned of it, and its score, depend much "
                    "on chance.",
                    "Add cases that show it; or correct these masks, if it is none of the classes.",
                    shown,
                )
            )
    return findings


def _augmented(looks: Sequence[Look]) -> list[Finding]:
    names = [look.case.id for look in looks if is_augmented(look.case.id)]
    if not names:
        return []
    return [
        _finding(
            Severity.NOTE,
            "augmented-training-cases",
            "[train]",
            "By their names, "
            f"{some_of(len(names), len(looks), 'training image', 'is', 'are')} augmented: "
            f"{examples(names, 2)}.",
            "Augmentation during training makes new ones each time; copies are not needed.",
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
            "Not used, as by their names they are augmented copies of validation and test "
            f"images ({len(names)}): {examples(names, 2)}.",
            "Their originals are scored; copies would only count them again.",
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


def shows_classes(facts: Sequence[Look]) -> bool:
    """Whether a mask of these cases has more than background."""
    return any(sum(f.class_pixels[1:]) > 0 for f in facts)


def split_findings(
    split: str, facts: Sequence[Look], labels: LabelMap, *, marked: bool = False
) -> list[Finding]:
    """What the masks of one split lack.

    Parameters
    ----------
    marked : masks of another split show that colours and classes fit.
    """
    where = f"[{split}]"
    findings = [] if labels.ignored is None else _ignored_findings(where, facts)
    read = [f for f in facts if sum(f.class_pixels)]
    empty = [f.case.id for f in read if sum(f.class_pixels[1:]) == 0]
    if read and len(empty) == len(read) and marked and not any(f.unknown for f in read):
        findings.append(
            _finding(
                Severity.WARNING,
                "all-masks-empty",
                where,
                f"All masks ({len(read)}) are empty (background only): they reveal false "
                "positives, but not whether anything is found.",
                "Add cases that show the classes.",
                empty,
            )
        )
    elif read and len(empty) == len(read):
        findings.append(
            _finding(
                Severity.ERROR,
                "all-masks-empty",
                where,
                f"All masks ({len(read)}) are empty (background only).",
                "The colours or values of the masks do not match the classes; see below.",
                empty,
            )
        )
    elif empty:
        findings.append(
            _finding(
                Severity.NOTE,
                "empty-masks",
                where,
                f"{some_of(len(empty), len(read), 'mask', 'is', 'are')} empty: {examples(empty)}.",
                items=empty,
            )
        )
    for c in labels.foreground:
        if not c.in_masks:
            continue
        if len(empty) < len(read) and not any(f.class_pixels[c.id] for f in read):
            findings.append(
                _finding(
                    Severity.WARNING,
                    "class-absent",
                    where,
                    f"The {c.in_words} occurs in no mask of {where}.",
                    "Check its colour or value in [mask], or split the cases differently.",
                )
            )
    return findings


def _ignored_findings(where: str, facts: Sequence[Look]) -> list[Finding]:
    """How much of the masks counts in nothing."""
    read = [f for f in facts if f.class_pixels]
    having = [f.case.id for f in read if f.ignored_pixels]
    nothing = [f.case.id for f in read if not sum(f.class_pixels)]
    pixels = sum(f.ignored_pixels for f in read)
    share = pixels / max(1, pixels + sum(sum(f.class_pixels) for f in read))
    what = (
        f"{share:.2%} of the mask pixels, in {len(having)} of {amount(len(read), 'mask')}, "
        "are ignored."
    )
    findings = [_finding(Severity.NOTE, "ignored-pixels", where, what, items=having)]
    if nothing:
        findings.append(
            _finding(
                Severity.ERROR if len(nothing) == len(read) else Severity.WARNING,
                "nothing-counts",
                where,
                f"All pixels of {amount(len(nothing), 'mask')} are ignored: {examples(nothing)}.",
                "Nothing can be learned or tested on them: leave them out, or correct [mask].",
                nothing,
            )
        )
    return findings


def file_findings(facts: Sequence[Look]) -> list[Finding]:
    """Files that cannot be used, or only with doubt."""
    findings = [Finding.of_error(error, "data") for f in facts for error in f.problems]
    lossy = [f.case.mask.name for f in facts if f.lossy]
    if lossy:
        findings.append(
            _finding(
                Severity.WARNING,
                "lossy-masks",
                "masks",
                f"{amount(len(lossy), 'mask', 'is', 'are')} JPEG or lossy WebP, which blurs the "
                f"values at every edge: {examples(lossy)}.",
                "They are read by threshold or nearest colour; PNG masks would be exact.",
                lossy,
            )
        )
    scaled = [f.case.id for f in facts if f.other_resolution and not f.problems]
    if scaled:
        findings.append(
            _finding(
                Severity.WARNING,
                "mask-resolution",
                "masks",
                f"{amount(len(scaled), 'mask', 'has', 'have')} another resolution than "
                f"{'its' if len(scaled) == 1 else 'their'} image: {examples(scaled)}.",
                "They are scaled by nearest neighbour; export them at the image's size.",
                scaled,
            )
        )
    constant = [f.case.image.name for f in facts if f.constant]
    if constant:
        findings.append(
            _finding(
                Severity.WARNING,
                "constant-images",
                "images",
                f"{amount(len(constant), 'image', 'has', 'have')} one value only: "
                f"{examples(constant)}.",
                "Look at them: nothing can be learned from such images.",
                constant,
            )
        )
    wide = {is_8bit(f.case.image) for f in facts}
    if len(wide) == 2:
        findings.append(
            _finding(
                Severity.WARNING,
                "mixed-depth",
                "images",
                "8-bit images are mixed with images of more bits.",
                "Set [image] window if their intensities mean different things.",
            )
        )
    return findings
