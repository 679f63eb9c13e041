"""The slices of a volume and of its labels, with the names that tell their place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from numpy.typing import NDArray

from flexseg.dataset.volumetric.pairing import slice_name
from flexseg.files.volumes.slices import SliceAxis
from flexseg.files.volumes.volume import Volume


@dataclass(frozen=True)
class CutSlice:
    """A slice of a volume.

    Attributes
    ----------
    name : of its files, without suffix.
    number : along `axis`, from 0.
    voxels : of the image [H, W] or [H, W, C], a view.
    values : of the labels [H, W], a view.
    """

    name: str
    axis: SliceAxis
    number: int
    voxels: NDArray
    values: NDArray


def cut_slices(
    stem: str, image: Volume, labels: Volume, axes: tuple[SliceAxis, ...]
) -> Iterator[CutSlice]:
    """All slices along each axis.

    Parameters
    ----------
    stem : the name of the volume.
    labels : on the grid of the image.
    """
    for axis in axes:
        slices = axis.slice_view(image.array, image.orientation)
        masks = axis.slice_view(labels.array, labels.orientation)
        for i, (voxels, values) in enumerate(zip(slices, masks, strict=True)):
            yield CutSlice(slice_name(stem, axis, i, axes), axis, i, voxels, values)
