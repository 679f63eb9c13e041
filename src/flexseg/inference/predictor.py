"""Images in, class probabilities out, at the images' own size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import partial
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

from flexseg.errors import ConfigError
from flexseg.files.resizing import enlarged, resize
from flexseg.inference import tta as test_time
from flexseg.inference.engines.opening import Engine, KerasEngine
from flexseg.inference.postprocess import Postprocessing
from flexseg.inference.trust.conformal import Trust
from flexseg.inference.trust.signal import Members, OnSignal
from flexseg.model_file.contrast import with_contrast
from flexseg.model_file.home_images import HomeImages
from flexseg.model_file.model_description import ModelDescription

# The probabilities of larger images are never in memory whole.
_WHOLE_PIXELS = 4_000_000


class Predictor:
    """Applies a model package to images of any size.

    Parameters
    ----------
    batch_size : images per step.
    blur : size (w, h) of a Gaussian blur of the probabilities before resizing, or None.
    engine : computes the network; without one Keras does, and the package must hold it.

    Raises
    ------
    ConfigError : a size of the blur is not odd.
    """

    def __init__(
        self,
        package: ModelDescription,
        batch_size: int = 4,
        blur: tuple[int, int] | None = None,
        engine: Engine | None = None,
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
        self.engine = engine or KerasEngine.of(package)
        self.views: tuple[test_time.View, ...] = ()
        self.postprocessing: dict[int, Postprocessing] = {}
        self.chosen_on: dict[str, object] = {}
        self.trust = Trust()
        self.least_contrast: tuple[NDArray[np.float32], ...] = ()

    @property
    def homes(self) -> tuple[HomeImages | None, ...]:
        """What the images of the training of each network look like."""
        return tuple(package.home for package in self.packages)

    @property
    def packages(self) -> tuple[ModelDescription, ...]:
        """Those of all networks."""
        return (self.package,)

    def with_postprocessing(
        self,
        tta: Sequence[str] = (),
        postprocessing: Mapping[int, Postprocessing] | None = None,
        chosen_on: Mapping[str, object] | None = None,
    ) -> Self:
        """The same predictor with other views and postprocessing.

        Parameters
        ----------
        tta : names of views to average over, see `[infer] tta`.
        postprocessing : what is done with labels, by their number of dimensions (2 or 3).
        chosen_on : the cases that all this was chosen on, if it was, JSON types.

        Raises
        ------
        ConfigError : a view does not fit the network.
        """
        other = copy(self)
        size = self.package.preprocessing
        other.views = test_time.views(tta, size.height, size.width)
        other.postprocessing = dict(postprocessing or {})
        other.chosen_on = dict(chosen_on or {})
        return other

    def with_trust(self, trust: Trust) -> Self:
        """The same predictor, whose predictions come with statements of their quality."""
        other = copy(self)
        other.trust = trust
        return other

    def with_least_contrast(self, least: tuple[NDArray[np.float32], ...]) -> Self:
        """The same predictor for inputs that are parts of an image, see `model_file.contrast`.

        Parameters
        ----------
        least : deviations of each network, see `ModelDescription.least_contrast`, none where it
            takes inputs as they are; empty: all do.
        """
        other = copy(self)
        other.least_contrast = least
        return other

    def with_threshold(self, threshold: float | None) -> Self:
        """The same predictor, where pixels of one class are foreground above another probability.

        Parameters
        ----------
        threshold : from 0 to 1; None: as it is.
        """
        if threshold is None or threshold == self.package.threshold:
            return self
        other = self.with_trust(replace(self.trust, quality={}))
        other.package = replace(self.package, threshold=threshold)
        return other

    def at_model_size(
        self, batch: NDArray, on_signal: OnSignal | None = None
    ) -> NDArray[np.float32]:
        """Prepared images [B, h, w, C] to probabilities [B, h, w, classes] float32, averaged
        over the views of test-time augmentation.

        Parameters
        ----------
        on_signal : told of the signal of each image, which the answers are not changed by.
        """
        if on_signal is None:
            return test_time.averaged(self.network, batch, self.views)
        members = Members(self.package.threshold)
        first = partial(self.network, members=members)
        p = test_time.averaged(self.network, batch, self.views, first, members)
        for signal in members.signals():
            on_signal(signal)
        return p

    def network(self, batch: NDArray, members: Members | None = None) -> NDArray[np.float32]:
        """The network's own answer to prepared images, which `members` is told of, see
        `at_model_size`."""
        p = self._answer(0, self.engine, batch)
        if members is not None:
            members.see(p, own=True)
        return p

    def _answer(self, number: int, engine: Engine, batch: NDArray) -> NDArray[np.float32]:
        """That of one network, at the contrast that it knows."""
        least = self.least_contrast[number] if self.least_contrast else ()
        return engine.predict(with_contrast(batch, least) if len(least) else batch)

    @property
    def at_once(self) -> int:
        """Images that are best given to `predicted` together."""
        return self.batch_size

    def prepared(self, pixels: NDArray, where: str = "image") -> NDArray:
        """Pixels [H, W, C] as `predicted` takes them: the network's input [h, w, channels].

        Raises
        ------
        DataError : the channels do not fit.
        """
        return self.package.preprocessing.image(pixels, where).astype(np.float32)

    def predicted(
        self, prepared: Sequence[NDArray], on_signal: OnSignal | None = None
    ) -> NDArray[np.float32]:
        """Probabilities [B, h, w, classes] at the network's size, see `resize`; `on_signal` is told
        of the signal of each image."""
        return self.at_model_size(np.stack(prepared), on_signal)

    def reference(self, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """True class ids [H, W] at the size of what `predicted` gives."""
        return self.package.preprocessing.labels(labels)

    def probabilities(
        self, images: Iterable[tuple[str, NDArray]], on_signal: OnSignal | None = None
    ) -> Iterator[tuple[str, NDArray, NDArray[np.float32]]]:
        """Predict (name, pixels [H, W, C]) pairs in batches.

        Yields name, pixels and probabilities [H, W, classes] float32 at the image's size. The
        probabilities are resized, not the labels: bilinearly up, by area down.

        Parameters
        ----------
        on_signal : told of each image's signal before it is given.
        """
        pending: list[tuple[str, NDArray]] = []
        for item in images:
            pending.append(item)
            if len(pending) == self.batch_size:
                yield from self._predict(pending, on_signal)
                pending = []
        if pending:
            yield from self._predict(pending, on_signal)

    def _predict(
        self, items: list[tuple[str, NDArray]], on_signal: OnSignal | None
    ) -> Iterator[tuple[str, NDArray, NDArray[np.float32]]]:
        prepare = self.package.preprocessing.image
        batch = np.stack([prepare(pixels, name).astype(np.float32) for name, pixels in items])
        answers = self.at_model_size(batch, on_signal)
        for (name, pixels), p in zip(items, answers, strict=True):
            yield name, pixels, self.resize(p, pixels.shape[:2])

    def resize(self, p: NDArray[np.float32], size: tuple[int, ...]) -> NDArray[np.float32]:
        """Probabilities [h, w, classes] at `size` (height, width)."""
        return self._at_size(self._blurred(p), size)

    def resized_rows(
        self, p: NDArray[np.float32], size: tuple[int, int]
    ) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """`resize` of an image, in parts where that is large: first row and rows of each."""
        p = self._blurred(p)
        if size[0] * size[1] <= _WHOLE_PIXELS or size[0] * size[1] < p.shape[0] * p.shape[1]:
            yield 0, self._at_size(p, size)
            return
        first = 0
        for rows in enlarged(p, size):
            yield first, rows
            first += len(rows)

    def _blurred(self, p: NDArray[np.float32]) -> NDArray[np.float32]:
        return p if self.blur is None else cv2.GaussianBlur(p, self.blur, 0).reshape(p.shape)

    def _at_size(self, p: NDArray[np.float32], size: tuple[int, ...]) -> NDArray[np.float32]:
        if p.shape[:2] == tuple(size):
            return p
        shrink = size[0] * size[1] < p.shape[0] * p.shape[1]
        return resize(p, size, "area" if shrink else "bilinear")

    def labels(self, p: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Probabilities [H, W, classes] to class ids [H, W]."""
        if p.shape[-1] == 1:
            return (p[..., 0] > self.package.threshold).astype(np.uint8)
        return p.argmax(axis=-1).astype(np.uint8)

    def postprocess(self, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Predicted class ids [H, W], or [z, y, x] of a volume, cleaned as the user chose."""
        process = self.postprocessing.get(labels.ndim)
        return process(labels) if process else labels

    def describe(self) -> dict[str, object]:
        """What the predictions depend on beside the weights, plain JSON types."""
        label_map = self.package.labels
        return {
            "engine": f"{self.engine.name} {self.engine.precision}",
            "threshold": self.package.threshold if label_map.binary else None,
            "tta": [view.name for view in self.views],
            "postprocess": {
                f"{dimensions}d": process.as_dict(label_map)
                for dimensions, process in self.postprocessing.items()
                if process.steps
            },
            "chosen_on": self.chosen_on or None,
        }
