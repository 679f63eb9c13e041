"""Views of an image: each is undone exactly, and all fit the network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError

from flexseg.config.infer import TTA_VIEWS, InferConfig
from flexseg.errors import ConfigError
from flexseg.inference.ensemble import EnsemblePredictor
from flexseg.inference.predictor import Predictor
from flexseg.inference.tta import averaged, views

Make = Callable[..., Predictor]
EXPECTED: dict[str, Callable[[NDArray], NDArray]] = {
    "hflip": lambda a: a[:, ::-1],
    "vflip": lambda a: a[::-1],
    "rot90": np.rot90,
    "rot180": lambda a: a[::-1, ::-1],
    "rot270": lambda a: np.rot90(a, 3),
    "transpose": lambda a: a.swapaxes(0, 1),
    "antitranspose": lambda a: a[::-1, ::-1].swapaxes(0, 1),
}


def _pixelwise(batch: NDArray) -> NDArray[np.float32]:
    """Two classes, of each pixel alone."""
    value = batch[..., :1].astype(np.float32)
    return np.concatenate([np.sin(value), value**2], axis=-1)


def _columns(batch: NDArray) -> NDArray[np.float32]:
    """The number of the column, whatever the image shows."""
    count, height, width = batch.shape[:3]
    row = np.arange(width, dtype=np.float32)
    return np.tile(row, (count, height, 1))[..., None]


def _recorder(batches: list[NDArray]) -> Callable[[NDArray], NDArray[np.float32]]:
    def network(batch: NDArray) -> NDArray[np.float32]:
        batches.append(batch)
        return batch

    return network


class TestMoved:
    @given(
        size=st.integers(1, 9),
        batch=st.integers(1, 3),
        names=st.sets(st.sampled_from([*TTA_VIEWS, "flips", "all"])),
        seed=st.integers(0, 99),
    )
    def test_a_pixelwise_network_answers_the_same(
        self, size: int, batch: int, names: set[str], seed: int
    ) -> None:
        images = np.random.default_rng(seed).random((batch, size, size, 3)).astype(np.float32)
        p = averaged(_pixelwise, images, views(sorted(names), size, size))
        np.testing.assert_allclose(p, _pixelwise(images), rtol=1e-5, atol=1e-6)
        assert p.dtype == np.float32

    @given(
        height=st.integers(1, 9), width=st.integers(1, 9), name=st.sampled_from(["flips", "all"])
    )
    def test_rectangles(self, height: int, width: int, name: str) -> None:
        images = np.random.default_rng(0).random((2, height, width, 1)).astype(np.float32)
        p = averaged(_pixelwise, images, views([name], height, width))
        np.testing.assert_allclose(p, _pixelwise(images), rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize("name", TTA_VIEWS)
    def test_what_the_network_sees(self, name: str) -> None:
        image = np.arange(36, dtype=np.float32).reshape(6, 6, 1)
        seen: list[NDArray] = []
        (view,) = views([name], 6, 6)
        np.testing.assert_array_equal(view.predict(_recorder(seen), image[None])[0], image)
        np.testing.assert_array_equal(seen[0][0], EXPECTED[name](image))
        assert seen[0].flags.c_contiguous

    def test_answers_are_moved_back_and_averaged(self) -> None:
        images = np.zeros((1, 3, 5, 1), np.float32)
        flipped = averaged(_columns, images, views(["hflip"], 3, 5))
        np.testing.assert_array_equal(flipped[..., 0], 2)  # (c + 4 - c) / 2
        (view,) = views(["hflip"], 3, 5)
        np.testing.assert_array_equal(view.predict(_columns, images)[0, 0, :, 0], [4, 3, 2, 1, 0])

    def test_the_first_answer_stays_as_it_was(self) -> None:
        """A network may hand out an array that it uses again."""
        own = np.ones((1, 4, 4, 1), np.float32)
        averaged(lambda _: own, np.zeros((1, 4, 4, 1)), views(["flips"], 4, 4))
        np.testing.assert_array_equal(own, 1)


class TestScaled:
    @given(
        factor=st.floats(0.5, 2),
        height=st.integers(1, 20),
        width=st.integers(1, 20),
        value=st.floats(0, 255),
    )
    def test_the_network_sees_its_own_size(
        self, factor: float, height: int, width: int, value: float
    ) -> None:
        sizes = set()

        def network(batch: NDArray) -> NDArray[np.float32]:
            sizes.add(batch.shape[1:3])
            return batch.astype(np.float32)

        images = np.full((2, height, width, 1), value, np.float32)
        p = averaged(network, images, views([f"scale:{factor}"], height, width))
        assert sizes == {(height, width)}
        np.testing.assert_allclose(p, images, rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize("factor", [0.5, 0.75, 0.8, 1.25, 1.5, 2])
    @pytest.mark.parametrize("size", [(32, 32), (31, 45)])
    def test_answers_are_where_they_belong(self, factor: float, size: tuple[int, int]) -> None:
        rows, columns = np.mgrid[: size[0], : size[1]].astype(np.float32)
        ramp = (2 * rows + 3 * columns)[None, ..., None]
        (view,) = views([f"scale:{factor}"], *size)
        p = view.predict(lambda batch: batch, ramp)
        inside = np.s_[:, 3:-3, 3:-3]
        # A size that is no multiple of the factor's moves the last rows by under half a pixel.
        np.testing.assert_allclose(p[inside], ramp[inside], atol=0.5)
        assert abs(float((p - ramp)[inside].mean())) < 0.02

    def test_the_network_sees_another_scale(self) -> None:
        image = np.zeros((1, 16, 16, 1), np.float32)
        image[:, 6:10, 6:10] = 1
        seen: dict[float, list[NDArray]] = {0.75: [], 1.5: []}
        for factor, batches in seen.items():
            (view,) = views([f"scale:{factor}"], 16, 16)
            view.predict(_recorder(batches), image)
        assert len(seen[0.75]) == 1 and len(seen[1.5]) == 4
        assert seen[0.75][0].sum() == pytest.approx(3 * 3)
        # All four windows show the middle.
        assert [float(batch.sum()) for batch in seen[1.5]] == pytest.approx([6 * 6] * 4)

    def test_windows_of_a_larger_view_have_no_seam(self) -> None:
        """The network is unsure at its border, as real ones are."""

        def network(batch: NDArray) -> NDArray[np.float32]:
            p = np.ones((*batch.shape[:3], 1), np.float32)
            p[:, 0] = p[:, -1] = p[:, :, 0] = p[:, :, -1] = 0
            return p

        (view,) = views(["scale:1.5"], 32, 32)
        p = view.predict(network, np.zeros((1, 32, 32, 1)))[0, 2:-2, 2:-2, 0]
        assert p.min() > 0.8


class TestNames:
    def test_groups(self) -> None:
        names = {view.name for view in views(["all"], 8, 8)}
        assert names == set(TTA_VIEWS)
        assert {view.name for view in views(["all"], 8, 9)} == {"hflip", "vflip", "rot180"}
        assert len(views(["flips", "hflip", "hflip", "scale:0.80", "scale:0.8"], 8, 9)) == 4
        assert views(["scale:1"], 8, 8) == () and views([], 8, 8) == ()

    @pytest.mark.parametrize("name", ["rot90", "rot270", "transpose", "antitranspose"])
    def test_quarter_turns_need_a_square(self, name: str) -> None:
        with pytest.raises(
            ConfigError, match="needs a network with square input; this one takes 9 x 8"
        ):
            views([name], 8, 9)

    @pytest.mark.parametrize(
        "name", ["rotate", "scale", "scale:", "scale:3", "scale:nan", "hflip:1"]
    )
    def test_unknown_names(self, name: str) -> None:
        with pytest.raises(ValidationError, match="is not a view"):
            InferConfig(tta=[name])

    def test_one_name_needs_no_list(self) -> None:
        assert InferConfig.model_validate({"tta": "flips"}).tta == ["flips"]


class TestPredictor:
    def test_views_reach_the_probabilities(self, brightness: Make) -> None:
        image = np.random.default_rng(0).integers(0, 256, (12, 10, 3)).astype(np.uint8)
        plain = brightness()
        flips = plain.with_postprocessing(["flips"])
        assert plain.views == () and len(flips.views) == 3
        (a,), (b,) = ([p for *_, p in x.probabilities([("", image)])] for x in (plain, flips))
        np.testing.assert_allclose(a, b, atol=1e-6)
        smaller = plain.with_postprocessing(["scale:0.5"])
        (c,) = [p for *_, p in smaller.probabilities([("", image)])]
        assert np.abs(a - c).max() > 0.05

    def test_members_of_an_ensemble_see_the_views_too(self, brightness: Make) -> None:
        package = brightness().package
        batch = np.random.default_rng(0).random((2, 8, 8, 3)).astype(np.float32) * 255
        single = Predictor(package).with_postprocessing(["scale:0.5"])
        both = EnsemblePredictor([package, replace(package)]).with_postprocessing(["scale:0.5"])
        np.testing.assert_allclose(
            both.at_model_size(batch), single.at_model_size(batch), atol=1e-6
        )
        assert both.describe()["tta"] == ["scale:0.5"]
