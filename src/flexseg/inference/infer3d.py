"""Prediction of volumes with the trained model of a config: a file, a DICOM series, a folder."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexseg.config.findings import examples
from flexseg.config.inference import Infer3dConfig
from flexseg.config.load import LoadedConfig, input_paths
from flexseg.errors import ConfigError, DataError
from flexseg.files.dicom.series import dicom_files, is_dicom, is_series_folder
from flexseg.files.images import IMAGE_SUFFIXES, list_files
from flexseg.files.volumes.paths import find_volumes, other_files, volume_stem, volume_suffix
from flexseg.files.volumes.read import read_volume, write_volume
from flexseg.files.volumes.volume import Volume
from flexseg.inference.dicom_seg import require_highdicom, write_segmentation
from flexseg.inference.loading import make_predictor
from flexseg.inference.sliding_window import TiledPredictor
from flexseg.inference.volume_outputs import VolumeTargets, write_previews, write_slices
from flexseg.inference.volume_predictor import VolumePredictor, cut_names, reads_xyz
from flexseg.inference.volume_table import VOLUME_HEADER, volume_rows
from flexseg.outputs import refuse_overlap, write_csv, write_json

logger = logging.getLogger(__name__)

# Volumes of no more distinct whole values than this look like labels.
_FEW_VALUES = 16
_SAMPLE = 1_000_000
_READ_BY_ORIGINALS = (".nii", ".nii.gz", ".mha", ".npy", ".h5")
_ALIKE = (
    "%d of %d volumes hold a few whole numbers only, as label volumes do, and were predicted like "
    "images all the same: %s."
)
_RAW = (
    "%d of %d volumes are not of 8 bits, and the network was trained without [volume] intensity "
    "and [image] window: their values reach it as they are, which is right only if it was trained "
    "on such: %s."
)
_ORDER = (
    "%d of %d volumes are of formats that the original systems do not read; they count as z, y, x, "
    "and slice_shape_order = 'hwd' cuts along x ('dhw' along z): %s."
)
_OLD_WAY = (
    "Slices are cut, turned and scaled as the original systems do (defaults of [infer3d] in old "
    "configs); slice_shape_order = None takes those that [volume] says."
)


@dataclass(frozen=True)
class VolumeCase:
    """A volume to predict.

    Attributes
    ----------
    path : a file, or a folder of DICOM files.
    name : its name in the results, without suffix.
    folder : the name of its folder of slices: the file's, as of the originals.
    """

    path: Path
    name: str
    folder: str


@dataclass
class VolumeInference:
    """What an inference did.

    Attributes
    ----------
    output : folder of the results.
    volumes : file -> what was predicted for it, plain JSON types.
    failed : file -> reason why it has no (or not every) result.
    """

    output: Path
    volumes: dict[str, dict[str, Any]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


def holds_volumes(source: Path) -> bool:
    """Whether a source is a volume, a DICOM series, or a folder of these and of no images."""
    if source.is_file():
        suffix = volume_suffix(source)
        return source.suffix.lower() not in IMAGE_SUFFIXES and bool(suffix or is_dicom(source))
    if not source.is_dir():
        return False
    try:
        volumes = [p for p in find_volumes(source) if p.suffix.lower() not in IMAGE_SUFFIXES]
    except DataError:
        return False
    images = list_files(source, IMAGE_SUFFIXES)
    if images and volumes:
        logger.warning(
            "%s: %d volumes beside the images are not predicted: %s. `flexseg infer3d` does that.",
            source, len(volumes), examples([p.name for p in volumes]),
        )  # fmt: skip
    return bool(volumes) and not images


def volume_cases(source: Path, output: Path) -> list[VolumeCase]:
    """The volumes of a source with names that differ; what lies in `output` does not count.

    Raises
    ------
    DataError : there is no volume.
    """
    if source.is_file() or is_series_folder(source):
        paths = [source]
    else:
        paths, others = (
            [p for p in found if output.resolve() not in p.resolve().parents]
            for found in (find_volumes(source), other_files(source))
        )
        if others:
            left_out = examples([p.name for p in others])
            logger.info(
                "%d files are no volumes by their names, left out: %s", len(others), left_out
            )
    names = [_stem(path) for path in paths]
    for more in (
        lambda p: p.name,
        lambda p: f"{p.parent.name}_{_stem(p)}",
        lambda p: f"{p.parent.name}_{p.name}",
    ):
        counts = Counter(name.lower() for name in names)
        names = [
            more(path) if counts[name.lower()] > 1 else name
            for path, name in zip(paths, names, strict=True)
        ]
    files = Counter(path.name.lower() for path in paths)
    return [
        VolumeCase(path, name, path.name if files[path.name.lower()] == 1 else name)
        for path, name in zip(paths, names, strict=True)
    ]


def _stem(path: Path) -> str:
    return path.name if path.is_dir() else volume_stem(path)


def _is_dicom(path: Path) -> bool:
    return path.is_dir() or is_dicom(path)


def infer3d(
    loaded: LoadedConfig,
    source: Path | None = None,
    output: Path | None = None,
    *,
    channel: int | None = None,
    series: str | None = None,
    on_slice: Callable[[float, int], None] | None = None,
) -> VolumeInference:
    """Predict the volumes of `source` (default: [infer3d] images_dir) into `output`.

    Volumes that cannot be predicted are listed in the result; the others are predicted.

    Parameters
    ----------
    channel, series : see `read_volume`; default: those of the config.
    on_slice : called with (volumes done, total), also within a volume.

    Raises
    ------
    ConfigError : there is nothing to predict, or outputs would lie on inputs.
    DataError : there is no volume at all, or no trained model.
    """
    e = loaded.experiment
    config = _config(e.infer3d, output, channel, series)
    source = source or config.images_dir or e.infer.images_dir
    if source is None:
        raise ConfigError(
            "There is nothing to predict.", "Give --input PATH, or set [infer3d] images_dir."
        )
    if not source.exists():
        raise ConfigError("There is no such file or folder.", "Check the path.", str(source))
    notes = [f"{f.where} {f.what}" for f in loaded.findings if f.code == "infer3d-changes"]
    if config.slice_shape_order is not None:
        logger.info("%s", notes[0] if notes else _OLD_WAY)
    cases = volume_cases(source, config.output_dir)
    predictor = make_predictor(loaded)
    tiles = TiledPredictor.from_config(predictor, e.tiledinfer) if config.tiled else None
    volumes = VolumePredictor(predictor, config, tiles)
    return VolumeRun(volumes, [source, *input_paths(e, loaded.path)], on_slice).run(cases)


def _config(
    config: Infer3dConfig, output: Path | None, channel: int | None, series: str | None
) -> Infer3dConfig:
    changes: dict[str, Any] = {}
    if output is not None:
        changes["output_dir"] = output.absolute()
        if config.video_dir is not None:
            changes["video_dir"] = output.absolute() / config.video_dir.name
    if channel is not None:
        changes["channel"] = channel
    if series is not None:
        changes["series"] = series
    return config.model_copy(update=changes)


class VolumeRun:
    """Predicts volumes one after the other and writes all that the config asks for.

    Parameters
    ----------
    protected : what output folders must not contain.
    on_slice : see `infer3d`.
    """

    def __init__(
        self,
        predictor: VolumePredictor,
        protected: Iterable[Path] = (),
        on_slice: Callable[[float, int], None] | None = None,
    ) -> None:
        self.predictor = predictor
        self.config = predictor.config
        self.labels = predictor.predictor.package.labels
        self.protected = list(protected)
        self.on_slice = on_slice or (lambda *_: None)
        self.targets = VolumeTargets(self.config)
        self._doubts: dict[str, list[str]] = {text: [] for text in (_ALIKE, _RAW, _ORDER)}

    def run(self, cases: list[VolumeCase]) -> VolumeInference:
        """Predict all cases, see `infer3d`."""
        refuse_overlap(self.targets.by_key(), [*self.protected, *(c.path for c in cases)])
        if untrained := self.predictor.untrained_axes():
            logger.warning(
                "average_axes takes %s slices too, which the network was not trained on.",
                " and ".join(untrained),
            )
        if self.config.dicom_seg and any(_is_dicom(case.path) for case in cases):
            require_highdicom()
        self.targets.set_aside([(case.name, case.folder) for case in cases])
        result = VolumeInference(self.config.output_dir)
        rows: list[Any] = []
        try:
            for done, case in enumerate(cases):
                file = case.path.name if case.folder == case.path.name else case.name
                try:
                    with explained_memory(case.path):
                        found, labels = self._predict(case, done, len(cases), rows)
                        result.volumes[file] = found
                        self._write_dicom(case, labels)
                        del labels
                except DataError as error:
                    result.failed[file] = str(error)
                self.on_slice(done + 1, len(cases))
        finally:
            write_csv(self.config.output_dir / "volumes.csv", VOLUME_HEADER, rows)
            write_json(self.config.output_dir / "predictions.json", self._summary(result))
        for text, names in self._doubts.items():
            if names:
                logger.warning(text, len(names), len(cases), examples(names))
        return result

    def _predict(
        self, case: VolumeCase, done: int, total: int, rows: list[Any]
    ) -> tuple[dict[str, Any], Volume]:
        """What was done, as plain JSON types, and the labels."""
        c, path, began = self.config, case.path, time.perf_counter()
        volume = read_volume(path, channel=c.channel, series=c.series, key=c.hdf5_key)
        self._doubt(case, volume)
        where, xyz = str(path), reads_xyz(path)
        grey = self.predictor.grey(volume, where)
        pictures = self.targets.pictures(case.folder, self.labels)
        # Postprocessing takes the whole volume: masks are then written of its result.
        process = self.predictor.predictor.postprocessing.get(3)
        direct = pictures is not None and not (process and process.steps)
        found = self.predictor.predict(
            volume,
            where,
            xyz=xyz,
            grey=grey,
            keep=c.probabilities,
            folder=c.output_dir,
            on_slice=lambda i, n: self.on_slice(done + i / n, total),
            on_mask=pictures.mask if pictures is not None and direct else None,
        )
        labels = volume.with_array(found.labels)
        seconds = time.perf_counter() - began
        write_volume(self.targets.labels(case.name, path), labels)
        if c.probabilities and found.probabilities is not None:
            p = _probability_volume(volume, found.probabilities)
            write_volume(self.targets.probabilities(case.name), p)
            del p
        del found
        rows += volume_rows(case.name, labels, self.labels)
        if pictures is not None:
            write_slices(pictures, volume, labels.array, grey, self.predictor.cuts(xyz)[0])
            if c.video_dir is not None:
                pictures.video(self.targets.video(case.folder))
        trained = self.predictor.predictor.package.preprocessing
        write_previews(
            self.targets, case.name, volume, labels.array, self.labels, trained.intensity
        )
        return self._description(labels, seconds, xyz), labels

    def _doubt(self, case: VolumeCase, volume: Volume) -> None:
        """Note what may not be as the user thinks."""
        c, trained = self.config, self.predictor.predictor.package.preprocessing
        name = case.path.name
        if looks_like_labels(volume.array):
            self._doubts[_ALIKE].append(name)
        told = c.slice_normalize or trained.intensity or trained.window
        if not told and volume.array.dtype != np.uint8:
            self._doubts[_RAW].append(name)
        unknown = case.path.is_dir() or not name.lower().endswith(_READ_BY_ORIGINALS)
        if c.slice_shape_order == "hwd" and unknown:
            self._doubts[_ORDER].append(name)

    def _write_dicom(self, case: VolumeCase, labels: Volume) -> None:
        if not (self.config.dicom_seg and _is_dicom(case.path)):
            return
        write_segmentation(
            self.targets.segmentation(case.name),
            labels,
            self.labels,
            dicom_files(case.path, self.config.series),
            model_name=self.predictor.predictor.package.config.model,
        )

    def _description(self, labels: Volume, seconds: float, xyz: bool) -> dict[str, Any]:
        counts = np.zeros(256, np.int64)
        for plane in labels.array:  # counting makes 8 bytes of each voxel
            counts += np.bincount(plane.reshape(-1), minlength=256)
        return {
            "voxels_per_class": {k.name: int(counts[k.id]) for k in self.labels.classes},
            "size": list(labels.shape[::-1]),
            "spacing_mm": list(labels.spacing),
            "orientation": labels.orientation,
            "slices": cut_names(self.predictor.cuts(xyz)),
            "seconds": round(seconds, 2),
        }

    def _summary(self, result: VolumeInference) -> dict[str, Any]:
        return {
            "volumes": result.volumes,
            "failed": result.failed,
            "prediction": self.predictor.predictor.describe(),
        }


def looks_like_labels(array: NDArray) -> bool:
    """Whether voxels are 0 and a few other small whole numbers (judged by a million of them)."""
    if array.ndim > 3:
        return False
    sample = array.flat[:: max(1, array.size // _SAMPLE)]
    values = np.unique(sample)
    return (
        1 < len(values) <= _FEW_VALUES
        and values[0] == 0
        and values[-1] <= 255
        and bool((values == np.rint(values)).all())
    )


def _probability_volume(volume: Volume, p: NDArray[np.float16]) -> Volume:
    """Probabilities [z, y, x, classes] as a volume; of one class without the fourth axis."""
    array = p[..., 0] if p.shape[-1] == 1 else p
    return volume.with_array(array.astype(np.float32))


@contextmanager
def explained_memory(path: Path) -> Iterator[None]:
    """Lack of memory within the block as an error about the volume."""
    try:
        yield
    except MemoryError:
        raise DataError(
            "The memory does not suffice for this volume.",
            "Close other programs, or set [infer3d] memory_gb lower.",
            str(path),
        ) from None
