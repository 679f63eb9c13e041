"""Model packages: everything that inference needs travels with the weights."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from flexseg import __version__
from flexseg.config.load import load
from flexseg.config.schema import Experiment
from flexseg.errors import DataError
from flexseg.model_file.hdf5_weights import read_metadata
from flexseg.models.package import ModelPackage

CLASSES = [
    {"id": 0, "name": "background", "color": (0, 0, 0), "values": [0]},
    {"id": 1, "name": "lung", "color": (0, 255, 0), "more_colors": [(0, 200, 0)], "values": [7]},
    {"id": 2, "name": "lesion", "color": (255, 0, 0)},
]


def _experiment(**sections: Any) -> Experiment:
    model = {"image_width": 24, "image_height": 16, "num_layers": 2, "base_filters": 4}
    content = {
        "model": model | {"num_classes": 3, "base_kernels": (5, 5)},
        "mask": {"classes": CLASSES},
        "image": {"color_order": "BGR", "window": (-160.0, 240.0), "gamma": 1.5},
        "dataset": {"resize_interpolation": "cubic"},
    }
    for name, keys in sections.items():
        content[name] = content.get(name, {}) | keys
    return Experiment.model_validate(content)


def _rewrite(path: Path, change: Any) -> None:
    metadata = read_metadata(path)
    assert metadata is not None
    change(metadata)
    with h5py.File(path, "r+") as file:
        del file["flexseg"]
        file["flexseg"] = json.dumps(metadata)


@pytest.fixture
def saved(tmp_path: Path) -> tuple[ModelPackage, Path]:
    package = ModelPackage.create(_experiment())
    package.save(tmp_path / "best_model.h5", {"epoch": 3, "val_loss": 0.25})
    return package, tmp_path / "best_model.h5"


class TestRoundTrip:
    def test_everything_comes_back_whatever_the_config_says_now(
        self, saved: tuple[ModelPackage, Path]
    ) -> None:
        package, path = saved
        now = Experiment.model_validate(
            {"model": {"image_width": 64, "image_height": 64, "num_classes": 1}}
        )
        loaded = ModelPackage.load(path, now)
        assert loaded.labels == package.labels
        assert loaded.labels.palette == [0, 0, 0, 0, 255, 0, 255, 0, 0]
        assert [c.name for c in loaded.labels.classes] == ["background", "lung", "lesion"]
        assert loaded.labels.classes[1].colors == ((0, 255, 0), (0, 200, 0))
        assert loaded.labels.classes[1].values == (7,)
        assert loaded.preprocessing == package.preprocessing
        assert loaded.preprocessing.window == (-160.0, 240.0)
        assert loaded.preprocessing.color_order == "BGR"
        assert (loaded.preprocessing.width, loaded.preprocessing.height) == (24, 16)
        assert loaded.config == package.config
        assert loaded.info == {"epoch": 3, "val_loss": 0.25}

    def test_predictions_are_equal_bit_for_bit(self, saved: tuple[ModelPackage, Path]) -> None:
        package, path = saved
        loaded = ModelPackage.load(path, _experiment())
        x = np.random.default_rng(0).uniform(0, 255, (2, 16, 24, 3)).astype(np.float32)
        expected = package.model.predict_on_batch(x)
        assert expected.shape == (2, 16, 24, 3) and expected.std() > 0
        np.testing.assert_array_equal(loaded.model.predict_on_batch(x), expected)

    @pytest.mark.parametrize(("threshold", "share"), [(127, 0.5), (51, 0.2), (255, 1.0)])
    def test_threshold_is_a_share_of_255(
        self, tmp_path: Path, threshold: float, share: float
    ) -> None:
        experiment = _experiment(
            model={"num_classes": 1}, mask={"classes": []}, infer={"threshold": threshold}
        )
        package = ModelPackage.create(experiment)
        assert package.threshold == pytest.approx(share)
        package.save(tmp_path / "m.h5", {})
        loaded = ModelPackage.load(tmp_path / "m.h5", experiment)
        assert loaded.threshold == package.threshold
        assert loaded.labels.binary and loaded.labels.channels == 1

    def test_the_file_says_who_wrote_it(self, saved: tuple[ModelPackage, Path]) -> None:
        metadata = read_metadata(saved[1])
        assert metadata is not None
        assert metadata["flexseg"] == __version__


class TestOriginalFiles:
    def test_label_map_and_size_come_from_the_config(self, shared: Path) -> None:
        experiment = load(shared / "parity" / "flex_unet.config").experiment
        package = ModelPackage.load(shared / "parity" / "flex_unet.h5", experiment)
        assert package.labels.palette == [0, 0, 0, 0, 255, 0, 255, 0, 0]
        assert package.preprocessing.color_order == "RGB"
        assert package.info == {}

    def test_a_config_of_another_network_is_refused(self, shared: Path) -> None:
        experiment = load(shared / "parity" / "api_unet.config").experiment
        with pytest.raises(DataError, match=r"of another network: layer 'logits'"):
            ModelPackage.load(shared / "parity" / "flex_unet.h5", experiment)


class TestDistrust:
    def test_a_file_does_not_choose_code_to_run(
        self, saved: tuple[ModelPackage, Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        _, path = saved
        evil = path.with_name("evil_module.py")
        evil.write_text("raise SystemExit('the code of the file ran')\n", encoding="utf-8")
        monkeypatch.syspath_prepend(path.parent)
        _rewrite(path, lambda m: m["model"].update(model="evil_module:build"))
        with pytest.raises(DataError) as caught:
            ModelPackage.load(path, _experiment(), path.parent)
        assert "'evil_module:build'" in caught.value.problem
        assert "If you trust that code" in caught.value.fix
        assert "evil_module" not in sys.modules

    def test_code_that_the_config_names_too_is_run(
        self, saved: tuple[ModelPackage, Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        _, path = saved
        own = path.with_name("trusted_module_of_test_package.py")
        own.write_text(
            "from flexseg.models.networks.unet import build_unet as build\n", encoding="utf-8"
        )
        monkeypatch.syspath_prepend(path.parent)
        name = f"{own.stem}:build"
        _rewrite(path, lambda m: m["model"].update(model=name))
        loaded = ModelPackage.load(path, _experiment(model={"model": name}))
        assert loaded.config.model == name
        del sys.modules[own.stem]

    @pytest.mark.parametrize(
        "change",
        [
            lambda m: m["model"].update(key_of_the_future=1),
            lambda m: m["preprocessing"].update(key_of_the_future=1),
            lambda m: m.pop("labels"),
            lambda m: m["labels"].pop("classes"),
        ],
    )
    def test_a_description_of_another_version(
        self, saved: tuple[ModelPackage, Path], change: Any
    ) -> None:
        _, path = saved
        _rewrite(path, change)
        _rewrite(path, lambda m: m.update(flexseg="9.9"))
        with pytest.raises(DataError, match=rf"flexseg 9\.9; this is {__version__}"):
            ModelPackage.load(path, _experiment())


@pytest.mark.parametrize("content", [[1, 2], 3, "text", None, True])
def test_a_description_that_is_none_is_refused(
    saved: tuple[ModelPackage, Path], content: Any
) -> None:
    _, path = saved
    with h5py.File(path, "r+") as file:
        del file["flexseg"]
        file["flexseg"] = json.dumps(content)
    with pytest.raises(DataError, match="cannot be understood") as caught:
        ModelPackage.load(path)
    assert caught.value.where == str(path)


@pytest.mark.parametrize(
    ("part", "value", "match"),
    [
        ("model", "text", "does not understand it"),
        ("model", {"model": "\0"}, "cannot be built .*not a known model"),
        ("model", {"image_channels": 0}, "does not understand it"),
        ("labels", 3, "does not understand it"),
        ("labels", {"classes": [None] * 3}, "does not understand it"),
        ("labels", {"classes": CLASSES[:1]}, "does not understand it"),
        ("labels", {"binary": True}, "does not understand it"),
        ("preprocessing", [], "does not understand it"),
        ("preprocessing", {"window": "lung"}, "does not understand it"),
        ("preprocessing", {"window": [3, 1]}, "does not understand it"),
        ("preprocessing", {"interpolation": "os:system"}, "does not understand it"),
        ("preprocessing", {"color_converter": "cv2.imread"}, "does not understand it"),
        ("preprocessing", {"width": 25}, "contradicts itself"),
        ("preprocessing", {"channels": 1}, "contradicts itself"),
        ("threshold", float("nan"), "does not understand it"),
        ("info", "text", "does not understand it"),
    ],
)
def test_a_description_of_wrong_values_is_refused(
    saved: tuple[ModelPackage, Path], part: str, value: Any, match: str
) -> None:
    _, path = saved

    def change(metadata: dict[str, Any]) -> None:
        is_part = isinstance(value, dict)
        metadata[part] = metadata[part] | value if is_part else value

    _rewrite(path, change)
    with pytest.raises(DataError, match=match) as caught:
        ModelPackage.load(path)
    assert caught.value.where == str(path)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"base_filters": 10**9}, "network of .* parameters, but holds"),
        ({"base_filters": 8}, "network of .* parameters, but holds"),
        ({"base_filters": 10**30}, "cannot be built|parameters"),
        ({"num_layers": 10**9}, "does not understand it"),
    ],
)
def test_a_description_of_a_larger_network_is_refused_before_it_is_built(
    saved: tuple[ModelPackage, Path], change: dict[str, int], match: str
) -> None:
    _, path = saved
    _rewrite(path, lambda metadata: metadata["model"].update(change))
    with pytest.raises(DataError, match=match) as caught:
        ModelPackage.load(path)
    assert caught.value.where == str(path)


def test_a_description_that_is_nested_too_deeply_is_refused(
    saved: tuple[ModelPackage, Path],
) -> None:
    _, path = saved
    with h5py.File(path, "r+") as file:
        del file["flexseg"]
        file["flexseg"] = "[" * 100_000
    with pytest.raises(DataError, match="nested too deeply"):
        ModelPackage.load(path)
