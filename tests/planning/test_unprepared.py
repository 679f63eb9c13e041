"""The datasets that `benchmarks/unprepared.py` makes, and what reading them says.

They are made here of drawn cells, in the layout of the open data that the benchmark takes.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from flexseg.dataset.reading import Dataset, ImageDataset

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def unprepared() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        return importlib.import_module("unprepared")


def write_cells(folder: Path, count: int, mode: str, values: tuple[int, ...]) -> None:
    """`images/` and `masks/`: discs within discs, a value each."""
    rng = np.random.default_rng(len(mode))
    rows, columns = np.mgrid[:32, :40]
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    for i in range(count):
        labels = np.zeros((32, 40), np.uint8)
        y, x = rng.integers(12, 20), rng.integers(12, 28)
        for value, radius in zip(values, (10, 5), strict=False):
            labels[(rows - y) ** 2 + (columns - x) ** 2 < radius**2] = value
        noise = rng.integers(0, 40, (32, 40, 3))
        pixels = np.clip(noise + labels[..., None], 0, 255).astype(np.uint8)
        Image.fromarray(pixels).convert(mode).save(folder / "images" / f"{i:03d}.png")
        Image.fromarray(labels).save(folder / "masks" / f"{i:03d}.png")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_cells(tmp_path / "data/nuclei", 40, "RGBA", (255,))
    write_cells(tmp_path / "data/wbc", 12, "RGB", (128, 255))
    return tmp_path / "data"


def test_mixed(unprepared: ModuleType, data: Path, tmp_path: Path) -> None:
    folder = unprepared.make_mixed(data, tmp_path / "mixed", 30)
    modes, sizes = set(), set()
    for path in (folder / "images").iterdir():
        if path.stem != "broken":
            with Image.open(path) as image:
                modes.add((image.format, image.mode))
                sizes.add(image.size)
    assert {("PNG", "RGBA"), ("PNG", "RGB"), ("PNG", "L"), ("JPEG", "RGB")} <= modes
    assert any(kind == "TIFF" for kind, _ in modes) and len(sizes) == 3
    data = Dataset.open(folder)
    assert isinstance(data, ImageDataset)
    division = data.divide()
    assert len(data.cases) == 30 and len(data.labels.foreground) == 1
    assert data.channels == 3
    assert len(data.left_out) == 1 and "broken" in data.left_out[0]
    told = {finding.code for finding in (*data.findings, *division.findings)}
    assert {"images-without-mask", "masks-without-image"} <= told
    assert all(division.parts[split] for split in ("train", "valid", "test"))


@pytest.mark.parametrize("together", [True, False])
def test_few(unprepared: ModuleType, data: Path, tmp_path: Path, together: bool) -> None:
    folder = unprepared.make_few(data, tmp_path / "few", together=together)
    data = Dataset.open(folder)
    assert isinstance(data, ImageDataset)
    division = data.divide()
    assert len(data.cases) == 8 and data.layout.mask_name == "{id}_mask"
    colors = set(unprepared.CELL_COLORS.values()) - {(0, 0, 0)}
    assert {c.colors[0] for c in data.labels.foreground} == colors
    assert min(len(division.parts[split]) for split in ("train", "valid", "test")) >= 1


def test_rare(unprepared: ModuleType, data: Path, tmp_path: Path) -> None:
    folder = unprepared.make_rare(data, tmp_path / "rare", 40)
    data = Dataset.open(folder)
    assert isinstance(data, ImageDataset)
    division = data.divide()
    assert len(data.cases) == 40 and len(data.labels.foreground) == 2
    rare = {look.case.id for look in data.looks if look.class_pixels[2]}
    assert len(rare) == 3
    assert rare & {case.id for case in division.parts["train"]}
    assert "rare-class" in {finding.code for finding in (*data.findings, *division.findings)}


def test_absent_data_are_told(
    unprepared: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        unprepared.main(["--data", str(tmp_path), "--work", str(tmp_path / "work")])
    assert not caught.value.code
    assert capsys.readouterr().out.count("skipped") == 3


@pytest.mark.parametrize(
    ("change", "well"),
    [({}, True), ({"exit_code": 3}, False), ({"seconds": 106.0}, False), ({"dice": None}, False),
     ({"said": "Traceback (most recent call last)"}, False)],
)  # fmt: skip
def test_what_went_well(unprepared: ModuleType, change: dict[str, object], well: bool) -> None:
    outcome = {"exit_code": 0, "seconds": 104.0, "dice": 0.9, "said": "done"} | change
    make: Callable[..., object] = unprepared.Outcome
    assert make(**outcome).went_well(100) is well  # type: ignore[attr-defined]
