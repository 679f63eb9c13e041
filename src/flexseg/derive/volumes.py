"""A 2-D dataset from image volumes and label volumes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexseg.dataset.name_patterns import NamePattern
from flexseg.derive.dataset_writer import (
    LEFT_OUT,
    ClassSpec,
    DatasetWriter,
    Derived,
    Progress,
    check_group,
    classes_of_values,
    file_name,
    left_out,
    part_of,
    patient_of,
    refuse_equal_names,
    run_parallel,
    value_table,
)
from flexseg.errors import DataError
from flexseg.files.intensity import GreyValues, Intensity
from flexseg.files.volumes.geometry import GeometryRule, match_label
from flexseg.files.volumes.read import (
    VOLUME_SUFFIXES,
    is_series_folder,
    one_channel,
    read_labels,
    read_volume,
    volume_stem,
)
from flexseg.files.volumes.slices import ANATOMICAL_AXES, SliceAxis
from flexseg.outputs import refuse_overlap

HEADER = (
    "image", "mask", "patient", "volume", "slice", "axis", "row_spacing_mm", "column_spacing_mm",
    "slice_spacing_mm", "black", "white", "classes", "source_image", "source_mask",
)  # fmt: skip
GROUP = r"^(.*)_\d+$"
GROUP_OF_AXES = rf"^(.*)_(?:{'|'.join(ANATOMICAL_AXES)})_\d+$"
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
    labels : the classes; without them every value of the labels is one.
    geometry : what to do where image and label lie on different grids.
    channel : which volume of 4-D images.
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
    labels: tuple[ClassSpec, ...] = ()
    geometry: GeometryRule = GeometryRule.STRICT
    channel: int | None = None
    series: str | None = None
    key: str = "image"
    label_key: str = "image"
    patient: str | None = None
    mask_colors: bool = False
    workers: int | None = None


@dataclass(frozen=True)
class VolumePair:
    """An image volume and its labels; `id` names the slices."""

    id: str
    image: Path
    label: Path


@dataclass(frozen=True)
class VolumePairs:
    """The pairs found, and the names of what has no partner."""

    pairs: tuple[VolumePair, ...]
    images_without_label: tuple[str, ...] = ()
    labels_without_image: tuple[str, ...] = ()


def pair_volumes(
    images: Path, labels: Path, image_name: str = "{id}", label_name: str = "{id}"
) -> VolumePairs:
    """Pair volumes by name patterns (see `NamePattern`), or two single volumes.

    Raises
    ------
    DataError : nothing is found, nothing fits together, or names are ambiguous.
    """
    image_pattern = NamePattern.parse(image_name, VOLUME_SUFFIXES, "--image-name")
    label_pattern = NamePattern.parse(label_name, VOLUME_SUFFIXES, "--label-name")
    for path in (images, labels):
        if not path.exists():
            raise DataError("There is no such file or folder.", "Check the path.", str(path))
    if _is_one(images):
        if not _is_one(labels):
            raise DataError(
                "The image is one volume, the labels are a folder.",
                "Give the label volume itself.",
                str(labels),
            )
        name = images.name if images.is_dir() else volume_stem(images)
        return VolumePairs((VolumePair(name, images, labels),))
    if labels.is_file():
        raise DataError(
            "The labels are one volume, the images are a folder.",
            "Give the image volume itself.",
            str(images),
        )
    found = image_pattern.find(images, is_series_folder)
    found_labels = label_pattern.find(labels, is_series_folder)
    names = sorted(found_labels)
    cases = image_pattern.ids(found)
    partners = {case_id: label_pattern.of_case(case_id, names) for case_id in cases}
    used = {name for of_case in partners.values() for name in of_case}
    used_paths = {found_labels[name] for name in used}
    # Where both lie in one folder, the pattern of the images may fit the labels as well.
    cases = {case_id: path for case_id, path in cases.items() if path not in used_paths}
    pairs, lonely = [], []
    for case_id, path in cases.items():
        of_case = [n for n in partners[case_id] if found_labels[n] != path]
        if len(of_case) > 1:
            raise DataError(
                f"{len(of_case)} label volumes fit {path.name}: {', '.join(of_case)}.",
                "Make --label-name tell them apart.",
                str(labels),
            )
        if of_case:
            pairs.append(VolumePair(case_id, path, found_labels[of_case[0]]))
        else:
            lonely.append(path.name)
    if not pairs:
        raise DataError(
            f"No volume has labels: {len(found)} volumes were found for the images, "
            f"{len(found_labels)} for the labels, and no names fit together.",
            f"Volumes ({', '.join(VOLUME_SUFFIXES)}, or folders of DICOM files) are paired by "
            "--image-name and --label-name, e.g. --label-name '{id}_seg'.",
            str(images),
        )
    image_paths = {pair.image for pair in pairs}
    rest = [n for n, p in found_labels.items() if n not in used and p not in image_paths]
    if images.resolve() == labels.resolve():
        rest = []
    return VolumePairs(tuple(pairs), tuple(lonely), tuple(rest))


def _is_one(path: Path) -> bool:
    return path.is_file() or (path.is_dir() and is_series_folder(path))


@dataclass(frozen=True)
class _Written:
    rows: list[tuple[Any, ...]]
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
    image_name: str = "{id}",
    label_name: str = "{id}",
    only: Collection[str] | None = None,
    on_done: Progress | None = None,
) -> Derived:
    """Write the slices of volumes as a dataset.

    Parameters
    ----------
    images, labels : folders, or one volume each.
    image_name, label_name : see `pair_volumes`.
    only : ids of the volumes to cut; without it all.
    on_done : told (done, total): every pair counts twice, as all labels are surveyed first.

    Raises
    ------
    DataError : something cannot be read or does not fit; nothing is written then.
    ConfigError : an option is wrong, or the output folder holds an input.
    """
    refuse_overlap({"--output": output}, [images, labels])
    options = options or VolumeOptions()
    found = pair_volumes(images, labels, image_name, label_name)
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
    classes = classes_of_values(options.labels, total)
    table = value_table(classes, max(total))
    writer = DatasetWriter(output, classes=classes, mask_colors=options.mask_colors)
    with writer:
        write = partial(_write_volume, writer, table, options, (images, labels))
        written = run_parallel(write, pairs, options.workers, part_of(on_done, len(pairs), steps))
        rows = [row for one in written for row in one.rows]
        notes = _notes(found, total, classes, options, written)
        parameters = {
            "images": images,
            "labels": labels,
            "image_name": image_name,
            "label_name": label_name,
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
            group=options.patient or (GROUP if len(options.axes) == 1 else GROUP_OF_AXES),
            notes=notes,
        )


def slice_name(stem: str, axis: SliceAxis, number: int, axes: tuple[SliceAxis, ...]) -> str:
    """The name without suffix of a slice of the volume `stem`, cut along `axis` among `axes`."""
    return f"{stem}_{number:04d}" if len(axes) == 1 else f"{stem}_{axis.name}_{number:04d}"


def _count_values(key: str, pair: VolumePair) -> Counter[int]:
    array = read_labels(pair.label, key=key).array
    counts = np.zeros(int(array.max()) + 1, np.int64)
    for plane in array:  # counting makes 64-bit copies, so not of the whole volume
        found = np.bincount(plane.reshape(-1))
        counts[: len(found)] += found
    return Counter({int(v): int(counts[v]) for v in np.flatnonzero(counts)})


def _write_volume(
    writer: DatasetWriter,
    table: NDArray[np.uint8],
    options: VolumeOptions,
    roots: tuple[Path, Path],
    pair: VolumePair,
) -> _Written:
    image = one_channel(
        read_volume(pair.image, channel=options.channel, series=options.series, key=options.key),
        pair.image,
    )
    found = read_labels(pair.label, key=options.label_key)
    label, resampled = match_label(found, image, options.geometry, pair.label)
    voxels = options.axes[0].oriented(image.array, image.orientation)
    gray = GreyValues.of(voxels, options.intensity, options.bits, str(pair.image))
    sources = [_source(p, r) for p, r in zip((pair.image, pair.label), roots, strict=True)]
    stem, rows, empty, kept_empty = file_name(pair.id), [], 0, 0
    for axis in options.axes:
        slices = axis.slice_view(image.array, image.orientation)
        masks = axis.slice_view(label.array, label.orientation)
        spacing = [round(mm, 6) for mm in axis.spacing(image)]
        empty_here = 0
        for i, (pixels, values) in enumerate(zip(slices, masks, strict=True)):
            ids = np.ascontiguousarray(table[values])
            present = np.flatnonzero(np.bincount(ids.reshape(-1), minlength=1)[1:]) + 1
            if not len(present):
                empty_here += 1
                if not options.empty_every or (empty_here - 1) % options.empty_every:
                    continue
                kept_empty += 1
            name = slice_name(stem, axis, i, options.axes)
            row = (
                writer.write_image(f"{name}.png", gray(pixels)),
                writer.write_mask(f"{name}.png", ids),
                patient_of(name, options.patient, stem),
                stem, i, axis.name, *spacing, *gray.limits,
                " ".join(map(str, present)), *sources,
            )  # fmt: skip
            rows.append(row)
        empty += empty_here
    like_ct = np.issubdtype(voxels.dtype, np.integer) and int(voxels.min()) < _AIR_HU
    constant = options.intensity.kind != "none" and gray.limits[0] >= gray.limits[1]
    return _Written(rows, kept_empty, empty - kept_empty, resampled, like_ct, constant)


def _source(path: Path, root: Path) -> str:
    """A source as the manifest names it: relative to the folder given."""
    return path.name if path == root else path.relative_to(root).as_posix()


def _notes(
    found: VolumePairs,
    total: Counter[int],
    classes: tuple[Any, ...],
    options: VolumeOptions,
    written: list[_Written],
) -> list[str]:
    ids = [pair.id for pair in found.pairs]
    dropped = sum(one.dropped for one in written)
    known = {value for c in classes for value in c.values} | {
        value for spec in options.labels for value in spec.values
    }
    other = [f"{v} ({n} voxels)" for v, n in sorted(total.items()) if v not in known]
    unused = [c.name for c in classes[1:] if not any(total[v] for v in c.values)]
    resampled = [i for i, one in zip(ids, written, strict=True) if one.resampled]
    constant = [i for i, one in zip(ids, written, strict=True) if one.constant]
    notes = [f"Grey values: {options.intensity}."]
    if any(one.like_ct for one in written) and options.intensity.kind != "window":
        notes.append(
            "Values below -900 look like CT in Hounsfield units: --window lung, abdomen or "
            "CENTRE/WIDTH keeps tissues at the same grey in all volumes."
        )
    if dropped:
        notes.append(f"{dropped} slices without label left out (--empty-every).")
    notes += left_out("volumes without labels left out", found.images_without_label)
    notes += left_out("labels without a volume left out", found.labels_without_image)
    notes += left_out("label values became background, as no --label names them", other)
    notes += left_out("classes occur in no volume", unused)
    notes += left_out("label volumes were carried over to the grid of their image", resampled)
    notes += left_out("volumes have one value only and became black", constant)
    return notes
