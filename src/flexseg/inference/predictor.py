"""Images in, class probabilities out, at the images' own size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from flexseg.data.preprocess import resize
from flexseg.errors import ConfigError
from flexseg.models.package import ModelPackage


class Predictor:
    """Applies a model package to images of any size.

    Parameters
    ----------
    batch_size : images per step.
    blur : size (w, h) of a Gaussian blur of the probabilities before resizing, or None.

    Raises
    ------
    ConfigError : a size of the blur is not odd.
    """

    def __init__(
        self, package: ModelPackage, batch_size: int = 4, blur: tuple[int, int] | None = None
    ) -> None:
        if blur is not None and not all(size > 0 and size % 2 for size in blur):
            raise ConfigError(
                f"The blur of {blur[0]} x {blur[1]} pixels has no centre.",
                "Use odd numbers, e.g. (5, 5).",
                "[infer] ksize",
            )
        self.package = package
        self.batch_size = batch_size
        self.blur = blur

    def at_model_size(self, batch: NDArray) -> NDArray[np.float32]:
        """Prepared images [B, h, w, C] to probabilities [B, h, w, classes] float32."""
        return np.asarray(self.package.model.predict_on_batch(batch), np.float32)

    def probabilities(
        self, images: Iterable[tuple[str, NDArray]]
    ) -> Iterator[tuple[str, NDArray, NDArray[np.float32]]]:
        """Predict (name, pixels [H, W, C]) pairs in batches.

        Yields name, pixels and probabilities [H, W, classes] float32 at the image's size. The
        probabilities are resized, not the labels: bilinearly up, by area down.
        """
        pending: list[tuple[str, NDArray]] = []
        for item in images:
            pending.append(item)
            if len(pending) == self.batch_size:
                yield from self._predict(pending)
                pending = []
        if pending:
            yield from self._predict(pending)

    def _predict(
        self, items: list[tuple[str, NDArray]]
    ) -> Iterator[tuple[str, NDArray, NDArray[np.float32]]]:
        prepare = self.package.preprocessing.image
        batch = np.stack([prepare(pixels, name).astype(np.float32) for name, pixels in items])
        for (name, pixels), p in zip(items, self.at_model_size(batch), strict=True):
            yield name, pixels, self.resize(p, pixels.shape[:2])

    def resize(self, p: NDArray[np.float32], size: tuple[int, ...]) -> NDArray[np.float32]:
        """Probabilities [h, w, classes] at `size` (height, width)."""
        if self.blur is not None:
            p = cv2.GaussianBlur(p, self.blur, 0).reshape(p.shape)
        if p.shape[:2] == tuple(size):
            return p
        shrink = size[0] * size[1] < p.shape[0] * p.shape[1]
        return resize(p, size, "area" if shrink else "bilinear")

    def labels(self, p: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Probabilities [H, W, classes] to class ids [H, W]."""
        if p.shape[-1] == 1:
            return (p[..., 0] > self.package.threshold).astype(np.uint8)
        return p.argmax(axis=-1).astype(np.uint8)
