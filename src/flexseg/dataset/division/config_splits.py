"""Which case is for training, which for validation, which for the test, as a config says."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace

from flexseg.config.findings import Finding, Severity, amount, examples
from flexseg.config.schema import DataSections, DatasetConfig, SplitConfig
from flexseg.config.train import TrainConfig
from flexseg.dataset.cases import EQUAL_NAMES, Case, Pairing, Regions, pair
from flexseg.dataset.division.split_file import parts_of_file
from flexseg.dataset.division.splits import SPLITS, SplitName, Splits
from flexseg.errors import ConfigError, DataError


def find_splits(data: DataSections, only: Iterable[SplitName] = SPLITS) -> Splits:
    """Find and pair the cases of all splits that the config describes.

    Each split has folders of its own, of which `split_file` may choose cases; or `[dataset]
    images_dir` holds all cases and `split_file`, or the shares of `split`, divide them. Without
    a validation set, a fifth of the training groups becomes one.

    Parameters
    ----------
    only : the splits that are needed; missing folders of others do not matter.

    Raises
    ------
    DataError, ConfigError : folders or the split file are missing or wrong.
    """
    splits = Splits()
    wanted = set(only)
    sections: dict[SplitName, TrainConfig | SplitConfig] = {
        "train": data.train,
        "valid": data.valid,
        "test": data.test,
    }
    own = [name for name, section in sections.items() if section.images_dir is not None]
    if data.dataset.images_dir is not None:
        if own:
            raise ConfigError(
                "[dataset] images_dir holds all splits, but images_dir is set in "
                f"[{'], ['.join(own)}] too.",
                "Keep one of the two.",
                "[dataset] images_dir",
            )
        _from_one_folder(data, splits)
        return splits
    split_file = data.dataset.split_file
    if "valid" not in own and wanted & {"train", "valid"}:
        wanted |= {"train", "valid"}  # the one is held out from the other
    if split_file is not None and not wanted <= set(own):
        wanted.add("train")
    for split in SPLITS:
        section = sections[split]
        if split in wanted and section.images_dir is not None:
            pairing = _pair(data, section)
            splits.findings += _pairing_findings(pairing, split)
            splits.cases[split] = pairing.cases
    if split_file is not None:
        splits.add(parts_of_file(split_file, dict(splits.cases.items())))
    if "valid" in wanted and not splits.cases.get("valid") and splits.cases.get("train"):
        _hold_out_validation(data.train.seed, splits)
    return splits


def _pair(
    data: DataSections, section: DatasetConfig | TrainConfig | SplitConfig, group: str | None = None
) -> Pairing:
    images, masks, dataset = section.images_dir, section.masks_dir, data.dataset
    if images is None or masks is None:
        raise ConfigError(
            f"There are images ({images}), but masks_dir is not set.",
            "Set masks_dir in the same section.",
        )
    pairing = pair(
        images,
        masks,
        mask_name=dataset.mask_name,
        group=group or dataset.group,
        image_format=data.image.file_format,
        mask_format=data.mask.mask_file_format,
    )
    ignore, roi = section.ignore_dir or dataset.ignore_dir, section.roi_dir or dataset.roi_dir
    regions = Regions((ignore,) if ignore else (), (roi,) if roi else (), data.dataset.region_name)
    return replace(pairing, cases=regions.of(pairing.cases))


def all_regions(data: DataSections) -> Regions:
    """The folders of all sections, of masks that may be in any split."""
    return Regions(
        tuple(s.ignore_dir for s in data.with_folders if s.ignore_dir is not None),
        tuple(s.roi_dir for s in data.with_folders if s.roi_dir is not None),
        data.dataset.region_name,
    )


def pair_one_folder(data: DataSections, group: str | None = None) -> Pairing:
    """The cases of a config that names one folder of images, or one for training alone.

    Parameters
    ----------
    group : instead of `[dataset] group`.

    Raises
    ------
    ConfigError : the config names no folder, or several.
    DataError : nothing pairs.
    """
    dataset, train = data.dataset, data.train
    own = [n for n in SPLITS if getattr(data, n).images_dir is not None]
    section = train if dataset.images_dir is None and own == ["train"] else dataset
    if section.images_dir is None:
        named = f"[{'], ['.join(own)}] have folders of their own" if own else "it names no folder"
        raise ConfigError(
            f"There is not one folder to split: {named}.",
            "Set [dataset] images_dir and masks_dir, or give the folder instead of the config.",
            "[dataset] images_dir",
        )
    pairing = _pair(data, section, group)
    for finding in _pairing_findings(pairing, "dataset"):
        if finding.severity is Severity.ERROR:
            raise DataError(finding.what, finding.fix, str(section.images_dir))
    return pairing


def _pairing_findings(pairing: Pairing, where: str) -> list[Finding]:
    findings = pairing.note_of_others()
    if not pairing.cases:
        return [
            Finding(
                Severity.ERROR,
                "data",
                "no-pairs",
                f"[{where}]",
                f"None of {len(pairing.images_without_mask)} images has a mask of the same name "
                f"(first image {examples([p.name for p in pairing.images_without_mask], 1)}, "
                f"first mask {examples([p.name for p in pairing.masks_without_image], 1)}).",
                "Masks are paired with images by file name; [dataset] mask_name sets another "
                "pattern, e.g. '{id}_mask'.",
            )
        ]
    if pairing.images_without_mask:
        names = tuple(p.name for p in pairing.images_without_mask)
        findings.append(
            Finding(
                Severity.WARNING,
                "data",
                "images-without-mask",
                f"[{where}]",
                f"{amount(len(names), 'image')} without a mask "
                f"{'is' if len(names) == 1 else 'are'} left out: {examples(list(names))}.",
                "Add the masks, or remove the images.",
                names,
            )
        )
    if pairing.equal_names:
        names = tuple(p.name for p in pairing.equal_names)
        findings.append(
            Finding(
                Severity.WARNING,
                "data",
                "equal-names",
                f"[{where}]",
                f"{EQUAL_NAMES} ({len(names)}): {examples(list(names))}.",
                "Remove them, or set [image] file_format or [mask] mask_file_format.",
                names,
            )
        )
    if pairing.masks_without_image:
        names = tuple(p.name for p in pairing.masks_without_image)
        findings.append(
            Finding(
                Severity.WARNING,
                "data",
                "masks-without-image",
                f"[{where}]",
                f"{amount(len(names), 'mask')} without an image "
                f"{'is' if len(names) == 1 else 'are'} left out: {examples(list(names))}.",
                "Add the images, or remove the masks.",
                names,
            )
        )
    return findings


def _from_one_folder(data: DataSections, splits: Splits) -> None:
    dataset = data.dataset
    pairing = _pair(data, dataset)
    splits.findings += _pairing_findings(pairing, "dataset")
    if dataset.split_file is not None:
        whole = _whole_volumes(data)
        splits.add(parts_of_file(dataset.split_file, {"": pairing.cases}, whole))
    else:
        splits.cases.update(_by_share(pairing.cases, dataset.split, data.train.seed))


def _whole_volumes(data: DataSections) -> dict[str, list[str]]:
    """The volumes that `[volume]` names, by their own name and by that of their group."""
    volume = data.volume
    if volume.images_dir is None or volume.masks_dir is None:
        return {}
    # Only here, as reading volumes takes a while to import.
    from flexseg.dataset.volumetric.pairing import find_pairs, group_of_volume

    by_name: dict[str, list[str]] = defaultdict(list)
    stems = list(find_pairs(volume.images_dir, volume.masks_dir).by_stem)
    for stem in stems:
        pattern, several = data.dataset.group, len(volume.axes) > 1
        by_name[group_of_volume(stem, pattern, several_axes=several)].append(stem)
    return by_name | {stem: [stem] for stem in stems}


def _by_share(
    cases: tuple[Case, ...], shares: tuple[float, float, float], seed: int
) -> dict[SplitName, tuple[Case, ...]]:
    if min(shares) < 0 or not 0.999 < sum(shares) < 1.001:
        raise ConfigError(
            f"split = {shares} does not sum to 1.", "Write e.g. [0.7, 0.15, 0.15].", "[dataset]"
        )
    groups = _shuffled_groups(cases, seed)
    counts = [round(share * len(groups)) for share in shares]
    if len(groups) >= 3:
        counts = [max(1, n) if share > 0 else 0 for n, share in zip(counts, shares, strict=True)]
    elif len(groups) == 2 and shares[1] > 0:
        counts = [1, 1, 0]
    cut = max(0, len(groups) - counts[1] - counts[2])
    parts = (groups[:cut], groups[cut : cut + counts[1]], groups[cut + counts[1] :])
    split_of = {group: name for name, part in zip(SPLITS, parts, strict=True) for group in part}
    return {name: tuple(case for case in cases if split_of[case.group] == name) for name in SPLITS}


def _hold_out_validation(seed: int, splits: Splits) -> None:
    cases = splits.cases["train"]
    groups = _shuffled_groups(cases, seed)
    if len(groups) < 2:
        return
    held = set(groups[: max(1, len(groups) // 5)])
    splits.cases["train"] = tuple(c for c in cases if c.group not in held)
    splits.cases["valid"] = tuple(c for c in cases if c.group in held)
    splits.findings.append(
        Finding(
            Severity.NOTE,
            "data",
            "validation-held-out",
            "[valid]",
            f"No validation set is given: {len(splits.cases['valid'])} of "
            f"{amount(len(cases), 'training case')}, chosen by group and seed, "
            f"{'is' if len(splits.cases['valid']) == 1 else 'are'} held out for it.",
            "Set [valid] images_dir and masks_dir to use your own.",
        )
    )


def _shuffled_groups(cases: tuple[Case, ...], seed: int) -> list[str]:
    """Groups in an order that depends on seed and name alone, so that new cases do not
    reshuffle the old ones."""

    def key(group: str) -> bytes:
        return hashlib.sha256(f"{seed}:{group}".encode()).digest()

    return sorted({case.group for case in cases}, key=key)
