"""Steps of postprocessing are chosen by the pixels that count."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from flexseg.dataset.labels import LabelClass, LabelMap
from flexseg.evaluation.postprocessing.cached_predictions import PredictionCache, Unit
from flexseg.evaluation.postprocessing.improvement import Trial
from flexseg.evaluation.postprocessing.references import ReferenceParts, TrainingReferences
from flexseg.evaluation.postprocessing.steps import StepSearch, counts_of

LABELS = LabelMap(
    (LabelClass(0, "background", ((0, 0, 0),)), LabelClass(1, "disc", ((0, 255, 0),))), binary=True
)


def test_counts_are_those_of_the_other_pixels() -> None:
    rng = np.random.default_rng(0)
    prediction, truth = rng.integers(0, 3, (2, 9, 12)).astype(np.uint8)
    wide = np.concatenate([truth, np.full_like(truth, 255)], axis=1)
    both = np.concatenate([prediction, prediction], axis=1)
    for one, other in zip(
        counts_of([(prediction, truth)], 3), counts_of([(both, wide)], 3), strict=True
    ):
        assert vars(one).keys() == vars(other).keys()
        for name, value in vars(one).items():
            np.testing.assert_array_equal(value, vars(other)[name])


def _chosen(folder: Path, ignored: bool) -> bool:
    """Whether the largest part alone is kept, where all others are false or ignored."""
    cache = PredictionCache(folder, [])
    units = []
    for i in range(8):
        truth = np.zeros((20, 20), np.uint8)
        truth[2:8, 2 : 8 + i % 3] = 1
        prediction = truth.copy()
        prediction[15:18, 12:18] = 1
        truth[12:] = 255 if ignored else 0
        np.save(folder / f"{i}.npy", np.stack([prediction, truth]))
        units.append(Unit(f"g{i}", (i,), is_volume=False))
    found = StepSearch(LABELS, cache, "2d", units, 0.5).run()
    return 1 in found.steps and found.steps[1].largest_component


def test_false_parts_in_the_ignored_region_are_no_reason(tmp_path: Path) -> None:
    for ignored in (False, True):
        (tmp_path / str(ignored)).mkdir()
        assert _chosen(tmp_path / str(ignored), ignored) is not ignored


class _Training(TrainingReferences):
    """References of a training that are made up: sizes of the parts of each case's disc."""

    def __init__(self, *sizes: Sequence[int]) -> None:
        known = [ReferenceParts(f"t{i}", np.array(own)) for i, own in enumerate(sizes)]
        self.of = lambda kind: {1: known}


def _few(
    folder: Path, false: int, training: TrainingReferences | None, *, cases: int = 3, right: int = 0
) -> Trial:
    """The trial of the largest part, where each case has a true disc and some false spots."""
    cache = PredictionCache(folder, [])
    units = []
    for i in range(cases):
        truth = np.zeros((40, 40), np.uint8)
        truth[2:12, 2 : 12 + i] = 1
        truth[20 : 20 + 2 * right : 2, 0] = 1
        prediction = truth.copy()
        prediction[30, 1 : 1 + 2 * false : 2] = 1
        np.save(folder / f"{i}.npy", np.stack([prediction, truth]))
        units.append(Unit(f"g{i}", (i,), is_volume=False))
    search = StepSearch(LABELS, cache, "2d", units, 0.5, training)
    search.run()
    return search.trials[0]


ONE = [[100]] * 5


@pytest.mark.parametrize(
    ("false", "training", "cases", "kept"),
    [
        (10, _Training(*ONE), 3, True),
        (10, _Training(*ONE), 2, True),
        # a single case is none too many, and without references nobody knows
        (10, _Training(*ONE), 1, False),
        (10, None, 3, False),
        # one false part in two cases each may be chance
        (1, _Training(*ONE), 2, False),
        # truly several objects, in all cases or in one of ten
        (10, _Training(*[[100, 90]] * 5), 3, False),
        (10, _Training(*ONE, *ONE, [100, 90]), 3, False),
        # a speck of the annotation in one of many
        (10, _Training(*ONE, *ONE, [1000, 1]), 3, True),
    ],
)
def test_false_parts_of_few_cases(
    tmp_path: Path, false: int, training: TrainingReferences | None, cases: int, kept: bool
) -> None:
    assert _few(tmp_path, false, training, cases=cases).kept is kept


def test_true_parts_among_those_of_few_cases(tmp_path: Path) -> None:
    """More is gained by the false ones than lost by the true ones, of whom there are many."""
    trial = _few(tmp_path, 6, _Training(*ONE, *ONE), right=5)
    assert trial.gain > 0 and not trial.kept
