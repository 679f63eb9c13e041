"""Which masks belong to which images, by templates of the names of masks."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import cache

from flexseg.dataset.names import any_text, beginning, folded

_NAME = re.compile(r"\{id(?::([^{}=]+)=([^{}=]*))?\}")


def mask_stem(mask_name: str, stem: str) -> str:
    """The stem of the mask that belongs to an image's stem.

    Parameters
    ----------
    mask_name : a template in which `{id}` stands for the image's stem, and `{id:old=new}` for
        the stem with the first `old` replaced by `new`. A `*`, for what tells several masks of an
        image apart, stays out: that is the name of a single one.

    Examples
    --------
    >>> mask_stem("{id}_mask", "p01_slice3")
    'p01_slice3_mask'
    >>> mask_stem("{id:img=gt}", "img_07")
    'gt_07'
    >>> mask_stem("{id:_0000=}", "brain_0000")
    'brain'
    """
    return filled(mask_name.replace("*", ""), stem)


def filled(mask_name: str, stem: str) -> str:
    """A template, or a part of one, with the stem of an image in it."""
    if mask_name == "{id}":
        return stem
    return _NAME.sub(lambda m: stem.replace(m[1], m[2], 1) if m[1] else stem, mask_name)


def case_of_mask(mask_name: str, stem: str) -> str | None:
    """The stem of an image that a mask's stem belongs to, or None if it has another form.

    Where `{id:old=}` leaves a part of the name out, the part is unknown and stays out.

    Examples
    --------
    >>> case_of_mask("{id}_mask", "p01_slice3_mask")
    'p01_slice3'
    >>> case_of_mask("{id:img=gt}", "gt_07")
    'img_07'
    """
    match = _NAME.search(mask_name)
    found = match and _expression(mask_name).fullmatch(stem)
    if not (match and found):
        return None
    return found["id"].replace(match[2], match[1], 1) if match[2] else found["id"]


def is_mask(mask_name: str, stem: str) -> bool:
    """Whether a file in a folder of images and masks has the name of a mask."""
    match = _NAME.search(mask_name)
    if match is None:
        return stem == mask_name
    if _expression(mask_name).fullmatch(stem) is None:
        return False
    return not match[1] or (bool(match[2]) and match[2] in stem)


@cache
def _expression(mask_name: str) -> re.Pattern[str]:
    """What finds the stem of the image as `id` in the stem of a mask."""
    match = _NAME.search(mask_name)
    start, end = match.span() if match else (len(mask_name), len(mask_name))
    before, after = (any_text(part) for part in (mask_name[:start], mask_name[end:]))
    return re.compile(f"{before}(?P<id>.+){after}", re.DOTALL)


def masks_of_images(
    mask_name: str, images: Iterable[str], masks: Iterable[str]
) -> dict[str, list[str]]:
    """Stem of each image -> stems of its masks, none or one; with a `*` there may be several.

    Names count as they are; for an image that has no mask so, letter case and the way in which
    accents are stored do not count. A mask belongs to one image, that of the longest name.

    Parameters
    ----------
    mask_name : see `mask_stem`; a `*` stands for anything.
    images, masks : the stems of all.
    """
    if "*" in mask_name:
        return _of_longest(_several(mask_name, images, sorted(masks)))
    known = set(masks)
    found: dict[str, list[str]] = {}
    for stem in images:
        name = filled(mask_name, stem)
        found[stem] = [name] if name in known else []
    if lacking := [stem for stem, own in found.items() if not own]:
        free = known - {name for own in found.values() for name in own}
        found |= _alike(mask_name, lacking, free)
    return found


def _alike(mask_name: str, images: Iterable[str], masks: Iterable[str]) -> dict[str, list[str]]:
    """The mask of each image whatever its letter case and accents, where that is clear."""
    alike, asking = defaultdict(list), defaultdict(list)
    for name in masks:
        alike[folded(name)].append(name)
    template = folded(mask_name)
    for stem in images:
        asking[filled(template, folded(stem))].append(stem)
    return {
        own[0]: alike[name]
        for name, own in asking.items()
        if len(own) == 1 and len(alike.get(name, ())) == 1
    }


def _several(mask_name: str, images: Iterable[str], masks: list[str]) -> dict[str, list[str]]:
    """The masks whose names fit an image; one mask may fit several images."""
    by_name: dict[str, list[str]] = defaultdict(list)
    for stem in masks:
        by_name[folded(stem)].append(stem)
    names = sorted(by_name)
    found = {}
    for stem in images:
        first, *rest = (filled(part, folded(stem)) for part in folded(mask_name).split("*"))
        fits = _ending(len(first), rest[0]) if len(rest) == 1 else _pattern(first, *rest)
        fitting = filter(fits, beginning(first, names))
        found[stem] = [mask for name in fitting for mask in by_name[name]]
    return found


def _ending(start: int, end: str) -> Callable[[str], bool]:
    """What tells names of so many letters, anything, and an end; to compile a pattern takes longer
    than to look at all that begin alike."""

    def fits(name: str) -> bool:
        within = name[start : len(name) - len(end)]
        return name.endswith(end) and len(name) >= start + len(end) and "/" not in within

    return fits


def _pattern(*parts: str) -> Callable[[str], object]:
    """What tells names of these parts, and anything between them."""
    return re.compile("[^/]*".join(map(re.escape, parts))).fullmatch


def _of_longest(found: dict[str, list[str]]) -> dict[str, list[str]]:
    """Each mask with the image of the longest name that it fits."""
    owner: dict[str, str] = {}
    for stem in sorted(found, key=len):
        owner |= dict.fromkeys(found[stem], stem)
    return {stem: [mask for mask in own if owner[mask] == stem] for stem, own in found.items()}
