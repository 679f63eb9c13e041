"""Which mirror images a plan trains with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from flexseg.dataset.cases import Case
from flexseg.dataset.labels import LabelMap
from flexseg.files.images import write_png
from flexseg.planning.orientation import flips

LABELS = LabelMap.from_dict(
    {
        "binary": False,
        "threshold": None,
        "algorithm": None,
        "explicit": True,
        "classes": [
            {"id": 0, "name": "background", "colors": [[0, 0, 0]], "values": [0]},
            {"id": 1, "name": "liver", "colors": [[0, 255, 0]], "values": [1]},
            {"id": 2, "name": "spleen", "colors": [[255, 0, 0]], "values": [2]},
        ],
    }
)


def cases(folder: Path, places: list[list[tuple[int, int, int]]]) -> list[Case]:
    """Masks with discs of 8 pixels radius: (class, row, column) each."""
    rows, columns = np.mgrid[:64, :64]
    made = []
    for number, discs in enumerate(places):
        labels = np.zeros((64, 64), np.uint8)
        for class_id, y, x in discs:
            labels[(rows - y) ** 2 + (columns - x) ** 2 < 64] = class_id
        path = folder / f"{number}.png"
        write_png(path, labels)
        made.append(Case(str(number), path, path, str(number)))
    return made


@pytest.fixture
def rng() -> np.random.Generator:
    """The same places in every run."""
    return np.random.default_rng(0)


def test_objects_anywhere_are_mirrored(tmp_path: Path, rng: np.random.Generator) -> None:
    places = [[(c, *map(int, rng.integers(8, 56, 2))) for c in (1, 2)] for _ in range(40)]
    found = flips(LABELS, cases(tmp_path, places))
    assert {flip: probability for flip, (probability, _) in found.items()} == {
        "hflip": 0.5,
        "vflip": 0.5,
    }


def test_an_organ_that_is_always_on_the_left_is_not(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    places = [
        [(1, int(rng.integers(20, 44)), int(rng.integers(8, 20))), (2, 32, 32)] for _ in range(20)
    ]
    found = flips(LABELS, cases(tmp_path, places))
    assert found["hflip"][0] == 0
    assert "liver" in found["hflip"][1]
    assert found["vflip"][0] == 0.5


def test_two_organs_that_mirror_each_other_are_not(tmp_path: Path) -> None:
    found = flips(LABELS, cases(tmp_path, [[(1, 32, 14), (2, 32, 50)]] * 5))
    assert found["hflip"] == (0.0, "mirrored, liver would look like spleen")
