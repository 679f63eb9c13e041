"""Folders of volumes and their labels: which belong together, and which slices are of which."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path

from flexseg.dataset.cases import group_of
from flexseg.dataset.names import base_name
from flexseg.derive.dataset_writer import file_name
from flexseg.derive.volumes import VolumePair, VolumePairs, pair_volumes, slice_name
from flexseg.errors import DataError
from flexseg.files.volumes.slices import ANATOMICAL_AXES, SliceAxis

# Of images and labels: equal names (Medical Segmentation Decathlon), the first channel of nnU-Net,
# and what annotation programs append.
NAMES = (
    ("{id}", "{id}"),
    ("{id}_0000", "{id}"),
    ("{id}", "{id}_seg"),
    ("{id}", "{id}_label"),
    ("{id}", "{id}_mask"),
)


@dataclass(frozen=True)
class VolumeDataset:
    """Volumes with labels.

    Attributes
    ----------
    images, labels : their folders.
    image_name, label_name : the name patterns that they pair by, see `NamePattern`.
    found : the pairs, and what has no partner.
    """

    images: Path
    labels: Path
    image_name: str
    label_name: str
    found: VolumePairs

    @property
    def pairs(self) -> tuple[VolumePair, ...]:
        """Images with their labels."""
        return self.found.pairs

    @property
    def by_stem(self) -> dict[str, VolumePair]:
        """The pairs by the name that their slices begin with."""
        return {file_name(pair.id): pair for pair in self.pairs}


def find_dataset(images: Path, labels: Path) -> VolumeDataset:
    """Pair two folders of volumes by the name pattern of `NAMES` that fits most of them.

    Raises
    ------
    DataError : a folder is missing, or nothing fits together.
    """
    found_by_name: list[VolumeDataset] = []
    problems: list[DataError] = []
    for image_name, label_name in NAMES:
        try:
            found = pair_volumes(images, labels, image_name, label_name)
        except DataError as error:
            problems.append(error)
            continue
        found_by_name.append(VolumeDataset(images, labels, image_name, label_name, found))
        if not (found.images_without_label or found.labels_without_image):
            break
    if not found_by_name:
        raise problems[0]
    return max(found_by_name, key=lambda dataset: len(dataset.pairs))


def group_of_volume(stem: str, pattern: str | None, *, several_axes: bool) -> str:
    """The group of a volume: that of its slices, see `group_of`.

    Parameters
    ----------
    pattern : `[dataset] group`.
    several_axes : the slices are of several axes, which their names tell.
    """
    axes = tuple(SliceAxis(name) for name in ANATOMICAL_AXES[: 3 if several_axes else 1])
    return group_of(slice_name(stem, axes[0], 0, axes), pattern)


def volume_of(case_id: str, stems: Container[str]) -> str | None:
    """The volume among `stems` that a slice is of by its name; None if it is of none.

    Names are those of `slice_name`, augmented copies included.
    """
    for name in (case_id, base_name(case_id)):
        head, _, number = name.rpartition("_")
        if not number.isdecimal():
            continue
        if head in stems:
            return head
        volume, _, axis = head.rpartition("_")
        if axis in ANATOMICAL_AXES and volume in stems:
            return volume
    return None
