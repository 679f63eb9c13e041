"""The generators of inputs beside the project, with the commands in their heads."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from unicodedata import normalize

import cv2
import numpy as np
import pytest
from asking import Asking, assert_labels
from numpy.typing import NDArray

from flexseg.config import load
from flexseg.files.images import read_image, read_mask
from flexseg.files.volumes.read import read_volume
from flexseg.inference.image_files import find_images, infer_images
from flexseg.inference.results.image_outputs import Targets
from flexseg.inference.volumes.volume_sources import holds_volumes
from volume_models import copying, predict

Make = Callable[..., Path]
IMAGES = ("images", "masks")


@pytest.fixture
def make(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Runs a generator by the number it begins with; returns the folder that it fills."""

    def run(number: str, *arguments: str) -> Path:
        (script,) = (shared / "cases").glob(f"{number}_*.py")
        folder = tmp_path / number
        monkeypatch.setattr(sys, "argv", [str(script), str(folder), *arguments])
        monkeypatch.setattr(sys, "path", [*sys.path])
        runpy.run_path(str(script))
        return folder

    return run


@pytest.fixture
def scene(shared: Path) -> Callable[..., tuple[NDArray, NDArray]]:
    """The generators' image [h, w, 3] of one bright object, and its mask [h, w]."""
    return runpy.run_path(str(shared / "cases" / "common.py"))["scene"]


def test_orientation_of_tiff(make: Make, scene: Callable, ask: Asking) -> None:
    folder = make("02")
    right = {f"p{i}": scene(i, 72, 72) for i in range(8)}
    for answer in ask.images(folder).values():
        assert_labels(answer, {name: mask for name, (_, mask) in right.items()})
        for name, (image, _) in right.items():
            np.testing.assert_array_equal(answer.cases[name].image, image)


@pytest.mark.parametrize("kind", ["white", "black", "red"])
def test_masks_in_transparency(kind: str, make: Make, scene: Callable, ask: Asking) -> None:
    folder = make("04", kind)
    for answer in ask.images(folder).values():
        assert_labels(answer, {f"p{i}": scene(i)[1] for i in range(8)})
        assert "transparent parts" in answer.said


def test_names_of_two_systems(make: Make, scene: Callable, ask: Asking) -> None:
    folder = make("05")
    names = [f"Müller_Größe_{i}" if i % 2 else f"plain_{i}" for i in range(8)]
    for answer in ask.images(folder).values():
        found = {normalize("NFC", name): labels for name, labels in answer.labels.items()}
        assert found.keys() == {*names}
        for i, name in enumerate(names):
            np.testing.assert_array_equal(found[name], scene(i)[1])


def test_breast_ultrasound(make: Make, scene: Callable, ask: Asking) -> None:
    folder = make("06")
    right = {}
    for seed, (name, count) in enumerate((("benign", 5), ("malignant", 4), ("normal", 3)), 1):
        for i in range(1, count + 1):
            mask = scene(i, seed=seed)[1] & (name != "normal")
            if name == "benign" and i in (2, 4):
                mask[-12:-4, -14:-4] = True
            right[f"{name}_{name} ({i})"] = mask
    assert_labels(ask.folders(folder, folder), right)
    for refused in (ask.init(folder), ask.plan(folder)):
        assert refused.code == 3
        assert "flexseg derive folders" in refused.said


def test_gif_and_fields_of_view(make: Make, scene: Callable, ask: Asking) -> None:
    folder = make("08")
    right = {f"{i}_training": scene(i)[1] for i in range(21, 29)}
    places = (folder / "training" / "images", folder / "training" / "1st_manual")
    names = ("--image-name", "{id}_training", "--mask-name", "{id}_manual1")
    derived = ask.folders(*places, *names)
    assert_labels(derived, {name.removesuffix("_training"): m for name, m in right.items()})
    for command in (ask.init, ask.plan):
        asked = command(folder)
        assert asked.code == 3
        assert "--masks 1st_manual" in asked.said
        assert_labels(command(folder, "--masks", "1st_manual"), right)


def test_void(make: Make, scene: Callable, ask: Asking) -> None:
    folder = make("09")
    right = {}
    for i in range(10):
        mask = scene(i)[1].astype(np.uint8)
        edge = cv2.dilate(mask, np.ones((3, 3))) - mask
        right[f"2007_{i:06d}"] = np.where(edge > 0, 255, mask * (1 + i % 2))
    places = (folder / "JPEGImages", folder / "SegmentationClass")
    for answer in (ask.init(folder), ask.plan(folder), ask.folders(*places)):
        assert_labels(answer, right)
        assert "void" in answer.said


