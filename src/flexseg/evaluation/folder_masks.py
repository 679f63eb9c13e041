"""How the masks of a folder show the classes, whichever program has written them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from flexseg.config.findings import examples
from flexseg.dataset.labels import Encoded, LabelMap
from flexseg.dataset.parallel import run_parallel
from flexseg.errors import DataError
from flexseg.files.entries import list_files
from flexseg.files.images import MASK_SUFFIXES

Unknown = Literal["nearest", "error"]
# Of one mask, mostly one.
Files = tuple[Path, ...]
# Folders within that of their results into which programs of ours write masks.
_OF_RESULTS = ("labels", "predictions")


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
    encode: Callable[[LabelMap, Files], Encoded],
    workers: int | None = None,
) -> MaskReading:
    """How to read masks that may hold the ids of the classes instead of their values or colours.

    All masks of a folder are read alike: by the label map, or by ids if only these explain them.

    Parameters
    ----------
    what : the masks are, in words ("predictions").
    masks : the files of each.
    unknown : what becomes of values in no class, see `[mask] unknown_colors`.
    encode : reads a mask by a label map.
    workers : masks in memory at once, at most.

    Raises
    ------
    DataError : masks hold values of no class, and that is an error.
    """
    by_id = _by_ids(labels)

    def unexplained(files: Files) -> tuple[Mapping[Any, int], bool]:
        """What is in no class, and whether ids explain it all."""
        try:
            found = encode(labels, files).unknown
            return found, by_id is not None and not encode(by_id, files).unknown
        except DataError:  # told when it is scored, with all others
            return {}, True

    told = run_parallel(unexplained, masks, workers, None)
    wrong = [(files[0], found) for files, (found, _) in zip(masks, told, strict=True) if found]
    if not wrong:
        return MaskReading(labels)
    if by_id is not None and all(fits for _, fits in told):
        ids = ", ".join(f"{c.id} {c.name}" for c in labels.foreground[:4])
        more = " ..." if len(labels.foreground) > 4 else ""
        return MaskReading(
            by_id,
            f"The {what} hold ids of the classes ({ids}{more}), not the values that the config "
            "gives them, and are read so.",
        )
    values = sum((Counter(found) for _, found in wrong), Counter[Any]())
    shown = examples([str(value) for value, _ in values.most_common()])
    if unknown == "error":
        raise DataError(
            f"{len(wrong)} of {len(masks)} {what} hold values in no class: {shown}.",
            "Give these values to classes in [mask] classes, or set model.num_classes; [mask] "
            "unknown_colors = 'nearest' takes the nearest class. Ids of the classes are "
            f"understood too, if all {what} hold them.",
            str(wrong[0][0]),
        )
    return MaskReading(
        labels,
        f"{len(wrong)} of {len(masks)} {what} hold values in no class ({shown}); these "
        f"{values.total()} pixels count as the nearest class.",
    )


def note_of_undecided(predictions: Sequence[str]) -> str:
    """A sentence on predictions that hold what `[mask]` ignores; empty without any."""
    if not predictions:
        return ""
    return (
        f"{len(predictions)} prediction(s) hold pixels that [mask] ignores, which count as "
        "background: only the reference says what is left out. "
        f"They are {examples(sorted(predictions))}."
    )


def as_scored(labels: LabelMap, encode: Callable[[LabelMap], Encoded]) -> Encoded:
    """One mask that was scored, read by the label map or, if only these explain it, by ids."""
    found, by_id = encode(labels), _by_ids(labels)
    if found.unknown and by_id is not None and not (other := encode(by_id)).unknown:
        return other
    return found


def _by_ids(labels: LabelMap) -> LabelMap | None:
    """The map by which masks hold class ids; None where `labels` itself is it."""
    if all(c.values in ((), (c.id,)) for c in labels.foreground):
        return None
    return replace(labels, classes=tuple(replace(c, values=(c.id,)) for c in labels.classes))


def folder_of_masks(folder: Path, hold: Callable[[Path], bool]) -> Path:
    """The folder of masks in a folder of results, which `flexseg infer3d` or `evaluate` wrote.

    Parameters
    ----------
    hold : whether a folder holds masks or label volumes itself.
    """
    if not folder.is_dir() or list_files(folder, MASK_SUFFIXES) or hold(folder):
        return folder
    inside = (folder / name for name in _OF_RESULTS)
    return next((p for p in inside if p.is_dir()), folder)
