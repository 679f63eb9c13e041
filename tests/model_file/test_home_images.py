"""What the images of a training look like: images of another kind are noticed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from flexseg.config import Experiment
from flexseg.errors import DataError
from flexseg.model_file.home_images import HomeImages, image_figures, window_figures
from flexseg.models.package import ModelPackage


def _image(rng: np.random.Generator) -> NDArray:
    """A bright blob on dark, noisy ground, [24, 24, 3] from 0 to 255."""
    y, x = np.mgrid[-1:1:24j, -1:1:24j]
    blob = np.exp(-((y - rng.normal(0, 0.2)) ** 2 + (x - rng.normal(0, 0.2)) ** 2) / 0.2)
    image = 40 + rng.normal(0, 5) + 150 * blob[..., None] * np.array([1, 0.6, 0.8])
    return np.clip(image + rng.normal(0, 3, image.shape), 0, 255).astype(np.float32)


def _images(count: int, seed: int) -> list[NDArray]:
    rng = np.random.default_rng(seed)
    return [_image(rng) for _ in range(count)]


def _figures(images: list[NDArray]) -> NDArray[np.float64]:
    return np.array([image_figures(image) for image in images])


def _home(count: int = 60) -> HomeImages:
    trained, valid = _figures(_images(count, 0)), _figures(_images(20, 1))
    names = [str(i) for i in range(count)]
    home = HomeImages.of(trained, names, valid, [f"v{i}" for i in range(20)])
    assert home is not None
    return home


def test_figures_are_of_values_and_of_differences() -> None:
    flat = image_figures(np.full((8, 8, 1), 51, np.uint8))
    assert len(flat) == 14 and flat[:2] == pytest.approx([0.2, 0], abs=1e-6)
    assert flat[3:8] == pytest.approx(0.2)
    steps = np.tile(np.array([[0, 255]], np.uint8), (8, 4))[..., None]
    figures = image_figures(steps)
    # Neighbours in a row differ by 1, every second pixel is the same; and no pixel is "noise".
    assert figures[8:11] == pytest.approx(np.log([1.001, 0.001, 0.001]))
    assert len(image_figures(np.zeros((1, 1, 3), np.uint8))) == 32


def test_few_images_of_the_training_are_foreign_and_all_of_another_kind() -> None:
    home = _home()
    others = _images(200, 2)
    beyond = np.mean([home.strangeness([image_figures(image)]) > 1 for image in others])
    assert beyond <= 0.15
    for change in (
        lambda image: 255 - image,
        lambda image: image[..., [2, 0, 1]],
        lambda image: image + np.random.default_rng(0).normal(0, 25, image.shape),
        lambda image: np.broadcast_to(image.mean(axis=-1, keepdims=True), image.shape),
    ):
        changed = [home.strangeness([image_figures(change(image))]) for image in others[:20]]
        assert min(changed) > 1


def test_of_a_stack_the_median_slice_counts() -> None:
    rng = np.random.default_rng(0)
    groups = [str(i // 6) for i in range(60)]
    home = HomeImages.of(_figures(_images(60, 0)), groups, np.empty((0, 32)), [])
    assert home is not None and home.limits[1] < home.limits[0]
    slices = [image_figures(_image(rng)) for _ in range(7)]
    strange = image_figures(np.zeros((24, 24, 3), np.uint8))
    assert home.strangeness([*slices, strange, strange]) < 1 < home.strangeness([strange])


def test_of_a_handful_of_images_nothing_is_said() -> None:
    figures = _figures(_images(7, 0))
    assert HomeImages.of(figures, list("abcdefg"), figures, list("hijklmn")) is None


def test_values_of_any_size_have_figures() -> None:
    values = np.array([[np.nan, np.inf, -np.inf, 1e30]], np.float32)[..., None]
    assert np.isfinite(image_figures(values)).all()


def test_equal_images_are_no_mistake() -> None:
    figures = _figures(_images(1, 0) * 10)
    home = HomeImages.of(figures, list("abcdefghij"), figures[:0], [])
    assert home is not None and np.isfinite(home.strangeness([figures[0]]))
    assert home.strangeness([figures[0] + 1]) > 1


def test_large_images_are_told_by_windows() -> None:
    image = np.arange(40 * 60, dtype=np.float32).reshape(40, 60, 1) % 256
    asked: list[tuple[slice, slice]] = []

    def prepared(rows: slice, columns: slice) -> NDArray:
        asked.append((rows, columns))
        return image[rows, columns]

    window_figures((40, 60), (20, 20), prepared)
    assert (slice(10, 30), slice(20, 40)) in asked and len(asked) == 5
    assert {(r.stop - r.start, c.stop - c.start) for r, c in asked} == {(20, 20)}
    assert window_figures((40, 60), (90, 90), prepared) == pytest.approx(image_figures(image))


def test_a_package_keeps_it(tmp_path: Path) -> None:
    experiment = Experiment.model_validate({"model": {"num_layers": 2, "base_filters": 2}})
    package, file = ModelPackage.create(experiment), tmp_path / "known.h5"
    package.save(tmp_path / "old.h5", {})
    assert ModelPackage.load(tmp_path / "old.h5").home is None
    home = _home()
    replace(package, home=home).save(file, {})
    found = ModelPackage.load(file).home
    assert found is not None
    figures = _figures(_images(3, 3))
    np.testing.assert_array_equal(found.distances(figures), home.distances(figures))
    with h5py.File(file, "r+") as content:
        del content["flexseg_home_centre"]
        content["flexseg_home_centre"] = np.zeros(5)
    with pytest.raises(DataError, match="contradict each other"):
        ModelPackage.load(file)
