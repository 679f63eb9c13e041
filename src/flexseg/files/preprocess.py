"""The one way from an image file's pixels to what the network sees.

Training, evaluation and inference all use a `Preprocessing`, and it travels with the
trained weights.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from flexseg.config.findings import amount
from flexseg.config.infer import VolumeConfig
from flexseg.config.model import ModelConfig
from flexseg.config.schema import ImageConfig
from flexseg.errors import ConfigError, DataError
from flexseg.files.intensity import Intensity
from flexseg.files.large_images import Regions
from flexseg.files.resizing import INTERPOLATION, SCIKIT_IMAGE, ByRows, resize, shrunk


@dataclass(frozen=True)
class Preprocessing:
    """How images become network input: [height, width, channels], values on a 0..255 scale.

    Attributes mirror the keys of `[model]`, `[image]`, `[dataset]` and `[volume]`. Those of
    `[volume]` say how slices become the pixels that `image` takes, see `files.volumes.slices`;
    with `neighbours` these are stacks [H, W, 2 n + 1] of grey slices, the middle one is
    predicted. With `patch_scale` the network sees patches of images, see `patch`.
    """

    width: int
    height: int
    channels: int
    color_order: str = "RGB"
    interpolation: str = "auto"
    window: tuple[float, float] | None = None
    color_converter: str | None = None
    gamma: float = 0
    sharpening: float = 0
    axis: str = "axial"
    axes: tuple[str, ...] = ()
    rotate: int = 0
    intensity: str | None = None
    bits: int = 8
    neighbours: int = 0
    channel_files: bool = False
    patch_scale: float | None = None

    @classmethod
    def from_config(
        cls,
        model: ModelConfig,
        image: ImageConfig,
        volume: VolumeConfig,
        interpolation: str = "auto",
    ) -> Preprocessing:
        """The preprocessing that sections of a config describe.

        Parameters
        ----------
        interpolation : `[dataset] resize_interpolation`.

        Raises
        ------
        ConfigError : a bad colour converter or intensity.
        """
        if image.color_converter is not None:
            _conversion_code(image.color_converter)
        if volume.intensity is not None:
            Intensity.parse(volume.intensity, "[volume] intensity")
        return cls(
            model.image_width,
            model.image_height,
            model.image_channels,
            image.color_order,
            interpolation,
            image.window,
            image.color_converter,
            image.gamma,
            image.sharpening,
            volume.axis,
            tuple(volume.axes),
            volume.rotate,
            volume.intensity,
            volume.bits,
            volume.neighbours,
            image.channel_files,
            image.patch_scale,
        )

    def as_dict(self) -> dict[str, JsonValue]:
        """Plain JSON types, see `from_dict`."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Preprocessing:
        """The inverse of `as_dict`; what an older package does not say has its default.

        Raises
        ------
        ConfigError, KeyError, ValueError : no config describes this.
        """
        image = dict(data)
        sizes = {f"image_{key}": image.pop(key) for key in ("width", "height", "channels")}
        interpolation = image.pop("interpolation", "auto")
        if interpolation not in ("auto", SCIKIT_IMAGE, *INTERPOLATION):
            raise ValueError(f"{interpolation!r} is not an interpolation")
        volume = {key: image.pop(key) for key in VolumeConfig.model_fields if key in image}
        return cls.from_config(
            ModelConfig.model_validate(sizes),
            ImageConfig.model_validate(image),
            VolumeConfig.model_validate(volume),
            interpolation,
        )

    @property
    def files(self) -> int:
        """How many files an image may consist of, see `files.channel_files`."""
        return self.channels if self.channel_files else 1

    @property
    def of_slices(self) -> bool:
        """The images are slices of volumes."""
        return self.intensity is not None or bool(self.axes) or self.neighbours > 0

    @property
    def single(self) -> Preprocessing:
        """The preprocessing of one slice of a stack; that of a stack is made of it."""
        return replace(self, channels=1, neighbours=0) if self.neighbours else self

    @property
    def patch(self) -> tuple[int, int] | None:
        """Height and width, in pixels of an image, of what the network sees at once; None: all."""
        if self.patch_scale is None:
            return None
        return round(self.height / self.patch_scale), round(self.width / self.patch_scale)

    def shown(self, pixels: NDArray) -> NDArray:
        """What people see of pixels [H, W, C]: of a stack [H, W, 2 n + 1] the middle slice."""
        n = self.neighbours
        return pixels[..., n : n + 1] if n else pixels

    def image(self, pixels: NDArray, where: str = "image") -> NDArray:
        """Pixels [H, W, C] as read (or stacked), to network input [height, width, channels].

        Returns uint8 for 8-bit images, float32 on the same 0..255 scale for all others.

        Raises
        ------
        DataError : the channels do not fit.
        """
        if self.neighbours:
            return self._stack(pixels, where)
        return self.at_size(self.values(pixels, where))

    def at_size(self, values: NDArray) -> NDArray:
        """Pixels [H, W, channels] that `values` gives, to network input; with it `image`."""
        return self._filtered(self._resize(values))

    def image_by_rows(self, image: Regions, where: str = "image") -> NDArray:
        """`image` of pixels that are read by rows: what shrinks by area is never whole in memory.

        Raises
        ------
        DataError : as `image`; or a part of the file is damaged.
        """
        height, width, _ = image.shape
        shrinks = self._method(height, width) == "area"
        if not shrinks or height < self.height or width < self.width:
            return self.image(image.rows(slice(0, height)), where)
        one = self.single
        if self.neighbours:
            self._check_stack(image.shape[2], where)
            values = one.on_scale
        else:
            values = partial(one.values, where=where)
        rows = ByRows(lambda part: values(image.rows(part)), height, width, self.channels)
        return one._filtered(shrunk(rows, (self.height, self.width)))

    def labels(self, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Class ids [H, W] at the network's size, by nearest neighbour."""
        if labels.shape == (self.height, self.width):
            return labels
        return cv2.resize(labels, (self.width, self.height), interpolation=cv2.INTER_NEAREST_EXACT)

    def values(self, pixels: NDArray, where: str = "image") -> NDArray:
        """Pixels [H, W, C] in the network's channels and on its scale, still at their own size.

        Raises
        ------
        DataError : the channels do not fit.
        """
        return self._channels(self.on_scale(pixels), where)

    def on_scale(self, pixels: NDArray) -> NDArray:
        """Values of any shape on the network's scale: 8 bits and those without a known scale as
        they are."""
        if self.window is not None:
            low, high = self.window
            scaled = (pixels.astype(np.float32) - low) * (255.0 / (high - low))
            return np.clip(scaled, 0, 255)
        if pixels.dtype == np.uint8:
            return pixels
        if pixels.dtype == bool:
            return pixels.astype(np.uint8) * 255
        if np.issubdtype(pixels.dtype, np.unsignedinteger):
            return pixels.astype(np.float32) * (255.0 / np.iinfo(pixels.dtype).max)
        return pixels.astype(np.float32)

    def _filtered(self, pixels: NDArray) -> NDArray:
        if self.gamma > 0:
            pixels = _gamma(pixels, self.gamma)
        if self.sharpening > 0:
            pixels = _sharpen(pixels, self.sharpening)
        return pixels

    def _stack(self, pixels: NDArray, where: str) -> NDArray:
        found = pixels.shape[2]
        self._check_stack(found, where)
        # One by one, so that stacks of prepared slices are the same bit for bit.
        one = self.single
        return np.concatenate(
            [one.image(pixels[..., i : i + 1], where) for i in range(found)], axis=-1
        )

    def _check_stack(self, found: int, where: str) -> None:
        if found != 2 * self.neighbours + 1:
            raise DataError(
                f"The image has {found} channels; expected the slices of a volume, as the "
                f"network takes a slice and {self.neighbours} neighbours on each side.",
                "Give slices of one volume, with names that end in _0000, _0001, ...",
                where,
            )

    def _channels(self, pixels: NDArray, where: str) -> NDArray:
        found = pixels.shape[2]
        if found == 3 and self.channels in (1, 3):
            pixels = self._color(np.ascontiguousarray(pixels))
            found = pixels.shape[2]
        if found == 1 and self.channels == 3:
            pixels = np.repeat(pixels, 3, axis=2)
        elif found != self.channels:
            raise DataError(
                f"The image has {amount(found, 'channel')}, but the network takes {self.channels}.",
                f"Set model.image_channels = {found} and train again, or convert the images.",
                where,
            )
        return pixels

    def _color(self, rgb: NDArray) -> NDArray:
        if self.channels == 1:
            return cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)[..., None]
        if self.color_converter is not None:
            bgr = np.ascontiguousarray(rgb[..., ::-1])
            converted = cv2.cvtColor(bgr, _conversion_code(self.color_converter))
            return converted if converted.ndim == 3 else converted[..., None]
        return rgb if self.color_order == "RGB" else np.ascontiguousarray(rgb[..., ::-1])

    def _resize(self, pixels: NDArray) -> NDArray:
        height, width = pixels.shape[:2]
        if (height, width) == (self.height, self.width):
            return np.ascontiguousarray(pixels)
        return resize(pixels, (self.height, self.width), self._method(height, width))

    def _method(self, height: int, width: int) -> str:
        """The interpolation for an image of this size."""
        if self.interpolation != "auto":
            return self.interpolation
        return "area" if height * width > self.height * self.width else "bilinear"


def _conversion_code(name: str) -> int:
    attribute = name.removeprefix("cv2.")
    code = getattr(cv2, attribute, None) if attribute.startswith("COLOR_BGR2") else None
    if not isinstance(code, int):
        raise ConfigError(
            f"{name!r} is not an OpenCV conversion from BGR.",
            "Use for example 'cv2.COLOR_BGR2HSV_FULL', or None.",
            "[image] color_converter",
        )
    return code


def _gamma(pixels: NDArray, gamma: float) -> NDArray:
    if pixels.dtype == np.uint8:
        table = (np.linspace(0, 1, 256) ** gamma * 255).round().astype(np.uint8)
        return table[pixels]
    return (np.clip(pixels / 255.0, 0, None) ** gamma * 255.0).astype(np.float32)


def _sharpen(pixels: NDArray, k: float) -> NDArray:
    kernel = np.full((3, 3), -k, np.float32)
    kernel[1, 1] = 1 + 8 * k
    result = cv2.filter2D(pixels, -1, kernel)
    return result if result.ndim == 3 else result[..., None]
