"""Scores of networks whose answer is known, and of folders of masks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from config_parts import labels_of, preprocessing_of
from flexseg.batches.store import CaseReader
from flexseg.config.load import load
from flexseg.config.schema import Experiment
from flexseg.dataset.cases import pair
from flexseg.errors import DataError
from flexseg.evaluation.image_scores import evaluate_model
from flexseg.files.images import write_png
from flexseg.inference.predictor import Predictor
from flexseg.losses import get_metric, weighted_mean
from flexseg.models.package import ModelPackage
from labelled_boxes import CLASSES, SIZE, boxes, experiment
from sample_run import score_masks


@pytest.fixture(autouse=True)
def float32() -> Iterator[None]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    yield
    keras.config.set_dtype_policy(before)


class TestPublishedPredictions:
    """The originals' predictions score what their README's own files say, measured anew."""

    @pytest.mark.parametrize(
        ("name", "cases", "expected"),
        [
            ("covid-19", 24, [(0.846, 0.752), (0.862, 0.822), (0.648, 0.552)]),
            ("mri-brain-tumor-t2", 20, [(0.667, 0.527)]),
            ("spleen", 18, [(0.945, 0.922)]),
        ],
    )
    def test_pooled_and_mean_dice(
        self, shared: Path, name: str, cases: int, expected: list[tuple[float, float]]
    ) -> None:
        experiment = load(shared / "configs" / f"{name}.config").experiment
        folder = shared / "data" / "mini_test" / name
        result, unpaired = score_masks(folder / "published_output", folder / "masks", experiment)
        assert unpaired == []
        summary = result.summary(10).as_dict()
        assert summary["cases"] == cases
        found = [(c["pooled_pixels"]["dice"], c["dice"]["mean"]) for c in summary["classes"]]
        np.testing.assert_allclose(found, expected, atol=0.003)


class TestScoreFolders:
    @staticmethod
    def _write(folder: Path, name: str, labels: NDArray[np.uint8]) -> None:
        folder.mkdir(exist_ok=True)
        write_png(folder / name, labels, [0, 0, 0, 0, 255, 0, 255, 0, 0])

    def test_pairs_by_name_and_lists_the_rest(self, tmp_path: Path) -> None:
        masks, predictions = tmp_path / "masks", tmp_path / "predictions"
        self._write(masks, "a.png", boxes(c1=(0, 0)))
        self._write(masks, "only_mask.png", boxes())
        self._write(predictions, "a.png", boxes(c1=(0, 5)))
        self._write(predictions, "only_prediction.png", boxes())
        result, unpaired = score_masks(predictions, masks, experiment())
        assert [case.id for case in result.cases] == ["a"]
        assert sorted(unpaired) == ["only_mask.png", "only_prediction.png"]
        assert result.summary(10).as_dict()["classes"][0]["dice"]["mean"] == pytest.approx(0.5)

    def test_palettes_may_differ(self, tmp_path: Path) -> None:
        """Indices decide where the colours of a palette mean nothing to the label map."""
        masks, predictions = tmp_path / "masks", tmp_path / "predictions"
        self._write(masks, "a.png", boxes(c1=(0, 0), c2=(10, 20)))
        predictions.mkdir()
        write_png(predictions / "a.png", boxes(c1=(0, 0), c2=(10, 20)), [9, 9, 9] * 3)
        result, _ = score_masks(predictions, masks, experiment())
        assert [row[5] for row in result.rows()] == [1.0, 1.0]

    def test_smaller_prediction_is_scored_at_the_size_of_the_mask(self, tmp_path: Path) -> None:
        masks, predictions = tmp_path / "masks", tmp_path / "predictions"
        self._write(masks, "a.png", boxes(c1=(0, 0)))
        self._write(predictions, "a.png", np.ascontiguousarray(boxes(c1=(0, 0))[::2, ::2]))
        result, _ = score_masks(predictions, masks, experiment())
        assert result.matrices[0].sum() == SIZE[0] * SIZE[1]
        assert result.summary(10).as_dict()["classes"][0]["dice"]["mean"] == 1

    def test_another_shape_is_refused(self, tmp_path: Path) -> None:
        masks, predictions = tmp_path / "masks", tmp_path / "predictions"
        self._write(masks, "a.png", boxes(c1=(0, 0)))
        self._write(predictions, "a.png", np.ascontiguousarray(boxes(c1=(0, 0)).T))
        with pytest.raises(DataError, match="20 x 30 pixels"):
            score_masks(predictions, masks, experiment())

    def test_all_damaged_files_are_listed(self, tmp_path: Path) -> None:
        for folder in ("p", "m"):
            (tmp_path / folder).mkdir()
            for i in range(9):
                write_png(tmp_path / folder / f"{i}.png", np.zeros((8, 8), np.uint8))
        damaged = [f"p/{i}.png" for i in range(6)] + ["m/7.png"]
        for name in damaged:
            (tmp_path / name).write_bytes(b"damaged")
        with pytest.raises(DataError, match="7 files are wrong") as caught:
            score_masks(tmp_path / "p", tmp_path / "m", experiment())
        assert all(str(tmp_path / name) in caught.value.problem for name in damaged)

    def test_no_common_name(self, tmp_path: Path) -> None:
        self._write(tmp_path / "masks", "a.png", boxes())
        self._write(tmp_path / "predictions", "b.png", boxes())
        with pytest.raises(DataError, match="No prediction has a mask of the same name"):
            score_masks(tmp_path / "predictions", tmp_path / "masks", experiment())


def _brightness_network(size: tuple[int, int], cut: float) -> keras.Model:
    """A network that knows the answer: sigmoid(mean of the channels - cut)."""
    inputs = keras.Input((*size, 3))
    layer = keras.layers.Conv2D(1, 1, activation="sigmoid")
    model = keras.Model(inputs, layer(inputs))
    layer.set_weights([np.full((1, 1, 3, 1), 1 / 3, np.float32), np.array([-cut], np.float32)])
    return model


class TestEvaluateModel:
    @staticmethod
    def _setup(dataset: Path, size: tuple[int, int], cut: float = 95.0) -> tuple[Any, ...]:
        experiment = Experiment.model_validate(
            {
                "model": {"num_classes": 1, "image_width": size[1], "image_height": size[0]},
                "mask": {"classes": CLASSES[:2]},
            }
        )
        labels = labels_of(experiment)
        preprocessing = preprocessing_of(experiment)
        package = ModelPackage(
            experiment.model, labels, preprocessing, model=_brightness_network(size, cut)
        )
        cases = pair(dataset / "test" / "images", dataset / "test" / "masks").cases
        return Predictor(package, batch_size=3), cases, CaseReader(preprocessing, labels)

    def test_a_perfect_network(self, make_dataset: Callable[..., Path]) -> None:
        dataset = make_dataset({"test": 4})
        predictor, cases, reader = self._setup(dataset, (40, 48))
        figures = {"dice_coef": partial(weighted_mean, get_metric("dice_coef", 1))}
        steps: list[tuple[int, int]] = []
        result = evaluate_model(predictor, cases, reader, figures, lambda *s: steps.append(s))
        disc = result.summary(100).as_dict()["classes"][0]
        assert disc["cases_with_reference"] == 4
        assert disc["dice"]["mean"] == disc["dice"]["min"] == 1
        assert result.legacy["dice_coef"] == pytest.approx(1, abs=1e-3)
        assert steps == [(3, 4), (4, 4)]

    def test_a_network_that_finds_nothing(self, make_dataset: Callable[..., Path]) -> None:
        dataset = make_dataset({"test": 4})
        predictor, cases, reader = self._setup(dataset, (40, 48), cut=1000.0)
        disc = evaluate_model(predictor, cases, reader, {}).summary(100).as_dict()["classes"][0]
        assert disc["missed"] == 4
        assert disc["dice"]["mean"] == disc["precision"]["mean"] == 0

    def test_scores_are_at_the_native_size(self, make_dataset: Callable[..., Path]) -> None:
        """A coarse network misses the rim of the discs, which its own size would not show."""
        dataset = make_dataset({"test": 4})
        predictor, cases, reader = self._setup(dataset, (10, 12))
        result = evaluate_model(predictor, cases, reader, {})
        assert {int(matrix.sum()) for matrix in result.matrices} == {40 * 48}
        disc = result.summary(100).as_dict()["classes"][0]
        assert 0.7 < disc["dice"]["mean"] < 0.99

    def test_all_damaged_files_are_listed(self, make_dataset: Callable[..., Path]) -> None:
        """Of every batch, and nothing is predicted after the first."""
        dataset = make_dataset({"test": 8})
        predictor, cases, reader = self._setup(dataset, (40, 48))
        damaged = [cases[1].image, cases[2].mask, cases[7].image]
        for path in damaged:
            path.write_bytes(b"damaged")
        with pytest.raises(DataError, match="3 files are wrong") as caught:
            evaluate_model(predictor, cases, reader, {})
        assert all(str(path) in caught.value.problem for path in damaged)

    def test_figures_average_over_batches_of_unequal_size(
        self, make_dataset: Callable[..., Path]
    ) -> None:
        dataset = make_dataset({"test": 4})
        predictor, cases, reader = self._setup(dataset, (40, 48))
        counts = iter([1.0, 5.0])  # of a batch of three and one of one
        result = evaluate_model(predictor, cases, reader, {"x": lambda y, p: next(counts)})
        assert result.legacy["x"] == pytest.approx((3 * 1.0 + 1 * 5.0) / 4)
