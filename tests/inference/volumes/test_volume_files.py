"""Volumes to label volumes: what is written, where it lies, and what never is lost."""

from __future__ import annotations

import csv
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

import flexseg.cli.infer3d  # noqa: F401 - adds the command
from flexseg.cli import main
from flexseg.config.infer import Infer3dConfig
from flexseg.config.load import load
from flexseg.derive.volumes import VolumeOptions, derive_volumes
from flexseg.errors import ConfigError
from flexseg.files.images import read_image
from flexseg.files.intensity import Intensity
from flexseg.files.volumes.read import read_labels, read_volume, write_volume
from flexseg.files.volumes.slices import SliceAxis
from flexseg.files.volumes.volume import Volume
from flexseg.inference.volumes.volume_files import looks_like_labels
from flexseg.inference.volumes.volume_predictor import VolumePredictor, reads_xyz
from flexseg.inference.volumes.volume_sources import volume_cases
from volume_models import (
    ORIENTATIONS,
    SIZE,
    WINDOW,
    copying,
    noise,
    oblique,
    predict,
    three_volumes,
)


@pytest.fixture
def volumes(tmp_path: Path) -> Path:
    return three_volumes(tmp_path / "volumes")


class TestLabelVolumes:
    def test_overlay_the_input_voxel_for_voxel(self, tmp_path: Path) -> None:
        """All orientations, oblique and anisotropic, in three formats, read by SimpleITK alone."""
        folder = tmp_path / "volumes"
        folder.mkdir()
        for i, orientation in enumerate(ORIENTATIONS):
            suffix = (".nii.gz", ".mha", ".nrrd")[i % 3]
            image = oblique((4, 5, 6), orientation).image()
            sitk.WriteImage(image, str(folder / f"{orientation}{suffix}"))
        result = predict(folder, tmp_path / "out")
        assert len(result.files) == 48
        for path in folder.iterdir():
            image = sitk.ReadImage(str(path))
            labels = sitk.ReadImage(str(tmp_path / "out" / "labels" / path.name))
            np.testing.assert_array_equal(
                sitk.GetArrayFromImage(labels), sitk.GetArrayFromImage(image) > 0
            )
            assert labels.GetSpacing() == pytest.approx(image.GetSpacing(), rel=1e-6)
            assert labels.GetOrigin() == pytest.approx(image.GetOrigin(), abs=1e-4)
            assert labels.GetDirection() == pytest.approx(image.GetDirection(), abs=1e-6)
            assert labels.GetPixelID() == sitk.sitkUInt8

    @pytest.mark.parametrize("old", [False, True])
    @pytest.mark.parametrize(
        "file",
        [
            "nifti/t1w.nii.gz",
            "nifti/t2.nii.gz",
            "nifti/t2_fake_lesion.nii.gz",
            "nifti/t2s.nii.gz",
            "dicom/hippo_study1",
            "dicom/hippo_study2",
            "dicom/hippo_study3",
        ],
    )
    def test_of_real_volumes(self, shared: Path, tmp_path: Path, file: str, old: bool) -> None:
        path = shared / "data" / file
        volume = read_volume(path)
        voxels = volume.array.astype(np.float64)
        low, high = float(voxels.min()), float(voxels.max())
        middle = low + 0.3 * (high - low)
        keys: dict[str, Any] = {}
        if old:
            keys = {"slice_shape_order": "hwd", "slice_rotation": "cv2.ROTATE_90_CLOCKWISE"}
        [cut] = VolumePredictor(copying((1, 1)), Infer3dConfig(**keys)).cuts(xyz=reads_xyz(path))
        size = cut.slice_view(voxels, volume.orientation).shape[1:3]
        predict(path, tmp_path / "out", size, intensity=f"{middle}/{2 * (high - low)}", **keys)
        name = path.name.removesuffix(".nii.gz")
        labels = sitk.ReadImage(str(tmp_path / "out" / "labels" / f"{name}.nii.gz"))
        found = sitk.GetArrayFromImage(labels)
        # Grey values are rounded to 8 bits: what lies closer to the middle may go either way.
        clear = np.abs(voxels - middle) > (high - low) / 127
        np.testing.assert_array_equal(found[clear], (voxels > middle)[clear])
        assert clear.mean() > 0.9
        assert 0.001 < found.mean() < 0.9
        assert labels.GetSpacing() == pytest.approx(volume.spacing, abs=1e-4)
        assert labels.GetOrigin() == pytest.approx(volume.origin, abs=1e-3)
        assert labels.GetDirection() == pytest.approx(volume.direction, abs=1e-5)
        assert (tmp_path / "out" / "labels" / f"{name}.seg.dcm").exists() == path.is_dir()

    def test_in_the_format_of_the_input(self, tmp_path: Path) -> None:
        folder = tmp_path / "in"
        folder.mkdir()
        suffixes = (".nii", ".nii.gz", ".mha", ".mhd", ".nrrd", ".npy", ".h5")
        for i, suffix in enumerate(suffixes):
            write_volume(folder / f"v{i}{suffix}", Volume(noise((4, 5, 6), i)))
        predict(folder, tmp_path / "out")
        for i, suffix in enumerate(suffixes):
            labels = read_labels(tmp_path / "out" / "labels" / f"v{i}{suffix}")
            np.testing.assert_array_equal(labels.array, noise((4, 5, 6), i) > 0)

    def test_in_the_format_that_is_asked_for(self, volumes: Path, tmp_path: Path) -> None:
        predict(volumes, tmp_path / "out", label_format=".nii.gz")
        names = sorted(p.name for p in (tmp_path / "out" / "labels").iterdir())
        assert names == ["a.nii.gz", "b.nii.gz", "c.nii.gz"]

    def test_probabilities(self, volumes: Path, tmp_path: Path) -> None:
        predict(volumes, tmp_path / "out", probabilities=True)
        image = read_volume(volumes / "b.mha")
        p = read_volume(tmp_path / "out" / "probabilities" / "b.nii.gz")
        np.testing.assert_allclose(p.array, (image.array + 1000) / 2001, atol=4e-3)
        np.testing.assert_allclose(p.direction, image.direction, atol=1e-6)
        labels = read_labels(tmp_path / "out" / "labels" / "b.mha")
        np.testing.assert_array_equal(labels.array, image.array > 0)

    def test_one_channel_of_several(self, tmp_path: Path) -> None:
        array = np.stack([noise((4, 5, 6), i) for i in range(3)], axis=-1)
        write_volume(tmp_path / "v.nii.gz", Volume(array))
        result = predict(tmp_path / "v.nii.gz", tmp_path / "out")
        assert "--channel, 0 to 2" in result.failed["v.nii.gz"]
        predict(tmp_path / "v.nii.gz", tmp_path / "out", channel=2)
        labels = read_labels(tmp_path / "out" / "labels" / "v.nii.gz")
        np.testing.assert_array_equal(labels.array, array[..., 2] > 0)

    def test_neighbours(self, volumes: Path, tmp_path: Path) -> None:
        predict(volumes, tmp_path / "out", neighbours=1)
        labels = read_labels(tmp_path / "out" / "labels" / "c.nrrd")
        np.testing.assert_array_equal(labels.array, read_volume(volumes / "c.nrrd").array > 0)

    def test_three_axes(self, tmp_path: Path) -> None:
        write_volume(tmp_path / "v.nrrd", oblique((6, 6, 6), "SRA"))
        predict(tmp_path / "v.nrrd", tmp_path / "out", (6, 6), average_axes=True)
        labels = read_labels(tmp_path / "out" / "labels" / "v.nrrd")
        np.testing.assert_array_equal(labels.array, read_volume(tmp_path / "v.nrrd").array > 0)


