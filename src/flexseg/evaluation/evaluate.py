"""Evaluation: per case and class first, then means over cases, at native resolution."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from flexseg.config.schema import Experiment
from flexseg.data.images import MASK_SUFFIXES, read_mask
from flexseg.data.labels import LabelMap
from flexseg.data.pairing import Case, pair
from flexseg.data.preprocess import Preprocessing
from flexseg.data.store import CaseReader, check_same_aspect
from flexseg.errors import DataError
from flexseg.evaluation.aggregate import bootstrap_means, interval, mean_or_none
from flexseg.evaluation.overlap import METRICS, Overlap, confusion, overlaps
from flexseg.outputs import make_folder, set_aside, write_csv, write_json, write_text

if TYPE_CHECKING:
    from flexseg.inference.predictor import Predictor

SMALL_SAMPLE = 50
CASE_COLUMNS = (
    "case",
    "group",
    "class_id",
    "class",
    "status",
    *METRICS,
    "reference_px",
    "predicted_px",
)


@dataclass
class CaseScores:
    """Confusion matrices by case; everything else is derived from them.

    Attributes
    ----------
    matrices : per case pixel counts [classes, classes], rows are the reference.
    legacy : the original systems' figures (loss and training metrics at the network's size).
    """

    labels: LabelMap
    cases: list[Case] = field(default_factory=list)
    matrices: list[NDArray[np.int64]] = field(default_factory=list)
    legacy: dict[str, float] = field(default_factory=dict)

    def add(self, case: Case, reference: NDArray[np.uint8], prediction: NDArray[np.uint8]) -> None:
        """Score one case, class ids [H, W] each."""
        self.cases.append(case)
        self.matrices.append(confusion(reference, prediction, len(self.labels.classes)))

    def rows(self) -> list[tuple[Any, ...]]:
        """The table of `evaluation/cases.csv`."""
        table: list[tuple[Any, ...]] = []
        for case, matrix in zip(self.cases, self.matrices, strict=True):
            scores = overlaps(matrix)
            for c in self.labels.foreground:
                o = scores[c.id]
                metrics = tuple(_rounded(getattr(o, name)) for name in METRICS)
                row = (case.id, case.group, c.id, c.name, o.status, *metrics)
                table.append((*row, o.reference, o.prediction))
        return table

    def by_group(self) -> CaseScores:
        """The same with the cases of each group (slices of a volume, tiles of an image) as one."""
        result = CaseScores(self.labels)
        sums: dict[str, NDArray[np.int64]] = {}
        for case, matrix in zip(self.cases, self.matrices, strict=True):
            if case.group in sums:
                sums[case.group] += matrix
            else:
                sums[case.group] = matrix.copy()
                result.cases.append(replace(case, id=case.group))
        result.matrices = [sums[case.group] for case in result.cases]
        return result

    def summary(self, resamples: int = 2000) -> dict[str, Any]:
        """The content of `evaluation/summary.json`: all means are over cases in whose
        reference the class is present; empty references are counted apart."""
        groups = [case.group for case in self.cases]
        per_case = [overlaps(m) for m in self.matrices]
        pooled = overlaps(np.sum(self.matrices, axis=0))
        foreground = self.labels.foreground
        means: dict[str, NDArray[np.float64]] = {}
        draws: dict[str, NDArray[np.float64]] = {}
        for metric in METRICS:
            means[metric] = np.array(
                [[_present(row[c.id], metric) for c in foreground] for row in per_case]
            )
            draws[metric] = bootstrap_means(means[metric], groups, max(resamples, 1))
        classes = []
        for column, c in enumerate(foreground):
            statuses = [row[c.id].status for row in per_case]
            entry: dict[str, Any] = {
                "id": c.id,
                "name": c.name,
                "cases_with_reference": statuses.count("scored") + statuses.count("missed"),
                "cases_with_empty_reference": statuses.count("absent")
                + statuses.count("false positive"),
                "missed": statuses.count("missed"),
                "false_positive": statuses.count("false positive"),
                "pooled_pixels": {m: _rounded(getattr(pooled[c.id], m)) for m in METRICS},
            }
            for metric in METRICS:
                entry[metric] = _statistics(means[metric][:, column], draws[metric][:, column])
            classes.append(entry)
        n = len(set(groups))
        return {
            "cases": len(self.cases),
            "groups": n,
            "resolution": "native",
            "classes": classes,
            "macro": {metric: _macro(means[metric], draws[metric]) for metric in METRICS},
            "notes": _notes(n, resamples),
            "not_comparable_with_the_above": {
                "what": "figures of the original systems, on soft predictions at the network's "
                "size, averaged over batches; for several classes dice_coef_multiclass is the "
                "mean probability of the true class (soft pixel accuracy)",
                **self.legacy,
            }
            if self.legacy
            else None,
        }


def _present(overlap: Overlap, metric: str) -> float:
    """The metric, or NaN where the class is not in the reference. A missed object has
    precision 0: nothing that should have been found was."""
    if overlap.reference == 0:
        return float("nan")
    if metric == "precision" and overlap.prediction == 0:
        return 0.0
    return float(getattr(overlap, metric))


def _statistics(values: NDArray[np.float64], draws: NDArray[np.float64]) -> dict[str, Any]:
    defined = values[~np.isnan(values)]
    ci = interval(draws)
    return {
        "mean": _rounded(mean_or_none(values)),
        "ci95": [_rounded(ci[0]), _rounded(ci[1])] if ci else None,
        "median": _rounded(float(np.median(defined))) if len(defined) else None,
        "min": _rounded(float(defined.min())) if len(defined) else None,
    }


def _macro(values: NDArray[np.float64], draws: NDArray[np.float64]) -> dict[str, Any]:
    by_class = [mean_or_none(values[:, column]) for column in range(values.shape[1])]
    present = [i for i, mean in enumerate(by_class) if mean is not None]
    if not present:
        return {"mean": None, "ci95": None}
    mean = float(np.mean([by_class[i] for i in present]))
    ci = interval(draws[:, present].mean(axis=1))
    return {
        "mean": _rounded(mean),
        "ci95": [_rounded(ci[0]), _rounded(ci[1])] if ci else None,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else round(value, 6)


def _notes(groups: int, resamples: int) -> list[str]:
    notes = [
        "Means are over cases in whose reference the class is present; the background is in no "
        f"mean. Intervals: 95 % bootstrap over groups, {resamples} resamples."
    ]
    if groups < SMALL_SAMPLE:
        notes.append(
            f"Only {groups} independent groups: the intervals are too narrow for so few; "
            f"{SMALL_SAMPLE} or more make them reliable."
        )
    return notes


def evaluate_model(
    predictor: Predictor,
    cases: Sequence[Case],
    reader: CaseReader,
    figures: Mapping[str, Callable[[Any, Any], float]],
    on_case: Callable[[int, int], None] | None = None,
) -> CaseScores:
    """Predict and score cases.

    Parameters
    ----------
    figures : name -> function of (class ids [B, h, w], probabilities [B, h, w, C]) at the
        network's size; averaged over batches as the originals report them.
    on_case : called with (done, total).
    """
    scores = CaseScores(reader.labels)
    sums = dict.fromkeys(figures, 0.0)
    for start in range(0, len(cases), predictor.batch_size):
        chunk = cases[start : start + predictor.batch_size]
        native = [reader.native(case) for case in chunk]
        x = np.stack(
            [
                reader.preprocessing.image(image, str(case.image)).astype(np.float32)
                for case, (image, _) in zip(chunk, native, strict=True)
            ]
        )
        y = np.stack([reader.preprocessing.labels(labels) for _, labels in native])
        p = predictor.at_model_size(x)
        for name, function in figures.items():
            sums[name] += function(y, p) * len(chunk)
        for case, (image, labels), one in zip(chunk, native, p, strict=True):
            prediction = predictor.labels(predictor.resize(one, image.shape[:2]))
            scores.add(case, labels, prediction)
        if on_case is not None:
            on_case(start + len(chunk), len(cases))
    scores.legacy = {name: total / len(cases) for name, total in sums.items()}
    return scores


def score_folders(
    predictions: Path, masks: Path, experiment: Experiment
) -> tuple[CaseScores, list[str]]:
    """Score a folder of predicted masks against a folder of reference masks.

    Masks pair by file name; colours and values are read by the config's label map, the
    nearest colour counts. Returns the scores and the names without a partner.

    Raises
    ------
    DataError : no pair at all, or sizes that do not fit.
    """
    labels = LabelMap.from_experiment(experiment)
    pairing = pair(
        predictions,
        masks,
        mask_name=experiment.dataset.mask_name,
        group=experiment.dataset.group,
        image_suffixes=MASK_SUFFIXES,
    )
    if not pairing.cases:
        raise DataError(
            "No prediction has a mask of the same name.",
            f"Compare the file names with those in {masks}.",
            str(predictions),
        )
    scores = CaseScores(labels)
    for case in pairing.cases:
        reference = labels.encode(read_mask(case.mask), str(case.mask)).labels
        prediction = labels.encode(read_mask(case.image), str(case.image)).labels
        if prediction.shape != reference.shape:
            check_same_aspect(prediction.shape, (reference.shape[0], reference.shape[1]), case)
            prediction = Preprocessing(reference.shape[1], reference.shape[0], 1).labels(prediction)
        scores.add(case, reference, prediction)
    lonely = [p.name for p in (*pairing.images_without_mask, *pairing.masks_without_image)]
    return scores, lonely


def write_evaluation(scores: CaseScores, folder: Path, resamples: int) -> dict[str, Any]:
    """Write `cases.csv` and `summary.json`; earlier ones move aside. Returns the summary.

    Where groups have several cases, e.g. volumes their slices, `groups.csv` has the scores of
    each group's pixels taken together, and the summary their means as "by_group".
    """
    make_folder(folder)
    for name in ("cases.csv", "groups.csv", "summary.json"):
        set_aside(folder / name)
    summary = scores.summary(resamples)
    write_csv(folder / "cases.csv", CASE_COLUMNS, scores.rows())
    if summary["groups"] < summary["cases"]:
        grouped = scores.by_group()
        write_csv(folder / "groups.csv", CASE_COLUMNS[1:], [row[1:] for row in grouped.rows()])
        of_groups = grouped.summary(resamples)
        summary["by_group"] = {key: of_groups[key] for key in ("classes", "macro")}
    write_json(folder / "summary.json", summary)
    return summary


def write_legacy_csv(path: Path, figures: dict[str, float]) -> None:
    """`evaluation.csv` of the original systems: `name,value` per line, 4 decimals, no header."""
    set_aside(path)
    write_text(path, "".join(f"{name},{round(value, 4)}\n" for name, value in figures.items()))
