"""Label volumes: known answers in mm and ml, files of any order of voxels, and refusals."""

from __future__ import annotations

import csv
import json
import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from config_parts import labels_of
from flexseg.cli import main
from flexseg.config.schema import Experiment
from flexseg.dataset.cases import Case
from flexseg.dataset.labels import LabelMap
from flexseg.errors import DataError
from flexseg.evaluation.case_scores import CaseScores, case_columns, write_evaluation
from flexseg.evaluation.compare import compare
from flexseg.evaluation.scoring import ClassScores, Measures
from flexseg.evaluation.volume_scores import (
    hold_volumes,
    on_grid_of,
    score_volume,
    score_volume_folders,
)
from flexseg.files.images import write_png
from flexseg.files.volumes.read import write_volume
from flexseg.files.volumes.volume import Volume
from flexseg.runs.evaluations import read_results

CLASSES = [
    {"id": 0, "name": "background", "color": (0, 0, 0)},
    {"id": 1, "name": "ball", "color": (0, 255, 0)},
    {"id": 2, "name": "box", "color": (255, 0, 0)},
]
SPACING = (3.0, 1.0, 0.5)
SHAPE = (12, 30, 40)


def _labels(classes: list[dict[str, Any]] = CLASSES) -> LabelMap:
    sections = {"model": {"num_classes": len(classes)}, "mask": {"classes": classes}}
    return labels_of(Experiment.model_validate(sections))


def _sphere(radius: float, spacing: tuple[float, float, float]) -> NDArray[np.uint8]:
    """A centred sphere of class 1, radius in mm, with 4 mm of margin."""
    half = [math.ceil((radius + 4) / step) for step in spacing]
    grids = np.ogrid[tuple(slice(-n, n + 1) for n in half)]
    distance = sum((grid * step) ** 2 for grid, step in zip(grids, spacing, strict=True))
    return (distance <= radius**2).astype(np.uint8)


