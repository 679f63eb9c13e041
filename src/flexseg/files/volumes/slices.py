"""Slices of volumes: which way they lie, how far apart their pixels are, and how grey."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from flexseg.errors import ConfigError
from flexseg.files.intensity import GreyValues, Intensity
from flexseg.files.preprocess import Preprocessing
from flexseg.files.volumes.volume import Volume

ANATOMICAL_AXES = ("axial", "coronal", "sagittal")
AXES = (*ANATOMICAL_AXES, "0", "1", "2")


@dataclass(frozen=True)
class SliceAxis:
    """How slices are cut from a volume.

    Attributes
    ----------
    name : "axial", "coronal" or "sagittal": anatomical, shown as radiologists look at them
        (the patient's right at the left of the picture, anterior or superior at the top;
        sagittal: anterior at the left); or "0", "1", "2": an axis of the file, first index
        fastest, nothing flipped.
    rotate : clockwise turn of the slices in degrees: 0, 90, 180 or 270.
    """

    name: str
    rotate: int = 0

    @property
    def anatomical(self) -> bool:
        """Whether the volume is brought to LPS order first."""
        return self.name not in ("0", "1", "2")

    @property
    def _array_axis(self) -> int:
        names = {"axial": 0, "coronal": 1, "sagittal": 2, "0": 2, "1": 1, "2": 0}
        return names[self.name]

    def oriented(self, array: NDArray, orientation: str) -> NDArray:
        """A volume [z, y, x] or [z, y, x, C] in the voxel order that `slices` expects: a view.

        Oblique volumes are not resampled: their nearest anatomical axes count.

        Parameters
        ----------
        orientation : where its x, y, z point, see `Volume.orientation`.
        """
        return to_lps(array, orientation) if self.anatomical else array

    def slice_view(self, array: NDArray, orientation: str) -> NDArray:
        """A volume [z, y, x] or [z, y, x, C] as slices [n, rows, columns] or [..., C].

        The result is a view, whatever the orientation: what is written into it lands in the
        volume.
        """
        return self.slices(self.oriented(array, orientation))

    def slices(self, array: NDArray) -> NDArray:
        """A volume in the order of `oriented` as slices [n, rows, columns] or [..., C]: a view."""
        view = np.moveaxis(array, self._array_axis, 0)
        if self.name in ("coronal", "sagittal"):
            view = view[:, ::-1]  # LPS counts from the feet; the head belongs to the top
        return np.rot90(view, -self.rotate // 90, axes=(1, 2))

    def spacing(self, volume: Volume) -> tuple[float, float, float]:
        """Distances in mm between rows, between columns, and between slices."""
        zyx = list((volume.oriented("LPS") if self.anatomical else volume).voxel_size)
        between = zyx.pop(self._array_axis)
        rows, columns = zyx if self.rotate % 180 == 0 else zyx[::-1]
        return rows, columns, between


def parse_axes(text: str) -> tuple[str, ...]:
    """`axial`, `axial,sagittal`, `all` (the three anatomical axes), `0`, ...

    Raises
    ------
    ConfigError : it is none of these.
    """
    names = tuple(part.strip().lower() for part in text.split(","))
    if names == ("all",):
        return ANATOMICAL_AXES
    anatomical = set(names) <= set(ANATOMICAL_AXES) and len(set(names)) == len(names)
    if not anatomical and not (len(names) == 1 and names[0] in AXES):
        raise ConfigError(
            f"{text!r} does not name axes.",
            "Give axial, coronal or sagittal, several of them with commas, or all; or one of 0, "
            "1, 2.",
            "--axis",
        )
    return names


def to_lps(array: NDArray, orientation: str) -> NDArray:
    """A volume [z, y, x] or [z, y, x, C] with its axes turned to S, P, L: a view.

    The order of voxels is that of `SimpleITK.DICOMOrient(image, "LPS")`.

    Parameters
    ----------
    orientation : where x, y, z point, e.g. "RAS".
    """
    along = orientation[::-1]  # the array's axes are z, y, x
    order = [next(i for i, end in enumerate(along) if end in ends) for ends in ("SI", "PA", "LR")]
    view = np.transpose(array, [*order, *range(3, array.ndim)])
    return view[tuple(slice(None, None, -1 if along[i] in "IAR" else 1) for i in order)]


def contiguous(block: NDArray) -> NDArray:
    """Successive slices [k, rows, columns] or [..., C] in the order of memory, copied if need be.

    Sagittal slices of a file in axial order are read from all over it: eight at once take about
    as long as one alone.
    """
    if block.flags.c_contiguous:
        return block
    result = np.empty(block.shape, block.dtype)
    # NumPy would read in the order of the result.
    outer = int(np.argmax(np.abs(block.strides[:3])))
    sources, targets = np.moveaxis(block, outer, 0), np.moveaxis(result, outer, 0)
    for i in range(len(sources)):
        targets[i] = sources[i]
    return result


def slice_axes(preprocessing: Preprocessing) -> tuple[SliceAxis, ...]:
    """The directions that a network was trained on, its main one first."""
    main = preprocessing.axis
    others = [name for name in preprocessing.axes if name != main]
    return tuple(SliceAxis(name, preprocessing.rotate) for name in (main, *others))


def volume_intensity(
    volume: Volume, preprocessing: Preprocessing, where: str = "volume"
) -> Callable[[NDArray], NDArray]:
    """A function of a volume's voxels to the pixels that `Preprocessing.image` takes.

    They are those of the images that `flexseg derive volumes` makes of the volume with the
    network's `[volume]` settings, rounded to 8 or 16 bits alike, by the statistics of the whole
    volume. It works on voxels of any shape: slices, stacks of them, slabs.

    Raises
    ------
    DataError : no voxel is finite.
    """
    text = preprocessing.intensity
    intensity = None if text is None else Intensity.parse(text, "[volume] intensity")
    array = SliceAxis(preprocessing.axis).oriented(volume.array, volume.orientation)
    return GreyValues.of(array, intensity, preprocessing.bits, where)


class Slices(Protocol):
    """Slices by index: an array [n, rows, columns], a list, or what makes them when asked."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> NDArray: ...


def stack_neighbours(slices: Slices, i: int, n: int) -> NDArray:
    """Slices i - n to i + n as channels [rows, columns, 2 n + 1]; at the ends the last repeats.

    Parameters
    ----------
    slices : [rows, columns] or [rows, columns, 1] each.
    """
    last = len(slices) - 1
    chosen = [slices[min(max(k, 0), last)] for k in range(i - n, i + n + 1)]
    return np.stack([pixels.reshape(pixels.shape[:2]) for pixels in chosen], axis=-1)
