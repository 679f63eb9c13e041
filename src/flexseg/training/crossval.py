"""Cross-validation: as many trainings as folds, one honest score of all cases, one ensemble.

The cases for training and validation together are divided into folds by group, stratified by
class. A fold's network is trained on the cases of the other folds, of which a part chooses the
best epoch, and predicts the cases of its own fold, which it has not seen in any way. The test
set of the config takes no part.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from flexseg.config.findings import Finding, examples
from flexseg.config.load import LoadedConfig, load
from flexseg.data.images import read_mask
from flexseg.data.labels import LabelMap
from flexseg.data.pairing import Case
from flexseg.data.partition import folds, partition
from flexseg.data.splits import Splits, find_splits
from flexseg.data.store import CaseReader
from flexseg.errors import ConfigError, DataError, FlexsegError, Interrupted
from flexseg.evaluation.evaluate import (
    CaseScores,
    KeptPredictions,
    evaluate_model,
    write_evaluation,
)
from flexseg.evaluation.scoring import Measures
from flexseg.inference.ensemble import FILE_NAME as ENSEMBLE_FILE
from flexseg.inference.ensemble import write_ensemble
from flexseg.inference.run import make_predictor
from flexseg.outputs import make_folder, set_aside, write_json
from flexseg.training.run import FILE_NAME as MANIFEST
from flexseg.training.run import RunManifest
from flexseg.training.trainer import Run, Training

logger = logging.getLogger(__name__)

FOLDS_FILE = "folds.json"
# Of the cases that a fold may see, to choose the best epoch by. The fold's own cases must not
# choose it: the score would be that of the epoch that happens to suit them.
VALIDATION_SHARE = 0.15


@dataclass(frozen=True)
class Fold:
    """Who is what in one fold.

    Attributes
    ----------
    held_out : the cases that the fold's network is scored on.
    """

    train: tuple[Case, ...]
    valid: tuple[Case, ...]
    held_out: tuple[Case, ...]

    def as_dict(self) -> dict[str, list[str]]:
        """Ids of the cases."""
        return {
            "train": [case.id for case in self.train],
            "valid": [case.id for case in self.valid],
            "held_out": [case.id for case in self.held_out],
        }


@dataclass(frozen=True)
class CrossValidated:
    """A finished cross-validation.

    Attributes
    ----------
    evaluation : folder of the pooled evaluation.
    summary : content of its `summary.json`.
    """

    runs: list[Run]
    evaluation: Path
    ensemble: Path
    summary: dict[str, Any]


def make_folds(
    cases: Sequence[Case], presence: NDArray[np.bool_], count: int, seed: int
) -> list[Fold]:
    """Divide cases into folds by group.

    Parameters
    ----------
    presence : [cases, classes], whether a case shows a class.
    seed : another seed, other folds.

    Raises
    ------
    ConfigError : fewer than two folds.
    DataError : too few groups for so many folds.
    """
    if count < 2:
        raise ConfigError(f"{count} folds are none.", "Give 2 or more.", "--folds")
    groups = np.array([case.group for case in cases])
    number = len(set(groups))
    if number < max(count, 3):
        raise DataError(
            f"{len(cases)} cases of {number} group(s) cannot make {count} folds.",
            "Take fewer folds, or another [dataset] group: one group is never divided.",
            "--folds",
        )
    fold_of = folds(list(groups), presence, count, seed)
    result = []
    for k in range(count):
        rest = np.flatnonzero(fold_of != k)
        if len(set(groups[rest])) < 2:
            raise DataError(
                f"Without fold {k} one group is left, which cannot train and validate.",
                "Take more folds, or another [dataset] group: one group is never divided.",
                "--folds",
            )
        shares = [1 - VALIDATION_SHARE, VALIDATION_SHARE]
        part = partition(list(groups[rest]), presence[rest], shares, seed)
        result.append(
            Fold(
                tuple(cases[i] for i in rest[part == 0]),
                tuple(cases[i] for i in rest[part == 1]),
                tuple(cases[i] for i in np.flatnonzero(fold_of == k).tolist()),
            )
        )
    return result


class CrossValidation:
    """One cross-validation, from its config to its files.

    Every fold is a run in `<run_dir>/fold_<k>`, the pooled evaluation is in
    `<run_dir>/evaluation`, the ensemble in `<run_dir>/models/ensemble.json`, who is in which fold
    in `<run_dir>/folds.json`, and `<run_dir>/run.json` says what it was made of.

    Parameters
    ----------
    loaded : the config, read with `overrides`.
    overrides : "section.key=value" texts.

    Raises
    ------
    ConfigError : an output folder of the config is one and the same for all folds.
    """

    def __init__(
        self, loaded: LoadedConfig, overrides: Sequence[str], count: int, console: Console
    ) -> None:
        self.loaded = loaded
        self.experiment = loaded.experiment
        self.folder = loaded.experiment.train.run_dir
        self.evaluation = self.folder / "evaluation"
        self.ensemble = loaded.experiment.train.model_dir / ENSEMBLE_FILE
        self.count = count
        self.console = console
        self.manifest = RunManifest(self.folder, loaded)
        self._parts: list[Fold] = []
        self._configs = [
            load(loaded.path, [*overrides, f"train.run_dir={self.fold_folder(k)}"])
            for k in range(count)
        ]
        for k, config in enumerate(self._configs):
            _refuse_shared_outputs(config, self.fold_folder(k))

    def fold_folder(self, k: int) -> Path:
        """Folder of a fold's run."""
        return self.folder / f"fold_{k}"

    def train(self, *, resume: bool = False) -> list[Run]:
        """Train all folds.

        Parameters
        ----------
        resume : go on where an earlier one stopped: finished folds are not trained again.

        Raises
        ------
        FlexsegError : anything that the user can act on; `Interrupted` after a signal.
        """
        cases, findings = self._cases()
        self._parts = make_folds(
            cases, self._presence(cases), self.count, self.experiment.train.seed
        )
        self._prepare(resume=resume)
        self.manifest.add_data({"train": cases}, [*self.loaded.findings, *findings])
        self.manifest.write(crossval={"folds": self.count})
        with self._failures_noted():
            return [self._train(k, fold) for k, fold in enumerate(self._parts)]

    def score(
        self, runs: list[Run], on_case: Callable[[int, int], None] | None = None
    ) -> CrossValidated:
        """Score the trained folds together, and make the ensemble of them.

        Parameters
        ----------
        runs : what `train` returned.
        on_case : called with (done, total).

        Raises
        ------
        FlexsegError : a file cannot be read, or results cannot be written.
        """
        with self._failures_noted():
            scores, by_fold = self._score(runs, on_case)
            summary = write_evaluation(scores, self.evaluation, self.experiment.eval.bootstrap)
            summary["crossval"] = {"folds": by_fold}
            summary["notes"].append(
                f"Cross-validation: each case was predicted by the one of {self.count} networks "
                "that has not seen it, neither for its weights nor for the choice of its best "
                "epoch."
            )
            write_json(self.evaluation / "summary.json", summary)
            write_ensemble(self.ensemble, [run.weights for run in runs])
        self.manifest.content.pop("error", None)
        self.manifest.write(
            status="finished",
            crossval={"folds": self.count, "scores": by_fold},
            seconds=round(sum(_seconds(run.folder) for run in runs), 1),
            weights=str(self.ensemble),
        )
        return CrossValidated(runs, self.evaluation, self.ensemble, summary)

    @contextmanager
    def _failures_noted(self) -> Iterator[None]:
        """The manifest says why a cross-validation has ended early."""
        try:
            yield
        except FlexsegError as error:
            status = "interrupted" if isinstance(error, Interrupted) else "failed"
            self.manifest.write(status=status, error=error.problem)
            raise

    def _cases(self) -> tuple[tuple[Case, ...], list[Finding]]:
        """All cases but those of the test, and what was found about them."""
        splits = find_splits(self.experiment, only=("train", "valid"))
        splits.raise_errors()
        cases = (*splits.need("train"), *splits.cases.get("valid", ()))
        ids = [case.id for case in cases]
        if double := sorted({i for i in ids if ids.count(i) > 1}):
            raise DataError(
                f"{len(double)} cases for training and validation have the same name: "
                f"{examples(double)}.",
                "Rename the files: the scores of all cases stand in one table.",
                "[valid] images_dir",
            )
        splits.findings = [f for f in splits.findings if f.code != "validation-held-out"]
        splits.log()
        return cases, splits.findings

    def _presence(self, cases: Sequence[Case]) -> NDArray[np.bool_]:
        """Whether a case shows a class, [cases, foreground classes]."""
        labels = LabelMap.from_experiment(self.experiment)

        def shown(case: Case) -> list[bool]:
            found = np.unique(labels.encode(read_mask(case.mask), str(case.mask)).labels)
            return [c.id in found for c in labels.foreground]

        with ThreadPoolExecutor() as pool:
            return np.array(list(pool.map(shown, cases)), bool)

    def _prepare(self, *, resume: bool) -> None:
        make_folder(self.folder)
        path = self.folder / FOLDS_FILE
        division = [fold.as_dict() for fold in self._parts]
        if resume:
            if _read_folds(path) != division:
                raise ConfigError(
                    "The cases, their masks, train.seed or --folds have changed since.",
                    "Restore them, or start without --resume (the old results move aside).",
                    str(path),
                )
            self.manifest.keep_start()
            return
        earlier = sorted(p for p in self.folder.glob("fold_*") if p.name[5:].isdecimal())
        for old in (*earlier, self.evaluation, self.ensemble, path, self.folder / MANIFEST):
            set_aside(old)
        write_json(path, division)

    def _train(self, k: int, fold: Fold) -> Run:
        self.console.print(
            f"[bold]Fold {k}[/] ({k + 1} of {self.count}): trains on {len(fold.train)}, validates "
            f"on {len(fold.valid)}, is scored on {len(fold.held_out)} cases.",
            highlight=False,
        )
        splits = Splits({"train": fold.train, "valid": fold.valid})
        started = (self.fold_folder(k) / MANIFEST).exists()
        run = Training(self._configs[k], self.console, splits).run(resume=started)
        # Networks of earlier folds would stay in memory.
        keras.utils.clear_session()
        return run

    def _score(
        self, runs: Sequence[Run], on_case: Callable[[int, int], None] | None
    ) -> tuple[CaseScores, list[dict[str, Any]]]:
        """All cases, each scored by the fold that has not seen it, and a row per fold."""
        measures = Measures.from_config(self.experiment.eval)
        labels = LabelMap.from_experiment(self.experiment)
        make_folder(self.evaluation)
        kept = KeptPredictions(self.evaluation, labels)
        pooled = CaseScores(labels, measures)
        total = sum(len(fold.held_out) for fold in self._parts)
        rows: list[dict[str, Any]] = []
        for k, (fold, run) in enumerate(zip(self._parts, runs, strict=True)):
            done = len(pooled.cases)

            def report(count: int, _: int, done: int = done) -> None:
                if on_case is not None:
                    on_case(done + count, total)

            predictor = make_predictor(self._configs[k])
            package = predictor.package
            reader = CaseReader(
                package.preprocessing, package.labels, self.experiment.mask.unknown_colors
            )
            scores = evaluate_model(
                predictor, fold.held_out, reader, {}, report, measures=measures, keep=kept.write
            )
            for case, result in zip(scores.cases, scores.results, strict=True):
                pooled.put(case, result)
            macro = scores.summary(resamples=0)["macro"]["dice"]["mean"]
            rows.append(
                {
                    "fold": k,
                    "cases": len(fold.held_out),
                    "dice": macro,
                    "best_epoch": run.best_epoch,
                    "val_loss": run.best_loss,
                }
            )
            keras.utils.clear_session()
        kept.finish()
        folders = {
            name: {getattr(case, kind).parent for case in pooled.cases}
            for name, kind in (("images_dir", "image"), ("masks_dir", "mask"))
        }
        pooled.folders = {
            name: str(found.pop()) if len(found) == 1 else None for name, found in folders.items()
        } | {"predictions_dir": kept.folder.name}
        return pooled, rows


def _refuse_shared_outputs(config: LoadedConfig, folder: Path) -> None:
    """An absolute output folder would be that of all folds, each of which moves it aside."""
    e = config.experiment
    outputs = {
        "[train] model_dir": e.train.model_dir,
        "[train] eval_dir": e.train.eval_dir,
        "[train] epoch_change_infer_dir": e.train.epoch_change_infer_dir,
        "[generator] generated_images_dir": e.generator.generated_images_dir,
        "[generator] generated_masks_dir": e.generator.generated_masks_dir,
    }
    for key, path in outputs.items():
        if path is not None and not path.is_relative_to(folder):
            raise ConfigError(
                f"The folder {path} would be that of all folds.",
                "Give it relative to [train] run_dir, without '..'.",
                key,
            )


def _read_folds(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(
            "There is no cross-validation to go on with.", "Start without --resume.", str(path)
        ) from None
    except (OSError, ValueError) as error:
        raise DataError(
            f"It cannot be read ({error}).", "Start without --resume.", str(path)
        ) from None


def _seconds(folder: Path) -> float:
    """Training time of a fold."""
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    return float(manifest.get("seconds", 0.0))
