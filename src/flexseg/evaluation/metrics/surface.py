"""Distances between the surfaces of two segmentations, in 2-D and 3-D, in units of length.

The surface lies between pixels: around each corner at which pixels meet, the 2 x 2 (3-D:
2 x 2 x 2) pixels that touch it are in or out, and unless all are alike the corner carries an
element of surface, as marching squares and cubes draw it (Lorensen & Cline 1987). Elements
count by their length (3-D: area), so that neither slanted surfaces nor long pixels weigh too
much. This is the definition of Nikolov et al. 2021 (JMIR 23(7):e26151), whose package is
`surface-distance`; the metrics are those of Metrics Reloaded (Maier-Hein et al. 2024).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from flexseg.evaluation.metrics.masks import MaskPair
from flexseg.evaluation.metrics.metric import Metric, register

Corner = tuple[int, ...]


@dataclass(frozen=True)
class SurfaceScores:
    """How far two surfaces are apart.

    Attributes
    ----------
    hd95 : 95th percentile of the Hausdorff distance: the larger one of the two directed
        percentiles.
    assd : average symmetric surface distance: mean over the elements of both surfaces.
    nsd : normalized surface distance (surface Dice): share of both surfaces that lies within
        the tolerance of the other one, 0 to 1.
    """

    hd95: float
    assd: float
    nsd: float


def surface_scores(
    reference: NDArray[np.bool_],
    prediction: NDArray[np.bool_],
    spacing: tuple[float, ...],
    tolerance: float,
) -> SurfaceScores:
    """HD95, ASSD and NSD of two objects.

    Parameters
    ----------
    reference, prediction : [H, W] or [D, H, W]; neither is empty. What lies outside of the
        image counts as background.
    spacing : size of a pixel along each axis.
    tolerance : distance up to which surfaces agree, in the unit of `spacing`.

    Raises
    ------
    ValueError : a mask is empty, or the dimensions do not fit.
    """
    if reference.shape != prediction.shape or reference.ndim != len(spacing):
        raise ValueError(
            f"shapes {reference.shape} and {prediction.shape} with {len(spacing)} spacings"
        )
    positions_r, sizes_r = surface_elements(reference, spacing)
    positions_p, sizes_p = surface_elements(prediction, spacing)
    if not len(sizes_r) or not len(sizes_p):
        raise ValueError("an empty mask has no surface")
    to_prediction = _distances(positions_r, positions_p, spacing)
    to_reference = _distances(positions_p, positions_r, spacing)
    total = float(sizes_r.sum() + sizes_p.sum())
    near = sizes_r[to_prediction <= tolerance].sum() + sizes_p[to_reference <= tolerance].sum()
    return SurfaceScores(
        max(_percentile95(to_prediction, sizes_r), _percentile95(to_reference, sizes_p)),
        float((to_prediction @ sizes_r + to_reference @ sizes_p) / total),
        float(near / total),
    )


def surface_elements(
    mask: NDArray[np.bool_], spacing: tuple[float, ...]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Positions [n, dimensions] of the surface's elements, in pixels, and their sizes [n]."""
    padded = np.pad(mask, 1).astype(np.uint8)
    codes = np.zeros([n + 1 for n in mask.shape], np.uint8)
    for bit, corner in enumerate(_corners(mask.ndim)):
        shifted = tuple(slice(c, c + n + 1) for c, n in zip(corner, mask.shape, strict=True))
        codes |= padded[shifted] << bit
    sizes = element_sizes(spacing)
    where = np.nonzero((codes > 0) & (codes < len(sizes) - 1))
    return np.stack(where, axis=-1), sizes[codes[where]]


def _distances(
    start: NDArray[np.int64], end: NDArray[np.int64], spacing: tuple[float, ...]
) -> NDArray[np.float64]:
    """From each of the positions `start` to the nearest of `end`."""
    # A tree of surface points costs less than a distance map of the image (and a fraction in
    # 3-D). The splits at the middle are the fast ones for points on a grid.
    tree = KDTree(end * spacing, balanced_tree=False, compact_nodes=False)
    _, nearest = tree.query(start * spacing)
    # From whole pixels, so that equal steps have equal lengths wherever they are: a tolerance
    # of 3 pixels holds 3 pixels.
    return np.sqrt((((start - end[nearest]) * np.asarray(spacing)) ** 2).sum(axis=1))


def _percentile95(distances: NDArray[np.float64], sizes: NDArray[np.float64]) -> float:
    """The distance within which 95 % of the surface lie."""
    order = np.lexsort((sizes, distances))
    share = np.cumsum(sizes[order]) / np.sum(sizes[order])
    last = min(int(np.searchsorted(share, 0.95)), len(order) - 1)
    return float(distances[order[last]])


def _corners(dimensions: int) -> list[Corner]:
    """The pixels of a 2 x 2 (x 2) neighbourhood, in the order of the bits of its code."""
    return list(product((0, 1), repeat=dimensions))


