"""Names and order of classes are those of the tables that other programs write."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flexseg.checking.audit import audit
from flexseg.config import load
from flexseg.dataset.cases import case_mask
from flexseg.dataset.labels import LabelMap
from flexseg.dataset.marks.label_tables import LabelTable, label_table
from flexseg.dataset.reading import Dataset
from flexseg.derive.folders import derive_folders
from flexseg.errors import DataError
from flexseg.files.images import write_png
from flexseg.planning.initialize import initialize

BLACK, RED, GREEN, BLUE = (0, 0, 0), (255, 0, 0), (0, 128, 0), (0, 0, 255)
IDS = np.zeros((24, 24), np.uint8)
IDS[2:9, 2:9], IDS[11:18, 3:12], IDS[4:20, 14:20] = 1, 2, 3
COLORS = np.array([BLACK, RED, GREEN, BLUE], np.uint8)
CVAT = "# label:color_rgb:parts:actions\nbackground:0,0,0::\nvessel:255,0,0::\nsoft drusen:0,128,0::\ncup:0,0,255::\n"


def _dataset(folder: Path, masks: list[np.ndarray], palette: np.ndarray | None = None) -> Path:
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for i, mask in enumerate(masks):
        rng = np.random.default_rng(i)
        write_png(folder / "images" / f"c{i}.png", rng.integers(0, 255, (24, 24, 3), np.uint8))
        colors = None if palette is None else palette.ravel().tolist()
        write_png(folder / "masks" / f"c{i}.png", mask, colors)
    return folder


def _classes(folder: Path) -> list[tuple[str, tuple[int, ...], tuple[int, int, int]]]:
    return [(c.name, c.values, c.colors[0]) for c in Dataset.open(folder).labels.foreground]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("labelmap.txt", CVAT),
        ("class_dict.csv", "name,r,g,b\nbackground,0,0,0\nvessel,255,0,0\nsoft drusen,0,128,0\ncup,0,0,255\n"),
        ("label_colors.txt", "0 0 0\tbackground\n255 0 0\tvessel\n0 128 0\tsoft drusen\n0 0 255\tcup\n"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("inside", ["", "masks"])
def test_colors_have_names_and_their_order(
    tmp_path: Path, name: str, text: str, inside: str
) -> None:
    """Not that of the colours, of which blue comes first; also of classes that are rarely seen."""
    folder = _dataset(tmp_path / "d", [COLORS[IDS]] * 6)
    (folder / inside / name).write_text(text, encoding="utf-8")
    assert _classes(folder) == [("vessel", (), RED), ("soft drusen", (), GREEN), ("cup", (), BLUE)]
    derived = derive_folders(folder / "images", folder / "masks", tmp_path / "out")
    described = json.loads((derived.output / "dataset.json").read_text(encoding="utf-8"))
    assert [c["name"] for c in described["classes"]] == [
        "background", "vessel", "soft drusen", "cup",
    ]  # fmt: skip
    written = np.asarray(Image.open(derived.output / "masks" / "c0.png"))
    np.testing.assert_array_equal(written, IDS)


def test_compressed_colors_are_those_of_the_table(tmp_path: Path) -> None:
    large = np.kron(IDS, np.ones((4, 4), np.uint8))
    folder = _dataset(tmp_path / "d", [COLORS[IDS]] * 6)
    for path in sorted((folder / "masks").iterdir()):
        Image.fromarray(COLORS[large]).save(path.with_suffix(".jpg"), quality=85)
        path.unlink()
        write_png(folder / "images" / path.name, np.zeros((96, 96, 3), np.uint8) + large[..., None])
    (folder / "labelmap.txt").write_text(CVAT)
    assert [(n, rgb) for n, _, rgb in _classes(folder)] == [
        ("vessel", RED), ("soft drusen", GREEN), ("cup", BLUE),
    ]  # fmt: skip


def test_indices_keep_their_order_and_get_the_names_of_their_colors(tmp_path: Path) -> None:
    folder = _dataset(tmp_path / "d", [IDS] * 6, COLORS[[0, 3, 1, 2]])
    (folder / "labelmap.txt").write_text(CVAT)
    assert _classes(folder) == [
        ("cup", (1,), BLUE), ("vessel", (2,), RED), ("soft drusen", (3,), GREEN),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("background\nvessel\ndrusen\ncup\n", ["vessel", "drusen", "cup"]),
        ("vessel\ndrusen\ncup\n", ["vessel", "drusen", "cup"]),
        ("__ignore__\n_background_\nvessel\ndrusen\ncup\n", ["vessel", "drusen", "cup"]),
        ("vessel\ndrusen\n", ["class 1", "class 2", "class 3"]),  # of something else
    ],
)
@pytest.mark.parametrize("stored", ["values", "indices", "scores"])
def test_lists_of_names(tmp_path: Path, text: str, names: list[str], stored: str) -> None:
    folder = _dataset(tmp_path / "d", [IDS] * 6, COLORS if stored == "indices" else None)
    if stored == "scores":
        for path in sorted((folder / "masks").iterdir()):
            np.save(path.with_suffix(".npy"), np.eye(4)[IDS])
            path.unlink()
    (folder / "classes.txt").write_text(text)
    assert [name for name, _, _ in _classes(folder)] == names


@pytest.mark.parametrize("indexed", [False, True])
def test_masks_of_cvat(tmp_path: Path, indexed: bool) -> None:
    """Its "Segmentation mask" export: names and order of labelmap.txt, objects left alone."""
    listed = {"organ": BLUE, "background": BLACK, "tumour": RED}
    palette = np.array([*listed.values()], np.uint8)
    ids = np.where(IDS > 2, 0, IDS)
    shown = np.array([BLACK, BLUE, RED], np.uint8)[ids]
    index = np.array([1, 0, 2], np.uint8)[ids]
    folder = _dataset(
        tmp_path / "d", [index if indexed else shown] * 6, palette if indexed else None
    )
    (folder / "images").rename(folder / "JPEGImages")
    (folder / "masks").rename(folder / "SegmentationClass")
    (folder / "SegmentationObject").mkdir()
    for path in (folder / "SegmentationClass").iterdir():
        write_png(folder / "SegmentationObject" / path.name, COLORS[IDS])
    (folder / "ImageSets" / "Segmentation").mkdir(parents=True)
    (folder / "ImageSets" / "Segmentation" / "default.txt").write_text("c0\n")
    lines = [f"{name}:{','.join(map(str, rgb))}::\n" for name, rgb in listed.items()]
    (folder / "labelmap.txt").write_text("# label:color_rgb:parts:actions\n" + "".join(lines))
    assert [name for name, _, _ in _classes(folder)] == ["organ", "tumour"]
    places = (folder / "JPEGImages", folder / "SegmentationClass")
    derived = derive_folders(*places, tmp_path / "new")
    assert [c.name for c in derived.classes[1:]] == ["organ", "tumour"]
    written = np.asarray(Image.open(derived.output / "masks" / "c0.png"))
    np.testing.assert_array_equal(written, ids)


def test_folders_of_camvid(tmp_path: Path) -> None:
    folder = _dataset(tmp_path / "d", [COLORS[IDS]] * 6)
    (folder / "images").rename(folder / "default")
    (folder / "masks").rename(folder / "defaultannot")
    lines = [f"{' '.join(map(str, rgb))} {n}" for n, rgb in (("cup", BLUE), ("background", BLACK),
             ("vessel", RED), ("drusen", GREEN))]  # fmt: skip
    (folder / "label_colors.txt").write_text("\n".join(lines))
    assert [name for name, _, _ in _classes(folder)] == ["cup", "vessel", "drusen"]
    for kind in ("", "annot"):
        (folder / f"default{kind}").rename(folder / f"train{kind}")
        (folder / f"val{kind}").mkdir()
        for name in ("c4.png", "c5.png"):
            (folder / f"train{kind}" / name).rename(folder / f"val{kind}" / name)
    given = Dataset.open(folder).given_parts
    assert given is not None and [len(own) for own in given.parts.values()] == [4, 2]


def test_one_name_is_that_of_the_one_class(tmp_path: Path) -> None:
    folder = _dataset(tmp_path / "d", [(IDS == 1).astype(np.uint8) * 255] * 6)
    (folder / "classes.txt").write_text("polyp\n")
    assert [(n, v) for n, v, _ in _classes(folder)] == [("polyp", (255,))]


def test_pascal_voc_has_names_of_its_own(tmp_path: Path) -> None:
    palette = np.array([BLACK, (128, 0, 0), (0, 128, 0), (128, 128, 0)], np.uint8)
    folder = _dataset(tmp_path / "d", [IDS] * 6, palette)
    (folder / "images").rename(folder / "JPEGImages")
    (folder / "masks").rename(folder / "SegmentationClass")
    assert [name for name, _, _ in _classes(folder)] == ["class 1", "class 2", "class 3"]
    (folder / "ImageSets" / "Segmentation").mkdir(parents=True)
    assert [name for name, _, _ in _classes(folder)] == ["aeroplane", "bicycle", "bird"]
    assert label_table([folder]).colors[20] == ((0, 64, 128), "tvmonitor")


WHITE = (255, 255, 255)


@pytest.mark.parametrize(
    "colors",
    [
        (WHITE, (255, 0, 0), (0, 0, 255)),
        ((0, 128, 0), (255, 0, 0), (0, 0, 0)),
        (WHITE, (0, 0, 0), (128, 128, 128)),
        (WHITE, (0, 0, 0)),
    ],
    ids=["white", "green, black is a class", "grey", "one class"],
)
def test_the_table_says_which_color_is_background(
    tmp_path: Path, colors: tuple[tuple[int, int, int], ...]
) -> None:
    ids = np.minimum(IDS, len(colors) - 1).astype(np.uint8)
    folder = _dataset(tmp_path / "d", [np.array(colors, np.uint8)[ids]] * 6)
    names = ["background", "vessel", "cup"][: len(colors)]
    lines = [f"{name}:{r},{g},{b}::" for name, (r, g, b) in zip(names, colors, strict=True)]
    (folder / "labelmap.txt").write_text("\n".join(lines))
    initialize(folder, tmp_path / "out")
    loaded = load(tmp_path / "out" / "flexseg.toml")
    labels = LabelMap.from_config(loaded.experiment.class_sections)
    for own in (labels, Dataset.open(folder).labels):
        assert {c.name for c in own.classes} == {*names}
        case = Dataset.open(folder).cases[0]
        found = own.encode(case_mask(case)).labels
        by_name = {c.name: c.id for c in own.classes}
        assert np.array_equal(found, np.array([by_name[name] for name in names])[ids])
        assert by_name["background"] == 0
    assert not [f for f in audit(loaded).findings if f.code in ("unknown-colors", "data")]


@pytest.mark.parametrize("stored", ["values", "indices", "black is the last index"])
@pytest.mark.parametrize("name", ["classes.txt", "dataset.json"])
def test_the_background_may_be_another_value(tmp_path: Path, stored: str, name: str) -> None:
    ids = np.array([2, 0, 1, 0], np.uint8)[IDS]
    palette = {"values": None, "indices": COLORS[[0, 1, 3]]}.get(stored, COLORS[[1, 3, 0]])
    folder = _dataset(tmp_path / "d", [ids] * 6, palette)
    names = ["vessel", "cup", "background"]
    own = json.dumps({"labels": {v: i for i, v in enumerate(names)}})
    (folder / name).write_text(own if name == "dataset.json" else "\n".join(names))
    data = Dataset.open(folder)
    assert [c.name for c in data.labels.classes] == ["background", "vessel", "cup"]
    initialize(folder, tmp_path / "out")
    config = load(tmp_path / "out" / "flexseg.toml").experiment
    for labels in (data.labels, LabelMap.from_config(config.class_sections)):
        found = labels.encode(case_mask(data.cases[0])).labels
        assert np.array_equal(found, np.array([1, 2, 0])[ids])


def test_void_has_its_name_in_tables_of_colors(tmp_path: Path) -> None:
    folder = _dataset(tmp_path / "d", [COLORS[IDS]] * 6)
    (folder / "labelmap.txt").write_text(CVAT.replace("cup", "ignore"))
    labels = Dataset.open(folder).labels
    assert [c.name for c in labels.foreground] == ["vessel", "soft drusen"]
    assert labels.ignored is not None and labels.ignored.colors == (BLUE,)


def test_a_background_of_compressed_masks_has_to_be_black(tmp_path: Path) -> None:
    folder = _dataset(tmp_path / "d", [np.array([WHITE, RED], np.uint8)[np.minimum(IDS, 1)]] * 6)
    (folder / "labelmap.txt").write_text("background:255,255,255::\nvessel:255,0,0::\n")
    for path in (folder / "masks").iterdir():
        Image.open(path).convert("RGB").save(path.with_suffix(".jpg"))
        path.unlink()
    with pytest.raises(DataError, match="has to be black"):
        Dataset.open(folder)


@pytest.mark.parametrize(
    "text", ["", "a:1,2::\n", "a:1,2,300::\n", "a:1,1,1::\na:2,2,2::\n", "\0\0"]
)
def test_other_files_of_these_names_say_nothing(tmp_path: Path, text: str) -> None:
    for name in ("labelmap.txt", "class_dict.csv"):
        (tmp_path / name).write_text(text)
    assert label_table([tmp_path, tmp_path / "none"]) == LabelTable()
