"""`flexseg split`: which cases train, validate and test, written as files that configs read."""

from __future__ import annotations

import csv
import re
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexseg.config.findings import examples
from flexseg.config.schema import Experiment
from flexseg.dataset.cases import Case, Pairing, pair
from flexseg.dataset.labels import LabelMap
from flexseg.dataset.names import base_name
from flexseg.dataset.partition import folds, partition
from flexseg.dataset.splits import SPLITS
from flexseg.errors import ConfigError, DataError
from flexseg.files.images import MaskPixels, read_mask
from flexseg.outputs import (
    explain_os_errors,
    make_folder,
    refuse_overlap,
    set_aside,
    whole_folder,
    write_json,
)

Progress = Callable[[int, int], None]
# More values than this are no classes but shades, of JPEG or of blended edges.
_MAX_VALUES = 32
_FILE_COLUMNS = ("image", "file")


@dataclass(frozen=True)
class SplitSource:
    """The cases to divide and the classes that each of them shows.

    Attributes
    ----------
    presence : [cases, classes] bool.
    classes : names of the columns of `presence`.
    left_out : files without a partner.
    """

    cases: tuple[Case, ...]
    presence: NDArray[np.bool_]
    classes: tuple[str, ...]
    left_out: tuple[Path, ...]

    @property
    def groups(self) -> list[str]:
        """The group of each case."""
        return [case.group for case in self.cases]


@dataclass(frozen=True)
class Division:
    """Names of parts and the part that each case is in, [cases]; -1: in none."""

    names: tuple[str, ...]
    part_of: NDArray[np.intp]

    def cases(self, source: SplitSource, part: int) -> list[Case]:
        """The cases of a part, in the source's order."""
        return [source.cases[i] for i in np.flatnonzero(self.part_of == part)]

    def as_dict(self, source: SplitSource) -> dict[str, list[str]]:
        """The content of a split file."""
        return {
            name: [case.id for case in self.cases(source, part)]
            for part, name in enumerate(self.names)
        }


def read_folder(
    folder: Path, *, group: str | None = None, on_case: Progress | None = None
) -> SplitSource:
    """The cases of a folder with `images/` and `masks/`.

    Every value or colour of the masks counts as a class; where there are many, which JPEG and
    blended edges make, only foreground or none.

    Raises
    ------
    DataError : a folder is missing, nothing pairs, or a mask cannot be read.
    """
    for kind in ("images", "masks"):
        if not (folder / kind).is_dir():
            raise DataError(
                f"The folder has no {kind}/.",
                "Give a folder with images/ and masks/, or a config that names them.",
                str(folder),
            )
    pairing = pair(folder / "images", folder / "masks", group=group)
    _need_pairs(pairing, folder)
    found = _read(pairing.cases, _mask_values, on_case)
    values = sorted({v for one in found for v in one} - {_NOTHING}, key=str)
    if len(values) > _MAX_VALUES:
        shown = [{1} if len(one - {_NOTHING}) else set() for one in found]
        return _source(pairing, shown, {1: "foreground"})
    return _source(pairing, found, {v: _value_name(v) for v in values})


def read_config(
    experiment: Experiment, *, group: str | None = None, on_case: Progress | None = None
) -> SplitSource:
    """The cases of a config's one folder, with its classes.

    Parameters
    ----------
    group : instead of `[dataset] group`.

    Raises
    ------
    ConfigError : the config has no folder, or several.
    DataError : nothing pairs, or a mask cannot be read.
    """
    dataset, train = experiment.dataset, experiment.train
    own = [n for n in SPLITS if getattr(experiment, n).images_dir is not None]
    if dataset.images_dir is None and own != ["train"]:
        named = f"[{'], ['.join(own)}] have folders of their own" if own else "it names no folder"
        raise ConfigError(
            f"There is no one folder to divide: {named}.",
            "Set [dataset] images_dir and masks_dir, or give the folder instead of the config.",
            "[dataset] images_dir",
        )
    images = dataset.images_dir or train.images_dir
    masks = dataset.masks_dir if dataset.images_dir else train.masks_dir
    if images is None or masks is None:
        raise ConfigError(
            f"There are images ({images}) but no masks_dir beside them.",
            "Set masks_dir in the same section.",
        )
    pairing = pair(
        images,
        masks,
        mask_name=dataset.mask_name,
        group=group or dataset.group,
        image_format=experiment.image.file_format,
        mask_format=experiment.mask.mask_file_format,
    )
    _need_pairs(pairing, images)
    labels = LabelMap.from_experiment(experiment)

    def class_ids(case: Case) -> set[Any]:
        encoded = labels.encode(read_mask(case.mask), str(case.mask))
        return set(np.unique(encoded.labels).tolist())

    found = _read(pairing.cases, class_ids, on_case)
    return _source(pairing, found, {c.id: c.name for c in labels.foreground})


