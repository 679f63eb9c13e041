"""Intensities: windows, percentiles and z-scores on known answers."""

from __future__ import annotations

import numpy as np
import pytest

from flexseg.errors import ConfigError, DataError
from flexseg.files.intensity import GreyValues, Intensity


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("lung", ("window", -1350, 150)),
        ("Abdomen", ("window", -160, 240)),
        ("40/400", ("window", -160, 240)),
        ("-600/1500", ("window", -1350, 150)),
        ("percentile", ("percentile", 0.5, 99.5)),
        ("percentile:1,99", ("percentile", 1, 99)),
        ("zscore", ("zscore", -3, 3)),
        ("zscore:2.5", ("zscore", -2.5, 2.5)),
        ("full", ("full", 0, 0)),
        ("none", ("none", 0, 0)),
    ],
)
def test_texts(text: str, expected: tuple[str, float, float]) -> None:
    parsed, made = Intensity.parse(text), Intensity(*expected)  # type: ignore[arg-type]
    assert parsed == made
    assert parsed.spec == text.lower()
    assert Intensity.parse(made.spec) == made


@pytest.mark.parametrize(
    "text",
    ["", "liver:2", "40", "40/0", "40/-1", "nan/400", "40/inf", "percentile:99,1",
     "percentile:5", "zscore:0", "zscore:x", "full:1", "1/2/3"],
)  # fmt: skip
def test_texts_that_are_no_window(text: str) -> None:
    with pytest.raises(ConfigError, match="is not a window"):
        Intensity.parse(text)


def test_percentiles_and_scores_leave_the_air_out() -> None:
    head = np.concatenate([np.zeros(900), np.arange(1, 101)]).astype(np.float32)
    low, high = Intensity.parse("percentile:0,100").limits(head)
    assert (low, high) == (1, 100)
    low, high = Intensity.parse("zscore:1").limits(head)
    inside = np.arange(1, 101)
    assert (low, high) == pytest.approx(
        (inside.mean() - inside.std(), inside.mean() + inside.std())
    )
    assert Intensity.parse("percentile:0,50").limits(head - 1) == (-1, -1)  # CT has no such air
    assert Intensity.parse("full").limits(head) == (0, 100)


def test_large_volumes_are_sampled() -> None:
    array = np.random.default_rng(0).normal(100, 10, 9_000_000).astype(np.float32)
    low, high = Intensity.parse("zscore:2").limits(array)
    assert (low, high) == pytest.approx((80, 120), abs=0.1)


def test_samples_do_not_depend_on_the_layout_in_memory() -> None:
    array = np.random.default_rng(0).normal(100, 10, (300, 200, 150)).astype(np.float32)
    turned = np.ascontiguousarray(array.T)
    for text in ("percentile", "zscore", "full"):
        intensity = Intensity.parse(text)
        assert intensity.limits(turned.T) == intensity.limits(array)


@pytest.mark.parametrize("text", ["percentile:10,90", "zscore:2", "full", "abdomen"])
def test_voxels_that_are_no_numbers_take_the_lowest_value(
    text: str, caplog: pytest.LogCaptureFixture
) -> None:
    array = np.random.default_rng(0).normal(0, 100, (4, 5, 6))
    repaired = array.copy()
    array[1, 2, 3], array[3, 0, 0], array[2] = np.nan, -np.inf, np.inf
    repaired[~np.isfinite(array)] = array[np.isfinite(array)].min()
    intensity = Intensity.parse(text)
    grey = GreyValues.of(array, intensity, 8, "a.nii")
    assert "a.nii: 32 voxels are NaN or infinite" in caplog.text
    assert grey.limits == intensity.limits(repaired)
    np.testing.assert_array_equal(grey(array), intensity.apply(repaired, grey.limits, 8, "a"))
    as_stored = GreyValues.of(array, None, 8, "a.nii")
    np.testing.assert_array_equal(as_stored(array), repaired)
    with pytest.raises(DataError, match="No voxel has a finite value"):
        GreyValues.of(array[2:3], intensity, 8, "a.nii")


def test_values_as_stored_must_fit() -> None:
    as_stored = Intensity("none")
    limits = as_stored.limits(np.zeros(1))
    pixels = np.array([[0, 255]], np.int32)
    assert as_stored.apply(pixels, limits, 8, "a").dtype == np.uint8
    assert as_stored.apply(pixels + 1, limits, 16, "a").tolist() == [[1, 256]]
    for wrong in (pixels - 1, pixels + 1, pixels / 2):
        with pytest.raises(DataError, match="do not fit into 8 bits"):
            as_stored.apply(wrong, limits, 8, "a")


def test_a_constant_volume_is_black() -> None:
    array = np.full((2, 2), 7, np.int16)
    full = Intensity("full")
    assert full.apply(array, full.limits(array), 8, "a").tolist() == [[0, 0], [0, 0]]
