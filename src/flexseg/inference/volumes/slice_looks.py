"""What the slices of a volume tell of how far its prediction can be trusted."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flexseg.dataset.acquisition import Acquired
from flexseg.files.volumes.volume import Volume
from flexseg.inference.predictor import Predictor
from flexseg.inference.results.prediction_table import Judgement, counted
from flexseg.inference.sliding_window import TiledPredictor
from flexseg.inference.trust.checked_input import InputCheck
from flexseg.inference.trust.input_check import check_input, strangeness
from flexseg.inference.trust.signal import OnSignal, Signal, SignalSum
from flexseg.inference.value_range import extremes
from flexseg.model_file.home_images import image_figures, window_figures

# Slices of a volume that tell whether it is of the kind that was trained on.
_LOOKED_AT = 48


class SliceLooks:
    """Collects them while a volume is predicted.

    Parameters
    ----------
    slices : of the volume, along the first of the axes that are averaged.
    signals : wanted even if the model knows nothing of quality.
    """

    def __init__(
        self, predictor: Predictor | TiledPredictor, slices: int, *, signals: bool = False
    ) -> None:
        self.predictor = predictor
        self.slices = slices
        self.signals = signals or bool(predictor.trust.quality)
        self._signal = SignalSum()
        self._known = any(home is not None for home in predictor.homes)
        self._figures: list[NDArray[np.float64]] = []
        self._seen = 0

    def on_signal(self, count: int | None = None) -> OnSignal | None:
        """Takes the signals of a batch, of which `count` images are no filling."""
        if not self.signals:
            return None
        if count is None:
            return self._signal
        told = iter(range(count))
        return lambda signal: None if next(told, None) is None else self._signal(signal)

    def see(self, prepared: NDArray) -> None:
        """Slices [B, h, w, C] as the network takes them."""
        for image in prepared:
            if self._wanted():
                self._figures.append(image_figures(image))

    def see_windows(self, tiles: TiledPredictor, pixels: NDArray) -> None:
        """A slice [H, W, C] that is seen by windows."""
        if self._wanted():
            prepare = tiles.package.preprocessing.image
            size = (pixels.shape[0], pixels.shape[1])
            found = window_figures(size, tiles.window, lambda r, c: prepare(pixels[r, c]))
            self._figures.append(found)

    def _wanted(self) -> bool:
        """Some slices, evenly chosen, suffice."""
        number, self._seen = self._seen, self._seen + 1
        step = -(-self.slices // _LOOKED_AT)
        return self._known and number < self.slices and number % step == 0

    @property
    def signal(self) -> Signal | None:
        """Of all slices; None where none are wanted."""
        return self._signal.signal

    def judgement(
        self,
        volume: Volume,
        labels: NDArray[np.uint8],
        signal: Signal | None,
        *,
        size: tuple[int, int],
        as_stored: bool = True,
    ) -> Judgement:
        """Of a volume and its final labels [z, y, x].

        Parameters
        ----------
        signal : of a prediction that was made as those that quality was calibrated with; None:
            of another one.
        size : rows and columns of the slices that the network was given.
        as_stored : values were not scaled by themselves before.
        """
        raw = as_stored and self.predictor.package.preprocessing.intensity is None
        check = self._check(volume, size, raw=raw)
        if signal is None or not self.predictor.trust.quality:
            return Judgement({}, check)
        return Judgement(self.predictor.trust.statements(signal, counted(labels), 3), check)

    def _check(self, volume: Volume, size: tuple[int, int], *, raw: bool) -> InputCheck:
        limits = 0.0, 0.0
        if raw and volume.array.dtype != np.uint8:
            ends = np.array(extremes(volume.array)).astype(volume.array.dtype)
            low, high = self.predictor.package.preprocessing.on_scale(ends).tolist()
            limits = low, high
        # Files that know no spacing have one of 1 mm.
        spacing = volume.spacing if volume.spacing != (1.0, 1.0, 1.0) else ()
        windows = isinstance(self.predictor, TiledPredictor)
        return check_input(
            self.predictor.packages,
            strangeness(self.predictor.homes, self._figures),
            Acquired(None if windows else size, spacing, volume.modality),
            volume.array.dtype,
            limits,
        )