@pytest.mark.parametrize("kind", ["u16", "mult256", "big"])
def test_many_objects(kind: str, make: Make, ask: Asking) -> None:
    folder = make("11", kind)
    places = np.zeros((120, 120), bool)
    number = np.zeros((120, 120), int)
    for n, (y, x) in enumerate((y, x) for y in range(2, 118, 6) for x in range(2, 118, 6)):
        number[y : y + 4, x : x + 4] = n + 1
    places = number > 0 if kind != "mult256" else (number % 2 == 0) & (number > 0)
    for answer in ask.images(folder).values():
        assert_labels(answer, {f"p{i}": places for i in range(6)})


def test_few_objects(make: Make, ask: Asking) -> None:
    folder = make("29")
    right = {}
    for i in range(14):
        cells = np.random.default_rng(i).permutation(24)[: 3 + i % 7]
        mask = np.zeros((72, 96), bool)
        for y, x in (divmod(int(cell), 6) for cell in cells):
            mask[y * 18 + 3 : y * 18 + 13, x * 16 + 3 : x * 16 + 12] = True
        right[f"c{i:02d}"] = mask
    for answer in ask.images(folder).values():
        assert_labels(answer, right)


@pytest.mark.parametrize("kind", ["disc", "thin", "box"])
def test_blended_edges(kind: str, make: Make, ask: Asking) -> None:
    folder = make("18", kind)
    stored = {
        path.stem: cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        for path in (folder / "masks").iterdir()
    }
    for answer in ask.images(folder).values():
        assert_labels(answer, {name: mask >= 128 for name, mask in stored.items()})


@pytest.mark.parametrize("kind", ["", "mul"])
def test_ids_of_another_program(kind: str, make: Make, ask: Asking) -> None:
    folder = make("19", *([kind] if kind else []))
    assert ask.run("init", folder / "data", "-o", folder / "p")[0] == 0
    _scores_fully(ask, folder)


def test_indices_of_palettes(make: Make, scene: Callable, ask: Asking) -> None:
    folder = make("20")
    right = {f"x{i}": scene(i)[1] * (1 + i % 3) for i in range(9)}
    for answer in ask.images(folder / "data").values():
        assert_labels(answer, right)
    assert ask.run("init", folder / "data", "-o", folder / "p")[0] == 0
    _scores_fully(ask, folder)


def _scores_fully(ask: Asking, folder: Path) -> None:
    masks, output = folder / "data" / "masks", folder / "scores"
    line = (folder / "p" / "flexseg.toml", "--predictions", folder / "pred", "--masks", masks)
    code, said = ask.run("evaluate", *line, "-o", output)
    assert code == 0, said
    rows = (output / "cases.csv").read_text(encoding="utf-8").splitlines()
    dice = rows[0].split(",").index("dice")
    values = [row.split(",")[dice] for row in rows[1:]]
    assert {float(value) for value in values if value} == {1.0}


@pytest.mark.parametrize("kind", ["cat_str", "both_str", "img_str", "flat", "null_seg", "ok"])
def test_ids_as_text(kind: str, make: Make, ask: Asking) -> None:
    folder = make("21")
    answer = ask.derived("coco", folder / f"{kind}.json", folder / "images")
    if kind == "null_seg":
        assert answer.code == 3
        assert "Export polygons" in answer.said
        return
    square = np.zeros((72, 96), bool)
    square[10:30, 10:30] = True
    assert len(answer.labels) == 4
    for labels in answer.labels.values():
        assert np.all(labels[square])
        assert not labels[~cv2.dilate(square.astype(np.uint8), np.ones((3, 3))).astype(bool)].any()


@pytest.mark.parametrize("dimensions", ["2d", "3d"])
def test_two_channels(dimensions: str, make: Make, scene: Callable, ask: Asking) -> None:
    folder = make("25", dimensions)
    answer = ask.plan(folder)
    assert answer.code == 0
    (config,) = ask.work.rglob("flexseg.toml")
    assert load(config).experiment.model.image_channels == 2
    if dimensions == "2d":
        assert_labels(answer, {f"c{i}": scene(i)[1] for i in range(6)})


@pytest.mark.parametrize("stored", ["npy", "npz"])
@pytest.mark.parametrize("classes", [2, 3, 4, 5])
def test_one_hot_arrays(
    classes: int, stored: str, make: Make, scene: Callable, ask: Asking
) -> None:
    folder = make("31", str(classes), stored)
    right = {}
    for i in range(8):
        mask = scene(i)[1].astype(np.uint8)
        for k in range(2, classes):
            mask[60:70, 5 * k : 5 * k + 4] = k
        right[f"c{i}"] = mask
    for answer in ask.images(folder).values():
        assert_labels(answer, right)
    assert ask.check(folder)[0] == 0


# Names of which the labels are refused, and a part of the sentence.
REFUSED = {
    "g_zero_sform": "sform cannot be used",
    "p_label_shift_0.3mm": "--geometry",
    "q_label_minus1": "save it as 255",
    "r_label_0.9882": "not integers",
}