def _box(z: int, y: int, x: int, label: int = 1) -> NDArray[np.uint8]:
    """A box of 4 x 10 x 20 voxels from a corner."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[z : z + 4, y : y + 10, x : x + 20] = label
    return labels


def _score(
    predicted: NDArray[np.uint8],
    reference: NDArray[np.uint8],
    spacing: tuple[float, float, float] = SPACING,
    **measures: Any,
) -> ClassScores:
    return score_volume(predicted, reference, spacing, _labels(), Measures(**measures)).classes[0]


def _write(path: Path, labels: NDArray, spacing: tuple[float, ...] = SPACING[::-1]) -> sitk.Image:
    """A label volume as a file; the spacing is along x, y, z."""
    path.parent.mkdir(exist_ok=True)
    image = sitk.GetImageFromArray(labels)
    image.SetSpacing(spacing)
    image.SetOrigin((-100.0, 50.0, 7.5))
    sitk.WriteImage(image, str(path))
    return image


class TestSpheres:
    @pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (3.0, 0.8, 0.8), (0.5, 1.0, 2.0)])
    def test_concentric(self, spacing: tuple[float, float, float]) -> None:
        """Radii 14 and 17 mm: all distances are 3 mm, Dice is 2 r^3 / (r^3 + R^3)."""
        small, large = 14.0, 17.0
        predicted = _sphere(large, spacing)
        inner = _sphere(small, spacing)
        margin = [(p - i) // 2 for p, i in zip(predicted.shape, inner.shape, strict=True)]
        reference = np.pad(inner, [(m, m) for m in margin])
        scores = _score(predicted, reference, spacing, tolerance=1.0)
        step = max(spacing)
        assert scores.values["hd95"] == pytest.approx(3, abs=step)
        # The other surface is rough, and the nearest of its elements stand out.
        assert 3 - 0.65 <= scores.values["assd"] <= 3
        assert scores.values["nsd"] < 0.2
        assert _score(predicted, reference, spacing, tolerance=3 + step).values["nsd"] == 1
        expected = 2 * small**3 / (small**3 + large**3)
        assert scores.values["dice"] == pytest.approx(expected, abs=0.01)
        assert scores.values["area_error"] == pytest.approx((large / small) ** 3 - 1, rel=0.02)

    @pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (3.0, 0.8, 0.8)])
    def test_volume_in_ml(self, spacing: tuple[float, float, float]) -> None:
        ball = _sphere(15, spacing)
        scores = CaseScores(_labels(), Measures(volumes=True))
        result = score_volume(ball, ball, spacing, scores.labels, scores.measures)
        assert result.voxel_ml == pytest.approx(math.prod(spacing) / 1000)
        ml = result.classes[0].counts.reference * (result.voxel_ml or 0)
        assert ml == pytest.approx(4 / 3 * math.pi * 1.5**3, rel=0.02)


class TestShiftedBoxes:
    @pytest.mark.parametrize(
        ("shift", "distance"), [((2, 0, 0), 6.0), ((0, 2, 0), 2.0), ((0, 0, 6), 3.0)]
    )
    def test_distance_is_in_mm_along_each_axis(
        self, shift: tuple[int, int, int], distance: float
    ) -> None:
        scores = _score(_box(*(2 + s for s in shift)), _box(2, 2, 2))
        assert scores.values["hd95"] == pytest.approx(distance)

    def test_tolerance_is_in_mm(self) -> None:
        """The front and back face are off by one slice of 3 mm; the sides lie on each other."""
        reference, predicted = _box(2, 2, 2), _box(3, 2, 2)
        assert _score(predicted, reference, tolerance=3.0).values["nsd"] == 1
        assert _score(predicted, reference, tolerance=2.9).values["nsd"] < 0.75

    def test_missed_object_is_as_far_as_the_diagonal(self) -> None:
        scores = _score(np.zeros(SHAPE, np.uint8), _box(2, 2, 2))
        assert scores.counts.status == "missed"
        assert scores.values["hd95"] == pytest.approx(math.hypot(36, 30, 20))

    @settings(max_examples=15)
    @given(st.permutations([0, 1, 2]), st.integers(0, 1000))
    def test_order_of_the_axes_does_not_matter(self, axes: list[int], seed: int) -> None:
        rng = np.random.default_rng(seed)
        a, b = (rng.random((2, 5, 6, 7)) < 0.3).astype(np.uint8)
        turned = tuple(SPACING[axis] for axis in axes)
        one = _score(a, b).values
        two = _score(a.transpose(axes), b.transpose(axes), turned).values  # type: ignore[arg-type]
        assert two == pytest.approx(one, nan_ok=True)


def test_lesions_are_connected_across_slices() -> None:
    """A tube along z is one lesion, not one per slice; two that touch in a corner are one."""
    reference = np.zeros(SHAPE, np.uint8)
    reference[:, 3:6, 3:6] = 1
    reference[2:4, 20:22, 20:22] = reference[4:6, 22:24, 22:24] = 1
    predicted = np.zeros(SHAPE, np.uint8)
    predicted[5, 4, 4] = 1
    predicted[9:, 28, 35:] = 1
    lesions = _score(predicted, reference).lesions
    assert (lesions.reference, lesions.hits, lesions.predicted, lesions.false) == (2, 1, 2, 1)


def test_slices_of_a_volume_add_to_its_counts() -> None:
    """The voxels are those of all slices; surfaces are not."""
    reference, predicted = _box(2, 2, 2) + _box(6, 5, 5, label=2), _box(3, 2, 2)
    volume = score_volume(predicted, reference, SPACING, _labels(), Measures())
    slices = CaseScores(_labels(), Measures(spacing=SPACING[1:]))
    for z in range(SHAPE[0]):
        slices.add(_case(f"{z}"), reference[z], predicted[z])
    assert np.array_equal(volume.matrix, np.sum(slices.matrices, axis=0))


def _case(name: str) -> Case:
    return Case(name, Path(name), Path(name), "volume")


class TestRefusals:
    def test_other_shape(self) -> None:
        with pytest.raises(DataError, match="12 x 30 x 41 voxels"):
            _score(np.zeros((12, 30, 41), np.uint8), _box(2, 2, 2))

    def test_class_that_is_not_there(self) -> None:
        with pytest.raises(DataError, match="class 7, but the classes end at 2"):
            _score(_box(2, 2, 2, label=7), _box(2, 2, 2))

    @pytest.mark.parametrize("spacing", [(1.0, 0.0, 1.0), (1.0, math.nan, 1.0), (1.0, 1.0)])
    def test_impossible_spacing(self, spacing: Any) -> None:
        with pytest.raises(ValueError, match="expected"):
            _score(_box(2, 2, 2), _box(2, 2, 2), spacing)


class TestGrids:
    def _volume(self, **geometry: Any) -> Volume:
        return Volume(_box(2, 2, 2), SPACING[::-1], **geometry)

    def test_headers_in_single_precision_are_the_same_grid(self) -> None:
        one, two = self._volume(origin=(0.1, 0.2, 0.3)), self._volume(origin=(0.10001, 0.2, 0.3))
        assert on_grid_of(one, two, Path("p")) is two

    @pytest.mark.parametrize("order", ["RAS", "PIR", "SAL", "LPI"])
    def test_other_order_of_voxels_is_undone(self, order: str) -> None:
        rng = np.random.default_rng(0)
        c, s = math.cos(0.3), math.sin(0.3)
        truth = Volume(
            rng.integers(0, 3, SHAPE).astype(np.uint8), SPACING[::-1], (5.0, -7.0, 9.0),
            (c, -s, 0, s, c, 0, 0, 0, 1),
        )  # fmt: skip
        turned = Volume.from_image(sitk.DICOMOrient(truth.image(), order))
        assert turned.orientation == order
        np.testing.assert_array_equal(on_grid_of(truth, turned, Path("p")).array, truth.array)

    @pytest.mark.parametrize(
        ("geometry", "what"),
        [
            ({"spacing": (0.5, 1.0, 2.0)}, r"spacing 0.5 x 1 x 2 \(reference: 0.5 x 1 x 3\)"),
            ({"origin": (0.0, 0.0, 3.0)}, r"origin 0 x 0 x 3 \(reference: 0 x 0 x 0\)"),
            ({"array": _box(2, 2, 2)[1:]}, "size 40 x 30 x 11"),
            ({"direction": (0.8, -0.6, 0, 0.6, 0.8, 0, 0, 0, 1)}, "direction"),
        ],
    )
    def test_other_grid_is_refused(self, geometry: dict[str, Any], what: str) -> None:
        other = Volume(**{"array": _box(2, 2, 2), "spacing": SPACING[::-1]} | geometry)
        with pytest.raises(DataError, match=f"another grid than its reference: .*{what}"):
            on_grid_of(self._volume(), other, Path("prediction.nii"))


class TestFolders:
    def _folders(self, tmp_path: Path) -> tuple[Path, Path]:
        """Three volumes in three formats: shifted by a slice, as it is, missed."""
        predictions, references = tmp_path / "predictions", tmp_path / "references"
        for name, suffix, predicted in (
            ("p1_a", ".nii.gz", _box(3, 2, 2)),
            ("p1_b", ".mha", _box(2, 2, 2)),
            ("p2", ".nrrd", np.zeros(SHAPE, np.uint8)),
        ):
            _write(predictions / f"{name}{suffix}", predicted)
            _write(references / f"{name}.nii.gz", _box(2, 2, 2))
        return predictions, references

    def test_pairs_by_name_whatever_the_format(self, tmp_path: Path) -> None:
        predictions, references = self._folders(tmp_path)
        _write(predictions / "unpaired.mha", _box(0, 0, 0))
        _write(references / "unpredicted.nii", _box(0, 0, 0))
        scores, unpaired = score_volume_folders(
            predictions, references, _labels(), Measures(tolerance=1.0), group=r"p\d"
        )
        assert unpaired == ["unpaired.mha", "unpredicted.nii"]
        assert [(c.id, c.group) for c in scores.cases] == [
            ("p1_a", "p1"), ("p1_b", "p1"), ("p2", "p2"),
        ]  # fmt: skip
        ball = [result.classes[0] for result in scores.results]
        assert [s.values["dice"] for s in ball] == pytest.approx([0.75, 1, 0])
        assert [s.values["hd95"] for s in ball] == pytest.approx([3, 0, math.hypot(36, 30, 20)])

    def test_hdf5(self, tmp_path: Path) -> None:
        for kind in ("predicted", "reference"):
            write_volume(tmp_path / kind / "a.h5", Volume(_box(0, 0, 0), SPACING[::-1]))
        scores, _ = score_volume_folders(
            tmp_path / "predicted", tmp_path / "reference", _labels(), Measures()
        )
        assert scores.results[0].classes[0].values["dice"] == 1

    def test_files(self, tmp_path: Path) -> None:
        predictions, references = self._folders(tmp_path)
        scores, _ = score_volume_folders(
            predictions, references, _labels(), Measures(), group=r"p\d"
        )
        summary = write_evaluation(scores, tmp_path / "out", 100).as_dict()
        assert (summary["units"], summary["spacing"], summary["tolerance"]) == ("mm", None, 2.0)
        assert (summary["cases"], summary["groups"]) == (3, 2)
        # The sum of voxels of different sizes has no meaning.
        assert "by_group" not in summary and not (tmp_path / "out/groups.csv").exists()
        with (tmp_path / "out/cases.csv").open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert tuple(rows[0]) == case_columns(volumes=True)
        # 4 x 10 x 20 voxels of 1.5 mm^3.
        assert (rows[0]["reference_ml"], rows[0]["predicted_ml"]) == ("1.2", "1.2")
        assert (rows[4]["reference_ml"], rows[4]["predicted_ml"]) == ("1.2", "0.0")
        assert rows[1]["status"] == "absent" and rows[1]["reference_ml"] == "0.0"

    def test_compare_reads_them(self, tmp_path: Path) -> None:
        predictions, references = self._folders(tmp_path)
        for name, folder in (("a", predictions), ("b", references)):
            scores, _ = score_volume_folders(folder, references, _labels(), Measures())
            write_evaluation(scores, tmp_path / name, 100)
        runs = [read_results(tmp_path / name, name) for name in "ab"]
        found = compare(runs, "hd95").difference("a", "b", "ball")
        assert found.mean == pytest.approx(-(3 + math.hypot(36, 30, 20)) / 3, abs=1e-5)

    def test_other_spacing_of_the_reference_is_refused_in_comparisons(self, tmp_path: Path) -> None:
        for name, step in (("a", 3.0), ("b", 2.0)):
            _write(tmp_path / name / "v.nii", _box(2, 2, 2), (0.5, 1.0, step))
            scores, _ = score_volume_folders(
                tmp_path / name, tmp_path / name, _labels(), Measures()
            )
            write_evaluation(scores, tmp_path / f"{name}_scores", 100)
        runs = [read_results(tmp_path / f"{name}_scores", name) for name in "ab"]
        with pytest.raises(DataError, match="another reference mask"):
            compare(runs)

    def test_voxel_order_of_the_prediction_does_not_matter(self, tmp_path: Path) -> None:
        image = _write(tmp_path / "r" / "v.nii.gz", _box(2, 2, 2))
        (tmp_path / "p").mkdir()
        sitk.WriteImage(sitk.DICOMOrient(image, "SAR"), str(tmp_path / "p" / "v.nrrd"))
        scores, _ = score_volume_folders(tmp_path / "p", tmp_path / "r", _labels(), Measures())
        assert scores.results[0].classes[0].values["dice"] == 1

    def test_other_grid_names_the_file(self, tmp_path: Path) -> None:
        _write(tmp_path / "r" / "v.nii.gz", _box(2, 2, 2))
        _write(tmp_path / "p" / "v.mha", _box(2, 2, 2), (0.5, 1.0, 2.0))
        with pytest.raises(DataError, match="another grid") as caught:
            score_volume_folders(tmp_path / "p", tmp_path / "r", _labels(), Measures())
        assert caught.value.where == str(tmp_path / "p" / "v.mha")

    def test_values_in_no_class_are_refused(self, tmp_path: Path) -> None:
        for name in "pr":
            _write(tmp_path / name / "v.nii.gz", _box(2, 2, 2, label=5))
        with pytest.raises(DataError, match="1 of 1 predictions holds values of no class: 5"):
            score_volume_folders(tmp_path / "p", tmp_path / "r", _labels(), Measures())

    def test_values_of_classes_count(self, tmp_path: Path) -> None:
        """Labels 0, 5, 85 as other programs write them, here as floats."""
        values = [dict(c, values=[v]) for c, v in zip(CLASSES, (0, 5, 85), strict=True)]
        volume = _box(2, 2, 2, label=5) + _box(7, 2, 2, label=85)
        for name in "pr":
            _write(tmp_path / name / "v.nii.gz", volume.astype(np.float32))
        scores, _ = score_volume_folders(
            tmp_path / "p", tmp_path / "r", _labels(values), Measures()
        )
        assert [c.counts.reference for c in scores.results[0].classes] == [800, 800]

    @pytest.mark.parametrize("value", [1, 255])
    def test_one_class(self, tmp_path: Path, value: int) -> None:
        _write(tmp_path / "p" / "v.nii.gz", _box(2, 2, 2))
        _write(tmp_path / "r" / "v.nii.gz", _box(2, 2, 2, label=value))
        labels = labels_of(Experiment.model_validate({"model": {"num_classes": 1}}))
        scores, _ = score_volume_folders(tmp_path / "p", tmp_path / "r", labels, Measures())
        assert scores.results[0].classes[0].values["dice"] == 1

    def test_own_reader(self, tmp_path: Path) -> None:
        _write(tmp_path / "v.nii.gz", _box(2, 2, 2))
        scores, _ = score_volume_folders(
            tmp_path, tmp_path, _labels(), Measures(),
            read=lambda path: Volume(_box(1, 1, 1), (1.0, 1.0, 10.0)),
        )  # fmt: skip
        assert scores.results[0].voxel_ml == pytest.approx(0.01)

    def test_tilted_gantry(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """Axes that are not at right angles span a smaller volume; distances are inexact."""
        _write(tmp_path / "v.nii.gz", _box(2, 2, 2))
        tilt = math.radians(30)
        direction = (1, 0, 0, 0, 1, math.sin(tilt), 0, 0, math.cos(tilt))
        with caplog.at_level(logging.WARNING):
            scores, _ = score_volume_folders(
                tmp_path, tmp_path, _labels(), Measures(),
                read=lambda path: Volume(_box(1, 1, 1), (1.0, 1.0, 10.0), direction=direction),
            )  # fmt: skip
        assert scores.results[0].voxel_ml == pytest.approx(0.01 * math.cos(tilt))
        assert "not at right angles, in 1 volume: v" in caplog.text

    def test_no_common_name(self, tmp_path: Path) -> None:
        _write(tmp_path / "p" / "a.nii.gz", _box(2, 2, 2))
        _write(tmp_path / "r" / "b.nii.gz", _box(2, 2, 2))
        with pytest.raises(DataError, match="No prediction has a mask of the same name"):
            score_volume_folders(tmp_path / "p", tmp_path / "r", _labels(), Measures())

    def test_a_spacing_of_slices_is_not_used(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        predictions, references = self._folders(tmp_path)
        write_png(predictions / "preview.png", np.zeros((4, 4), np.uint8), [0, 0, 0])
        with caplog.at_level(logging.WARNING):
            scores, _ = score_volume_folders(
                predictions, references, _labels(), Measures(spacing=(9.0, 9.0))
            )
        assert scores.results[0].classes[0].values["hd95"] == pytest.approx(3)
        assert "[eval] spacing is not used" in caplog.text
        assert (
            "1 image is not scored, as there are volumes in the same folder: preview.png"
            in caplog.text
        )


class TestKind:
    def test_volumes_or_images(self, tmp_path: Path) -> None:
        volumes, both, images = (tmp_path / name for name in ("volumes", "both", "images"))
        for folder in (volumes, both):
            _write(folder / "v.nii.gz", _box(2, 2, 2))
        images.mkdir()
        for folder in (both, images):
            write_png(folder / "v.png", np.zeros((4, 4), np.uint8), [0, 0, 0])
        assert hold_volumes(volumes, both) and hold_volumes(both, volumes)
        assert not hold_volumes(images, both) and not hold_volumes(both, images)
        for pair in ((volumes, images), (images, volumes)):
            with pytest.raises(DataError, match="has no volume") as caught:
                hold_volumes(*pair)
            assert caught.value.where == str(images)
        with pytest.raises(DataError, match="no such folder"):
            hold_volumes(tmp_path / "nowhere", volumes)


class TestCommand:
    @pytest.fixture
    def config(self, tmp_path: Path) -> Path:
        path = tmp_path / "c.toml"
        path.write_text(
            "[model]\nnum_classes = 2\n[mask]\nclasses = [{id = 0, color = [0, 0, 0]}, "
            '{id = 1, name = "box", color = [255, 255, 255]}]\n[eval]\nbootstrap = 50\n',
            encoding="utf-8",
        )
        return path

    def _run(self, config: Path, tmp_path: Path, folder: str = "p") -> int:
        with pytest.raises(SystemExit) as caught:
            main(
                ["evaluate", str(config), "--predictions", str(tmp_path / folder),
                 "--masks", str(tmp_path / "r"), "-o", str(tmp_path / "out")]
            )  # fmt: skip
        return int(caught.value.code or 0)

    def test_volumes(
        self, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        _write(tmp_path / "p" / "v.mha", _box(3, 2, 2))
        _write(tmp_path / "r" / "v.nii.gz", _box(2, 2, 2))
        assert self._run(config, tmp_path) == 0
        summary = json.loads((tmp_path / "out/summary.json").read_text(encoding="utf-8"))
        assert summary["units"] == "mm"
        assert summary["classes"][0]["hd95"]["mean"] == pytest.approx(3)
        assert "HD95, mm" in capsys.readouterr().out

    def test_slices_as_before(self, config: Path, tmp_path: Path) -> None:
        for name, column in (("p", 4), ("r", 2)):
            (tmp_path / name).mkdir()
            labels = np.zeros((20, 30), np.uint8)
            labels[5:15, column : column + 10] = 1
            write_png(tmp_path / name / "v.png", labels, [0, 0, 0, 255, 255, 255])
        assert self._run(config, tmp_path) == 0
        summary = json.loads((tmp_path / "out/summary.json").read_text(encoding="utf-8"))
        assert (summary["units"], summary["classes"][0]["hd95"]["mean"]) == ("px", 2)

    def test_wrong_folders(
        self, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        _write(tmp_path / "p" / "v.mha", _box(3, 2, 2))
        _write(tmp_path / "r" / "v.nii.gz", _box(2, 2, 2)[:, 1:])
        assert self._run(config, tmp_path) == 3
        assert self._run(config, tmp_path, "nowhere") == 2
        assert "another grid" in " ".join(capsys.readouterr().err.split())
        assert not (tmp_path / "out").exists()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_published_volumes_score_as_the_library(shared: Path) -> None:
    """A real segmentation, moved by a voxel, against the package `surface-distance` in 3-D."""
    library = pytest.importorskip("surface_distance")
    path = sorted((shared / "data/hippocampus/masks").glob("*.nii.gz"))[0]
    truth = sitk.GetArrayFromImage(sitk.ReadImage(str(path))).astype(np.uint8)
    moved = np.roll(truth, (1, 0, 2), axis=(0, 1, 2))
    for c, scores in enumerate(
        score_volume(moved, truth, SPACING, _labels(), Measures(tolerance=1.0)).classes, start=1
    ):
        distances = library.compute_surface_distances(truth == c, moved == c, SPACING)
        hd95 = library.compute_robust_hausdorff(distances, 95)
        nsd = library.compute_surface_dice_at_tolerance(distances, 1.0)
        assert scores.values["hd95"] == pytest.approx(hd95, abs=1e-6)
        assert scores.values["nsd"] == pytest.approx(nsd, abs=1e-6)


def test_an_ignore_label_of_volumes_counts_in_nothing(tmp_path: Path) -> None:
    """The last slices are ignored: what is predicted there is no error, and no distance."""
    reference = _box(0, 0, 0)
    reference[8:] = 7
    predicted = _box(0, 0, 0)
    predicted[9:, 20:, 20:] = 1
    _write(tmp_path / "reference/a.nii.gz", reference)
    _write(tmp_path / "predicted/a.nii.gz", predicted)
    content = {"model": {"num_classes": 3}, "mask": {"classes": CLASSES, "ignore": 7}}
    labels = labels_of(Experiment.model_validate(content))
    folders = (tmp_path / "predicted", tmp_path / "reference")
    scores, _ = score_volume_folders(*folders, labels, Measures())
    (result,) = scores.results
    assert (result.classes[0].values["dice"], result.classes[0].values["hd95"]) == (1, 0)
    assert result.ignored == 4 * 30 * 40
    notes = scores.summary().notes
    assert any(note.startswith("4,800 voxels (33.33%)") for note in notes)
    with pytest.raises(DataError, match="of no class: 7"):
        score_volume_folders(*folders, _labels(), Measures())
