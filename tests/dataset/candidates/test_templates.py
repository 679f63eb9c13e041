from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from flexseg.config.findings import choices_told
from flexseg.dataset.candidates.templates import Stems, find_template, with_further_masks
from flexseg.dataset.reading import Dataset
from flexseg.errors import DataError
from flexseg.files.images import write_png

IMAGES = [f"case {i}" for i in range(1, 12)]


def found(images: Sequence[str], masks: Sequence[str]) -> tuple[str, str]:
    stems = [Stems(frozenset(images), frozenset(masks))]
    best = find_template(stems)
    assert best is not None
    return with_further_masks(best, stems, Path("masks"))


def masks(*templates: str, images: Sequence[str] = IMAGES) -> list[str]:
    return [template.format(image) for template in templates for image in images]


@pytest.mark.parametrize(
    ("names", "template"),
    [
        (masks("{}"), "{id}"),
        (masks("{}_mask"), "{id}_mask"),
        (masks("{}_MASK"), "{id}_MASK"),
        # A second lesion of some images.
        ([*masks("{}_mask"), "case 2_mask_1", "case 2_mask_2", "case 4_mask_1"], "{id}_mask*"),
        ([*masks("{}_seg"), "case 3_seg2"], "{id}_seg*"),
        ([*masks("{}-gt"), "case 3-gt (2)"], "{id}-gt*"),
        # One file per object, from 0 on.
        ([*masks("{}_0"), *masks("{}_1", images=IMAGES[:5])], "{id}_*"),
        ([*masks("mask_{}"), "mask_case 3_1"], "mask_{id}*"),
        # Masks of images that are not there, and strays.
        ([*masks("{}"), "case 12", "case 110", "other"], "{id}"),
        ([*masks("{}_mask"), "case 2_mask_old", "case 12_mask"], "{id}_mask"),
    ],
)
def test_template(names: Sequence[str], template: str) -> None:
    assert found(IMAGES, names)[0] == template


def test_several_masks_are_told() -> None:
    _, note = found(IMAGES, [*masks("{}_mask"), "case 2_mask_1"])
    assert "{id}_mask_1" in note and "--mask-name '{id}_mask'" in note


@pytest.mark.parametrize(
    ("names", "counted", "together"),
    [
        (masks("{}_liver", "{}_spleen"), "{id}_liver (11), {id}_spleen (11)", "{id}_*"),
        (masks("liver_{}", "spleen_{}"), "liver_{id} (11), spleen_{id} (11)", "*_{id}"),
        (masks("{}_mask", "{}_mask_edge"), "{id}_mask (11), {id}_mask_edge (11)", "{id}_mask*"),
        (masks("{}", "{}_color"), "{id} (11), {id}_color (11)", "{id}*"),
        ([*masks("{}"), "case 2_1"], "{id} (11), {id}_1 (1)", "{id}*"),
    ],
)
def test_what_nobody_knows_is_a_question(names: Sequence[str], counted: str, together: str) -> None:
    with pytest.raises(DataError) as caught:
        found(IMAGES, names)
    assert counted in caught.value.problem
    assert f"to be merged: --mask-name '{together}'" in caught.value.fix
    assert "flexseg derive folders IMAGES MASKS -o NEW --class" in caught.value.fix


def test_nothing_pairs() -> None:
    assert find_template([Stems(frozenset("ab"), frozenset("cd"))]) is None


def test_masks_that_mark_together_are_told(tmp_path: Path) -> None:
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    marked = np.zeros((32, 32), np.uint8)
    marked[4:12, 4:12] = 255
    for i in range(4):
        noise = np.random.default_rng(i).integers(0, 255, (32, 32, 3), np.uint8)
        write_png(tmp_path / "images" / f"c{i}.png", noise)
        write_png(tmp_path / "masks" / f"c{i}_seg.png", marked)
        write_png(tmp_path / "masks" / f"c{i}_seg2.png", np.roll(marked, 12, axis=0))
    told = [finding.what for finding in choices_told(Dataset.open(tmp_path).findings)]
    assert any("several masks, as in {id}_seg2: these are merged" in what for what in told)
