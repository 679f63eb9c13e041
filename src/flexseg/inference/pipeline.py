"""Reading, predicting and writing at the same time, in order and in bounded memory."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from flexseg.batches.neighbours import read_with_neighbours
from flexseg.config.findings import amount
from flexseg.dataset.acquisition import Acquired
from flexseg.errors import DataError
from flexseg.files.channel_files.channel_names import image_of
from flexseg.files.channel_files.channel_reading import read_channels
from flexseg.files.large_images import ArrayRows, Regions, open_regions
from flexseg.files.preprocess import Preprocessing
from flexseg.inference.predictor import Predictor
from flexseg.inference.results.image_outputs import Slabs
from flexseg.inference.sliding_window import TiledPredictor
from flexseg.inference.trust.checked_input import InputCheck
from flexseg.inference.trust.input_check import check_input, strangeness, strangeness_of
from flexseg.inference.trust.signal import Signal, SignalSum
from flexseg.machine import usable_cores
from flexseg.model_file.home_images import window_figures

logger = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")

# Of larger images none is read ahead of the one that is predicted.
ALONE_PIXELS = 25_000_000
# So many times the network's size an image may have, in both directions, without a word.
_MUCH_LARGER = 4
# What waits in memory to be written is about so many pixels, or one image.
_WAITING_PIXELS = 16_000_000
_WAITING_IMAGES = 16
# Of an image that is seen by windows, for a look at its values.
_FIRST_ROWS = 64


def workers() -> int:
    """Threads that read, and as many that write: the rest is for the network."""
    return max(1, min(4, usable_cores() // 2))


def ahead(
    function: Callable[[Item], Result], items: Iterable[Item], count: int
) -> Iterator[Result]:
    """`map(function, items)` by threads that are at most `count` results ahead of the reader.

    An error of `function` is raised in its turn; items after those that were begun are not taken.
    """
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(workers()) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > count:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


class Writers:
    """Tasks done by threads, whose results are taken in the order of the tasks."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool
        self._waiting: deque[tuple[Future[Any], Callable[[Any], None], int]] = deque()

    def give(self, task: Callable[[], Result], take: Callable[[Result], None], pixels: int) -> None:
        """Begin a task that holds so many pixels; waits while too many are unfinished.

        `take` gets the result in the giver's thread, sooner or later; an error of the task is
        raised there instead.
        """
        self._waiting.append((self._pool.submit(task), take, pixels))
        while self._waiting and (self._too_many() or self._waiting[0][0].done()):
            self._take_first()

    def finish(self) -> None:
        """Wait for all tasks."""
        while self._waiting:
            self._take_first()

    def cancel(self) -> None:
        """Drop the tasks that have not begun."""
        for future, _, _ in self._waiting:
            future.cancel()

    def _too_many(self) -> bool:
        pixels = sum(pixels for _, _, pixels in self._waiting)
        return len(self._waiting) > _WAITING_IMAGES or (
            pixels > _WAITING_PIXELS and len(self._waiting) > 1
        )

    def _take_first(self) -> None:
        future, take, _ = self._waiting.popleft()
        take(future.result())


@contextmanager
def writers() -> Iterator[Writers]:
    """Threads that write; at the end all is written, after an error what had begun."""
    with ThreadPoolExecutor(workers()) as pool:
        found = Writers(pool)
        try:
            yield found
            found.finish()
        finally:
            found.cancel()


@dataclass(frozen=True)
class PredictedImage(Generic[Item]):
    """An image and its probabilities.

    Attributes
    ----------
    slabs : first row and probabilities [rows, W, classes] of successive parts of the image,
        computed as they are asked for.
    in_memory : all that this needs is, so that it may wait.
    signal : of the prediction's quality, complete when all slabs are computed.
    check : how the image compares with those of the training.
    shrunk : little of it was seen, see `tell_shrunk`.
    """

    item: Item
    image: Regions
    slabs: Slabs
    in_memory: bool = False
    signal: SignalSum = field(default_factory=SignalSum)
    check: InputCheck = field(default=InputCheck())
    shrunk: bool = False


@dataclass(frozen=True)
class UnreadableImage(Generic[Item]):
    """An image that could not be read, or does not fit the network."""

    item: Item
    error: DataError


Predicted = Iterator[PredictedImage[Item] | UnreadableImage[Item]]