@pytest.mark.parametrize("axis", ["axial", "coronal", "sagittal", "1"])
@pytest.mark.parametrize("intensity", ["percentile", "zscore:2", "100/900"])
def test_slices_are_those_that_derive_writes(tmp_path: Path, axis: str, intensity: str) -> None:
    """What training saw as PNG files is what the network sees of the volume, bit for bit."""
    images, labels = tmp_path / "images", tmp_path / "labels"
    for folder, dtype in ((images, np.int16), (labels, np.uint8)):
        folder.mkdir()
        volume = oblique((4, 5, 6), "RIA")
        array = volume.array if dtype == np.int16 else volume.array > 0
        write_volume(folder / "v.nii.gz", volume.with_array(array.astype(dtype)))
    options = VolumeOptions(axes=(SliceAxis(axis, 90),), intensity=Intensity.parse(intensity))
    derive_volumes(images, labels, tmp_path / "derived", options)
    files = sorted((tmp_path / "derived" / "images").iterdir())
    expected = np.stack([read_image(file) for file in files])
    predictor = copying(expected.shape[1:3], axis=axis, rotate=90, intensity=intensity)
    VolumePredictor(predictor).labels(read_volume(images / "v.nii.gz"))
    seen = np.concatenate(predictor.batches)[: len(expected)]
    np.testing.assert_array_equal(seen, expected)


