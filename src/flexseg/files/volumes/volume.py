"""A volume and where it lies in the patient."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

_IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
_OPPOSITE = dict(zip("LRPASI", "RLAPIS", strict=True))


@dataclass(frozen=True, eq=False)
class Volume:
    """Voxels and geometry; the geometry is ITK's, in LPS (left, posterior, superior).

    Attributes
    ----------
    array : [z, y, x], or [z, y, x, channels]; as stored (DICOM: after slope and intercept).
        What `read_volume` gives is read-only.
    spacing : distances of voxels in mm along x, y, z, the array's axes backwards.
    origin : position of voxel [0, 0, 0] in mm.
    direction : 3 x 3, row by row; its columns are the unit vectors of x, y, z. They are at
        right angles, but for CT of a tilted gantry; they may be left-handed.
    step : by how much values differ at least, where the file stores whole numbers that its header
        scales; 0 where it does not.
    modality : of DICOM, e.g. "CT"; empty where the file does not say it.
    """

    array: NDArray = field(repr=False)
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    direction: tuple[float, ...] = _IDENTITY
    step: float = 0.0
    modality: str = ""

    @classmethod
    def from_image(cls, image: sitk.Image) -> Volume:
        """A SimpleITK image as a volume, without a copy of its voxels (read-only).

        A 2-D image becomes a volume of one slice, the fourth axis of a 4-D one its channels.

        Raises
        ------
        ValueError : it has other dimensions, or a fourth axis and several components.
        """
        dimension, components = image.GetDimension(), image.GetNumberOfComponentsPerPixel()
        if not 2 <= dimension <= 4 or (dimension == 4 and components > 1):
            raise ValueError(f"{dimension} dimensions and {components} components per voxel")
        array: NDArray = np.asarray(_Voxels(image))
        direction = np.eye(3)
        spacing, origin = np.ones(3), np.zeros(3)
        n = min(dimension, 3)
        spacing[:n], origin[:n] = image.GetSpacing()[:n], image.GetOrigin()[:n]
        direction[:n, :n] = np.reshape(image.GetDirection(), (dimension, dimension))[:n, :n]
        if dimension == 2:
            array = array[None]
        elif dimension == 4:
            array = array[0] if len(array) == 1 else np.moveaxis(array, 0, -1)
        x, y, z = map(float, spacing)
        i, j, k = map(float, origin)
        volume = cls(array, (x, y, z), (i, j, k), tuple(map(float, direction.ravel())))
        # MHA may scale voxels by its matrix as well.
        unit = np.allclose(np.linalg.norm(direction, axis=0), 1, atol=1e-6)
        return volume if unit else volume.with_affine(volume.affine)

    def image(self) -> sitk.Image:
        """The volume as a SimpleITK image (a copy of the voxels)."""
        array = self.array
        if array.dtype == bool:
            array = array.view(np.uint8)
        elif array.dtype == np.float16:
            array = array.astype(np.float32)
        image = sitk.GetImageFromArray(array, isVector=array.ndim == 4)
        image.SetSpacing(self.spacing)
        image.SetOrigin(self.origin)
        image.SetDirection(self.direction)
        return image

    def with_array(self, array: NDArray) -> Volume:
        """Other voxels at the same places.

        Raises
        ------
        ValueError : the array is of another shape.
        """
        if array.shape[:3] != self.shape:
            raise ValueError(f"voxels of shape {array.shape[:3]} for a volume of {self.shape}")
        return replace(self, array=array)

    def with_affine(self, affine: NDArray[np.float64]) -> Volume:
        """The same voxels at other places: [4, 4] from voxel (x, y, z, 1) to mm in LPS."""
        x, y, z = (float(v) for v in np.linalg.norm(affine[:3, :3], axis=0))
        i, j, k = (float(v) for v in affine[:3, 3])
        direction = affine[:3, :3] / (x, y, z)
        turned = tuple(map(float, direction.ravel()))
        return replace(self, spacing=(x, y, z), origin=(i, j, k), direction=turned)

    def channel(self, number: int) -> Volume:
        """One channel, counted from 0, as a volume [z, y, x] (a view)."""
        return self.with_array(self.array[..., number] if self.array.ndim == 4 else self.array)

    def oriented(self, order: str) -> Volume:
        """The same voxels at the same places in another order, such as "LPS", as a view.

        Only axes change places and are counted from their other end; oblique volumes stay so,
        their nearest anatomical axes count.
        """
        have, directions = self.orientation, np.reshape(self.direction, (3, 3))
        sources = [next(i for i, h in enumerate(have) if w in (h, _OPPOSITE[h])) for w in order]
        flips = [have[i] != w for i, w in zip(sources, order, strict=True)]
        array = self.array.transpose(
            [2 - i for i in reversed(sources)] + [3] * (self.array.ndim - 3)
        )
        array = array[tuple(slice(None, None, -1 if flip else None) for flip in reversed(flips))]
        signs = np.where(flips, -1.0, 1.0)
        last = [(self.shape[2 - i] - 1) * flip for i, flip in zip(sources, flips, strict=True)]
        spacing = np.array(self.spacing)[sources]
        origin = np.array(self.origin) + directions[:, sources] @ (spacing * last)
        i, j, k = map(float, origin)
        x, y, z = map(float, spacing)
        direction = tuple(map(float, (directions[:, sources] * signs).ravel()))
        return replace(self, array=array, spacing=(x, y, z), origin=(i, j, k), direction=direction)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along z, y, x."""
        z, y, x = self.array.shape[:3]
        return z, y, x

    @property
    def channels(self) -> int:
        """Values per voxel."""
        return self.array.shape[3] if self.array.ndim == 4 else 1

    @property
    def voxel_size(self) -> tuple[float, float, float]:
        """Distances of voxels in mm along the array's axes z, y, x."""
        x, y, z = self.spacing
        return z, y, x

    @property
    def affine(self) -> NDArray[np.float64]:
        """[4, 4] from voxel (x, y, z, 1) to mm in LPS."""
        matrix = np.eye(4)
        matrix[:3, :3] = np.reshape(self.direction, (3, 3)) * self.spacing
        matrix[:3, 3] = self.origin
        return matrix

    @property
    def sheared(self) -> bool:
        """Whether the axes are not at right angles, so that slices are shifted step by step."""
        axes = np.reshape(self.direction, (3, 3))
        return bool(np.abs(axes.T @ axes - np.eye(3)).max() > 1e-4)

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel in ml (axes that are not at right angles make it smaller)."""
        skew = abs(np.linalg.det(np.reshape(self.direction, (3, 3))))
        return float(np.prod(self.spacing) * skew / 1000)

    @property
    def orientation(self) -> str:
        """Where x, y, z point, nearest to "LPS": x to the left, y posterior, z superior."""
        return sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(self.direction)


class _Voxels:
    """An image's voxels for `numpy.asarray`.

    NumPy keeps this object as the owner of the memory, and this object the image: SimpleITK's
    own views outlive their image, and then show memory that is freed.
    """

    def __init__(self, image: sitk.Image) -> None:
        self._image = image
        view = sitk.GetArrayViewFromImage(image)
        self.__array_interface__: dict[str, Any] = view.__array_interface__
