"""Whole volumes scored by `evaluate`: known answers, files, and volumes that were trained on."""

from __future__ import annotations

import csv
import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from config_parts import labels_of
from flexseg.cli import main
from flexseg.config.load import LoadedConfig, load
from flexseg.dataset.cases import Case
from flexseg.dataset.division.config_splits import find_splits
from flexseg.derive.volumes import VolumeOptions, derive_volumes
from flexseg.errors import ConfigError, DataError
from flexseg.evaluation import trained_volumes
from flexseg.evaluation.trained_images import evaluate
from flexseg.evaluation.trained_volumes import evaluate_volumes, volumes_of_split
from flexseg.execution.shared import shared_by
from flexseg.files.intensity import Intensity
from flexseg.files.volumes.read import read_labels, read_volume, write_volume
from flexseg.files.volumes.slices import ANATOMICAL_AXES, SliceAxis
from flexseg.files.volumes.volume import Volume
from flexseg.inference.ensemble import write_ensemble
from flexseg.inference.postprocess import Postprocessing, Steps
from flexseg.inference.predictor import Predictor
from flexseg.model_file.seen_images import SeenImages
from flexseg.outputs import UNFINISHED
from flexseg.runs.evaluations import read_results
from mapped_work import Distant
from volume_models import WINDOW, copying, oblique

SIDE = 6
# Names, formats and orders of voxels of training, validation and test volumes.
VOLUMES = {
    "a": (".nii.gz", "LPS"),
    "b": (".mha", "RAS"),
    "c": (".nii.gz", "ASR"),
    "d": (".nrrd", "LPS"),
}
SPLIT = {"train": ["a"], "valid": ["b"], "test": ["c", "d"]}
CONFIG = """
[model]
num_classes = 1
image_height = {side}
image_width = {side}

[dataset]
images_dir = "slices/images"
masks_dir = "slices/masks"
split_file = "split.json"
group = '^(.*)_(?:axial|coronal|sagittal)_\\d+$'

[train]
run_dir = "run"

[volume]
axes = ["axial", "coronal", "sagittal"]
intensity = "{window}"
images_dir = "images"
masks_dir = "labels"

[mask]
classes = [{{id = 1, name = "bright", color = [0, 255, 0], values = [{value}]}}]

{more}
"""


def _volume(name: str, orientation: str = "LPS") -> Volume:
    """Cubes of noise, other ones by name, so that slices of every axis fit the network."""
    volume = oblique((SIDE, SIDE, SIDE))
    rolled = np.roll(volume.array, "abcd".index(name), axis=(0, 1, 2))
    return volume.with_array(rolled).oriented(orientation)


def _project(folder: Path, *, value: int = 1, more: str = "", cut: str = "ab") -> LoadedConfig:
    """A config of the network that copies voxels above 0; `labels` has these as `value`."""
    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True)
    for name, (suffix, orientation) in VOLUMES.items():
        volume = _volume(name, orientation)
        write_volume(folder / "images" / f"{name}{suffix}", volume)
        labels = volume.with_array((volume.array > 0).astype(np.uint8) * value)
        write_volume(folder / "labels" / f"{name}.nii.gz", labels.oriented("RAS"))
    options = VolumeOptions(
        tuple(SliceAxis(axis) for axis in ANATOMICAL_AXES), Intensity.parse(WINDOW)
    )
    derive_volumes(folder / "images", folder / "labels", folder / "slices", options, only=set(cut))
    (folder / "split.json").write_text(json.dumps(SPLIT))
    text = CONFIG.format(side=SIDE, window=WINDOW, value=value, more=more)
    (folder / "config.toml").write_text(text)
    loaded = load(folder / "config.toml")
    write_empty_model(loaded.experiment.train.model_dir)
    return loaded


def write_empty_model(folder: Path) -> None:
    """A file in the place of weights, which says of no image that it was trained on it."""
    folder.mkdir(parents=True, exist_ok=True)
    h5py.File(folder / "best_model.h5", "w").close()


@pytest.fixture(autouse=True)
def network(monkeypatch: pytest.MonkeyPatch) -> dict[str, Predictor]:
    """The network that is loaded, by "now"; its classes are those of the config."""
    chosen: dict[str, Predictor] = {}

    def make(loaded: LoadedConfig) -> Predictor:
        predictor = chosen.setdefault(
            "now", copying((SIDE, SIDE), axes=list(ANATOMICAL_AXES), intensity=WINDOW)
        )
        labels = labels_of(loaded.experiment)
        predictor.package = replace(predictor.package, labels=labels)
        return predictor

    monkeypatch.setattr(trained_volumes, "make_predictor", make)
    return chosen


