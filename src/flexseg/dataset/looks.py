"""What one case tells when it is read, whether or not anyone knows what its mask means."""

from __future__ import annotations

import hashlib
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from flexseg.config.findings import amount
from flexseg.dataset.cases import Case, case_mask
from flexseg.dataset.labels import LabelMap
from flexseg.dataset.marks.areas import (
    alike_neighbours,
    as_numbers,
    between_neighbours,
    numbered_values,
    unenlarged,
)
from flexseg.dataset.parallel import Progress, in_threads
from flexseg.dataset.quality.duplicates import AnyHash, image_hash
from flexseg.dataset.quality.hash_file import HashFile
from flexseg.errors import DataError, FlexsegError
from flexseg.execution.shared import in_workers, open_workers
from flexseg.files.images import MaskPixels, read_image
from flexseg.files.resizing import check_same_aspect

# Values kept per mask: blended edges and compression make up thousands, each of few pixels.
_MAX_ENTRIES = 512
# Masks of so few values have no shades between them.
_FEW = 3
# Neighbours in a compressed mask that differ by less are of one area.
_NEARLY_ALIKE = 16
_SAMPLE = 1024
# Cases of which samples of values are kept.
_SAMPLED = 4096
_TOP_UNKNOWN = 40
_SMALL = np.dtype(np.int32)
# Nobody writes to it; it is no proxy, because looks come from other processes.
_NONE: Mapping[Any, int] = {}

Shared = TypeVar("Shared")


@dataclass(frozen=True, slots=True)
class MaskLook:
    """The values or colours of a mask, and how they lie.

    Attributes
    ----------
    entries : each value or colour once, stored as in the mask: [1, n], [1, n, 3], or class
        scores [1, n, C].
    packed : the four numbers of each entry, see `packed_counts`.
    shape : height and width.
    pixels : [n] how often each occurs.
    core : [n] how many of these have only their like above, below, left and right; in files that
        blur values, what is nearly alike. Shades of blended edges hardly have any. -1 where an
        entry stands for several rare ones like it.
    between : [n] how many lie next to a darker and to a brighter pixel, as shades of edges do;
        of indices and class scores none.
    border : [n] how many lie at the edge of the mask.
    """

    entries: MaskPixels
    packed: bytes
    shape: tuple[int, int]

    @property
    def counts(self) -> NDArray[np.int64]:
        """[4, n]: `pixels`, `core`, `between` and `border`."""
        entries = self.entries.pixels.shape[1]
        small = len(self.packed) == 4 * entries * _SMALL.itemsize
        packed = np.frombuffer(self.packed, _SMALL if small else np.int64)
        return packed.astype(np.int64).reshape(4, entries)

    @property
    def pixels(self) -> NDArray[np.int64]:
        return self.counts[0]

    @property
    def core(self) -> NDArray[np.int64]:
        return self.counts[1]

    @property
    def between(self) -> NDArray[np.int64]:
        return self.counts[2]

    @property
    def border(self) -> NDArray[np.int64]:
        return self.counts[3]

    def keys(self, *, resolve: bool = True) -> tuple[NDArray[np.int64], bool]:
        """The entries as grey values, or as colours 0xRRGGBB (True) where one of them has a hue.

        Of class scores the best class counts.

        Parameters
        ----------
        resolve : a palette gives its colours, else the indices count.
        """
        pixels, palette = self.entries.pixels, self.entries.palette
        if self.entries.one_hot:
            pixels = pixels.argmax(axis=-1)
        if palette is not None and resolve:
            pixels = palette[np.minimum(pixels, len(palette) - 1)]
        if pixels.ndim == 2:
            return np.rint(pixels[0]).astype(np.int64), False
        rgb = pixels[0].astype(np.int64)
        if (rgb == rgb[:, :1]).all():
            return rgb[:, 0], False
        return rgb @ (65536, 256, 1), True


