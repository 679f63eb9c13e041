"""Prediction of a folder of images, or of one file, into masks and overlays."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from flexseg.batches.neighbours import read_with_neighbours, warn_of_lone
from flexseg.config.inference import InferConfig, TiledInferConfig
from flexseg.dataset.cases import images_by_stem
from flexseg.errors import ConfigError, DataError
from flexseg.files.images import IMAGE_SUFFIXES
from flexseg.files.large_images import LARGE_PIXELS, ArrayRows, Regions, open_regions
from flexseg.inference.image_outputs import Slabs, Targets, write_result
from flexseg.inference.pipeline import ahead, writers
from flexseg.inference.predictor import Predictor
from flexseg.inference.sliding_window import TiledPredictor
from flexseg.outputs import make_folder, refuse_overlap, set_aside, write_json

logger = logging.getLogger(__name__)

# So many times the network's size an image may have, in both directions, without a word.
_MUCH_LARGER = 4


@dataclass
class Inference:
    """What an inference did.

    Attributes
    ----------
    areas : file name -> class name -> pixels.
    failed : file name -> reason why it has no result.
    """

    targets: Targets
    areas: dict[str, dict[str, int]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


def targets_for(config: InferConfig | TiledInferConfig, *, binary: bool, colorize: bool) -> Targets:
    """The output folders that a config means."""
    masks = config.output_dir
    return Targets(
        masks,
        config.merged_dir or masks.with_name(f"{masks.name}_merged"),
        (config.colorized_dir or masks.with_name(f"{masks.name}_colorized"))
        if binary and (colorize or config.mask_colorize)
        else None,
        masks.with_name(f"{masks.name}_probabilities") if config.probabilities else None,
        "tiledinfer" if isinstance(config, TiledInferConfig) else "infer",
    )


def images_of(source: Path) -> list[Path]:
    """The images of a folder, or the one file.

    Raises
    ------
    DataError : nothing there, no image, or two images would give the same output name.
    """
    if source.is_file():
        if source.suffix.lower() not in IMAGE_SUFFIXES:
            raise DataError(
                f"{source.suffix or 'A file without suffix'} is no image format.",
                f"Supported: {', '.join(IMAGE_SUFFIXES)}.",
                str(source),
            )
        return [source]
    return list(images_by_stem(source).values())


def infer(
    predictor: Predictor | TiledPredictor,
    source: Path,
    targets: Targets,
    *,
    alpha: float = 0.5,
    protected: Iterable[Path] = (),
    on_image: Callable[[float, int], None] | None = None,
    large: int = LARGE_PIXELS,
) -> Inference:
    """Predict all images of `source` (folder or file) and write the results.

    Masks are indexed PNGs of the image's size: pixel value = class id, palette = the classes'
    colours. Files that cannot be read are listed in the result; the others are predicted.

    Parameters
    ----------
    protected : what the output folders must not contain, beside `source`.
    on_image : called with (done, total) after each image; also within one that is tiled.
    large : pixels from which on an image is read by rows, if it is tiled, and its mask is a TIFF.

    Raises
    ------
    DataError : there is no image at all.
    ConfigError : an output folder contains the input, or two outputs are one folder.
    """
    paths = images_of(source)
    refuse_overlap(targets.by_key(), [source, *protected])
    _refuse_one_folder_for_two(targets)
    warn_of_lone(paths, predictor.package.preprocessing.neighbours)
    stems = {path.stem for path in paths}
    for folder in targets.folders():
        if folder.is_dir() and any(earlier.stem in stems for earlier in folder.iterdir()):
            set_aside(folder)
        make_folder(folder)
    summary = targets.masks / "predictions.json"
    set_aside(summary)
    result = Inference(targets)

    def report(part: float = 0) -> None:
        if on_image is not None:
            on_image(len(result.areas) + len(result.failed) + part, len(paths))

    def failed(path: Path, error: DataError) -> None:
        result.failed[path.name] = str(error)
        report()

    def take(path: Path, areas: dict[str, int] | DataError) -> None:
        if isinstance(areas, DataError):
            failed(path, areas)
        else:
            result.areas[path.name] = areas
            report()

    def write(path: Path, image: Regions, slabs: Slabs) -> dict[str, int] | DataError:
        def progress(rows: int, height: int = image.shape[0]) -> None:
            if rows < height:
                report(rows / height)

        try:
            return write_result(
                predictor,
                image,
                slabs,
                path.stem,
                targets,
                alpha=alpha,
                large=large,
                on_rows=progress,
            )
        except DataError as error:
            return error

    if isinstance(predictor, TiledPredictor):
        for piece in _by_windows(predictor, paths, failed, large):
            take(piece[0], write(*piece))
    else:
        with writers() as threads:
            for path, image, slabs in _whole(predictor, paths, failed):
                height, width, _ = image.shape
                task = partial(write, path, image, slabs)
                threads.give(task, partial(take, path), height * width)
    write_json(summary, _summary(result, predictor))
    return result


Predicted = Iterator[tuple[Path, Regions, Slabs]]
Failed = Callable[[Path, DataError], None]
Item = TypeVar("Item")


def _whole(predictor: Predictor, paths: Iterable[Path], failed: Failed) -> Predicted:
    """Images shrunk or enlarged to the network, several at once."""
    preprocessing = predictor.package.preprocessing
    shrunk = 0

    def read(path: Path) -> tuple[Path, NDArray, NDArray] | tuple[Path, DataError]:
        try:
            pixels = read_with_neighbours(path, preprocessing.neighbours)
            return path, pixels, preprocessing.image(pixels, str(path)).astype(np.float32)
        except DataError as error:
            return path, error

    def readable() -> Iterator[tuple[Path, NDArray, NDArray]]:
        for found in ahead(read, paths, predictor.batch_size):
            if len(found) == 2:
                failed(*found)
            else:
                yield found

    for batch in _batches(readable(), predictor.batch_size):
        answers = predictor.at_model_size(np.stack([prepared for _, _, prepared in batch]))
        for (path, pixels, _), p in zip(batch, answers, strict=True):
            height, width = pixels.shape[:2]
            shrunk += (
                height > _MUCH_LARGER * preprocessing.height
                and width > _MUCH_LARGER * preprocessing.width
            )
            yield path, ArrayRows(pixels), _resized(predictor, p, (height, width))
    if shrunk:
        logger.info(
            "%d image(s) are more than %d times as high and as wide as the network and were shrunk "
            "to it; if it was trained on pieces of images, use `flexseg tiled-infer`.",
            shrunk,
            _MUCH_LARGER,
        )


def _batches(items: Iterator[Item], size: int) -> Iterator[list[Item]]:
    while batch := list(islice(items, size)):
        yield batch


def _resized(predictor: Predictor, p: NDArray[np.float32], size: tuple[int, int]) -> Slabs:
    """The probabilities of a whole image, enlarged only where and when they are written."""
    yield 0, predictor.resize(p, size)


def _by_windows(
    predictor: TiledPredictor, paths: Iterable[Path], failed: Failed, large: int
) -> Predicted:
    """Images at their own scale, window by window."""
    preprocessing = predictor.package.preprocessing
    for path in paths:
        try:
            with _opened(path, preprocessing.neighbours, large) as image:
                height, width, _ = image.shape
                preprocessing.image(image.rows(slice(0, min(2, height)))[:, :2], str(path))
                yield path, image, predictor.slabs(image.rows, height, width, where=str(path))
        except DataError as error:
            failed(path, error)


def _opened(path: Path, neighbours: int, large: int) -> AbstractContextManager[Regions]:
    if neighbours:
        return nullcontext(ArrayRows(read_with_neighbours(path, neighbours)))
    return open_regions(path, large)


def _refuse_one_folder_for_two(targets: Targets) -> None:
    keys: dict[Path, str] = {}
    for key, folder in targets.by_key().items():
        other = keys.setdefault(folder.resolve(), key)
        if other != key:
            raise ConfigError(
                f"The files of {other} and {key} have the same names and the same folder.",
                "Give each a folder of its own.",
                str(folder),
            )


def _summary(result: Inference, predictor: Predictor | TiledPredictor) -> dict[str, Any]:
    summary: dict[str, Any] = {"pixels_per_class": result.areas, "failed": result.failed}
    if isinstance(predictor, TiledPredictor):
        height, width = predictor.window
        summary["windows"] = {"width": width, "height": height, "overlap": predictor.overlap}
    return summary
