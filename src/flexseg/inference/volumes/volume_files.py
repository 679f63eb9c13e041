"""Volumes in, label volumes out: a file, a DICOM series, a folder of these."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flexseg.config.findings import examples
from flexseg.errors import DataError
from flexseg.files.channel_files.channel_names import channel_files, image_of
from flexseg.files.channel_files.channel_reading import read_channel_volumes
from flexseg.files.dicom.image import is_picture
from flexseg.files.dicom.series import dicom_files
from flexseg.files.volumes.read import write_volume
from flexseg.files.volumes.volume import Volume
from flexseg.inference.program import OnFile, OnShare, Outcome, Result, Spread, Task, run
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
    spread: Spread[VolumeCase, Description, VolumeNotes] | None = None,
) -> Outcome[Description, VolumeNotes]:
    """Predict volumes and write the results.

    What is written where is said by the predictor's config. Volumes that cannot be predicted are
    listed in the result; the others are predicted.

    Parameters
    ----------
    protected : what output folders must not contain, beside the volumes.
    on_volume : called with (volumes done, total), also within a volume.
    spread : see `run`.

    Raises
    ------
    ConfigError : outputs would lie on inputs.
    """
    return run(VolumeJob(predictor, cases, protected), on_volume, spread)


@dataclass(frozen=True)
class VolumeNotes:
    """What is known of a volume's prediction, beside its description.

    Attributes
    ----------
    rows, judged_rows : of the tables of volumes and of predictions.
    doubts : of `_ALIKE` and `_ORDER`, those that hold.
    """

    rows: list[Row]
    judgement: Judgement
    judged_rows: list[list[Cell]]
    doubts: list[str]


class VolumeJob:
    """Volumes and what is written of each, see `infer_volumes`.

    Parameters
    ----------
    cases : none in workers, which are given them one after the other.
    """

    # A volume takes long, and all memory that it can get.
    together = at_once = 1
    kind_of_notes = VolumeNotes

    def __init__(
        self,
        predictor: VolumePredictor,
        cases: Sequence[VolumeCase] = (),
        protected: Iterable[Path] = (),
    ) -> None:
        self.predictor = predictor
        self.cases = cases
        self.config = predictor.config
        self.package = predictor.predictor.package
        self.protected = list(protected)
        self.targets = VolumeTargets(self.config)
        self._foreground = self.package.labels.foreground

    @property
    def count(self) -> int:
        """Number of volumes."""
        return len(self.cases)

    @property
    def folders(self) -> list[Path]:
        """All folders that are written to."""
        return [*self.targets.by_key().values()]

    def prepare(self, *, goes_on: bool = False) -> None:
        """Refuse to write on inputs, and move earlier results aside unless they are of this job."""
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
        if goes_on:
            return
        self.targets.set_aside([(case.name, case.folder) for case in self.cases])
        # From now on the folder is known as flexseg's, also where the program is killed.
        self.finish(Outcome(self.folders))

    def items(self) -> Iterable[VolumeCase]:
        """All volumes."""
        return self.cases

    def name(self, item: VolumeCase) -> str:
        """Of a volume in lists."""
        return item.file

    def sources(self, item: VolumeCase) -> Sequence[Path]:
        """The file or folder of a volume, or the files of its channels."""
        files = self.package.preprocessing.files
        if files > 1 and image_of(item.path) is not None:
            return channel_files(item.path, files)
        return [item.path]

    def is_written(self, item: VolumeCase) -> bool:
        """Whether the main results of a volume are there."""
        c, targets = self.config, self.targets
        expected = [targets.labels(item.name, item.path)]
        if c.probabilities:
            expected.append(targets.probabilities(item.name))
        if c.slices:
            expected.append(targets.output / item.folder)
        return all(path.exists() for path in expected)

    def tasks(self, items: Iterable[VolumeCase]) -> Iterator[Task[Description, VolumeNotes]]:
        """One per volume; only one volume is in memory at a time."""
        for case in items:
            yield Task(case.file, partial(self._predict_and_write, case))

    def finish(self, outcome: Outcome[Description, VolumeNotes]) -> None:
        """Write the table of all volumes and what was predicted as JSON, and tell doubts."""
        notes = outcome.notes
        rows = [row for one in notes.values() for row in one.rows]
        write_csv(self.config.output_dir / VOLUME_TABLE, VOLUME_HEADER, rows)
        summary = {
            "volumes": outcome.files,
            "failed": outcome.failed,
            "prediction": self.predictor.predictor.describe(),
        }
        write_json(self.config.output_dir / PREDICTION_SUMMARY, summary)
        judged_rows = [row for one in notes.values() for row in one.judged_rows]
        write_csv(self.config.output_dir / PREDICTION_TABLE, PREDICTION_HEADER, judged_rows)
        judged = {file: one.judgement for file, one in notes.items()}
        tell(self.predictor.predictor, judged, "volume", 3)
        for text in (_ALIKE, _ORDER):
            if names := [Path(file).name for file, one in notes.items() if text in one.doubts]:
                logger.warning(text, len(names), self.count, examples(names))

    def _predict_and_write(
        self, case: VolumeCase, on_share: OnShare
    ) -> Result[Description, VolumeNotes]:
        with explained_memory(case.path):
            description, notes, labels = self._predict(case, on_share)
            try:
                self._write_dicom(case, labels)
            except DataError as error:
                return Result(description, error, notes)
            return Result(description, notes=notes)

    def _predict(
        self, case: VolumeCase, on_share: OnShare
    ) -> tuple[Description, VolumeNotes, Volume]:
        """Write all but the DICOM segmentation; what was done, what to note, and the labels."""
        c, path, began = self.config, case.path, time.perf_counter()
        files = self.package.preprocessing.files
        volume = read_channel_volumes(
            path, files, channel=c.channel, series=c.series, key=c.hdf5_key
        )
        doubts = self._doubts(case, volume)
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
        counts = {c.id: int(row[3] or 0) for c, row in zip(self._foreground, rows, strict=True)}
        judged_rows = prediction_rows(
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
        notes = VolumeNotes(rows, judgement, judged_rows, doubts)
        return self._description(labels, seconds, xyz), notes, labels

    def _doubts(self, case: VolumeCase, volume: Volume) -> list[str]:
        """What may not be as the user thinks."""
        path = case.path
        unknown = path.is_dir() or not path.name.lower().endswith(_READ_BY_ORIGINALS)
        found = {
            _ALIKE: looks_like_labels(volume.array),
            _ORDER: self.config.slice_shape_order == "hwd" and unknown,
        }
        return [text for text, holds in found.items() if holds]

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
