"""A 2-D dataset from image volumes and label volumes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flexseg.config.findings import amount
from flexseg.dataset.cases import group_of
from flexseg.dataset.description import volume_label_names
from flexseg.dataset.division.grouping import check_group
from flexseg.dataset.ignored.pixels import IGNORED, IgnoredPixels
from flexseg.dataset.ignored.void import void_value
from flexseg.dataset.labels import LabelClass, LabelMap
from flexseg.dataset.parallel import Progress, part_of, run_parallel
from flexseg.dataset.volumetric.pairing import (
    GROUP,
    GROUP_OF_AXES,
    VolumePair,
    VolumePairs,
    file_name,
    find_pairs,
    pair_volumes,
    slice_name,
)
from flexseg.dataset.volumetric.scans import refuse_filled_volumes, volume_classes
from flexseg.derive.cutting import cut_slices
from flexseg.derive.dataset_writer import (
    LEFT_OUT,
    DatasetWriter,
    Derived,
    Row,
    ignored_in,
    left_out,
    refuse_equal_names,
)
from flexseg.files.channel_files.channel_reading import read_channel_volumes
from flexseg.files.intensity import GreyValues, Intensity
from flexseg.files.volumes.geometry import GeometryRule, match_label
from flexseg.files.volumes.read import one_channel, read_labels
from flexseg.files.volumes.slices import SliceAxis
from flexseg.outputs import refuse_overlap

HEADER = (
    "image", "mask", "patient", "volume", "slice", "axis", "row_spacing_mm", "column_spacing_mm",
    "slice_spacing_mm", "black", "white", "classes", "source_image", "source_mask",
    "modality",
)  # fmt: skip
_AIR_HU = -900
_AXIAL = SliceAxis("axial")
_PERCENTILES = Intensity("percentile", 0.5, 99.5)


@dataclass(frozen=True)
class VolumeOptions:
    """How volumes become slices.

    Attributes
    ----------
    axes : the directions that slices are cut in, and their rotation. Of several, all are
        anatomical and turned alike.
    intensity, bits : how intensities become grey values, and of how many bits (8 or 16).
    empty_every : keep every n-th slice without label; 0 none, 1 all.
    labels : the classes, background first; without them every value of the labels is one.
    ignored : values that count in nothing; without it, and without `labels`, void is recognised.
    geometry : what to do where image and label lie on different grids.
    channel : which volume of 4-D images, or which of several files of an image.
    all_channels : those of 4-D images too are channels of the slices, not only those that are
        files of their own.
    series : which DICOM series of image folders that hold several.
    key, label_key : datasets of images and labels in HDF5 files.
    patient : regular expression that finds the patient in the names of the slices.
    mask_colors : RGB masks instead of indexed ones.
    workers : volumes in memory at once, at most.
    """

    axes: tuple[SliceAxis, ...] = (_AXIAL,)
    intensity: Intensity = _PERCENTILES
    bits: int = 8
    empty_every: int = 1
    labels: tuple[LabelClass, ...] = ()
    ignored: IgnoredPixels | None = None
    geometry: GeometryRule = GeometryRule.STRICT
    channel: int | None = None
    all_channels: bool = False
    series: str | None = None
    key: str = "image"
    label_key: str = "image"
    patient: str | None = None
    mask_colors: bool = False
    workers: int | None = None


@dataclass(frozen=True)
class _Written:
    rows: list[Row]
    empty: int
    dropped: int
    resampled: bool
    like_ct: bool
    constant: bool


def derive_volumes(
    images: Path,
    labels: Path,
    output: Path,
    options: VolumeOptions | None = None,
    *,
    image_name: str | None = None,
    label_name: str | None = None,
    only: Collection[str] | None = None,
    on_done: Progress | None = None,
) -> Derived:
    """Write the slices of volumes as a dataset.

    Parameters
    ----------
    images, labels : folders, or one volume each.
    image_name, label_name : see `pair_volumes`; without any they are found, see `find_pairs`.
    only : ids of the volumes to cut; without it all.
    on_done : told (done, total): every pair counts twice, as all labels are surveyed first.

    Raises
    ------
    DataError : something cannot be read or does not fit, or no voxel is background; nothing is
        written then.
    ConfigError : an option is wrong, or the output folder holds an input.
    """
    refuse_overlap({"--output": output}, [images, labels])
    options = options or VolumeOptions()
    if image_name is label_name is None:
        found = find_pairs(images, labels)
    else:
        found = pair_volumes(images, labels, image_name or "{id}", label_name or "{id}")
    if only is not None:
        found = replace(found, pairs=tuple(pair for pair in found.pairs if pair.id in only))
    pairs = found.pairs
    stems = [file_name(pair.id) for pair in pairs]
    refuse_equal_names(stems, images)
    check_group(
        options.patient,
        [slice_name(stem, axis, 0, options.axes) for stem in stems for axis in options.axes],
    )
    steps = 2 * len(pairs)
    count = partial(_count_values, options.label_key)
    counts = run_parallel(count, pairs, options.workers, part_of(on_done, 0, steps))
    total: Counter[int] = sum(counts, Counter())
    ignored = options.ignored
    if ignored is None and not options.labels:
        ignored = _void(counts, images.parent)
    void = ignored.values if ignored else ()
    classes = options.labels or _classes_found(total.keys() - void, images.parent)
    table = _value_table(classes, void, max(total))
    shown = {value: voxels for value, voxels in total.items() if value not in void}
    refuse_filled_volumes(shown, labels, [value for value in shown if not table[value]])
    writer = DatasetWriter(
        output,
        classes=classes,
        mask_colors=options.mask_colors,
        ignored=ignored_in(mask_colors=options.mask_colors) if ignored else None,
    )
    with writer:
        group = options.patient or (GROUP if len(options.axes) == 1 else GROUP_OF_AXES)
        write = partial(_write_volume, writer, table, group, options, (images, labels))
        written = run_parallel(write, pairs, options.workers, part_of(on_done, len(pairs), steps))
        rows = [row for one in written for row in one.rows]
        notes = _notes(found, total, classes, void, options, written)
        parameters = {
            "images": images,
            "labels": labels,
            "image_name": found.image_name,
            "label_name": found.label_name,
            "axis": ",".join(axis.name for axis in options.axes),
            "rotate": options.axes[0].rotate,
            "window": options.intensity.spec,
            "intensity": str(options.intensity),
            "bits": options.bits,
            "empty_every": options.empty_every,
            "geometry": str(options.geometry),
            "channel": options.channel,
            "series": options.series,
            "key": options.key,
            "label_key": options.label_key,
            "patient": options.patient,
            "mask_colors": options.mask_colors,
            LEFT_OUT: sum(one.dropped for one in written),
        }
        return writer.finish(
            HEADER,
            rows,
            kind="volumes",
            parameters=parameters,
            empty=sum(one.empty for one in written),
            group=group,
            notes=notes,
        )


def _count_values(key: str, pair: VolumePair) -> Counter[int]:
    array = read_labels(pair.label, key=key).array
    counts = np.zeros(int(array.max()) + 1, np.int64)
    for plane in array:  # counting makes 64-bit copies, so not of the whole volume
        found = np.bincount(plane.reshape(-1))
        counts[: len(found)] += found
    return Counter({int(v): int(counts[v]) for v in np.flatnonzero(counts)})


def _void(counts: Iterable[Counter[int]], source: Path) -> IgnoredPixels | None:
    """The label value that is void, if there is one."""
    void = void_value(counts, volume_label_names(source))
    return None if void is None else IgnoredPixels.of([void])


def _classes_found(found: Iterable[int], source: Path) -> tuple[LabelClass, ...]:
    """A class per label value but 0, with its name if the `dataset.json` in `source` says it."""
    values = sorted(value for value in found if value)
    return LabelMap.of_foreground(volume_classes(values, volume_label_names(source))).classes


def _value_table(
    classes: Sequence[LabelClass], void: Sequence[int], highest: int
) -> NDArray[np.uint8]:
    """Class id for each value from 0 to `highest`; values of no class are background."""
    table = np.zeros(highest + 1, np.uint8)
    for c in classes[1:]:
        table[[value for value in c.values if value <= highest]] = c.id
    table[[value for value in void if value <= highest]] = IGNORED
    return table


def _write_volume(
    writer: DatasetWriter,
    table: NDArray[np.uint8],
    group: str,
    options: VolumeOptions,
    roots: tuple[Path, Path],
    pair: VolumePair,
) -> _Written:
    image = read_channel_volumes(
        pair.image, pair.files, channel=options.channel, series=options.series, key=options.key
    )
    if pair.files == 1 and not options.all_channels:
        image = one_channel(image, pair.image)
    found = read_labels(pair.label, key=options.label_key)
    label, resampled = match_label(found, image, options.geometry, pair.label)
    voxels = options.axes[0].oriented(image.array, image.orientation)
    gray = GreyValues.of(voxels, options.intensity, options.bits, str(pair.image))
    black, white = (" ".join(map(str, np.atleast_1d(limit).tolist())) for limit in gray.limits)
    source_image, source_label = _source(pair.image, roots[0]), _source(pair.label, roots[1])
    stem, kept_empty = file_name(pair.id), 0
    empty: Counter[str] = Counter()
    rows: list[Row] = []
    for cut in cut_slices(stem, image, label, options.axes):
        ids = np.ascontiguousarray(table[cut.values])
        present = np.flatnonzero(np.bincount(ids.reshape(-1), minlength=1)[1:IGNORED]) + 1
        if not len(present):
            empty[cut.axis.name] += 1
            if not options.empty_every or (empty[cut.axis.name] - 1) % options.empty_every:
                continue
            kept_empty += 1
        height_mm, width_mm, depth_mm = (round(mm, 6) for mm in cut.axis.spacing(image))
        row: Row = (
            writer.write_channels(cut.name, gray(cut.voxels)),
            writer.write_mask(f"{cut.name}.png", ids),
            group_of(cut.name, group), stem, cut.number, cut.axis.name, height_mm, width_mm,
            depth_mm, black, white, " ".join(map(str, present)), source_image, source_label,
            image.modality,
        )  # fmt: skip
        rows.append(row)
    like_ct = np.issubdtype(voxels.dtype, np.integer) and int(voxels.min()) < _AIR_HU
    constant = options.intensity.kind != "none" and bool(np.all(np.less_equal(*gray.limits[::-1])))
    return _Written(rows, kept_empty, empty.total() - kept_empty, resampled, like_ct, constant)


def _source(path: Path, root: Path) -> str:
    """A source as the manifest names it: relative to the folder given."""
    return path.name if path == root else path.relative_to(root).as_posix()


def _notes(
    found: VolumePairs,
    total: Counter[int],
    classes: Sequence[LabelClass],
    void: Sequence[int],
    options: VolumeOptions,
    written: list[_Written],
) -> list[str]:
    ids = [pair.id for pair in found.pairs]
    dropped = sum(one.dropped for one in written)
    known = {*void, *(value for c in classes for value in c.values)}
    other = [f"{v} ({amount(n, 'voxel')})" for v, n in sorted(total.items()) if v not in known]
    unused = [c.name for c in classes[1:] if not any(total[v] for v in c.values)]
    resampled = [i for i, one in zip(ids, written, strict=True) if one.resampled]
    constant = [i for i, one in zip(ids, written, strict=True) if one.constant]
    notes = [f"Grey values: {options.intensity}."]
    if any(one.like_ct for one in written) and options.intensity.kind != "window":
        notes.append(
            "Values below -900 look like CT in Hounsfield units: with --window lung, abdomen or "
            "CENTRE/WIDTH, a tissue has the same grey level in all volumes."
        )
    if dropped:
        notes.append(
            f"{amount(dropped, 'slice')} without labels {'was' if dropped == 1 else 'were'} left "
            "out (--empty-every)."
        )
    notes += [f"{finding.what} {finding.fix}" for finding in found.findings]
    ignored = [f"{v} ({amount(total[v], 'voxel')})" for v in void]
    notes += left_out("Volumes without labels were left out", found.images_without_label)
    notes += left_out("Images that lack files of channels were left out", found.incomplete)
    notes += left_out("Labels without a volume were left out", found.labels_without_image)
    notes += left_out("Label values that no --label names became background", other)
    notes += left_out("Classes that occur in no volume", unused)
    notes += left_out("Label values that are ignored (255 in the masks)", ignored)
    notes += left_out("Label volumes were resampled to the grid of their image", resampled)
    notes += left_out("Volumes with a single value became black", constant)
    return notes
