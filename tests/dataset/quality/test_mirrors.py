"""Which classes a flip turns into each other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from flexseg.config import Experiment
from flexseg.dataset.cases import Case
from flexseg.dataset.labels import LabelMap
from flexseg.dataset.quality.mirrors import class_places, mirrored_classes
from flexseg.files.images import write_png

PALETTE = [0, 0, 0, 0, 255, 0, 255, 0, 0]


def labels_of(*names: str) -> LabelMap:
    classes = [
        {"id": i, "name": name, "color": PALETTE[3 * i : 3 * i + 3]}
        for i, name in enumerate(("background", *names))
    ]
    content = {"model": {"num_classes": len(classes)}, "mask": {"classes": classes}}
    return LabelMap.from_config(Experiment.model_validate(content).class_sections)


def write_cases(
    folder: Path, first: tuple[slice, slice], second: tuple[slice, slice]
) -> list[Case]:
    """Twelve masks 64 x 96 with two classes about the given places."""
    rng = np.random.default_rng(0)
    cases = []
    for i in range(12):
        mask = np.zeros((64, 96), np.uint8)
        mask[first], mask[second] = 1, 2
        mask = np.roll(mask, rng.integers(-3, 4, 2), (0, 1))
        path = folder / f"{i}.png"
        write_png(path, mask, PALETTE)
        cases.append(Case(str(i), path, path, str(i)))
    return cases


LEFT = (slice(16, 52), slice(8, 40))
RIGHT = (slice(16, 52), slice(56, 88))
TOP = (slice(4, 28), slice(20, 76))
BOTTOM = (slice(36, 60), slice(20, 76))
MIDDLE = (slice(26, 38), slice(42, 54))


@pytest.mark.parametrize(
    ("places", "flips"),
    [
        ((LEFT, RIGHT), {"hflip"}),
        ((TOP, BOTTOM), {"vflip"}),
        ((LEFT, MIDDLE), set()),
        ((LEFT, TOP), set()),
    ],
)
def test_mirrored_classes_by_their_places(tmp_path: Path, places: tuple, flips: set[str]) -> None:
    cases = write_cases(tmp_path, *places)
    found = mirrored_classes(labels_of("one", "two"), cases)
    assert set(found) == flips
    assert all(pair == ("one", "two") for pair in found.values())


def test_mirrored_classes_by_their_names_without_any_mask() -> None:
    found = mirrored_classes(labels_of("Right lung", "left_lung"), [])
    assert found == {"hflip": ("left_lung", "Right lung")}
    assert mirrored_classes(labels_of("leftover", "bright"), []) == {}


def test_one_class_has_no_mirrored_one(tmp_path: Path) -> None:
    assert mirrored_classes(labels_of("one"), write_cases(tmp_path, LEFT, LEFT)) == {}


def test_unreadable_masks_are_left_out(tmp_path: Path) -> None:
    cases = write_cases(tmp_path, LEFT, RIGHT)
    cases[0].mask.write_bytes(b"no picture")
    assert set(mirrored_classes(labels_of("one", "two"), cases)) == {"hflip"}


def test_places_are_shares_of_the_masks_that_have_the_class(tmp_path: Path) -> None:
    first, second = np.zeros((2, 48, 48), np.uint8)
    first[:, :24], second[:24] = 1, 1
    cases = []
    for i, mask in enumerate((first, second, np.zeros((48, 48), np.uint8))):
        write_png(tmp_path / f"{i}.png", mask, PALETTE)
        cases.append(Case(str(i), tmp_path, tmp_path / f"{i}.png", str(i)))
    places = class_places(labels_of("one", "two"), cases)
    assert places.shape == (3, 48, 48)
    assert [places[1, y, x] for y, x in ((0, 0), (0, 47), (47, 0), (47, 47))] == [1, 0.5, 0.5, 0]
    assert not places[2].any()


def test_real_cells_lie_anywhere(shared: Path) -> None:
    classes = [{"id": i, "color": [v, v, v], "values": [v]} for i, v in enumerate((0, 128, 255))]
    content = {"model": {"num_classes": 3}, "mask": {"classes": classes}}
    labels = LabelMap.from_config(Experiment.model_validate(content).class_sections)
    masks = sorted((shared / "data" / "wbc" / "masks").iterdir())
    cases = [Case(path.stem, path, path, path.stem) for path in masks]
    assert class_places(labels, cases)[1:].max() > 0.3
    assert mirrored_classes(labels, cases) == {}
