"""How the names of masks are made of those of images, found in the names themselves."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from flexseg.dataset.candidates.mask_names import filled, masks_of_images
from flexseg.dataset.names import folded
from flexseg.errors import DataError
from flexseg.machine import typed

# Images whose names are looked for in those of masks: fewer where there are many.
_MIN_SAMPLE, _MAX_SAMPLE, _COMPARISONS = 8, 40, 200_000
# Names of further masks that fewer images have are strays.
_FEW, _FEW_SHARE = 3, 0.1
_NUMBER = re.compile(r"[-_ .]*\(?\d*\)?")


@dataclass(frozen=True)
class Stems:
    """The stems of the images and of the masks of one folder, or of two that belong together."""

    images: frozenset[str]
    masks: frozenset[str]

    @property
    def folded(self) -> Stems:
        """The same without what people overlook."""
        return Stems(frozenset(map(folded, self.images)), frozenset(map(folded, self.masks)))


def pairs(template: str, stems: Iterable[Stems]) -> int:
    """How many images have a mask by a template."""
    return sum(
        bool(own)
        for one in stems
        for own in masks_of_images(template, one.images, one.masks).values()
    )


def find_template(stems: Sequence[Stems]) -> str | None:
    """The template of one mask per image that pairs most images; None if none pairs any."""
    images = sum(len(one.images) for one in stems)
    if images and pairs("{id}", stems) == images:
        return "{id}"  # none pairs more
    candidates = [*_templates(stems), *_templates([one.folded for one in stems])]
    best = max(candidates, key=lambda template: pairs(template, stems))
    return best if pairs(best, stems) else None


def best_rule(rules: Iterable[str], stems: Stems) -> str | None:
    """The template that pairs most: one of `rules`, earlier ones first, else as the names tell.

    What the names tell counts only if it pairs half of the shorter list, as chance finds some.
    None if nothing pairs.
    """
    most = max(rules, key=lambda rule: pairs(rule, [stems]))
    if pairs(most, [stems]):
        return most
    own = find_template([stems])
    enough = min(len(stems.images), len(stems.masks)) / 2
    return own if own and pairs(own, [stems]) >= enough else None


def _templates(stems: Iterable[Stems]) -> list[str]:
    """`{id}`, then what stands around the names of some images in those of the masks."""
    counts: Counter[str] = Counter()
    for one in stems:
        ordered = sorted(one.images)
        sample = max(_MIN_SAMPLE, min(_MAX_SAMPLE, _COMPARISONS // max(len(one.masks), 1)))
        for stem in ordered[:: max(1, len(ordered) // sample)]:
            for name in sorted(one.masks):
                head, found, tail = name.partition(stem)
                if found and name != stem:
                    counts[f"{head}{{id}}{tail}"] += 1
                counts.update(_replacements(stem, name))
    # Of a number alone, chance finds much: 1 in 11. The right one is found for every image.
    return ["{id}", *(template for template, _ in counts.most_common(20))]


def _replacements(stem: str, name: str) -> Iterable[str]:
    """Templates by which a word for images in `stem` makes way for another one, or for none."""
    channel = re.fullmatch(r"(.+?)([-_ .]0+)", stem)
    if channel and channel[1] == name:  # of nnU-Net's images
        yield f"{{id:{channel[2]}=}}"
        return
    start = _equal_letters(stem, name)
    end = _equal_letters(stem[start:][::-1], name[start:][::-1])
    while start and stem[start - 1].isalpha():  # whole words
        start -= 1
    while end and stem[-end].isalpha():
        end -= 1
    old, new = stem[start : len(stem) - end], name[start : len(name) - end]
    # Numbers tell cases apart: what is replaced must be words, what replaces it may end in the
    # number of an annotator. Where nothing stays, any image would go with any mask.
    are_words = re.fullmatch(r"[^\d{}=]+", old) and re.fullmatch(r"([^\d{}=]+\d?)?", new)
    if are_words and old != stem and stem.replace(old, new, 1) == name:
        yield f"{{id:{old}={new}}}"


def _equal_letters(first: str, second: str) -> int:
    """How many letters two texts begin with alike."""
    alike = zip(first, second, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], alike))


def with_further_masks(best: str, stems: Sequence[Stems], where: Path) -> tuple[str, str]:
    """The template by which images have all their masks, and a note if these are several.

    Masks that are numbered mark together. Where a word tells them apart, nobody but the user
    knows whether these are classes.

    Parameters
    ----------
    best : the template of one mask per image.
    where : the folder of the masks, for messages.

    Raises
    ------
    DataError : it is not clear what several masks of an image mean; tells what to do.
    """
    for wide in _wider(best):
        tails = _tails(best, wide, stems)
        if not tails:
            continue
        numbers = sum(n for tail, n in tails.items() if _NUMBER.fullmatch(tail))
        words = {tail: n for tail, n in tails.items() if not _NUMBER.fullmatch(tail)}
        few = max(_FEW, _FEW_SHARE * sum(len(one.images) for one in stems))
        frequent = [tail for tail, n in words.items() if n >= few and re.search("[a-z]", tail)]
        if frequent or (numbers and best == "{id}"):
            raise _unclear(best, wide, frequent or list(tails), stems, where)
        if numbers:
            shown = next(tail for tail in tails if _NUMBER.fullmatch(tail))
            return wide, (
                f"Some images have several masks, as in {wide.replace('*', shown)}: these are "
                f"merged (--mask-name {typed(best)} takes one of them)."
            )
    return best, ""


def _wider(best: str) -> Iterator[str]:
    """Templates of one `*` that fit the masks of `best`, and others named alike."""
    yield f"{best}*"
    for end in (r"\d+$", r"[^-_ .}]+$"):
        if (start := re.sub(end, "", best)) != best and not start.endswith("}"):
            yield f"{start}*"
    if (rest := re.sub(r"^[^-_ .{]+", "", best)) != best and not rest.startswith("{"):
        yield f"*{rest}"


def _tails(best: str, wide: str, stems: Iterable[Stems]) -> Counter[str]:
    """What `*` stands for in the names of masks that only `wide` finds, and how often."""
    tails: Counter[str] = Counter()
    before, after = folded(wide).split("*")
    for one in stems:
        narrow = masks_of_images(best, one.images, one.masks)
        used = {mask for own in narrow.values() for mask in own}
        if used == one.masks:
            continue
        for image, own in masks_of_images(wide, one.images, one.masks).items():
            if not narrow[image]:
                continue
            start, end = len(filled(before, folded(image))), len(filled(after, folded(image)))
            for mask in own:
                tail = folded(mask)[start : len(folded(mask)) - end]
                # Without a separator, 10 were a further mask of image 1.
                if mask not in used and (best != "{id}" or tail[:1] in "-_ .("):
                    tails[tail] += 1
    return tails


def _unclear(
    best: str, wide: str, tails: Sequence[str], stems: Sequence[Stems], where: Path
) -> DataError:
    named = [best, *(wide.replace("*", tail) for tail in tails)][:5]
    counted = ", ".join(f"{name} ({pairs(name, stems)})" for name in named)
    classes = " ".join("--class " + typed(f"{_word(name)}={name}") for name in named)
    return DataError(
        f"The images have several masks each, and their meaning is not clear: {counted}.",
        f"Name the ones to use: --mask-name {typed(best)}; or all, to be merged: --mask-name "
        f"{typed(wide)}. If each is a class: `flexseg derive folders IMAGES MASKS -o NEW "
        f"{classes}`.",
        str(where),
    )


def _word(template: str) -> str:
    return re.sub(r"\{[^}]*\}", "", template).strip("-_ .") or "mask"
