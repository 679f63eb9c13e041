"""Sizes, spacings and modalities: of a training, and inputs that are far from them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from flexseg.dataset.acquisition import Acquired, Acquisition, acquisition_of
from flexseg.dataset.cases import Case
from flexseg.files.images import write_png
from flexseg.files.volumes.read import read_volume
from synthetic_volumes import write_series

KNOWN = Acquisition.of(
    [
        Acquired((100, 200), (0.5, 5.0, 0.6), "CT"),
        Acquired((120, 200), (0.7, 0.7, 4.0)),
        Acquired(None, (), "CT"),
    ]
)


def test_what_all_images_have_is_a_range() -> None:
    assert KNOWN is not None
    assert (
        Acquisition((100, 120), (200, 200), ((0.5, 0.7), (0.6, 0.7), (4.0, 5.0)), ("CT",)) == KNOWN
    )
    assert Acquisition.from_dict(KNOWN.as_dict()) == KNOWN
    assert Acquisition.of([Acquired()]) is None


@pytest.mark.parametrize(
    ("one", "kinds"),
    [
        (Acquired((100, 200), (4.0, 0.5, 0.6), "CT"), []),
        (Acquired((50, 400)), []),
        (Acquired((49, 200)), ["size"]),
        (Acquired((100, 401)), ["size"]),
        (Acquired((100, 200), (0.7, 0.7, 1.0)), ["spacing"]),
        (Acquired((100, 200), (0.7, 0.7)), []),
        (Acquired((100, 200), (), "MR"), ["modality"]),
        (Acquired((300, 900), (2.0, 2.0, 2.0), "MR"), ["size", "spacing", "modality"]),
        (Acquired(), []),
    ],
)
def test_what_is_far_from_it(one: Acquired, kinds: list[str]) -> None:
    assert KNOWN is not None
    assert [doubt.kind for doubt in KNOWN.doubts(one)] == kinds


def test_doubts_name_both_sides() -> None:
    assert KNOWN is not None
    size, spacing, modality = KNOWN.doubts(Acquired((300, 900), (2.0, 2.0, 2.0), "MR"))
    assert size.what == "300 x 900 pixels instead of 100 to 120 x 200 as in training"
    assert spacing.what.startswith("a spacing of 2 x 2 x 2 mm instead of 0.5 to 0.7 x ")
    assert modality.what == "the modality MR instead of CT as in training"


def test_headers_and_the_table_of_slices_tell_it(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for name, size in (("a", (8, 12)), ("b", (10, 6))):
        write_png(tmp_path / "images" / f"{name}.png", np.zeros(size, np.uint8))
    cases = [Case(n, tmp_path / f"images/{n}.png", tmp_path / "m.png", n) for n in "ab"]
    assert acquisition_of(cases) == Acquisition((8, 10), (6, 12))
    (tmp_path / "manifest.csv").write_text(
        "image,row_spacing_mm,column_spacing_mm,slice_spacing_mm,modality\n"
        "images/a.png,0.5,0.5,3,MR\nimages/b.png,3,0.5,0.5,MR\n"
    )
    spacings = ((0.5, 0.5), (0.5, 0.5), (3.0, 3.0))
    assert acquisition_of(cases) == Acquisition((8, 10), (6, 12), spacings, ("MR",))
    (tmp_path / "manifest.csv").write_text("image,row_spacing_mm\nimages/a.png,wide\n")
    assert acquisition_of(cases) == Acquisition((8, 10), (6, 12))


def test_dicom_says_it_itself(tmp_path: Path) -> None:
    pytest.importorskip("pydicom")
    (path,) = write_series(tmp_path, np.zeros((1, 8, 10), np.int16), "P")
    found = Acquired.of_file(path)
    assert found.modality == "CT" and len(found.spacing) == 2
    case = Case("p", path, path, "p")
    known = acquisition_of([case])
    assert known is not None and known.height == (8, 8) and known.modalities == ("CT",)


def test_the_modality_of_a_series_goes_with_its_voxels(tmp_path: Path) -> None:
    write_series(tmp_path / "scan", np.zeros((4, 8, 10), np.int16), t0008_0060="MR")
    volume = read_volume(tmp_path / "scan")
    assert volume.modality == volume.oriented("RAS").modality == "MR"
    assert volume.with_array(volume.array + 1).modality == "MR"
