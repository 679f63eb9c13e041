"""`flexseg init`: the config that it writes fits the data that it was written for."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from flexseg.checking.audit import CheckReport, audit
from flexseg.config import Experiment, Severity, load
from flexseg.derive.tiles import TileOptions, derive_tiles
from flexseg.errors import ConfigError, DataError
from flexseg.files.images import read_image, read_mask, write_png
from flexseg.planning.initialize import initialize
from support import flexseg


def report_of(dataset: Path, output: Path, size: int | None = None) -> CheckReport:
    """The audit of the config that `init` writes for a dataset."""
    return audit(load(initialize(dataset, output, size=size)[0], strict=True))


def assert_clean(report: CheckReport) -> Experiment:
    assert [str(f) for f in report.findings if f.severity is not Severity.NOTE] == []
    assert report.exit_code == 0
    return report.loaded.experiment


def rewrite_masks(dataset: Path, table: Any) -> None:
    """Replace each mask by the entries of `table` at its class ids."""
    for path in dataset.rglob("masks/*.png"):
        write_png(path, np.array(table, np.uint8)[read_mask(path).pixels])


def test_files_and_their_line_ends(make_dataset: Callable[..., Path], tmp_path: Path) -> None:
    written = initialize(make_dataset(), tmp_path / "project")
    names = ["1.train", "2.evaluate", "3.infer"]
    expected = {"flexseg.toml", *(f"{n}.bat" for n in names), *(f"{n}.sh" for n in names)}
    assert {p.name for p in written} == expected
    assert sorted(p.name for p in (tmp_path / "project").iterdir()) == sorted(expected)
    for path in written:
        content = path.read_bytes()
        lines = content.count(b"\n")
        assert content.count(b"\r\n") == (lines if path.suffix == ".bat" else 0)
    bat = (tmp_path / "project" / "1.train.bat").read_text(encoding="utf-8")
    assert "flexseg train flexseg.toml %*\n" in bat and "\npause\n" in bat
    assert bat.index("chcp 65001") < bat.index('pushd "%~dp0"') < bat.index("flexseg train")
    if os.name != "nt":
        assert os.access(tmp_path / "project" / "3.infer.sh", os.X_OK)


def test_split_folders_give_a_config_that_checks_clean(
    make_dataset: Callable[..., Path], tmp_path: Path
) -> None:
    report = report_of(make_dataset(classes=3), tmp_path / "project")
    experiment = assert_clean(report)
    assert [(s["split"], s["cases"]) for s in report.splits] == [
        ("train", 8),
        ("valid", 4),
        ("test", 4),
    ]
    assert experiment.model.num_classes == 3
    assert {c.color for c in experiment.mask.classes} == {(0, 255, 0), (255, 0, 0)}
    assert (experiment.model.image_width, experiment.model.image_height) == (48, 40)
    assert experiment.infer.images_dir == tmp_path / "dataset" / "test" / "images"
    assert experiment.train.model_dir == tmp_path / "project" / "run" / "models"
    assert experiment.mask.unknown_colors == "error"


def test_classes_get_the_names_that_are_given(
    make_dataset: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = make_dataset(classes=3)
    command = ("init", dataset, "-o", tmp_path / "project", "--classes")
    assert flexseg(*command, "3=nucleus") == 2
    assert "1 (class 1), 2 (class 2)" in capsys.readouterr().err
    assert flexseg(*command, "1=cytoplasm, 2=nucleus") == 0
    classes = load(tmp_path / "project" / "flexseg.toml").experiment.mask.classes
    assert [(c.id, c.name) for c in classes] == [(1, "cytoplasm"), (2, "nucleus")]


def test_one_folder_is_divided(make_dataset: Callable[..., Path], tmp_path: Path) -> None:
    dataset = (make_dataset({"train": 20}) / "train").rename(tmp_path / "scans")
    report = report_of(dataset, tmp_path / "project")
    experiment = assert_clean(report)
    assert [s["cases"] for s in report.splits] == [14, 3, 3]
    assert experiment.dataset.images_dir == dataset / "images"


def test_without_validation_folder_it_is_held_out(
    make_dataset: Callable[..., Path], tmp_path: Path
) -> None:
    report = report_of(make_dataset({"train": 10, "test": 2}), tmp_path / "p")
    experiment = assert_clean(report)
    assert [s["cases"] for s in report.splits] == [9, 1, 2]
    assert experiment.dataset.split_file == tmp_path / "p" / "split.json"


@pytest.mark.parametrize(
    ("table", "values"),
    [
        ([0, 255], [255]),
        ([0, 1], [1]),
        ([0, 100], [100]),
    ],
)
def test_gray_masks_of_one_class_are_binary(
    make_dataset: Callable[..., Path], tmp_path: Path, table: list[int], values: list[int]
) -> None:
    dataset = make_dataset()
    share = np.mean([read_mask(p).pixels for p in (dataset / "train" / "masks").iterdir()])
    rewrite_masks(dataset, table)
    report = report_of(dataset, tmp_path)
    experiment = assert_clean(report)
    assert experiment.is_binary
    assert [c.values for c in experiment.mask.classes] == [values]
    assert report.splits[0]["shares"].endswith(f"foreground {share:.2%}")


def test_gray_masks_of_two_classes(make_dataset: Callable[..., Path], tmp_path: Path) -> None:
    dataset = make_dataset(classes=3)
    rewrite_masks(dataset, [0, 128, 255])
    experiment = assert_clean(report_of(dataset, tmp_path))
    assert experiment.model.num_classes == 3
    assert [(c.id, c.values) for c in experiment.mask.classes] == [(1, [128]), (2, [255])]


def test_gray_palettes_in_any_order(make_dataset: Callable[..., Path], tmp_path: Path) -> None:
    """The order of the indices counts, not that of the greys: index 2 is the darker one here."""
    dataset = make_dataset(classes=3)
    for path in dataset.rglob("masks/*.png"):
        write_png(path, read_mask(path).pixels, [0, 0, 0, 255, 255, 255, 128, 128, 128])
    squares = np.mean([read_mask(p).pixels == 2 for p in (dataset / "train" / "masks").iterdir()])
    report = report_of(dataset, tmp_path)
    assert_clean(report)
    assert f"class 2 {squares:.2%}" in report.splits[0]["shares"]


def test_jpeg_masks_lose_no_foreground(make_dataset: Callable[..., Path], tmp_path: Path) -> None:
    """The compression makes 250 of 255: it is still foreground."""
    dataset = make_dataset()
    discs = [read_mask(p).pixels for p in sorted((dataset / "train" / "masks").iterdir())]
    for path in dataset.rglob("masks/*.png"):
        Image.fromarray(read_mask(path).pixels * 255).save(path.with_suffix(".jpg"), quality=60)
        path.unlink()
    report = report_of(dataset, tmp_path)
    assert report.exit_code == 0
    assert "lossy-masks" in [f.code for f in report.findings]
    shares = report.splits[0]["shares"]
    found = float(shares.rpartition(" ")[2].rstrip("%")) / 100
    assert found == pytest.approx(np.mean(discs), rel=0.01)


def test_one_hot_masks(make_dataset: Callable[..., Path], tmp_path: Path) -> None:
    dataset = make_dataset(classes=3)
    for path in dataset.rglob("masks/*.png"):
        np.savez_compressed(path.with_suffix(".npz"), mask=np.eye(3)[read_mask(path).pixels])
        path.unlink()
    assert assert_clean(report_of(dataset, tmp_path)).model.num_classes == 3


def _rewrite_images(dataset: Path, change: Callable[[NDArray[Any]], NDArray[Any]]) -> None:
    for path in dataset.rglob("images/*.png"):
        tifffile.imwrite(path.with_suffix(".tif"), change(read_image(path)))
        path.unlink()


def test_wide_gray_images_get_their_window(
    make_dataset: Callable[..., Path], tmp_path: Path
) -> None:
    dataset = make_dataset()
    _rewrite_images(dataset, lambda p: p[..., 0].astype(np.int16) * 10 - 1000)
    experiment = assert_clean(report_of(dataset, tmp_path))
    assert experiment.model.image_channels == 1
    low, high = experiment.image.window or (0, 0)
    images = np.stack([read_image(p) for p in (dataset / "train").rglob("images/*.tif")])
    assert 0.98 < np.mean((images >= low) & (images <= high)) < 1


def test_wide_images_of_one_value_get_no_window(
    make_dataset: Callable[..., Path], tmp_path: Path
) -> None:
    dataset = make_dataset()
    _rewrite_images(dataset, lambda p: np.full(p.shape[:2], 500, np.uint16))
    report = report_of(dataset, tmp_path)
    assert report.loaded.experiment.image.window is None
    assert "constant-images" in [f.code for f in report.findings]


@pytest.mark.parametrize(
    ("shape", "size", "expected"),
    [
        ((40, 48), None, (48, 40)),
        ((600, 800), None, (512, 384)),
        ((64, 200), 128, (128, 40)),
        ((33, 35), None, (36, 32)),
    ],
)
def test_size_of_the_network_fits_its_levels_and_the_images(
    make_dataset: Callable[..., Path],
    tmp_path: Path,
    shape: tuple[int, int],
    size: int | None,
    expected: tuple[int, int],
) -> None:
    dataset = make_dataset({"train": 2, "valid": 1}, size=shape)
    model = assert_clean(report_of(dataset, tmp_path, size)).model
    assert (model.image_width, model.image_height) == expected
    multiple = 2 ** (model.num_layers - 1)
    assert model.image_width % multiple == model.image_height % multiple == 0


def test_config_that_is_there_stays(make_dataset: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "flexseg.toml").write_text("# mine\n")
    with pytest.raises(ConfigError, match="already a config"):
        initialize(make_dataset(), tmp_path)
    assert (tmp_path / "flexseg.toml").read_text() == "# mine\n"
    assert list(tmp_path.glob("*.bat")) == []


def test_folder_without_pairs_is_a_data_error(
    make_dataset: Callable[..., Path], tmp_path: Path
) -> None:
    dataset = make_dataset({"train": 3})
    for i, path in enumerate((dataset / "train" / "masks").iterdir()):
        path.rename(path.with_name(f"{i}.png"))
    with pytest.raises(DataError, match="No mask is named after an image"):
        initialize(dataset, tmp_path / "project")
    assert not (tmp_path / "project").exists()


@pytest.mark.parametrize("name", ["nothing", "größe und 腫瘍"])
def test_folder_of_another_layout_is_a_data_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="no such folder"):
        initialize(tmp_path / name, tmp_path)
    (tmp_path / name / "pictures").mkdir(parents=True)
    with pytest.raises(DataError, match=r"holds pictures/ \(no files\), but no images with masks"):
        initialize(tmp_path / name, tmp_path)


def test_names_in_any_language(make_dataset: Callable[..., Path], tmp_path: Path) -> None:
    dataset = make_dataset(name="größe und 腫瘍's")
    assert_clean(report_of(dataset, tmp_path / "p"))


def test_derived_dataset_describes_itself(
    make_dataset: Callable[..., Path], tmp_path: Path
) -> None:
    """Names, ids and groups of `dataset.json`; a class that no mask has is kept."""
    dataset = make_dataset(splits={"": 6})
    classes = [
        {"id": 0, "name": "background", "color": [0, 0, 0]},
        {"id": 1, "name": 'the "disc"', "color": [0, 255, 0]},
        {"id": 2, "name": "rare", "color": [0, 0, 255]},
    ]
    content = {"group": "^(.*)_\\d+$", "classes": classes}
    (dataset / "dataset.json").write_text(json.dumps(content), encoding="utf-8")
    experiment = load(initialize(dataset, tmp_path / "project")[0], strict=True).experiment
    assert [(c.id, c.name, c.color) for c in experiment.mask.classes] == [
        (1, 'the "disc"', (0, 255, 0)),
        (2, "rare", (0, 0, 255)),
    ]
    assert experiment.model.num_classes == 3
    assert experiment.dataset.group == "^(.*)_\\d+$"
    assert experiment.augmentation.enabled
    (dataset / "dataset.json").write_text('{"labels": {"liver": 1}}', encoding="utf-8")
    load(initialize(dataset, tmp_path / "of another program")[0], strict=True)
    (dataset / "dataset.json").write_text('{"classes": 3}', encoding="utf-8")
    with pytest.raises(DataError, match="description of the dataset"):
        initialize(dataset, tmp_path / "other")


class TestSlicesOfVolumes:
    """Datasets of `flexseg derive volumes`: their config says how volumes are cut."""

    PARAMETERS: ClassVar[dict[str, Any]] = {
        "axis": "coronal", "rotate": 0, "window": "40/400", "intensity": "window -160 to 240",
        "bits": 8, "slices_left_out": 0,
    }  # fmt: skip

    @pytest.fixture
    def dataset(self, tmp_path: Path) -> Path:
        folder = tmp_path / "dataset"
        for number, name in enumerate(f"{v}_{i:04d}" for v in "abcdef" for i in range(4)):
            for kind in ("images", "masks"):
                (folder / kind).mkdir(parents=True, exist_ok=True)
                pixels = np.eye(40, 48, dtype=np.uint8)
                pixels[0, -1] = number if kind == "images" else 0
                write_png(folder / kind / f"{name}.png", pixels)
        self.describe(folder)
        return folder

    def describe(self, dataset: Path, **parameters: Any) -> None:
        classes = [{"id": i, "name": f"c{i}", "color": [0, 255 * i, 0]} for i in (0, 1)]
        content = {
            "classes": classes,
            "group": "^(.*)_\\d+$",
            "parameters": self.PARAMETERS | parameters,
        }
        (dataset / "dataset.json").write_text(json.dumps(content), encoding="utf-8")

    def made(self, dataset: Path, neighbours: int = 0) -> Experiment:
        project = dataset.with_name(f"project{len(list(dataset.parent.iterdir()))}")
        config = initialize(dataset, project, neighbours=neighbours)[0]
        return load(config, strict=True).experiment

    def test_the_config_says_how_volumes_are_cut(self, dataset: Path) -> None:
        volume = self.made(dataset).volume
        assert (volume.axis, volume.axes, volume.rotate) == ("coronal", [], 0)
        assert (volume.intensity, volume.bits, volume.neighbours) == ("40/400", 8, 0)
        axes = ["sagittal", "axial"]
        self.describe(dataset, axis=",".join(axes), rotate=270, window="percentile:1,99", bits=16)
        volume = self.made(dataset).volume
        assert (volume.axis, volume.axes, volume.rotate) == ("sagittal", axes, 270)
        assert (volume.intensity, volume.bits) == ("percentile:1,99", 16)

    def test_neighbours_are_channels(self, dataset: Path) -> None:
        experiment = self.made(dataset, 2)
        assert (experiment.volume.neighbours, experiment.model.image_channels) == (2, 5)
        plain = dataset / "dataset.json"
        plain.unlink()
        assert self.made(dataset, 1).volume.neighbours == 1
        assert "[volume]" not in initialize(dataset, dataset / "p")[0].read_text(encoding="utf-8")

    def test_neighbours_that_are_missing_are_refused(self, dataset: Path) -> None:
        self.describe(dataset, slices_left_out=3)
        with pytest.raises(DataError, match="3 slices without labels were left out"):
            self.made(dataset, 1)
        assert self.made(dataset).volume.neighbours == 0
        self.describe(dataset)
        for kind in ("images", "masks"):
            (dataset / kind / "b_0002.png").unlink()
        with pytest.raises(DataError, match="Slice 2 of the volume is missing"):
            self.made(dataset, 1)

    @pytest.mark.parametrize("wrong", [{"axis": "top"}, {"window": "soft"}, {"axis": 3}])
    def test_a_description_that_is_wrong(self, dataset: Path, wrong: dict[str, Any]) -> None:
        self.describe(dataset, **wrong)
        with pytest.raises(DataError, match="description of the dataset"):
            self.made(dataset)


def test_tiles_have_the_classes_of_their_masks(
    make_dataset: Callable[..., Path], tmp_path: Path
) -> None:
    """`flexseg derive tiles` takes masks over unchanged, and names no classes."""
    derived = derive_tiles(
        make_dataset({"": 4}, classes=3), tmp_path / "tiles", TileOptions((24, 24))
    )
    experiment = load(initialize(derived.output, tmp_path / "project")[0], strict=True).experiment
    assert [c.color for c in experiment.mask.classes] == [(0, 255, 0), (255, 0, 0)]
    assert experiment.model.num_classes == 3
    assert experiment.dataset.group == derived.group


def test_files_that_are_left_out_are_told(
    tmp_path: Path, make_dataset: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    logging.getLogger("flexseg").propagate = True
    folder = make_dataset({"all": 8}) / "all"
    (folder / "images" / "all_02.png").write_bytes(b"no picture")
    (folder / "masks" / "all_05.png").unlink()
    initialize(folder, tmp_path / "project")
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert any("all_02" in text and "left out" in text for text in told), told
    assert any("all_05" in text and "no mask" in text for text in told), told
