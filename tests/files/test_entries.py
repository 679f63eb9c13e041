"""What lies in a folder: nothing is left out without a word, whatever is no file."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from PIL import Image

from flexseg.errors import DataError
from flexseg.files.entries import described, left_out, list_files, require_file, require_folder
from flexseg.files.images import is_lossy, read_image, read_mask, stored_dtype
from flexseg.files.large_images import open_regions
from flexseg.files.volumes.paths import find_volumes, no_volumes
from flexseg.files.volumes.read import read_volume

ANNEX = "../.git/annex/objects/xx/yy/MD5E-s9--{0}/MD5E-s9--{0}"


def _link(path: Path, target: str) -> None:
    path.symlink_to(target)


def odd_entries(folder: Path, suffix: str) -> dict[str, str]:
    """Makes entries that are no files; name -> what is said of each."""
    names = {f"{name}{suffix}" for name in ("gone", "annexed", "circle", "folder", "lfs", "annex")}
    gone, annexed, circle, inner, lfs, unlocked = (
        folder / f"{name}{suffix}"
        for name in ("gone", "annexed", "circle", "folder", "lfs", "annex")
    )
    _link(gone, "nowhere")
    _link(annexed, ANNEX.format(annexed.name))
    _link(circle, circle.name)
    inner.mkdir()
    lfs.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n")
    unlocked.write_text("/annex/objects/MD5E-s9--0.png\n")
    said = {
        gone.name: "a link to nowhere, which does not exist",
        annexed.name: "datalad get FILE` or `git annex get",
        circle.name: "leads back to itself",
        inner.name: "it has the name of a file",
        lfs.name: "git lfs pull",
        unlocked.name: "datalad get FILE` or `git annex get",
    }
    assert set(said) == names
    if sys.platform != "win32":
        os.mkfifo(folder / f"pipe{suffix}")
        said[f"pipe{suffix}"] = "a device or a pipe"
    return said


@pytest.mark.parametrize("suffix", [".png", ".tif", ".npy", ".webp", ".gif"])
def test_what_is_named_like_an_image_counts_as_one(tmp_path: Path, suffix: str) -> None:
    """Every reader says what is wrong, and none waits for a pipe."""
    said = odd_entries(tmp_path, suffix)
    (tmp_path / f".hidden{suffix}").write_text("")
    found = list_files(tmp_path, [suffix])
    assert [path.name for path in found] == sorted(said)
    for path in found:
        for read in (read_image, read_mask, require_file):
            with pytest.raises(DataError) as caught:
                read(path)
            assert said[path.name] in str(caught.value)
            assert caught.value.where == str(path)
        with pytest.raises(DataError), open_regions(path, 1):
            pass
        assert stored_dtype(path) == "uint8"


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".mha", ".nrrd", ".h5", ".dcm"])
def test_what_is_named_like_a_volume_counts_as_one(tmp_path: Path, suffix: str) -> None:
    said = odd_entries(tmp_path, suffix)
    if suffix == ".dcm":  # slices of the series that the folder is
        assert find_volumes(tmp_path) == [tmp_path, tmp_path / "folder.dcm"]
        with pytest.raises(DataError, match="datalad get"):
            read_volume(tmp_path)
        return
    found = find_volumes(tmp_path)
    assert sorted(path.name for path in found) == sorted(said)
    for path in found:
        with pytest.raises(DataError) as caught:
            read_volume(path)
        assert said[path.name] in str(caught.value)


def test_a_slice_without_suffix_that_is_not_there_is_not_left_out(tmp_path: Path) -> None:
    _link(tmp_path / "IM0", ANNEX.format("0"))
    (tmp_path / "IM1").write_bytes(b"\0" * 128 + b"DICM")
    with pytest.raises(DataError, match="datalad get"):
        read_volume(tmp_path)


def test_listing_sorts_and_skips_what_is_no_image(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.png", ".hidden.png", "c.txt", ".b.png.part", "d.Jpg"):
        (tmp_path / name).touch()
    names = [p.name for p in list_files(tmp_path, (".png", ".jpg"))]
    assert names == ["a.png", "b.PNG", "d.Jpg"]


def test_listing_a_missing_folder_is_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        list_files(tmp_path / "none", (".png",))
    assert caught.value.where == str(tmp_path / "none")


def test_folders_named_like_volumes_that_hold_some_are_folders(tmp_path: Path) -> None:
    """As some programs unpack archives."""
    inside = tmp_path / "a.nii" / "a.nii"
    inside.parent.mkdir()
    inside.write_text("")
    assert find_volumes(tmp_path) == [inside]


def test_the_rest_of_a_folder_is_counted_and_named(tmp_path: Path) -> None:
    for name in ("a.png", "notes.txt", "b.svg", ".hidden", "sub/c.png", "out/a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    read = list_files(tmp_path, [".png"])
    rest = left_out(tmp_path, read, without=[tmp_path / "out"])
    assert described(tmp_path, rest) == "2 files (b.svg, notes.txt) and 1 folder (sub/)"
    read = list_files(tmp_path, [".PNG"], recursive=True, without=[tmp_path / "out"])
    assert [p.relative_to(tmp_path).as_posix() for p in read] == ["a.png", "sub/c.png"]
    rest = left_out(tmp_path, read, recursive=True, without=[tmp_path / "out"])
    assert described(tmp_path, rest) == "2 files (b.svg, notes.txt)"


def test_the_rest_beside_volumes_is_named(tmp_path: Path) -> None:
    for name in ("a.mhd", "a.raw", "notes.txt", "sub/deep/c.nii", "sub/b.nii", "scan/1.dcm"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    volumes = find_volumes(tmp_path)
    rest = no_volumes(tmp_path, volumes)
    assert (
        described(tmp_path, rest) == "2 files (notes.txt, sub/deep/c.nii) and 1 folder (sub/deep/)"
    )
    every = find_volumes(tmp_path, recursive=True)
    assert {p.name for p in every} == {"a.mhd", "b.nii", "c.nii", "scan"}
    assert described(tmp_path, no_volumes(tmp_path, every)) == "1 file (notes.txt)"


def test_folders_that_lead_in_a_circle_are_visited_once(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.png").write_text("")
    _link(tmp_path / "sub" / "again", "..")
    _link(tmp_path / "other", "sub")
    found = list_files(tmp_path, [".png"], recursive=True)
    assert len(found) == 1


def test_a_link_to_a_folder_that_is_gone(tmp_path: Path) -> None:
    _link(tmp_path / "images", "/nowhere/images")
    with pytest.raises(DataError, match="a link to /nowhere/images, which does not exist"):
        require_folder(tmp_path / "images")
    with pytest.raises(DataError, match="no such folder"):
        require_folder(tmp_path / "none")


def test_only_exact_webp_are_exact(tmp_path: Path) -> None:
    image = Image.new("RGB", (9, 7), (200, 30, 30))
    for name, exact in (("a.webp", False), ("b.webp", True)):
        image.save(tmp_path / name, lossless=exact)
        assert is_lossy(tmp_path / name) is not exact
