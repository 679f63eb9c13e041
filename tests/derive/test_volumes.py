"""Datasets of volumes: slices restack to the labels, nothing is lost, what is left out is told."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from config_parts import labels_of, preprocessing_of
from flexseg.batches.store import CaseReader
from flexseg.checking.audit import audit
from flexseg.config import Severity, load
from flexseg.dataset.cases import pair
from flexseg.dataset.ignored.pixels import IgnoredPixels
from flexseg.dataset.reading import Dataset
from flexseg.dataset.volumetric.pairing import pair_volumes, slice_name
from flexseg.derive.class_options import parse_labels
from flexseg.derive.dataset_writer import Derived
from flexseg.derive.volumes import VolumeOptions, derive_volumes
from flexseg.errors import ConfigError, DataError
from flexseg.files.images import read_image, read_mask
from flexseg.files.intensity import Intensity
from flexseg.files.preprocess import Preprocessing
from flexseg.files.volumes.file_formats.arrays import write_hdf5
from flexseg.files.volumes.geometry import GeometryRule
from flexseg.files.volumes.read import read_volume
from flexseg.files.volumes.slices import (
    AXES,
    SliceAxis,
    parse_axes,
    slice_axes,
    stack_neighbours,
    volume_intensity,
)
from flexseg.files.volumes.volume import Volume
from flexseg.planning.initialize import initialize


def write_volume(path: Path, array: NDArray, order: str = "LPS") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((0.5, 0.75, 3))
    sitk.WriteImage(sitk.DICOMOrient(image, order), str(path))


def a_label(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """One object, with background around it."""
    label = np.zeros(shape, np.uint8)
    label[1:-1, 2:-2, 2:-2] = 1
    return label


def write_volumes(folder: Path, count: int = 2, values: tuple[int, ...] = (1, 2)) -> None:
    """`images/v<i>.nii.gz` and `labels/v<i>.nii.gz`, with the first and last slices empty."""
    rng = np.random.default_rng(0)
    for i in range(count):
        image = rng.integers(0, 1000, (8, 20 + i, 24)).astype(np.int16)
        labels = np.zeros(image.shape, np.uint8)
        for j, value in enumerate(values):
            labels[2:6, 3:9, 4 + 8 * j : 9 + 8 * j] = value
        write_volume(folder / "images" / f"v{i}.nii.gz", image, "RAS")
        write_volume(folder / "labels" / f"v{i}.nii.gz", labels, "RAS")


def derive(folder: Path, output: str = "out", **options: Any) -> Derived:
    return derive_volumes(
        folder / "images", folder / "labels", folder / output, VolumeOptions(**options)
    )


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "manifest.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def restack(folder: Path, volume: str, kind: str = "masks") -> NDArray:
    paths = [folder / row["mask" if kind == "masks" else "image"]
             for row in rows_of(folder) if row["volume"] == volume]  # fmt: skip
    if kind == "masks":
        return np.stack([read_mask(path).pixels for path in paths])
    return np.stack([read_image(path)[..., 0] for path in paths])


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("rotate", [0, 90])
def test_slices_restack_to_the_labels(tmp_path: Path, axis: str, rotate: int) -> None:
    write_volumes(tmp_path)
    cut = SliceAxis(axis, rotate)
    derived = derive(tmp_path, axes=(cut,))
    stored = read_volume(tmp_path / "labels" / "v1.nii.gz")
    expected = cut.slice_view(stored.array, stored.orientation)
    np.testing.assert_array_equal(restack(tmp_path / "out", "v1"), expected)
    assert [c.name for c in derived.classes] == ["background", "label 1", "label 2"]
    first = rows_of(tmp_path / "out")[0]
    assert first["image"] == "images/v0_0000.png"
    spacing = [float(first[f"{key}_spacing_mm"]) for key in ("row", "column", "slice")]
    assert spacing == pytest.approx(cut.spacing(stored))


@settings(max_examples=15, deadline=None)
@given(
    data=st.data(),
    size=st.tuples(*[st.integers(1, 9)] * 3).filter(lambda size: math.prod(size) > 1),
    order=st.sampled_from(["LPS", "RAS", "PSR", "IAL"]),
    axis=st.sampled_from(AXES),
    mask_colors=st.booleans(),
)
def test_any_label_set_survives(
    tmp_path_factory: pytest.TempPathFactory,
    data: st.DataObject,
    size: tuple[int, int, int],
    order: str,
    axis: str,
    mask_colors: bool,
) -> None:
    folder = tmp_path_factory.mktemp("v")
    values = data.draw(st.lists(st.integers(1, 3000), min_size=1, max_size=6, unique=True))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    labels = rng.choice([0, *values], size).astype(np.int16)
    labels.flat[0], labels.flat[-1] = values[0], 0
    write_volume(folder / "images" / "a.nii", rng.normal(0, 9, size).astype(np.float32), order)
    write_volume(folder / "labels" / "a.nii", labels, order)
    cut = SliceAxis(axis)
    derived = derive(folder, axes=(cut,), mask_colors=mask_colors)
    keys = {c.colors[0] if mask_colors else c.id: (c.values or (0,))[0] for c in derived.classes}
    masks = restack(folder / "out", "a")
    if mask_colors:
        back = np.zeros(masks.shape[:3], int)
        for color, value in keys.items():
            back[(masks == color).all(axis=-1)] = value
    else:
        back = np.vectorize(keys.get)(masks)
    stored = read_volume(folder / "labels" / "a.nii")
    np.testing.assert_array_equal(back, cut.slice_view(stored.array, stored.orientation))


def test_hippocampus_restacks_exactly(shared: Path, tmp_path: Path) -> None:
    source = shared / "data" / "hippocampus"
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
    names = ["hippocampus_004.nii.gz", "hippocampus_243.nii.gz"]  # labels as uint8, as float32
    for kind in ("images", "masks"):
        for name in names:
            (tmp_path / kind / name).write_bytes((source / kind / name).read_bytes())
    derive_volumes(tmp_path / "images", tmp_path / "masks", tmp_path / "out")
    for name in names:
        stored = read_volume(source / "masks" / name).oriented("LPS")
        np.testing.assert_array_equal(
            restack(tmp_path / "out", name.removesuffix(".nii.gz")), stored.array
        )


def test_a_dicom_series_with_a_nifti_label(shared: Path, tmp_path: Path) -> None:
    series = shared / "data" / "dicom" / "hippo_study2"
    image = read_volume(series)
    label = (image.array > 150).astype(np.uint8)
    stored = image.with_array(label).image()
    sitk.WriteImage(sitk.DICOMOrient(stored, "RAS"), str(tmp_path / "seg.nii.gz"))
    options = VolumeOptions(intensity=Intensity("none"), bits=16)
    derived = derive_volumes(series, tmp_path / "seg.nii.gz", tmp_path / "out", options)
    assert derived.cases == 35
    np.testing.assert_array_equal(restack(tmp_path / "out", "hippo_study2"), label)
    np.testing.assert_array_equal(restack(tmp_path / "out", "hippo_study2", "images"), image.array)


def test_datasets_of_hdf5_files_are_named(tmp_path: Path) -> None:
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
    label = np.arange(24, dtype=np.uint8).reshape(2, 3, 4) % 3
    write_hdf5(tmp_path / "images" / "a.h5", Volume(label * 100), "scan")
    write_hdf5(tmp_path / "masks" / "a.h5", Volume(label), "organ")
    options = VolumeOptions(intensity=Intensity("none"), key="scan", label_key="organ")
    derive_volumes(tmp_path / "images", tmp_path / "masks", tmp_path / "out", options)
    np.testing.assert_array_equal(restack(tmp_path / "out", "a"), label)
    np.testing.assert_array_equal(restack(tmp_path / "out", "a", "images"), label * 100)
    with pytest.raises(DataError, match=r"'image' does not exist. Found: organ \[2, 3, 4\]"):
        derive_volumes(tmp_path / "images", tmp_path / "masks", tmp_path / "out2")


@pytest.mark.parametrize("mask_colors", [False, True])
@pytest.mark.parametrize("bits", [8, 16])
def test_init_and_check_accept_what_was_derived(
    tmp_path: Path, mask_colors: bool, bits: int
) -> None:
    write_volumes(tmp_path, count=6, values=(1, 2, 7))
    derived = derive(tmp_path, mask_colors=mask_colors, bits=bits)
    config = initialize(derived.output, tmp_path / "project")[0]
    # The blocks of these labels lie side by side.
    report = audit(load(config, [f"dataset.group={derived.group}", "augmentation.hflip=0"]))
    assert [str(f) for f in report.findings if f.severity is not Severity.NOTE] == []
    assert report.exit_code == 0
    assert [s["cases"] for s in report.splits] == [32, 8, 8]  # volumes of 8 slices stay whole
    shares = [restack(tmp_path / "out", f"v{i}") for i in range(6)] if not mask_colors else []
    ids = {int(v) for volume in shares for v in np.unique(volume)}
    assert ids == (set() if mask_colors else {0, 1, 2, 3})
    experiment = report.loaded.experiment
    assert [c.color for c in experiment.mask.classes] == [c.colors[0] for c in derived.classes[1:]]


def test_empty_slices_are_thinned_out_and_told(tmp_path: Path) -> None:
    write_volumes(tmp_path)  # slices 2 to 5 of 8 have labels in file order
    everything = derive(tmp_path, "all", axes=(SliceAxis("2"),))
    assert (everything.cases, everything.empty) == (16, 8)
    third = derive(tmp_path, "third", axes=(SliceAxis("2"),), empty_every=3)
    assert (third.cases, third.empty) == (12, 4)
    assert [int(row["slice"]) for row in rows_of(third.output)][:6] == [0, 2, 3, 4, 5, 7]
    assert "4 slices without labels were left out (--empty-every)." in third.notes
    none = derive(tmp_path, "none", empty_every=0)
    assert (none.cases, none.empty) == (8, 0)
    assert all(row["classes"] == "1 2" for row in rows_of(none.output))
    assert len(list((none.output / "masks").iterdir())) == 8


def test_windows_and_bits(tmp_path: Path) -> None:
    array = np.array([[[-1000, -160, 44, 240, 3000]]], np.int16)
    write_volume(tmp_path / "images" / "a.nii", array)
    write_volume(tmp_path / "labels" / "a.nii", (array > -1000).astype(np.uint8))
    derive(tmp_path, intensity=Intensity.parse("abdomen"))
    assert restack(tmp_path / "out", "a", "images").ravel().tolist() == [0, 0, 130, 255, 255]
    assert float(rows_of(tmp_path / "out")[0]["black"]) == -160
    wide = derive(tmp_path, intensity=Intensity.parse("abdomen"), bits=16)
    assert restack(wide.output, "a", "images").ravel().tolist() == [0, 0, 33423, 65535, 65535]
    with Image.open(wide.output / "images" / "a_0000.png") as image:
        assert image.mode == "I;16"
    assert not any("Hounsfield" in note for note in wide.notes)
    guessed = derive(tmp_path)
    assert any("look like CT in Hounsfield units" in note for note in guessed.notes)


def test_classes_are_named_merged_and_chosen(tmp_path: Path) -> None:
    write_volumes(tmp_path, values=(1, 4))
    merged = derive(tmp_path, labels=parse_labels(["1,4=organ"]))
    assert set(np.unique(restack(merged.output, "v0"))) == {0, 1}
    chosen = derive(tmp_path, labels=parse_labels(["4=tumour", "9=cyst"]))
    assert set(np.unique(restack(chosen.output, "v0"))) == {0, 1}
    assert (restack(chosen.output, "v0") == 1).sum() == 4 * 6 * 5
    assert any("1 (240 voxels)" in n and "background" in n for n in chosen.notes)
    assert any("occur in no volume (1): cyst" in n for n in chosen.notes)
    described = json.loads((chosen.output / "dataset.json").read_text(encoding="utf-8"))
    assert [c["name"] for c in described["classes"]] == ["background", "tumour", "cyst"]
    assert described["parameters"]["axis"] == "axial"


def test_labels_without_background_are_refused(tmp_path: Path) -> None:
    write_volumes(tmp_path, count=3)
    for path in (tmp_path / "labels").iterdir():
        labels = sitk.ReadImage(str(path))
        sitk.WriteImage(labels + 1, str(path))
    for command in (lambda: derive(tmp_path), lambda: Dataset.open(tmp_path)):
        with pytest.raises(
            DataError, match=r"no background at all.* are 1 \(values: 1, 2, 3\)"
        ) as e:
            command()
        assert "--label 1=background" in e.value.fix
    with pytest.raises(DataError, match="no background at all"):
        derive(tmp_path, labels=parse_labels(["1=organ", "2=left", "3=right"]))
    named = derive(tmp_path, labels=parse_labels(["1=background", "2=left", "3=right"]))
    assert (restack(named.output, "v0") == 1).sum() == 4 * 6 * 5


def test_classes_are_called_as_the_dataset_calls_them(tmp_path: Path) -> None:
    write_volumes(tmp_path)
    names = {"labels": {"0": "background", "1": "liver", "2": "tumour"}}
    (tmp_path / "dataset.json").write_text(json.dumps(names))
    assert [c.name for c in derive(tmp_path).classes[1:]] == ["liver", "tumour"]


def test_folder_per_patient_and_several_sequences(tmp_path: Path) -> None:
    """The layout of the Mendeley MS set."""
    rng = np.random.default_rng(0)
    for i in (1, 2, 10):
        for name in ("Flair", "T2", "LesionSeg-Flair", "LesionSeg-T2"):
            values = rng.integers(0, 2, (3, 8, 8)).astype(np.uint8)
            write_volume(tmp_path / f"Patient-{i}" / f"{i}-{name}.nii", values)
    pairs = pair_volumes(
        tmp_path, tmp_path, "Patient-{id}/{id}-T2", "Patient-{id}/{id}-LesionSeg-T2.nii"
    )
    assert [(p.id, p.image.name, p.label.name) for p in pairs.pairs] == [
        ("1", "1-T2.nii", "1-LesionSeg-T2.nii"),
        ("10", "10-T2.nii", "10-LesionSeg-T2.nii"),
        ("2", "2-T2.nii", "2-LesionSeg-T2.nii"),
    ]
    derived = derive_volumes(
        tmp_path,
        tmp_path,
        tmp_path / "out",
        image_name="Patient-{id}/{id}-T2",
        label_name="Patient-{id}/{id}-LesionSeg-T2",
    )
    assert derived.cases == 9
    assert rows_of(derived.output)[0]["source_mask"] == "Patient-1/1-LesionSeg-T2.nii"


def test_volumes_without_partner_are_listed(tmp_path: Path) -> None:
    write_volumes(tmp_path, count=3)
    (tmp_path / "labels" / "v1.nii.gz").rename(tmp_path / "labels" / "x.nii.gz")
    (tmp_path / "images" / "._v0.nii.gz").write_bytes(b"what macOS leaves behind")
    derived = derive(tmp_path)
    assert "Volumes without labels were left out (1): v1.nii.gz." in derived.notes
    assert "Labels without a volume were left out (1): x." in derived.notes
    with pytest.raises(DataError, match="labels are one volume, but the images are a folder"):
        pair_volumes(tmp_path / "images", tmp_path / "labels" / "x.nii.gz")
    for name, path in zip("abc", sorted((tmp_path / "labels").iterdir()), strict=True):
        path.rename(path.with_name(f"{name}.nii.gz"))
    with pytest.raises(DataError, match="No volume has labels") as error:
        derive(tmp_path)
    assert "--label-name" in error.value.fix


def test_patients_of_several_volumes(tmp_path: Path) -> None:
    for name in ("p1_a", "p1_b", "p2_a"):
        write_volume(tmp_path / "images" / f"{name}.nii", np.ones((2, 4, 4), np.uint8))
        write_volume(tmp_path / "labels" / f"{name}.nii", np.stack([np.eye(4, dtype=np.uint8)] * 2))
    derived = derive(tmp_path, patient=r"^(p\d+)_")
    assert [r["patient"] for r in rows_of(derived.output)] == ["p1"] * 4 + ["p2"] * 2
    assert derived.group == r"^(p\d+)_"
    with pytest.raises(ConfigError, match="finds nothing in 3 of 3 names"):
        derive(tmp_path, patient=r"^(q\d+)_")
    with pytest.raises(ConfigError, match="not a regular expression"):
        derive(tmp_path, patient="(")


def test_grids_that_differ(tmp_path: Path) -> None:
    write_volumes(tmp_path)
    for i in (0, 1):
        path = tmp_path / "labels" / f"v{i}.nii.gz"
        label = sitk.ReadImage(str(path))
        label.SetSpacing((1, 1, 1))
        label.SetDirection((1, 0, 0, 0, 1, 0, 0, 0, 1))
        sitk.WriteImage(label, str(path))
    stored = [read_volume(tmp_path / "labels" / f"v{i}.nii.gz").array for i in (0, 1)]
    with pytest.raises(DataError, match="2 files are wrong") as error:
        derive(tmp_path)
    assert "v0.nii.gz" in error.value.problem
    assert "v1.nii.gz" in error.value.problem
    assert not (tmp_path / "out").exists()
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []
    derive(tmp_path, geometry=GeometryRule.VOXELS, axes=(SliceAxis("2"),))
    np.testing.assert_array_equal(restack(tmp_path / "out", "v0"), stored[0])
    # The orientation is that of the image: RAS in the file is flipped for axial slices.
    axial = derive(tmp_path, "axial", geometry=GeometryRule.VOXELS)
    np.testing.assert_array_equal(restack(axial.output, "v0"), stored[0][:, ::-1, ::-1])


def test_labels_on_a_smaller_grid_are_carried_over(tmp_path: Path) -> None:
    write_volumes(tmp_path)
    for i in (0, 1):
        path = tmp_path / "labels" / f"v{i}.nii.gz"
        label = sitk.ReadImage(str(path))
        sitk.WriteImage(label[:, :, 1:7], str(path))
    with pytest.raises(DataError, match=r"size 24 x 20 x 6 \(image: 24 x 20 x 8"):
        derive(tmp_path)
    resampled = derive(
        tmp_path, "resampled", geometry=GeometryRule.RESAMPLE, axes=(SliceAxis("2"),)
    )
    assert any("resampled" in note and "v0, v1" in note for note in resampled.notes)
    masks = restack(resampled.output, "v0")
    assert [int((m > 0).sum()) for m in masks] == [0, 0, 60, 60, 60, 60, 0, 0]


def test_images_given_as_labels(tmp_path: Path) -> None:
    write_volumes(tmp_path)
    with pytest.raises(DataError, match="different values, as images do"):
        derive_volumes(tmp_path / "labels", tmp_path / "images", tmp_path / "out")
    write_volume(tmp_path / "labels" / "v0.nii.gz", np.zeros((8, 20, 24), np.uint8), "RAS")
    write_volume(tmp_path / "labels" / "v1.nii.gz", np.zeros((8, 21, 24), np.uint8), "RAS")
    with pytest.raises(DataError, match="No label volume has any label"):
        derive(tmp_path)


def test_earlier_datasets_move_aside_and_inputs_are_safe(tmp_path: Path) -> None:
    write_volumes(tmp_path)
    derive(tmp_path)
    (tmp_path / "out" / "mine.txt").write_text("notes")
    derive(tmp_path, empty_every=0)
    (backup,) = tmp_path.glob("out_*_bak")
    assert (backup / "mine.txt").read_text() == "notes"
    assert not (tmp_path / "out" / "mine.txt").exists()
    for output in (tmp_path, tmp_path / "images"):
        with pytest.raises(ConfigError, match="contains the input"):
            derive_volumes(tmp_path / "images", tmp_path / "labels", output)
    assert len(list((tmp_path / "images").iterdir())) == 2


def test_progress_goes_over_labels_and_volumes(tmp_path: Path) -> None:
    write_volumes(tmp_path)
    seen: list[tuple[int, int]] = []
    derive_volumes(
        tmp_path / "images",
        tmp_path / "labels",
        tmp_path / "out",
        on_done=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def network_inputs(
    path: Path, preprocessing: Preprocessing, axis: SliceAxis
) -> Iterator[NDArray[np.float32] | NDArray[np.uint8]]:
    """What a network sees of the slices of a volume, without files in between."""
    volume = read_volume(path)
    grey = volume_intensity(volume, preprocessing)
    slices = axis.slice_view(volume.array, volume.orientation)
    for i in range(len(slices)):
        stack = stack_neighbours(slices, i, preprocessing.neighbours)
        yield preprocessing.image(grey(stack), str(path))


@settings(max_examples=20, deadline=None)
@given(
    order=st.sampled_from(["LPS", "RAS", "PSR", "IAL"]),
    axes=st.sampled_from(["axial", "sagittal", "1", "coronal,axial", "all"]),
    rotate=st.sampled_from([0, 90, 180, 270]),
    window=st.sampled_from(["lung", "1/3.3", "percentile:2,90", "zscore:1.7", "full"]),
    bits=st.sampled_from([8, 16]),
    neighbours=st.sampled_from([0, 1, 3]),
    sample=st.sampled_from([50, 10**6]),
    dtype=st.sampled_from([np.int16, np.float32, np.float64]),
)
def test_volumes_give_the_network_what_their_slices_gave_it(
    tmp_path_factory: pytest.TempPathFactory,
    order: str,
    axes: str,
    rotate: int,
    window: str,
    bits: int,
    neighbours: int,
    sample: int,
    dtype: type,
) -> None:
    """Bit for bit, with nothing but the config that `init` writes for the slices."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("flexseg.files.intensity._SAMPLE", sample)
        check_network_inputs(
            tmp_path_factory.mktemp("v"), order, axes, rotate, window, bits, neighbours, dtype
        )