@lru_cache(maxsize=64)
def element_sizes(spacing: tuple[float, ...]) -> NDArray[np.float64]:
    """Length (2-D) or area (3-D) of surface by the code of a neighbourhood, [16] or [256].

    The surface cuts each edge between an inner and an outer pixel at its middle. Pixels that
    touch in a corner or edge only have separate surfaces; with more than half of them inside,
    the same holds of the outer ones.
    """
    corners = _corners(len(spacing))
    patch = _contour_length if len(spacing) == 2 else _patch_area
    sizes = np.zeros(2 ** len(corners))
    for code in range(1, len(sizes) - 1):
        inside = [corner for bit, corner in enumerate(corners) if code >> bit & 1]
        if 2 * len(inside) > len(corners):
            inside = [corner for corner in corners if corner not in inside]
        sizes[code] = sum(patch(part, spacing) for part in _connected(inside))
    return sizes


def _connected(corners: list[Corner]) -> list[list[Corner]]:
    """Corners divided into parts that are joined by edges."""
    rest, parts = list(corners), []
    while rest:
        part = [rest.pop()]
        for corner in part:
            joined = [other for other in rest if len(_differing(corner, other)) == 1]
            part += joined
            rest = [other for other in rest if other not in joined]
        parts.append(part)
    return parts


def _differing(one: Corner, other: Corner) -> list[int]:
    return [axis for axis, (a, b) in enumerate(zip(one, other, strict=True)) if a != b]


def _contour_length(part: list[Corner], spacing: tuple[float, ...]) -> float:
    """Length of the contour that parts one pixel, or two neighbours, from the others."""
    if len(part) == 1:
        return math.hypot(*spacing) / 2
    return spacing[_differing(*part)[0]]


def _patch_area(part: list[Corner], spacing: tuple[float, ...]) -> float:
    """Area of the surface that parts one to four joined pixels from the others.

    The surface is a polygon through the middles of the cut edges, made of triangles. An area
    vector (x, y, z) in pixels has the length |(x, y, z) * face| in units of length.
    """
    face = math.prod(spacing) / np.array(spacing)  # areas of a pixel's faces
    whole = float(np.linalg.norm(face))

    def without(axis: int) -> float:
        return float(np.linalg.norm(np.delete(face, axis)))

    flat = [axis for axis in range(3) if len({corner[axis] for corner in part}) == 1]
    if len(part) == 1:  # a triangle (1/8, 1/8, 1/8)
        return whole / 8
    if len(part) == 2:  # a rectangle along the edge that joins them: (1/2, 1/2, 0)
        return without(_differing(*part)[0]) / 2
    if len(part) == 3:  # a triangle (1/2, 0, 0) and a trapezium (3/8, 3/8, 3/8)
        return float(face[flat[0]]) / 2 + whole * 3 / 8
    if flat:  # a face: (1, 0, 0)
        return float(face[flat[0]])
    ends = [axes for corner in part if len(axes := _edges(corner, part)) == 1]
    if len(ends) == 3:  # three around one: a plane hexagon (3/4, 3/4, 3/4)
        return whole * 3 / 4
    # A chain along three axes: triangles (3/8, 3/8, 3/8) and (1/8, 1/8, 1/8), and at each end
    # one that is parallel to the axis there: (0, 1/4, 1/4).
    return whole / 2 + sum(without(axes[0]) for axes in ends) / 4


def _edges(corner: Corner, part: list[Corner]) -> list[int]:
    """The axes along which `corner` has neighbours in `part`."""
    steps = [_differing(corner, other) for other in part]
    return [axes[0] for axes in steps if len(axes) == 1]


def _of_pair(pair: MaskPair) -> SurfaceScores:
    return surface_scores(*pair.cropped, pair.spacing, pair.tolerance)


def hd95(pair: MaskPair) -> float:
    """The distance within which 95 % of a surface lie from the other one, the larger one of both
    directions (Huttenlocher et al. 1993)."""
    return pair.shared(_of_pair).hd95


def assd(pair: MaskPair) -> float:
    """Mean of d over the elements of both surfaces."""
    return pair.shared(_of_pair).assd


def nsd(pair: MaskPair) -> float:
    """Share of both surfaces with d <= tolerance (normalized surface distance, surface Dice;
    Nikolov et al. 2021)."""
    return pair.shared(_of_pair).nsd


register(
    Metric(
        "hd95",
        "HD95",
        family="surface",
        unit="distance",
        better="lower",
        meaning="Distance between the {outlines} below which 95 % of their points stay.",
        from_masks=hd95,
        missed="diagonal",
        settings=("units", "spacing"),
        terminal=0,
    )
)
register(
    Metric(
        "assd",
        "ASSD",
        family="surface",
        unit="distance",
        better="lower",
        meaning="Mean distance between the {outlines}.",
        from_masks=assd,
        missed="diagonal",
        settings=("units", "spacing"),
    )
)
register(
    Metric(
        "nsd",
        "Surface Dice",
        family="surface",
        unit="share",
        better="higher",
        meaning="Share of both {outlines} that agree within the tolerance.",
        from_masks=nsd,
        missed=0.0,
        settings=("units", "spacing", "tolerance"),
        terminal=0,
        short="NSD",
    )
)
