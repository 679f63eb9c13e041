"""Volumes in, label volumes out: a file, a DICOM series, a folder of these."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flexseg.config.findings import examples
from flexseg.errors import DataError
from flexseg.files.channel_files.channel_reading import read_channel_volumes
from flexseg.files.dicom.image import is_picture
from flexseg.files.dicom.series import dicom_files
from flexseg.files.volumes.read import write_volume
from flexseg.files.volumes.volume import Volume
from flexseg.inference.program import OnFile, OnShare, Outcome, Result, Task, run
from flexseg.inference.results.dicom_seg import require_highdicom, write_segmentation
from flexseg.inference.results.prediction_table import (
    PREDICTION_HEADER,
    PREDICTION_SUMMARY,
    PREDICTION_TABLE,
    Cell,
    Judgement,
    prediction_rows,
)
from flexseg.inference.results.telling import tell
from flexseg.inference.results.volume_outputs import VolumeTargets, write_previews, write_slices
from flexseg.inference.results.volume_table import VOLUME_HEADER, VOLUME_TABLE, Row, volume_rows
from flexseg.inference.trust.temperature import scaled_planes
from flexseg.inference.volumes.volume_predictor import VolumePredictor, cut_names, reads_xyz
from flexseg.inference.volumes.volume_sources import VolumeCase
from flexseg.outputs import refuse_overlap, write_csv, write_json

logger = logging.getLogger(__name__)

Description = dict[str, object]

# Volumes of no more distinct whole values than this look like labels.
_FEW_VALUES = 16
_SAMPLE = 1_000_000
_READ_BY_ORIGINALS = (".nii", ".nii.gz", ".mha", ".npy", ".h5")
_ALIKE = (
    "%d of %d volumes hold only a few integers, as label volumes do, and were predicted like "
    "images all the same: %s."
)
_ORDER = (
    "%d of %d volumes are of formats that the original systems do not read; they count as z, y, x, "
    "and slice_shape_order = 'hwd' cuts along x ('dhw' along z): %s."
)


def infer_volumes(
    predictor: VolumePredictor,
    cases: list[VolumeCase],
    *,
    protected: Iterable[Path] = (),
    on_volume: OnFile | None = None,
) -> Outcome[Description]:
    """Predict volumes and write the results.

    What is written where is said by the predictor's config. Volumes that cannot be predicted are
    listed in the result; the others are predicted.

    Parameters
    ----------
    protected : what output folders must not contain, beside the volumes.
    on_volume : called with (volumes done, total), also within a volume.

    Raises
    ------
    ConfigError : outputs would lie on inputs.
    """
    return run(VolumeJob(predictor, cases, protected), on_volume)


class VolumeJob:
    """Volumes and what is written of each, see `infer_volumes`."""

    def __init__(
        self, predictor: VolumePredictor, cases: list[VolumeCase], protected: Iterable[Path] = ()
    ) -> None:
        self.predictor = predictor
        self.cases = cases
        self.config = predictor.config
        self.package = predictor.predictor.package
        self.protected = list(protected)
        self.targets = VolumeTargets(self.config)
        self._rows: list[Row] = []
        self._judged: dict[str, Judgement] = {}
        self._judged_rows: list[list[Cell]] = []
        self._foreground = self.package.labels.foreground
        self._doubts: dict[str, list[str]] = {text: [] for text in (_ALIKE, _ORDER)}

    @property
    def count(self) -> int:
        """Number of volumes."""
        return len(self.cases)

    @property
    def folders(self) -> list[Path]:
        """All folders that are written to."""
        return [*self.targets.by_key().values()]

    def prepare(self) -> None:
        """Refuse to write on inputs, and move earlier results aside."""
        inputs = [*self.protected, *(case.path for case in self.cases)]
        refuse_overlap(self.targets.by_key(), inputs)
        if untrained := self.predictor.untrained_axes():
            logger.warning(
                "average_axes uses %s slices too, on which the network was not trained.",
                " and ".join(untrained),
            )
        trust = self.predictor.predictor.trust
        if trust.quality.get(3) and not self.predictor.as_calibrated(self.predictor.cuts()):
            logger.info(
                "The expected quality was learned with other axes or slices and is left out; "
                "`flexseg tune-postprocessing` learns it for the config's [infer3d]."
            )
        if self.config.dicom_seg and any(case.dicom for case in self.cases):
            require_highdicom()
        self.targets.set_aside([(case.name, case.folder) for case in self.cases])
        # From now on the folder is known as flexseg's, also where the program is killed.
        self.finish(Outcome(self.folders))

    def tasks(self) -> Iterator[Task[Description]]:
        """One per volume; only one volume is in memory at a time."""
        for case in self.cases:
            yield Task(case.file, partial(self._predict_and_write, case))

    def finish(self, outcome: Outcome[Description]) -> None:
        """Write the table of all volumes and what was predicted as JSON, and tell doubts."""
        write_csv(self.config.output_dir / VOLUME_TABLE, VOLUME_HEADER, self._rows)
        summary = {
            "volumes": outcome.files,
            "failed": outcome.failed,
            "prediction": self.predictor.predictor.describe(),
        }
        write_json(self.config.output_dir / PREDICTION_SUMMARY, summary)
        write_csv(self.config.output_dir / PREDICTION_TABLE, PREDICTION_HEADER, self._judged_rows)
        tell(self.predictor.predictor, self._judged, "volume", 3)
        for text, names in self._doubts.items():
            if names:
                logger.warning(text, len(names), self.count, examples(names))

    def _predict_and_write(self, case: VolumeCase, on_share: OnShare) -> Result[Description]:
        with explained_memory(case.path):
            description, labels = self._predict(case, on_share)
            try:
                self._write_dicom(case, labels)
            except DataError as error:
                return Result(description, error)
            return Result(description)

    def _predict(self, case: VolumeCase, on_share: OnShare) -> tuple[Description, Volume]:
        """Write all but the DICOM segmentation; what was done, and the labels."""
        c, path, began = self.config, case.path, time.perf_counter()
        files = self.package.preprocessing.files
        volume = read_channel_volumes(
            path, files, channel=c.channel, series=c.series, key=c.hdf5_key
        )
        self._doubt(case, volume)
        where, xyz = str(path), reads_xyz(path)
        grey = self.predictor.grey(volume, where)
        pictures = self.targets.pictures(case.folder, self.package.labels)
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
            on_slice=lambda i, n: on_share(i / n),
            on_mask=pictures.mask if pictures is not None and direct else None,
        )
        labels = volume.with_array(found.labels)
        seconds = time.perf_counter() - began
        write_volume(self.targets.labels(case.name, path), labels)
        if c.probabilities and found.probabilities is not None:
            temperature = self.predictor.predictor.trust.temperature
            p = _probability_volume(volume, found.probabilities, temperature)
            write_volume(self.targets.probabilities(case.name), p)
            del p
        judgement = found.judgement
        del found
        rows = volume_rows(case.name, labels, self.package.labels)
        self._rows += rows
        self._judged[case.file] = judgement
        counts = {c.id: int(row[3] or 0) for c, row in zip(self._foreground, rows, strict=True)}
        self._judged_rows += prediction_rows(
            case.name, counts, labels.array.size, judgement, self._foreground, labels.voxel_ml
        )
        if pictures is not None:
            write_slices(pictures, volume, labels.array, grey, self.predictor.cuts(xyz)[0])
            if c.video_dir is not None:
                pictures.video(self.targets.video(case.folder))
        intensity = self.package.preprocessing.intensity
        write_previews(
            self.targets, case.name, volume, labels.array, self.package.labels, intensity
        )
        return self._description(labels, seconds, xyz), labels

    def _doubt(self, case: VolumeCase, volume: Volume) -> None:
        """Note what may not be as the user thinks."""
        c, name = self.config, case.path.name
        if looks_like_labels(volume.array):
            self._doubts[_ALIKE].append(name)
        unknown = case.path.is_dir() or not name.lower().endswith(_READ_BY_ORIGINALS)
        if c.slice_shape_order == "hwd" and unknown:
            self._doubts[_ORDER].append(name)

    def _write_dicom(self, case: VolumeCase, labels: Volume) -> None:
        if not (self.config.dicom_seg and case.dicom):
            return
        if case.path.is_file() and is_picture(case.path):
            logger.info(
                "%s has no position in the patient, so no DICOM segmentation is written.", case.path
            )
            return
        write_segmentation(
            self.targets.segmentation(case.name),
            labels,
            self.package.labels,
            dicom_files(case.path, self.config.series),
            model_name=self.package.config.model,
        )

    def _description(self, labels: Volume, seconds: float, xyz: bool) -> Description:
        counts = np.zeros(256, np.int64)
        for plane in labels.array:  # counting makes 8 bytes of each voxel
            counts += np.bincount(plane.reshape(-1), minlength=256)
        return {
            "voxels_per_class": {k.name: int(counts[k.id]) for k in self.package.labels.classes},
            "size": list(labels.shape[::-1]),
            "spacing_mm": list(labels.spacing),
            "orientation": labels.orientation,
            "slices": cut_names(self.predictor.cuts(xyz)),
            "seconds": round(seconds, 2),
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


def _probability_volume(volume: Volume, p: NDArray[np.float16], temperature: float) -> Volume:
    """Probabilities [z, y, x, classes] as a volume; of one class without the fourth axis."""
    array = scaled_planes(p, temperature)
    return volume.with_array(array[..., 0] if array.shape[-1] == 1 else array)


@contextmanager
def explained_memory(path: Path) -> Iterator[None]:
    """Lack of memory within the block as an error about the volume."""
    try:
        yield
    except MemoryError:
        raise DataError(
            "There is not enough memory for this volume.",
            "Close other programs, or set [infer3d] memory_gb lower.",
            str(path),
        ) from None
