from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flexseg.dataset.labels import LabelClass, LabelMap
from flexseg.errors import DataError
from flexseg.evaluation.case_scores import CaseScores
from flexseg.evaluation.folder_masks import Unknown, folder_of_masks
from flexseg.evaluation.image_scores import score_folders
from flexseg.evaluation.scoring import Measures
from flexseg.evaluation.volume_scores import folder_of_predictions, score_volume_folders
from flexseg.files.images import write_png
from flexseg.files.volumes.volume import Volume
from flexseg.files.volumes.write import write_volume
from support import flexseg

IDS = np.zeros((12, 16), np.uint8)
IDS[2:6, 2:9] = 1
IDS[7:11, 3:8] = 2


def classes_of(*values: int) -> LabelMap:
    """One class per grey value."""
    return LabelMap.of_foreground(
        [LabelClass(i, f"c{i}", ((i, 9, 9),), (v,)) for i, v in enumerate(values, start=1)]
    )


def write(folder: Path, *values: int, count: int = 2, step: int = 1) -> Path:
    """Masks whose class i has the i-th value."""
    folder.mkdir()
    for i in range(count):
        mask = np.array([0, *values, 0], np.uint8)[np.roll(IDS, i, axis=1)]
        write_png(folder / f"c{i}.png", np.ascontiguousarray(mask[::step, ::step]))
    return folder


def score(
    predictions: Path, masks: Path, labels: LabelMap, unknown: Unknown = "error"
) -> CaseScores:
    return score_folders(predictions, masks, labels, Measures(), unknown=unknown)[0]


def dice(scores: CaseScores) -> list[float]:
    """Of each case and class."""
    return [c.values["dice"] for result in scores.results for c in result.classes]


@pytest.mark.parametrize("values", [(255,), (128, 255), (2, 1)])
@pytest.mark.parametrize("ids_are", ["predictions", "reference masks"])
def test_ids_of_classes_are_understood(tmp_path: Path, values: Sequence[int], ids_are: str) -> None:
    stored, ids = write(tmp_path / "stored", *values), write(tmp_path / "ids", 1, 2)
    if len(values) == 1:
        ids = write(tmp_path / "one", 1)
    folders = (ids, stored) if ids_are == "predictions" else (stored, ids)
    scores = score(*folders, classes_of(*values))
    if values == (2, 1):  # the values that the config gives to classes explain them too
        assert dice(scores) == [0] * 4
        assert scores.notes == []
    else:
        assert set(dice(scores)) == {1}
        assert [note.startswith(f"The {ids_are} hold the ids") for note in scores.notes] == [True]


def test_a_folder_is_read_in_one_way(tmp_path: Path) -> None:
    """Alone, the second mask would be explained by the values of the config."""
    masks = write(tmp_path / "m", 2, 3)
    predictions = write(tmp_path / "p", 1, 2)
    write_png(predictions / "c1.png", np.where(np.roll(IDS, 1, axis=1) == 2, IDS * 0 + 2, IDS * 0))
    scores = score(predictions, masks, classes_of(2, 3))
    assert dice(scores) == [1, 1, 0, 1]


def test_values_of_no_class_are_refused_or_told(tmp_path: Path) -> None:
    masks, predictions = write(tmp_path / "m", 100, 200), write(tmp_path / "p", 90, 7)
    with pytest.raises(DataError, match="2 of 2 predictions hold values of no class: 90, 7") as e:
        score(predictions, masks, classes_of(100, 200))
    assert e.value.where == str(predictions / "c0.png")
    scores = score(predictions, masks, classes_of(100, 200), "nearest")
    assert dice(scores) == [1, 0, 1, 0]
    assert "96 pixels count as the nearest class" in scores.notes[0]


@pytest.mark.parametrize(("config", "stored"), [(255, 65535), (1, 255), (255, 100), (128, 1)])
def test_the_only_value_is_the_only_class(tmp_path: Path, config: int, stored: int) -> None:
    """One class, and masks of two values: whichever they are."""
    folders = {value: tmp_path / f"{value}" for value in (config, stored)}
    for value, folder in folders.items():
        folder.mkdir()
        for i in range(2):
            pixels = (np.roll(IDS, i, axis=1) == 1) * np.uint16(value)
            kind = np.uint16 if value > 255 else np.uint8
            write_png(folder / f"c{i}.png", pixels.astype(kind))
    scores = score(folders[stored], folders[config], classes_of(config))
    assert set(dice(scores)) == {1}
    reading = (
        "hold the ids" if stored == 1 else f"with the value {stored}, which is not in the config"
    )
    assert reading in scores.notes[0]
    other = score(folders[config], folders[stored], classes_of(config))
    assert set(dice(other)) == {1}
    assert other.notes[0].startswith("The reference masks")


