"""Datasets of folders: masks of every meaning become the same class ids."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from flexseg.checking.audit import audit
from flexseg.config import Severity, load
from flexseg.dataset.reading import Dataset
from flexseg.derive.class_options import parse_class_names, parse_colors, parse_labels
from flexseg.derive.dataset_writer import Derived
from flexseg.derive.folders import FolderOptions, derive_folders
from flexseg.derive.mask_codes import Unknown
from flexseg.errors import ConfigError, DataError
from flexseg.files.images import read_image, read_mask, write_png
from flexseg.files.intensity import Intensity
from flexseg.planning.initialize import initialize
from support import flexseg

LABELS = np.zeros((20, 30), np.uint8)
LABELS[2:8, 3:12] = 1
LABELS[10:18, 14:26] = 2


def save(path: Path, pixels: NDArray, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def write_images(folder: Path, ids: tuple[str, ...] = ("a", "b"), name: str = "{}.png") -> None:
    rng = np.random.default_rng(0)
    for i in ids:
        save(folder / name.format(i), rng.integers(0, 256, (*LABELS.shape, 3)).astype(np.uint8))


def derive(root: Path, masks: str = "masks", **options: Any) -> Derived:
    return derive_folders(root / "images", root / masks, root / "out", FolderOptions(**options))


def labels_of(root: Path, name: str = "a") -> NDArray:
    return read_mask(root / "out" / "masks" / f"{name}.png").pixels


def test_one_mask_by_name_pattern_in_the_folder_of_the_images(tmp_path: Path) -> None:
    write_images(tmp_path / "all", name="{}.jpg")
    for i in ("a", "b"):
        save(tmp_path / "all" / f"{i}_mask.png", (LABELS == 1).astype(np.uint8) * 255)
    derived = derive_folders(
        tmp_path / "all",
        tmp_path / "all",
        tmp_path / "out",
        FolderOptions(mask_name="{id}_mask.png"),
    )
    assert derived.cases == 2
    assert derived.notes == []
    assert [c.name for c in derived.classes] == ["background", "foreground"]
    np.testing.assert_array_equal(labels_of(tmp_path), LABELS == 1)
    np.testing.assert_array_equal(
        read_image(tmp_path / "out" / "images" / "a.png"), read_image(tmp_path / "all" / "a.jpg")
    )


def test_one_mask_per_class(tmp_path: Path) -> None:
    write_images(tmp_path / "images")
    save(tmp_path / "masks" / "a_liver.png", (LABELS == 1).astype(np.uint8))
    both = (LABELS > 0).astype(np.uint8) * 255
    save(tmp_path / "masks" / "a_tumour.png", both)
    save(tmp_path / "masks" / "b_liver.png", both)
    names = parse_class_names(["tumour={id}_tumour", "liver={id}_liver"])
    derived = derive(tmp_path, class_names=names)
    np.testing.assert_array_equal(labels_of(tmp_path), np.array([0, 2, 1])[LABELS])
    np.testing.assert_array_equal(labels_of(tmp_path, "b"), (LABELS > 0) * 2)
    assert derived.notes == ["54 pixels are in several classes; the class given last takes them."]


def test_one_mask_per_instance(tmp_path: Path) -> None:
    """The layout of the 2018 Data Science Bowl."""
    write_images(tmp_path / "images")
    for i in ("a", "b"):
        for value in (1, 2):
            path = tmp_path / "masks" / i / f"cell{value}.png"
            save(path, (value == LABELS).astype(np.uint8) * 255)
    derived = derive(tmp_path, mask_name="{id}/*")
    np.testing.assert_array_equal(labels_of(tmp_path), LABELS > 0)
    with (derived.output / "manifest.csv").open(encoding="utf-8") as file:
        row = next(csv.DictReader(file))
    assert row["source_mask"] == "a/cell1.png;a/cell2.png"
    assert row["classes"] == "1"


def test_colors_to_classes(tmp_path: Path) -> None:
    write_images(tmp_path / "images")
    palette = np.array([[9, 9, 9], [255, 0, 0], [0, 0, 255]], np.uint8)
    for i in ("a", "b"):
        save(tmp_path / "masks" / f"{i}.png", palette[LABELS])
    colors = parse_colors(["9,9,9=background", "#0000ff=left", "red=right"])
    derived = derive(tmp_path, colors=colors)
    np.testing.assert_array_equal(labels_of(tmp_path), np.array([0, 2, 1])[LABELS])
    assert [c.name for c in derived.classes] == ["background", "left", "right"]
    with pytest.raises(
        DataError, match=r"Some colours of the mask belong to no class: #ff0000 \(54 pixels\)"
    ):
        derive(tmp_path, colors=colors[:2])
    rest = derive(tmp_path, colors=colors[:2], unknown=Unknown.BACKGROUND)
    np.testing.assert_array_equal(labels_of(tmp_path), LABELS == 2)
    assert any("became background (1): #ff0000 (108 pixels)" in note for note in rest.notes)


def test_values_that_a_description_does_not_name_are_refused(tmp_path: Path) -> None:
    write_images(tmp_path / "images")
    for i in ("a", "b"):
        save(tmp_path / "masks" / f"{i}.png", LABELS)
    derive(tmp_path)
    first = tmp_path / "out"
    save(first / "masks" / "b.png", np.where(LABELS == 2, 7, LABELS).astype(np.uint8))
    with pytest.raises(
        DataError, match=r"Some values of the mask belong to no class: 7 \(96 pixels\)"
    ) as caught:
        derive_folders(first / "images", first / "masks", tmp_path / "second")
    assert "--label" in caught.value.fix


def test_blurred_colors_take_the_nearest_class(tmp_path: Path) -> None:
    write_images(tmp_path / "images", ("a",))
    palette = np.array([[0, 0, 0], [250, 3, 9], [10, 240, 20]], np.uint8)
    save(tmp_path / "masks" / "a.png", palette[LABELS])
    derive(tmp_path, colors=parse_colors(["red=1", "lime=2"]), unknown=Unknown.NEAREST)
    np.testing.assert_array_equal(labels_of(tmp_path), LABELS)


@pytest.mark.parametrize("kind", ["grey", "palette", "colour", "npy", "npz"])
def test_without_options_every_value_is_a_class(tmp_path: Path, kind: str) -> None:
    write_images(tmp_path / "images")
    masks = tmp_path / "masks"
    masks.mkdir()
    for i, labels in (("a", LABELS), ("b", np.zeros_like(LABELS))):
        if kind == "grey":
            save(masks / f"{i}.png", np.array([0, 100, 200], np.uint8)[labels])
        elif kind == "palette":
            image = Image.fromarray(labels)
            image.putpalette([0, 0, 0, 200, 0, 0, 255, 255, 255])
            image.save(masks / f"{i}.png")
        elif kind == "colour":
            palette = np.array([[0, 0, 0], [0, 0, 255], [255, 0, 0]], np.uint8)
            save(masks / f"{i}.png", palette[labels])
        elif kind == "npy":
            np.save(masks / f"{i}.npy", labels.astype(np.float32))
        else:
            np.savez(masks / f"{i}.npz", mask=np.eye(3)[labels])
    derived = derive(tmp_path)
    assert len(derived.classes) == 3
    assert (derived.cases, derived.empty) == (2, 1)
    np.testing.assert_array_equal(labels_of(tmp_path), LABELS)
    assert not labels_of(tmp_path, "b").any()


def test_colours_count_where_palettes_contradict_each_other(tmp_path: Path) -> None:
    write_images(tmp_path / "images")
    for i, color in (("a", [255, 0, 0]), ("b", [0, 255, 0])):
        (tmp_path / "masks").mkdir(exist_ok=True)
        image = Image.fromarray((LABELS == 1).astype(np.uint8))
        image.putpalette([0, 0, 0, *color])
        image.save(tmp_path / "masks" / f"{i}.png")
    assert [c.name for c in derive(tmp_path).classes[1:]] == ["class 1", "class 2"]
    np.testing.assert_array_equal(labels_of(tmp_path, "a"), (LABELS == 1) * 2)
    np.testing.assert_array_equal(labels_of(tmp_path, "b"), LABELS == 1)
    derive(tmp_path, colors=parse_colors(["red=1", "0,255,0=2"]))
    np.testing.assert_array_equal(labels_of(tmp_path, "b"), (LABELS == 1) * 2)


def test_black_is_the_background_wherever_it_stands_in_the_palette(tmp_path: Path) -> None:
    """Programs that make palettes number the colours as they like, in each file another way."""
    write_images(tmp_path / "images")
    (tmp_path / "masks").mkdir()
    for i, colors in (("a", [255, 255, 255, 0, 0, 0]), ("b", [0, 0, 0, 255, 255, 255])):
        image = Image.fromarray((LABELS == 1).astype(np.uint8) ^ (i == "a"))
        image.putpalette(colors)
        image.save(tmp_path / "masks" / f"{i}.png")
    assert len(derive(tmp_path).classes) == 2
    for i in ("a", "b"):
        np.testing.assert_array_equal(labels_of(tmp_path, i), LABELS == 1)


def test_background_is_what_is_named_so(tmp_path: Path) -> None:
    write_images(tmp_path / "images", ("a",))
    save(tmp_path / "masks" / "a.png", np.array([255, 0, 7], np.uint8)[LABELS])
    derive(tmp_path, labels=parse_labels(["255=background", "0=lesion", "7=cell"]))
    np.testing.assert_array_equal(labels_of(tmp_path), LABELS)


def test_values_are_named_and_merged(tmp_path: Path) -> None:
    write_images(tmp_path / "images", ("a",))
    save(tmp_path / "masks" / "a.png", np.array([255, 7, 8], np.uint8)[LABELS])
    derive(tmp_path, labels=parse_labels(["255,0=background", "8=nucleus", "7=cell"]))
    np.testing.assert_array_equal(labels_of(tmp_path), np.array([0, 2, 1])[LABELS])
    with pytest.raises(
        DataError, match=r"values of the mask belong to no class: 255 \(450 pixels\)"
    ):
        derive(tmp_path, labels=parse_labels(["7,8=cell"]))


def test_jpeg_masks_and_grey_edges(tmp_path: Path) -> None:
    write_images(tmp_path / "images", ("a",))
    big = (LABELS > 0).astype(np.uint8) * 255
    save(tmp_path / "masks" / "a.jpg", big, quality=90)
    derived = derive(tmp_path)
    np.testing.assert_array_equal(labels_of(tmp_path), LABELS > 0)
    assert len(derived.notes) == 1
    assert "pixels) became the nearest class " in derived.notes[0]
    derived = derive(tmp_path, mask_name="{id}*")
    assert derived.notes == [
        "JPEG or WebP masks: grey values of 128 or more are taken for foreground."
    ]
    np.testing.assert_array_equal(labels_of(tmp_path), LABELS > 0)
    (tmp_path / "masks" / "a.jpg").unlink()
    big[2, 3:12] = 90
    save(tmp_path / "masks" / "a.png", big)
    with pytest.raises(DataError, match="2 values besides 0: 90, 255"):
        derive(tmp_path, mask_name="{id}*")
    derive(tmp_path, threshold=91)
    np.testing.assert_array_equal(labels_of(tmp_path), big == 255)


def test_too_many_values_to_be_classes_number_objects(tmp_path: Path) -> None:
    numbers = np.kron(np.arange(100).reshape(10, 10), np.ones((4, 4))).astype(np.uint8)
    save(tmp_path / "images" / "a.png", numbers + 50)
    save(tmp_path / "masks" / "a.png", numbers)
    derived = derive(tmp_path)
    assert any("taken to number the objects of one class" in note for note in derived.notes)
    np.testing.assert_array_equal(labels_of(tmp_path), numbers > 0)


def test_names_of_masks_and_patients_are_found(tmp_path: Path) -> None:
    ids = [f"p{p:02d}_slice{s}" for p in range(4) for s in range(3)]
    write_images(tmp_path / "images", (*ids, "p09_slice0"))
    for i in ids:
        save(tmp_path / "masks" / f"{i}_seg.png", LABELS)
    derived = derive(tmp_path)
    assert derived.cases == 12
    assert derived.notes[:2] == [
        "Images without a mask were left out (1): p09_slice0.png.",
        "Masks are named {id}_seg, where {id} is the image's name.",
    ]
    with (derived.output / "manifest.csv").open(encoding="utf-8", newline="") as file:
        assert {row["patient"] for row in csv.DictReader(file)} == {"p00", "p01", "p02", "p03"}
    assert set(Dataset.open(derived.output).groups) == {"p00", "p01", "p02", "p03"}


def test_classes_are_called_as_the_dataset_calls_them(tmp_path: Path) -> None:
    write_images(tmp_path / "images")
    for i in ("a", "b"):
        save(tmp_path / "masks" / f"{i}.png", LABELS)
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": {"liver": 1, "tumour": 2}}))
    assert [c.name for c in derive(tmp_path).classes[1:]] == ["liver", "tumour"]


def test_options_that_contradict_each_other(tmp_path: Path) -> None:
    write_images(tmp_path / "images")
    write_images(tmp_path / "masks")
    with pytest.raises(ConfigError, match="--color and --label contradict each other"):
        derive(tmp_path, labels=parse_labels(["1=a"]), colors=parse_colors(["red=a"]))


def test_sizes_that_differ_are_told_together(tmp_path: Path) -> None:
    write_images(tmp_path / "images")
    for i in ("a", "b"):
        save(tmp_path / "masks" / f"{i}.png", LABELS[:, :-3])
    with pytest.raises(
        DataError, match="The mask is 27 x 20 pixels, but its image is 30 x 20"
    ) as error:
        derive(tmp_path)
    assert error.value.problem.startswith("2 files are wrong")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("classes", [(), (("lesion", "{id}"),)])
def test_masks_of_another_resolution_are_brought_to_their_images(
    tmp_path: Path, classes: tuple[tuple[str, str], ...]
) -> None:
    write_images(tmp_path / "images")
    small = (LABELS[::2, ::2] == 1).astype(np.uint8) * 255
    for i in ("a", "b"):
        save(tmp_path / "masks" / f"{i}.png", small)
    derived = derive(tmp_path, class_names=classes)
    assert np.array_equal(labels_of(tmp_path), np.kron(small // 255, np.ones((2, 2), np.uint8)))
    assert "2 masks had another resolution than their image" in derived.notes[0]


def test_without_partner_and_without_label(tmp_path: Path) -> None:
    write_images(tmp_path / "images", ("a", "b", "c", "d", "lonely"))
    for i, labels in (("a", LABELS), ("b", LABELS * 0), ("c", LABELS * 0), ("d", LABELS * 0)):
        save(tmp_path / "masks" / f"{i}.png", labels)
    save(tmp_path / "masks" / "other.png", LABELS)
    derived = derive(tmp_path, empty_every=2)
    assert (derived.cases, derived.empty) == (3, 2)
    assert sorted(p.stem for p in (derived.output / "images").iterdir()) == ["a", "b", "d"]
    assert sorted(p.stem for p in (derived.output / "masks").iterdir()) == ["a", "b", "d"]
    assert derived.notes == [
        "1 image without labels was left out (--empty-every).",
        "Images without a mask were left out (1): lonely.png.",
        "Masks without an image were left out (1): other.png.",
    ]
    assert derive(tmp_path, empty_every=0).cases == 1
    with pytest.raises(DataError, match="No image has a mask"):
        derive(tmp_path, mask_name="{id}_mask")


def test_wide_and_float_images(tmp_path: Path) -> None:
    save(tmp_path / "masks" / "a.png", LABELS)
    (tmp_path / "images").mkdir()
    wide = np.random.default_rng(0).integers(0, 65536, (*LABELS.shape, 3)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "images" / "a.tif", wide, photometric="rgb")
    out = tmp_path / "out" / "images" / "a.png"
    derive(tmp_path)
    np.testing.assert_array_equal(read_image(out), wide)
    tifffile.imwrite(tmp_path / "images" / "a.tif", wide[..., 0].astype(np.float32) - 1000)
    with pytest.raises(DataError, match="do not fit into 8 bits") as error:
        derive(tmp_path)
    assert "--window" in error.value.fix
    derive(tmp_path, intensity=Intensity.parse("full"), bits=16)
    scaled = wide[..., 0].astype(float) - wide[..., 0].min()
    expected = np.rint(scaled * 65535 / scaled.max())
    assert np.abs(read_image(out)[..., 0] - expected).max() <= 1


def test_init_and_check_accept_what_was_derived(tmp_path: Path) -> None:
    ids = tuple(f"p{i // 2}_{i}" for i in range(12))
    write_images(tmp_path / "images", ids)
    for i in ids:
        save(tmp_path / "masks" / f"{i}.png", np.array([0, 100, 200], np.uint8)[LABELS])
    derived = derive(tmp_path, patient=r"^(p\d)_")
    config = initialize(derived.output, tmp_path / "project")[0]
    report = audit(load(config, [f"dataset.group={derived.group}"]))
    assert [str(f) for f in report.findings if f.severity is not Severity.NOTE] == []
    assert report.exit_code == 0
    assert [s["cases"] for s in report.splits] == [8, 2, 2]


def test_real_masks_survive(shared: Path, tmp_path: Path) -> None:
    source = shared / "data" / "wbc"
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
        for path in sorted((source / kind).iterdir())[:6]:
            (tmp_path / kind / path.name).write_bytes(path.read_bytes())
    derived = derive(tmp_path)
    values = np.array([c.values[0] for c in derived.classes])
    assert values.tolist() == [0, 128, 255]
    for path in (tmp_path / "masks").iterdir():
        np.testing.assert_array_equal(
            values[labels_of(tmp_path, path.stem)], read_mask(path).pixels
        )


@pytest.mark.parametrize("colored", [False, True])
def test_ignored_values_and_colors(tmp_path: Path, colored: bool) -> None:
    ids = np.zeros((8, 10), np.uint8)
    ids[2:5, 2:6], ids[5:7, 2:6] = 1, 2
    stored = np.array([(0, 0, 0), (255, 0, 0), (9, 9, 9)], np.uint8)[ids] if colored else ids * 100
    for kind, pixels in (("images", ids * 50), ("masks", stored)):
        (tmp_path / kind).mkdir()
        write_png(tmp_path / kind / "a.png", pixels)
    classes = ["--color", "255,0,0=lesion"] if colored else ["--label", "100=lesion"]
    ignored = ["--ignore", "9,9,9" if colored else "200"]
    places = (tmp_path / "images", tmp_path / "masks")
    assert flexseg("derive", "folders", *places, "-o", tmp_path / "n", *classes, *ignored) == 0
    written = read_mask(tmp_path / "n" / "masks" / "a.png").pixels
    np.testing.assert_array_equal(written, np.where(ids == 2, 255, ids))
    assert flexseg("derive", "folders", *places, "-o", tmp_path / "m", *ignored) == 2
    assert flexseg("derive", "folders", *places, "-o", tmp_path / "m", "--ignore", "x") == 2
