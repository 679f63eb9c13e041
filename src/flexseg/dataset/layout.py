"""Where the images and masks of a folder lie that nobody has prepared."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from flexseg.config.findings import amount, examples
from flexseg.dataset.candidates.advice import advice, images_unclear, inner_folders
from flexseg.dataset.candidates.answers import NO_ANSWERS, Answers
from flexseg.dataset.candidates.mask_folders import (
    camvid_folders,
    mask_folders,
    masks_beside,
    other_folders,
)
from flexseg.dataset.candidates.mixed import MASK_WORD, is_mixed
from flexseg.dataset.candidates.templates import Stems, find_template, with_further_masks
from flexseg.dataset.cases import Pairing, pair
from flexseg.dataset.division.splits import SplitName
from flexseg.dataset.names import stem_of_name
from flexseg.errors import DataError
from flexseg.files.dicom.recognition import is_dicom
from flexseg.files.entries import file_names, require_folder, suffix_of
from flexseg.files.images import IMAGE_SUFFIXES, LOSSY_SUFFIXES, MASK_SUFFIXES, PICTURE_SUFFIXES
from flexseg.files.volumes.paths import find_volumes
from flexseg.near_paths import check_path

# Names of folders in lower case, letters only; the first ones are preferred.
IMAGE_FOLDERS = (
    "images", "image", "imgs", "img", "inputs", "input", "scans", "scan", "photos", "pictures",
    "jpegimages", "originals", "original", "raw", "imagestr",
)  # fmt: skip
_SPLIT_FOLDERS: dict[SplitName, tuple[str, ...]] = {
    "train": ("train", "training", "tr"),
    "valid": ("valid", "val", "validation", "dev"),
    "test": ("test", "testing", "ts"),
}
_EXPECTED = (
    "Expected images/ and masks/; or train/, valid/ and test/ with these; or x.png with "
    "x_mask.png in one folder. For masks in a folder of another name, use --masks NAME. Convert "
    "other layouts by `flexseg derive folders`, volumes by `flexseg derive volumes`, polygons by "
    "`flexseg derive annotations`."
)


@dataclass(frozen=True)
class Folders:
    """Folders of images and masks that belong together; both may be one."""

    images: Path
    masks: Path

    @property
    def mixed(self) -> bool:
        """Images and masks lie in one folder."""
        return self.images == self.masks


@dataclass(frozen=True)
class Layout:
    """Where images and masks lie, and how they pair.

    Attributes
    ----------
    root : the folder that holds them.
    folders : of the splits, or of the whole dataset under the name "".
    mask_name : stem of the mask of the image stem `{id}`.
    image_format, mask_format : the suffix that files have to have, or "auto".
    unlabeled : split (or "") -> folder of images that have no masks.
    notes : what was decided where others might have decided otherwise, one sentence each.
    """

    root: Path
    folders: dict[str, Folders]
    mask_name: str
    image_format: str
    mask_format: str
    unlabeled: dict[str, Path]
    notes: tuple[str, ...]

    def pair(self) -> dict[str, Pairing]:
        """The cases of each folder, and the files that have no partner.

        Raises
        ------
        DataError : see `flexseg.dataset.cases.pair`.
        """
        return {
            name: pair(
                folders.images,
                folders.masks,
                mask_name=self.mask_name,
                image_format=self.image_format,
                mask_format=self.mask_format,
            )
            for name, folders in self.folders.items()
        }


def find_layout(dataset: Path, answers: Answers = NO_ANSWERS, *, need_masks: bool = True) -> Layout:
    """Look for images and masks.

    Parameters
    ----------
    answers : what the user says where several folders or names fit.
    need_masks : a folder of images alone is no dataset.

    Raises
    ------
    DataError : there are none, or none that pair; says what there is instead. Or several things
        fit; says how to choose.
    """
    require_folder(dataset)
    notes: list[str] = []
    root = dataset
    found, unlabeled = _folders_of(root, answers, notes)
    inner = inner_folders(dataset)
    if not found and len(inner) == 1 and not file_names(dataset, MASK_SUFFIXES):
        # What archives unpack to: a folder within a folder.
        within = _folders_of(inner[0], answers, notes)
        if within[0] or (within[1] and not unlabeled):
            root, (found, unlabeled) = inner[0], within
            notes.append(f"The subfolder {root.name}/ is taken for the dataset.")
    if not found and (need_masks or not unlabeled):
        raise DataError(
            f"{_described(dataset)}, but no images with masks.",
            advice(root, _named(root, IMAGE_FOLDERS, []))
            or images_unclear(inner_folders(root), answers.masks, _has_images)
            or _EXPECTED,
            str(dataset),
        )
    if not found:
        return Layout(root, {}, "{id}", "auto", "auto", unlabeled, tuple(notes))
    return _layout(root, found, answers, unlabeled, notes)


def dataset_name(images: str, masks: str = "") -> str:
    """The name of a dataset by the path of its images, which may be one of another machine.

    Folders of splits, and names such as "images" and "data", say nothing, and neither does that of
    the images if the masks are in another folder beside it.

    Examples
    --------
    >>> dataset_name("C:\\\\data\\\\lungs\\\\train\\\\images")
    'lungs'
    >>> dataset_name("knees/scans", "knees/drawn")
    'knees'
    """
    parts, others = (
        [part for part in path.replace("\\", "/").split("/") if part] for path in (images, masks)
    )
    if len(parts) > 1 and parts[:-1] == others[:-1] and parts != others:
        parts.pop()
    plain = {*IMAGE_FOLDERS, *_SPLIT_FOLDERS["train"], "data", "dataset"}
    named = [part for part in parts if part.lower() not in plain] or parts
    return named[-1] if named else images


def folders_layout(images: Path, masks: Path) -> Layout:
    """How the images and masks of two folders pair; both may be one.

    Raises
    ------
    DataError : a folder is missing, or nothing pairs.
    """
    for folder in (images, masks):
        if not folder.is_dir():
            raise DataError("There is no such folder.", check_path(folder), str(folder))
    return _layout(images.parent, {"": Folders(images, masks)}, NO_ANSWERS, {}, [])


def _layout(
    root: Path,
    found: dict[str, Folders],
    answers: Answers,
    unlabeled: dict[str, Path],
    notes: list[str],
) -> Layout:
    """The layout of folders that are known, with the names and formats of their files."""
    image_format, mask_format = _formats(found, notes)
    given = answers.mask_name is not None
    mask_name = answers.mask_name or _mask_name(found, image_format, mask_format, notes)
    if mask_name != "{id}" and not given:
        notes.append(f"Masks are named {mask_name}, where {{id}} is the image's name.")
    return Layout(root, found, mask_name, image_format, mask_format, unlabeled, tuple(notes))


def volume_folders(dataset: Path, answers: Answers = NO_ANSWERS) -> tuple[Path, Path] | None:
    """The folders of volumes and labels in a dataset of volumes; None if it is none.

    Images of two dimensions make it a dataset of images.

    Raises
    ------
    DataError : several folders have label volumes.
    """
    if not dataset.is_dir():
        return None
    inner = inner_folders(dataset)
    for root in (dataset, *(inner if len(inner) == 1 else ())):
        images = _named(root, IMAGE_FOLDERS, []) or _beside_masks(root, answers, _has_volumes, [])
        if images is None or not _has_volumes(images):
            continue
        candidates = mask_folders(inner_folders(root), answers.masks)
        labels = masks_beside(images, [p for p in candidates if p != images], _has_volumes)
        if labels is not None and _has_volumes(labels):
            return None if file_names(images, PICTURE_SUFFIXES) else (images, labels)
    return None


def split_of_folder(name: str) -> SplitName | None:
    """The split that a folder is of by its name."""
    plain = _plain(name)
    return next((split for split, names in _SPLIT_FOLDERS.items() if plain in names), None)


def _has_volumes(folder: Path) -> bool:
    try:
        # An array may be an image as well.
        # Neither need a DICOM file be a volume, if it is not in a series.
        return any(
            path.suffix.lower() != ".npy" and (path.is_dir() or not is_dicom(path))
            for path in find_volumes(folder)
        )
    except DataError:
        return False


def _folders_of(
    root: Path, answers: Answers, notes: list[str]
) -> tuple[dict[str, Folders], dict[str, Path]]:
    """Split (or "") -> folders, and split -> folder of images without masks."""
    images = _named(root, IMAGE_FOLDERS, notes)
    masks = _masks_of(root, images, answers)
    unlabeled: dict[str, Path] = {}
    if images and masks:
        found = _of_two(images, masks, notes, unlabeled)
        return _with_training(found, notes), unlabeled
    found = _camvid(root) or _splits_of(root, answers, notes, unlabeled)
    for folder in (root, images):
        if not found and folder and is_mixed(folder):
            found = {"": Folders(folder, folder)}
    if not found and not unlabeled and images and file_names(images, IMAGE_SUFFIXES):
        unlabeled[""] = images
    if not found and not unlabeled:
        images = _beside_masks(root, answers, _has_images, notes)
        masks = _masks_of(root, images, answers)
        if images and masks:
            found = _of_two(images, masks, notes, unlabeled)
    return _with_training(found, notes), unlabeled


def _of_two(
    images: Path, masks: Path, notes: list[str], unlabeled: dict[str, Path]
) -> dict[str, Folders]:
    """What a folder of images and one of masks hold: splits, or the whole dataset."""
    found = _splits_inside(images, masks, notes, unlabeled)
    if not found and file_names(images, IMAGE_SUFFIXES):
        if file_names(masks, MASK_SUFFIXES):
            return {"": Folders(images, masks)}
        unlabeled[""] = images
    return found


def _beside_masks(
    root: Path, answers: Answers, holds: Callable[[Path], bool], notes: list[str]
) -> Path | None:
    """The images of a folder of masks where none is named as images are: the only other one."""
    others = other_folders(inner_folders(root), answers.masks, holds)
    if len(others) != 1 or split_of_folder(others[0].name) is not None:
        return None
    notes.append(f"The images are taken from {others[0].name}/, the only other folder of images.")
    return others[0]


def _camvid(root: Path) -> dict[str, Folders]:
    """train with trainannot, and so on; of another name one pair, which is the whole dataset."""
    pairs = [
        Folders(images, masks)
        for images, masks in camvid_folders(inner_folders(root))
        if file_names(images, IMAGE_SUFFIXES) and file_names(masks, MASK_SUFFIXES)
    ]
    if len(pairs) == 1 and split_of_folder(pairs[0].images.name) is None:
        return {"": pairs[0]}
    return {split: own for own in pairs if (split := split_of_folder(own.images.name))}


def _splits_inside(
    images: Path, masks: Path, notes: list[str], unlabeled: dict[str, Path]
) -> dict[str, Folders]:
    """images/train with masks/train, and so on."""
    found: dict[str, Folders] = {}
    for split, names in _SPLIT_FOLDERS.items():
        inside, partner = _named(images, names, notes), _named(masks, names, notes)
        if inside and file_names(inside, IMAGE_SUFFIXES):
            if partner and file_names(partner, MASK_SUFFIXES):
                found[split] = Folders(inside, partner)
            else:
                unlabeled[split] = inside
    return found


def _splits_of(
    root: Path, answers: Answers, notes: list[str], unlabeled: dict[str, Path]
) -> dict[str, Folders]:
    """train/images with train/masks, and so on, or both kinds of files in train/."""
    found: dict[str, Folders] = {}
    for split, names in _SPLIT_FOLDERS.items():
        folder = _named(root, names, notes)
        if folder is None:
            continue
        images = _named(folder, IMAGE_FOLDERS, notes)
        images = images or _beside_masks(folder, answers, _has_images, notes)
        masks = _masks_of(folder, images, answers)
        if images and masks and file_names(masks, MASK_SUFFIXES):
            found[split] = Folders(images, masks)
        elif not images and is_mixed(folder):
            found[split] = Folders(folder, folder)
        elif file_names(images or folder, IMAGE_SUFFIXES):
            unlabeled[split] = images or folder
    return found


def _with_training(found: dict[str, Folders], notes: list[str]) -> dict[str, Folders]:
    """A lone folder of another split than training is the whole dataset."""
    if found and "train" not in found and "" not in found:
        first = next(iter(found))
        notes.append(f"There is no folder for training: all cases are taken from {first}/.")
        return {"": found[first]}
    return found


def _masks_of(root: Path, images: Path | None, answers: Answers) -> Path | None:
    """The folder of masks in `root`. Raises DataError where it is not clear which one."""
    candidates = [
        path for path in mask_folders(inner_folders(root), answers.masks) if path != images
    ]
    return masks_beside(images, candidates, _has_masks)


def _has_masks(folder: Path) -> bool:
    """Whether a folder, or one in it, has files of masks."""
    return any(file_names(place, MASK_SUFFIXES) for place in (folder, *inner_folders(folder)))


def _has_images(folder: Path) -> bool:
    """Whether a folder, or one in it, has images."""
    return any(file_names(place, IMAGE_SUFFIXES) for place in (folder, *inner_folders(folder)))


def _named(root: Path, names: Sequence[str], notes: list[str]) -> Path | None:
    """The folder in `root` of the first of some names, whatever its letter case."""
    order = {name: i for i, name in enumerate(names)}
    known = [(order[plain], p) for p in inner_folders(root) if (plain := _plain(p.name)) in order]
    known.sort()
    # An empty folder is no choice where there is another one.
    chosen = next((p for _, p in known if any(p.iterdir())), known[0][1] if known else None)
    if chosen is not None and len(known) > 1:
        others = [f"{p.name}/" for _, p in known if p != chosen]
        note = f"Of {chosen.name}/ and {', '.join(others)}, the first is used."
        if note not in notes:
            notes.append(note)
    return chosen


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).lower()


def _formats(found: dict[str, Folders], notes: list[str]) -> tuple[str, str]:
    """The suffixes of images and masks, where the names do not tell them apart alone."""
    pairs = list(found.values())
    names = [n for f in pairs if f.mixed for n in file_names(f.images, MASK_SUFFIXES)]
    if names and not any(MASK_WORD.search(Path(name).stem) for name in names):
        suffixes = Counter(suffix_of(name).lower() for name in names)
        lossy, others = (
            Counter({s: n for s, n in suffixes.items() if (s in LOSSY_SUFFIXES) == is_})
            for is_ in (True, False)
        )
        image, mask = lossy.most_common(1)[0][0], others.most_common(1)[0][0]
        notes.append(
            f"The {image} files are taken for images, the {mask} files of the same folder for "
            "masks."
        )
        return image.lstrip("."), mask.lstrip(".")
    return "auto", "auto"


def _mask_name(
    found: dict[str, Folders], image_format: str, mask_format: str, notes: list[str]
) -> str:
    """The template that pairs most masks with an image.

    Raises
    ------
    DataError : none pairs any, or several masks of an image may mean several things.
    """
    stems = []
    for folders in found.values():
        images = _stems(folders.images, IMAGE_SUFFIXES, image_format)
        masks = _stems(folders.masks, MASK_SUFFIXES, mask_format)
        if folders.mixed and mask_format == "auto":
            masks = {s for s in masks if MASK_WORD.search(s)}
            images -= masks
        stems.append(Stems(frozenset(images), frozenset(masks)))
    best = find_template(stems)
    first = next(iter(found.values()))
    if best is None:
        images, masks = ({*stems[0].images}, {*stems[0].masks})
        counts = [sum(len(getattr(one, kind)) for one in stems) for kind in ("images", "masks")]
        raise DataError(
            f"No mask is named after an image: there are {amount(counts[0], 'image')} "
            f"({examples(sorted(images), 3)}) and {amount(counts[1], 'mask')} "
            f"({examples(sorted(masks), 3)}).",
            "Give each mask the name of its image, perhaps with a prefix or suffix (x_mask).",
            str(first.masks),
        )
    template, note = with_further_masks(best, stems, first.masks)
    notes += [note] if note else []
    return template


def _stems(folder: Path, suffixes: Iterable[str], only: str) -> set[str]:
    wanted = suffixes if only == "auto" else (f".{only}",)
    return {*map(stem_of_name, file_names(folder, wanted))}


def _described(folder: Path) -> str:
    """What a folder holds, for people."""
    folders = []
    for inner in inner_folders(folder):
        kinds = _kinds(inner)
        most = f"{kinds[0][1]} {kinds[0][0]}" if kinds else "no files"
        folders.append(f"{inner.name}/ ({most})")
    files = [f"{n} {kind}" for kind, n in _kinds(folder)]
    return f"The folder holds {examples([*folders, *files], 8) or 'nothing'}"


def _kinds(folder: Path) -> list[tuple[str, int]]:
    """The suffixes of the files in a folder, the most frequent first, with their numbers."""
    files = (p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
    kinds = Counter(
        "".join(s for s in p.suffixes[-2:] if not s[1:].isdigit()) or "without suffix"
        for p in files
    )
    return kinds.most_common(4)