def test_two_other_values_are_no_single_class(tmp_path: Path) -> None:
    masks, predictions = write(tmp_path / "m", 255), write(tmp_path / "p", 90, 200)
    with pytest.raises(DataError, match="hold values of no class: 90, 200") as error:
        score(predictions, masks, classes_of(255))
    assert "nearest" not in error.value.fix


@pytest.mark.parametrize("unknown", ["error", "nearest"])
@pytest.mark.parametrize("value", [1, 255])
def test_compressed_predictions_are_split_at_half(
    tmp_path: Path, value: int, unknown: Unknown
) -> None:
    masks = tmp_path / "m"
    predictions = tmp_path / "p"
    masks.mkdir()
    predictions.mkdir()
    mask = np.roll(np.kron(IDS == 1, np.ones((8, 8), bool)), 3, axis=(0, 1))
    write_png(masks / "c.png", mask.astype(np.uint8) * value)
    Image.fromarray(mask.astype(np.uint8) * 255).save(predictions / "c.jpg", quality=60)
    scores = score(predictions, masks, classes_of(value), unknown)
    assert dice(scores) == [1]
    assert len(scores.notes) == 1


@pytest.mark.parametrize("value", [1, 255])
def test_probabilities_of_one_class_are_split_at_half(tmp_path: Path, value: int) -> None:
    masks, predictions = write(tmp_path / "m", value), tmp_path / "p"
    predictions.mkdir()
    noise = np.random.default_rng(0).uniform(0, 0.4, IDS.shape).astype(np.float32)
    for i in range(2):
        marked = np.roll(IDS, i, axis=1) == 1
        np.save(predictions / f"c{i}.npy", np.where(marked, 1 - noise, noise))
    scores = score(predictions, masks, classes_of(value))
    assert set(dice(scores)) == {1}
    assert "fractions from 0 to 1: they are thresholded at 0.5" in scores.notes[0]


@pytest.mark.parametrize(("dtype", "half"), [(np.float32, "0.5"), (np.uint8, "128")])
def test_probabilities_of_several_classes_are_refused(
    tmp_path: Path, dtype: type, half: str
) -> None:
    masks, predictions = write(tmp_path / "m", 1, 2, count=1), tmp_path / "p"
    predictions.mkdir()
    values = np.random.default_rng(0).uniform(0, 255 if dtype == np.uint8 else 1, IDS.shape)
    np.save(predictions / "c0.npy", values.astype(dtype))
    with pytest.raises(DataError, match="holds values of no class") as error:
        score(predictions, masks, classes_of(1, 2))
    assert f"--threshold {half}" in error.value.fix and "nearest" not in error.value.fix


def test_another_size_is_told(tmp_path: Path) -> None:
    masks, half = write(tmp_path / "m", 255), write(tmp_path / "p", 255, step=2)
    assert "2 predictions of another size" in score(half, masks, classes_of(255)).notes[0]


def test_names_of_references_count_too(tmp_path: Path) -> None:
    """The config's rule is of images; other programs name masks after the references."""
    masks = write(tmp_path / "m", 255)
    scores, _ = score_folders(masks, masks, classes_of(255), Measures(), mask_name="{id}_mask")
    assert set(dice(scores)) == {1}


