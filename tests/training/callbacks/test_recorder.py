"""The logs of a training show what there is."""

from __future__ import annotations

from pathlib import Path

import pytest

from flexseg.training import checkpoint
from flexseg.training.callbacks.recorder import Recorder


@pytest.mark.parametrize("validated", [True, False])
def test_no_column_of_a_validation_that_was_not(tmp_path: Path, validated: bool) -> None:
    names = ["loss", "val_loss", "dice_coef", "val_dice_coef"]
    history = {n: [0.5, 0.25] for n in names if validated or not n.startswith("val_")}
    progress = checkpoint.Progress(history=history)
    metrics = ["dice_coef", "val_dice_coef"]
    Recorder(progress, tmp_path, tmp_path / "history.json", metrics).write()
    losses = (tmp_path / "train_losses.csv").read_text().splitlines()
    scores = (tmp_path / "train_metrics.csv").read_text().splitlines()
    if validated:
        assert losses == ["epoch, loss, val_loss", "0, 0.5000, 0.5000", "1, 0.2500, 0.2500"]
        assert scores[0] == "epoch,dice_coef,val_dice_coef,"
    else:
        assert losses == ["epoch, loss", "0, 0.5000", "1, 0.2500"]
        assert scores[0] == "epoch,dice_coef,"
