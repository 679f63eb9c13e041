"""The choice of threshold, test-time views and postprocessing on the validation set.

Steps are tried in the order in which they are taken, each on top of those that were kept: views,
threshold, then for each class largest part, smallest size, holes. `improvement` says when one
is kept. Images and volumes get a choice of their own: what helps in a volume may harm a slice.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from flexseg.batches.store import CaseReader
from flexseg.config.load import LoadedConfig
from flexseg.config.schema import DataSections, Experiment
from flexseg.dataset.cases import Case
from flexseg.dataset.division.config_splits import find_splits
from flexseg.dataset.ignored.pixels import IGNORED
from flexseg.dataset.labels import LabelMap
from flexseg.dataset.quality.orientation import orientation_of
from flexseg.errors import FlexsegError
from flexseg.evaluation.aggregate import mean_or_none, rounded
from flexseg.evaluation.postprocessing.cached_predictions import Kind, PredictionCache, Unit
from flexseg.evaluation.postprocessing.expected_quality import (
    calibrated,
    signals_of,
    temperature_of,
)
from flexseg.evaluation.postprocessing.improvement import (
    COLUMNS,
    FEWEST,
    Counts,
    Trial,
    best_of,
    compare_scores,
    without_harm,
)
from flexseg.evaluation.postprocessing.references import TrainingReferences
from flexseg.evaluation.postprocessing.steps import StepSearch, counts_of
from flexseg.evaluation.postprocessing.unseen_cases import Source, of_folds, predict_cases
from flexseg.evaluation.postprocessing.volume_quality import averages_axes, quality_of_axes
from flexseg.inference.loading import make_predictor
from flexseg.inference.model_files import is_ensemble, model_file
from flexseg.inference.postprocess import Postprocessing
from flexseg.inference.trust.conformal import ClassCalibration, Trust
from flexseg.inference.tuned import TunedChoice, write_choice
from flexseg.one_writer import exclusive
from flexseg.outputs import (
    scratch_folder,
    set_aside,
    try_outputs,
    write_csv,
    write_json,
)
from flexseg.runs.seen import refuse_changed_split, trained_on, warn_of_trained_cases

logger = logging.getLogger(__name__)

THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
TABLE, SUMMARY = "trials.csv", "postprocessing.json"
ALL_CLASSES = "all"


@dataclass(frozen=True)
class Tuned:
    """What was chosen.

    Attributes
    ----------
    trials : everything that was tried, in its order.
    file : where inference finds the choice.
    folder : where the table of the trials is.
    scores : kind -> class name -> mean score and Dice before and after all that is kept.
    """

    choice: TunedChoice
    trials: list[Trial]
    file: Path
    folder: Path
    scores: dict[str, dict[str, dict[str, float | None]]]


def tune(
    loaded: LoadedConfig,
    folder: Path,
    *,
    views: bool = False,
    folds: Sequence[Sequence[Case]] | None = None,
    on_case: Callable[[int, int], None] | None = None,
) -> Tuned:
    """Choose on the validation split of a config, and write the choice next to its model.

    Parameters
    ----------
    folder : receives the table of the trials and a summary.
    views : also try test-time flips, as far as they are harmless (`orientation_of`), which then
        make every prediction up to four times as long.
    folds : of an ensemble, the cases that each member has not seen; they take the place of the
        validation split, which the other members were trained on.
    on_case : called with (done, total) while predicting.

    Raises
    ------
    DataError : no weights or cases, an ensemble without folds, or cases that the model was
        trained on.
    """
    model = model_file(loaded)
    try_outputs(folders=[("--output", folder), ("[train] model_dir", model.parent)])
    with exclusive(folder, model.parent):
        return _tune(loaded, model, folder, views=views, folds=folds, on_case=on_case)


def _tune(
    loaded: LoadedConfig,
    model: Path,
    folder: Path,
    *,
    views: bool,
    folds: Sequence[Sequence[Case]] | None,
    on_case: Callable[[int, int], None] | None,
) -> Tuned:
    e = loaded.experiment
    valid: Sequence[Case] = ()
    if folds is None or not is_ensemble(model):
        splits = find_splits(e.data, only=("valid",))
        splits.raise_errors()
        splits.log()
        valid = splits.need("valid")
    # The validation split is new to the weights of all members of one training.
    folded = is_ensemble(model) and (not valid or bool(trained_on(valid, model)))
    if not folded:
        if e.dataset.images_dir is not None or e.valid.images_dir is None:
            refuse_changed_split(valid, "valid", e.train.run_dir)
        warn_of_trained_cases(valid, model)
    predictor = make_predictor(loaded, tuned=False)
    sources = of_folds(predictor, folds) if folded else [(predictor, valid)]
    tta = [tuple(e.infer.tta)]
    if views and not e.infer.tta:
        known = [*valid] if folded else [*_training_cases(e.data)]
        known = known or [case for _, part in sources for case in part]
        tta += _harmless_views(predictor.package.labels, known)
    package = predictor.package
    thresholds: tuple[float, ...] = ()
    if package.labels.binary:
        tried = () if "infer.threshold" in loaded.sources else THRESHOLDS
        thresholds = tuple(sorted({package.threshold, *tried}))
    reader = CaseReader(package.preprocessing, package.labels, e.mask.unknown_colors)
    with scratch_folder(folder / "predictions") as scratch:
        caches = predict_cases(sources, e.tiledinfer, reader, tta, thresholds, scratch, on_case)
        training = TrainingReferences(reader, lambda: () if folded else _training_cases(e.data))
        search = _Search(package.labels, caches, tta, package.threshold, training)
        # Each member of an ensemble predicts its own cases, and nobody agrees with it.
        choice = search.run(members=not folded)
    if averages_axes(e):
        choice = replace(choice, trust=_of_axes(choice, sources, e))
    cases = [case for _, part in sources for case in part]
    groups = len({case.group for case in cases})
    split = "folds" if folded else "valid"
    choice = replace(choice, evidence={"split": split, "cases": len(cases), "groups": groups})
    if groups < FEWEST:
        logger.warning(
            "The validation set has only %s (patients or volumes). With fewer than %d, a better "
            "score may be chance: postprocessing is chosen only if it removes many false parts.",
            "1 group" if groups == 1 else f"{groups} groups",
            FEWEST,
        )
    _write_tables(folder, search, choice)
    file = write_choice(model, choice, package.labels)
    return Tuned(choice, search.trials, file, folder, search.scores)


def _harmless_views(labels: LabelMap, cases: Sequence[Case]) -> list[tuple[str, ...]]:
    """The one choice of views that is tried, of the flips that are harmless; empty if none is."""
    orientation = orientation_of(labels, cases)
    if orientation.why_not:
        logger.warning("Flips that were not tried: %s.", orientation.why_not)
    return [tuple(orientation.views)] if orientation.views else []


def _of_axes(choice: TunedChoice, sources: Sequence[Source], e: Experiment) -> Trust:
    """What is known of predictions, of volumes with the axes that the config averages."""
    chosen = [
        (
            predictor.with_threshold(choice.threshold).with_postprocessing(
                choice.tta, choice.postprocessing
            ),
            cases,
        )
        for predictor, cases in sources
    ]
    quality, axes = quality_of_axes(chosen, e)
    return replace(choice.trust, quality={**choice.trust.quality, 3: quality}, axes=axes)


def _training_cases(data: DataSections) -> Sequence[Case]:
    """The training cases, as far as they are still there."""
    try:
        return find_splits(data, only=("train",)).cases.get("train", ())
    except FlexsegError as error:
        logger.info("The training masks are of no help here: %s", error)
        return ()


def _write_tables(folder: Path, search: _Search, choice: TunedChoice) -> None:
    """The trials, and what came of them; earlier ones move aside."""
    for name in (TABLE, SUMMARY):
        set_aside(folder / name)
    write_csv(folder / TABLE, COLUMNS, (list(trial.as_dict().values()) for trial in search.trials))
    write_json(folder / SUMMARY, choice.as_dict(search.labels) | {"scores": search.scores})


class _Search:
    """The steps on the predictions of each choice of views."""

    def __init__(
        self,
        labels: LabelMap,
        caches: Sequence[PredictionCache],
        tta: Sequence[tuple[str, ...]],
        threshold: float,
        training: TrainingReferences,
    ) -> None:
        self.labels = labels
        self.caches = caches
        self.tta = tta
        self.threshold = threshold
        self.training = training
        self.trials: list[Trial] = []
        self.scores: dict[str, dict[str, dict[str, float | None]]] = {}

    def run(self, *, members: bool) -> TunedChoice:
        """Try everything.

        Parameters
        ----------
        members : that are averaged tell how good a prediction is, see `Signal.values`.
        """
        first = self.caches[0]
        volumes = first.volumes()
        if not volumes and len({case.group for case in first.cases}) < len(first.cases):
            logger.info("The cases are not whole volumes: nothing is chosen for volumes.")
        # Views and threshold hold for volumes and images alike; where there are volumes, they
        # decide, because slices with a few pixels of a class weigh too much.
        kinds: dict[Kind, Sequence[Unit]] = {"3d": volumes} if volumes else {}
        kinds["2d"] = first.images()
        way = self._choose_views(kinds)
        cache = self.caches[way]
        threshold = self._choose_threshold(kinds, cache)
        found: dict[int, Postprocessing] = {}
        quality: dict[int, dict[int, ClassCalibration]] = {}
        for kind, units in kinds.items():
            steps = StepSearch(self.labels, cache, kind, units, threshold, self.training)
            found[int(kind[0])] = steps.run()
            signals, groups = signals_of(cache, units), [unit.group for unit in units]
            quality[int(kind[0])] = calibrated(signals, groups, steps.final, members=members)
            self.trials += steps.trials
            before = self._counts(self.caches[0], units)
            self.scores[kind] = self._compare(before, steps.final)
        changed = cache.thresholds and threshold != self.threshold
        trust = Trust(quality, members, threshold, temperature_of(cache))
        return TunedChoice(threshold if changed else None, self.tta[way], found, trust=trust)

    def _choose_views(self, kinds: Mapping[Kind, Sequence[Unit]]) -> int:
        """The index of the choice of views."""
        if len(self.caches) == 1:
            return 0
        trials = []
        for kind, units in kinds.items():
            plain, seen = (self._counts(cache, units) for cache in self.caches)
            what = (kind, ALL_CLASSES, "tta", ", ".join(self.tta[1]))
            trials.append(compare_scores(what, plain, seen, [unit.group for unit in units]))
        first = self._note_shared(trials)
        return int(first.kept)

    def _choose_threshold(
        self, kinds: Mapping[Kind, Sequence[Unit]], cache: PredictionCache
    ) -> float:
        others = [t for t in cache.thresholds if t != self.threshold]
        if not others:
            return self.threshold
        name = self.labels.foreground[0].name
        by_value: dict[float, list[Trial]] = {t: [] for t in others}
        for kind, units in kinds.items():
            groups = [unit.group for unit in units]
            counts = self._threshold_counts(cache, units)
            for t in others:
                what = (kind, name, "threshold", t)
                pair = [counts[self.threshold]], [counts[t]]
                by_value[t].append(compare_scores(what, *pair, groups, len(others)))
        first, best = best_of([without_harm(trials[0], trials[1:]) for trials in by_value.values()])
        for trials, updated in zip(by_value.values(), first, strict=True):
            self._note_shared([updated, *trials[1:]])
        return self.threshold if best is None else float(best.value)

    def _note_shared(self, trials: Sequence[Trial]) -> Trial:
        """Note the trials of one step in all kinds, of which the first decides; returns it."""
        first = without_harm(trials[0], trials[1:])
        reason = f"as in {first.kind}"
        self.trials += [first, *(replace(t, kept=first.kept, reason=reason) for t in trials[1:])]
        return first

    @staticmethod
    def _threshold_counts(cache: PredictionCache, units: Sequence[Unit]) -> dict[float, Counts]:
        """Of the one class, for every threshold, from one look at each unit."""
        count = len(cache.thresholds) + 1
        common, predicted, reference = [], [], []
        for unit in units:
            levels, truth = cache.load(unit)
            levels, truth = levels[truth != IGNORED], truth[truth != IGNORED]
            of_all = np.bincount(levels.ravel(), minlength=count)
            of_class = np.bincount(levels[truth > 0], minlength=count)
            # Pixels whose probability exceeds at least 1, 2, ... thresholds.
            predicted.append(of_all[::-1].cumsum()[::-1][1:])
            common.append(of_class[::-1].cumsum()[::-1][1:])
            reference.append(of_class.sum())
        tables = np.array(common), np.array(predicted)
        return {
            t: Counts(tables[0][:, i], tables[1][:, i], np.array(reference))
            for i, t in enumerate(cache.thresholds)
        }

    def _counts(self, cache: PredictionCache, units: Sequence[Unit]) -> list[Counts]:
        """Of each foreground class, of the predictions as they are."""
        pairs = (
            (cache.labels(prediction, self.threshold), truth)
            for prediction, truth in map(cache.load, units)
        )
        return counts_of(pairs, len(self.labels.classes))

    def _compare(
        self, before: Sequence[Counts], after: Sequence[Counts]
    ) -> dict[str, dict[str, float | None]]:
        return {
            c.name: {
                "score_before": rounded(float(b.score.mean())),
                "score_after": rounded(float(a.score.mean())),
                "dice_before": rounded(mean_or_none(b.dice)),
                "dice_after": rounded(mean_or_none(a.dice)),
            }
            for c, b, a in zip(self.labels.foreground, before, after, strict=True)
        }
