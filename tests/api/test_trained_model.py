"""What a notebook writes: models that predict arrays, files and volumes as the commands do."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

import flexseg
from flexseg.config.load import load
from flexseg.files.images import read_image, write_png
from flexseg.files.volumes.read import read_volume
from flexseg.files.volumes.volume import Volume
from flexseg.files.volumes.write import write_volume
from flexseg.inference.ensemble import write_ensemble
from flexseg.inference.postprocess import Postprocessing, Steps
from flexseg.inference.tuned import TunedChoice, write_choice
from flexseg.models.package import ModelPackage
from flexseg.runs.manifest import Manifest
from support import flexseg as run_command
from volume_models import oblique

pytestmark = pytest.mark.usefixtures("eager")

CONFIG = """
[model]
num_classes = 3
image_width = 24
image_height = 16
image_channels = {channels}
num_layers = 2
base_filters = 4
[train]
run_dir = "run"
[infer]
probabilities = true
[tiledinfer]
probabilities = true
overlapping = 3
[infer3d]
probabilities = true
previews = []
[[mask.classes]]
id = 1
name = "disc"
color = "#00ff00"
[[mask.classes]]
id = 2
name = "square"
color = "#ff0000"
"""
RNG = np.random.default_rng(0)


def trained(folder: Path, channels: int = 3, extra: str = "") -> Path:
    """A config whose model has random weights; returns the config."""
    folder.mkdir(exist_ok=True)
    config = folder / "c.toml"
    config.write_text(CONFIG.format(channels=channels) + extra, encoding="utf-8")
    loaded = load(config)
    keras.utils.set_random_seed(3)
    package = ModelPackage.create(loaded.experiment)
    for weight in package.model.trainable_weights:
        weight.assign(RNG.normal(0, 0.4, weight.shape))
    file = loaded.experiment.train.model_dir / "best_model.h5"
    file.parent.mkdir(parents=True)
    package.save(file, {})
    Manifest.start(folder / "run", loaded).write(status="finished", weights=str(file))
    return config


def weights(config: Path) -> Path:
    return config.parent / "run" / "models" / "best_model.h5"


def choose_something(config: Path) -> None:
    """What `flexseg tune-postprocessing` could have chosen for the model."""
    package = ModelPackage.load(weights(config))
    steps = Postprocessing({1: Steps(min_size=6), 2: Steps(largest_component=True)})
    choice = TunedChoice(None, ("flips",), {2: steps, 3: steps}, {"split": "valid"})
    write_choice(weights(config), choice, package.labels)


def blobs(*shape: int) -> NDArray[np.uint8]:
    """Noise that is smooth enough for classes to have some extent."""
    coarse = RNG.integers(0, 256, [(n + 5) // 6 for n in shape[:2]] + list(shape[2:]))
    fine = np.kron(coarse, np.ones((6, 6) + (1,) * (len(shape) - 2)))
    return fine[: shape[0], : shape[1]].astype(np.uint8)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return trained(tmp_path / "project")


@pytest.fixture
def model(config: Path) -> flexseg.Model:
    return flexseg.Model.load(weights(config))


@pytest.fixture
def images(tmp_path: Path) -> dict[str, NDArray]:
    """Arrays, each written as a file of that name into `images`."""
    found: dict[str, NDArray] = {
        "a_rgb.png": blobs(40, 50, 3),
        "b_grey.png": blobs(16, 24),
        "c_16bit.png": blobs(33, 20).astype(np.uint16) * 250,
        "d_small.png": blobs(9, 7, 3),
        "e_float.tif": blobs(31, 47).astype(np.float32),
        "f_array.npy": blobs(20, 30, 3),
        "g_16bit_rgb.tif": blobs(30, 30, 3).astype(np.uint16) * 250,
    }
    folder = tmp_path / "images"
    folder.mkdir()
    for name, array in found.items():
        if name.endswith(".npy"):
            np.save(folder / name, array)
        elif name.endswith(".tif"):
            tifffile.imwrite(folder / name, array)
        else:
            write_png(folder / name, array)
    return found


def written(folder: Path, name: str) -> tuple[NDArray[np.uint8], NDArray[np.float16]]:
    """Labels and probabilities that a command has written for an image."""
    stem = Path(name).stem
    with Image.open(folder / f"{stem}.png") as image:
        labels = np.asarray(image)
    with np.load(folder.with_name(f"{folder.name}_probabilities") / f"{stem}.npz") as archive:
        return labels, archive["probabilities"]


class TestAsTheCommands:
    @pytest.mark.parametrize("tuned", [False, True])
    def test_infer(
        self, config: Path, images: dict[str, NDArray], tmp_path: Path, tuned: bool
    ) -> None:
        if tuned:
            choose_something(config)
        assert run_command("infer", config, "-i", tmp_path / "images", "-o", tmp_path / "m") == 0
        for path in (weights(config), config.parent / "run"):
            model, classes = flexseg.Model.load(path), set[int]()
            files = [tmp_path / "images" / name for name in images]
            for name, array, of_file, of_array in zip(
                images,
                images.values(),
                model.predict(files, probabilities=True),
                model.predict(images.values(), probabilities=True),
                strict=True,
            ):
                labels, p = written(tmp_path / "m", name)
                classes |= set(np.unique(labels).tolist())
                for found in (of_file, of_array):
                    assert found.labels.dtype == np.uint8 and found.shape == array.shape[:2]
                    np.testing.assert_array_equal(found.labels, labels)
                    assert found.probabilities is not None
                    assert found.probabilities.dtype == np.float32
                    np.testing.assert_array_equal(found.probabilities.astype(np.float16), p)
                assert of_file.source.endswith(name)
            assert len(classes) > 1, "the network tells nothing apart"

    def test_one_image(
        self, config: Path, images: dict[str, NDArray], tmp_path: Path, model: flexseg.Model
    ) -> None:
        source = tmp_path / "images" / "a_rgb.png"
        assert run_command("infer", config, "-i", source, "-o", tmp_path / "m") == 0
        labels, _ = written(tmp_path / "m", "a_rgb.png")
        for one in (source, str(source), images["a_rgb.png"], Image.open(source)):
            found = model.predict(one)
            assert isinstance(found, flexseg.Prediction)
            np.testing.assert_array_equal(found, labels)
            assert found.probabilities is None

    def test_tiled_infer(self, config: Path, images: dict[str, NDArray], tmp_path: Path) -> None:
        choose_something(config)
        out = tmp_path / "m"
        assert run_command("tiled-infer", config, "-i", tmp_path / "images", "-o", out) == 0
        model = flexseg.Model.load(config.parent / "run")
        for name, array in images.items():
            labels, p = written(out, name)
            for source in (array, tmp_path / "images" / name):
                found = model.predict(source, tiled=True, probabilities=True)
                np.testing.assert_array_equal(found.labels, labels)
                assert found.probabilities is not None
                np.testing.assert_array_equal(found.probabilities.astype(np.float16), p)

    @pytest.mark.parametrize("suffix", [".nii.gz", ".mha"])
    def test_infer3d(self, tmp_path: Path, suffix: str) -> None:
        config = trained(tmp_path / "project", 1, '[volume]\nintensity = "full"\n')
        choose_something(config)
        volume = oblique((5, 17, 23), "RAS")
        source = tmp_path / f"v{suffix}"
        write_volume(source, volume)
        assert run_command("infer", config, "-i", source, "-o", tmp_path / "m") == 0
        labels = read_volume(tmp_path / "m" / "labels" / source.name)
        p = read_volume(tmp_path / "m" / "probabilities" / "v.nii.gz")
        for path in (weights(config), config.parent / "run"):
            model = flexseg.Model.load(path)
            for given in (source, read_volume(source)):
                found = model.predict(given, probabilities=True)
                np.testing.assert_array_equal(found.labels, labels.array)
                np.testing.assert_array_equal(found.probabilities, p.array)
                assert found.spacing == pytest.approx((7.5, 0.7, 0.5))
        saved = read_volume(found.save(tmp_path / f"saved{suffix}"))
        np.testing.assert_array_equal(saved.array, labels.array)
        np.testing.assert_allclose(saved.affine, labels.affine, atol=1e-4)

    def test_a_run_uses_what_its_config_says(
        self, images: dict[str, NDArray], tmp_path: Path
    ) -> None:
        extra = "[postprocess]\nmin_size = 20\n"
        config = trained(tmp_path / "project", extra=extra)
        text = config.read_text().replace("probabilities = true", 'tta = ["hflip"]', 1)
        config.write_text(text)
        Manifest.start(config.parent / "run", load(config)).write(
            status="finished", weights=str(weights(config))
        )
        source = tmp_path / "images" / "a_rgb.png"
        assert run_command("infer", config, "-i", source, "-o", tmp_path / "m") == 0
        labels = read_image(tmp_path / "m" / "a_rgb.png")
        with Image.open(tmp_path / "m" / "a_rgb.png") as image:
            labels = np.asarray(image)
        moved = tmp_path / "moved"
        (config.parent / "run").rename(moved)
        found = flexseg.Model.load(moved).predict(source)
        np.testing.assert_array_equal(found.labels, labels)
        plain = flexseg.Model.load(moved / "models" / "best_model.h5").predict(source)
        assert (plain.labels != labels).any()


class TestSources:
    def test_grey_for_a_colour_network_and_colour_for_a_grey_one(
        self, model: flexseg.Model, tmp_path: Path
    ) -> None:
        grey = blobs(16, 24)
        one, two, three = (
            model.predict(a) for a in (grey, grey[..., None], np.stack([grey] * 3, axis=-1))
        )
        np.testing.assert_array_equal(one.labels, three.labels)
        np.testing.assert_array_equal(one.labels, two.labels)
        other = flexseg.Model.load(weights(trained(tmp_path / "grey", 1)))
        np.testing.assert_array_equal(
            other.predict(np.stack([grey] * 3, axis=-1)).labels, other.predict(grey).labels
        )

    def test_transparency_is_dropped(self, model: flexseg.Model) -> None:
        rgb = blobs(16, 24, 3)
        rgba = np.concatenate([rgb, blobs(16, 24)[..., None]], axis=-1)
        np.testing.assert_array_equal(model.predict(rgba).labels, model.predict(rgb).labels)

    def test_the_colours_of_a_palette_count(self, model: flexseg.Model) -> None:
        image = Image.fromarray(blobs(16, 24, 3)).quantize(8)
        expected = model.predict(np.asarray(image.convert("RGB")))
        np.testing.assert_array_equal(model.predict(image).labels, expected.labels)

    def test_tensors(self, model: flexseg.Model) -> None:
        pixels = blobs(16, 24, 3)
        tensor = keras.ops.convert_to_tensor(pixels)
        np.testing.assert_array_equal(model.predict(tensor).labels, model.predict(pixels).labels)

    def test_arrays_of_volumes(self, tmp_path: Path) -> None:
        model = flexseg.Model.load(weights(trained(tmp_path / "p", 1)))
        voxels = np.stack([blobs(18, 22) for _ in range(6)])
        found = model.predict(voxels, spacing=(5, 0.5, 0.5))
        assert found.shape == (6, 18, 22) and found.spacing == (5.0, 0.5, 0.5)
        whole = model.predict(list(voxels))
        np.testing.assert_array_equal(found.labels, np.stack([p.labels for p in whole]))
        saved = read_volume(found.save(tmp_path / "labels.nii.gz"))
        assert saved.voxel_size == pytest.approx((5.0, 0.5, 0.5))
        assert model.predict(voxels).spacing is None
        few = model.predict(voxels[:3], volume=True)
        np.testing.assert_array_equal(few.labels, found.labels[:3])
        np.save(tmp_path / "v.npy", voxels)
        np.testing.assert_array_equal(model.predict(tmp_path / "v.npy").labels, found.labels)

    def test_images_of_simpleitk(self, tmp_path: Path) -> None:
        model = flexseg.Model.load(weights(trained(tmp_path / "p", 1)))
        volume = oblique((5, 6, 7), "RAS")
        found, expected = model.predict(volume.image()), model.predict(volume)
        np.testing.assert_array_equal(found.labels, expected.labels)
        assert found.spacing == pytest.approx(volume.voxel_size)
        assert found.geometry is not None
        np.testing.assert_allclose(found.geometry.affine, volume.affine)

    @pytest.mark.parametrize(
        ("shape", "options", "text"),
        [
            ((3, 16, 24), {}, r"np\.moveaxis\(array, 0, -1\)"),
            ((1, 16, 24), {}, "a volume of 1 slice"),
            ((2, 16, 24, 3), {}, r"list\(array\)"),
        ],
    )
    def test_ambiguous_shapes(
        self, model: flexseg.Model, shape: Any, options: Any, text: str
    ) -> None:
        with pytest.raises(flexseg.ConfigError, match=text):
            model.predict(np.zeros(shape, np.uint8), **options)

    @pytest.mark.parametrize(
        ("source", "options", "text"),
        [
            (np.zeros(5), {}, r"shape \(5,\)"),
            (np.zeros((0, 5)), {}, "is empty"),
            (np.array([["a", "b"]]), {}, "not numbers"),
            (np.full((4, 4), np.nan), {}, "16 pixels are NaN"),
            (np.zeros((4, 4, 2)), {}, "2 channels, but the network takes 3"),
            (np.zeros((4, 4)), {"volume": True}, r"expected \[z, y, x\]"),
            (np.zeros((4, 4, 9, 1)), {"volume": False}, r"expected \[H, W\]"),
            ("nothing.png", {}, "no such file"),
        ],
    )
    def test_what_cannot_be_predicted(
        self, model: flexseg.Model, source: Any, options: Any, text: str
    ) -> None:
        with pytest.raises(flexseg.DataError, match=text):
            model.predict(source, **options)

    def test_files_that_are_neither(self, model: flexseg.Model, tmp_path: Path) -> None:
        with pytest.raises(flexseg.DataError, match="not a DICOM series"):
            model.predict(tmp_path)
        (tmp_path / "a.txt").write_text("a")
        with pytest.raises(flexseg.DataError, match="neither an image nor a volume"):
            model.predict(tmp_path / "a.txt")
        write_png(tmp_path / "a.png", blobs(8, 8))
        with pytest.raises(flexseg.ConfigError, match="this is an image"):
            model.predict(tmp_path / "a.png", volume=True)

    @pytest.mark.parametrize("spacing", [(1, 2, 3), 0, (1, -1), ("a", "b"), "ab", (None, 1)])
    def test_spacing_must_fit(self, model: flexseg.Model, spacing: Any) -> None:
        with pytest.raises(flexseg.ConfigError, match="2 positive numbers in mm"):
            model.predict(blobs(8, 8), spacing=spacing)

    @pytest.mark.parametrize("spacing", [np.float32(0.5), np.array([0.5, 0.5]), 0.5])
    def test_spacing_of_numpy(self, model: flexseg.Model, spacing: Any) -> None:
        found = model.predict(blobs(8, 8), spacing=spacing).spacing
        assert found == (0.5, 0.5) and {type(value) for value in found} == {float}

    @pytest.mark.parametrize("option", [{"channel": 1}, {"series": "CT"}])
    def test_options_of_volumes_are_not_for_images(
        self, model: flexseg.Model, option: dict[str, Any]
    ) -> None:
        with pytest.raises(flexseg.ConfigError, match="is an image, for which"):
            model.predict(blobs(8, 8), **option)

    def test_a_volume_keeps_its_spacing(self, model: flexseg.Model) -> None:
        volume = Volume(np.zeros((5, 6, 7), np.uint8), (1.0, 1.0, 3.0))
        with pytest.raises(flexseg.ConfigError, match="a spacing of its own"):
            model.predict(volume, spacing=1)


class TestSeveral:
    def test_an_iterable_is_read_a_little_ahead(self, model: flexseg.Model) -> None:
        taken = 0

        def endless() -> Iterator[NDArray]:
            nonlocal taken
            while True:
                taken += 1
                yield blobs(8 + taken % 3, 10, 3)

        found = model.predict(endless())
        assert taken == 0
        assert [next(found).shape[0] for _ in range(9)] == [9, 10, 8] * 3
        assert taken <= 9 + 2 * 4 + 2

    def test_an_error_comes_in_its_turn(self, model: flexseg.Model, tmp_path: Path) -> None:
        (tmp_path / "damaged.png").write_bytes(b"no image")
        for bad in (tmp_path / "damaged.png", tmp_path / "missing.png"):
            found = model.predict([blobs(8, 8), blobs(9, 9), bad, blobs(8, 8)])
            assert [next(found).shape for _ in range(2)] == [(8, 8), (9, 9)]
            with pytest.raises(flexseg.DataError, match=bad.name):
                next(found)

    def test_images_and_volumes_together(self, tmp_path: Path) -> None:
        model = flexseg.Model.load(weights(trained(tmp_path / "p", 1)))
        sources = [blobs(8, 8), np.zeros((5, 6, 7), np.uint8), blobs(9, 9)]
        assert [p.shape for p in model.predict(sources)] == [(8, 8), (5, 6, 7), (9, 9)]

    def test_none(self, model: flexseg.Model) -> None:
        assert list(model.predict([])) == []


class TestLoad:
    def test_says_what_it_is(self, model: flexseg.Model) -> None:
        assert model.size == (16, 24) and model.channels == 3
        assert [c.name for c in model.classes] == ["background", "disc", "square"]
        assert re.fullmatch(
            r"Model\('best_model\.h5': \w+UNet, 16 x 24 x 3, background, disc, square, keras "
            r"b?float\d\d\)",
            repr(model),
        )

    def test_an_ensemble(self, config: Path, tmp_path: Path) -> None:
        members = {"a": weights(config), "b": weights(trained(tmp_path / "other"))}
        (tmp_path / "e").mkdir()
        write_ensemble(tmp_path / "e" / "ensemble.json", members)
        image = blobs(16, 24, 3)
        p = [
            flexseg.Model.load(path).predict(image, probabilities=True).probabilities
            for path in (*members.values(), tmp_path / "e" / "ensemble.json")
        ]
        np.testing.assert_allclose(p[2], (p[0] + p[1]) / 2, atol=1e-6)

    def test_a_crossvalidation_gives_its_ensemble(self, config: Path) -> None:
        run = config.parent / "run"
        write_ensemble(run / "models" / "ensemble.json", {"fold_0": weights(config)})
        weights(config).unlink()
        manifest = json.loads((run / "run.json").read_text())
        manifest["weights"] = "/elsewhere/run/models/ensemble.json"
        (run / "run.json").write_text(json.dumps(manifest))
        assert flexseg.Model.load(run).file == run / "models" / "ensemble.json"

    def test_the_folder_of_auto(self, config: Path) -> None:
        assert flexseg.Model.load(config.parent).file == weights(config)

    def test_own_networks_need_trust(self, tmp_path: Path, monkeypatch: Any) -> None:
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.setitem(sys.modules, "api_own_network", None)
        monkeypatch.delitem(sys.modules, "api_own_network")
        (tmp_path / "api_own_network.py").write_text(
            "import keras\n\n\ndef build(config):\n"
            "    x = keras.Input((config.image_height, config.image_width, 3))\n"
            "    return keras.Model(x, keras.layers.Conv2D(1, 1, activation='sigmoid')(x))\n"
        )
        config = tmp_path / "c.toml"
        config.write_text(
            '[model]\nmodel = "api_own_network:build"\nnum_classes = 1\nimage_width = 8\n'
            'image_height = 8\n[train]\nrun_dir = "run"\n'
        )
        loaded = load(config)
        file = loaded.experiment.train.model_dir / "best_model.h5"
        file.parent.mkdir(parents=True)
        ModelPackage.create(loaded.experiment, tmp_path).save(file, {})
        Manifest.start(tmp_path / "run", loaded).write(status="finished", weights=str(file))
        with pytest.raises(flexseg.DataError, match=r"trust='api_own_network:build'"):
            flexseg.Model.load(file)
        with pytest.raises(flexseg.DataError, match="which is not trusted yet"):
            flexseg.Model.load(file, trust="another:build")
        image = blobs(8, 8, 3)
        a = flexseg.Model.load(file, trust="api_own_network:build").predict(image)
        with pytest.raises(flexseg.DataError, match=r"trust='api_own_network:build'"):
            flexseg.Model.load(tmp_path / "run")
        with pytest.raises(flexseg.DataError, match="which is not trusted yet"):
            flexseg.Model.load(tmp_path / "run", trust="another:build")
        run = flexseg.Run.open(tmp_path / "run")
        assert run.status == "finished"
        with pytest.raises(flexseg.DataError, match=r"Run.open\(..., trust='api_own_network:build"):
            _ = run.model
        with pytest.raises(flexseg.DataError, match="which is not trusted yet"):
            run.evaluate()
        trusted = flexseg.Run.open(tmp_path / "run", trust="api_own_network:build")
        assert trusted.model.output_shape == (None, 8, 8, 1)
        b = flexseg.Model.load(tmp_path / "run", trust="api_own_network:build").predict(image)
        np.testing.assert_array_equal(a.labels, b.labels)

    @pytest.mark.parametrize(
        ("run", "images", "classes"),
        [
            (".", "three/test/images", ["background", "class 1", "class 2"]),
            ("one_run", "one/all/images", ["background", "disc"]),
            ("own_run", "one/all/images", ["background", "disc"]),
            ("one_folds", "one/all/images", ["background", "disc"]),
        ],
    )
    def test_runs_of_an_earlier_state(
        self, tmp_path: Path, run: str, images: str, classes: list[str], monkeypatch: Any
    ) -> None:
        with zipfile.ZipFile(Path(__file__).parents[1] / "old_runs" / "study.zip") as archive:
            archive.extractall(tmp_path)
        study = tmp_path / "study"
        monkeypatch.setattr(sys, "path", [*sys.path])  # the module of an own network lies there
        trust = "own_network:build" if run == "own_run" else None
        model = flexseg.Model.load(study / run, trust=trust)
        assert [c.name for c in model.classes] == classes
        masks = sorted((study / run / "evaluation" / "predictions").glob("*.png"))
        assert len(masks) >= 3
        found = model.predict(study / images / mask.name for mask in masks)
        for mask, prediction in zip(masks, found, strict=True):
            with Image.open(mask) as image:
                # Another processor rounds otherwise.
                assert (np.asarray(image) == prediction.labels).mean() > 0.99

    def test_what_is_no_model(self, tmp_path: Path) -> None:
        with pytest.raises(flexseg.ConfigError, match="no such file or folder"):
            flexseg.Model.load(tmp_path / "none.h5")
        with pytest.raises(flexseg.ConfigError, match=r"no run\.json"):
            flexseg.Model.load(tmp_path)
        (tmp_path / "damaged.h5").write_bytes(b"nothing")
        with pytest.raises(flexseg.DataError, match=r"damaged\.h5"):
            flexseg.Model.load(tmp_path / "damaged.h5")
        (tmp_path / "c.toml").write_text("[model]")
        with pytest.raises(flexseg.DataError, match=r"no run\.json"):
            flexseg.Model.load(tmp_path / "c.toml")
        (tmp_path / "run.json").write_text('{"status": ')
        with pytest.raises(flexseg.DataError, match=r"run\.json: The manifest of the run cannot"):
            flexseg.Model.load(tmp_path)
        with pytest.raises(flexseg.ConfigError, match="not an engine"):
            flexseg.Model.load(tmp_path / "damaged.h5", engine="quick")  # type: ignore[arg-type]

    def test_the_precision_of_the_user_stays(self, config: Path) -> None:
        keras.config.set_dtype_policy("mixed_bfloat16")
        flexseg.Model.load(weights(config))
        assert keras.config.dtype_policy().name == "mixed_bfloat16"


def test_nothing_is_printed(
    config: Path, images: dict[str, NDArray], capfd: Any, caplog: Any, monkeypatch: Any
) -> None:
    logger = logging.getLogger("flexseg")
    monkeypatch.setattr(logger, "handlers", [])  # of a command that another test has run
    monkeypatch.setattr(logger, "propagate", True)
    caplog.set_level(logging.DEBUG, "flexseg")
    choose_something(config)
    model = flexseg.Model.load(config.parent / "run")
    for image in images.values():
        model.predict(image)
    assert capfd.readouterr() == ("", "")
    assert any("chosen on the validation set" in message for message in caplog.messages)


def test_import_is_light() -> None:
    """Neither Keras nor an engine is imported with the package, or with its names."""
    code = (
        "import sys, flexseg\n"
        "heavy = ['keras', 'tensorflow', 'jax', 'torch', 'openvino', 'onnxruntime']\n"
        "print([m for m in heavy if m in sys.modules])\n"
        "for name in flexseg.__all__: getattr(flexseg, name)\n"
        "assert set(flexseg.__all__) <= set(dir(flexseg))\n"
        "print([m for m in heavy if m in sys.modules])\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert (result.stdout, result.stderr) == ("[]\n[]\n", "")


def test_the_guide_works(
    config: Path, images: dict[str, NDArray], tmp_path: Path, monkeypatch: Any
) -> None:
    (tmp_path / "images").rename(config.parent / "scans")
    (config.parent / "scans" / "a_rgb.png").rename(config.parent / "scans" / "a.png")
    monkeypatch.chdir(config.parent)
    guide = (Path(__file__).parents[2] / "docs/how-to/python.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)
    assert len(blocks) == 4
    names: dict[str, Any] = {}
    exec("\n".join(blocks), names)  # noqa: S102 - it is ours
    assert read_image(config.parent / "mask.png").shape[:2] == (40, 50)
    assert names["area"] == names["p"].pixels_per_class["disc"]


def test_unknown_names() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Modell'"):
        flexseg.Modell  # noqa: B018


def test_an_export_is_loaded_without_keras(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    from served import write_model

    code = (
        "import sys, flexseg; flexseg.Model.load(sys.argv[1]); "
        "print(sorted({'keras', 'tensorflow'} & {*sys.modules}))"
    )
    command = [sys.executable, "-c", code, str(write_model(tmp_path / "export"))]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_the_progress_of_a_volume_is_told_and_may_end_it(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    from served import picture, write_model

    model = flexseg.Model.load(write_model(tmp_path / "export"))
    volume = np.stack([picture(seed, (20, 30)) for seed in range(6)])
    told: list[tuple[int, int]] = []
    model.predict(volume, on_progress=lambda done, total: told.append((done, total)))
    assert told == [(done, 6) for done in range(1, 7)]

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.predict(volume, on_progress=stop)