class TestVolumes:
    @staticmethod
    def _write(path: Path, *values: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_volume(path, Volume(np.array([0, *values, 0], np.uint8)[IDS][None].repeat(3, 0)))

    def test_ids_of_classes(self, tmp_path: Path) -> None:
        self._write(tmp_path / "r" / "v.nii", 128, 255)
        self._write(tmp_path / "p" / "v.mha", 1, 2)
        scores, _ = score_volume_folders(
            tmp_path / "p", tmp_path / "r", classes_of(128, 255), Measures()
        )
        assert dice(scores) == [1, 1]
        assert scores.notes[0].startswith(
            "The predictions hold the ids of the classes (1 c1, 2 c2)"
        )

    def test_results_of_infer3d(self, tmp_path: Path) -> None:
        """Its labels lie in a folder of the results, and have the names of the images."""
        out, references = tmp_path / "out", tmp_path / "labelsTr"
        self._write(out / "labels" / "b_001_0000.nii.gz", 1, 2)
        self._write(out / "previews" / "b_001_0000.nii.gz", 7, 7)
        (out / "volumes.csv").touch()
        self._write(references / "b_001.nii.gz", 1, 2)
        labels = folder_of_predictions(out)
        assert labels == out / "labels"
        assert folder_of_predictions(labels) == labels
        scores, unpaired = score_volume_folders(labels, references, classes_of(1, 2), Measures())
        assert (dice(scores), unpaired) == ([1, 1], [])

    def test_regions_are_of_images(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for name in ("p", "r"):
            self._write(tmp_path / name / "v.nii", 1, 2)
        (tmp_path / "c.toml").write_text('[dataset]\nroi_dir = "r"\n[model]\nnum_classes = 3\n')
        folders = ("--predictions", tmp_path / "p", "--masks", tmp_path / "r")
        assert flexseg("evaluate", tmp_path / "c.toml", *folders) != 0
        assert "do not apply to volumes" in " ".join(capsys.readouterr().err.split())


def test_masks_of_the_folder_itself_come_first(tmp_path: Path) -> None:
    masks = write(tmp_path / "m", 1)
    (masks / "predictions").mkdir()
    assert folder_of_masks(masks, lambda _: False) == masks
    (tmp_path / "run" / "predictions").mkdir(parents=True)
    assert folder_of_masks(tmp_path / "run", lambda _: False) == tmp_path / "run" / "predictions"


@pytest.mark.parametrize(
    ("folders", "taken"),
    [
        (("masks", "overlays"), "masks"),
        (("overlays", "seg"), "seg"),
        (("of_the_night",), "of_the_night"),
    ],
)
def test_the_only_folder_that_fits_is_taken(
    tmp_path: Path, folders: Sequence[str], taken: str
) -> None:
    for name in folders:
        write(tmp_path / name, 1)
    assert folder_of_predictions(tmp_path) == tmp_path / taken


def test_several_folders_are_a_question(tmp_path: Path) -> None:
    for name in ("fold_1", "fold_2"):
        write(tmp_path / name, 1)
    (tmp_path / "logs").mkdir()
    with pytest.raises(DataError, match="in 2 subfolders: fold_1/, fold_2/") as told:
        folder_of_predictions(tmp_path)
    assert str(tmp_path / "fold_1") in told.value.fix


class TestNames:
    @pytest.mark.parametrize(("suffix", "of_references"), [("_pred", ""), ("_seg", "_gt")])
    def test_the_rule_of_names_is_found_and_told(
        self, tmp_path: Path, suffix: str, of_references: str
    ) -> None:
        predictions, masks = write(tmp_path / "p", 1), write(tmp_path / "m", 1)
        for folder, end in ((predictions, suffix), (masks, of_references)):
            for path in folder.iterdir():
                path.rename(path.with_stem(path.stem + end))
        scores, unpaired = score_folders(
            predictions, masks, classes_of(1, 2), Measures(), mask_name="{id}" + of_references
        )
        assert (dice(scores)[::2], unpaired) == ([1, 1], [])
        assert [case.id for case in scores.cases] == ["c0", "c1"]
        assert f"c0{suffix}.png with c0{of_references}.png" in scores.notes[0]

    def test_a_name_of_each_folder_where_nothing_pairs(self, tmp_path: Path) -> None:
        predictions, masks = write(tmp_path / "p", 1), write(tmp_path / "m", 1)
        for path in predictions.iterdir():
            path.rename(path.with_stem(path.stem.replace("c", "photo7")))
        with pytest.raises(DataError, match="named like photo70, masks like c0"):
            score(predictions, masks, classes_of(1))


def test_photographs_are_no_predictions(tmp_path: Path) -> None:
    masks = write(tmp_path / "m", 1)
    (tmp_path / "p").mkdir()
    noise = np.random.default_rng(0)
    for i in range(2):
        photograph = noise.integers(0, 256, (*IDS.shape, 3), np.uint8)
        write_png(tmp_path / "p" / f"c{i}.png", photograph)
    for unknown in ("error", "nearest"):
        with pytest.raises(DataError, match="2 of 2 predictions look like photographs"):
            score(tmp_path / "p", masks, classes_of(1), unknown)


class TestReferencesOfTheConfig:
    @staticmethod
    def _project(folder: Path, data: str) -> None:
        write(folder / "images", 1, count=4)
        write(folder / "masks", 1, count=4)
        write(folder / "p", 1, count=4)
        split = '{"train": ["c0", "c1"], "valid": ["c2"], "test": ["c3"]}'
        (folder / "split.json").write_text(split)
        classes = "[model]\nnum_classes = 1\n"
        (folder / "c.toml").write_text(classes + data)

    DATA = '[dataset]\nimages_dir = "images"\nmasks_dir = "masks"\nsplit_file = "split.json"\n'

    def test_only_the_evaluated_split_is_scored(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self._project(tmp_path, self.DATA)
        line = ("evaluate", tmp_path / "c.toml", "--predictions", tmp_path / "p", "-o")
        assert flexseg(*line, tmp_path / "out") == 0
        told = " ".join(capsys.readouterr().out.split())
        assert "config's test split: 1 case," in told
        assert "c3" in (tmp_path / "out" / "cases.csv").read_text()
        assert "c0" not in (tmp_path / "out" / "cases.csv").read_text()
        assert flexseg(*line, tmp_path / "all", "--masks", tmp_path / "masks") == 0
        assert "2 of 4 cases are in the" in " ".join(capsys.readouterr().out.split())

    def test_a_config_without_masks(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self._project(tmp_path, "")
        line = ("evaluate", tmp_path / "c.toml", "--predictions", tmp_path / "p")
        assert flexseg(*line) != 0
        assert "--masks" in capsys.readouterr().err
