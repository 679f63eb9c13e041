"""A training on a tiny dataset: its files, its callbacks, and its errors."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from flexseg.config import load
from flexseg.errors import ConfigError, DataError, ResourceError, TrainingError
from flexseg.model_file.hdf5_weights import read_metadata, read_weights
from flexseg.training import checkpoint
from flexseg.training.callbacks import recorder
from flexseg.training.callbacks.curves import draw_curves
from flexseg.training.inputs import InputPipeline
from flexseg.training.needs import DiskNeeds
from flexseg.training.trainer import Training, TrainingResult
from support import keras_alone, quota
from synthetic import write_dataset

CONFIG = """
[model]
model = "TensorFlowFlexUNet"
image_width = 48
image_height = 40
num_classes = 2
num_layers = 2
base_filters = 4
learning_rate = 0.01
dropout_rate = 0.1
loss = "categorical_crossentropy"
metrics = ["dice_coef_multiclass"]
[train]
images_dir = "dataset/train/images"
masks_dir = "dataset/train/masks"
epochs = 2
batch_size = 2
num_infer_images = 2
precision = "float32"
[valid]
images_dir = "dataset/valid/images"
masks_dir = "dataset/valid/masks"
[infer]
images_dir = "dataset/test/images"
[[mask.classes]]
id = 1
color = [0, 255, 0]
"""


pytestmark = pytest.mark.usefixtures("eager")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> TrainingResult:
    """A training as users run it; do not write into its folder."""
    folder = tmp_path_factory.mktemp("trained")
    write_dataset(folder / "dataset")
    (folder / "a.toml").write_text(CONFIG, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        keras_alone(patch)
        patch.setattr(recorder, "draw_curves", draw_curves)
        return run(folder)


@pytest.fixture
def project(tmp_path: Path, make_dataset: Callable[..., Path]) -> Path:
    """A folder with a dataset and a config."""
    make_dataset()
    (tmp_path / "a.toml").write_text(CONFIG, encoding="utf-8")
    return tmp_path


def run(project: Path, *overrides: str, resume: bool = False) -> TrainingResult:
    """Train `a.toml` with overrides."""
    loaded = load(project / "a.toml", overrides)
    return Training(loaded, Console(quiet=True)).run(resume=resume)


def weights_equal(a: Path, b: Path) -> bool:
    pairs = zip(read_weights(a), read_weights(b), strict=True)
    return all(np.array_equal(x, y) for (_, x), (_, y) in pairs)


def test_writes_the_files_of_the_original_systems(trained: TrainingResult) -> None:
    project = trained.folder
    losses = (project / "eval/train_losses.csv").read_text().splitlines()
    assert losses[0] == "epoch, loss, val_loss"
    assert [row.split(", ")[0] for row in losses[1:]] == ["0", "1"]
    assert all(len(value.split(".")[1]) == 4 for value in losses[1].split(", ")[1:])
    metrics = (project / "eval/train_metrics.csv").read_text().splitlines()
    assert metrics[0] == "epoch,dice_coef_multiclass,val_dice_coef_multiclass,"
    assert len(metrics) == 3
    names = sorted(p.name for p in (project / "epoch_change_infer").iterdir())
    assert names == [f"Epoch_{n}_test_{i:02d}.png" for n in (1, 2) for i in (0, 1)]
    for picture in ("train_losses.png", "train_metrics.png"):
        assert (project / "eval" / picture).read_bytes().startswith(b"\x89PNG")
    assert (project / "models/a.toml").read_text(encoding="utf-8") == CONFIG
    assert trained.weights == project / "models/best_model.h5"
    metadata = read_metadata(trained.weights)
    assert metadata is not None and metadata["labels"]["classes"][1]["colors"] == [[0, 255, 0]]


def test_history_is_real_json_with_one_value_per_epoch(trained: TrainingResult) -> None:
    history = json.loads((trained.folder / "history.json").read_text())
    assert set(history) == {
        "loss", "val_loss", "dice_coef_multiclass", "val_dice_coef_multiclass", "lr",
    }  # fmt: skip
    assert all(len(values) == 2 for values in history.values())


def test_manifest_says_what_ran_on_what(trained: TrainingResult) -> None:
    manifest = json.loads((trained.folder / "run.json").read_text())
    assert manifest["status"] == "finished"
    assert manifest["seed"] == 137 and manifest["precision"] == "float32"
    assert manifest["data"]["train"]["cases"] == 8
    assert len(manifest["data"]["train"]["fingerprint"]) == 64
    assert manifest["config"]["model"]["num_layers"] == 2
    assert manifest["versions"]["backend"] in ("tensorflow", "jax", "torch")
    assert manifest["seconds"] > 0


def test_earlier_results_move_aside_and_nothing_is_lost(project: Path) -> None:
    run(project, "train.epochs=1")
    first = (project / "models/best_model.h5").read_bytes()
    run(project, "train.epochs=1", "train.seed=1")
    backups = list(project.glob("models_*_bak"))
    assert len(backups) == 1
    assert (backups[0] / "best_model.h5").read_bytes() == first
    assert (backups[0] / "a.toml").read_text(encoding="utf-8") == CONFIG
    assert len(list(project.glob("history.json_*_bak"))) == 1


@pytest.mark.usefixtures("compiled")
def test_same_seed_same_weights_whatever_the_workers(project: Path) -> None:
    for workers in (0, 2):
        run(project, f"dataset.workers={workers}", f"train.run_dir={project / str(workers)}")
    a, b = (project / n / "models/best_model.h5" for n in ("0", "2"))
    assert weights_equal(a, b)


def test_other_seed_other_weights(project: Path) -> None:
    for seed in (1, 2):
        run(project, f"train.seed={seed}", "train.epochs=1", f"train.run_dir={project / str(seed)}")
    a, b = (project / n / "models/best_model.h5" for n in ("1", "2"))
    assert not weights_equal(a, b)


def test_disk_cache_gives_the_same_result_and_is_removed(project: Path) -> None:
    run(project, f"train.run_dir={project / 'memory'}")
    run(project, "dataset.cache=disk", f"train.run_dir={project / 'disk'}")
    a, b = (project / n / "models/best_model.h5" for n in ("memory", "disk"))
    assert weights_equal(a, b)
    assert not list((project / "disk/models").glob("cache_*"))


def test_reducer_patience_is_honoured(project: Path) -> None:
    # At this rate val_loss stays as it is, so the rate must fall after 2 epochs, and again.
    result = run(
        project, "model.learning_rate=1e-12", "train.epochs=6", "train.reducer_patience=2",
        "train.reducer_factor=0.5", "model.dropout_rate=0",
    )  # fmt: skip
    rates = np.array(result.history["lr"])
    assert rates[0] == pytest.approx(1e-12)
    assert rates[-1] <= 0.26e-12


def test_early_stopping(project: Path) -> None:
    result = run(
        project, "model.learning_rate=1e-12", "train.epochs=9", "train.patience=2",
        "model.dropout_rate=0", "train.learning_rate_reducer=False",
    )  # fmt: skip
    assert len(result.history["loss"]) < 9


def test_stop_file_ends_training(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from flexseg.training.callbacks.recorder import Recorder

    write = Recorder.write

    def write_and_stop(self: Recorder) -> None:
        write(self)
        (project / "break_training").touch()

    monkeypatch.setattr(Recorder, "write", write_and_stop)
    result = run(project, "train.epochs=5")
    assert len(result.history["loss"]) == 1
    assert json.loads((project / "run.json").read_text())["status"] == "finished"


def test_random_batches_with_generator(project: Path) -> None:
    result = run(project, "model.generator=True", "generator.augmentation=False",
                 "train.steps_per_epoch=3", "train.epochs=1")  # fmt: skip
    assert len(result.history["loss"]) == 1


def test_nan_loss_names_the_files_of_the_batch(project: Path) -> None:
    image = np.full((40, 48, 3), 3e38, np.float32)
    np.save(project / "dataset/train/images/train_03.npy", image)
    (project / "dataset/train/images/train_03.png").unlink()
    with pytest.raises(TrainingError, match=r"train_03\.npy") as caught:
        run(project, "model.input_normalize=False")
    assert "learning_rate" in caught.value.fix
    assert json.loads((project / "run.json").read_text())["status"] == "failed"


@pytest.mark.parametrize("workers", [0, 2])
def test_damaged_file_is_named_whoever_reads_it(project: Path, workers: int) -> None:
    path = project / "dataset/train/images/train_05.png"
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(DataError) as caught:
        run(project, f"dataset.workers={workers}")
    assert caught.value.where == str(path)


def test_masks_without_any_class_are_refused_before_the_training(project: Path) -> None:
    for path in (project / "dataset/train/masks").iterdir():
        Image.new("L", Image.open(path).size).save(path)
    with pytest.raises(DataError, match=r"All training masks .* are empty .* nothing to learn"):
        run(project)


def test_output_folder_with_the_data_in_it_is_refused(project: Path) -> None:
    with pytest.raises(ConfigError, match="contains the input"):
        run(project, f"train.model_dir={project / 'dataset'}")
    assert (project / "dataset/train/images/train_00.png").exists()


def test_best_weights_that_do_not_fit(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resource = pytest.importorskip("resource")  # not on Windows
    monkeypatch.setattr(DiskNeeds, "require", lambda *_, **__: None)
    with quota(resource, 30_000), pytest.raises(ResourceError, match="it takes") as caught:
        run(project)
    assert caught.value.exit_code == 4
    assert Path(str(caught.value.where)).name == "best_model.h5"
    assert json.loads((project / "run.json").read_text())["status"] == "failed"
    assert [path.name for path in (project / "models").iterdir()] == ["a.toml"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ResourceError("No room.", "Free some.")])
def test_manifest_never_stays_at_running(
    project: Path, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stumble(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(InputPipeline, "_open_stores", stumble)
    with pytest.raises(type(error)):
        run(project)
    expected = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
    assert json.loads((project / "run.json").read_text())["status"] == expected


def test_resume_without_a_run(project: Path) -> None:
    with pytest.raises(DataError, match="no checkpoint"):
        run(project, resume=True)


def test_resume_of_a_finished_run_does_nothing(project: Path) -> None:
    first = run(project, "train.epochs=1")
    before = first.weights.read_bytes()
    again = run(project, "train.epochs=1", resume=True)
    assert again.history == first.history
    assert first.weights.read_bytes() == before


@pytest.mark.usefixtures("compiled")
def test_more_epochs_after_the_end_equal_one_long_run(project: Path) -> None:
    long = run(project, "train.epochs=3", f"train.run_dir={project / 'long'}")
    short = f"train.run_dir={project / 'short'}"
    run(project, "train.epochs=2", short)
    more = run(project, "train.epochs=3", short, resume=True)
    assert more.history == long.history
    assert weights_equal(long.weights, more.weights)


@pytest.mark.parametrize("ema", [0, 0.5])
def test_what_is_left_out_after_the_end_changes_no_further_epoch(
    project: Path, ema: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = (f"train.ema={ema}", "model.dropout_rate=0.1", "train.epoch_change_infer=false")
    folders = [project / name for name in ("short", "whole")]
    for folder in folders:
        run(project, "train.epochs=1", f"train.run_dir={folder}", *options)
        monkeypatch.setattr(checkpoint, "shorten", lambda *_: None)
    short, whole = (folder / "models/checkpoint.npz" for folder in folders)
    weights = (folders[0] / "models/best_model.h5").stat().st_size
    assert 0 < whole.stat().st_size - short.stat().st_size < weights
    assert len(np.load(short).files) < len(np.load(whole).files)
    longer = [
        run(project, "train.epochs=3", f"train.run_dir={folder}", *options, resume=True)
        for folder in folders
    ]
    assert longer[0].history == longer[1].history
    assert weights_equal(*(result.weights for result in longer))
    a, b = np.load(short), np.load(whole)
    assert set(a.files) == set(b.files)
    assert all(np.array_equal(a[name], b[name]) for name in a.files if name != "progress")


def test_a_finished_training_that_goes_on_needs_its_best_weights(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    best = run(project, "train.epochs=1").weights
    kept = best.read_bytes()
    other = run(project, "train.epochs=1", "train.seed=1", f"train.run_dir={project / 'other'}")
    best.write_bytes(other.weights.read_bytes())
    with pytest.raises(DataError, match="best weights have changed since"):
        run(project, "train.epochs=2", resume=True)
    best.write_bytes(kept)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    # Before the first step all is in the checkpoint again: better weights may come at any time.
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Training, "_fit", stop)
        run(project, "train.epochs=2", resume=True)
    best.unlink()
    run(project, "train.epochs=2", "train.epoch_change_infer=false", resume=True)


def test_resume_refuses_another_network(project: Path) -> None:
    run(project, "train.epochs=1")
    with pytest.raises(ConfigError, match=r"model\.base_filters"):
        run(project, "model.base_filters=8", "train.epochs=3", resume=True)


def test_users_own_network(project: Path) -> None:
    (project / "mynet.py").write_text(
        "import keras\n"
        "def build(config):\n"
        "    i = keras.Input((config.image_height, config.image_width, config.image_channels))\n"
        "    x = keras.layers.Conv2D(4, 3, padding='same', activation='relu')(i / 255)\n"
        "    o = keras.layers.Conv2D(config.num_classes, 1, activation='softmax')(x)\n"
        "    return keras.Model(i, o)\n",
        encoding="utf-8",
    )
    result = run(project, "model.model=mynet:build", "train.epochs=1")
    assert len(read_weights(result.weights)) == 4


def test_without_validation_set_a_fifth_is_held_out(project: Path) -> None:
    text = CONFIG.replace("[valid]", "[test]").replace("dataset/valid", "dataset/test")
    (project / "a.toml").write_text(text, encoding="utf-8")
    run(project, "train.epochs=1")
    data = json.loads((project / "run.json").read_text())["data"]
    assert (data["train"]["cases"], data["valid"]["cases"]) == (7, 1)
    assert not set(data["train"]["ids"]) & set(data["valid"]["ids"])


def test_tensorboard_on_demand(project: Path) -> None:
    pytest.importorskip("tensorboard", reason="the extra tensorboard is not installed")
    run(project, "train.epochs=1", "train.tensorboard=True")
    events = list((project / "eval/tensorboard").rglob("events.out.tfevents.*"))
    assert events and all(path.stat().st_size > 0 for path in events)


def test_generator_lists_its_samples(project: Path) -> None:
    run(project, "model.generator=True", "generator.augmentation=False",
        "train.steps_per_epoch=3", "train.epochs=1")  # fmt: skip
    lines = (project / "generate_images.txt").read_text().splitlines()
    assert len(lines) == 3 * 2
    number, image, mask = lines[5].split("_train_")
    assert number == "5" and f"train_{image}" == f"train_{mask}"


def test_generator_writes_the_pairs_that_it_makes(project: Path) -> None:
    """Under the names of the originals, image and mask in line; only earlier pairs move aside."""
    keys = ["model.generator=True", "generator.debug=True", "augmentor.rotation=False",
            "augmentor.shrinks=[]", "train.steps_per_epoch=8", "train.epochs=1"]  # fmt: skip
    (project / "generated_images_dir").mkdir()
    for name in ("mine.png", "hfliped_earlier.png"):
        (project / "generated_images_dir" / name).write_bytes(b"x")
    run(project, *keys)
    (moved,) = project.glob("generated_images_dir/hfliped_earlier.png_*_bak")
    for path in (moved, project / "generated_images_dir/mine.png"):
        assert path.read_bytes() == b"x"
        path.unlink()
    written = sorted(p.name for p in (project / "generated_images_dir").iterdir())
    assert written == sorted(p.name for p in (project / "generated_masks_dir").iterdir())
    assert 1 <= len(written) <= 16
    cases = {p.stem for p in (project / "dataset/train/images").iterdir()}
    for name in written:
        kind, _, case = name.removesuffix(".png").partition("_")
        assert kind in ("hfliped", "vfliped") and case in cases
        axis = 1 if kind == "hfliped" else 0
        for folder, source in (("images", "images"), ("masks", "masks")):
            pixels = np.asarray(
                Image.open(project / f"generated_{folder}_dir" / name).convert("RGB")
            )
            original = Image.open(project / f"dataset/train/{source}/{case}.png").convert("RGB")
            expected = np.asarray(original.resize(pixels.shape[1::-1], Image.Resampling.NEAREST))
            assert np.abs(np.flip(pixels, axis).astype(int) - expected).mean() < 25


@pytest.mark.parametrize("place", ["workers", "device"])
def test_augmented_training_is_the_same_twice(project: Path, place: str) -> None:
    """And another one than without augmentation; the validation sees plain images."""
    keys = ["augmentation.enabled=True", f"augmentation.augment_on={place}", "train.epochs=1",
            "model.dropout_rate=0.0", "train.deterministic=True"]  # fmt: skip
    first = run(project, *keys)
    second = run(project, *keys)
    assert first.history == second.history
    plain = run(project, "train.epochs=1", "model.dropout_rate=0.0")
    assert plain.history["loss"] != first.history["loss"]


def test_both_places_train_on_the_same_samples(project: Path) -> None:
    losses = [
        run(project, "augmentation.enabled=True", f"augmentation.augment_on={place}",
            "train.epochs=1", "model.dropout_rate=0.0").history["loss"][0]
        for place in ("workers", "device")
    ]  # fmt: skip
    assert losses[0] == pytest.approx(losses[1], rel=0.02)


@pytest.mark.usefixtures("compiled")
def test_supervised_training_augments_on_the_device(project: Path) -> None:
    result = run(project, "model.model=UNetPlusPlus", "augmentation.enabled=True",
                 "augmentation.augment_on=device", "train.epochs=1")  # fmt: skip
    assert np.isfinite(result.history["loss"]).all()


def test_images_that_do_not_fit_do_not_end_the_training(project: Path) -> None:
    """The pictures at epoch changes are for watching only."""
    (project / "dataset/test/images/test_00.png").write_bytes(b"damaged")
    run(project, "train.epochs=1")
    names = [p.name for p in (project / "epoch_change_infer").iterdir()]
    assert names == ["Epoch_1_test_01.png"]


def test_tiled_predictions_at_epoch_changes(project: Path) -> None:
    large = project / "large"
    large.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (90, 130, 3), np.uint8)
    Image.fromarray(noise).save(large / "slide.png")
    keys = ["train.epoch_change_tiled_infer=True", f"tiledinfer.images_dir={large}"]
    run(project, *keys)
    folder = project / "epoch_change_tiled_infer"
    names = ["Epoch_1_slide.png", "Epoch_2_slide.png"]
    assert sorted(p.name for p in folder.iterdir()) == names
    with Image.open(folder / names[0]) as mask:
        assert mask.mode == "P" and mask.size == (130, 90)
    assert len(list((project / "epoch_change_infer").iterdir())) == 4
    # Without images of their own they are those of [infer]; earlier ones move aside.
    run(project, keys[0], "train.epochs=1", "train.epoch_change_infer=False")
    names = ["Epoch_1_test_00.png", "Epoch_1_test_01.png"]
    assert sorted(p.name for p in folder.iterdir()) == names
    assert len(list(project.glob("epoch_change_tiled_infer_*_bak"))) == 1


@pytest.mark.parametrize(
    ("network", "expected"), [("TensorFlowFlexUNet", "test_00"), ("TensorflowUNet", "slide")]
)
def test_images_of_tiled_epoch_changes_as_in_the_family(
    project: Path, network: str, expected: str
) -> None:
    (project / "large").mkdir()
    Image.new("RGB", (60, 50)).save(project / "large/slide.png")
    text = CONFIG.replace("[[mask.classes]]\nid = 1\ncolor = [0, 255, 0]\n", "")
    text = text.replace("TensorFlowFlexUNet", network).replace("epochs = 2", "epochs = 1")
    if network == "TensorflowUNet":
        text = (
            text.replace("num_classes = 2", "num_classes = 1")
            .replace("categorical_crossentropy", "bce_dice_loss")
            .replace('["dice_coef_multiclass"]', '["binary_accuracy"]')
        )
    else:
        text += "[mask]\nrgb_map = {(0,0,0): 0, (0,255,0): 1}\n"
    text = text.replace("[valid]", "epoch_change_tiled_infer = True\n[valid]")
    text += '[tiledinfer]\nimages_dir = "large"\n'
    (project / "old.config").write_text(text, encoding="utf-8")
    Training(load(project / "old.config"), Console(quiet=True)).run()
    names = [p.name for p in (project / "epoch_change_tiled_infer").iterdir()]
    assert f"Epoch_1_{expected}.png" in names


def test_resume_refuses_other_preprocessing(project: Path) -> None:
    run(project, "train.epochs=1")
    with pytest.raises(ConfigError, match=r"preprocessing\.gamma"):
        run(project, "image.gamma=2", "train.epochs=3", resume=True)


@pytest.mark.usefixtures("compiled")
def test_half_precision_resumes(project: Path) -> None:
    """float16 wraps the optimizer in loss scaling, which has a state of its own."""
    run(project, "train.precision=float16", "train.epochs=1")
    more = run(project, "train.precision=float16", "train.epochs=2", resume=True)
    assert len(more.history["loss"]) == 2


def test_how_masks_show_what_is_ignored_makes_no_difference(project: Path) -> None:
    """Values and colours of void, in a network of several classes with all that may see labels."""
    weights = []
    for mark in (255, 3):
        for path in (project / "dataset").glob("*/masks/*.png"):
            ids = np.array(Image.open(path))
            ids[(ids == 255) | (ids == 3)] = 0
            ids[:, 20:] = mark
            image = Image.fromarray(ids)
            image.putpalette([0, 0, 0, 0, 255, 0, *[9, 9, 9] * 254])
            image.save(path)
        result = run(
            project,
            f"mask.ignore={mark}",
            "model.loss=dice_ce_loss",
            "train.epochs=1",
            "train.oversample=0.5",
            "augmentation.enabled=true",
            "augmentation.crop=1.0",
            f"train.run_dir={project}/{mark}",
        )
        weights.append(result.weights)
    assert weights_equal(*weights)