def check_network_inputs(
    folder: Path,
    order: str,
    axes: str,
    rotate: int,
    window: str,
    bits: int,
    neighbours: int,
    dtype: type,
) -> None:
    rng = np.random.default_rng(0)
    for i in range(3):
        array: NDArray = rng.normal(-300, 800, (5, 9 + i, 7)).astype(dtype)
        if dtype is np.float32:
            array[1, 2, 3], array[0, 0, 0] = np.nan, np.inf
        write_volume(folder / "images" / f"v{i}.nrrd", array, order)
        write_volume(folder / "labels" / f"v{i}.nrrd", a_label(array.shape), order)
    cuts = tuple(SliceAxis(name, rotate) for name in parse_axes(axes))
    derive(folder, axes=cuts, intensity=Intensity.parse(window), bits=bits)
    config = initialize(folder / "out", folder / "project", size=32, neighbours=neighbours)[0]
    experiment = load(config, strict=True).experiment
    preprocessing = preprocessing_of(experiment)
    assert slice_axes(preprocessing) == cuts
    reader = CaseReader(preprocessing, labels_of(experiment))
    cases = {c.id: c for c in pair(folder / "out" / "images", folder / "out" / "masks").cases}
    seen_of_v1 = []
    for cut in cuts:
        inputs = network_inputs(folder / "images" / "v1.nrrd", preprocessing, cut)
        for i, pixels in enumerate(inputs):
            name = slice_name("v1", cut, i, cuts)
            seen = reader.model_size(cases[name])[0]
            assert seen.dtype == pixels.dtype
            np.testing.assert_array_equal(seen, pixels)
            seen_of_v1.append(name)
    assert set(seen_of_v1) == {name for name in cases if name.startswith("v1_")}


