"""What a dataset of volumes looks like: sizes, voxels, grey values, classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from flexseg.config.findings import Finding, examples
from flexseg.dataset.candidates.answers import MaskValues
from flexseg.dataset.candidates.numbering import mask_values
from flexseg.dataset.labels import MAX_FOUND, LabelClass, make_classes
from flexseg.dataset.marks.made_up_names import FOREGROUND
from flexseg.dataset.parallel import Progress, run_parallel
from flexseg.dataset.volumetric.pairing import VolumePair
from flexseg.errors import DataError
from flexseg.files.channel_files.channel_reading import read_channel_volumes
from flexseg.files.volumes.geometry import GeometryRule, match_label
from flexseg.files.volumes.read import read_labels
from flexseg.files.volumes.slices import to_lps

# Grey values and objects of so many volumes tell those of all; reading more takes minutes.
_SAMPLED = 40
_FOREGROUND = 20_000
# More values of volumes are structures of an atlas.
_MOST_OBJECTS = 64
# Below it only CT has values, in Hounsfield units: the air around a patient.
_AIR_HU = -500
_TISSUE_HU = 200


@dataclass(frozen=True)
class Scan:
    """One volume with its labels; axes are those of LPS order: z, y, x.

    Attributes
    ----------
    counts : voxels of each label value.
    labelled : slices with any label, along z, y, x.
    objects : connected objects of each label value; None where they were not counted.
    sample : label value -> grey values of some of its voxels; None where the image was not read.
    limits : lowest and highest finite grey value, NaN where it was not read.
    channels : of the image, 0 where it was not read.
    """

    stem: str
    shape: tuple[int, ...]
    spacing: tuple[float, ...]
    counts: dict[int, int]
    labelled: tuple[int, ...]
    objects: dict[int, int] | None = None
    sample: dict[int, NDArray] | None = None
    limits: tuple[float, float] = (float("nan"), float("nan"))
    channels: int = 0


@dataclass(frozen=True)
class Survey:
    """All volumes of a dataset.

    Attributes
    ----------
    scans : by the name that slices begin with.
    """

    scans: dict[str, Scan] = field(default_factory=dict)

    @property
    def values(self) -> list[int]:
        """The label values that occur, without 0."""
        return sorted({value for scan in self.scans.values() for value in scan.counts} - {0})

    @property
    def voxels(self) -> Counter[int]:
        """How many voxels have each label value, in all volumes."""
        return sum((Counter(scan.counts) for scan in self.scans.values()), Counter())

    @property
    def spacing(self) -> NDArray[np.float64]:
        """Median distances of voxels along z, y, x in mm."""
        return np.median([scan.spacing for scan in self.scans.values()], axis=0)

    @property
    def shape(self) -> NDArray[np.float64]:
        """Median numbers of voxels along z, y, x."""
        return np.median([scan.shape for scan in self.scans.values()], axis=0)

    @property
    def channels(self) -> int:
        """The most channels of an image."""
        return max((scan.channels for scan in self.scans.values()), default=1) or 1

    @property
    def is_ct(self) -> bool:
        """Whether most volumes that were read have Hounsfield units, as their range tells."""
        read = [scan for scan in self.scans.values() if scan.channels]
        ct = [s for s in read if s.limits[0] <= _AIR_HU and s.limits[1] >= _TISSUE_HU]
        return 2 * len(ct) > len(read)

    def only(self, stems: Iterable[str]) -> Survey:
        """What is known of some of the volumes."""
        return Survey({stem: self.scans[stem] for stem in stems})

    def foreground(self, values: Sequence[int] | None = None) -> NDArray:
        """Grey values of a sample of labelled voxels, of all label values or of some."""
        found = [
            sample
            for scan in self.scans.values()
            for value, sample in (scan.sample or {}).items()
            if values is None or value in values
        ]
        return np.concatenate(found) if found else np.zeros(0)

    def without(self, value: int) -> Survey:
        """As if the voxels of one label value were not there."""
        return Survey(
            {
                stem: replace(scan, counts={v: n for v, n in scan.counts.items() if v != value})
                for stem, scan in self.scans.items()
            }
        )

    def share_of(self, value: int) -> float:
        """The share of the voxels that have a label value."""
        counts = [scan.counts for scan in self.scans.values()]
        return sum(own.get(value, 0) for own in counts) / sum(sum(own.values()) for own in counts)

    def size_facts(self) -> dict[str, Any]:
        """Plain JSON types; sizes are z, y, x in LPS order."""
        scans = list(self.scans.values())
        return {
            "volumes": len(scans),
            "channels": self.channels,
            "shape": _range([scan.shape for scan in scans]),
            "spacing_mm": _range([scan.spacing for scan in scans]),
        }

    def content_facts(self, classes: Sequence[LabelClass]) -> dict[str, Any]:
        """What grey values and labels tell, plain JSON types."""
        scans = list(self.scans.values())
        voxels = sum(sum(scan.counts.values()) for scan in scans)
        read = [scan for scan in scans if scan.channels]
        return {
            "modality": "CT" if self.is_ct else "MRI or other",
            "values": {
                "min": min((scan.limits[0] for scan in read), default=None),
                "max": max((scan.limits[1] for scan in read), default=None),
                "volumes_read": len(read),
            },
            "labelled_slices": {
                axis: sum(scan.labelled[i] for scan in scans)
                / max(sum(scan.shape[i] for scan in scans), 1)
                for i, axis in enumerate(("z", "y", "x"))
            },
            "classes": [self._class(c, voxels) for c in classes[1:]],
        }

    def _class(self, c: LabelClass, voxels: int) -> dict[str, Any]:
        scans = list(self.scans.values())
        counts = [sum(scan.counts.get(v, 0) for v in c.values) for scan in scans]
        ml = [
            n * float(np.prod(scan.spacing)) / 1000
            for n, scan in zip(counts, scans, strict=True)
            if n
        ]
        objects = [
            sum(scan.objects.get(v, 0) for v in c.values)
            for scan in scans
            if scan.objects is not None and any(v in scan.counts for v in c.values)
        ]
        grey = self.foreground(c.values).astype(np.float64)
        return {
            "id": c.id,
            "name": c.name,
            "values": list(c.values),
            "volumes": int(np.count_nonzero(counts)),
            "voxel_share": sum(counts) / max(voxels, 1),
            "median_ml": float(np.median(ml)) if ml else None,
            "median_objects": float(np.median(objects)) if objects else None,
            "intensity": _intensity(grey),
        }


def _range(values: Sequence[Sequence[float]]) -> dict[str, list[float]]:
    table = np.array(values, float)
    return {
        name: [round(float(v), 4) for v in function(table, axis=0)]
        for name, function in (("median", np.median), ("min", np.min), ("max", np.max))
    }


def _intensity(grey: NDArray[np.float64]) -> dict[str, float] | None:
    if not grey.size:
        return None
    low, middle, high = np.percentile(grey, (0.5, 50, 99.5))
    return {
        "mean": float(grey.mean()),
        "std": float(grey.std()),
        "p0.5": float(low),
        "median": float(middle),
        "p99.5": float(high),
    }


def survey_labels(pairs: Mapping[str, VolumePair], on_case: Progress | None = None) -> Survey:
    """Read all label volumes.

    Parameters
    ----------
    pairs : by the name that their slices begin with.
    on_case : called with (done, total).

    Raises
    ------
    DataError : a file cannot be read.
    """
    scans = run_parallel(_scan, list(pairs.items()), None, on_case)
    return Survey({scan.stem: scan for scan in scans})


def survey_images(
    survey: Survey, pairs: Mapping[str, VolumePair], training: Collection[str]
) -> Survey:
    """The survey with the grey values of some volumes, of training and of others.

    Parameters
    ----------
    training : the volumes of the training, whose sample does not depend on the others.

    Raises
    ------
    DataError : a file cannot be read, or labels lie on another grid than their image.
    """
    learned = [stem for stem in pairs if stem in training]
    others = [stem for stem in pairs if stem not in training]
    sampled = [
        *learned[:: max(1, -(-len(learned) // _SAMPLED))],
        *others[:: max(1, -(-len(pairs) // _SAMPLED))],
    ]
    items = [(survey.scans[stem], pairs[stem]) for stem in sampled]
    known = {scan.stem: scan for scan in run_parallel(_with_image, items, None, None)}
    return Survey(survey.scans | known)


def volume_classes(values: Sequence[int], names: Mapping[int, str]) -> tuple[LabelClass, ...]:
    """The foreground classes, one per label value.

    Parameters
    ----------
    values : of all label volumes, but 0.
    names : of some values.

    Raises
    ------
    DataError : no volume has labels, or so many that these are images.
    """
    if not values:
        raise DataError("No label volume has any label.", "Check that these are the labels.")
    if len(values) > MAX_FOUND:
        raise DataError(
            f"The labels have {len(values)} different values, as images do.",
            "Check which folder is which. If these are labels, name the classes: `flexseg derive "
            "volumes --label VALUE=NAME`.",
        )
    named = [names.get(value, f"label {value}") for value in values]
    if len(set(named)) < len(named) or "background" in {name.casefold() for name in named}:
        named = [f"label {value}" for value in values]
    return make_classes([(name, (value,)) for name, value in zip(named, values, strict=True)])[1:]


def refuse_filled_volumes(
    voxels: Mapping[int, int], labels: Path, background: Collection[int] = (0,)
) -> None:
    """Refuse label volumes of which none has a voxel of background.

    Parameters
    ----------
    voxels : label value -> how many have it, in all volumes.
    labels : their folder, or the one volume.
    background : the values that are background.

    Raises
    ------
    DataError : none of the values is background.
    """
    if not voxels or not voxels.keys().isdisjoint(background):
        return
    largest = max(voxels, key=lambda value: voxels[value])
    share = voxels[largest] / sum(voxels.values())
    raise DataError(
        f"The label volumes are foreground everywhere, with no background at all: {share:.0%} of "
        f"the voxels are {largest} (values: {examples([str(v) for v in sorted(voxels)])}).",
        f"If {largest} is the background, say so, and name the others: `flexseg derive volumes "
        f"IMAGES LABELS -o NEW --label {largest}=background --label VALUE=NAME`.",
        str(labels),
    )


def volume_meaning(
    survey: Survey, names: Mapping[int, str], answer: MaskValues | None = None
) -> tuple[tuple[LabelClass, ...], tuple[Finding, ...]]:
    """The foreground classes of all label volumes, and what a user should know of them.

    Parameters
    ----------
    names : of some values, which are those of classes then.
    answer : what the user says that values are.

    Raises
    ------
    DataError : see `volume_classes`.
    """
    if answer is None and (any(names) or len(survey.values) > _MOST_OBJECTS):
        answer = "classes"
    sets = [{*scan.counts} - {0} for scan in survey.scans.values()]
    kind, findings = mask_values(survey.values, sets, answer)
    if kind == "objects":
        return make_classes([(FOREGROUND, tuple(survey.values))])[1:], findings
    return volume_classes(survey.values, names), findings


def _scan(item: tuple[str, VolumePair]) -> Scan:
    stem, pair = item
    label = read_labels(pair.label)
    array = to_lps(label.array, label.orientation)
    counts: Counter[int] = Counter()
    for plane in array:  # counting makes 64-bit copies, so not of the whole volume
        numbers = np.bincount(plane.reshape(-1))
        counts.update({int(v): int(numbers[v]) for v in np.flatnonzero(numbers)})
    present = array != 0
    labelled = tuple(
        int(present.any(axis=tuple(a for a in range(3) if a != axis)).sum()) for axis in range(3)
    )
    return Scan(stem, array.shape, label.oriented("LPS").voxel_size, dict(counts), labelled)


def _with_image(item: tuple[Scan, VolumePair]) -> Scan:
    scan, pair = item
    image = read_channel_volumes(pair.image, pair.files, channel=0 if pair.files > 1 else None)
    label, _ = match_label(
        read_labels(pair.label), image.channel(0), GeometryRule.STRICT, pair.label
    )
    labels = to_lps(label.array, label.orientation)
    grey = to_lps(image.channel(0).array, image.orientation)
    sample, objects = {}, {}
    for value in scan.counts:
        if value:
            mask = labels == value
            objects[value] = int(ndimage.label(mask, np.ones((3, 3, 3)))[1])
            found = grey[mask]
            found = found[:: max(1, len(found) // _FOREGROUND)]
            sample[value] = found[np.isfinite(found)]
    lowest, highest = float(np.nanmin(grey)), float(np.nanmax(grey))
    return replace(
        scan,
        objects=objects,
        sample=sample,
        limits=(lowest, highest),
        channels=max(pair.files, image.channels),
    )
