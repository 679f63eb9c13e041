"""Prediction of a folder of images, or of one file, into masks and overlays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexseg.config.schema import InferConfig
from flexseg.data.display import displayable
from flexseg.data.images import IMAGE_SUFFIXES, read_image, write_png
from flexseg.data.pairing import images_by_stem
from flexseg.errors import ConfigError, DataError
from flexseg.inference.overlay import overlay
from flexseg.inference.predictor import Predictor
from flexseg.outputs import make_folder, refuse_overlap, set_aside, write_json


@dataclass
class Targets:
    """Where the results of one inference go; None: not written."""

    masks: Path
    merged: Path | None = None
    colorized: Path | None = None
    probabilities: Path | None = None

    def folders(self) -> list[Path]:
        """All folders that are written to."""
        return list(self.by_key().values())

    def by_key(self) -> dict[str, Path]:
        """All folders that are written to, by the key of the config that names them."""
        folders = {
            "[infer] output_dir": self.masks,
            "[infer] merged_dir": self.merged,
            "[infer] colorized_dir": self.colorized,
            "[infer] probabilities": self.probabilities,
        }
        return {key: folder for key, folder in folders.items() if folder is not None}


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


def targets_for(config: InferConfig, *, binary: bool, colorize: bool) -> Targets:
    """The output folders that a config means."""
    masks = config.output_dir
    return Targets(
        masks,
        config.merged_dir or masks.with_name(f"{masks.name}_merged"),
        (config.colorized_dir or masks.with_name(f"{masks.name}_colorized"))
        if binary and (colorize or config.mask_colorize)
        else None,
        masks.with_name(f"{masks.name}_probabilities") if config.probabilities else None,
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
    predictor: Predictor,
    source: Path,
    targets: Targets,
    *,
    alpha: float = 0.5,
    protected: Iterable[Path] = (),
    on_image: Callable[[int, int], None] | None = None,
) -> Inference:
    """Predict all images of `source` (folder or file) and write the results.

    Masks are indexed PNGs of the image's size: pixel value = class id, palette = the classes'
    colours. Files that cannot be read are listed in the result; the others are predicted.

    Parameters
    ----------
    protected : what the output folders must not contain, beside `source`.
    on_image : called with (done, total) after each image.

    Raises
    ------
    DataError : there is no image at all.
    ConfigError : an output folder contains the input, or two outputs are one folder.
    """
    paths = images_of(source)
    refuse_overlap(targets.by_key(), [source, *protected])
    _refuse_one_folder_for_two(targets)
    stems = {path.stem for path in paths}
    for folder in targets.folders():
        if folder.is_dir() and any(earlier.stem in stems for earlier in folder.iterdir()):
            set_aside(folder)
        make_folder(folder)
    summary = targets.masks / "predictions.json"
    set_aside(summary)
    result = Inference(targets)

    def report() -> None:
        if on_image is not None:
            on_image(len(result.areas) + len(result.failed), len(paths))

    def readable() -> Iterator[tuple[str, NDArray]]:
        for path in paths:
            try:
                pixels = read_image(path)
                # A corner tells whether the channels fit; the whole comes with its batch.
                predictor.package.preprocessing.image(pixels[:2, :2], str(path))
            except DataError as error:
                result.failed[path.name] = str(error)
                report()
                continue
            yield str(path), pixels

    for name, pixels, p in predictor.probabilities(readable()):
        path = Path(name)
        result.areas[path.name] = _write(predictor, path.stem, pixels, p, targets, alpha)
        report()
    write_json(summary, _summary(result))
    return result


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


def _write(
    predictor: Predictor,
    stem: str,
    pixels: NDArray,
    p: NDArray[np.float32],
    targets: Targets,
    alpha: float,
) -> dict[str, int]:
    label_map = predictor.package.labels
    labels = predictor.labels(p)
    name = f"{stem}.png"
    write_png(targets.masks / name, labels, label_map.palette)
    if targets.merged is not None:
        picture = overlay(displayable(pixels), labels, label_map, alpha)
        write_png(targets.merged / name, picture)
    if targets.colorized is not None:
        write_png(targets.colorized / name, label_map.colorize(labels))
    if targets.probabilities is not None:
        path = targets.probabilities / f"{stem}.npz"
        temporary = path.with_name(f".{path.name}.part")
        with temporary.open("wb") as file:
            np.savez_compressed(file, probabilities=p.astype(np.float16))
        temporary.replace(path)
    counts = np.bincount(labels.ravel(), minlength=len(label_map.classes))
    return {c.name: int(counts[c.id]) for c in label_map.classes}


def _summary(result: Inference) -> dict[str, Any]:
    return {"pixels_per_class": result.areas, "failed": result.failed}
