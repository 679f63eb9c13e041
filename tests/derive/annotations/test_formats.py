"""The contract of every annotation format: the same scene becomes the same masks."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from annotation_exports import BUILDERS, HEIGHT, WIDTH, WITHOUT_SIZE, packed_brush, scene
from flexseg.derive.annotations.annotated_dataset import derive_annotations
from flexseg.derive.annotations.export import FORMATS, format_of
from flexseg.derive.annotations.label_studio import unpack_brush
from flexseg.derive.dataset_writer import Derived
from flexseg.errors import ConfigError, DataError
from flexseg.files.images import read_mask
from support import flexseg

SIZE = (HEIGHT, WIDTH)
each = pytest.mark.parametrize("name", sorted(FORMATS))


def images(folder: Path, names: list[str], size: tuple[int, int] = SIZE) -> Path:
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.fromarray(np.full((*size, 3), 90, np.uint8)).save(folder / "images" / name)
    return folder / "images"


def derived_of(
    folder: Path, name: str, files: list[str], listed: list[str] | None = None
) -> Derived:
    export = BUILDERS[name](folder / "export", listed or files, SIZE)
    return derive_annotations(export, images(folder, files), folder / "out")


def test_every_format_has_a_builder() -> None:
    assert set(FORMATS) == set(BUILDERS)


@each
def test_holes_and_several_classes(tmp_path: Path, name: str) -> None:
    derived = derived_of(tmp_path, name, ["a.png", "b.png"])
    names = {c.name: c.id for c in derived.classes[1:]}
    assert set(names) == {"organ", "lesion"}
    ids = np.array([0, names["organ"], names["lesion"]], np.uint8)
    for stem in ("a", "b"):
        found = read_mask(tmp_path / "out/masks" / f"{stem}.png").pixels
        np.testing.assert_array_equal(found, ids[scene()])
    assert (derived.cases, derived.empty) == (2, 0)


@each
def test_each_format_knows_itself_and_no_other(tmp_path: Path, name: str) -> None:
    export = BUILDERS[name](tmp_path / "export", ["a.png"], SIZE)
    assert format_of(export) is FORMATS.get(name)
    assert format_of(export, name) is FORMATS.get(name)


@each
def test_another_size_is_refused(tmp_path: Path, name: str) -> None:
    export = BUILDERS[name](tmp_path / "export", ["a.png"], (SIZE[0] * 2, SIZE[1] * 2))
    folder = images(tmp_path, ["a.png"], (8, 12) if name == "geojson" else SIZE)
    if name == "yolo":  # shares of the sides fit any size
        return
    with pytest.raises(DataError) as caught:
        derive_annotations(export, folder, tmp_path / "out")
    assert ("beyond the image" if name in WITHOUT_SIZE else "pixels") in str(caught.value)
    assert not (tmp_path / "out").exists()


@each
def test_missing_images_are_named(tmp_path: Path, name: str) -> None:
    derived = derived_of(tmp_path, name, ["a.png"], ["a.png", "gone.png"])
    assert any("Listed images are missing" in note and "gone" in note for note in derived.notes)
    (tmp_path / "images/a.png").unlink()
    with pytest.raises(DataError, match="None of the 2 annotated images"):
        derive_annotations(
            BUILDERS[name](tmp_path / "more", ["a.png", "gone.png"], SIZE),
            tmp_path / "images",
            tmp_path / "out2",
        )


@each
def test_names_in_any_script_and_form(tmp_path: Path, name: str) -> None:
    """The image went through macOS, the annotations did not."""
    files = [unicodedata.normalize("NFD", "Größe 画像.png"), "é.png"]
    derived_of(tmp_path, name, files, ["Größe 画像.png", "é.png"])
    assert len(list((tmp_path / "out/masks").iterdir())) == 2


@each
def test_what_is_damaged_is_refused(tmp_path: Path, name: str) -> None:
    export = BUILDERS[name](tmp_path / "export", ["a.png"], SIZE)
    folder = images(tmp_path, ["a.png"])
    files = [export] if export.is_file() else [p for p in export.rglob("*") if p.is_file()]
    damaged = next(p for p in files if p.name not in ("meta.json", "data.yaml"))
    text = damaged.read_text(encoding="utf-8")
    for cut in range(1, len(text), max(1, len(text) // 12)):
        damaged.write_text(text[:cut], encoding="utf-8")
        try:
            derive_annotations(export, folder, tmp_path / f"out{cut}", format_name=name)
        except DataError as error:
            assert error.fix


def test_unknown_formats_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(DataError, match="is not known"):
        format_of(tmp_path / "x.json")
    with pytest.raises(ConfigError, match="annotation format"):
        format_of(tmp_path / "x.json", "voc")
    with pytest.raises(DataError, match="no such file"):
        format_of(tmp_path / "y.json")


def test_boxes_of_yolo_are_filled_and_said(tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/a.txt").write_text("0 0.5 0.5 0.5 0.4\n")
    (tmp_path / "labels/classes.txt").write_text("cell\n")
    derived = derive_annotations(
        tmp_path / "labels", images(tmp_path, ["a.png", "b.png"]), tmp_path / "o"
    )
    expected = np.zeros(SIZE, np.uint8)
    expected[9:21, 10:30] = 1
    np.testing.assert_array_equal(read_mask(tmp_path / "o/masks/a.png").pixels, expected)
    assert derived.classes[1].name == "cell"
    assert any("no outline and" in note for note in derived.notes)
    assert any("1 image without a label file" in note for note in derived.notes)


@pytest.mark.parametrize(
    "line", ["0 10 10 20 20 30 30", "0 0.1 0.2", "0 0.1 0.1 0.2 0.2 0.3 0.3 0.4", "x"]
)
def test_lines_that_are_no_labels_of_yolo(tmp_path: Path, line: str) -> None:
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/a.txt").write_text(line)
    with pytest.raises(DataError, match=r"a\.txt, line 1"):
        derive_annotations(
            tmp_path / "labels", images(tmp_path, ["a.png"]), tmp_path / "o", format_name="yolo"
        )


def test_a_huge_class_number_of_yolo_is_one_class(tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/a.txt").write_text("99999999999999999999 0.5 0.5 0.2 0.2\n")
    folder = images(tmp_path, ["a.png"])
    derived = derive_annotations(tmp_path / "labels", folder, tmp_path / "o")
    assert len(derived.classes) == 2


def test_folders_of_splits_of_yolo(tmp_path: Path) -> None:
    """Equal names in two folders are not mixed up."""
    for split, share in (("train", "0.2"), ("val", "0.6")):
        (tmp_path / f"labels/{split}").mkdir(parents=True)
        (tmp_path / f"labels/{split}/a.txt").write_text(f"0 0.5 0.5 {share} {share}\n")
        (tmp_path / f"images/{split}").mkdir(parents=True)
        Image.new("L", (WIDTH, HEIGHT)).save(tmp_path / f"images/{split}/a.png")
    derive_annotations(tmp_path / "labels", tmp_path / "images", tmp_path / "o")
    areas = [read_mask(tmp_path / f"o/masks/{s}_a.png").pixels.sum() for s in ("train", "val")]
    assert areas == [48, 432]


TEXT_IDS = {
    "as text in annotations": (1, "1", 0, 0),
    "all as text": ("1", "1", "0", "0"),
    "images as text": (1, 1, 0, "0"),
    "padded": ("01", 1, 0, "00"),
}


@pytest.mark.parametrize(("category", "of", "image", "image_of"), TEXT_IDS.values(), ids=TEXT_IDS)
@pytest.mark.parametrize("flat", [False, True])
def test_coco_with_ids_as_text(
    tmp_path: Path, category: object, of: object, image: object, image_of: object, flat: bool
) -> None:
    ring = [10, 10, 30, 10, 30, 20, 10, 20]
    content = {
        "images": [{"id": image, "file_name": "a.png"}],
        "annotations": [
            {"id": 1, "image_id": image_of, "category_id": of,
             "segmentation": ring if flat else [ring]},
            {"id": 2, "image_id": image_of, "category_id": of, "segmentation": None},
        ],
        "categories": [{"id": category, "name": "cell"}],
    }  # fmt: skip
    (tmp_path / "c.json").write_text(json.dumps(content))
    derived = derive_annotations(tmp_path / "c.json", images(tmp_path, ["a.png"]), tmp_path / "o")
    assert read_mask(tmp_path / "o/masks/a.png").pixels.sum() == 200
    assert any("1 annotation without an outline" in note for note in derived.notes)


def test_the_super_category_of_roboflow_is_no_class(tmp_path: Path) -> None:
    content = {
        "images": [{"id": 0, "file_name": "a.png"}],
        "annotations": [
            {"id": 1, "image_id": 0, "category_id": 1, "segmentation": [[1, 1, 9, 1, 9, 9]]}
        ],
        "categories": [
            {"id": 0, "name": "cells", "supercategory": "none"},
            {"id": 1, "name": "red", "supercategory": "cells"},
            {"id": 2, "name": "white", "supercategory": "cells"},
        ],
    }
    (tmp_path / "c.json").write_text(json.dumps(content))
    derived = derive_annotations(tmp_path / "c.json", images(tmp_path, ["a.png"]), tmp_path / "o")
    assert [c.name for c in derived.classes[1:]] == ["red", "white"]
    assert any("cells" in note for note in derived.notes)


def test_brush_strokes_survive_packing() -> None:
    mask = np.random.default_rng(0).random((9, 7)) < 0.4
    unpacked = unpack_brush(bytes(packed_brush(mask)), mask.size * 4)
    np.testing.assert_array_equal(unpacked.reshape(9, 7, 4)[..., 3] > 0, mask)
    with pytest.raises(ValueError, match="ends too early"):
        unpack_brush(bytes(packed_brush(mask))[:-3], mask.size * 4)


def test_xml_with_entities_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_text('<!DOCTYPE a [<!ENTITY b "c">]><annotations>&b;</annotations>')
    with pytest.raises(DataError, match="entities"):
        derive_annotations(path, images(tmp_path, ["a.png"]), tmp_path / "o", format_name="cvat")


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    export = BUILDERS["cvat"](tmp_path / "export", ["a.png"], SIZE)
    folder = images(tmp_path, ["a.png"])
    assert flexseg("derive", "annotations", export.parent, folder, "-o", tmp_path / "o") == 0
    assert "1 organ, 2 lesion" in capsys.readouterr().out
    assert flexseg("derive", "coco", export, folder, "-o", tmp_path / "o2") == 3
