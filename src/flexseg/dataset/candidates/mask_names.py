"""Which masks belong to which images, by templates of the names of masks."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import islice, takewhile

from flexseg.dataset.names import any_text, folded

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
    stems = sorted(masks)
    if "*" in mask_name:
        return _of_longest(_several(mask_name, images, stems))
    known = set(stems)
    exact = {stem: filled(mask_name, stem) for stem in images}
    found = {stem: [name] for stem, name in exact.items() if name in known}
    free = known - {name for own in found.values() for name in own}
    alike = defaultdict(list)
    for name in stems:
        if name in free:
            alike[folded(name)].append(name)
    template, asking = folded(mask_name), defaultdict(list)
    for stem in exact:
        if stem not in found:
            asking[filled(template, folded(stem))].append(stem)
    near = {
        own[0]: alike[name]
        for name, own in asking.items()
        if len(own) == 1 and len(alike[name]) == 1
    }
    return {stem: found.get(stem) or near.get(stem, []) for stem in exact}


def _several(mask_name: str, images: Iterable[str], masks: list[str]) -> dict[str, list[str]]:
    """The masks whose names fit an image; one mask may fit several images."""
    by_name: dict[str, list[str]] = defaultdict(list)
    for stem in masks:
        by_name[folded(stem)].append(stem)
    names = sorted(by_name)
    found = {}
    for stem in images:
        first, *rest = (filled(part, folded(stem)) for part in folded(mask_name).split("*"))
        expression = re.compile("[^/]*".join(map(re.escape, (first, *rest))))
        fitting = filter(expression.fullmatch, _beginning(first, names))
        found[stem] = [mask for name in fitting for mask in by_name[name]]
    return found


def _beginning(text: str, names: list[str]) -> Iterator[str]:
    """The names, of a sorted list, that begin with a text."""
    return takewhile(
        lambda name: name.startswith(text), islice(names, bisect_left(names, text), None)
    )


def _of_longest(found: dict[str, list[str]]) -> dict[str, list[str]]:
    """Each mask with the image of the longest name that it fits."""
    owner: dict[str, str] = {}
    for stem in sorted(found, key=len):
        owner |= dict.fromkeys(found[stem], stem)
    return {stem: [mask for mask in own if owner[mask] == stem] for stem, own in found.items()}
