"""What workers of `derive` and `augment` write, and the errors they meet, are those of threads."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from flexseg.augment.offline import multiply
from flexseg.cli import sharing
from flexseg.config import load
from flexseg.derive.annotations.annotated_dataset import derive_annotations
from flexseg.derive.dataset_writer import Derived
from flexseg.derive.folders import derive_folders
from flexseg.derive.tiles import TileOptions, derive_tiles
from flexseg.derive.volumes import derive_volumes
from flexseg.errors import DataError
from flexseg.execution.shared import shared_by
from flexseg.files.volumes.volume import Volume
from flexseg.files.volumes.write import write_volume
from mapped_work import Distant
from support import CONFIG, bytes_below, flexseg
from synthetic import write_dataset

pytestmark = pytest.mark.usefixtures("own_log")

Deriving = Callable[[Path], Derived]


def test_derived_datasets(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data", {"train": 5}, classes=3)
    images, masks = (data / "train" / kind for kind in ("images", "masks"))
    rng = np.random.default_rng(0)
    for name in "ab":
        voxels = rng.integers(0, 3, (3, 20, 24))
        write_volume(tmp_path / "ct" / f"{name}.nii.gz", Volume(voxels.astype(np.int16) * 90))
        write_volume(tmp_path / "labels" / f"{name}.nii.gz", Volume(voxels.astype(np.uint8)))
    outline = {"label": "disc", "points": [[2, 2], [20, 4], [9, 30]], "shape_type": "polygon"}
    for path in images.iterdir():
        about = {"shapes": [outline], "imagePath": path.name, "imageHeight": 40, "imageWidth": 48}
        (tmp_path / "json").mkdir(exist_ok=True)
        (tmp_path / "json" / f"{path.stem}.json").write_text(json.dumps(about))
    options = TileOptions(size=(16, 16), overlap=4)
    ways: dict[str, Deriving] = {
        "folders": lambda output: derive_folders(images, masks, output),
        "tiles": lambda output: derive_tiles(data / "train", output, options),
        "volumes": lambda output: derive_volumes(tmp_path / "ct", tmp_path / "labels", output),
        "annotations": lambda output: derive_annotations(tmp_path / "json", images, output),
    }
    for name, derive in ways.items():
        serial = derive(tmp_path / "one" / name)
        with shared_by(lambda: Distant(2)):
            shared = derive(tmp_path / "two" / name)
        assert (shared.cases, shared.notes) == (serial.cases, serial.notes)
    found = bytes_below(tmp_path / "two")
    assert found == bytes_below(tmp_path / "one") and len(found) > 60
    for name in ("train_01.png", "train_03.png"):
        (masks / name).write_bytes(b"\x89PNG damaged")
    errors = []
    for workers in (None, lambda: Distant(2)):
        with shared_by(workers), pytest.raises(DataError, match="2 files are wrong") as caught:
            derive_folders(images, masks, tmp_path / "three")
        errors.append(str(caught.value))
    assert errors[0] == errors[1]


def test_augmented_dataset(tmp_path: Path) -> None:
    """With a case that cannot be read, which a second run adds."""
    data = write_dataset(tmp_path / "dataset", {"train": 4, "valid": 2, "test": 1}, classes=3)
    (tmp_path / "a.toml").write_text(CONFIG + "[augmentation]\nenabled = true\n")
    loaded = load(tmp_path / "a.toml")
    damaged = data / "train" / "images" / "train_02.png"
    serial = multiply(loaded, tmp_path / "one", copies=2)
    whole = damaged.read_bytes()
    times = damaged.stat()
    damaged.write_bytes(b"\x89PNG damaged".ljust(len(whole)))
    os.utime(damaged, ns=(times.st_atime_ns, times.st_mtime_ns))
    with shared_by(lambda: Distant(2)):
        shared = multiply(loaded, tmp_path / "two", copies=2)
        assert [str(damaged) in str(error) for error in shared.failed] == [True]
        damaged.write_bytes(whole)
        os.utime(damaged, ns=(times.st_atime_ns, times.st_mtime_ns))
        shared = multiply(loaded, tmp_path / "two", copies=2)
    assert shared.resumed == 6 and shared.pairs == serial.pairs
    assert bytes_below(tmp_path / "two") == bytes_below(tmp_path / "one")


def test_the_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each lets workers share its work."""
    data = write_dataset(tmp_path / "dataset", {"train": 2, "valid": 1, "test": 1}, classes=3)
    (tmp_path / "a.toml").write_text(CONFIG + "[augmentation]\nenabled = true\n")
    given: list[tuple[int | None, str | None]] = []

    def opened(workers: int | None, ray: str | None) -> Distant:
        given.append((workers, ray))
        return Distant(2)

    monkeypatch.setattr(sharing, "open_workers", opened)
    folders = (data / "train" / "images", data / "train" / "masks")
    assert flexseg("derive", "folders", *folders, "-o", tmp_path / "a", "--workers", "2") == 0
    assert flexseg("derive", "tiles", data, "-o", tmp_path / "b", "--ray", "local") == 0
    assert flexseg("augment", tmp_path / "a.toml", "--workers", "1") == 0
    assert {*given} == {(2, None), (None, "local"), (1, None)}
    assert flexseg("augment", tmp_path / "a.toml", "--preview", "--workers", "1") == 2