def test_headers_of_nifti(make: Make, ask: Asking) -> None:
    folder = make("12")
    stored = np.zeros((24, 28, 10), np.uint8)
    stored[3:10, 4:12, 2:7] = 1
    stored[12:20, 15:22, 4:9] = 2
    # From the feet to the head; anterior above, and the patient's right on the left.
    right = stored[::-1, ::-1].T
    refused = {}
    for path in sorted((folder / "images").iterdir()):
        name = path.name.removesuffix(".nii.gz")
        answer = ask.derived("volumes", path, folder / "labels" / path.name)
        if answer.code:
            refused[name] = answer.said
            continue
        found = np.stack([labels for _, labels in sorted(answer.labels.items())])
        # One that is stored as 1000 and 2000 has classes 1 and 2 as well.
        np.testing.assert_array_equal(found, right, err_msg=name)
    assert refused.keys() == REFUSED.keys()
    for name, said in refused.items():
        assert REFUSED[name] in said


def test_scaled_label_volumes(make: Make, ask: Asking) -> None:
    folder = make("26")
    answer = ask.derived("volumes", folder / "images", folder / "labels")
    counts = np.bincount(np.concatenate([a.ravel() for a in answer.labels.values()]))
    assert counts[1:].tolist() == [7 * 8 * 5, 8 * 7 * 5]


def foreground(source: Path, output: Path) -> dict[str, NDArray]:
    """The label volumes that `infer3d` writes: what is above 150."""
    outcome = predict(source, output, size=(24, 28), intensity="150.5/2001", dicom_seg=False)
    assert not outcome.failed
    found = (output / "labels").glob("*.nii.gz")
    return {path.name.removesuffix(".nii.gz"): read_volume(path).array for path in found}


@pytest.mark.parametrize("number", ["13", "27"])
def test_folders_of_dicom(number: str, make: Make, tmp_path: Path) -> None:
    pytest.importorskip("pydicom")
    right = np.zeros((8, 24, 28), np.uint8)
    right[2:6, 4:12, 3:10] = 1
    pictures = {"us_rgb", "us_palette", "dx_folder", "dx_per_patient"}
    for case in sorted(make(number).iterdir()):
        if case.name in pictures:
            continue
        if case.name == "mono1":  # as it was, but for a constant
            values, plain = (read_volume(case.with_name(n)).array for n in ("mono1", "plain"))
            assert len(np.unique(values.astype(int) - plain)) == 1
            continue
        (found,) = foreground(case, tmp_path / case.name).values()
        np.testing.assert_array_equal(found, right, err_msg=case.name)


def test_dicom_images(make: Make) -> None:
    pytest.importorskip("pydicom")
    shape = np.zeros((24, 28), bool)
    shape[4:12, 3:10] = True
    for folder in (make("13") / "us_rgb", make("13") / "us_palette", make("13") / "dx_folder"):
        assert not holds_volumes(folder)
        images = find_images(folder).names
        assert len(images) == 3
        for path in images:
            pixels = read_image(path).mean(-1)
            inverse = folder.name == "us_palette"
            assert (pixels[shape].mean() > pixels[~shape].mean() + 50) != inverse
    folder = make("27") / "dx_per_patient"
    assert not holds_volumes(folder)
    assert len(find_images(folder).names) == 3


def test_a_folder_of_everything(make: Make, scene: Callable, tmp_path: Path) -> None:
    folder, output = make("16"), tmp_path / "masks"
    predictor = copying((72, 96))
    network = predictor.network
    predictor.network = lambda batch: 1.25 * network(batch)  # type: ignore[method-assign]
    outcome = infer_images(predictor, folder, Targets(output, tmp_path / "merged"))
    refused = {
        "broken_link.png", "cut.png", "stack10.tif", "stack3.tif", "text.png", "zero.png",
    }  # fmt: skip
    assert {*outcome.failed} == refused
    right = {
        path.relative_to(output).with_suffix("").as_posix(): read_mask(path).pixels
        for path in output.rglob("*.png")
    }
    mask = scene(3)[1]
    sizes = {
        "large": (720, 960), "small": (18, 24), "one_pixel": (1, 1), "strip": (3, 500),
        "odd": (71, 97),
    }  # fmt: skip
    for name, size in sizes.items():
        assert right.pop(name).shape == size
    # Dithered; of floats from 0 to 1 and of 12 in 16 bits the network was trained on none.
    for name in ("onebit", "float01", "rgb12bit_in_16"):
        assert right.pop(name).shape == mask.shape
    np.testing.assert_array_equal(right.pop("same.jpg"), mask[:, ::-1])
    assert len(right) == 25
    for name, found in right.items():
        np.testing.assert_array_equal(found, mask, err_msg=name)
