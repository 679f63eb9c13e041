"""What training has seen of validation or test: scores on it say too much."""

from __future__ import annotations

from collections import defaultdict

from flexseg.checking.facts import CaseFacts
from flexseg.config.findings import Finding, Severity, examples
from flexseg.config.schema import Experiment
from flexseg.data.duplicates import Fingerprint, NearDuplicate, find_near_duplicates
from flexseg.data.names import is_augmented
from flexseg.data.splits import SPLITS, SplitName

Facts = dict[SplitName, list[CaseFacts]]

_WHERE = "splits"
_SPLIT_AGAIN = "`flexseg split` divides by group and keeps copies together."


def leak_findings(experiment: Experiment, facts: Facts) -> list[Finding]:
    """Cases, copies of them, or groups that are in more than one split."""
    valid, test = experiment.valid.images_dir, experiment.test.images_dir
    # If two splits are one folder, that is said once; the third still counts.
    one_folder = valid is not None and valid == test
    same = {"valid", "test"} if one_folder else set()
    return [
        *(_validation_is_test() if one_folder else []),
        *_exact_duplicates(facts, same),
        *_near_duplicates(facts, same, experiment.dataset.group is not None),
        *_shared_groups(facts, same, experiment.dataset.group is not None),
        *_augmented(facts),
    ]


def _finding(severity: Severity, code: str, what: str, fix: str, items: list[str]) -> Finding:
    return Finding(severity, "data", code, _WHERE, what, fix, tuple(items))


def _validation_is_test() -> list[Finding]:
    return [
        Finding(
            Severity.WARNING,
            "data",
            "validation-is-test",
            "[valid] and [test]",
            "The validation set is the test set: the best epoch is chosen on the images that "
            "it is then scored on, so the score is too good.",
            "Take validation images from the training set.",
        )
    ]


def _exact_duplicates(facts: Facts, same: set[str]) -> list[Finding]:
    seen: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for split in SPLITS:
        for f in facts[split]:
            if f.digest:
                seen[f.digest][split].append(f.case.id)
    across, within = [], []
    for places in seen.values():
        names = " = ".join(f"{split} {name}" for split, ids in places.items() for name in ids)
        if len(places) > 1 and set(places) != same:
            across.append(names)
        elif any(len(ids) > 1 for ids in places.values()):
            within.append(names)
    findings = []
    if across:
        findings.append(
            _finding(
                Severity.WARNING,
                "duplicates-across-splits",
                f"{len(across)} images are in more than one split, pixel for pixel: "
                f"{examples(across)}.",
                "Keep each of them in one split only; a score on seen images is no score.",
                across,
            )
        )
    if within:
        findings.append(
            _finding(
                Severity.NOTE,
                "duplicates",
                f"{len(within)} images occur twice within a split: {examples(within)}.",
                "",
                within,
            )
        )
    return findings


def _near_duplicates(facts: Facts, same: set[str], named: bool) -> list[Finding]:
    """Copies that are flipped, rotated, resized or mildly warped, whatever their names say."""
    listed = [(s, f) for s in SPLITS for f in facts[s] if f.fingerprint is not None]

    def known(first: int, second: int) -> bool:
        """Whether another finding tells of this pair."""
        (split_a, a), (split_b, b) = listed[first], listed[second]
        told = named or is_augmented(a.case.id) or is_augmented(b.case.id)
        return (
            a.digest == b.digest
            or {split_a, split_b} == same
            or (told and a.case.group == b.case.group)
        )

    prints: list[Fingerprint] = [f.fingerprint for _, f in listed if f.fingerprint is not None]
    pairs = find_near_duplicates(prints, [SPLITS.index(s) for s, _ in listed], skip=known)
    if not pairs:
        return []
    items = [_described(pair, listed) for pair in pairs]
    images = {index for pair in pairs for index in (pair.first, pair.second)}
    return [
        _finding(
            Severity.WARNING,
            "near-duplicates-across-splits",
            f"{len(items)} pair(s) from different splits, {len(images)} images in all, look like "
            f"copies of one image or neighbouring slices: {examples(items)}.",
            "Look at them. Copies belong in one split: name a group for them ([dataset] group) or "
            "remove them.",
            items,
        )
    ]


def _described(pair: NearDuplicate, listed: list[tuple[SplitName, CaseFacts]]) -> str:
    (split_a, a), (split_b, b) = listed[pair.first], listed[pair.second]
    moved = ["mirrored"] if pair.flipped else []
    # The angle is known to some 6 degrees; that of a mirrored copy depends on the axis.
    if pair.angle > 6:
        moved.append(f"rotated by about {pair.angle:.0f} degrees")
    hint = f" ({', '.join(moved)})" if moved else ""
    return f"{split_a} {a.case.id} ~ {split_b} {b.case.id}{hint}"


def _shared_groups(facts: Facts, same: set[str], named: bool) -> list[Finding]:
    places: dict[str, dict[str, list[CaseFacts]]] = defaultdict(lambda: defaultdict(list))
    for split in SPLITS:
        for f in facts[split]:
            places[f.case.group][split].append(f)
    shared = {g: p for g, p in places.items() if len(p) > 1 and set(p) != same}
    if named:
        if not shared:
            return []
        return [
            _finding(
                Severity.WARNING,
                "groups-across-splits",
                f"{len(shared)} groups (patients, volumes) have cases in more than one split: "
                f"{examples(sorted(shared))}.",
                f"Split by group: cases of one patient resemble each other. {_SPLIT_AGAIN}",
                sorted(shared),
            )
        ]
    # Without a pattern a group is one image with its augmented copies. Equal plain names say
    # nothing: each folder may count from 1.
    copies = {
        group: found
        for group, found in shared.items()
        if any(is_augmented(f.case.id) for cases in found.values() for f in cases)
    }
    if not copies:
        return []
    items = [
        " ~ ".join(f"{split} {examples([f.case.id for f in cases], 2)}" for split, cases in
                   copies[group].items())
        for group in sorted(copies)
    ]  # fmt: skip
    return [
        _finding(
            Severity.WARNING,
            "siblings-across-splits",
            f"{len(items)} images have augmented copies in another split, as their names tell: "
            f"{examples(items, 2)}.",
            f"Split first, then augment the training split. {_SPLIT_AGAIN}",
            items,
        )
    ]


def _augmented(facts: Facts) -> list[Finding]:
    findings = []
    for split in ("valid", "test"):
        names = [f.case.id for f in facts[split] if is_augmented(f.case.id)]
        if names:
            findings.append(
                Finding(
                    Severity.WARNING,
                    "data",
                    "augmented-cases",
                    f"[{split}]",
                    f"{len(names)} of {len(facts[split])} images are augmented copies, as their "
                    f"names tell: {examples(names)}.",
                    "A score on distorted images says little about real ones: keep the originals "
                    "only, and augment the training split alone.",
                    tuple(names),
                )
            )
    return findings