def _run(loaded: LoadedConfig, folder: Path) -> dict[str, Any]:
    return evaluate(loaded, folder / "evaluation", folder / "evaluation.csv").as_dict()


def _truth(name: str) -> NDArray[np.bool_]:
    return _volume(name).array > 0


def _volumes(loaded: LoadedConfig) -> tuple[Case, ...]:
    e = loaded.experiment
    split = e.model.evaluation
    splits = find_splits(e.data, only=(split,))
    splits.raise_errors()
    return volumes_of_split(e.volume, splits, split, e.dataset.group)


class TestScores:
    @pytest.mark.parametrize("average", [False, True])
    def test_a_perfect_network_in_any_order_of_voxels(self, tmp_path: Path, average: bool) -> None:
        more = f"[infer3d]\naverage_axes = {str(average).lower()}"
        summary = _run(_project(tmp_path, more=more), tmp_path)
        assert (summary["cases"], summary["units"], summary["volumes"]) == (2, "mm", True)
        entry = summary["classes"][0]
        assert (entry["name"], entry["dice"]["mean"], entry["hd95"]["mean"]) == ("bright", 1, 0)
        expected = "axial, coronal, sagittal" if average else "axial"
        assert summary["inference"]["slices"] == expected

    def test_a_row_per_volume_with_its_size_in_ml(self, tmp_path: Path) -> None:
        _run(_project(tmp_path), tmp_path)
        with (tmp_path / "evaluation" / "cases.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert [(row["case"], row["group"]) for row in rows] == [("c", "c"), ("d", "d")]
        for row in rows:
            voxels = int(_truth(row["case"]).sum())
            assert int(row["reference_px"]) == voxels
            ml = voxels * 0.5 * 0.7 * 7.5 / 1000
            assert float(row["predicted_ml"]) == pytest.approx(ml, abs=1e-5)
        assert read_results(tmp_path / "evaluation").cases == ("c", "d")

    def test_half_of_a_volume_has_a_known_dice(self, tmp_path: Path) -> None:
        loaded = _project(tmp_path)
        path = tmp_path / "labels" / "d.nii.gz"
        truth = read_labels(path)
        more = np.ones_like(truth.array)
        write_volume(path, truth.with_array(more))
        summary = _run(loaded, tmp_path)
        found = float(_truth("d").mean())
        assert summary["classes"][0]["dice"]["min"] == pytest.approx(
            2 * found / (1 + found), abs=1e-6
        )

    def test_label_values_are_those_of_the_classes(self, tmp_path: Path) -> None:
        summary = _run(_project(tmp_path, value=7), tmp_path)
        assert summary["classes"][0]["dice"]["mean"] == 1

    def test_a_value_of_no_class_is_refused(self, tmp_path: Path) -> None:
        loaded = _project(tmp_path)
        path = tmp_path / "labels" / "d.nii.gz"
        write_volume(path, read_labels(path).with_array(np.full((SIDE, SIDE, SIDE), 9, np.uint8)))
        with pytest.raises(DataError, match="a value of no class: 9"):
            _run(loaded, tmp_path)

    def test_all_damaged_volumes_are_listed(self, tmp_path: Path) -> None:
        loaded = _project(tmp_path)
        for path in ("images/c.nii.gz", "labels/d.nii.gz"):
            (tmp_path / path).write_bytes(b"damaged")
        with pytest.raises(DataError, match="2 files are wrong") as caught:
            evaluate_volumes(loaded, tmp_path / "e")
        assert "c.nii.gz" in caught.value.problem and "d.nii.gz" in caught.value.problem
        assert not (tmp_path / "e" / "predictions").exists()

    def test_labels_on_another_grid_are_refused(self, tmp_path: Path) -> None:
        loaded = _project(tmp_path)
        write_volume(
            tmp_path / "labels" / "d.nii.gz", Volume(np.ones((SIDE, SIDE, SIDE), np.uint8))
        )
        with pytest.raises(DataError, match="another grid than the image"):
            _run(loaded, tmp_path)

    def test_postprocessing_is_that_of_volumes(
        self, tmp_path: Path, network: dict[str, Predictor]
    ) -> None:
        """Of 2-D labels each part is small enough to vanish, of 3-D ones none."""
        loaded = _project(tmp_path)
        steps = {2: Postprocessing({1: Steps(min_size=10_000)}), 3: Postprocessing({})}
        plain = copying((SIDE, SIDE), axes=list(ANATOMICAL_AXES), intensity=WINDOW)
        network["now"] = plain.with_postprocessing((), steps)
        assert _run(loaded, tmp_path)["classes"][0]["dice"]["mean"] == 1
        network["now"] = plain.with_postprocessing((), {3: steps[2]})
        assert _run(loaded, tmp_path)["classes"][0]["dice"]["mean"] == 0


class TestFiles:
    def test_predictions_lie_on_their_images(self, tmp_path: Path) -> None:
        _run(_project(tmp_path), tmp_path)
        folder = tmp_path / "evaluation" / "predictions"
        found = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
        assert [path.name for path in found] == ["c.nii.gz", "d.nrrd"]
        for path in found:
            image = read_volume(tmp_path / "images" / path.name)
            labels = read_labels(path)
            np.testing.assert_array_equal(labels.array, image.array > 0)
            np.testing.assert_allclose(labels.affine, image.affine, atol=1e-4)

    def test_where_the_files_of_each_case_are(self, tmp_path: Path) -> None:
        _run(_project(tmp_path), tmp_path)
        with (tmp_path / "evaluation" / "files.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert [(r["case"], Path(r["image"]).name, Path(r["mask"]).name) for r in rows] == [
            ("c", "c.nii.gz", "c.nii.gz"),
            ("d", "d.nrrd", "d.nii.gz"),
        ]

    def test_earlier_results_move_aside(self, tmp_path: Path) -> None:
        loaded = _project(tmp_path)
        (tmp_path / "evaluation.csv").write_text("dice,0.1\n")
        for _ in range(2):
            _run(loaded, tmp_path)
        assert not (tmp_path / "evaluation.csv").exists()
        assert len([p for p in tmp_path.iterdir() if p.name.startswith("evaluation.csv")]) == 1
        kept = [path.name for path in (tmp_path / "evaluation").iterdir()]
        assert sum(name.startswith("cases") for name in kept) == 2
        assert sum(name.startswith("predictions") for name in kept) == 2

    def test_the_command(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        loaded = _project(tmp_path)
        with pytest.raises(SystemExit) as ended:
            main(["evaluate", str(loaded.path)])
        assert ended.value.code == 0
        assert "bright" in capsys.readouterr().out
        assert (tmp_path / "run" / "evaluation" / "predictions" / "c.nii.gz").is_file()

    @pytest.mark.usefixtures("own_log")
    def test_workers_write_what_one_process_does(self, tmp_path: Path) -> None:
        """Also when one dies, and what was done before an error is kept."""
        loaded = _project(tmp_path)
        _run(loaded, tmp_path)
        path, output = tmp_path / "labels" / "d.nii.gz", tmp_path / "shared" / "evaluation"
        whole = path.read_bytes()
        path.write_bytes(b"damaged")
        first, _ = _volumes(loaded)
        with shared_by(lambda: Distant(2, {first: 1})), pytest.raises(DataError, match="damaged"):
            evaluate_volumes(loaded, output)
        assert not (output / "predictions").exists()
        (part,) = output.glob(f"{UNFINISHED}*/c.nii.gz")
        written = part.stat().st_mtime_ns
        path.write_bytes(whole)
        with shared_by(lambda: Distant(1)):
            evaluate_volumes(loaded, output)
        assert (output / "predictions" / "c.nii.gz").stat().st_mtime_ns == written
        found, wanted = (
            {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
            for folder in (output, tmp_path / "evaluation")
        )
        assert found == wanted

    def test_progress_ends_at_all(self, tmp_path: Path) -> None:
        told: list[tuple[float, int]] = []
        loaded = _project(tmp_path)
        evaluate_volumes(loaded, tmp_path / "e", lambda done, total: told.append((done, total)))
        assert told[-1] == (2, 2)
        assert [done for done, _ in told] == sorted(done for done, _ in told)


class TestCases:
    def test_volumes_of_slices_and_of_the_split_file(self, tmp_path: Path) -> None:
        """d has slices, c has none: both are in the test split."""
        loaded = _project(tmp_path, cut="abd")
        assert [case.id for case in _volumes(loaded)] == ["c", "d"]

    def test_the_validation_set(self, tmp_path: Path) -> None:
        loaded = load(_project(tmp_path).path, ["model.evaluation=valid"])
        assert [case.id for case in _volumes(loaded)] == ["b"]

    def test_slices_of_no_volume_are_refused(self, tmp_path: Path) -> None:
        loaded = load(_project(tmp_path).path, ["model.evaluation=valid"])
        (tmp_path / "images" / "b.mha").unlink()
        with pytest.raises(DataError, match="18 slices of the valid split belong to no volume"):
            _volumes(loaded)

    def test_a_split_without_volumes_is_refused(self, tmp_path: Path) -> None:
        loaded = _project(tmp_path)
        (tmp_path / "split.json").write_text(json.dumps({"train": ["a"], "valid": ["b"]}))
        with pytest.raises(ConfigError, match="no volume for the test split"):
            _volumes(loaded)

    def test_one_folder_alone_is_no_config(self, tmp_path: Path) -> None:
        loaded = _project(tmp_path)
        text = loaded.path.read_text().replace('masks_dir = "labels"\n', "")
        loaded.path.write_text(text)
        with pytest.raises(ConfigError, match="belong together"):
            load(loaded.path)


class TestSeenVolumes:
    @pytest.mark.parametrize("slice_id", ["c_axial_0002", "c_0002"])
    @pytest.mark.parametrize("split", ["train", "valid"])
    def test_a_volume_of_the_training(self, tmp_path: Path, slice_id: str, split: str) -> None:
        loaded = _project(tmp_path)
        manifest = {
            "status": "finished",
            "config": {},
            "data": {split: {"ids": ["a_axial_0000", slice_id]}},
        }
        (tmp_path / "run" / "run.json").write_text(json.dumps(manifest))
        with pytest.raises(DataError, match=f"1 test volume was in the {split} set.*c"):
            _run(loaded, tmp_path)

    def test_other_volumes_of_the_training_do_not_matter(self, tmp_path: Path) -> None:
        loaded = _project(tmp_path)
        manifest = {
            "status": "finished",
            "config": {},
            "data": {"train": {"ids": ["a_axial_0000"]}, "test": {"ids": ["c_0000"]}},
        }
        (tmp_path / "run" / "run.json").write_text(json.dumps(manifest))
        assert _run(loaded, tmp_path)["cases"] == 2

    def test_a_damaged_manifest_is_refused(self, tmp_path: Path) -> None:
        loaded = _project(tmp_path)
        (tmp_path / "run" / "run.json").write_text("{")
        with pytest.raises(DataError, match="cannot be read"):
            _run(loaded, tmp_path)

    def _ensemble(self, folder: Path, seen: SeenImages) -> LoadedConfig:
        member = folder / "member.h5"
        h5py.File(member, "w").close()
        models = folder / "run" / "models"
        write_ensemble(models / "ensemble.json", {"fold_0": member}, seen)
        return load(folder / "config.toml", ["train.best_model_file=ensemble.json"])

    def test_a_volume_of_the_folds(self, tmp_path: Path) -> None:
        _project(tmp_path)
        loaded = self._ensemble(tmp_path, SeenImages())
        held_out = (["a_axial_0001"], ["d_coronal_0001"])
        folds = [{"train": [], "valid": [], "held_out": names} for names in held_out]
        (tmp_path / "run" / "folds.json").write_text(json.dumps(folds))
        with pytest.raises(DataError, match=r"1 of 2 test volumes was in the folds.*d"):
            _run(loaded, tmp_path)

    def test_content_tells_a_volume_of_another_name(self, tmp_path: Path) -> None:
        _project(tmp_path)
        slices = (tmp_path / "slices" / "images").glob("a_*.png")
        loaded = self._ensemble(tmp_path, SeenImages.of(slices))
        assert _run(loaded, tmp_path)["cases"] == 2
        image = read_volume(tmp_path / "images" / "a.nii.gz")
        write_volume(tmp_path / "images" / "c.nii.gz", image)
        label = read_labels(tmp_path / "labels" / "a.nii.gz")
        write_volume(tmp_path / "labels" / "c.nii.gz", label)
        with pytest.raises(DataError, match="trained on slices of this volume"):
            _run(loaded, tmp_path)

    def test_what_was_chosen_on_these_cases_is_told(
        self,
        tmp_path: Path,
        network: dict[str, Predictor],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        loaded = load(_project(tmp_path).path, ["model.evaluation=valid"])
        plain = copying((SIDE, SIDE), axes=list(ANATOMICAL_AXES), intensity=WINDOW)
        network["now"] = plain.with_postprocessing((), {}, {"split": "valid"})
        with caplog.at_level(logging.WARNING):
            _run(loaded, tmp_path)
        assert "chosen on these very cases" in caplog.text