def _need_pairs(pairing: Pairing, where: Path) -> None:
    if not pairing.cases:
        raise DataError(
            f"None of {len(pairing.images_without_mask)} images has a mask of the same name "
            f"(first image {examples([p.name for p in pairing.images_without_mask], 1)}, first "
            f"mask {examples([p.name for p in pairing.masks_without_image], 1) or 'missing'}).",
            "Masks pair by file name; with a config, [dataset] mask_name says another rule.",
            str(where),
        )


def _read(
    cases: Sequence[Case], read: Callable[[Case], set[Any]], on_case: Progress | None
) -> list[set[Any]]:
    found = []
    with ThreadPoolExecutor() as pool:
        for done, values in enumerate(pool.map(read, cases), start=1):
            found.append(values)
            if on_case is not None:
                on_case(done, len(cases))
    return found


def _source(pairing: Pairing, found: list[set[Any]], names: dict[Any, str]) -> SplitSource:
    presence = np.array([[value in one for value in names] for one in found], bool)
    left_out = pairing.images_without_mask + pairing.masks_without_image
    return SplitSource(
        pairing.cases, presence.reshape(len(found), len(names)), tuple(names.values()), left_out
    )


_NOTHING = "background"


def _mask_values(case: Case) -> set[Any]:
    """The values or colours of a mask, black and 0 as `_NOTHING`."""
    mask = read_mask(case.mask)
    pixels = mask.pixels
    if mask.one_hot:
        pixels = pixels.argmax(axis=-1)
    elif mask.lossy:
        return {255 if (pixels > 127).any() else _NOTHING}
    if pixels.ndim == 3:
        return _colors(mask)
    return {_NOTHING if v == 0 else v for v in np.unique(pixels).tolist()}


def _colors(mask: MaskPixels) -> set[Any]:
    wide = mask.pixels.astype(np.int32)
    packed = np.unique((wide[..., 0] << 16) + (wide[..., 1] << 8) + wide[..., 2]).tolist()
    return {f"#{v:06x}" if v else _NOTHING for v in packed}


def _value_name(value: Any) -> str:
    return value if isinstance(value, str) else f"value {value:g}"


def groups_from_manifest(source: SplitSource, manifest: Path, column: str) -> SplitSource:
    """The source with groups from a table, as `flexseg derive` writes one.

    Augmented copies get the group of their original where they have no row of their own.

    Parameters
    ----------
    manifest : CSV with a column `image` (or `file`): path or name of the image.
    column : the column of the group, e.g. "patient".

    Raises
    ------
    DataError : the table lacks a column, or cases.
    """
    try:
        text = manifest.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError("There is no such file.", "Check the path.", str(manifest)) from None
    except UnicodeDecodeError as error:
        raise DataError(f"This is no UTF-8 text: {error}.", "Save it so.", str(manifest)) from None
    table = csv.DictReader(text.splitlines())
    header = list(table.fieldnames or ())
    files = next((name for name in _FILE_COLUMNS if name in header), None)
    if files is None or column not in header:
        lacking = "image" if files is None else column
        raise DataError(
            f"The table has no column {lacking!r}; it has: {', '.join(header) or 'none'}.",
            "Name the column of the group by --by, the file stands in 'image'.",
            str(manifest),
        )
    groups = {_stem(row[files]): (row[column] or "").strip() for row in table if row[files]}
    lacking_cases = [c.id for c in source.cases if not (groups.get(c.id) or groups.get(_base(c)))]
    if lacking_cases:
        raise DataError(
            f"{len(lacking_cases)} of {len(source.cases)} cases have no {column} in the table: "
            f"{examples(lacking_cases)}.",
            "Add them; a case without a group could end up on both sides.",
            str(manifest),
        )
    cases = (replace(c, group=groups.get(c.id) or groups[_base(c)]) for c in source.cases)
    return replace(source, cases=tuple(cases))


def _stem(name: str) -> str:
    return re.split(r"[/\\]", name)[-1].rpartition(".")[0] or name


def _base(case: Case) -> str:
    return base_name(case.id)


