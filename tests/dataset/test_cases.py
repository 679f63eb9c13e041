"""Pairing by file name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flexseg.dataset.candidates.mask_names import case_of_mask, mask_stem
from flexseg.dataset.cases import group_of, images_by_stem, pair, read_masks
from flexseg.dataset.names import composed
from flexseg.errors import DataError
from flexseg.files.images import write_png


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
    masks = folder(tmp_path, "masks", "b.png", "c.png", "aa.png")
    pairing = pair(images, masks)
    assert [c.id for c in pairing.cases] == ["b"]
    assert [p.name for p in pairing.images_without_mask] == ["a.png", "x.png"]
    assert [p.name for p in pairing.masks_without_image] == ["aa.png", "c.png"]


@pytest.mark.parametrize(
    ("images", "masks", "taken", "left_out"),
    [
        # What most files of the folder are.
        (["a.png", "a.jpg", "b.jpg"], ["a.png", "b.png"], ["a.jpg", "a.png"], ["a.png"]),
        # Compression blurs masks.
        (["a.png"], ["a.jpg", "a.png", "b.jpg"], ["a.png", "a.png"], ["a.jpg"]),
    ],
)
def test_equal_stems_do_not_stop_a_folder(
    tmp_path: Path, images: list[str], masks: list[str], taken: list[str], left_out: list[str]
) -> None:
    folders = folder(tmp_path, "images", *images), folder(tmp_path, "masks", *masks)
    pairing = pair(*folders)
    assert [path.name for path in pairing.cases[0].files] == taken
    assert [path.name for path in pairing.equal_names] == left_out


@pytest.mark.parametrize(
    ("image", "mask", "rule"),
    [
        ("Mu\u0308ller", "M\u00fcller", "{id}"),
        ("M\u00fcller", "Mu\u0308ller_mask", "{id}_mask"),
        ("IMG_1", "img_1", "{id}"),
        ("IMG_1", "img_1_MASK", "{id}_mask"),
        ("IMG_1", "Gt_1", "{id:img=gt}"),
        ("STRASSE", "stra\u00dfe", "{id}"),
    ],
)
def test_what_people_overlook_in_names_does_not_count(
    tmp_path: Path, image: str, mask: str, rule: str
) -> None:
    images = folder(tmp_path, "images", f"{image}.PNG", "other.png")
    masks = folder(tmp_path, "masks", f"{mask}.png")
    pairing = pair(images, masks, mask_name=rule)
    assert [(c.image.name, c.mask.name) for c in pairing.cases] == [(f"{image}.PNG", f"{mask}.png")]
    assert [c.id for c in pairing.cases] == [composed(image)]


def test_names_that_differ_by_case_alone_stay_apart(tmp_path: Path) -> None:
    images = folder(tmp_path, "images", "a.png", "A.png")
    both = pair(images, folder(tmp_path, "masks", "a.png", "A.png"))
    assert [(c.image.name, c.mask.name) for c in both.cases] == [("A.png",) * 2, ("a.png",) * 2]
    one = pair(images, folder(tmp_path, "one", "a.png"))
    assert [c.image.name for c in one.cases] == ["a.png"]
    assert pair(images, folder(tmp_path, "unclear", "a_.png"), mask_name="{id}_").cases[0].id == "a"


class TestSeveralMasks:
    def test_names(self, tmp_path: Path) -> None:
        """A mask belongs to the image of the longest name that it fits."""
        both = folder(
            tmp_path, "all", "b (1).png", "b (1)_mask.png", "b (1)_mask_1.png", "b (1)_MASK_2.png",
            "b (2).png", "b (2)_mask.png", "b.png", "x.png", "y_mask.png",
        )  # fmt: skip
        pairing = pair(both, both, mask_name="{id}_mask*")
        assert {c.id: [p.name for p in c.masks] for c in pairing.cases} == {
            "b (1)": ["b (1)_mask.png", "b (1)_mask_1.png", "b (1)_MASK_2.png"],
            "b (2)": ["b (2)_mask.png"],
        }
        assert [p.name for p in pairing.images_without_mask] == ["b.png", "x.png"]
        assert [p.name for p in pairing.masks_without_image] == ["y_mask.png"]
        masks = folder(tmp_path, "masks", "a_1.png", "a_2.png", "a_1_1.png", "a_10_7.png")
        images = folder(tmp_path, "images", "a.png", "a_1.png", "a_10.png")
        found = {
            c.id: [p.stem for p in c.masks] for c in pair(images, masks, mask_name="{id}_*").cases
        }
        assert found == {"a": ["a_1", "a_2"], "a_1": ["a_1_1"], "a_10": ["a_10_7"]}

    @pytest.mark.parametrize("suffix", [".png", ".jpg", ".npy"])
    @pytest.mark.parametrize("color", [False, True])
    def test_they_mark_together(self, tmp_path: Path, suffix: str, color: bool) -> None:
        masks = [np.zeros((16, 16), np.uint8) for _ in range(3)]
        for i, mask in enumerate(masks):
            mask[4 * i : 4 * i + 4, 2:14] = 255
        files = [tmp_path / f"m{i}{suffix}" for i in range(3)]
        for path, mask in zip(files, masks, strict=True):
            pixels = np.stack([mask, mask * 0, mask * 0], -1) if color else mask
            if suffix == ".npy":
                np.save(path, pixels)
            else:
                Image.fromarray(pixels).save(path, quality=95)
        found = read_masks(files).pixels
        found = found.max(axis=-1) if found.ndim == 3 else found
        np.testing.assert_array_equal(found > 100, np.sum(masks, axis=0) > 0)

    def test_other_sizes_and_palettes_are_refused(self, tmp_path: Path) -> None:
        a, b, c = (tmp_path / f"{name}.png" for name in "abc")
        write_png(a, np.ones((4, 4), np.uint8), [0, 0, 0, 9, 9, 9])
        write_png(b, np.ones((4, 5), np.uint8), [0, 0, 0, 9, 9, 9])
        write_png(c, np.ones((4, 4), np.uint8), [0, 0, 0, 7, 7, 7])
        for other in (b, c):
            with pytest.raises(DataError, match="The masks of one image differ") as caught:
                read_masks([a, other])
            assert caught.value.where == str(other)


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
