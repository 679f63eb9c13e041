"""What programs give to a model, arrays, files and volumes, as the images and volumes they mean."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from PIL.Image import Image

from flexseg.config.findings import amount
from flexseg.dataset.acquisition import Acquired
from flexseg.errors import ConfigError, DataError
from flexseg.files.channel_files.channel_reading import read_channel_volumes
from flexseg.files.decode import pillow_pixels
from flexseg.files.dicom.image import is_picture
from flexseg.files.dicom.recognition import is_dicom, is_series_folder
from flexseg.files.images import IMAGE_SUFFIXES, is_image, pixel_count
from flexseg.files.large_images import ArrayRows, Regions
from flexseg.files.npy import map_npy
from flexseg.files.preprocess import Preprocessing
from flexseg.files.volumes.paths import VOLUME_SUFFIXES, volume_suffix
from flexseg.files.volumes.volume import Volume
from flexseg.inference.pipeline import opened_file, read_pixels
from flexseg.near_paths import check_path
from flexseg.storage.mirror import local_copy

logger = logging.getLogger(__name__)

# An axis of no more than this is one of channels; a fourth is transparency.
_CHANNELS = 4


class ArrayLike(Protocol):
    """What NumPy takes as an array, such as tensors."""

    def __array__(self) -> NDArray: ...


Source: TypeAlias = NDArray | ArrayLike | Image | Volume | sitk.Image | Path | str
Spacing: TypeAlias = tuple[float, ...] | float


@dataclass(frozen=True)
class ImageInput:
    """An image to predict.

    Attributes
    ----------
    content : a file, or pixels [H, W, C] as `read_image` gives them.
    spacing : of rows and columns in mm, if it is known.
    """

    content: Path | NDArray
    spacing: tuple[float, ...] | None = None

    def __str__(self) -> str:
        return str(self.content) if isinstance(self.content, Path) else "array"

    def read(self, preprocessing: Preprocessing) -> NDArray:
        """Pixels [H, W, C]; for networks that see neighbouring slices the stack of these."""
        if isinstance(self.content, Path):
            return read_pixels(self.content, preprocessing)
        neighbours = preprocessing.neighbours
        if neighbours and self.content.shape[2] == 1:
            logger.warning(
                "The image is an array without neighbouring slices: it is used in place of its "
                "neighbours too, unlike the volumes that the network was trained on."
            )
            return np.repeat(self.content, 2 * neighbours + 1, axis=2)
        return self.content

    @property
    def pixel_count(self) -> int:
        """Pixels, by the header of a file."""
        if isinstance(self.content, Path):
            return pixel_count(self.content)
        return self.content.shape[0] * self.content.shape[1]

    @property
    def header(self) -> Acquired:
        """What is known of how the image was acquired, beside its size."""
        found = Acquired.of_file(self.content) if isinstance(self.content, Path) else Acquired()
        return replace(found, spacing=self.spacing or found.spacing)

    def opened(self, preprocessing: Preprocessing, large: int) -> AbstractContextManager[Regions]:
        """The image by rows; a file of so many pixels is not decoded as a whole."""
        if isinstance(self.content, Path):
            return opened_file(self.content, preprocessing, large)
        return nullcontext(ArrayRows(self.read(preprocessing)))


@dataclass(frozen=True)
class VolumeInput:
    """A volume to predict.

    Attributes
    ----------
    content : a file, a folder of DICOM files, or voxels in memory.
    spacing : along z, y, x in mm, of volumes that do not say it.
    placed : the volume itself says where its voxels are.
    """

    content: Path | Volume
    spacing: tuple[float, ...] | None = None
    placed: bool = True

    def __str__(self) -> str:
        return str(self.content) if isinstance(self.content, Path) else "volume"

    def read(self, files: int, *, channel: int | None, series: str | None, key: str) -> Volume:
        """The volume, of so many files, see `read_channel_volumes`.

        Raises
        ------
        ConfigError : a spacing was given for a volume that has its own.
        """
        if isinstance(self.content, Path):
            volume = read_channel_volumes(
                self.content, files, channel=channel, series=series, key=key
            )
        else:
            volume = self.content if channel is None else self.content.channel(channel)
        if self.spacing is None:
            return volume
        if volume.spacing != (1.0, 1.0, 1.0):
            raise ConfigError(
                f"The volume has a spacing of its own: {volume.voxel_size} mm along z, y, x.",
                "Leave spacing out.",
                str(self),
            )
        z, y, x = self.spacing
        return replace(volume, spacing=(x, y, z))


def model_input(
    source: Source,
    *,
    channels: int,
    volume: bool | None = None,
    spacing: Spacing | None = None,
) -> ImageInput | VolumeInput:
    """What a source is, see `Model.predict`.

    Parameters
    ----------
    channels : of the network's images.
    volume : whether it is a volume, where this cannot be told from it.
    spacing : of the array's axes in mm, or one number for all.

    Raises
    ------
    ConfigError : it can be both and `volume` does not say which, or `spacing` does not fit.
    DataError : there is no such file, or it is neither an image nor a volume.
    """
    if isinstance(source, sitk.Image):
        source = _of_itk(source)
    if isinstance(source, Volume):
        return VolumeInput(source, _spacing(spacing, 3))
    if isinstance(source, str | Path):
        return _of_file(local_copy(source), channels, volume, spacing)
    array = pillow_pixels(source) if isinstance(source, Image) else np.asarray(source)
    array = _checked(array)
    if _means_volume(array.shape, channels, volume):
        voxels = array.astype(np.float32) if array.dtype == np.float16 else array
        return VolumeInput(Volume(voxels), _spacing(spacing, 3), placed=False)
    return ImageInput(_pixels(array, channels), _spacing(spacing, 2))


def _of_itk(image: sitk.Image) -> Volume:
    try:
        return Volume.from_image(image)
    except ValueError as error:
        raise DataError(f"The image has {error}.", "Give one 3-D volume.") from None


def _of_file(
    path: Path, channels: int, volume: bool | None, spacing: Spacing | None
) -> ImageInput | VolumeInput:
    if not path.exists():
        raise DataError("There is no such file or folder.", check_path(path), str(path))
    if path.is_dir() and not is_series_folder(path):
        raise DataError(
            "The folder is not a DICOM series.",
            "Give the files in it, e.g. model.predict(sorted(Path(FOLDER).glob('*.png'))).",
            str(path),
        )
    suffix = path.suffix.lower()
    if suffix == ".npy" and path.is_file():
        is_volume = _means_volume(_npy_shape(path), channels, volume, str(path))
    else:
        is_volume = path.is_dir() or (
            not is_picture(path) if is_dicom(path) else bool(volume_suffix(path))
        )
        if not is_volume and not is_image(path):
            raise DataError(
                "By its name this is neither an image nor a volume.",
                f"Give an image ({', '.join(IMAGE_SUFFIXES)}), a volume "
                f"({', '.join(VOLUME_SUFFIXES)}) or a folder of DICOM files.",
                str(path),
            )
        if volume is not None and volume != is_volume:
            kind = "a volume" if is_volume else "an image"
            raise ConfigError(f"By its name this is {kind}.", "Leave volume out.", str(path))
    if is_volume:
        return VolumeInput(path, _spacing(spacing, 3))
    return ImageInput(path, _spacing(spacing, 2))


def _npy_shape(path: Path) -> tuple[int, ...]:
    try:
        return tuple(map_npy(path).shape)
    except DataError:
        raise
    except Exception as error:  # on damaged headers NumPy raises whatever it stumbles on
        raise DataError(
            f"The file cannot be read as an array ({error}).",
            "It is damaged: save or copy it again with numpy.save.",
            str(path),
        ) from None


def _checked(array: NDArray) -> NDArray:
    if array.dtype.kind not in "biuf":
        raise DataError(
            f"The array holds values of type {array.dtype}, not numbers.",
            "Give integers or floats; give several images as a list.",
        )
    if 0 in array.shape:
        raise DataError(f"The array of shape {array.shape} is empty.", "Give pixels or voxels.")
    if array.dtype == bool:
        return array.astype(np.uint8) * 255
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def several(source: object) -> bool:
    """Whether a source is an iterable of sources."""
    one = isinstance(source, str | Path | Volume | sitk.Image)
    one = one or hasattr(source, "__array__") or hasattr(source, "__array_interface__")
    return not one and isinstance(source, Iterable)


def _means_volume(
    shape: tuple[int, ...], channels: int, volume: bool | None, where: str | None = None
) -> bool:
    """Whether an array of a shape is a volume; see `Model.predict` for the rule."""
    fits = {2: (False,), 3: (False, True), 4: (True,)}.get(len(shape), ())
    if volume is not None:
        if volume not in fits:
            expected = "[z, y, x] or [z, y, x, C]" if volume else "[H, W] or [H, W, C]"
            raise DataError(
                f"The array has the shape {shape}; expected {expected}.",
                "Give one image or volume, or several as a list.",
                where,
            )
        return volume
    if len(shape) == 2:
        return False
    if len(shape) == 3:
        if shape[2] <= _CHANNELS or shape[2] == channels:
            return False
        if shape[0] > _CHANNELS:
            return True
        meanings = f"a volume of {amount(shape[0], 'slice')}, or an image with its channels first"
        fix = "volume=True for a volume; np.moveaxis(array, 0, -1) makes [H, W, C] of the image"
    elif len(shape) == 4:
        meanings = "several images, or a volume with channels [z, y, x, C]"
        fix = "list(array) for several images, volume=True for a volume"
    else:
        raise DataError(
            f"The array has the shape {shape}.",
            "Give an image [H, W] or [H, W, C], or a volume [z, y, x].",
            where,
        )
    raise ConfigError(f"An array of shape {shape} can be {meanings}.", f"Give {fix}.", where)


def _pixels(array: NDArray, channels: int) -> NDArray:
    """Pixels [H, W, C] as `read_image` gives them: finite, without transparency."""
    pixels = array[..., None] if array.ndim == 2 else array
    if pixels.shape[2] == _CHANNELS != channels:
        pixels = pixels[..., : _CHANNELS - 1]
    if pixels.dtype.kind == "f" and (bad := int((~np.isfinite(pixels)).sum())):
        raise DataError(
            f"{amount(bad, 'pixel', 'is', 'are')} NaN or infinite.",
            "Replace them, for example by the smallest finite value.",
        )
    return pixels


def _spacing(spacing: Spacing | None, axes: int) -> tuple[float, ...] | None:
    if spacing is None:
        return None
    try:
        given = tuple(spacing) if isinstance(spacing, Iterable) else (spacing,) * axes
        values = tuple(float(value) for value in given)
    except (TypeError, ValueError):
        values = ()
    if len(values) != axes or not all(np.isfinite(v) and v > 0 for v in values):
        order = "row, column" if axes == 2 else "z, y, x"
        raise ConfigError(
            f"The spacing {spacing} does not fit the array.",
            f"Give {axes} positive numbers in mm, in the order {order}.",
            "spacing",
        )
    return values