def packed_counts(counts: Sequence[NDArray[np.integer]] | NDArray[np.integer]) -> bytes:
    """Numbers [4, n] as a mask's look keeps them: an array takes more for itself than for a few.

    They have 4 bytes each, or 8 where one of them needs it.
    """
    numbers = np.asarray(counts, np.int64)
    small = numbers.max(initial=0) <= np.iinfo(_SMALL).max
    return numbers.astype(_SMALL if small else np.int64).tobytes()


@dataclass(slots=True)
class Look:
    """What reading one case told.

    Attributes
    ----------
    size : height and width of the image.
    channels, dtype : of the image as stored.
    mode, mask_mode : how image and mask are stored, in words.
    values : lowest and highest value of the image.
    constant : all its pixels are equal.
    gray : its channels are all equal.
    digest : of the image's pixels; empty where they are all equal, as in the empty slices of many
        volumes, which are no copies of each other.
    image_hash : its number in a `HashFile`, to find near copies, if that was asked for.
    lossy : the mask blurs values, see `flexseg.files.images.is_lossy`.
    other_resolution : the mask has another size than the image.
    mask : None if it could not be read.
    sample : some values of an image that has more than 8 bits, evenly spread; of many cases only
        some have it.
    marked : those of them that the mask marks.
    class_pixels : of the mask by class id; empty as long as the classes are unknown.
    ignored_pixels : of the mask, that count in nothing.
    marked_border : share of the outermost pixels of the mask that are in a class, if the classes
        are known.
    unknown : colours or values of the mask that are in no class, the most frequent ones, with
        their pixels.
    unknown_pixels : of all that is in no class.
    problems : why the case cannot be used.
    """

    case: Case
    size: tuple[int, int] | None = None
    channels: int = 0
    dtype: str = ""
    mode: str = ""
    mask_mode: str = ""
    values: tuple[float, float] = (0.0, 255.0)
    constant: bool = False
    gray: bool = False
    digest: bytes = b""
    image_hash: int | None = None
    lossy: bool = False
    other_resolution: bool = False
    mask: MaskLook | None = None
    sample: NDArray[np.float32] | None = None
    marked: NDArray[np.float32] | None = None
    class_pixels: tuple[int, ...] = ()
    ignored_pixels: int = 0
    marked_border: float = 0.0
    unknown: Mapping[Any, int] = field(default_factory=lambda: _NONE)
    unknown_pixels: int = 0
    problems: tuple[FlexsegError, ...] = ()


