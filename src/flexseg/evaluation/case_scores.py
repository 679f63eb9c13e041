"""The scores of cases as tables and files: per case and class first, then means over cases."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flexseg.dataset.cases import Case
from flexseg.dataset.labels import LabelMap
from flexseg.evaluation.aggregate import rounded
from flexseg.evaluation.metrics.calibration import Reliability
from flexseg.evaluation.metrics.counts import PixelCounts, counts_by_class
from flexseg.evaluation.metrics.lesions import Lesions
from flexseg.evaluation.metrics.metric import Metric, all_metrics, count_metrics
from flexseg.evaluation.scoring import CaseResult, Measures, score_case
from flexseg.evaluation.summarize import summarize, summarize_groups, values_of_counts
from flexseg.evaluation.summary import EvaluationSummary, PredictionSettings
from flexseg.execution.work_manifest import forget
from flexseg.inference.results.prediction_table import PREDICTION_TABLE
from flexseg.one_writer import alone_in
from flexseg.outputs import make_folder, set_aside, write_csv, write_json, write_text
from flexseg.runs.given import CASES, SUMMARY

Cell = str | int | float | None
_CLASS = ("group", "class_id", "class", "status")
_SIZES = ("reference_px", "predicted_px")
_LESIONS = (
    "reference_lesions",
    "predicted_lesions",
    "lesions_found",
    "lesions_missed",
    "false_lesions",
)
IGNORED_COLUMN = "ignored_px"
VOLUME_COLUMNS = ("reference_ml", "predicted_ml")
_ORIGINAL_FIGURES = (
    "figures of the original systems, on soft predictions at the network's size, averaged over "
    "batches; for several classes dice_coef_multiclass is the mean probability of the true class "
    "(soft pixel accuracy)"
)
PREDICTIONS = "predictions"
# Image and mask of each case, written where they may lie in several folders.
FILES_TABLE = "files.csv"
_GROUPS = "groups.csv"
BETWEEN_FILES = "|"


@dataclass
class CaseScores:
    """Scores by case; all tables are derived from them.

    Attributes
    ----------
    results : per case the scores of its classes.
    calibration : of the predictions of all cases together; None without probabilities.
    legacy : the original systems' figures (loss and training metrics at the network's size).
    folders : where images, masks and predictions are, for those who show them: "images_dir",
        "masks_dir" and "predictions_dir" (absolute, or relative to the evaluation's folder).
    inference : what a network's predictions depend on, see `Predictor.describe`.
    notes : how masks of unknown origin were read, one sentence each.
    """

    labels: LabelMap
    measures: Measures = field(default_factory=Measures)
    cases: list[Case] = field(default_factory=list)
    results: list[CaseResult] = field(default_factory=list)
    calibration: Reliability | None = None
    legacy: dict[str, float] = field(default_factory=dict)
    folders: dict[str, str | None] = field(default_factory=dict)
    inference: PredictionSettings | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def matrices(self) -> list[NDArray[np.int64]]:
        """Per case pixel counts [classes, classes], rows are the reference."""
        return [result.matrix for result in self.results]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of `rows`."""
        ignoring = self.labels.ignored is not None
        return case_columns(volumes=self.measures.volumes, ignoring=ignoring)

    def add(
        self,
        case: Case,
        reference: NDArray[np.uint8],
        prediction: NDArray[np.uint8],
        probabilities: NDArray[np.float32] | None = None,
    ) -> None:
        """Score one case, class ids [H, W] each, see `score_case`."""
        classes = len(self.labels.classes)
        self.put(case, score_case(reference, prediction, classes, self.measures, probabilities))

    def put(self, case: Case, result: CaseResult) -> None:
        """Add a case that is scored already."""
        self.cases.append(case)
        self.results.append(result)
        if result.calibration is not None:
            known = self.calibration
            self.calibration = result.calibration + known if known else result.calibration

    def rows(self) -> list[tuple[Cell, ...]]:
        """The table of `evaluation/cases.csv`."""
        table: list[tuple[Cell, ...]] = []
        for case, result in zip(self.cases, self.results, strict=True):
            for c, scores in zip(self.labels.foreground, result.classes, strict=True):
                cells: dict[str, Cell] = {
                    "case": case.id,
                    "group": case.group,
                    "class_id": c.id,
                    "class": c.name,
                }
                cells |= _count_cells(scores.counts) | _lesion_cells(scores.lesions)
                cells |= {name: rounded(value) for name, value in scores.values.items()}
                cells[IGNORED_COLUMN] = result.ignored
                if result.voxel_ml is not None:
                    cells["reference_ml"] = rounded(scores.counts.reference * result.voxel_ml)
                    cells["predicted_ml"] = rounded(scores.counts.prediction * result.voxel_ml)
                table.append(tuple(cells[name] for name in self.columns))
        return table

    def prediction_table(self) -> list[list[Cell]]:
        """The table of `evaluation/predictions.csv`, the header first; empty where nothing is
        known of predictions without their references."""
        known = [r.judgement for r in self.results if r.judgement is not None]
        if not any(judgement.quality or judgement.input.known for judgement in known):
            return []
        # Scores of masks without a network need no engine, which these load.
        from flexseg.inference.results import prediction_table as table

        rows: list[list[Cell]] = [[*table.PREDICTION_HEADER]]
        for case, result in zip(self.cases, self.results, strict=True):
            rows += table.prediction_rows(
                case.id,
                {c.id: int(result.matrix[:, c.id].sum()) for c in self.labels.classes},
                int(result.matrix.sum()),
                result.judgement or table.Judgement(),
                self.labels.foreground,
                result.voxel_ml,
            )
        return rows

    def group_matrices(self) -> dict[str, NDArray[np.int64]]:
        """Pixel counts of each group (the slices of a volume, the tiles of an image) as one."""
        sums: dict[str, NDArray[np.int64]] = {}
        for case, matrix in zip(self.cases, self.matrices, strict=True):
            if not matrix.any():  # all its pixels are ignored
                continue
            sums[case.group] = sums[case.group] + matrix if case.group in sums else matrix
        return sums

    def group_rows(self) -> list[tuple[Cell, ...]]:
        """The table of `evaluation/groups.csv`."""
        table: list[tuple[Cell, ...]] = []
        for group, matrix in self.group_matrices().items():
            counts = counts_by_class(matrix)
            for c in self.labels.foreground:
                cells: dict[str, Cell] = {"group": group, "class_id": c.id, "class": c.name}
                values = values_of_counts(counts[c.id]).items()
                cells |= _count_cells(counts[c.id]) | {name: rounded(v) for name, v in values}
                table.append(tuple(cells[name] for name in group_columns()))
        return table

    def summary(self, resamples: int = 2000) -> EvaluationSummary:
        """What the cases have come to; with fewer than 3 `resamples` there are no intervals."""
        found = summarize(self.labels, self.cases, self.results, self.measures, resamples)
        # Voxels of different volumes differ in size: their sum means nothing.
        if found.groups < found.cases and not self.measures.volumes:
            found.by_group = summarize_groups(self.labels, self.group_matrices(), resamples)
        found.calibration = self.calibration.calibration() if self.calibration else None
        found.images_dir = self.folders.get("images_dir")
        found.masks_dir = self.folders.get("masks_dir")
        found.predictions_dir = self.folders.get("predictions_dir")
        found.inference = self.inference
        found.notes += self.notes
        found.original_figures = {"what": _ORIGINAL_FIGURES, **self.legacy} if self.legacy else {}
        return found


def case_columns(*, volumes: bool = False, ignoring: bool = False) -> tuple[str, ...]:
    """The columns of `cases.csv`; where some pixels may count in nothing, their number is last."""
    columns = ("case", *_CLASS, *_columns_of(all_metrics(), _LESIONS))
    columns += VOLUME_COLUMNS if volumes else ()
    return columns + ((IGNORED_COLUMN,) if ignoring else ())


def group_columns() -> tuple[str, ...]:
    """The columns of `groups.csv`."""
    return (*_CLASS, *_columns_of(count_metrics(), ()))


def _columns_of(metrics: Sequence[Metric], lesions: Sequence[str]) -> Iterator[str]:
    """Metrics, and the sizes and numbers of objects that some of them are made of."""
    families = [metric.family for metric in metrics]
    sizes_from = sum(family in ("overlap", "surface", "size") for family in families)
    names = [metric.name for metric in metrics]
    yield from (*names[:sizes_from], *_SIZES, *lesions, *names[sizes_from:])


def _count_cells(c: PixelCounts) -> dict[str, Cell]:
    return {"status": c.status, "reference_px": c.reference, "predicted_px": c.prediction}


def _lesion_cells(found: Lesions) -> dict[str, Cell]:
    return {
        "reference_lesions": found.reference,
        "predicted_lesions": found.predicted,
        "lesions_found": found.hits,
        "lesions_missed": found.reference - found.hits,
        "false_lesions": found.false,
    }


@alone_in("folder")
def write_evaluation(scores: CaseScores, folder: Path, resamples: int) -> EvaluationSummary:
    """Write `cases.csv` and `summary.json`; earlier ones move aside. Returns the summary.

    Where groups have several cases, e.g. volumes their slices, `groups.csv` has the scores of
    each group's pixels taken together, and the summary their means.
    """
    make_folder(folder)
    for name in (CASES, _GROUPS, SUMMARY, FILES_TABLE, PREDICTION_TABLE):
        set_aside(folder / name)
    summary = scores.summary(resamples)
    write_csv(folder / CASES, scores.columns, scores.rows())
    if table := scores.prediction_table():
        write_csv(folder / PREDICTION_TABLE, [str(name) for name in table[0]], table[1:])
    if summary.by_group is not None:
        write_csv(folder / _GROUPS, group_columns(), scores.group_rows())
    write_json(folder / SUMMARY, summary.as_dict())
    forget(folder)
    return summary


def write_files_table(path: Path, cases: Sequence[Case]) -> None:
    """Write image and mask of each case, and further masks with `BETWEEN_FILES` between them."""
    rows = [
        (
            case.id,
            case.image.absolute(),
            case.mask.absolute(),
            BETWEEN_FILES.join(str(mask.absolute()) for mask in case.more_masks),
        )
        for case in cases
    ]
    write_csv(path, ("case", "image", "mask", "more_masks"), rows)


def write_legacy_csv(path: Path, figures: dict[str, float]) -> None:
    """`evaluation.csv` of the original systems: `name,value` per line, 4 decimals, no header."""
    set_aside(path)
    write_text(path, "".join(f"{name},{round(value, 4)}\n" for name, value in figures.items()))
