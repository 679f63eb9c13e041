"""Volumes as cases that a network of slices learns from: cut as those of its training were."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from flexseg.dataset.cases import group_of
from flexseg.dataset.ignored.pixels import IGNORED
from flexseg.dataset.volumetric.pairing import GROUP, GROUP_OF_AXES
from flexseg.derive.cutting import cut_slices
from flexseg.errors import DataError
from flexseg.files.images import encode_png
from flexseg.files.preprocess import Preprocessing
from flexseg.files.volumes.slices import slice_axes, volume_intensity
from flexseg.files.volumes.volume import Volume
from flexseg.model_file.seen_images import content_digest

CaseKind = Literal["image", "volume"]


def learned_kinds(*, of_slices: bool, neighbours: int = 0) -> tuple[CaseKind, ...]:
    """What a model can learn from.

    Parameters
    ----------
    of_slices : it was trained on slices of volumes.
    neighbours : slices on each side that it sees.
    """
    if not of_slices:
        return ("image",)
    # A slice with its neighbours is no single image.
    return ("volume",) if neighbours else ("image", "volume")


@dataclass(frozen=True)
class SliceCase:
    """A slice as a case.

    Attributes
    ----------
    name : of its files, without suffix; `<volume>_<number>`, or with the axis before the number.
    png : content of the image's file.
    labels : class ids [H, W], 255 where nobody has looked.
    plain : all pixels are equal, so that slices of other volumes may be the same.
    """

    name: str
    png: bytes
    labels: NDArray[np.uint8]
    plain: bool

    @property
    def digest(self) -> str:
        """Of the image, see `image_digest`, in hexadecimal."""
        return content_digest(self.png).hex()

    @property
    def looked_at(self) -> bool:
        """Somebody has looked at a pixel of it."""
        return bool((self.labels != IGNORED).any())


@dataclass(frozen=True)
class SliceRule:
    """How a network's slices are cut, and called.

    Parameters
    ----------
    preprocessing : of a network of slices.
    """

    preprocessing: Preprocessing

    @property
    def group(self) -> str:
        """Regular expression that finds the volume in the name of a slice."""
        return GROUP_OF_AXES if len(slice_axes(self.preprocessing)) > 1 else GROUP

    def volume_of(self, name: str) -> str:
        """The volume that a case is a slice of; its own name if it is of none."""
        return group_of(name, self.group)

    @property
    def parameters(self) -> dict[str, Any]:
        """As the `dataset.json` of `flexseg derive volumes` says them."""
        p = self.preprocessing
        told = {
            "axis": ",".join(axis.name for axis in slice_axes(p)),
            "rotate": p.rotate,
            "bits": p.bits,
        }
        return told if p.intensity is None else {**told, "window": p.intensity}

    def slices(
        self, stem: str, image: Volume, labels: NDArray[np.uint8], where: str
    ) -> Iterator[SliceCase]:
        """The slices of a volume.

        Parameters
        ----------
        stem : its name.
        labels : class ids [z, y, x].

        Raises
        ------
        DataError : it has several channels, or no finite value.
        """
        if image.channels > 1:
            raise DataError(
                f"The volume has {image.channels} channels; corrections are learned of volumes "
                "with one value per voxel.",
                "Train on them with `flexseg auto FOLDER --from MODEL`.",
                where,
            )
        grey = volume_intensity(image, self.preprocessing, where)
        axes = slice_axes(self.preprocessing)
        for one in cut_slices(stem, image, image.with_array(labels), axes):
            pixels = grey(one.voxels)
            ids = np.ascontiguousarray(one.values)
            yield SliceCase(one.name, encode_png(pixels), ids, bool(pixels.min() == pixels.max()))
