"""Volumes in, label volumes out: a network of slices applied slice by slice.

Beside the volume and its labels no more than a batch of slices is in memory, unless
probabilities are to be kept.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from flexseg.config.findings import amount
from flexseg.config.infer import Infer3dConfig
from flexseg.errors import DataError
from flexseg.files.intensity import GreyValues
from flexseg.files.resizing import resize
from flexseg.files.volumes.slices import (
    ANATOMICAL_AXES,
    SliceAxis,
    stack_neighbours,
    volume_intensity,
)
from flexseg.files.volumes.volume import Volume
from flexseg.inference.predictor import Predictor
from flexseg.inference.results.prediction_table import Judgement
from flexseg.inference.sliding_window import TiledPredictor
from flexseg.inference.trust.signal import Signal, with_answers
from flexseg.inference.volumes.slice_looks import SliceLooks

Grey = Callable[[NDArray], NDArray]
OnSlice = Callable[[int, int], None]
# Told of the class ids [h, w] of slice i at the size of `slice_resize`.
OnMask = Callable[[int, NDArray[np.uint8]], None]
# Slice, rows of it, and their probabilities [rows, columns, classes].
Piece = tuple[int, slice, NDArray[np.float32]]


class Cut(Protocol):
    """A way to cut volumes into slices."""

    def slice_view(self, array: NDArray, orientation: str) -> NDArray:
        """A volume [z, y, x(, C)] as slices [n, rows, columns(, C)], a view."""
        ...


@dataclass(frozen=True)
class StoredAxis:
    """Slices as the original systems cut them, along an axis of the array as they read it.

    Attributes
    ----------
    order : "hwd" cuts along the last axis, "dhw" along the first.
    turns : clockwise quarter turns of the slices.
    xyz : the original systems read the file's format as [x, y, z] (NIfTI), not as [z, y, x].
    """

    order: str
    turns: int = 0
    xyz: bool = False

    def slice_view(self, array: NDArray, orientation: str) -> NDArray:
        """A volume [z, y, x(, C)] as slices [n, rows, columns(, C)], a view."""
        if self.xyz:
            array = np.swapaxes(array, 0, 2)
        view = np.moveaxis(array, 2 if self.order == "hwd" else 0, 0)
        return np.rot90(view, -self.turns, axes=(1, 2))


def reads_xyz(path: Path) -> bool:
    """Whether the original systems read a file as [x, y, z], see `StoredAxis`."""
    return path.name.lower().endswith((".nii", ".nii.gz"))


@dataclass(frozen=True)
class VolumePrediction:
    """What a network says of a volume.

    Attributes
    ----------
    labels : class ids [z, y, x], after postprocessing.
    probabilities : mean over all cuts, [z, y, x, classes] float16; None if they were not kept.
    judgement : how far they can be trusted.
    signal : that this is known from; None where nobody needs it.
    """

    labels: NDArray[np.uint8]
    probabilities: NDArray[np.float16] | None
    judgement: Judgement
    signal: Signal | None = None


class VolumePredictor:
    """Applies a predictor to the slices of volumes.

    Slices are cut along the axis that the network was trained on, their grey values come from the
    statistics of the whole volume, neighbours are further channels: all as in training, unless
    the config asks for the ways of the original systems.

    Parameters
    ----------
    config : `[infer3d]`; without it, the trained axis alone.
    tiles : predicts slices by windows; without it they are resized to the network.
    """

    def __init__(
        self,
        predictor: Predictor,
        config: Infer3dConfig | None = None,
        tiles: TiledPredictor | None = None,
    ) -> None:
        self.predictor = predictor
        self.config = config or Infer3dConfig()
        self.tiles = tiles

    def cuts(self, xyz: bool = False) -> tuple[Cut, ...]:
        """The ways in which volumes are cut; their probabilities are averaged.

        Parameters
        ----------
        xyz : see `StoredAxis`.
        """
        order, trained = self.config.slice_shape_order, self.predictor.package.preprocessing
        if order is not None:
            return (StoredAxis(order, self.config.quarter_turns, xyz),)
        if not self.config.average_axes:
            return (SliceAxis(trained.axis, trained.rotate),)
        names = ANATOMICAL_AXES if trained.axis in ANATOMICAL_AXES else ("0", "1", "2")
        return tuple(SliceAxis(name, trained.rotate) for name in names)

    @property
    def axes(self) -> tuple[str, ...]:
        """The axes that are averaged, if it is more than one."""
        cuts = self.cuts()
        return tuple(c.name for c in cuts if isinstance(c, SliceAxis)) if len(cuts) > 1 else ()

    def untrained_axes(self) -> list[str]:
        """The axes that the config averages over, but the network was not trained on."""
        trained = self.predictor.package.preprocessing
        known = {trained.axis, *trained.axes}
        return [c.name for c in self.cuts() if isinstance(c, SliceAxis) and c.name not in known]

    def labels(self, volume: Volume, where: str = "volume", **options: Any) -> NDArray[np.uint8]:
        """The class ids [z, y, x] of a volume, see `predict`."""
        return self.predict(volume, where, **options).labels

    def predict(
        self,
        volume: Volume,
        where: str = "volume",
        *,
        xyz: bool = False,
        grey: Grey | None = None,
        keep: bool = False,
        folder: Path | None = None,
        on_slice: OnSlice | None = None,
        on_mask: OnMask | None = None,
        signals: bool = False,
    ) -> VolumePrediction:
        """Predict a volume.

        Parameters
        ----------
        where : names the volume in errors.
        xyz : see `StoredAxis`.
        grey : the volume's `grey`, if it is there already.
        keep : return probabilities. They, and those that are averaged, are held in memory up to
            `memory_gb`, otherwise in a temporary file.
        folder : where that file goes; it vanishes with the array.
        on_slice : called with (done, total).
        on_mask : called with each slice's labels where `slice_resize` is set.
        signals : return the signal of the quality, also of a model that knows nothing of it.

        Raises
        ------
        DataError : its channels do not fit the network, or it has no finite value.
        """
        self._check_channels(volume, where)
        grey, cuts = grey or self.grey(volume, where), self.cuts(xyz)
        total = sum(len(cut.slice_view(volume.array, volume.orientation)) for cut in cuts)
        mean = self._accumulator(volume.shape, folder) if keep or len(cuts) > 1 else None
        done = 0
        slices, *size = cuts[0].slice_view(volume.array, volume.orientation).shape[:3]
        height, width = self.config.slice_resize[::-1] if self.config.slice_resize else size
        looks = SliceLooks(self.tiles or self.predictor, slices, signals=signals)
        # The labels of each cut; of several only their agreement is wanted, if at all.
        kept = len(cuts) if len(cuts) == 1 or looks.signals else 0
        answers = [np.zeros(volume.shape, np.uint8) for _ in range(kept)]
        for number, cut in enumerate(cuts):
            rows_of_slice = cut.slice_view(volume.array, volume.orientation).shape[1]
            labels = cut.slice_view(answers[number], volume.orientation) if answers else None
            sums = None if mean is None else cut.slice_view(mean, volume.orientation)
            for i, rows, p in self._pieces(volume, cut, grey, where, looks, on_mask):
                if sums is not None:
                    sums[i, rows] += p / np.float32(len(cuts))
                if labels is not None:
                    labels[i, rows] = self.predictor.labels(p)
                if rows.stop == rows_of_slice:
                    done += 1
                    if on_slice is not None:
                        on_slice(done, total)
        signal = looks.signal
        if mean is not None and len(cuts) > 1:
            if signal is not None:
                signal = with_answers(signal, answers)
            result = np.zeros(volume.shape, np.uint8)
            for plane, values in zip(result, mean, strict=True):
                plane[:] = self.predictor.labels(np.asarray(values, np.float32))
        else:
            (result,) = answers
        result = self.predictor.postprocess(result)
        known = signal if self.as_calibrated(cuts) else None
        judgement = looks.judgement(
            volume,
            result,
            known,
            size=(height, width),
            as_stored=not self.config.slice_normalize,
        )
        return VolumePrediction(result, mean, judgement, signal)

    def as_calibrated(self, cuts: Sequence[Cut]) -> bool:
        """Whether volumes are predicted as those whose quality is known."""
        trained = self.predictor.package.preprocessing
        axes = self.predictor.trust.axes or (trained.axis,)
        plain = self.config.slice_resize is None and not self.config.slice_normalize
        return plain and tuple(cuts) == tuple(SliceAxis(name, trained.rotate) for name in axes)

    def grey(self, volume: Volume, where: str = "volume") -> Grey:
        """A function of a slice's voxels to the pixels that the network's preprocessing takes."""
        if self.config.slice_normalize:
            as_stored = GreyValues.of(volume.array, None, 8, where)
            return lambda voxels: to_own_range(as_stored(voxels))
        return volume_intensity(volume, self.predictor.package.preprocessing, where)

    def _accumulator(self, size: tuple[int, ...], folder: Path | None) -> NDArray[np.float16]:
        shape = (*size, self.predictor.package.config.num_classes)
        if 2 * float(np.prod(shape)) <= self.config.memory_gb * 2**30:
            return np.zeros(shape, np.float16)
        file = tempfile.TemporaryFile(dir=folder, prefix=".probabilities_")  # noqa: SIM115
        return np.memmap(file, np.float16, "w+", shape=shape)

    def _pieces(
        self,
        volume: Volume,
        cut: Cut,
        grey: Grey,
        where: str,
        looks: SliceLooks,
        on_mask: OnMask | None = None,
    ) -> Iterator[Piece]:
        preprocessing = self.predictor.package.preprocessing
        n = preprocessing.neighbours
        slices = self._slices(volume, cut, grey)
        if self.tiles is None:
            one, size = preprocessing.single, cut.slice_view(volume.array, volume.orientation).shape
            prepared = _Slices(len(slices), lambda i: one.image(slices[i], where), 2 * n + 1)
            return self._whole(prepared, n, size[1:3], looks, on_mask)
        return self._tiled(self.tiles, slices, n, where, looks)

    def shown(self, volume: Volume, cut: Cut, grey: Grey) -> Callable[[int], NDArray]:
        """Gives a slice as the network's preprocessing takes it: pixels [H, W, C], its neighbours
        being channels.

        Parameters
        ----------
        grey : the volume's.
        """
        slices = self._slices(volume, cut, grey)
        return lambda i: slices.stack(i, self.predictor.package.preprocessing.neighbours)

    def _slices(self, volume: Volume, cut: Cut, grey: Grey) -> _Slices:
        """Pixels [H, W, C] of the slices, without neighbours."""
        view = cut.slice_view(volume.array, volume.orientation)

        def pixels(i: int) -> NDArray:
            found = grey(view[i])
            found = found if found.ndim == 3 else found[..., None]
            size = self.config.slice_resize
            return found if size is None else resize(found, size[::-1], "bilinear")

        return _Slices(len(view), pixels, 2 * self.predictor.package.preprocessing.neighbours + 1)

    def _whole(
        self,
        prepared: _Slices,
        n: int,
        size: tuple[int, ...],
        looks: SliceLooks,
        on_mask: OnMask | None,
    ) -> Iterator[Piece]:
        """Slices of `size` (rows, columns), each resized to the network as a whole."""
        step, picture = self.predictor.batch_size, self.config.slice_resize
        for start in range(0, len(prepared), step):
            indices = range(start, min(start + step, len(prepared)))
            # Engines compile anew for every size of batch: a few sizes have to do.
            size_of_batch = min(step, 1 << (len(indices) - 1).bit_length())
            filled = [*indices, *[indices[-1]] * (size_of_batch - len(indices))]
            batch = np.stack([prepared.stack(i, n).astype(np.float32) for i in filled])
            looks.see(batch[: len(indices)])
            answers = self.predictor.at_model_size(batch, looks.on_signal(len(indices)))
            for i, p in zip(indices, answers, strict=False):
                if on_mask is not None and picture is not None:
                    on_mask(i, self.predictor.labels(self.predictor.resize(p, picture[::-1])))
                yield i, slice(0, size[0]), self.predictor.resize(p, size)

    def _tiled(
        self, tiles: TiledPredictor, slices: _Slices, n: int, where: str, looks: SliceLooks
    ) -> Iterator[Piece]:
        on_signal = looks.on_signal()
        stacks = (slices.stack(i, n) for i in range(len(slices)))
        least = tiles.least_contrast(
            window
            for pixels in stacks
            for window in tiles.side_by_side(
                pixels.__getitem__, pixels.shape[0], pixels.shape[1], where
            )
        )
        for i in range(len(slices)):
            pixels = slices.stack(i, n)
            size = pixels.shape[:2]
            looks.see_windows(tiles, pixels)
            slabs = tiles.slabs(
                pixels.__getitem__, *size, where=where, on_signal=on_signal, least=least
            )
            for first, p in slabs:
                yield i, slice(first, first + len(p)), p

    def _check_channels(self, volume: Volume, where: str) -> None:
        preprocessing = self.predictor.package.preprocessing
        takes = 1 if preprocessing.neighbours else preprocessing.channels
        # One channel is shown three times to networks of colour images.
        fits = volume.channels == takes or (volume.channels == 1 and takes == 3)
        if not fits:
            raise DataError(
                f"The volume has {amount(volume.channels, 'channel')}, but the network takes "
                f"{takes}.",
                f"Choose one with --channel, 0 to {volume.channels - 1}."
                if volume.channels > 1
                else "Give a volume with all channels.",
                where,
            )


class _Slices:
    """Slices [rows, columns, C] made when they are asked for; the last few are kept."""

    def __init__(self, count: int, make: Callable[[int], NDArray], kept: int) -> None:
        self._count = count
        self._make = lru_cache(maxsize=kept)(make)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int, /) -> NDArray:
        return self._make(index)

    def stack(self, i: int, n: int) -> NDArray:
        """A slice, with `n` > 0 between its neighbours on each side, as channels."""
        return stack_neighbours(self, i, n) if n else self[i]


def to_own_range(pixels: NDArray) -> NDArray[np.uint8]:
    """A slice [rows, columns(, C)] as the original systems scale it, by its own extremes.

    Each channel becomes (v - min) / (max - min) 255, cut to whole numbers; a constant one 0.
    """
    values = pixels.astype(np.float64)
    low, high = values.min(axis=(0, 1)), values.max(axis=(0, 1))
    span = np.where(high > low, high - low, 1.0)
    return ((values - low) / span * 255).astype(np.uint8)


def cut_names(cuts: Sequence[Cut]) -> str:
    """Cuts for people and tables: "axial", or "axial, coronal, sagittal"."""
    return ", ".join(_name(c) for c in cuts)


def _name(cut: Cut) -> str:
    return cut.name if isinstance(cut, SliceAxis) else "as stored"
