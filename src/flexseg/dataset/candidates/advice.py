"""How a folder of data can be read that is arranged in another way than expected."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from flexseg.dataset.candidates.mask_folders import mask_folders, other_folders
from flexseg.dataset.candidates.mixed import is_mixed
from flexseg.dataset.names import folded, stem_of_name
from flexseg.files.entries import file_names, folders_in
from flexseg.files.images import IMAGE_SUFFIXES, MASK_SUFFIXES
from flexseg.machine import typed

_MOST_CLASSES = 12


def inner_folders(root: Path) -> list[Path]:
    """The folders in a folder, without those that systems hide."""
    return [folder for folder in folders_in(root) if not folder.name.startswith("__")]


def advice(root: Path, images: Path | None) -> str:
    """The command that reads a folder whose images and masks lie deeper; "" if none is known.

    Parameters
    ----------
    images : its folder of images, if it has one.
    """
    folders = inner_folders(root)
    if images is not None:
        for masks in mask_folders(folders, None):
            if masks != images and (told := _masks_in_folders(images, masks)):
                return told
        return ""
    if any(is_mixed(folder) for folder in folders):
        return (
            f"The images are in several folders, beside their masks: {_derive(root, root)} makes "
            "one dataset of them."
        )
    if folders and all(_is_case(folder) for folder in folders):
        first = {path.name for path in inner_folders(folders[0])}
        image = next(name for name in first if not mask_folders([Path(name)], None))
        mask = next(name for name in first if name != image)
        names = ("--image-name", f"{{id}}/{image}/*", "--mask-name", f"{{id}}/{mask}/*")
        return (
            "Each image is in a folder of its own, with its masks: "
            f"{_derive(root, root, *names)} makes one dataset of them."
        )
    return ""


def images_unclear(
    folders: Sequence[Path], wanted: str | None, holds: Callable[[Path], bool]
) -> str:
    """What to do where masks are known, and not which folder has their images; "" elsewhere.

    Parameters
    ----------
    wanted, holds : see `other_folders`.
    """
    inner = [path for folder in folders for path in (folder, *inner_folders(folder))]
    if wanted is not None and folders and not mask_folders(inner, wanted):
        named = ", ".join(f"{path.name}/" for path in folders)
        return f"The folder has no subfolder {wanted}. Give another one with --masks: {named}."
    others = other_folders(folders, wanted, holds)
    if not others:
        return ""
    masks = mask_folders(folders, wanted)[0]
    named = ", ".join(f"{path.name}/" for path in others)
    return (
        f"The images of {masks.name}/ may be in {named}. Say so with {_derive(others[0], masks)}."
    )


def _masks_in_folders(images: Path, masks: Path) -> str:
    """Of masks that lie in folders, one per class or one per image."""
    stems = {folded(stem_of_name(name)) for name in file_names(images, IMAGE_SUFFIXES)}
    holding = [path for path in inner_folders(masks) if file_names(path, MASK_SUFFIXES)]
    if not stems or not holding:
        return ""
    if 2 * sum(folded(path.name) in stems for path in holding) > len(holding):
        return (
            "Each image has a folder of masks: "
            f"{_derive(images, masks, '--mask-name', '{id}/*')} merges them."
        )
    names = [path.name for path in holding[:_MOST_CLASSES]]
    classes = [text for name in names for text in ("--class", f"{name}={name}/{{id}}")]
    return (
        f"The masks are in subfolders of {masks.name}/. If each is a class: "
        f"{_derive(images, masks, *classes)}. If one of them has all the masks: "
        f"{_derive(images, holding[0])}."
    )


def _derive(images: Path, masks: Path, *options: str) -> str:
    """The command that makes a dataset of two folders."""
    typed_in = [typed(images), typed(masks), *map(typed, options)]
    return f"`flexseg derive folders {' '.join(typed_in)} -o NEW`"


def _is_case(folder: Path) -> bool:
    """Whether a folder holds one image in a folder, and its masks in another one."""
    inner = inner_folders(folder)
    masks = mask_folders(inner, None)
    images = [path for path in inner if path not in masks]
    return len(inner) == 2 and len(masks) == 1 and len(file_names(images[0], IMAGE_SUFFIXES)) == 1