def test_values_as_stored_reach_the_network_as_stored(tmp_path: Path) -> None:
    """`--window none` with the window in [image], on 16 bits."""
    array = np.random.default_rng(0).integers(0, 3000, (6, 20, 24)).astype(np.int32)
    for number, name in enumerate("abc"):
        write_volume(tmp_path / "images" / f"{name}.mha", array + number)
        write_volume(tmp_path / "labels" / f"{name}.mha", a_label(array.shape))
    derive(tmp_path, intensity=Intensity.parse("none"), bits=16)
    config = initialize(tmp_path / "out", tmp_path / "project", size=32)[0]
    loaded = load(config, ["image.window=[100, 2000]"])
    preprocessing = preprocessing_of(loaded.experiment)
    assert (preprocessing.intensity, preprocessing.bits) == ("none", 16)
    inputs = network_inputs(tmp_path / "images" / "a.mha", preprocessing, SliceAxis("axial"))
    for i, pixels in enumerate(inputs):
        stored = read_image(tmp_path / "out" / "images" / f"a_{i:04d}.png")
        np.testing.assert_array_equal(stored[..., 0], array[i])
        np.testing.assert_array_equal(preprocessing.image(stored), pixels)
    raw = replace(preprocessing, intensity=None)
    inputs = network_inputs(tmp_path / "images" / "a.mha", raw, SliceAxis("axial"))
    np.testing.assert_array_equal(next(inputs), raw.image(array[0, ..., None]))


