"""Near duplicates: copies of an image that are flipped, rotated, resized or mildly warped.

Every image leaves a small hash when it is read. Pairs are then compared in three steps,
each slower and surer than the one before:

1. The magnitudes of the angular Fourier coefficients on circles around the image's centre do not
   change when it is rotated or mirrored; `flexseg.dataset.quality.nearest` finds the images of the
   most similar ones.
2. The full coefficients give, by one inverse transform, the correlation at every angle, mirrored
   or not, at some ratios of scale. That says how a copy lies.
3. The copy is laid on the other image, optical flow takes out mild warps, and local contrasts at
   two scales must agree. Different images of the same kind (slices of two patients, fields of
   one microscope) look alike in the large but not in their details.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from flexseg.dataset.parallel import in_threads
from flexseg.dataset.quality.nearest import (
    CIRCLES,
    SCALE_PAIRS,
    SCALES,
    WAVES,
    nearest,
    wave_weights,
)

Pixels = NDArray[np.float32]

_SIZE = 128  # side of the thumbnail
_ANGLES = 64
_REACH = 0.485  # radius of the largest circle, as a share of the side
_CENTER = (_SIZE - 1) / 2

_VERIFIED = 3  # per image, in step 3; more where these are copies
_MIN_CORRELATION = 0.4
_FLOW_SIGMA = 3.0
_HOPELESS = 0.4  # what no finer alignment will make a copy of
SIMILAR = 0.78  # benchmarks/leakage_audit.py measures what this finds and what it spares


class AnyHash(Protocol):
    """What is kept of an image, wherever: see `ImageHash`."""

    @property
    def thumbnail(self) -> NDArray[np.uint8]: ...
    @property
    def spectrum(self) -> NDArray[np.complex64]: ...


class Hashes(Protocol):
    """A list of hashes, or what reads each as it is asked for."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> AnyHash: ...


@dataclass(frozen=True)
class ImageHash:
    """What is kept of an image to compare it: 22 KB.

    Attributes
    ----------
    thumbnail : [128, 128] uint8, grey, squeezed to a square as the networks' input is.
    spectrum : [scales, circles, waves] complex64, unit length per scale.
    """

    thumbnail: NDArray[np.uint8]
    spectrum: NDArray[np.complex64]


# As one record of bytes.
HASH_TYPE = np.dtype([
    ("thumbnail", np.uint8, (_SIZE, _SIZE)),
    ("spectrum", np.complex64, (len(SCALES), CIRCLES, WAVES)),
])  # fmt: skip


@dataclass(frozen=True)
class NearDuplicate:
    """Two images that show the same.

    Attributes
    ----------
    first, second : their indices, the first in the earlier part.
    similarity : agreement of local contrasts after alignment, 0 to 1.
    flipped : one is mirrored.
    angle : degrees in 0..180 by which it is rotated, to about 6.
    """

    first: int
    second: int
    similarity: float
    flipped: bool
    angle: float


@dataclass(frozen=True)
class _Contrasts:
    """Local contrasts of a thumbnail, [128, 128]: uint8 for the optical flow, and at two scales."""

    broad: NDArray[np.uint8]
    coarse: Pixels
    fine: Pixels


@dataclass(frozen=True)
class _Pose:
    """How the second image lies on the first: an entry of `SCALE_PAIRS`, mirrored, radians."""

    correlation: float
    scales: tuple[int, int]
    flipped: bool
    angle: float


def image_hash(image: NDArray) -> ImageHash | None:
    """The hash of an image [H, W, C] of any type; None if it shows nothing."""
    thumbnail = _thumbnail(image)
    contrast = _local_contrast(thumbnail.astype(np.float32), 2.0, 12.0, noise=1.0, relative=1.0)
    rings = [cv2.remap(contrast, *_circles(scale), cv2.INTER_LINEAR) for scale in SCALES]
    radii = _radii()
    spectrum = np.empty((len(SCALES), CIRCLES, WAVES), np.complex64)
    for i, ring in enumerate(rings):
        centered = ring - np.average(ring.mean(axis=1), weights=radii)
        waves = np.fft.rfft(centered, axis=1)[:, :WAVES] * np.sqrt(radii)[:, None]
        waves[:, 0] *= 0.5  # how bright each circle is: much the same in all scans of an organ
        length = math.sqrt(float((np.abs(waves) ** 2 * wave_weights()).sum()))
        if length < 1e-3:
            return None
        spectrum[i] = waves / length
    return ImageHash(thumbnail, spectrum)


