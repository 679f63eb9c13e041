"""Pictures of cases: sizes, colours, and masks that are not the ones that were scored."""

from __future__ import annotations

import base64
import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from flexseg.errors import DataError
from flexseg.files.images import read_mask, write_png
from flexseg.report.case_pictures import (
    _require_same,
    class_overlay,
    difference_overlay,
    display_size,
    draw_cases,
    draw_epochs,
)
from flexseg.report.colors import Colors
from flexseg.report.content import gather
from flexseg.report.sources import find_source
from flexseg.report.structure import CaseScore, ShownCase
from sample_run import PALETTE, write_sample_evaluation, write_sample_run

COLORS = Colors.of(())


def decoded(uri: str) -> NDArray[np.uint8]:
    head, _, data = uri.partition(",")
    assert head == "data:image/webp;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((2048, 1024), (512, 256)),
        ((512, 512), (512, 512)),
        ((400, 300), (400, 300)),
        ((100, 60), (300, 180)),
        ((1, 10000), (1, 512)),
    ],
)
def test_display_size(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert display_size(size) == expected


def test_class_overlay_outlines_each_class() -> None:
    labels = np.zeros((40, 40), np.uint8)
    labels[10:30, 10:30] = 1
    overlay = class_overlay(labels, (40, 40), COLORS)
    assert (overlay[labels == 0] == 0).all()
    assert tuple(overlay[10, 20]) == (*COLORS.of_class(1), 255)
    assert overlay[20, 20, 3] < 100


def test_an_object_at_the_edge_has_no_outline_there() -> None:
    labels = np.zeros((40, 40), np.uint8)
    labels[:20] = 1
    overlay = class_overlay(labels, (40, 40), COLORS)
    assert overlay[0, 20, 3] < 255
    assert overlay[19, 20, 3] == 255


def test_difference() -> None:
    reference = np.array([[1, 1, 0, 0, 1, 2]], np.uint8).repeat(6, axis=0)
    prediction = np.array([[1, 0, 1, 0, 2, 2]], np.uint8).repeat(6, axis=0)
    overlay = difference_overlay(reference, prediction, (6, 6), COLORS)
    colors = [tuple(map(int, rgb)) for rgb in overlay[0, :, :3]]
    assert colors == [
        COLORS.hit,
        COLORS.missed,
        COLORS.false,
        (0, 0, 0),
        COLORS.confused,
        COLORS.hit,
    ]
    assert set(overlay[:, 1, 3].tolist()) == {130, 255}


class TestDrawCases:
    def test_every_shown_case_has_four_views(self, tmp_path: Path) -> None:
        source = find_source(write_sample_run(tmp_path))
        report = gather(source)
        drawn = draw_cases(source, report)
        assert set(drawn) == {shown.case for shown in report.shown_cases}
        assert report.missing == []
        for pictures in drawn.values():
            names = [panel.name for panel in pictures.panels]
            assert names == ["Image", "Reference", "Prediction", "Difference"]
            assert decoded(pictures.photo).shape == (pictures.height, pictures.width, 3)
            assert max(pictures.width, pictures.height) <= 512

    def test_difference_of_the_missed_case(self, tmp_path: Path) -> None:
        source = find_source(write_sample_run(tmp_path))
        pictures = draw_cases(source, gather(source))["test_00"]
        overlay = decoded(pictures.panels[3].overlay or "")
        mask = read_mask(tmp_path / "data" / "test" / "masks" / "test_00.png").pixels
        scale = pictures.width // mask.shape[1]
        y, x = np.argwhere(mask == 1)[20]
        middle = overlay[scale * y + scale // 2, scale * x + scale // 2]
        assert np.abs(middle[:3].astype(int) - COLORS.missed).max() <= 2

    def test_without_config_the_evaluation_names_the_classes(self, tmp_path: Path) -> None:
        source = find_source(write_sample_evaluation(tmp_path))
        report = gather(source)
        drawn = draw_cases(source, report)
        names = [panel.name for panel in drawn["test_02"].panels]
        assert names == ["Reference", "Prediction", "Difference"]
        assert any("give --images" in m.why for m in report.missing)

    def test_other_masks_than_those_scored_are_refused(self, tmp_path: Path) -> None:
        run = write_sample_run(tmp_path)
        path = tmp_path / "data" / "test" / "masks" / "test_00.png"
        labels = read_mask(path).pixels.copy()
        y, x = np.argwhere(labels == 1)[0]
        labels[y, x] = 0  # a single pixel may be all there is of an object
        write_png(path, labels, PALETTE)
        source = find_source(run)
        report = gather(source)
        assert "test_00" not in draw_cases(source, report)
        assert any("when it was scored" in m.why for m in report.missing)

    def test_a_lossy_mask_may_differ_a_little(self) -> None:
        """Two decoders of a JPEG do not agree at every edge."""
        shown = ShownCase(
            "worst", "a", 0.5, [CaseScore("a", "a", 1, "x", "", {"reference_px": 99.0})]
        )
        labels = np.zeros((40, 40), np.uint8)
        labels[:10, :10] = 1
        _require_same(shown, [labels], Path("a.jpg"), lossy=True)
        with pytest.raises(DataError, match="100 pixels of x, but had 99"):
            _require_same(shown, [labels], Path("a.png"), lossy=False)

    def test_an_evaluation_without_predictions(self, tmp_path: Path) -> None:
        run = write_sample_run(tmp_path)
        shutil.rmtree(run / "evaluation" / "predictions")
        source = find_source(run)
        report = gather(source)
        drawn = draw_cases(source, report)
        assert [p.name for p in drawn["test_00"].panels] == ["Image", "Reference"]
        assert [m.what for m in report.missing] == ["predicted masks of cases"]

    def test_moved_data_are_said(self, tmp_path: Path) -> None:
        run = write_sample_run(tmp_path)
        (tmp_path / "data").rename(tmp_path / "elsewhere")
        source = find_source(run)
        report = gather(source)
        drawn = draw_cases(source, report)
        assert any("There is no such folder" in m.why for m in report.missing)
        assert all([p.name for p in d.panels] == ["Prediction"] for d in drawn.values())


def test_epochs_are_first_middle_and_last(tmp_path: Path) -> None:
    source = find_source(write_sample_run(tmp_path))
    (strip,) = draw_epochs(source, gather(source).epoch_changes, COLORS)
    assert [p.name for p in strip.panels] == ["Image", "Epoch 1", "Epoch 7", "Epoch 12"]
    filled = [(decoded(p.overlay or "")[..., 3] > 0).sum() for p in strip.panels[1:]]
    assert filled[0] < filled[2]
