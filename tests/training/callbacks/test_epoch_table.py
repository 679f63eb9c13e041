"""The lines of epochs."""

from __future__ import annotations

import pytest

from flexseg.training.callbacks.epoch_table import EpochLine, EpochTable

VALUES = {"loss": 0.81234, "dice": 0.25, "val_loss": 0.7, "val_dice": 0.33}


def line(number: str, best: bool = False, **values: float) -> EpochLine:
    return EpochLine(number, VALUES | values, 0.002, "1:05", 0.5, 9.5, 2.0, best)


def lines(width: int | None, *epochs: EpochLine) -> list[str]:
    table = EpochTable(width)
    return [text for epoch in epochs for text in table.lines(epoch)]


def test_all_columns_where_there_is_room() -> None:
    assert lines(None, line("9/10"), line("10/10", best=True)) == [
        "epoch    loss    dice  val_loss  val_dice     rate    time  data  passed",
        " 9/10  0.8123  0.2500    0.7000    0.3300  2.0e-03  12.0 s    5%    1:05",
        "10/10  0.8123  0.2500    0.7000    0.3300  2.0e-03  12.0 s    5%    1:05  best",
    ]


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_a_line_fits_the_terminal_and_keeps_what_matters(width: int) -> None:
    long_name = {"val_dice_coef_multiclass": 0.5, "dice_coef_multiclass": 0.5}
    for epoch in (line("100/100", best=True), line("100/100", best=True, **long_name)):
        heading, text = lines(width, epoch)
        assert max(len(heading), len(text)) < width
        assert {"epoch", "val_loss", "val_dice"} <= set(heading.split())
        assert text.endswith("best")


def test_the_heading_comes_again_when_columns_change() -> None:
    shown = lines(80, line("1"), line("2"), line("3", loss=12345.678))
    assert [text.split()[0] for text in shown] == ["epoch", "1", "2", "epoch", "3"]
    many = lines(80, *(line(str(n)) for n in range(1, 40)))
    assert sum(text.split()[0] == "epoch" for text in many) == 2
