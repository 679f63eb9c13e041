"""Steps of postprocessing are chosen by the pixels that count."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from flexseg.dataset.labels import LabelClass, LabelMap
from flexseg.evaluation.postprocessing.cached_predictions import PredictionCache, Unit
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