def divide(source: SplitSource, ratios: Sequence[float], seed: int) -> Division:
    """Divide into train, valid and (with three ratios) test.

    Raises
    ------
    ConfigError : the ratios are wrong.
    DataError : there are fewer groups than parts.
    """
    if len(ratios) not in (2, 3) or min(ratios) < 0 or abs(sum(ratios) - 1) > 0.001:
        raise ConfigError(
            f"{', '.join(f'{r:g}' for r in ratios)} are no shares of train, valid and test.",
            "Give two or three numbers that add up to 1, e.g. 0.7,0.15,0.15.",
            "--ratios",
        )
    _need_groups(source, sum(r > 0 for r in ratios), "--ratios")
    part_of = partition(source.groups, source.presence, ratios, seed)
    return Division(SPLITS[: len(ratios)], part_of)


def divide_folds(source: SplitSource, count: int, test: float, seed: int) -> list[Division]:
    """Divide into folds, each of which validates once; with `test` > 0 that share is held out.

    Raises
    ------
    ConfigError : the numbers are wrong.
    DataError : there are fewer groups than parts.
    """
    if count < 2:
        raise ConfigError(f"{count} folds are none.", "Give 2 or more.", "--folds")
    if not 0 <= test < 1:
        raise ConfigError(f"{test:g} is no share.", "Give a number from 0 to below 1.", "--test")
    _need_groups(source, count + (test > 0), "--folds")
    held = np.zeros(len(source.cases), bool)
    if test:
        held = partition(source.groups, source.presence, [1 - test, test], seed) == 1
    rest = np.flatnonzero(~held)
    groups = [source.cases[i].group for i in rest]
    fold_of = np.full(len(held), -1, np.intp)
    fold_of[rest] = folds(groups, source.presence[rest], count, seed)
    names = SPLITS if test else SPLITS[:2]
    return [
        Division(names, np.where(held, 2, (fold_of == fold).astype(np.intp)))
        for fold in range(count)
    ]


def _need_groups(source: SplitSource, parts: int, where: str) -> None:
    count = len(set(source.groups))
    if count < parts:
        raise DataError(
            f"{len(source.cases)} cases of {count} group(s) cannot fill {parts} parts.",
            "Take fewer parts, or another --group: one group is never divided.",
            where,
        )


def summary(source: SplitSource, division: Division) -> list[dict[str, Any]]:
    """Per part: cases, groups, and in how many cases each class is."""
    rows = []
    for part, name in enumerate(division.names):
        inside = division.part_of == part
        shown = source.presence[inside]
        rows.append(
            {
                "split": name,
                "cases": int(inside.sum()),
                "groups": len({c.group for c in division.cases(source, part)}),
                "classes": dict(zip(source.classes, shown.sum(axis=0).tolist(), strict=True)),
                "empty": int((~shown.any(axis=1)).sum()) if source.classes else 0,
            }
        )
    return rows


def write_division(source: SplitSource, division: Division, path: Path) -> None:
    """Write a split file; one in the way moves aside."""
    make_folder(path.absolute().parent)
    set_aside(path)
    write_json(path, division.as_dict(source))


def copy_division(
    source: SplitSource, division: Division, folder: Path, on_case: Progress | None = None
) -> None:
    """Copy the cases into `<folder>/<split>/{images,masks}`; a folder in the way moves aside.

    Raises
    ------
    ConfigError : the folder contains the source.
    ResourceError : it cannot be written.
    """
    folder = folder.absolute()
    kept = {c.image.parent for c in source.cases} | {c.mask.parent for c in source.cases}
    refuse_overlap({"--copy": folder}, kept)
    if any(folder.resolve().is_relative_to(path.resolve()) for path in kept):
        raise ConfigError(
            f"The output folder {folder} lies within the input.",
            "Choose a folder of its own.",
            "--copy",
        )
    done = 0
    with whole_folder(folder) as part, explain_os_errors(folder):
        for number, name in enumerate(division.names):
            for kind in ("images", "masks"):
                (part / name / kind).mkdir(parents=True)
            for case in division.cases(source, number):
                shutil.copy2(case.image, part / name / "images" / case.image.name)
                shutil.copy2(case.mask, part / name / "masks" / case.mask.name)
                done += 1
                if on_case is not None:
                    on_case(done, len(source.cases))


def group_sizes(source: SplitSource) -> str:
    """One sentence on the groups for people."""
    sizes = Counter(source.groups)
    if len(sizes) == len(source.cases):
        return f"{len(source.cases)} cases, each a group of its own"
    low, high = min(sizes.values()), max(sizes.values())
    size = str(low) if low == high else f"{low} to {high}"
    return f"{len(source.cases)} cases in {len(sizes)} groups of {size}"
