"""How the masks of a folder show the classes, whichever program has written them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from flexseg.config.findings import amount, examples
from flexseg.dataset.candidates.advice import inner_folders
from flexseg.dataset.candidates.mask_folders import mask_folders
from flexseg.dataset.cases import Pairing
from flexseg.dataset.ignored.void import without_void
from flexseg.dataset.labels import LabelClass, LabelMap
from flexseg.dataset.looks import MaskLook, look_at_mask
from flexseg.dataset.marks.guard import refuse_photographs
from flexseg.dataset.marks.values import NEAR_LOSSY, are_shares
from flexseg.dataset.meaning import find_meaning
from flexseg.dataset.parallel import run_parallel
from flexseg.errors import DataError
from flexseg.files.entries import list_files
from flexseg.files.images import MASK_SUFFIXES, MaskPixels
from flexseg.machine import typed

Unknown = Literal["nearest", "error"]
# Of one mask, mostly one.
Files = tuple[Path, ...]
# More values in no class are no classes.
_MANY = 16
# Folders within that of their results into which programs of ours write masks.
_OF_RESULTS = ("labels", "predictions", "masks")


@dataclass(frozen=True)
class MaskReading:
    """How the masks of one folder are read.

    Attributes
    ----------
    labels : the map that reads them.
    note : what differs from what the config says, for people; empty where nothing does.
    """

    labels: LabelMap
    note: str = ""


def understand(
    what: str,
    masks: Sequence[Files],
    labels: LabelMap,
    unknown: Unknown,
    read: Callable[[Files], MaskPixels],
    workers: int | None = None,
) -> MaskReading:
    """How to read masks of other programs, which may show the classes otherwise than the config.

    All masks of a folder are read alike: by the label map; by the ids of the classes, if only
    these explain them all; else as masks of unknown origin are, see `find_meaning`, if that finds
    the classes of the map among compressed or blended values, or one class where the map has one.

    Parameters
    ----------
    what : the masks are, in words ("predictions").
    masks : the files of each.
    unknown : what becomes of values in no class, see `[mask] unknown_colors`.
    read : the pixels of a mask; pickled where workers do it.
    workers : masks in memory at once, at most, where this process reads them.

    Raises
    ------
    DataError : masks hold values of no class, and that is an error.
    """
    by_id = _by_ids(labels)
    told = run_parallel(partial(_unexplained, read, labels, by_id), masks, workers, None)
    wrong = [(files[0], found) for files, (found, _) in zip(masks, told, strict=True) if found]
    if not wrong:
        return MaskReading(labels)
    if by_id is not None and all(fits for _, fits in told):
        ids = ", ".join(f"{c.id} {c.name}" for c in labels.foreground[:4])
        more = " ..." if len(labels.foreground) > 4 else ""
        return MaskReading(
            by_id,
            f"The {what} hold the ids of the classes ({ids}{more}), not the values that the "
            "config gives them, and are read as ids.",
        )
    values = sum((Counter(found) for _, found in wrong), Counter[Any]())
    shown = examples([_text(value) for value, _ in values.most_common()])
    count = (
        f"{len(wrong)} of {len(masks)} {what} {'holds' if len(wrong) == 1 else 'hold'} "
        "values of no class"
    )
    looks = run_parallel(partial(_look, read), masks, workers, None)
    # Shades of grey may be probabilities.
    colored = [look for look in looks if look is not None and look.entries.pixels.ndim == 3]
    if len(colored) == len(looks):
        refuse_photographs(colored, what, _advice(what, values))
    own = _as_they_suggest(what, looks, labels)
    if own is None and unknown == "error":
        raise DataError(f"{count}: {shown}.", _advice(what, values), str(wrong[0][0]))
    if own is None or own.labels is labels:
        note = f"{count} ({shown}); these {values.total()} pixels count as the nearest class."
        return MaskReading(labels, " ".join([note, own.note if own else ""]).strip())
    return own


def note_of_undecided(predictions: Sequence[str]) -> str:
    """A sentence on predictions that hold what `[mask]` ignores; empty without any."""
    if not predictions:
        return ""
    return (
        f"{amount(len(predictions), 'prediction', 'holds', 'hold')} pixels that [mask] ignores, "
        "which count as background, as only the reference says what is ignored "
        f"({examples(sorted(predictions))})."
    )


def as_scored(labels: LabelMap, mask: MaskPixels, path: Path) -> NDArray[np.uint8]:
    """The class ids of one mask that was scored, read as `understand` reads a folder of it."""
    reading = understand("masks", [(path,)], labels, "nearest", lambda _: mask)
    return reading.labels.encode(mask, str(path)).labels


def _as_they_suggest(
    what: str, looks: Sequence[MaskLook | None], labels: LabelMap
) -> MaskReading | None:
    """What masks mean by themselves, where that fits the classes of a label map."""
    masks = [look for look in looks if look is not None]
    if labels.ignored is not None:
        masks = without_void(masks, labels.ignored)
    try:
        found = find_meaning(masks)
        if len(labels.foreground) > 1 and are_shares(masks):
            return None
    except DataError:  # it is not told here what masks must be to train on them
        return None
    notes = " ".join(finding.what for finding in found.findings)
    lossy = any(mask.entries.lossy for mask in masks)
    known = [rgb for c in labels.foreground for rgb in _colors_of(c)]
    apart = [
        min(max(abs(a - b) for a, b in zip(rgb, k, strict=True)) for k in known)
        for c in found.classes
        for rgb in _colors_of(c)
    ]
    if found.unknown == "nearest" and max(apart) <= (NEAR_LOSSY if lossy else 0):
        return MaskReading(labels, notes)
    if not len(found.classes) == len(labels.foreground) == 1:
        return None
    own, ours = found.classes[0], labels.foreground[0]
    mark = "the value " + examples([str(v) for v in own.values])
    if not own.values:
        mark = f"the colour {own.colors[0]}"
    own = replace(ours, colors=own.colors, values=own.values)
    return MaskReading(
        LabelMap.of_foreground([own], found.threshold, labels.ignored),
        f"The {what} mark one class with {mark}, which is not in the config; it is read as class "
        f"{ours.id} ({ours.name}). {notes}".strip(),
    )


def _colors_of(c: LabelClass) -> list[tuple[int, int, int]]:
    """The colours of a class in masks, grey ones of its values if it has some."""
    return [(v, v, v) for v in c.values] or [*c.colors]


def _text(value: Any) -> str:
    return str(value) if isinstance(value, tuple) else f"{value:g}"


def _unexplained(
    read: Callable[[Files], MaskPixels], labels: LabelMap, by_id: LabelMap | None, files: Files
) -> tuple[Mapping[Any, int], bool]:
    """What of a mask is in no class, and whether ids explain it all."""
    try:
        mask = read(files)
        found = labels.encode(mask).unknown
        return found, by_id is not None and not by_id.encode(mask).unknown
    except DataError:  # told when it is scored, with all others
        return {}, True


def _look(read: Callable[[Files], MaskPixels], files: Files) -> MaskLook | None:
    try:
        return look_at_mask(read(files))
    except DataError:
        return None


def _advice(what: str, values: Counter[Any]) -> str:
    """What to do about values in no class."""
    numbers = [v for v in values if isinstance(v, int | float)]
    if len(values) > _MANY and not numbers:
        return f"Give the folder of the {what} (one value or colour per class), not that of images."
    if any(v != round(v) for v in numbers) or len(numbers) > _MANY:
        half = "128" if max(numbers) > 1 else "0.5"
        return (
            "Probabilities and shades are not classes: save the most probable class of each "
            f"pixel; for one class, `flexseg derive folders --threshold {half}` does that."
        )
    return (
        "Assign these values to classes in [mask] classes, or set model.num_classes. Class ids "
        f"are understood too, if all {what} hold them."
    )


def _by_ids(labels: LabelMap) -> LabelMap | None:
    """The map by which masks hold class ids; None where `labels` itself is it."""
    if all(c.values in ((), (c.id,)) for c in labels.foreground):
        return None
    return replace(labels, classes=tuple(replace(c, values=(c.id,)) for c in labels.classes))


def folder_of_masks(folder: Path, hold: Callable[[Path], bool]) -> Path:
    """The folder of masks in a folder of results, which `flexseg infer3d` or `evaluate` wrote.

    Of others the only one that has masks by its name, or the only one that has pictures.

    Parameters
    ----------
    hold : whether a folder holds label volumes itself.

    Raises
    ------
    DataError : there are none in the folder, and several in it may be meant.
    """
    if not folder.is_dir() or list_files(folder, MASK_SUFFIXES) or hold(folder):
        return folder
    for name in _OF_RESULTS:
        if (folder / name).is_dir():
            return folder / name
    filled = [p for p in inner_folders(folder) if list_files(p, MASK_SUFFIXES) or hold(p)]
    named = mask_folders(filled, None)
    if len(named) == 1 or len(filled) < 2:
        return next(iter(named or filled), folder)
    likely = (named or filled)[0]
    raise DataError(
        f"There are no masks in this folder itself, but in {amount(len(filled), 'subfolder')}: "
        f"{examples([f'{path.name}/' for path in filled])}.",
        f"Name the one to score: --predictions {typed(likely)}.",
        str(folder),
    )


def unlike_names(prediction: str, reference: str, predictions: Path, masks: Path) -> DataError:
    """The error for two folders of which nothing pairs, with a name of each."""
    return DataError(
        f"No prediction has a mask of the same name: predictions are named like {prediction}, "
        f"masks like {reference}.",
        f"Give the predictions the names of the masks in {masks}, or set [dataset] mask_name to "
        "the pattern of a mask's name, e.g. '{id}_mask'.",
        str(predictions),
    )


def among(pairing: Pairing, only: Collection[Path], predictions: Path) -> Pairing:
    """What of a pairing is of some references."""
    cases = tuple(case for case in pairing.cases if case.mask in only)
    if not cases:
        raise DataError(
            f"There are predictions of {amount(len(pairing.cases), 'case')}, but of none that "
            "the config evaluates.",
            "Give --masks to score them all the same, or correct [model] evaluation.",
            str(predictions),
        )
    missing = tuple(path for path in pairing.masks_without_image if path in only)
    return replace(pairing, cases=cases, masks_without_image=missing)
