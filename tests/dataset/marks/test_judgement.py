"""`check` judges masks, whatever the config says of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from flexseg.config.findings import Severity
from flexseg.dataset.cases import Case
from flexseg.dataset.labels import LabelClass, LabelMap
from flexseg.dataset.looks import Look, look_at
from flexseg.dataset.marks.guard import require_marks
from flexseg.dataset.marks.judgement import mask_findings
from flexseg.errors import DataError
from flexseg.files.images import write_png

BLACK, RED, GREEN = (0, 0, 0), (255, 0, 0), (0, 128, 0)
PALETTE = [*BLACK, *RED, *GREEN]


def _labels(*classes: tuple[tuple[int, int, int], tuple[int, ...]]) -> LabelMap:
    return LabelMap.of_foreground(
        [LabelClass(i, str(i), (rgb,), values) for i, (rgb, values) in enumerate(classes, 1)]
    )


def _looks(
    folder: Path, masks: list[NDArray[np.uint8]], labels: LabelMap, palette: list[int] | None = None
) -> list[Look]:
    looks = []
    for i, mask in enumerate(masks):
        image, path = folder / f"i{i}.png", folder / f"m{i}.png"
        write_png(image, np.full((*mask.shape, 3), 9, np.uint8))
        write_png(path, mask, palette)
        looks.append(look_at(Case(f"c{i}", image, path, f"c{i}"), labels))
    return looks


def _discs(value: int = 1) -> list[NDArray[np.uint8]]:
    masks = []
    for i in range(4):
        mask = np.zeros((32, 40), np.uint8)
        cv2.circle(mask, (14 + 3 * i, 15), 7 + i % 2, value, -1)
        masks.append(mask)
    return masks


def _codes(folder: Path, masks: list[NDArray[np.uint8]], labels: LabelMap,
           palette: list[int] | None = None) -> list[str]:  # fmt: skip
    return [f.code for f in mask_findings(_looks(folder, masks, labels, palette), labels)]


def test_good_masks_are_not_spoken_of(tmp_path: Path) -> None:
    assert _codes(tmp_path, _discs(), _labels((RED, (1,)))) == []
    assert mask_findings([], _labels((RED, ()))) == []


@pytest.mark.parametrize("kind", ["photograph", "fractions"])
@pytest.mark.parametrize("labels", [_labels((RED, (1,))), _labels((RED, ()), (GREEN, ()))])
def test_what_no_mask_can_be(tmp_path: Path, kind: str, labels: LabelMap) -> None:
    """As `init` and a training refuse it, whatever classes a config names."""
    image, path = tmp_path / "i.png", tmp_path / ("m.png" if kind == "photograph" else "m.npy")
    noise = np.random.default_rng(0).integers(0, 256, (40, 48, 3)).astype(np.uint8)
    write_png(image, noise)
    if kind == "photograph":
        write_png(path, cv2.GaussianBlur(noise, (0, 0), 3))
    else:
        np.save(path, _discs()[0] / np.float32(3))
    looks = [look_at(Case("c", image, path, "c"), labels)]
    (finding,) = mask_findings(looks, labels)
    text = "like photographs" if kind == "photograph" else "fractions that fill areas"
    assert finding.severity is Severity.ERROR and text in finding.what
    with pytest.raises(DataError, match=text):
        require_marks([look.case for look in looks], labels)
    split = replace(labels, threshold=100.0)
    assert not any(text in finding.what for finding in mask_findings(looks, split))


def test_masks_saved_in_two_ways(tmp_path: Path) -> None:
    masks = _discs()
    masks[1], masks[3] = 1 - masks[1], 1 - masks[3]
    labels = _labels((RED, (1,)))
    assert _codes(tmp_path, masks, labels) == ["exchanged-background"]
    masks[0][:, :20] = 1  # a mask may reach the edge: so they may all be right
    assert _codes(tmp_path, masks, labels) == []


def test_a_full_mask_among_others(tmp_path: Path) -> None:
    masks = _discs()
    masks[1][:] = 1
    labels = _labels((RED, (1,)))
    (finding,) = mask_findings(_looks(tmp_path, masks, labels), labels)
    assert (finding.code, finding.items) == ("full-masks", ("c1",))
    masks[2][:] = 1  # half of all: objects larger than the picture
    assert _codes(tmp_path, masks, labels) == []


def test_no_background(tmp_path: Path) -> None:
    labels = _labels((RED, (1,)))
    found = mask_findings(_looks(tmp_path, [m * 0 + 1 for m in _discs()], labels), labels)
    assert [f.severity.value for f in found] == ["error"]
    assert "m0.png" in found[0].what


def test_foreground_around_background(tmp_path: Path) -> None:
    labels = _labels((RED, (1,)))
    assert _codes(tmp_path, [1 - m for m in _discs()], labels) == ["exchanged-background"]
    # Slices beside the object are foreground all over.
    filled = [_discs()[0] * 0 + 1] * 4
    assert _codes(tmp_path, [1 - m for m in _discs()] + filled, labels) == ["exchanged-background"]


def test_shades_of_edges_as_classes(tmp_path: Path) -> None:
    """As a config has them that was made of every value."""
    blurred = [cv2.GaussianBlur(mask, (5, 5), 0) for mask in _discs(255)]
    values = sorted({int(v) for mask in blurred for v in np.unique(mask)} - {0})
    many = _labels(*[((v, v, v), (v,)) for v in values])
    assert _codes(tmp_path, blurred, many) == ["shades-as-classes"]
    assert _codes(tmp_path, blurred, _labels((RED, (255,)))) == []


@pytest.mark.parametrize("ordered", [True, False])
def test_indices_in_another_order(tmp_path: Path, ordered: bool) -> None:
    masks = [m + (m > 0) * np.uint8(i % 2) for i, m in enumerate(_discs())]
    classes = ((RED, ()), (GREEN, ())) if ordered else ((GREEN, ()), (RED, ()))
    expected = [] if ordered else ["order-of-indices"]
    assert _codes(tmp_path, masks, _labels(*classes), PALETTE) == expected
