"""Pairing by file name."""

from __future__ import annotations

from pathlib import Path

import pytest

from flexseg.dataset.cases import group_of, images_by_stem, pair
from flexseg.dataset.names import case_of_mask, mask_stem
from flexseg.errors import DataError


def folder(root: Path, name: str, *files: str) -> Path:
    """A folder of empty files."""
    (root / name).mkdir()
    for file in files:
        (root / name / file).touch()
    return root / name


def test_pairs_by_stem_whatever_suffix_and_order(tmp_path: Path) -> None:
    """The originals pair by position in an unsorted listing (defect 12)."""
    images = folder(tmp_path, "images", "c.JPG", "a.png", "b.tif", "d.1.bmp")
    masks = folder(tmp_path, "masks", "b.npz", "d.1.png", "a.TIFF", "c.png", "notes.txt")
    pairing = pair(images, masks)
    found = [(c.id, c.image.name, c.mask.name, c.group) for c in pairing.cases]
    assert found == [
        ("a", "a.png", "a.TIFF", "a"),
        ("b", "b.tif", "b.npz", "b"),
        ("c", "c.JPG", "c.png", "c"),
        ("d.1", "d.1.bmp", "d.1.png", "d.1"),
    ]
    assert pairing.images_without_mask == ()
    assert pairing.masks_without_image == ()


def test_files_without_partner_are_listed(tmp_path: Path) -> None:
    images = folder(tmp_path, "images", "a.png", "b.png", "x.png")
    masks = folder(tmp_path, "masks", "b.png", "c.png", "A.png")
    pairing = pair(images, masks)
    assert [c.id for c in pairing.cases] == ["b"]
    assert [p.name for p in pairing.images_without_mask] == ["a.png", "x.png"]
    assert [p.name for p in pairing.masks_without_image] == ["A.png", "c.png"]


@pytest.mark.parametrize(
    ("images", "masks", "what"),
    [(["a.png", "a.jpg", "b.png"], ["a.png"], "image"), (["a.png"], ["a.png", "a.npz"], "mask")],
)
def test_two_files_of_one_stem_are_a_data_error(
    tmp_path: Path, images: list[str], masks: list[str], what: str
) -> None:
    folders = folder(tmp_path, "images", *images), folder(tmp_path, "masks", *masks)
    with pytest.raises(DataError) as caught:
        pair(*folders)
    assert f"1 {what} name(s) occur with more than one suffix" in caught.value.problem
    assert caught.value.where == str(tmp_path / f"{what}s")


def test_masks_may_be_named_after_a_rule(tmp_path: Path) -> None:
    images = folder(tmp_path, "images", "1.png", "11.png")
    masks = folder(tmp_path, "masks", "m_1_seg.png", "m_11_seg.png", "1.png")
    pairing = pair(images, masks, mask_name="m_{id}_seg")
    assert [(c.id, c.mask.name) for c in pairing.cases] == [
        ("1", "m_1_seg.png"),
        ("11", "m_11_seg.png"),
    ]
    assert [p.name for p in pairing.masks_without_image] == ["1.png"]


def test_masks_may_lie_beside_the_images(tmp_path: Path) -> None:
    both = folder(tmp_path, "all", "1.jpg", "1_mask.png")
    pairing = pair(both, both, mask_name="{id}_mask", image_format=".jpg")
    assert [(c.image.name, c.mask.name) for c in pairing.cases] == [("1.jpg", "1_mask.png")]


@pytest.mark.parametrize("name", [".png", "png", "PNG"])
def test_formats_choose_among_the_files(tmp_path: Path, name: str) -> None:
    images = folder(tmp_path, "images", "a.png", "a.jpg")
    masks = folder(tmp_path, "masks", "a.png", "a.npz")
    case = pair(images, masks, image_format=name, mask_format=name).cases[0]
    assert (case.image.name, case.mask.name) == ("a.png", "a.png")


def test_folder_without_images_is_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no images") as caught:
        images_by_stem(folder(tmp_path, "empty", "notes.txt"))
    assert ".png" in caught.value.fix


def test_folder_without_masks_pairs_nothing(tmp_path: Path) -> None:
    pairing = pair(folder(tmp_path, "images", "a.png"), folder(tmp_path, "masks"))
    assert pairing.cases == ()
    assert len(pairing.images_without_mask) == 1


@pytest.mark.parametrize(
    ("case_id", "pattern", "group"),
    [
        ("p012_slice3", r"^(p\d+)_", "p012"),
        ("p012_slice3", r"p\d+", "p012"),
        ("other", r"^(p\d+)_", "other"),
        ("p012_slice3", None, "p012_slice3"),
        ("x7", r"x(a)?\d", "x7"),
    ],
    ids=["group", "whole-match", "no-match", "no-pattern", "optional-group"],
)
def test_group(case_id: str, pattern: str | None, group: str) -> None:
    assert group_of(case_id, pattern) == group


def test_masks_in_the_folder_of_the_images_are_no_images(tmp_path: Path) -> None:
    both = folder(tmp_path, "both", "a.png", "a_mask.png", "b.png", "c_mask.png")
    pairing = pair(both, both, mask_name="{id}_mask")
    assert [(c.image.name, c.mask.name) for c in pairing.cases] == [("a.png", "a_mask.png")]
    assert [p.name for p in pairing.images_without_mask] == ["b.png"]
    assert [p.name for p in pairing.masks_without_image] == ["c_mask.png"]


@pytest.mark.parametrize(
    ("template", "case", "mask"),
    [
        ("{id}", "p1_s2", "p1_s2"),
        ("{id}_mask", "p1_s2", "p1_s2_mask"),
        ("label_{id:img=gt}_x", "img_07", "label_gt_07_x"),
    ],
)
def test_names_of_masks_and_back(template: str, case: str, mask: str) -> None:
    assert mask_stem(template, case) == mask
    assert case_of_mask(template, mask) == case


def test_masks_of_other_names_have_no_case() -> None:
    assert case_of_mask("{id}_mask", "p1_seg") is None
    assert case_of_mask("mask", "mask") is None
    # What was left out cannot be known.
    assert case_of_mask("{id:_0000=}", mask_stem("{id:_0000=}", "brain_0000")) == "brain"
