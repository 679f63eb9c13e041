"""A dataset from folders of images and masks in another layout."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flexseg.config.findings import amount
from flexseg.dataset.candidates.advice import inner_folders
from flexseg.dataset.candidates.answers import MaskValues
from flexseg.dataset.cases import EQUAL_NAMES, group_of
from flexseg.dataset.description import description
from flexseg.dataset.division.grouping import find_group
from flexseg.dataset.ignored.pixels import IGNORED, IgnoredPixels
from flexseg.dataset.labels import LabelClass, make_classes
from flexseg.dataset.layout import folders_layout
from flexseg.dataset.marks.made_up_names import FOREGROUND
from flexseg.dataset.names import NamePattern
from flexseg.dataset.parallel import Progress, part_of, run_parallel
from flexseg.dataset.volumetric.pairing import file_name
from flexseg.derive.dataset_writer import (
    DatasetWriter,
    Derived,
    Row,
    ignored_in,
    left_out,
    refuse_equal_names,
)
from flexseg.derive.mask_codes import MaskCode, Unknown, code_of_marks, find_code
from flexseg.errors import ConfigError, DataError
from flexseg.files.entries import list_files, require_folder
from flexseg.files.images import IMAGE_SUFFIXES, MASK_SUFFIXES, is_lossy, read_image
from flexseg.files.intensity import Intensity
from flexseg.files.resizing import fitted_mask
from flexseg.outputs import refuse_overlap

HEADER = ("image", "mask", "patient", "classes", "source_image", "source_mask")
_AS_STORED = Intensity("none")
_GIVE_NAMES = "Give --image-name, and --mask-name or --class, e.g. --mask-name '{id}_mask'."


@dataclass(frozen=True)
class FolderOptions:
    """How images and masks are found, and what the masks mean.

    Attributes
    ----------
    image_name, mask_name : patterns, see `NamePattern`; without any they are found in the names.
        A mask pattern with `*` may fit several files of a case: one per instance, all of one class.
    class_names : (class name, mask pattern) where each class has masks of its own; later classes
        are painted over earlier ones.
    colors : classes by the colours of masks, background first.
    labels : classes by the values of grey or indexed masks, background first.
    ignored : values and colours that count in nothing, beside `labels` or `colors`.
    threshold : from this grey value on a pixel is foreground: makes one class.
    mask_values : where nothing else is said of the masks: their values are classes, or number
        objects.
    unknown : what becomes of colours and values of no class.
    intensity, bits : how intensities become grey values; None keeps 8 or 16 bits.
    empty_every : keep every n-th image without label; 0 none, 1 all.
    patient : regular expression that finds the patient in a file's name.
    mask_colors : RGB masks instead of indexed ones.
    workers : images in memory at once, at most.
    """

    image_name: str | None = None
    mask_name: str | None = None
    class_names: tuple[tuple[str, str], ...] = ()
    colors: tuple[LabelClass, ...] = ()
    labels: tuple[LabelClass, ...] = ()
    ignored: IgnoredPixels | None = None
    threshold: float | None = None
    mask_values: MaskValues | None = None
    unknown: Unknown = Unknown.ERROR
    intensity: Intensity = _AS_STORED
    bits: int | None = None
    empty_every: int = 1
    patient: str | None = None
    mask_colors: bool = False
    workers: int | None = None


@dataclass(frozen=True)
class FolderCase:
    """An image and its mask files, each with the class that it shows (0: read from the mask)."""

    id: str
    image: Path
    masks: tuple[tuple[int, Path], ...]


@dataclass(frozen=True)
class FolderCases:
    """The cases found, the names of what has no partner, and how the names were understood."""

    cases: tuple[FolderCase, ...]
    images_without_mask: tuple[str, ...]
    masks_without_image: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def has_lossy_masks(self) -> bool:
        """Whether some masks blur values."""
        masks = (path for case in self.cases for _, path in case.masks)
        return any(is_lossy(path) for path in masks)


def find_cases(images: Path, masks: Path, options: FolderOptions) -> FolderCases:
    """Images with their masks, by the name patterns of `options`, or as their names suggest.

    Raises
    ------
    DataError : nothing is found or fits together, or names are ambiguous.
    """
    if not (options.image_name or options.mask_name or options.class_names):
        return _as_names_suggest(images, masks)
    image_pattern = NamePattern.parse(options.image_name or "{id}", IMAGE_SUFFIXES, "--image-name")
    patterns = [
        (i, NamePattern.parse(text, MASK_SUFFIXES, "--class"))
        for i, (_, text) in enumerate(options.class_names, start=1)
    ] or [(0, NamePattern.parse(options.mask_name or "{id}", MASK_SUFFIXES, "--mask-name"))]
    ids = image_pattern.ids(image_pattern.find(images))
    partners: dict[str, list[tuple[int, Path]]] = {case_id: [] for case_id in ids}
    all_masks: set[Path] = set()
    for class_id, pattern in patterns:
        found = pattern.find(masks)
        all_masks |= set(found.values())
        names = sorted(found)
        for case_id, image in ids.items():
            fitting = [found[name] for name in pattern.of_case(case_id, names)]
            partners[case_id] += [(class_id, path) for path in fitting if path != image]
    used = {path for of_case in partners.values() for _, path in of_case}
    # Where both lie in one folder, the pattern of the images may fit the masks as well.
    own = {case_id: image for case_id, image in ids.items() if image not in used}
    cases = [FolderCase(i, image, tuple(partners[i])) for i, image in own.items() if partners[i]]
    if not cases:
        raise DataError(
            f"No image has a mask: {amount(len(ids), 'image')} and "
            f"{amount(len(all_masks), 'mask')} were found, but no names match.",
            _GIVE_NAMES,
            str(masks),
        )
    without_mask = [image.name for i, image in own.items() if not partners[i]]
    rest = sorted(p.name for p in all_masks - used - set(ids.values()))
    return FolderCases(tuple(cases), tuple(without_mask), tuple(rest))


def _as_names_suggest(images: Path, masks: Path) -> FolderCases:
    places = _places(images, masks)
    found = [_of_place(*place) for place in places]
    return FolderCases(
        tuple(case for one in found for case in one.cases),
        tuple(name for one in found for name in one.images_without_mask),
        tuple(name for one in found for name in one.masks_without_image),
        tuple(dict.fromkeys(note for one in found for note in one.notes)),
    )


def _places(images: Path, masks: Path) -> list[tuple[Path, Path, str]]:
    """Folders of images and of masks, and what the names of their cases begin with.

    Where the images lie in folders only, those of the masks have the same names.
    """
    require_folder(images)
    if list_files(images, IMAGE_SUFFIXES):
        return [(images, masks, "")]
    inner = [
        (path, masks / path.name, f"{path.name}/")
        for path in inner_folders(images)
        if (masks / path.name).is_dir() and list_files(path, IMAGE_SUFFIXES)
    ]
    return inner or [(images, masks, "")]


def _of_place(images: Path, masks: Path, prefix: str) -> FolderCases:
    try:
        layout = folders_layout(images, masks)
        pairing = layout.pair()[""]
    except DataError as error:
        fix = error.fix if "--" in error.fix else _GIVE_NAMES
        raise DataError(error.problem, fix, error.where) from None
    return FolderCases(
        tuple(
            FolderCase(f"{prefix}{case.id}", case.image, tuple((0, mask) for mask in case.masks))
            for case in pairing.cases
        ),
        tuple(f"{prefix}{path.name}" for path in pairing.images_without_mask),
        tuple(f"{prefix}{path.name}" for path in pairing.masks_without_image),
        (
            *layout.notes,
            *left_out(EQUAL_NAMES, [path.name for path in pairing.equal_names]),
            *(f"{note.what} {note.fix}".rstrip() for note in pairing.note_of_others()),
        ),
    )


def mask_code(
    found: FolderCases, options: FolderOptions, source: Path, on_done: Progress | None = None
) -> MaskCode:
    """What the masks mean: as the options say, else found out from all masks.

    Parameters
    ----------
    source : folder of the dataset, whose description may say more.

    Raises
    ------
    ConfigError : the options contradict each other.
    DataError : the masks cannot be told without options.
    """
    given = {
        "--class": options.class_names,
        "--color": options.colors,
        "--label": options.labels,
        "--threshold": options.threshold is not None and not options.class_names,
    }
    chosen = [name for name, value in given.items() if value]
    if len(chosen) > 1:
        raise ConfigError(f"{' and '.join(chosen)} contradict each other.", "Keep one of them.")
    if options.ignored and not (options.colors or options.labels):
        raise ConfigError(
            "--ignore says what to ignore, but no option says what the classes are.",
            "Name the classes with --label VALUE=NAME or --color R,G,B=NAME. The void of PASCAL "
            "VOC and nnU-Net's ignore label are recognised without --ignore.",
            "--ignore",
        )
    if options.class_names:
        return code_of_marks([name for name, _ in options.class_names], options.threshold)
    if options.colors:
        return MaskCode("colors", options.colors, unknown=options.unknown, ignored=options.ignored)
    if options.labels:
        return MaskCode("values", options.labels, unknown=options.unknown, ignored=options.ignored)
    if options.threshold is not None or "*" in (options.mask_name or ""):
        return code_of_marks([FOREGROUND], options.threshold)
    paths = [path for case in found.cases for _, path in case.masks]
    progress = part_of(on_done, 0, len(paths) + len(found.cases))
    return find_code(paths, source, options.workers, progress, options.mask_values)


def image_pixels(path: Path, intensity: Intensity, bits: int | None) -> NDArray:
    """An image [H, W] or RGB [H, W, 3] as it is to be stored, uint8 or uint16.

    Raises
    ------
    DataError : it cannot be read, or its values do not fit into the bits.
    """
    pixels = read_image(path)
    if pixels.shape[2] not in (1, 3, 4):
        raise DataError(
            f"The image has {pixels.shape[2]} channels; expected 1 or 3.",
            "Save it as grey or RGB.",
            str(path),
        )
    pixels = pixels[..., 0] if pixels.shape[2] == 1 else pixels[..., :3]
    bits = bits or (16 if pixels.dtype == np.uint16 else 8)
    limits = intensity.limits(pixels)
    return intensity.apply(np.ascontiguousarray(pixels), limits, bits, str(path))


@dataclass(frozen=True)
class _Written:
    row: Row
    empty: bool
    overlap: int
    resized: int
    unknown: Counter[str]


def derive_folders(
    images: Path,
    masks: Path,
    output: Path,
    options: FolderOptions | None = None,
    *,
    on_done: Progress | None = None,
) -> Derived:
    """Write images and masks of another layout as a dataset.

    Parameters
    ----------
    on_done : told (done, total), of the masks that have to be surveyed and of the images.

    Raises
    ------
    DataError : something cannot be read or does not fit; nothing is written then.
    ConfigError : an option is wrong, or the output folder holds an input.
    """
    refuse_overlap({"--output": output}, [images, masks])
    options = options or FolderOptions()
    found = find_cases(images, masks, options)
    stems = [file_name(case.id) for case in found.cases]
    refuse_equal_names(stems, images)
    group, group_notes = find_group(options.patient, stems, description(images.parent))
    code = mask_code(found, options, images.parent, on_done)
    classes = make_classes([(c.name, c.values) for c in code.classes[1:]])
    writer = DatasetWriter(
        output,
        classes=classes,
        mask_colors=options.mask_colors,
        ignored=ignored_in(mask_colors=options.mask_colors) if code.ignored else None,
    )
    with writer:
        write = partial(_write_case, writer, code, group, options, (images, masks))
        written = run_parallel(write, found.cases, options.workers, on_done)
        removed = writer.thin_out([one.row for one in written if one.empty], options.empty_every)
        rows = [one.row for one in written if one.row[0] not in removed]
        parameters = {
            "images": images,
            "masks": masks,
            "image_name": options.image_name,
            "mask_name": options.mask_name,
            "class_names": dict(options.class_names),
            "colors": {c.name: list(c.colors) for c in options.colors},
            "labels": {c.name: c.values for c in options.labels},
            "ignored": options.ignored.marks if options.ignored else [],
            "threshold": options.threshold,
            "mask_values": options.mask_values,
            "unknown": str(options.unknown),
            "intensity": str(options.intensity),
            "bits": options.bits,
            "empty_every": options.empty_every,
            "patient": options.patient,
            "mask_colors": options.mask_colors,
        }
        return writer.finish(
            HEADER,
            rows,
            kind="folders",
            parameters=parameters,
            empty=sum(one.empty for one in written) - len(removed),
            group=group,
            notes=[*_notes(found, code, written, len(removed)), *group_notes],
        )


def _write_case(
    writer: DatasetWriter,
    code: MaskCode,
    group: str | None,
    options: FolderOptions,
    roots: tuple[Path, Path],
    case: FolderCase,
) -> _Written:
    pixels = image_pixels(case.image, options.intensity, options.bits)
    size = (pixels.shape[0], pixels.shape[1])
    labels = np.zeros(size, np.uint8)
    overlap, resized, unknown = 0, 0, Counter[str]()
    for class_id, path in case.masks:
        ids, unclear = code.read(path)
        resized += ids.shape != size
        ids = fitted_mask(ids, size, path)
        ids *= class_id or 1
        overlap += int(((labels != 0) & (ids != 0) & (labels != ids)).sum())
        labels = np.where(ids != 0, ids, labels)
        unknown += unclear
    stem = file_name(case.id)
    present = np.unique(labels[(labels != 0) & (labels != IGNORED)])
    row = (
        writer.write_image(f"{stem}.png", pixels),
        writer.write_mask(f"{stem}.png", labels),
        group_of(stem, group),
        " ".join(map(str, present)),
        case.image.relative_to(roots[0]).as_posix(),
        ";".join(path.relative_to(roots[1]).as_posix() for _, path in case.masks),
    )
    return _Written(row, not len(present), overlap, resized, unknown)


def _notes(found: FolderCases, code: MaskCode, written: list[_Written], removed: int) -> list[str]:
    overlap = sum(one.overlap for one in written)
    unknown = sum((one.unknown for one in written), Counter[str]())
    notes = []
    if removed:
        notes.append(
            f"{amount(removed, 'image')} without labels {'was' if removed == 1 else 'were'} left "
            "out (--empty-every)."
        )
    if resized := sum(one.resized for one in written):
        notes.append(
            f"{amount(resized, 'mask')} had another resolution than "
            f"{'its' if resized == 1 else 'their'} image and {'was' if resized == 1 else 'were'} "
            "scaled by nearest neighbour."
        )
    if overlap:
        notes.append(
            f"{amount(overlap, 'pixel', 'is', 'are')} in several classes; the class given last "
            f"takes {'it' if overlap == 1 else 'them'}."
        )
    goes_to = "the nearest class" if code.unknown is Unknown.NEAREST else "background"
    what = "Colours" if code.kind == "colors" else "Values"
    notes += left_out(
        f"{what} of no class ({amount(unknown.total(), 'pixel')}) became {goes_to}",
        [f"{key} ({amount(n, 'pixel')})" for key, n in unknown.most_common()],
    )
    notes += left_out("Images without a mask were left out", found.images_without_mask)
    notes += left_out("Masks without an image were left out", found.masks_without_image)
    if code.kind == "mark" and code.threshold is None and found.has_lossy_masks:
        notes.append("JPEG or WebP masks: grey values of 128 or more are taken for foreground.")
    return [*notes, *found.notes, *code.notes]
