"""Which mirror images and turns are harmless."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import numpy as np
import pytest

from flexseg.config import load
from flexseg.dataset.cases import Case
from flexseg.dataset.labels import LabelMap
from flexseg.dataset.quality.orientation import FLIPS, orientation_of
from flexseg.files.images import write_png

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


ONE = LabelMap.from_dict(
    LABELS.as_dict() | {"binary": True, "classes": LABELS.as_dict()["classes"][:2]}
)


def cases(
    folder: Path, places: list[list[tuple[int, int, int]]], masks_of_each: int = 1
) -> list[Case]:
    """Masks with discs of 8 pixels radius: (class, row, column) each."""
    rows, columns = np.mgrid[:64, :64]
    made = []
    for number, discs in enumerate(places):
        labels = np.zeros((64, 64), np.uint8)
        for class_id, y, x in discs:
            labels[(rows - y) ** 2 + (columns - x) ** 2 < 64] = class_id
        path = folder / f"{number}.png"
        write_png(path, labels)
        made.append(Case(str(number), path, path, str(number // masks_of_each)))
    return made


@pytest.fixture
def rng() -> np.random.Generator:
    """The same places in every run."""
    return np.random.default_rng(0)


def scattered(rng: np.random.Generator, count: int, classes: tuple[int, ...] = (1, 2)) -> list:
    """Places of discs anywhere, one of each class."""
    return [[(c, *map(int, rng.integers(8, 56, 2))) for c in classes] for _ in range(count)]


def on_the_left(rng: np.random.Generator, count: int) -> list:
    return [[(1, int(rng.integers(12, 52)), int(rng.integers(8, 20)))] for _ in range(count)]


def test_objects_anywhere_are_mirrored(tmp_path: Path, rng: np.random.Generator) -> None:
    found = orientation_of(LABELS, cases(tmp_path, scattered(rng, 40)))
    assert found.harmless == FLIPS and found.views == ["flips"] and found.why_not == ""
    assert found.degrees == (-180, 180)


def test_many_objects_in_few_images_are_mirrored(tmp_path: Path, rng: np.random.Generator) -> None:
    """As nuclei are: each mask shows by itself that they lie on both sides."""
    places = [[*chain(*scattered(rng, 30, (1,)))] for _ in range(3)]
    assert orientation_of(ONE, cases(tmp_path, places)).harmless == FLIPS


def test_an_organ_that_is_always_on_the_left_is_not(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    found = orientation_of(ONE, cases(tmp_path, on_the_left(rng, 30)))
    assert found.views == ["vflip"] and found.degrees == (-20, 20)
    assert found.flips["hflip"].reason == (
        "liver is in the left half in 30 of 30 cases, the images have a fixed orientation"
    )
    assert found.why_not.startswith("left-right: liver")


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_masks_of_one_organ_exclude_nothing(
    tmp_path: Path, rng: np.random.Generator, count: int
) -> None:
    found = orientation_of(ONE, cases(tmp_path, on_the_left(rng, count)))
    assert "hflip" not in found.harmless
    assert f"{count} of {count} cases, too few" in found.flips["hflip"].reason


def test_masks_of_one_patient_count_once(tmp_path: Path, rng: np.random.Generator) -> None:
    """Twenty slices that lie left and right, but of two patients only."""
    places = [[(1, 32, 12)]] * 20 + [[(1, 32, 52)]] * 20
    of_slices = orientation_of(ONE, cases(tmp_path, places))
    assert "hflip" in of_slices.harmless
    of_patients = orientation_of(ONE, cases(tmp_path, places[:20], masks_of_each=20))
    assert "1 of 1 cases" in of_patients.flips["hflip"].reason


def test_where_images_have_one_way_up_a_flip_needs_proof(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    """Classes that may be sides: the second lies above or below, in few masks by chance."""
    left = [[(1, y, 12), (2, 64 - y, 32)] for y in (12, 52)]
    few = orientation_of(LABELS, cases(tmp_path, left * 4))
    assert (
        few.harmless == () and "have a fixed orientation, and 8 cases" in few.flips["vflip"].reason
    )
    many = orientation_of(LABELS, cases(tmp_path, left * 20))
    assert many.harmless == ("vflip",)


def test_a_rare_class_changes_nothing_where_others_lie_anywhere(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    places = scattered(rng, 40, (1,))
    places[0].append((2, 12, 12))
    assert orientation_of(LABELS, cases(tmp_path, places)).harmless == FLIPS


def test_two_organs_that_mirror_each_other_are_not(tmp_path: Path) -> None:
    found = orientation_of(LABELS, cases(tmp_path, [[(1, 32, 14), (2, 32, 50)]] * 5))
    assert found.flips["hflip"].reason == "mirrored, liver would look like spleen"
    assert found.harmless == ()


def test_a_side_by_its_name_alone(tmp_path: Path, rng: np.random.Generator) -> None:
    classes = LABELS.as_dict()["classes"][:2]
    classes[1]["name"] = "left kidney"
    labels = LabelMap.from_dict(LABELS.as_dict() | {"binary": True, "classes": classes})
    found = orientation_of(labels, cases(tmp_path, scattered(rng, 40, (1,))))
    assert found.flips["hflip"].reason == "left kidney names a side"
    assert orientation_of(labels, ()).views == ["vflip"]


def test_slices_of_all_axes_must_allow_a_flip(tmp_path: Path, rng: np.random.Generator) -> None:
    free = orientation_of(ONE, cases(tmp_path, scattered(rng, 40, (1,))))
    sided = orientation_of(ONE, cases(tmp_path, on_the_left(rng, 40)))
    assert free.and_of(sided).harmless == sided.and_of(free).harmless == ("vflip",)
    assert free.and_of(sided).flips["hflip"].reason == sided.flips["hflip"].reason


@pytest.mark.parametrize("count", [3, 6, 12, 24])
def test_chest_ct(shared: Path, count: int) -> None:
    """Turned by a quarter: class 1 lies in the right half, and sides could be up and down."""
    experiment = load(shared / "configs" / "covid-19.config").experiment
    labels = LabelMap.from_config(experiment.class_sections)
    folder = shared / "data" / "mini_test" / "covid-19"
    masks = sorted((folder / "masks").iterdir())[:: 24 // count]
    found = orientation_of(labels, [Case(p.stem, p, p, p.stem) for p in masks])
    assert found.harmless == ()
    assert found.degrees == (-20, 20)