def read_cases(
    cases: Sequence[Case],
    on_case: Progress | None = None,
    look: Callable[..., Look] | None = None,
    hashes: HashFile | None = None,
) -> list[Look]:
    """Read all cases, in order, by threads or the workers of the command; what is wrong is noted.

    Parameters
    ----------
    look : another way to look than `look_at`, called with a case; pickled where workers do it.
    hashes : gets those of the images, to find near copies; `look` gets `hashes`, too, then.
    """
    sharing = open_workers()
    seeing = partial(_looked, look or look_at, hashes is not None)
    found = in_threads(seeing, cases) if sharing is None else in_workers(seeing, cases, sharing)
    looks: list[Look] = []
    apart = -(-len(cases) // _SAMPLED)
    with closing(found):
        for case, result in zip(cases, found, strict=True):
            image_hash = None
            if isinstance(result, DataError):  # the case has ended its workers
                one = Look(case, problems=(result,))
            else:
                one, image_hash = result
            if sharing is not None:
                one = _economical(one, case)
            if image_hash is not None and hashes is not None:
                one.image_hash = hashes.add(image_hash)
            if len(looks) % apart:
                one.sample = one.marked = None
            looks.append(one)
            if on_case is not None:
                on_case(len(looks), len(cases))
    return looks


class OneHash:
    """Keeps the hash of one image, as a `HashFile` keeps those of many."""

    found: AnyHash | None = None

    def add(self, found: AnyHash) -> int:
        self.found = found
        return 0


def _looked(look: Callable[..., Look], hashed: bool, case: Case) -> tuple[Look, AnyHash | None]:
    if not hashed:
        return look(case), None
    kept = OneHash()
    return look(case, hashes=kept), kept.found


def _economical(look: Look, case: Case) -> Look:
    """A look from another process, with what it has in common with others."""
    mask = look.mask
    return replace(
        look,
        case=case,
        size=_shared("size", look.size),
        values=_shared("values", look.values),
        marked_border=_shared("border", look.marked_border),
        dtype=sys.intern(look.dtype),
        mode=sys.intern(look.mode),
        mask_mode=sys.intern(look.mask_mode),
        unknown=look.unknown or _NONE,
        mask=mask and MaskLook(_once(mask.entries), mask.packed, _shared("size", mask.shape)),
    )


def look_at(
    case: Case,
    labels: LabelMap | None = None,
    *,
    hashes: HashFile | OneHash | None = None,
    require: Callable[[Case, NDArray], None] | None = None,
) -> Look:
    """Read image and mask of one case.

    Parameters
    ----------
    labels : the classes, if they are known: then the mask is encoded by them.
    hashes : gets that of the image, to find near copies.
    require : raises a FlexsegError for an image [H, W, C] that cannot be used.
    """
    look = Look(case)
    image = None
    try:
        image = read_image(case.image)
        _note_image(look, image)
        if require is not None:
            require(case, image)
    except FlexsegError as error:
        look.problems = (error,)
    if hashes is not None and image is not None and not look.constant:
        found = image_hash(image)
        look.image_hash = None if found is None else hashes.add(found)
    try:
        mask = case_mask(case)
        _note_mask(look, mask, labels)
        if look.size is not None:
            look.other_resolution = mask.pixels.shape[:2] != look.size
            check_same_aspect(mask.pixels.shape[:2], look.size, case.mask)
        if image is not None and image.dtype != np.uint8:
            look.sample, look.marked = _samples(image, mask.pixels)
    except FlexsegError as error:
        look.problems = (*look.problems, error)
    return look


def _note_image(look: Look, image: NDArray) -> None:
    look.size = _shared("size", (image.shape[0], image.shape[1]))
    look.channels, look.dtype = image.shape[2], sys.intern(str(image.dtype))
    look.mode = sys.intern(f"{look.channels} x {look.dtype}")
    look.values = _shared("values", (float(image.min()), float(image.max())))
    look.constant = look.values[0] == look.values[1]
    look.gray = bool((image == image[..., :1]).all())
    if not look.constant:
        look.digest = _digest(image)


def _note_mask(look: Look, mask: MaskPixels, labels: LabelMap | None) -> None:
    look.mask_mode, look.lossy = sys.intern(mask.mode), mask.lossy
    look.mask = look_at_mask(mask)
    if labels is None:
        return
    encoded = labels.encode(mask, str(look.case.mask))
    look.class_pixels = tuple(labels.count(encoded.labels).tolist())
    look.ignored_pixels = encoded.labels.size - sum(look.class_pixels)
    look.marked_border = _shared("border", _marked_share(_edge(encoded.labels), labels))
    look.unknown_pixels = sum(encoded.unknown.values())
    if encoded.unknown:
        look.unknown = dict(Counter(encoded.unknown).most_common(_TOP_UNKNOWN))


@lru_cache(maxsize=4096)
def _shared(kind: str, value: Shared) -> Shared:
    """The first of equal values of a kind, so that many looks keep one."""
    return value


def _digest(image: NDArray) -> bytes:
    digest = hashlib.blake2b(str(image.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(image).data)
    return digest.digest()


def look_at_mask(mask: MaskPixels) -> MaskLook:
    """The values or colours of a mask as it is stored."""
    pixels: NDArray = mask.pixels
    channels = 0
    if mask.one_hot:
        channels = pixels.shape[-1]
        pixels = pixels.argmax(axis=-1)
    elif pixels.dtype == bool:
        pixels = pixels.astype(np.uint8)
    weights = None
    if not mask.lossy and mask.palette is None and not mask.one_hot:
        pixels, weights = unenlarged(pixels)
    alike = alike_neighbours(pixels, _NEARLY_ALIKE if mask.lossy else 0)
    pixels, brightness = as_numbers(pixels)
    found, numbers, counts = numbered_values(pixels)

    def counted(chosen: NDArray[np.bool_] | None = None) -> NDArray[np.intp]:
        """How many pixels of each value, of all or of some."""
        where = np.s_[:] if chosen is None else chosen.ravel()
        own = None if weights is None else weights.ravel()[where]
        return np.bincount(numbers[where], own, len(found)).astype(np.intp)

    counts = counts if weights is None else counted()
    core = counted(alike)
    between = np.zeros(len(found), np.intp)
    if len(found) > _FEW and mask.palette is None and not mask.one_hot:
        between = counted(between_neighbours(brightness))
    border = np.bincount(_edge(numbers.reshape(alike.shape)), minlength=len(found))
    if len(found) > _MAX_ENTRIES:
        found, counts, core, between, border = _shortened(
            found, counts, core, between, border, mask.pixels.ndim == 3
        )
    entries: NDArray = found[None]
    if mask.one_hot:
        entries = np.eye(channels, dtype=np.float32)[found][None]
    elif mask.pixels.ndim == 3:
        entries = np.stack([found >> 16, found >> 8 & 255, found & 255], -1).astype(np.uint8)[None]
    once = _once(replace(mask, pixels=entries, ignored=None))
    shape = _shared("size", (mask.pixels.shape[0], mask.pixels.shape[1]))
    return MaskLook(once, packed_counts((counts, core, between, border)), shape)


def _once(entries: MaskPixels) -> MaskPixels:
    """The first of equal entries."""
    return _shared_entries(
        _Array.of(entries.pixels),
        None if entries.palette is None else _Array.of(entries.palette),
        (entries.lossy, entries.one_hot, entries.mode),
    )


class _Array(NamedTuple):
    """An array as something that can be looked up."""

    content: bytes
    dtype: str
    shape: tuple[int, ...]

    @classmethod
    def of(cls, array: NDArray) -> _Array:
        return cls(array.tobytes(), array.dtype.str, array.shape)

    @property
    def array(self) -> NDArray:
        return np.frombuffer(self.content, self.dtype).reshape(self.shape)


@lru_cache(maxsize=1024)
def _shared_entries(
    pixels: _Array, palette: _Array | None, kind: tuple[bool, bool, str]
) -> MaskPixels:
    """The entries of masks that have the same ones: one for many looks."""
    lossy, one_hot, mode = kind
    colors = None if palette is None else palette.array
    return MaskPixels(pixels.array, colors, lossy, one_hot, mode)


def _edge(pixels: NDArray[Any]) -> NDArray[Any]:
    """The outermost pixels of [H, W]."""
    return np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])


