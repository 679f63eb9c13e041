"""Image files in, masks and overlays out: whole images, or images window by window."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import ClassVar

from flexseg.batches.neighbours import warn_of_lone
from flexseg.config.findings import examples
from flexseg.config.infer import InferConfig, TiledInferConfig
from flexseg.dataset.acquisition import Acquired
from flexseg.errors import ConfigError, DataError
from flexseg.files.channel_files.channel_names import channel_files, first_files, image_of
from flexseg.files.entries import described, left_out, list_files, require_file, without_suffix
from flexseg.files.images import IMAGE_SUFFIXES, is_image, pixel_count
from flexseg.files.json_file import read_json
from flexseg.files.large_images import LARGE_PIXELS
from flexseg.inference.pipeline import (
    ALONE_PIXELS,
    PredictedImage,
    UnreadableImage,
    images_by_windows,
    opened_file,
    tell_shrunk,
    whole_images,
)
from flexseg.inference.predictor import Predictor
from flexseg.inference.program import (
    OnFile,
    OnShare,
    Outcome,
    Result,
    Spread,
    Task,
    run,
    unreadable,
)
from flexseg.inference.results.image_outputs import RESULT_SUFFIXES, Targets, write_result
from flexseg.inference.results.prediction_table import (
    PREDICTION_HEADER,
    PREDICTION_SUMMARY,
    PREDICTION_TABLE,
    Judgement,
    prediction_rows,
)
from flexseg.inference.results.telling import tell
from flexseg.inference.sliding_window import TiledPredictor
from flexseg.machine import real_path
from flexseg.outputs import (
    entries_of,
    make_folder,
    refuse_overlap,
    set_aside,
    write_csv,
    write_json,
)
from flexseg.own_results import is_ours

logger = logging.getLogger(__name__)

Areas = dict[str, int]
# So few that all workers end at about the same time, so many that none waits for files.
_BATCHES_AT_ONCE = 4


@dataclass(frozen=True)
class ImageFiles:
    """The images that are predicted.

    Attributes
    ----------
    source : their folder, or one image.
    names : image -> the name of its results without suffix, below a folder with its path.
    """

    source: Path
    names: dict[Path, str]

    def file(self, path: Path) -> str:
        """The name of an image in lists: its path in the folder."""
        return path.name if path == self.source else path.relative_to(self.source).as_posix()


def find_images(
    source: Path, *, recursive: bool = False, without: Sequence[Path] = (), files: int = 1
) -> ImageFiles:
    """The images of a folder, or the one file; what else is in the folder is told.

    Parameters
    ----------
    files : that an image may consist of, one for each channel; it goes by the first one.
    recursive : those of all folders in it as well.
    without : folders that do not count, as those of the results.

    Raises
    ------
    DataError : nothing there, or no image.
    """
    if not source.is_dir():
        require_file(source)
        if not is_image(source):
            raise DataError(
                f"{source.suffix or 'A file without suffix'} is not an image format.",
                f"Convert the image to one of {', '.join(IMAGE_SUFFIXES)}.",
                str(source),
            )
        return ImageFiles(source, {source: _stem(source, files)})
    found = list_files(source, IMAGE_SUFFIXES, recursive=recursive, without=without)
    rest = left_out(source, found, recursive=recursive, without=without)
    told, deeper = described(source, rest), any(p.is_dir() for p in rest) and not recursive
    advice = "Use --recursive to predict the images in subfolders." if deeper else ""
    if not found:
        holds = f"; it holds {told}" if told else ""
        formats = f"Give a folder with images: {', '.join(IMAGE_SUFFIXES)}."
        raise DataError(f"The folder has no images{holds}.", advice or formats, str(source))
    if told:
        logger.warning(
            "%s: left out, as these are not images by their names: %s. %s", source, told, advice
        )
    return ImageFiles(source, _result_names(source, first_files(found, files), files))


def _stem(path: Path, files: int) -> str:
    return (image_of(path) if files > 1 else None) or without_suffix(path).name


def _result_names(source: Path, images: Sequence[Path], files: int) -> dict[Path, str]:
    """Paths below the folder without suffix; with it where else two results had one name."""
    names = {
        path: (path.parent.relative_to(source) / _stem(path, files)).as_posix() for path in images
    }
    counts = Counter(name.casefold() for name in names.values())
    double = [path for path, name in names.items() if counts[name.casefold()] > 1]
    if double:
        logger.info(
            "Images with the name of another one but for the suffix keep it in the names of "
            "their results (%d): %s.",
            len(double),
            examples([f"{path.name}.png" for path in double]),
        )
    return names | {path: path.relative_to(source).as_posix() for path in double}


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


def infer_images(
    predictor: Predictor | TiledPredictor,
    source: Path,
    targets: Targets,
    *,
    alpha: float = 0.5,
    protected: Iterable[Path] = (),
    on_image: OnFile | None = None,
    large: int = LARGE_PIXELS,
    recursive: bool = False,
    spread: Spread[ImageFile, Areas, ImageNotes] | None = None,
) -> Outcome[Areas, ImageNotes]:
    """Predict all images of `source` (folder or file) and write the results.

    Masks are indexed PNGs of the image's size: pixel value = class id, palette = the classes'
    colours. Files that cannot be read are listed in the result; the others are predicted.

    Parameters
    ----------
    alpha : opacity of the class colours in the overlay.
    protected : what the output folders must not contain, beside `source`.
    on_image : called with (done, total) after each image; also within one that is tiled.
    large : pixels from which on an image is read by rows, and its mask is a TIFF.
    recursive : also those of all folders in `source`; their results lie in equal folders.
    spread : see `run`.

    Raises
    ------
    DataError : there is no image at all.
    ConfigError : an output folder contains the input, or two outputs are one folder.
    """
    images = find_images(
        source,
        recursive=recursive,
        without=targets.folders(),
        files=predictor.package.preprocessing.files,
    )
    job = ImageJob(predictor, targets, alpha, large, images, [source, *protected])
    return run(job, on_image, spread)


@dataclass(frozen=True)
class ImageFile:
    """An image to predict.

    Attributes
    ----------
    name : of its results, without suffix, below a folder with its path.
    file : its name in lists.
    """

    path: Path
    name: str
    file: str


@dataclass(frozen=True)
class ImageNotes:
    """What is known of an image's prediction, beside its areas.

    Attributes
    ----------
    shrunk : see `PredictedImage`.
    """

    judgement: Judgement
    shrunk: bool


@dataclass(frozen=True)
class ImageJob:
    """Image files and where their results go, see `infer_images`.

    Attributes
    ----------
    images : none in workers, which are given them one after the other.
    """

    predictor: Predictor | TiledPredictor
    targets: Targets
    alpha: float = 0.5
    large: int = LARGE_PIXELS
    images: ImageFiles = field(default_factory=lambda: ImageFiles(Path(), {}))
    protected: list[Path] = field(default_factory=list)
    kind_of_notes: ClassVar[type[ImageNotes]] = ImageNotes

    @property
    def count(self) -> int:
        """Number of images."""
        return len(self.images.names)

    @property
    def together(self) -> int:
        """Images of a batch; by windows each is predicted for itself."""
        return 1 if isinstance(self.predictor, TiledPredictor) else self.predictor.batch_size

    @property
    def at_once(self) -> int:
        """Images that a worker is given at a time."""
        return self.together * _BATCHES_AT_ONCE

    @property
    def folders(self) -> list[Path]:
        """All folders that are written to."""
        return self.targets.folders()

    def prepare(self, *, goes_on: bool = False) -> None:
        """Refuse to write on inputs, and move earlier results aside unless they are of this job."""
        refuse_overlap(self.targets.by_key(), self.protected)
        _refuse_one_folder_for_two(self.targets)
        warn_of_lone(list(self.images.names), self.predictor.package.preprocessing.neighbours)
        if not goes_on:
            self._clear()
        places = {Path(name).parent for name in self.images.names.values()}
        for folder in self.folders:
            for place in places:
                make_folder(folder / place)
        if not goes_on:
            # From now on the folder is known as flexseg's, also where the program is killed.
            self.finish(Outcome(self.folders))

    def _clear(self) -> None:
        names, earlier = self.images.names.values(), _earlier(self._summary)
        for folder in self.folders:
            if results := [path for name in names for path in _results(folder, name)]:
                ours = is_ours(folder) or all(p.stem in earlier for p in entries_of(folder))
                for path in [folder] if ours else results:
                    set_aside(path)
        for file in (self._summary, self._table):
            set_aside(file)

    def items(self) -> Iterator[ImageFile]:
        """All images."""
        for path, name in self.images.names.items():
            yield ImageFile(path, name, self.images.file(path))

    def name(self, item: ImageFile) -> str:
        """Of an image in lists."""
        return item.file

    def sources(self, item: ImageFile) -> Sequence[Path]:
        """The file of an image, or those of its channels."""
        preprocessing = self.predictor.package.preprocessing
        if preprocessing.channel_files and image_of(item.path) is not None:
            return channel_files(item.path, preprocessing.channels)
        return [item.path]

    def is_written(self, item: ImageFile) -> bool:
        """Whether all results of an image are there."""
        return all(_results(folder, item.name) for folder in self.folders)

    def tasks(self, items: Iterable[ImageFile]) -> Iterator[Task[Areas, ImageNotes]]:
        """One per image; those of whole images may be done by threads."""
        predictor = self.predictor
        preprocessing = predictor.package.preprocessing
        alone = min(self.large, ALONE_PIXELS)
        found = (
            images_by_windows(
                predictor,
                items,
                lambda image: opened_file(image.path, preprocessing, self.large),
                lambda image: str(image.path),
                header=lambda image: Acquired.of_file(image.path),
            )
            if isinstance(predictor, TiledPredictor)
            else whole_images(
                predictor,
                items,
                lambda image: opened_file(image.path, preprocessing, alone),
                lambda image: pixel_count(image.path),
                lambda image: str(image.path),
                alone=alone,
                header=lambda image: Acquired.of_file(image.path),
            )
        )
        for image in found:
            file = image.item.file
            if isinstance(image, UnreadableImage):
                yield unreadable(file, image.error)
            else:
                height, width, _ = image.image.shape
                pixels = height * width if image.in_memory else None
                yield Task(file, partial(self._write, image), pixels)

    def finish(self, outcome: Outcome[Areas, ImageNotes]) -> None:
        """Write what was predicted as JSON."""
        summary: dict[str, object] = {"pixels_per_class": outcome.files, "failed": outcome.failed}
        if isinstance(self.predictor, TiledPredictor):
            height, width = self.predictor.window
            overlap = self.predictor.overlap
            summary["windows"] = {"width": width, "height": height, "overlap": overlap}
        write_json(self._summary, summary)
        judged = {file: notes.judgement for file, notes in outcome.notes.items()}
        labels = self.predictor.package.labels
        ids = {c.name: c.id for c in labels.classes}
        rows = [
            row
            for file, judgement in judged.items()
            for row in prediction_rows(
                file,
                {ids[name]: count for name, count in outcome.files[file].items()},
                sum(outcome.files[file].values()),
                judgement,
                labels.foreground,
            )
        ]
        write_csv(self._table, PREDICTION_HEADER, rows)
        tell_shrunk(sum(notes.shrunk for notes in outcome.notes.values()))
        tell(self.predictor, judged, "image", 2)

    @property
    def _table(self) -> Path:
        return self.targets.masks / PREDICTION_TABLE

    @property
    def _summary(self) -> Path:
        return self.targets.masks / PREDICTION_SUMMARY

    def _write(
        self, predicted: PredictedImage[ImageFile], on_share: OnShare
    ) -> Result[Areas, ImageNotes]:
        height = predicted.image.shape[0]
        areas = write_result(
            self.predictor,
            predicted.image,
            predicted.slabs,
            predicted.item.name,
            self.targets,
            alpha=self.alpha,
            large=self.large,
            on_rows=lambda rows: on_share(rows / height) if rows < height else None,
        )
        labels = self.predictor.package.labels
        counts = {c.id: areas[c.name] for c in labels.classes}
        quality = self.predictor.trust.statements(predicted.signal.signal, counts, 2)
        judgement = Judgement(quality, predicted.check)
        return Result(areas, notes=ImageNotes(judgement, predicted.shrunk))


def _results(folder: Path, name: str) -> list[Path]:
    """Earlier results of the image `name` in a folder."""
    places = (folder / f"{name}{suffix}" for suffix in RESULT_SUFFIXES)
    return [place for place in places if place.exists()]


def _earlier(summary: Path) -> set[str]:
    """What the results of an earlier run are called in their folders, without suffix."""
    try:
        files = read_json(summary)["pixels_per_class"]
        paths = [PurePosixPath(file) for file in files]
    except (OSError, ValueError, KeyError, TypeError):
        return set()
    return {name for p in paths for name in (p.parts[0], p.stem)}


def _refuse_one_folder_for_two(targets: Targets) -> None:
    keys: dict[Path, str] = {}
    for key, folder in targets.by_key().items():
        other = keys.setdefault(real_path(folder), key)
        if other != key:
            raise ConfigError(
                f"The files of {other} and {key} would have the same names in the same folder.",
                "Give each a folder of its own.",
                str(folder),
            )