def find_near_duplicates(
    hashes: Hashes,
    parts: Sequence[int] | NDArray[np.integer],
    *,
    skip: Callable[[int, int], bool] | None = None,
) -> list[NearDuplicate]:
    """Pairs of images from different parts that show the same, the most similar first.

    Two images that are paired with a third one are not paired with each other too.

    Parameters
    ----------
    hashes : one per image.
    parts : number of the part (split) that each image is in.
    skip : (first, second) -> whether this pair is of no interest.
    """
    numbers = np.asarray(parts)
    names = np.unique(numbers).tolist()
    found: list[NearDuplicate] = []
    cluster = np.arange(len(hashes))

    def known(first: int, second: int) -> bool:
        linked = bool(cluster[first] == cluster[second])
        return linked or (skip is not None and skip(first, second))

    for position, earlier in enumerate(names):
        for later in names[position + 1 :]:
            sides = np.flatnonzero(numbers == earlier), np.flatnonzero(numbers == later)
            # Each image of the smaller part is looked up in the larger one.
            queries, others = sorted(sides, key=len)
            found += _compare(hashes, queries, others, known)
            _link(cluster, found)
    return sorted(found, key=lambda pair: (-pair.similarity, pair.first, pair.second))


def _link(number: NDArray[np.intp], pairs: list[NearDuplicate]) -> None:
    """Give images that pairs link the same number."""

    def root(index: int) -> int:
        while number[index] != index:
            number[index] = number[number[index]]
            index = int(number[index])
        return index

    for pair in pairs:
        first, second = sorted((root(pair.first), root(pair.second)))
        number[second] = first
    for pair in pairs:
        for index in (pair.first, pair.second):
            number[index] = root(index)


def _compare(
    hashes: Hashes,
    queries: NDArray[np.intp],
    others: NDArray[np.intp],
    skip: Callable[[int, int], bool],
) -> list[NearDuplicate]:
    def look_up(row: tuple[int, NDArray[np.intp]]) -> list[NearDuplicate]:
        query, near = row
        candidates = [i for i in near.tolist() if not skip(min(query, i), max(query, i))]
        return _look_up(hashes, query, candidates)

    def spectra(indices: NDArray[np.intp], scale: int) -> NDArray[np.complex64]:
        return np.stack([hashes[i].spectrum[scale] for i in indices.tolist()])

    rows = nearest(spectra, queries, others)
    return [pair for pairs in in_threads(look_up, rows) for pair in pairs]


def _look_up(hashes: Hashes, query: int, candidates: list[int]) -> list[NearDuplicate]:
    """Verify candidates from the best on, as long as at least half of them are copies."""
    if not candidates:
        return []
    poses = _poses(hashes[query], [hashes[i] for i in candidates])
    order = sorted(range(len(candidates)), key=lambda i: -poses[i].correlation)
    asked = _contrasts(hashes[query].thumbnail)
    found: list[NearDuplicate] = []
    start, count = 0, _VERIFIED
    while start < len(order):
        hits = 0
        for i in order[start : start + count]:
            if poses[i].correlation < _MIN_CORRELATION:
                return found
            other = _contrasts(hashes[candidates[i]].thumbnail)
            similarity = _similarity(asked, other, poses[i])
            if similarity >= SIMILAR:
                hits += 1
                first, second = sorted((query, candidates[i]))
                turned = abs(math.remainder(math.degrees(poses[i].angle), 360))
                found.append(NearDuplicate(first, second, similarity, poses[i].flipped, turned))
        if 2 * hits < count:
            return found
        start, count = start + count, 2 * count
    return found


def _poses(query: AnyHash, others: list[AnyHash]) -> list[_Pose]:
    """The best alignment of each of some images with the query."""
    spectra = np.stack([other.spectrum for other in others])
    back = _inverse_transform()
    correlations = []
    for i, j in SCALE_PAIRS:
        asked, known = query.spectrum[i], spectra[:, j]
        for partner in (known.conj(), known):  # as it is; mirrored
            product = (asked * partner).sum(axis=1)
            both = np.concatenate([product.real, product.imag], axis=1)
            correlations.append(both @ back)
    values = np.stack(correlations, axis=1).reshape(len(others), -1)
    best = values.argmax(axis=1)
    poses = []
    for row, position in enumerate(best.tolist()):
        setting, angle = divmod(position, _ANGLES)
        scales, flipped = divmod(setting, 2)
        radians = 2 * math.pi * angle / _ANGLES
        poses.append(
            _Pose(float(values[row, position]), SCALE_PAIRS[scales], bool(flipped), radians)
        )
    return poses


def _contrasts(thumbnail: NDArray[np.uint8]) -> _Contrasts:
    pixels = thumbnail.astype(np.float32)
    broad = _local_contrast(pixels, 1.5, 12.0, noise=4.0)
    return _Contrasts(
        np.clip(broad * 48 + 128, 0, 255).astype(np.uint8),
        _local_contrast(pixels, 1.0, 6.0, noise=4.0),
        _local_contrast(pixels, 0.6, 2.5, noise=2.0),
    )