class TestTables:
    def test_volumes(self, volumes: Path, tmp_path: Path) -> None:
        predict(volumes, tmp_path / "out")
        with (tmp_path / "out" / "volumes.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert [row["case"] for row in rows] == ["a", "b", "c"]
        voxels = int((read_volume(volumes / "a.nii.gz").array > 0).sum())
        assert int(rows[0]["voxels"]) == voxels
        assert float(rows[0]["volume_ml"]) == pytest.approx(
            voxels * 0.5 * 0.7 * 7.5 / 1000, rel=1e-3
        )

    def test_summary(self, volumes: Path, tmp_path: Path) -> None:
        predict(volumes, tmp_path / "out")
        summary = json.loads((tmp_path / "out" / "predictions.json").read_text())
        found = summary["volumes"]["b.mha"]
        assert found["orientation"] == "RAS"
        assert found["slices"] == "axial"
        assert sum(found["voxels_per_class"].values()) == 120
        assert summary["failed"] == {}


class TestWhatFails:
    def test_is_listed_and_the_others_are_done(self, volumes: Path, tmp_path: Path) -> None:
        (volumes / "aa.nii.gz").write_bytes(b"no volume")
        write_volume(volumes / "zz.mha", Volume(np.zeros((2, 3, 3, 2), np.uint8)))
        result = predict(volumes, tmp_path / "out")
        assert sorted(result.files) == ["a.nii.gz", "b.mha", "c.nrrd"]
        assert sorted(result.failed) == ["aa.nii.gz", "zz.mha"]
        summary = json.loads((tmp_path / "out" / "predictions.json").read_text())
        assert summary["failed"] == result.failed

    def test_segmentation_objects_are_refused(self, shared: Path, tmp_path: Path) -> None:
        path = next((shared / "data" / "dicom" / "dcmqi_segmentations").rglob("*.dcm"))
        result = predict(path, tmp_path / "out")
        assert "DICOM segmentation object" in next(iter(result.failed.values()))

    def test_earlier_results_move_aside(self, volumes: Path, tmp_path: Path) -> None:
        out = tmp_path / "out"
        predict(volumes, out, slices=True)
        (out / "own.txt").write_text("mine")
        before = (out / "labels" / "a.nii.gz").read_bytes()
        predict(volumes / "a.nii.gz", out, slices=True)
        assert [p.name for p in (out / "labels").iterdir()] == ["a.nii.gz"]
        [kept] = out.glob("labels_*_bak")
        assert (kept / "a.nii.gz").read_bytes() == before
        assert len(list(kept.iterdir())) == 3
        assert len(list(out.glob("a.nii.gz_*_bak"))) == 1
        assert len(list(out.glob("volumes.csv_*_bak"))) == 1
        assert (out / "own.txt").read_text() == "mine"

    def test_results_of_other_volumes_stay(self, volumes: Path, tmp_path: Path) -> None:
        predict(volumes / "a.nii.gz", tmp_path / "out")
        predict(volumes / "b.mha", tmp_path / "out")
        names = sorted(p.name for p in (tmp_path / "out" / "labels").iterdir())
        assert names == ["a.nii.gz", "b.mha"]

    def test_outputs_do_not_cover_inputs(self, volumes: Path) -> None:
        with pytest.raises(ConfigError, match="contains the input"):
            predict(volumes / "a.nii.gz", volumes)

    def test_results_inside_the_folder_are_no_input(self, volumes: Path) -> None:
        predict(volumes, volumes / "out", label_format=".nii.gz")
        again = volume_cases(volumes, volumes / "out")
        assert [c.path.name for c in again] == ["a.nii.gz", "b.mha", "c.nrrd"]

    def test_label_volumes_among_images_are_told(
        self, volumes: Path, tmp_path: Path, caplog: Any
    ) -> None:
        array = (noise((4, 5, 6)) > 0).astype(np.uint8)
        write_volume(volumes / "a_seg.nii.gz", Volume(array))
        with caplog.at_level(logging.WARNING):
            predict(volumes, tmp_path / "out")
        assert "1 of 4 volumes hold only a few integers" in caplog.text
        assert "a_seg.nii.gz" in caplog.text

    def test_nan_is_told_once(self, tmp_path: Path, caplog: Any) -> None:
        array = noise((4, 5, 6)).astype(np.float32)
        array[1, 2, 3] = np.nan
        write_volume(tmp_path / "a.mha", Volume(array))
        predict(tmp_path / "a.mha", tmp_path / "out", previews=["png"], slices=True)
        assert caplog.text.count("NaN or infinite") == 1

    def test_files_that_are_no_volumes_are_told(
        self, volumes: Path, tmp_path: Path, caplog: Any
    ) -> None:
        write_volume(volumes / "d.mhd", Volume(noise((4, 5, 6))))
        for name in ("scan.hdr", "scan.img", ".hidden"):
            (volumes / name).touch()
        with caplog.at_level(logging.INFO, logger="flexseg"):
            cases = volume_cases(volumes, volumes / "out")
        assert len(cases) == 4
        assert "left out, as these are not volumes: 2 files (scan.hdr, scan.img)" in caplog.text

    def test_raw_values_are_told(self, volumes: Path, tmp_path: Path, caplog: Any) -> None:
        predict(volumes, tmp_path / "out", intensity=None)
        assert "3 of 3 volumes have values from -" in caplog.text
        caplog.clear()
        predict(volumes, tmp_path / "normalized", intensity=None, slice_normalize=True)
        predict(volumes, tmp_path / "windowed")
        assert not caplog.text

    def test_order_of_formats_that_the_originals_do_not_read(
        self, volumes: Path, tmp_path: Path, caplog: Any
    ) -> None:
        predict(volumes, tmp_path / "out", slice_shape_order="hwd")
        assert "1 of 3 volumes are of formats" in caplog.text
        assert "c.nrrd" in caplog.text


@pytest.mark.parametrize(
    ("values", "alike"),
    [([0, 1, 2], True), ([0, 1, 1.5], False), ([1, 2], False), ([0], False), ([0, 700], False)],
)
def test_what_looks_like_labels(values: list[float], alike: bool) -> None:
    array = np.resize(np.array(values, np.float32), (3, 4, 5))
    assert looks_like_labels(array) == alike


class TestConfig:
    @pytest.fixture
    def write(self, tmp_path: Path) -> Any:
        def make(text: str, name: str = "c.config") -> Path:
            path = tmp_path / name
            path.write_text(text)
            return path

        return make

    def test_old_configs_have_the_originals_defaults(self, write: Any, tmp_path: Path) -> None:
        config = load(write('[infer3d]\nimages_dir = "x"\n')).experiment.infer3d
        assert config.slice_shape_order == "hwd"
        assert config.slice_normalize
        assert config.slice_resize == (512, 512)
        assert config.quarter_turns == 1
        assert config.slices
        assert config.video_dir == tmp_path / "video_3d"
        assert config.video_fileformat == ".mp4"

    def test_old_configs_may_take_the_new_way(self, write: Any) -> None:
        path = write('[infer3d]\nimages_dir = "x"\nslice_shape_order = None\n')
        config = load(path, ["infer3d.average_axes=True"]).experiment.infer3d
        assert config.slice_resize is None
        assert not config.slices
        assert config.video_dir is None
        assert config.average_axes

    def test_the_command_line_leaves_the_ways_of_old_configs(self, write: Any) -> None:
        path = write('[infer3d]\nimages_dir = "x"\nslice_resize = (64, 64)\nvideo_dir = "v"\n')
        loaded = load(path, ["infer3d.slice_shape_order=None"])
        assert any(f.code == "unused-infer3d" for f in loaded.findings)
        new = loaded.experiment.infer3d
        assert (new.slice_shape_order, new.slice_resize) == (None, None)
        assert new.slices and new.video_dir is not None  # as the file asks for videos
        without = load(path, ["infer3d.video_dir=None", "infer3d.slices=False"]).experiment.infer3d
        assert (without.slice_resize, without.video_dir) == ((64, 64), None)
        path = write('[infer3d]\nimages_dir = "x"\nslices = False\n')
        assert load(path).experiment.infer3d.video_dir is None
        with pytest.raises(ConfigError, match="slice_resize without slice_shape_order"):
            load(path, ["infer3d.slice_shape_order=None", "infer3d.slice_resize=(8, 8)"])

    def test_new_configs_take_the_new_way(self, write: Any) -> None:
        config = load(write('[infer3d]\nimages_dir = "x"\n', "c.toml")).experiment.infer3d
        assert config.slice_shape_order is None
        assert not config.slice_normalize
        assert config.slice_resize is None

    @pytest.mark.parametrize(
        ("keys", "text"),
        [
            ("slice_resize = [64, 64]", "slice_resize without slice_shape_order"),
            ('slice_shape_order = "hwd"\naverage_axes = true', "only one of them"),
            ('slice_rotation = "cv2.ROTATE_45"', "ROTATE_90_CLOCKWISE"),
            ('video_dir = "v"', "slices = true"),
            ('slice_shape_order = "dhw"\nslice_resize = 64\ntiled = true', "keep their size"),
        ],
    )
    def test_contradictions(self, write: Any, keys: str, text: str) -> None:
        with pytest.raises(ConfigError, match=text):
            load(write(f"[infer3d]\n{keys}\n", "c.toml"))

    def test_inputs_do_not_lie_in_outputs(self, write: Any) -> None:
        with pytest.raises(ConfigError, match=r"\[infer3d\] output_dir"):
            load(write('[infer3d]\nimages_dir = "p/x"\noutput_dir = "p"\n', "c.toml"))


class TestCommands:
    @pytest.fixture
    def config(self, tmp_path: Path, monkeypatch: Any) -> Path:
        predictor = copying(SIZE, intensity=WINDOW)
        monkeypatch.setattr("flexseg.inference.configured.make_predictor", lambda loaded: predictor)
        path = tmp_path / "c.toml"
        path.write_text('[infer3d]\nimages_dir = "volumes"\npreviews = []\n')
        return path

    def run(self, *arguments: object) -> int:
        with pytest.raises(SystemExit) as stop:
            main([str(a) for a in arguments])
        return int(stop.value.code or 0)

    @pytest.mark.parametrize("command", ["infer", "infer3d"])
    def test_volumes(
        self, config: Path, volumes: Path, tmp_path: Path, command: str, capsys: Any
    ) -> None:
        for source, name in ((volumes, "b.mha"), (volumes / "c.nrrd", "c.nrrd")):
            out = tmp_path / f"out_{name}"
            assert self.run(command, config, "-i", source, "-o", out) == 0
            labels = read_labels(out / "labels" / name)
            np.testing.assert_array_equal(labels.array, read_volume(volumes / name).array > 0)
        assert "3 volumes predicted." in capsys.readouterr().out

    def test_channel_and_failures(
        self, config: Path, volumes: Path, tmp_path: Path, capsys: Any
    ) -> None:
        array = np.stack([noise((4, 5, 6), i) for i in range(2)], axis=-1)
        write_volume(volumes / "two.nrrd", Volume(array))
        out = tmp_path / "out"
        assert self.run("infer3d", config, "-i", volumes / "two.nrrd", "-o", out) == 3
        assert "--channel, 0 to 1" in capsys.readouterr().err
        assert self.run("infer3d", config, "-i", volumes, "-o", out, "--channel", 1) == 3
        said = capsys.readouterr()
        assert "1 volume predicted." in said.out
        assert said.err.count("Channel 1 does not exist") == 3
        labels = read_labels(out / "labels" / "two.nrrd")
        np.testing.assert_array_equal(labels.array, array[..., 1] > 0)

    def test_series(self, config: Path, shared: Path, tmp_path: Path, capsys: Any) -> None:
        folder = shared / "data" / "dicom" / "hippo_study1"
        arguments = ("infer3d", config, "-i", folder, "-o", tmp_path / "out", "--series", "no such")
        assert self.run(*arguments) == 3
        assert "matches 'no such'" in capsys.readouterr().err
