"""Near duplicates: copies of an image that are flipped, rotated, resized or mildly warped.

Every image leaves a small hash when it is read. Pairs are then compared in three steps,
each slower and surer than the one before:

1. The magnitudes of the angular Fourier coefficients on circles around the image's centre do not
   change when it is rotated or mirrored; a matrix product finds the most similar images.
2. The full coefficients give, by one inverse transform, the correlation at every angle, mirrored
   or not, at some ratios of scale. That says how a copy lies.
3. The copy is laid on the other image, optical flow takes out mild warps, and local contrasts at
   two scales must agree. Different images of the same kind (slices of two patients, fields of
   one microscope) look alike in the large but not in their details.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.float32]

_SIZE = 128  # side of the thumbnail
_SCALES = (1.0, 0.9, 0.8)
_SCALE_PAIRS = ((0, 0), (0, 1), (1, 0), (0, 2), (2, 0))
_CIRCLES = 16
_WAVES = 16  # angular frequencies kept
_ANGLES = 64
_REACH = 0.485  # radius of the largest circle, as a share of the side
_CENTER = (_SIZE - 1) / 2

_CANDIDATES = 64  # per image, from step 1
_VERIFIED = 3  # per image, in step 3; more where these are copies
_MIN_CORRELATION = 0.4
_FLOW_SIGMA = 3.0
_HOPELESS = 0.4  # what no finer alignment will make a copy of
SIMILAR = 0.78  # benchmarks/leakage_audit.py measures what this finds and what it spares


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
    """How the second image lies on the first: an entry of `_SCALE_PAIRS`, mirrored, radians."""

    correlation: float
    scales: tuple[int, int]
    flipped: bool
    angle: float


def image_hash(image: NDArray) -> ImageHash | None:
    """The hash of an image [H, W, C] of any type; None if it shows nothing."""
    thumbnail = _thumbnail(image)
    contrast = _local_contrast(thumbnail.astype(np.float32), 2.0, 12.0, noise=1.0, relative=1.0)
    rings = [cv2.remap(contrast, *_circles(scale), cv2.INTER_LINEAR) for scale in _SCALES]
    radii = _radii()
    spectrum = np.empty((len(_SCALES), _CIRCLES, _WAVES), np.complex64)
    for i, ring in enumerate(rings):
        centered = ring - np.average(ring.mean(axis=1), weights=radii)
        waves = np.fft.rfft(centered, axis=1)[:, :_WAVES] * np.sqrt(radii)[:, None]
        waves[:, 0] *= 0.5  # how bright each circle is: much the same in all scans of an organ
        length = math.sqrt(float((np.abs(waves) ** 2 * _wave_weights()).sum()))
        if length < 1e-3:
            return None
        spectrum[i] = waves / length
    return ImageHash(thumbnail, spectrum)


def find_near_duplicates(
    hashes: Sequence[ImageHash],
    parts: Sequence[int],
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
    names = sorted(set(numbers.tolist()))
    found: list[NearDuplicate] = []
    cluster = list(range(len(hashes)))

    def known(first: int, second: int) -> bool:
        linked = cluster[first] == cluster[second]
        return linked or (skip is not None and skip(first, second))

    for position, earlier in enumerate(names):
        for later in names[position + 1 :]:
            sides = np.flatnonzero(numbers == earlier), np.flatnonzero(numbers == later)
            # Each image of the smaller part is looked up in the larger one.
            queries, others = sorted(sides, key=len)
            found += _compare(hashes, queries, others, known)
            cluster[:] = _clusters(len(hashes), found)
    return sorted(found, key=lambda pair: (-pair.similarity, pair.first, pair.second))


def _clusters(count: int, pairs: list[NearDuplicate]) -> list[int]:
    """A number for each image, the same where pairs link them."""
    number = list(range(count))

    def root(index: int) -> int:
        while number[index] != index:
            number[index] = number[number[index]]
            index = number[index]
        return index

    for pair in pairs:
        first, second = sorted((root(pair.first), root(pair.second)))
        number[second] = first
    return [root(index) for index in range(count)]


def _compare(
    hashes: Sequence[ImageHash],
    queries: NDArray[np.intp],
    others: NDArray[np.intp],
    skip: Callable[[int, int], bool],
) -> list[NearDuplicate]:
    nearest = _nearest(hashes, queries, others)

    def look_up(row: int) -> list[NearDuplicate]:
        query = int(queries[row])
        candidates = []
        for index in others[nearest[row]].tolist():
            first, second = sorted((query, index))
            if not skip(first, second):
                candidates.append(index)
        return _look_up(hashes, query, candidates)

    with ThreadPoolExecutor() as pool:
        return [pair for pairs in pool.map(look_up, range(len(queries))) for pair in pairs]


def _nearest(
    hashes: Sequence[ImageHash], queries: NDArray[np.intp], others: NDArray[np.intp]
) -> NDArray[np.intp]:
    """For each query the positions in `others` of the most similar magnitudes, [q, <= 64]."""
    keep = min(_CANDIDATES, len(others))
    if keep == len(others):
        return np.tile(np.arange(keep), (len(queries), 1))
    known = [_magnitudes(hashes, others, scale) for scale in range(len(_SCALES))]
    mean = known[0].mean(axis=0)
    known = [_unit(values - mean) for values in known]
    result = np.empty((len(queries), keep), np.intp)
    for start in range(0, len(queries), 256):
        block = queries[start : start + 256]
        asked = [_unit(_magnitudes(hashes, block, scale) - mean) for scale in range(len(_SCALES))]
        score = np.maximum.reduce([asked[i] @ known[j].T for i, j in _SCALE_PAIRS])
        result[start : start + 256] = np.argpartition(-score, keep - 1, axis=1)[:, :keep]
    return result


def _magnitudes(hashes: Sequence[ImageHash], indices: NDArray[np.intp], scale: int) -> Pixels:
    spectra = np.stack([hashes[i].spectrum[scale] for i in indices.tolist()])
    weighted = np.abs(spectra) * np.sqrt(_wave_weights())
    return weighted.reshape(len(indices), -1).astype(np.float32)


def _unit(rows: Pixels) -> Pixels:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)


def _look_up(hashes: Sequence[ImageHash], query: int, candidates: list[int]) -> list[NearDuplicate]:
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


def _poses(query: ImageHash, others: list[ImageHash]) -> list[_Pose]:
    """The best alignment of each of some images with the query."""
    spectra = np.stack([other.spectrum for other in others])
    back = _inverse_transform()
    correlations = []
    for i, j in _SCALE_PAIRS:
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
            _Pose(float(values[row, position]), _SCALE_PAIRS[scales], bool(flipped), radians)
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
    own = _REACH * _SIZE * _SCALES[pose.scales[0]]
    other = _REACH * _SIZE * _SCALES[pose.scales[1]]
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
    ratio = _SCALES[pose.scales[1]] / _SCALES[pose.scales[0]]
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
    return ((np.arange(_CIRCLES) + 0.5) / _CIRCLES * _REACH * _SIZE).astype(np.float32)


@cache
def _circles(scale: float) -> tuple[Pixels, Pixels]:
    """Columns and rows of the points on the circles, [circles, angles]."""
    angles = 2 * np.pi * np.arange(_ANGLES) / _ANGLES
    radii = scale * _radii()[:, None]
    x, y = _CENTER + radii * np.cos(angles), _CENTER + radii * np.sin(angles)
    return x.astype(np.float32), y.astype(np.float32)


@cache
def _wave_weights() -> Pixels:
    """How often each frequency of a real signal counts: the negative ones are not stored."""
    return np.where(np.arange(_WAVES) == 0, 1, 2).astype(np.float32)


@cache
def _inverse_transform() -> Pixels:
    """[2 * waves, angles]: real and imaginary parts to the correlation at each angle."""
    waves = np.outer(np.arange(_WAVES), 2 * np.pi * np.arange(_ANGLES) / _ANGLES)
    weights = _wave_weights()[:, None]
    return np.concatenate([np.cos(waves) * weights, -np.sin(waves) * weights]).astype(np.float32)