def test_several_axes_in_one_dataset(tmp_path: Path) -> None:
    write_volumes(tmp_path)
    cuts = tuple(SliceAxis(name) for name in parse_axes("all"))
    derived = derive(tmp_path, axes=cuts)
    assert derived.cases == 2 * (8 + 24) + 20 + 21
    for cut in cuts:
        stored = read_volume(tmp_path / "labels" / "v1.nii.gz")
        rows = [r for r in rows_of(derived.output) if (r["axis"], r["volume"]) == (cut.name, "v1")]
        assert rows[3]["image"] == f"images/v1_{cut.name}_0003.png"
        masks = np.stack([read_mask(derived.output / row["mask"]).pixels for row in rows])
        expected = cut.slice_view(stored.array, stored.orientation)
        np.testing.assert_array_equal(masks, expected)
        spacing = [float(rows[0][f"{key}_spacing_mm"]) for key in ("row", "column", "slice")]
        assert spacing == pytest.approx(cut.spacing(stored))
    cases = pair(derived.output / "images", derived.output / "masks", group=derived.group).cases
    assert {case.group for case in cases} == {"v0", "v1"}
    assert set(Dataset.open(derived.output).groups) == {"v0", "v1"}
    derive(tmp_path, "thin", axes=cuts, empty_every=0)
    rows = rows_of(tmp_path / "thin")
    assert {row["axis"] for row in rows if row["classes"]} == {cut.name for cut in cuts}
    assert all(row["classes"] for row in rows)


def test_ignored_values(tmp_path: Path) -> None:
    labels = np.zeros((2, 8, 8), np.uint8)
    labels[:, 1:4, 1:4], labels[:, 5:7, 1:4] = 1, 7
    for name, array in (("i", labels * np.int16(9)), ("l", labels)):
        write_volume(tmp_path / name / "a.nii.gz", array)
    options = VolumeOptions(ignored=IgnoredPixels.of([7]))
    derived = derive_volumes(tmp_path / "i", tmp_path / "l", tmp_path / "n", options)
    assert [c.name for c in derived.classes[1:]] == ["label 1"]
    written = read_mask(tmp_path / "n" / "masks" / "a_0000.png").pixels
    assert (written[::-1] == 255).sum() == 6 and written.max() == 255