def _similarity(first: _Contrasts, second: _Contrasts, pose: _Pose) -> float:
    """Agreement of the details of two images after alignment, -1 to 1."""
    quick = _agreement(first, second, pose, cv2.DISOPTICAL_FLOW_PRESET_FAST)
    if not _HOPELESS < quick < SIMILAR:
        return quick
    return max(quick, _agreement(first, second, pose, cv2.DISOPTICAL_FLOW_PRESET_MEDIUM))


def _agreement(first: _Contrasts, second: _Contrasts, pose: _Pose, preset: int) -> float:
    columns, rows = _grid()
    x, y = _partner(columns, rows, pose)
    moved = cv2.remap(second.broad, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    # One per call: it keeps its buffers, and calls run side by side.
    estimator = cv2.DISOpticalFlow.create(preset)
    # Without its fine structure, which could make anything out of anything.
    flow = _blur(estimator.calc(first.broad, moved, None), _FLOW_SIGMA)
    x, y = _partner(columns + flow[..., 0], rows + flow[..., 1], pose)
    # Beyond the shrunk image lies what the augmenter filled in.
    own = _REACH * _SIZE * SCALES[pose.scales[0]]
    other = _REACH * _SIZE * SCALES[pose.scales[1]]
    valid = np.maximum(np.abs(columns - _CENTER), np.abs(rows - _CENTER)) < own
    valid &= np.maximum(np.abs(x - _CENTER), np.abs(y - _CENTER)) < other
    coarse, fine = (
        _correlation(a[valid], cv2.remap(b, x, y, cv2.INTER_LINEAR)[valid])
        for a, b in ((first.coarse, second.coarse), (first.fine, second.fine))
    )
    # The finer scale counts twice: it is what two images of one kind do not share.
    return (coarse + 2 * fine) / 3


def _partner(columns: Pixels, rows: Pixels, pose: _Pose) -> tuple[Pixels, Pixels]:
    """Where points of the first image lie in the second."""
    x, y = columns - np.float32(_CENTER), rows - np.float32(_CENTER)
    ratio = SCALES[pose.scales[1]] / SCALES[pose.scales[0]]
    c, s = ratio * math.cos(pose.angle), ratio * math.sin(pose.angle)
    u = c * x + s * y
    v = s * x - c * y if pose.flipped else c * y - s * x
    return u + np.float32(_CENTER), v + np.float32(_CENTER)


def _thumbnail(image: NDArray) -> NDArray[np.uint8]:
    shrinks = min(image.shape[:2]) >= _SIZE
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    if image.dtype == np.uint8:
        gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if image.shape[2] == 3 else image[..., 0]
        return cv2.resize(np.ascontiguousarray(gray), (_SIZE, _SIZE), interpolation=method)
    channels = image[..., :3].astype(np.float32)
    small = cv2.resize(channels.mean(axis=2), (_SIZE, _SIZE), interpolation=method)
    low, high = np.percentile(small, (0.1, 99.9))
    return np.clip((small - low) * (255 / max(high - low, 1e-20)), 0, 255).astype(np.uint8)


def _local_contrast(
    image: Pixels, low: float, high: float, *, noise: float, relative: float = 0.3
) -> Pixels:
    """What lies between two scales (sigmas in pixels), divided by its local strength.

    `noise` (grey levels) and `relative` (share of the mean strength) keep flat parts flat.
    """
    band = _blur(image, low) - _blur(image, high)
    strength: Pixels = np.sqrt(_blur(band * band, high))
    strength += noise + relative * float(band.std())
    return band / strength


def _blur(image: Pixels, sigma: float) -> Pixels:
    side = 2 * math.ceil(2 * sigma) + 1
    return cv2.GaussianBlur(image, (side, side), sigma)


def _correlation(a: Pixels, b: Pixels) -> float:
    if a.size == 0:
        return 0.0
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).sum() / math.sqrt(float((a * a).sum() * (b * b).sum()) + 1e-9))


@cache
def _grid() -> tuple[Pixels, Pixels]:
    rows, columns = np.indices((_SIZE, _SIZE), dtype=np.float32)
    return columns, rows


@cache
def _radii() -> Pixels:
    return ((np.arange(CIRCLES) + 0.5) / CIRCLES * _REACH * _SIZE).astype(np.float32)


@cache
def _circles(scale: float) -> tuple[Pixels, Pixels]:
    """Columns and rows of the points on the circles, [circles, angles]."""
    angles = 2 * np.pi * np.arange(_ANGLES) / _ANGLES
    radii = scale * _radii()[:, None]
    x, y = _CENTER + radii * np.cos(angles), _CENTER + radii * np.sin(angles)
    return x.astype(np.float32), y.astype(np.float32)


@cache
def _inverse_transform() -> Pixels:
    """[2 * waves, angles]: real and imaginary parts to the correlation at each angle."""
    waves = np.outer(np.arange(WAVES), 2 * np.pi * np.arange(_ANGLES) / _ANGLES)
    weights = wave_weights()[:, None]
    return np.concatenate([np.cos(waves) * weights, -np.sin(waves) * weights]).astype(np.float32)
