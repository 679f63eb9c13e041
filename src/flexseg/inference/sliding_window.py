"""Prediction of images larger than the network, by overlapping windows.

The probabilities of the windows are averaged with weights that fall from the middle of a window
to its edge, as those of nnU-Net do (Isensee et al. 2021, doi:10.1038/s41592-020-01008-z).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from flexseg.batches.patches import margins, windows
from flexseg.config.infer import TiledInferConfig
from flexseg.errors import ConfigError
from flexseg.inference.predictor import Predictor
from flexseg.inference.trust.conformal import Trust
from flexseg.inference.trust.signal import OnSignal, SignalSum
from flexseg.model_file.contrast import deviations
from flexseg.model_file.home_images import HomeImages
from flexseg.model_file.model_description import ModelDescription

# Gives the rows start..stop of an image, asked for by a slice: pixels [stop - start, W, C].
ReadRows = Callable[[slice], NDArray]
# Of each network, see `Predictor.with_least_contrast`.
LeastContrast = tuple[NDArray[np.float32], ...]


def gaussian_weight(side: int, overlap: int) -> NDArray[np.float64]:
    """Weights [side] of a window's pixels along one axis, above 0, highest in the middle.

    A Gaussian as of nnU-Net, whose sigma (there side / 8) follows the overlap: in the outer quarter
    of what neighbours share, a window counts less than 1/400 of its neighbour, for near its edge a
    network sees the padding of its convolutions. It is side / 9.8 where the overlap is half of the
    side. The Gaussian is lowered so that it would reach 0 one pixel outside of the window.
    """
    shared = min(overlap, side / 2)
    # Of two windows at distance D, one has exp(-D d / variance) of the other's weight where a
    # point is d pixels from the middle of what they share; here D d / variance = 6 for
    # d = shared / 4. The lower limit keeps exp from 0.
    variance = max((side - shared) * shared / 24, (side / 40) ** 2)
    distance = np.arange(side) - (side - 1) / 2
    outside = np.exp(-(((side + 1) / 2) ** 2) / (2 * variance))
    return np.exp(-(distance**2) / (2 * variance)) - outside


def _shares(starts: Sequence[int], window: int, overlap: int) -> list[NDArray[np.float32]]:
    """The share that each window of one axis has in its pixels: over all windows they sum to 1.

    As the windows of an image are a grid and the Gaussian separates, the share of a pixel of a
    window is the product of those of its row and its column.
    """
    weight = gaussian_weight(window, overlap)
    total = np.zeros(starts[-1] + window)
    for start in starts:
        total[start : start + window] += weight
    return [(weight / total[start : start + window]).astype(np.float32) for start in starts]


class TiledPredictor:
    """Applies a predictor to the windows of an image; stands in for it where images are given.

    Parameters
    ----------
    window : (height, width) in pixels of the image, default: that of the network's patches, else
        its size. Windows of another size are resized to the network, and their probabilities back.
    overlap : pixels that neighbouring windows share at least, below both sides of the window.

    Raises
    ------
    ConfigError : the overlap does not fit the window.
    """

    def __init__(
        self, predictor: Predictor, window: tuple[int, int] | None = None, overlap: int = 0
    ) -> None:
        self.predictor = predictor
        self.window = window or _own_window(predictor)
        self.overlap = overlap
        if not 0 <= overlap < min(self.window):
            raise ConfigError(
                f"Neighbouring windows would share {overlap} pixels (twice `overlapping`), but a "
                f"window is only {self.window[1]} x {self.window[0]}.",
                f"Set overlapping below {(min(self.window) + 1) // 2}; an eighth of the window is "
                "a good value.",
                "[tiledinfer]",
            )

    @classmethod
    def from_config(cls, predictor: Predictor, config: TiledInferConfig) -> TiledPredictor:
        """The windows that `[tiledinfer]` means: of the network's shape, `split_size` wide."""
        height, width = _own_window(predictor)
        if config.split_size is not None:
            height = max(1, round(config.split_size * height / width))
            width = config.split_size
        margin = config.overlapping
        if margin is None:
            margin = min(height, width) // 8
        return cls(predictor, (height, width), 2 * margin)

    @property
    def at_once(self) -> int:
        """See `Predictor.at_once`: images may have any size, and are predicted one by one."""
        return 1

    def prepared(self, pixels: NDArray, where: str = "image") -> NDArray:
        """See `Predictor.prepared`: the pixels [H, W, C] as they are."""
        self.package.preprocessing.image(pixels[:2, :2], where)
        return pixels

    def predicted(
        self, prepared: Sequence[NDArray], on_signal: OnSignal | None = None
    ) -> NDArray[np.float32]:
        """See `Predictor.predicted`: of images of one size, at that size."""
        images = (("image", pixels) for pixels in prepared)
        return np.stack([p for _, _, p in self.probabilities(images, on_signal)])

    def reference(self, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """See `Predictor.reference`: class ids at the images' own size."""
        return labels

    def resize(self, p: NDArray[np.float32], size: tuple[int, ...]) -> NDArray[np.float32]:
        """See `Predictor.resize`: probabilities have the size of their image already."""
        return p

    def describe(self) -> dict[str, object]:
        """What the predictions depend on beside the weights, plain JSON types."""
        height, width = self.window
        windows = {"width": width, "height": height, "overlap": self.overlap}
        return self.predictor.describe() | {"windows": windows}

    @property
    def homes(self) -> tuple[HomeImages | None, ...]:
        """See `Predictor.homes`."""
        return self.predictor.homes

    @property
    def packages(self) -> tuple[ModelDescription, ...]:
        """See `Predictor.packages`."""
        return self.predictor.packages

    @property
    def trust(self) -> Trust:
        """See `Predictor.with_trust`; nothing is known of windows that nothing was calibrated
        with."""
        trust = self.predictor.trust
        if self.predictor.package.preprocessing.patch is None:
            return replace(trust, quality={})
        return trust

    @property
    def package(self) -> ModelDescription:
        """The model that predicts."""
        return self.predictor.package

    def labels(self, p: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Probabilities [H, W, classes] to class ids [H, W]."""
        return self.predictor.labels(p)

    def postprocess(self, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Class ids of a whole image, cleaned as the user chose."""
        return self.predictor.postprocess(labels)

    def probabilities(
        self, images: Iterable[tuple[str, NDArray]], on_signal: OnSignal | None = None
    ) -> Iterator[tuple[str, NDArray, NDArray[np.float32]]]:
        """Predict (name, pixels [H, W, C]) pairs, as `Predictor.probabilities`."""
        for name, pixels in images:
            height, width = pixels.shape[:2]
            result = np.empty((height, width, self.package.config.num_classes), np.float32)
            total = SignalSum() if on_signal is not None else None
            slabs = self.slabs(pixels.__getitem__, height, width, where=name, on_signal=total)
            for first, p in slabs:
                result[first : first + len(p)] = p
            if on_signal is not None and total is not None and total.signal is not None:
                on_signal(total.signal)
            yield name, pixels, result

    def slabs(
        self,
        read: ReadRows,
        height: int,
        width: int,
        *,
        where: str = "image",
        on_signal: OnSignal | None = None,
        least: LeastContrast | None = None,
    ) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Predict an image from top to bottom, holding no more than a row of windows.

        An image smaller than the window is mirrored up to it.

        Parameters
        ----------
        read : gives the rows of a slice; every row is asked for once, from top to bottom. Where
            networks standardise, the first ones are looked at before.
        height, width : of the image in pixels.
        where : names the image in errors.
        on_signal : told of the signal of each window.
        least : that of the whole that the image is a part of; without it the image's own.

        Yields
        ------
        First row and probabilities [rows, W, classes] float32 of the next finished rows.
        """
        side, across = self.window
        mirrored = (margins(height, side), margins(width, across), (0, 0))
        top, left = mirrored[0][0], mirrored[1][0]
        rows, columns = windows(height, side, self.overlap), windows(width, across, self.overlap)
        row_shares = _shares(rows, side, self.overlap)
        column_shares = _shares(columns, across, self.overlap)
        classes = self.package.config.num_classes
        slab = np.zeros((side, columns[-1] + across, classes), np.float32)
        if len(rows) == len(columns) == 1:
            least = ()  # what is seen whole is seen as it is
        elif least is None:
            least = self.least_contrast(self.side_by_side(read, height, width, where))
        predictor = self.predictor.with_least_contrast(least) if least else self.predictor
        end = min(side, height)
        pixels = read(slice(0, end))
        for i, start in enumerate(rows):
            whole = np.pad(pixels, mirrored, mode="reflect") if np.any(mirrored) else pixels
            named = ((where, whole[:, column : column + across]) for column in columns)
            answers = predictor.probabilities(named, on_signal)
            for column, share, (_, _, p) in zip(columns, column_shares, answers, strict=True):
                weight = row_shares[i][:, None] * share
                slab[:, column : column + across] += p * weight[..., None]
            if start == rows[-1]:
                yield start, slab[top : top + end - start, left : left + width]
                return
            done = rows[i + 1] - start
            yield start, slab[:done, left : left + width]
            slab = np.concatenate([slab[done:], np.zeros((done, *slab.shape[1:]), np.float32)])
            pixels = np.concatenate([pixels[done:], read(slice(end, end + done))])
            end += done

    def side_by_side(
        self, read: ReadRows, height: int, width: int, where: str = "image"
    ) -> Iterator[NDArray]:
        """Windows of an image, see `slabs`, as the network takes them [h, w, C].

        Those of an image smaller than a window are what there is of it.
        """
        side, across = self.window
        for top in windows(height, side, 0):
            rows = read(slice(top, min(top + side, height)))
            for left in windows(width, across, 0):
                yield self.package.preprocessing.image(rows[:, left : left + across], where)

    def least_contrast(self, shown: Iterable[NDArray]) -> LeastContrast:
        """What no window of an image, or of a volume, is stretched beyond.

        That is the least of each network's training, or the highest of the windows where all are
        fainter, as images of another device may be. Only as many windows as this takes are
        looked at.

        Parameters
        ----------
        shown : windows as the network takes them [h, w, C].
        """
        least = [np.array(package.least_contrast, np.float32) for package in self.packages]
        if not any(map(len, least)):
            return ()
        highest = [np.zeros_like(limits) for limits in least]
        for window in shown:
            for found in highest:
                if len(found):
                    np.maximum(found, deviations(window, len(found)), out=found)
            if all((h >= limits).all() for h, limits in zip(highest, least, strict=True)):
                break
        return tuple(np.minimum(h, limits) for h, limits in zip(highest, least, strict=True))


def _own_window(predictor: Predictor) -> tuple[int, int]:
    preprocessing = predictor.package.preprocessing
    return preprocessing.patch or (preprocessing.height, preprocessing.width)


def as_trained(
    predictor: Predictor, config: TiledInferConfig, *, tiled: bool = False
) -> Predictor | TiledPredictor:
    """A predictor that sees images as its network did in training: whole, or by windows.

    Parameters
    ----------
    config : what windows are like.
    tiled : by windows, whatever it was trained on.
    """
    if tiled or predictor.package.preprocessing.patch is not None:
        return TiledPredictor.from_config(predictor, config)
    return predictor


def tiles_of(
    predictor: Predictor, config: TiledInferConfig, *, tiled: bool = False
) -> TiledPredictor | None:
    """The windows of `as_trained`; None where images are seen whole."""
    found = as_trained(predictor, config, tiled=tiled)
    return found if isinstance(found, TiledPredictor) else None
