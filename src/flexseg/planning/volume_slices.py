"""The slices that are cut from the volumes of training and validation."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from flexseg.dataset.parallel import Progress
from flexseg.derive.dataset_writer import Derived
from flexseg.derive.volumes import VolumeOptions, derive_volumes
from flexseg.errors import DataError
from flexseg.files.intensity import Intensity
from flexseg.files.volumes.slices import SliceAxis
from flexseg.outputs import write_json
from flexseg.planning.volume_plan import VolumePlan
from flexseg.spreadsheet import of_cell

_SLICES = "slices"


@dataclass(frozen=True)
class CutSlices:
    """The slices of a plan's training and validation volumes as a dataset.

    Attributes
    ----------
    split_file : names slices, and the volumes of the test split, which have none.
    rarest : share of the training slices that show the rarest class.
    notes : what was left out, one sentence each.
    """

    images_dir: Path
    masks_dir: Path
    split_file: Path
    derived: Derived
    rarest: float
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Slice:
    """A slice as the manifest lists it: `name` is its id, `classes` those that it shows."""

    name: str
    volume: str
    classes: frozenset[int]


def cut(plan: VolumePlan, output: Path, on_case: Progress | None = None) -> CutSlices:
    """Cut the training and validation volumes into `output`/slices, and write a split file there.

    Test volumes need no slices, as they are evaluated whole. Slices without any label train only
    as far as they are not more than those with labels; all are cut, as neighbours are seen.

    Raises
    ------
    DataError : training or validation volumes have no slices.
    DataError, ConfigError, ResourceError : see `derive_volumes`.
    """
    pairs = plan.data.pairs
    wanted = {stem for name in ("train", "valid") for stem in plan.volumes[name]}
    options = VolumeOptions(
        axes=tuple(SliceAxis(axis) for axis in plan.axes),
        intensity=Intensity.parse(plan.intensity),
        labels=plan.data.labels.classes,
        ignored=plan.data.labels.ignored,
        channel=plan.channel,
        all_channels=plan.channels > 1,
    )
    by_stem = pairs.by_stem
    derived = derive_volumes(
        pairs.images,
        pairs.labels,
        output / _SLICES,
        options,
        only={by_stem[stem].id for stem in wanted},
        on_done=on_case,
    )
    slices = _slices(derived.output / "manifest.csv")
    train, notes = _thinned([s for s in slices if s.volume in plan.volumes["train"]])
    valid = [s for s in slices if s.volume in plan.volumes["valid"]]
    for name, own in (("training", train), ("validation", valid)):
        if not own:
            raise DataError(
                f"The {name} volumes have no slices.", "Give other volumes.", str(pairs.images)
            )
    split_file = derived.output / "split.json"
    slices_of = {"train": [s.name for s in train], "valid": [s.name for s in valid]}
    content = {name: slices_of.get(name, volumes) for name, volumes in plan.volumes.items()}
    write_json(split_file, content)
    shares = [
        sum(c.id in s.classes for s in train) / len(train) for c in plan.data.labels.foreground
    ]
    return CutSlices(
        derived.output / "images",
        derived.output / "masks",
        split_file,
        derived,
        min(shares, default=1.0),
        tuple(notes),
    )


def _slices(manifest: Path) -> list[_Slice]:
    with manifest.open(encoding="utf-8", newline="") as file:
        return [
            _Slice(
                Path(row["image"]).stem,
                of_cell(row["volume"]),
                frozenset(map(int, row["classes"].split())),
            )
            for row in csv.DictReader(file)
        ]


def _thinned(train: Sequence[_Slice]) -> tuple[list[_Slice], list[str]]:
    """The training slices without some of those without label where these are most, and a note."""
    labelled = [s for s in train if s.classes]
    empty = [s for s in train if not s.classes]
    if len(empty) <= len(labelled):
        return list(train), []
    kept = empty[:: -(-len(empty) // max(len(labelled), 1))]
    note = (
        f"{len(empty) - len(kept)} of {len(train)} training slices have no labels and are left "
        "out: they would outnumber the others."
    )
    return sorted([*labelled, *kept], key=lambda s: s.name), [note]
