from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from flexseg.dataset.reading import Dataset, ImageDataset, VolumeDataset
from flexseg.errors import DataError
from flexseg.files.dicom.image import holds_pictures, is_picture
from flexseg.files.images import read_image, stored_dtype, write_png
from flexseg.files.volumes.paths import find_volumes
from flexseg.inference.image_files import find_images
from flexseg.inference.volumes.volume_sources import holds_volumes, volume_cases
from synthetic_volumes import enhanced, ramp, write_series


def pictures(folder: Path, tmp: Path, count: int = 4) -> list[NDArray]:
    """X-rays: one per patient and series, without positions."""
    pydicom = pytest.importorskip("pydicom")
    folder.mkdir(parents=True)
    arrays = []
    for i in range(count):
        array = np.random.default_rng(i).integers(0, 3000, (1, 16, 20))
        (path,) = write_series(tmp, array, f"P{i}")
        tags = pydicom.dcmread(path)
        del tags.ImagePositionPatient, tags.ImageOrientationPatient
        tags.save_as(folder / f"p{i}.dcm")
        arrays.append(array[0])
    return arrays


def masks(folder: Path, names: list[str], shape: tuple[int, int]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(names):
        mask = np.zeros(shape, np.uint8)
        mask[2 + i % 3 : 9, 3:12] = 255
        write_png(folder / f"{name}.png", mask)


def test_pictures_with_masks_are_images(tmp_path: Path) -> None:
    arrays = pictures(tmp_path / "d" / "images", tmp_path / "made")
    files = sorted((tmp_path / "d" / "images").iterdir())
    masks(tmp_path / "d" / "masks", [path.stem for path in files], (16, 20))
    for path, array in zip(files, arrays, strict=True):
        np.testing.assert_array_equal(read_image(path), array[..., None])
        assert read_image(path).dtype == stored_dtype(path) == np.int16
    data = Dataset.open(tmp_path / "d")
    assert isinstance(data, ImageDataset) and len(data.cases) == 4 and data.wide
    folder = tmp_path / "d" / "images"
    assert holds_pictures(folder) and is_picture(files[0])
    assert not holds_volumes(folder) and not holds_volumes(files[0])
    assert [*find_images(folder).names.values()] == ["p0", "p1", "p2", "p3"]
    # Asked for volumes, each is one of a single slice.
    assert find_volumes(folder) == files
    assert [case.name for case in volume_cases(folder, tmp_path)] == ["p0", "p1", "p2", "p3"]


@pytest.mark.parametrize("name", ["IM{:04d}", "1.2.840.113619.{}", "p{}.img", "p{}.1"])
def test_pictures_by_their_content(tmp_path: Path, name: str) -> None:
    """Numbers behind a point belong to the name, or all these had one name."""
    arrays = pictures(tmp_path / "d" / "images", tmp_path / "made")
    folder, stems = tmp_path / "d" / "images", []
    for i, path in enumerate(sorted(folder.iterdir())):
        renamed = path.rename(folder / name.format(i))
        stems.append(renamed.name.removesuffix(".img"))
        np.testing.assert_array_equal(read_image(renamed), arrays[i][..., None])
        assert stored_dtype(renamed) == np.int16
    (folder / "Thumbs.db").write_bytes(b"x" * 200)
    (folder / "notes").write_text("p0: lung", encoding="utf-8")
    masks(tmp_path / "d" / "masks", stems, (16, 20))
    assert [*find_images(folder).names.values()] == stems
    assert find_images(folder / name.format(0)).names == {folder / name.format(0): stems[0]}
    assert {case.id for case in Dataset.open(tmp_path / "d").cases} == {*stems}


@pytest.mark.parametrize(("modality", "alone"), [("MG", True), ("US", True), ("CT", False)])
def test_views_of_one_series(tmp_path: Path, modality: str, alone: bool) -> None:
    """A slice may have lost its place, an X-ray never had one."""
    pydicom = pytest.importorskip("pydicom")
    for path in write_series(tmp_path / "views", ramp((4, 5, 6))):
        tags = pydicom.dcmread(path)
        tags.Modality = modality
        del tags.ImagePositionPatient, tags.ImageOrientationPatient
        tags.save_as(path)
    assert holds_pictures(tmp_path / "views") == alone
    assert holds_volumes(tmp_path / "views") == (not alone)
    assert len(find_volumes(tmp_path / "views")) == (4 if alone else 1)


def test_damaged_pictures_are_listed_among_the_others(tmp_path: Path) -> None:
    folder = tmp_path / "d" / "images"
    pictures(folder, tmp_path / "made", count=3)
    (folder / "empty.dcm").touch()
    (folder / "gone.dcm").symlink_to("nowhere")
    (folder / "text.dcm").write_text("no image")
    assert holds_pictures(folder) and not holds_volumes(folder)
    names = ["empty", "gone", "p0", "p1", "p2", "text"]
    assert [path.stem for path in find_volumes(folder)] == names
    assert sorted(find_images(folder).names.values()) == names
    assert [case.name for case in volume_cases(folder, tmp_path / "out")] == names
    masks(tmp_path / "d" / "masks", names, (16, 20))
    data = Dataset.open(tmp_path / "d")
    assert isinstance(data, ImageDataset) and len(data.cases) == 3 and len(data.left_out) == 3


def test_slices_with_masks_are_images_and_without_them_a_volume(tmp_path: Path) -> None:
    folder = tmp_path / "d" / "images"
    files = write_series(folder, ramp((4, 16, 20)) - 100)
    masks(tmp_path / "d" / "masks", [path.stem for path in files], (16, 20))
    data = Dataset.open(tmp_path / "d")
    assert isinstance(data, ImageDataset) and len(data.cases) == 4
    np.testing.assert_array_equal(read_image(files[1])[..., 0], ramp((4, 16, 20))[1] - 100)
    assert not holds_pictures(folder) and holds_volumes(folder) and holds_volumes(files[0])


def test_series_with_label_series_are_volumes(tmp_path: Path) -> None:
    for kind, array in (("images", ramp((4, 6, 8))), ("labels", ramp((4, 6, 8)) % 2)):
        for i in range(4):
            write_series(tmp_path / "d" / kind / f"p{i}", array, f"{kind}{i}")
    assert isinstance(Dataset.open(tmp_path / "d"), VolumeDataset)


def test_several_frames_are_no_image(tmp_path: Path) -> None:
    pytest.importorskip("pydicom")
    enhanced(tmp_path / "f.dcm", ramp((2, 4, 4)), [(0, 0, 0), (0, 0, 1)])
    with pytest.raises(DataError, match="2 frames, expected one image"):
        read_image(tmp_path / "f.dcm")
