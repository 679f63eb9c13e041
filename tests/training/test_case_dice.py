"""The Dice that a training shows is that of an evaluation of its cases."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from flexseg.dataset.cases import Case
from flexseg.dataset.ignored.pixels import IGNORED, IgnoredPixels
from flexseg.dataset.labels import LabelClass, LabelMap
from flexseg.evaluation.case_scores import CaseScores
from flexseg.losses import DICE, keras_loss
from flexseg.training.callbacks.recorder import BestModel
from flexseg.training.case_dice import CaseDice, owners_of

SLICES, SIZE = 11, (6, 7)
GROUPS = ("a", "b", "a", "a", "c", "b", "c", "c", "a", "d", "d")
CASES = [Case(f"{i}", Path(f"{i}.png"), Path(f"{i}.png"), g) for i, g in enumerate(GROUPS)]


def _slices(channels: int, *, ignoring: bool) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Labels and probabilities; most slices are empty, and group d has one class at most."""
    rng = np.random.default_rng(channels)
    labels = rng.integers(0, max(2, channels), (SLICES, *SIZE)).astype(np.uint8)
    p = rng.uniform(0, 1, (SLICES, *SIZE, channels)).astype(np.float32)
    for i in (1, 3, 4, 9, 10):
        labels[i], p[i], p[i, ..., 0] = 0, 0, channels > 1
    if ignoring:
        labels[:, :, 5:] = IGNORED
        labels[7] = IGNORED
    return labels, p


def _evaluated(
    labels: NDArray[np.uint8], hard: NDArray[np.uint8], owners: list[int], classes: int
) -> float:
    """The mean of an evaluation, of the images of each case one below the other."""
    known = tuple(LabelClass(i, f"c{i}", ((i, i, i),)) for i in range(classes))
    ignored = IgnoredPixels() if (labels == IGNORED).any() else None
    scores = CaseScores(LabelMap(known, binary=classes == 2, ignored=ignored))
    for owner in sorted(set(owners)):
        own = np.flatnonzero(np.array(owners) == owner)
        scores.add(CASES[owner], np.concatenate(labels[own]), np.concatenate(hard[own]))
    mean = scores.summary(resamples=0).macro["dice"].mean
    assert mean is not None
    return mean


@pytest.mark.parametrize("volumes", [True, False])
@pytest.mark.parametrize("ignoring", [True, False])
@pytest.mark.parametrize("channels", [1, 3])
def test_equals_the_evaluation(channels: int, ignoring: bool, volumes: bool) -> None:
    labels, p = _slices(channels, ignoring=ignoring)
    threshold = 0.3
    hard = p[..., 0] > threshold if channels == 1 else p.argmax(-1)
    owners = owners_of(CASES, volumes=volumes)
    inputs = keras.Input((*SIZE, channels))
    model = keras.Model(inputs, keras.layers.Identity()(inputs))
    metric = CaseDice(owners, max(1, channels - 1), threshold, ignoring=ignoring)
    model.compile(
        loss=keras_loss("dice_ce_loss", channels, ignoring=ignoring),
        metrics=[metric],
        jit_compile=False,
    )
    for _ in range(2):  # a validation begins anew
        found = model.evaluate(p, labels, batch_size=4, verbose=0, return_dict=True)[DICE]
        expected = _evaluated(labels, hard.astype(np.uint8), owners, max(2, channels))
        assert found == pytest.approx(expected, abs=1e-5)


def test_empty_slices_do_not_hide_the_volume() -> None:
    """One right slice among nine empty ones with a false pixel each."""
    labels = np.zeros((10, 8, 8), np.uint8)
    labels[4] = 1
    p = np.zeros((10, 8, 8, 1), np.float32)
    p[4], p[:, 0, 0] = 1, 1
    for owners, expected in (([0] * 10, 2 * 64 / (64 + 73)), (list(range(10)), 0.1)):
        metric = CaseDice(owners, 1, 0.5)
        metric.update_state(labels, p)
        assert float(metric.result()) == pytest.approx(expected)


def test_nothing_at_all_is_no_dice() -> None:
    metric = CaseDice([0, 1], 1, 0.5)
    metric.update_state(np.zeros((2, 4, 4), np.uint8), np.zeros((2, 4, 4, 1), np.float32))
    assert float(metric.result()) == 0


@pytest.mark.parametrize(
    ("epochs", "best"),
    [
        ([{"val_loss": 3.0, "val_dice": 0.0}, {"val_loss": 2.0, "val_dice": 0.0}], 1),
        ([{"val_loss": 1.0, "val_dice": 0.5}, {"val_loss": 2.0, "val_dice": 0.6}], 1),
        ([{"val_loss": 1.0, "val_dice": 0.5}, {"val_loss": 2.0, "val_dice": 0.5}], 0),
        ([{"val_loss": 1.0, "val_iou_coef": 0.5}, {"val_loss": 2.0, "val_iou_coef": 0.6}], 0),
        ([{"loss": 1.0, "dice": 0.6}, {"loss": 0.9, "dice": 0.5}], 1),
    ],
)
def test_the_best_epoch(epochs: list[dict[str, float]], best: int) -> None:
    kept: list[dict[str, float]] = []
    callback = BestModel(kept.append)
    for number, values in enumerate(epochs):
        callback.on_epoch_end(number, values)
    assert callback.best_epoch == best == kept[-1]["epoch"]
    assert callback.best == epochs[best].get("val_loss", epochs[best].get("loss"))