def _marked_share(
    ids: NDArray[np.integer], labels: LabelMap, pixels: NDArray[np.int64] | None = None
) -> float:
    """The share of some pixels that is in a class.

    Parameters
    ----------
    ids : of classes.
    pixels : that each stands for; None: one.
    """
    weights = np.ones(ids.shape, np.int64) if pixels is None else pixels
    marked = (ids > 0) & (ids < len(labels.classes))
    return float(weights[marked].sum() / max(weights.sum(), 1))


def _shortened(
    found: NDArray,
    counts: NDArray[np.intp],
    core: NDArray[np.intp],
    between: NDArray[np.intp],
    border: NDArray[np.intp],
    packed: bool,
) -> tuple[NDArray, NDArray[np.intp], NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """The most frequent entries, and the others put together with what is like them."""
    order = np.argsort(-(counts + core), kind="stable")
    kept, rest = np.sort(order[:_MAX_ENTRIES]), np.sort(order[_MAX_ENTRIES:])
    if packed:  # 16 levels of each channel, by their middle
        bins = (found[rest] & 0xF0F0F0) | 0x080808
    else:  # in the order of the values, by the first one
        bins = found[rest[np.arange(len(rest)) // 16 * 16]]
    values, which = np.unique(bins, return_inverse=True)
    pixels, inner, outer = (
        np.bincount(which, of[rest], len(values)).astype(of.dtype)
        for of in (counts, between, border)
    )
    return (
        np.concatenate([found[kept], values]),
        np.concatenate([counts[kept], pixels]),
        np.concatenate([core[kept], np.full(len(values), -1, core.dtype)]),
        np.concatenate([between[kept], inner]),
        np.concatenate([border[kept], outer]),
    )


def _samples(image: NDArray, mask: NDArray) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Values [n] of some pixels, and of those among them whose mask is not 0."""
    flat = image.reshape(-1, image.shape[2])
    step = max(1, len(flat) // _SAMPLE)
    sample = flat[::step].astype(np.float32)
    if mask.shape[:2] != image.shape[:2]:
        return sample.ravel(), sample[:0].ravel()
    marks = mask.reshape(len(flat), -1).any(axis=1)
    inside = np.flatnonzero(marks)
    chosen = inside[:: max(1, len(inside) // _SAMPLE)]
    return sample.ravel(), flat[chosen].astype(np.float32).ravel()


def judge_images(looks: Sequence[Look]) -> tuple[int, bool, dict[Path, str]]:
    """The channels that a network for these images has, and the images that it cannot take.

    Gray and coloured images may be mixed: gray ones count as coloured. Otherwise the most
    frequent number of channels decides.

    Returns
    -------
    channels : of the network.
    gray : all channels of all images are equal.
    bad : image -> what is wrong with it or its mask, files by name.
    """
    bad = {}
    for look in looks:
        if look.problems:
            error = look.problems[0]
            file = Path(error.where or look.case.image).name
            bad[look.case.image] = f"{file}: {error.problem.rstrip('.')}"
    good = [look for look in looks if look.case.image not in bad]
    counts = Counter(look.channels for look in good)
    most = counts.most_common(1)[0][0] if counts else 1
    fitting = {1, 3} if most in (1, 3) else {most}
    for look in good:
        if look.channels not in fitting:
            bad[look.case.image] = (
                f"{look.case.image.name}: it has {amount(look.channels, 'channel')}, while most "
                f"images have {most}"
            )
    kept = [look for look in good if look.channels in fitting]
    channels = 3 if most in (1, 3) and any(k.channels == 3 for k in kept) else most
    return channels, bool(kept) and all(look.gray for look in kept), bad


def count_classes(looks: Sequence[Look], labels: LabelMap) -> None:
    """Note the pixels of each class in the looks, as training would count them."""
    for look in looks:
        if look.mask is None:
            continue
        ids = labels.encode(look.mask.entries, str(look.case.mask)).labels[0]
        counts = np.bincount(ids, look.mask.pixels, len(labels.classes)).astype(int).tolist()
        look.class_pixels = tuple(counts[: len(labels.classes)])
        look.ignored_pixels = sum(counts[len(labels.classes) :])
        look.marked_border = _shared("border", _marked_share(ids, labels, look.mask.border))


def suggested_window(looks: Sequence[Look]) -> tuple[float, float] | None:
    """Values that become black and white, for images of more than 8 bits only.

    From the 0.5th to the 99.5th percentile of all pixels, or of those that masks mark, whichever
    is wider: what is to be found must not be cut off. None where 8-bit images are among them.
    """
    samples = [look.sample for look in looks if look.sample is not None]
    if not samples or any(look.dtype in ("", "uint8") for look in looks):
        return None
    marked = [look.marked for look in looks if look.marked is not None and look.marked.size]
    ends = [np.percentile(np.concatenate(part), (0.5, 99.5)) for part in (samples, marked) if part]
    low, high = float(min(e[0] for e in ends)), float(max(e[1] for e in ends))
    if low >= high:
        low = min(look.values[0] for look in looks)
        high = max(look.values[1] for look in looks)
    if all("int" in look.dtype for look in looks):
        low, high = float(np.floor(low)), float(np.ceil(high))
    else:
        low, high = float(f"{low:.4g}"), float(f"{high:.4g}")
    return (low, high) if low < high else None
