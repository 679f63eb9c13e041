"""Corrections are kept beside their images, the earlier ones too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flexseg.dataset.labels import LabelMap, make_classes
from flexseg.dataset.reading import Dataset
from flexseg.errors import ConfigError, DataError
from flexseg.learning.corrections import Corrections
from flexseg.learning.given_corrections import add_dataset

LABELS = LabelMap.of_foreground(make_classes([("disc", (1,)), ("square", (2,))])[1:])


def image_file(folder: Path, name: str = "a.png", value: int = 7) -> Path:
    folder.mkdir(exist_ok=True)
    Image.fromarray(np.full((6, 8), value, np.uint8)).save(folder / name)
    return folder / name


def mask(class_id: int = 1) -> np.ndarray:
    labels = np.zeros((6, 8), np.uint8)
    labels[1:3, 2:5] = class_id
    return labels


def test_the_last_judgement_counts_and_none_is_lost(tmp_path: Path) -> None:
    image = image_file(tmp_path / "in")
    store = Corrections(tmp_path / "c", LABELS)
    store.add("a", image, mask(1), "accepted", "ann", model="1")
    partly = mask(2)
    partly[:, 4:] = 255
    store.add("a", image, partly, "corrected", "bob", seconds=12.5, group="p1")
    again = Corrections(tmp_path / "c")
    assert len(again) == 1 and len(again.judgements) == 2
    (one,) = again
    assert (one.verdict, one.by, one.seconds, one.group) == ("corrected", "bob", 12.5, "p1")
    assert one.looked_at == 0.5
    np.testing.assert_array_equal(np.asarray(Image.open(again.mask(one))), partly)
    earlier = tmp_path / "c" / "earlier" / "a_1.png"
    np.testing.assert_array_equal(np.asarray(Image.open(earlier)), mask(1))
    assert [c.name for c in again.labels.foreground] == ["disc", "square"]


def test_the_folder_is_a_dataset(tmp_path: Path) -> None:
    store = Corrections(tmp_path / "c", LABELS)
    for number in range(4):
        labels = mask(1 + number % 2)
        labels[5] = 255
        image = image_file(tmp_path / "in", f"{number}.png", number)
        store.add(str(number), image, labels, "corrected", "ann")
    data = Dataset.open(tmp_path / "c")
    assert [c.name for c in data.labels.foreground] == ["disc", "square"]
    assert len(data.cases) == 4 and data.labels.ignored is not None


def test_names_as_people_give_them(tmp_path: Path) -> None:
    store = Corrections(tmp_path / "c", LABELS)
    name = "Müller, A. (links) [2] +1"
    store.add(name, image_file(tmp_path / "in"), mask(), "accepted", "ann")
    (case,) = Dataset.open(tmp_path / "c").cases
    assert (case.id, [one.case for one in Corrections(tmp_path / "c")]) == (name, [name])


@pytest.mark.parametrize(
    "name", ["", "../a", ".hidden", "a/b", "a" * 121, "a ", "a:b", "a\n", "\udcff"]
)
def test_names_that_no_file_should_have(name: str, tmp_path: Path) -> None:
    store = Corrections(tmp_path / "c", LABELS)
    with pytest.raises(DataError, match="name of a case"):
        store.add(name, image_file(tmp_path / "in"), mask(), "accepted", "ann")
    assert not (tmp_path / "c" / "corrections.csv").exists()


def test_values_of_no_class(tmp_path: Path) -> None:
    store = Corrections(tmp_path / "c", LABELS)
    with pytest.raises(DataError, match="has the value 3"):
        store.add("a", image_file(tmp_path / "in"), mask(3), "accepted", "ann")


def test_other_classes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nothing says what the classes are"):
        Corrections(tmp_path / "c")
    Corrections(tmp_path / "c", LABELS).add(
        "a", image_file(tmp_path / "in"), mask(), "accepted", "ann"
    )
    other = LabelMap.of_foreground(make_classes([("liver", (1,))])[1:])
    with pytest.raises(ConfigError, match="disc, square, but the model has liver"):
        Corrections(tmp_path / "c", other)


def test_a_damaged_table(tmp_path: Path) -> None:
    (tmp_path / "corrections.csv").write_text("case,verdict\na,perhaps\n", encoding="utf-8")
    with pytest.raises(DataError, match="cannot be read"):
        Corrections(tmp_path, LABELS)


def dataset(folder: Path, names: dict[str, int]) -> Path:
    """Masks whose values are 10 times the model's class ids."""
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    for number in range(3):
        image_file(folder / "images", f"x{number}.png", number)
        Image.fromarray(mask(1 + number % 2) * 10).save(folder / "masks" / f"x{number}.png")
    listed = ", ".join(f'"{name}": {value}' for name, value in names.items())
    (folder / "dataset.json").write_text(f'{{"labels": {{{listed}}}}}', encoding="utf-8")
    return folder


def test_masks_of_other_programs_by_the_names_of_their_classes(tmp_path: Path) -> None:
    given = dataset(tmp_path / "d", {"background": 0, "square": 10, "disc": 20})
    store = Corrections(tmp_path / "c", LABELS)
    assert add_dataset(store, given, "ann", "3") == 3
    first = next(iter(store))
    # The value 10 is called square, which is the model's class 2.
    np.testing.assert_array_equal(np.asarray(Image.open(store.mask(first))), mask(2))
    assert (first.model, first.verdict) == ("3", "corrected")


def test_masks_with_a_class_that_the_model_has_not(tmp_path: Path) -> None:
    given = dataset(tmp_path / "d", {"background": 0, "liver": 10, "disc": 20})
    with pytest.raises(DataError, match="no class 'liver'"):
        add_dataset(Corrections(tmp_path / "c", LABELS), given, "ann")