@dataclass(frozen=True)
class _PreparedImage(Generic[Item]):
    """An image as it was read, [H, W, C], and as the network takes it, [h, w, C]."""

    item: Item
    pixels: NDArray
    network_input: NDArray[np.float32]
    check: InputCheck


_Prepared = _PreparedImage[Item] | UnreadableImage[Item]


def whole_images(
    predictor: Predictor,
    items: Iterable[Item],
    opened: Callable[[Item], AbstractContextManager[Regions]],
    pixels: Callable[[Item], int],
    name: Callable[[Item], str] = str,
    alone: int = ALONE_PIXELS,
    header: Callable[[Item], Acquired] = lambda _: Acquired(),
) -> Predicted[Item]:
    """Predict images in order, each shrunk or enlarged to the network, several at once.

    Memory: about two batches of images, whose reading is ahead of the network; or one large image,
    of which only what its format asks for is decoded at once.

    Parameters
    ----------
    opened : gives the rows of an item, in the type and channels that `Preprocessing.image` takes;
        called by threads.
    pixels : of an item, by its header.
    name : names an item in errors.
    alone : pixels from which on an image is predicted alone, and by rows. Such images are open,
        and their probabilities can be computed, until the next is asked for.
    """
    for large, group in groupby(enumerate(items), lambda pair: pixels(pair[1]) >= alone):
        predict = _one_by_one if large else _several_at_once
        yield from predict(predictor, group, opened, name, header)


def _much_shrunk(size: tuple[int, int], preprocessing: Preprocessing) -> bool:
    """Whether an image (height, width) is far larger than the network in both directions."""
    height, width = size
    return (
        height > _MUCH_LARGER * preprocessing.height and width > _MUCH_LARGER * preprocessing.width
    )


def tell_shrunk(count: int) -> None:
    """Say of how many images little was seen, if there are any."""
    if count:
        logger.info(
            "%s more than %d times as high and as wide as the network's input and shrunk to it; "
            "if the network was trained on tiles, use `flexseg tiled-infer`.",
            amount(count, "image", "was", "were"),
            _MUCH_LARGER,
        )


def _several_at_once(
    predictor: Predictor,
    items: Iterable[tuple[int, Item]],
    opened: Callable[[Item], AbstractContextManager[Regions]],
    name: Callable[[Item], str],
    header: Callable[[Item], Acquired],
) -> Predicted[Item]:
    preprocessing = predictor.package.preprocessing

    def prepare(pair: tuple[int, Item]) -> tuple[int, _Prepared[Item]]:
        number, item = pair
        try:
            with opened(item) as image:
                pixels = image.rows(slice(0, image.shape[0]))
            prepared = preprocessing.image(pixels, name(item)).astype(np.float32)
            acquired = replace(header(item), size=pixels.shape[:2])
            check = checked(predictor, prepared, acquired, pixels.dtype)
            return number, _PreparedImage(item, pixels, prepared, check)
        except DataError as error:
            return number, UnreadableImage(item, error)

    # Which images share a batch, and may change each other's last digits, is a matter of their
    # places alone: the same ones do where the images are given out to several workers.
    size = predictor.batch_size
    for _, group in groupby(ahead(prepare, items, size), lambda pair: pair[0] // size):
        batch = [found for _, found in group]
        readable = [found for found in batch if not isinstance(found, UnreadableImage)]
        if readable:
            together = np.stack([image.network_input for image in readable])
            signals: list[Signal] = []
            on_signal = signals.append if predictor.trust.quality else None
            answers = iter(predictor.at_model_size(together, on_signal))
            told = iter(signals)
        for found in batch:
            if isinstance(found, UnreadableImage):
                yield found
                continue
            height, width = found.pixels.shape[:2]
            slabs = predictor.resized_rows(next(answers), (height, width))
            yield PredictedImage(
                found.item,
                ArrayRows(found.pixels),
                slabs,
                in_memory=True,
                signal=SignalSum(next(told, None)),
                check=found.check,
                shrunk=_much_shrunk((height, width), preprocessing),
            )


def checked(
    predictor: Predictor, prepared: NDArray, acquired: Acquired, stored: np.dtype
) -> InputCheck:
    """A whole image [h, w, C], as the network takes it, compared with those of the training."""
    strange = strangeness_of(predictor.homes, prepared)
    limits = float(prepared.min()), float(prepared.max())
    return check_input(predictor.packages, strange, acquired, stored, limits)


def _one_by_one(
    predictor: Predictor,
    items: Iterable[tuple[int, Item]],
    opened: Callable[[Item], AbstractContextManager[Regions]],
    name: Callable[[Item], str],
    header: Callable[[Item], Acquired],
) -> Predicted[Item]:
    for _, item in items:
        try:
            with opened(item) as image:
                preprocessing = predictor.package.preprocessing
                prepared = preprocessing.image_by_rows(image, name(item))
                height, width, _ = image.shape
                acquired = replace(header(item), size=(height, width))
                stored = image.rows(slice(0, 1)).dtype
                check = checked(predictor, prepared, acquired, stored)
                signal = SignalSum()
                (p,) = predictor.at_model_size(
                    prepared.astype(np.float32)[None],
                    signal if predictor.trust.quality else None,
                )
                slabs = predictor.resized_rows(p, (height, width))
                shrunk = _much_shrunk((height, width), preprocessing)
                yield PredictedImage(item, image, slabs, signal=signal, check=check, shrunk=shrunk)
        except DataError as error:
            yield UnreadableImage(item, error)


def images_by_windows(
    predictor: TiledPredictor,
    items: Iterable[Item],
    opened: Callable[[Item], AbstractContextManager[Regions]],
    name: Callable[[Item], str] = str,
    header: Callable[[Item], Acquired] = lambda _: Acquired(),
) -> Predicted[Item]:
    """Predict images in order at their own scale, window by window.

    Each is open, and its probabilities can be computed, until the next is asked for.

    Parameters
    ----------
    opened : gives the rows of an item.
    name : names an item in errors.
    header : of an item, what it says; the size of an image is of no account here.
    """
    for item in items:
        try:
            with opened(item) as image:
                height, width, _ = image.shape
                where = name(item)
                check = checked_by_windows(predictor, image, header(item), where)
                signal = SignalSum()
                slabs = predictor.slabs(
                    image.rows,
                    height,
                    width,
                    where=where,
                    on_signal=signal if predictor.trust.quality else None,
                )
                yield PredictedImage(item, image, slabs, signal=signal, check=check)
        except DataError as error:
            yield UnreadableImage(item, error)


def checked_by_windows(
    predictor: TiledPredictor, image: Regions, acquired: Acquired, where: str = "image"
) -> InputCheck:
    """Some windows of an image compared with what the training has shown."""
    first = image.rows(slice(0, min(_FIRST_ROWS, image.shape[0])))
    part = predictor.package.preprocessing.image(first, where)
    return check_input(
        predictor.packages,
        _strangeness_by_windows(predictor, image, where),
        acquired,
        first.dtype,
        (float(part.min()), float(part.max())),
    )


def _strangeness_by_windows(predictor: TiledPredictor, image: Regions, where: str) -> float | None:
    """How unlike the training some windows of an image are."""
    if not any(home is not None for home in predictor.homes):
        return None
    prepare = predictor.package.preprocessing.image
    figures = window_figures(
        (image.shape[0], image.shape[1]),
        predictor.window,
        lambda rows, columns: prepare(image.rows(rows)[:, columns], where),
    )
    return strangeness(predictor.homes, [figures])


def read_pixels(path: Path, preprocessing: Preprocessing) -> NDArray:
    """An image file [H, W, C] as `Preprocessing.image` takes it.

    With it come its neighbouring slices if the network sees some, and the files of its other
    channels if each has one.

    Raises
    ------
    DataError : see `read_with_neighbours` and `read_channels`.
    """
    if preprocessing.channel_files and image_of(path) is not None:
        return read_channels(path, preprocessing.channels)
    return read_with_neighbours(path, preprocessing.neighbours)


def opened_file(
    path: Path, preprocessing: Preprocessing, large: int
) -> AbstractContextManager[Regions]:
    """An image file whose rows can be read, see `read_pixels`.

    Parameters
    ----------
    large : pixels from which on only the rows that are asked for are decoded.
    """
    if preprocessing.neighbours or preprocessing.channel_files:
        return nullcontext(ArrayRows(read_pixels(path, preprocessing)))
    return open_regions(path, large)
