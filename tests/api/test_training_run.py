"""`flexseg.train` and `flexseg.Run`: as the commands do, without printing."""

from __future__ import annotations

import json
import logging
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import flexseg
from flexseg.config.schema import Experiment
from flexseg.dataset.division.config_splits import find_splits
from flexseg.model_file.hdf5_weights import read_weights
from support import flexseg as run_command

pytestmark = pytest.mark.usefixtures("eager")

CONFIG = """
[model]
image_width = 24
image_height = 16
num_classes = 2
num_layers = 2
base_filters = 2
learning_rate = 0.01
[train]
images_dir = "dataset/train/images"
masks_dir = "dataset/train/masks"
run_dir = "run"
epochs = 1
precision = "float32"
epoch_change_infer = false
[valid]
images_dir = "dataset/valid/images"
masks_dir = "dataset/valid/masks"
[test]
images_dir = "dataset/test/images"
masks_dir = "dataset/test/masks"
[eval]
bootstrap = 0
[[mask.classes]]
id = 1
name = "disc"
color = [0, 255, 0]
"""


@pytest.fixture
def config(tmp_path: Path, make_dataset: Callable[..., Path]) -> Path:
    """A config with its dataset."""
    make_dataset({"train": 5, "valid": 2, "test": 3}, size=(20, 24))
    (tmp_path / "a.toml").write_text(CONFIG, encoding="utf-8")
    return tmp_path / "a.toml"


class Losses(keras.callbacks.Callback):
    """What a callback of the user sees."""

    def __init__(self) -> None:
        super().__init__()
        self.epochs: list[dict[str, float]] = []
        self.batches = 0

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self.batches += 1

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.epochs.append({key: float(value) for key, value in (logs or {}).items()})


def test_a_training_of_two_epochs(
    config: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(logging.getLogger("flexseg"), "propagate", True)
    seen = Losses()
    with caplog.at_level(logging.INFO, "flexseg"):
        run = flexseg.train(config, {"train.epochs": 2, "train.batch_size": 2}, callbacks=[seen])
    assert capfd.readouterr().out == ""
    assert "on 5 cases, validation on 2" in caplog.text and " 2/2 " in caplog.text
    assert run.folder == config.parent / "run" and run.status == "finished"
    assert seen.batches == 6
    assert [e["val_loss"] for e in seen.epochs] == run.history["val_loss"]
    losses = [epoch["val_loss"] for epoch in seen.epochs]
    assert run.best_epoch == int(np.argmin(losses)) and run.best_loss == min(losses)
    assert run.weights == run.folder / "models/best_model.h5" and run.weights.is_file()
    for (_, stored), weight in zip(read_weights(run.weights), run.model.get_weights(), strict=True):
        np.testing.assert_array_equal(stored, weight)
    assert "UNet, finished, best loss" in repr(run)


def test_the_model_can_be_saved_for_keras(config: Path) -> None:
    run = flexseg.train(config)
    run.model.save(config.parent / "x.keras")
    again = keras.saving.load_model(config.parent / "x.keras", safe_mode=True)
    x = np.random.default_rng(0).uniform(0, 255, (2, 16, 24, 3)).astype(np.float32)
    y = (x[..., 0] > 99).astype(np.uint8)
    np.testing.assert_allclose(again.predict_on_batch(x), run.model.predict_on_batch(x), atol=1e-6)
    expected = run.model.test_on_batch(x, y, return_dict=True)
    assert again.test_on_batch(x, y, return_dict=True) == pytest.approx(expected, rel=1e-5)
    assert set(expected) == {"loss", "dice_coef_foreground"}


def test_an_option_that_no_network_has_is_refused(config: Path) -> None:
    with pytest.raises(flexseg.ConfigError) as caught:
        flexseg.train(config, {"model.base_filter": 4})
    assert caught.value.fix == "Did you mean 'base_filters'?"


def test_evaluated_as_the_command_does(config: Path) -> None:
    run = flexseg.train(str(config))
    summary = run.evaluate()
    path = run.folder / "evaluation/summary.json"
    told = json.loads(path.read_text(encoding="utf-8"))
    assert summary.cases == 3 and run_command("evaluate", config) == 0
    assert json.loads(path.read_text(encoding="utf-8")) == told
    assert run.evaluate("valid").cases == 2
    assert (run.folder / "evaluation_valid/cases.csv").is_file()
    with pytest.raises(flexseg.DataError, match="1 of 4 test cases was seen"):
        for kind in ("images", "masks"):
            folder = config.parent / "dataset"
            shutil.copy(folder / f"train/{kind}/train_00.png", folder / f"test/{kind}/x.png")
        run.evaluate()


def test_reported(config: Path, tmp_path: Path) -> None:
    run = flexseg.train(config)
    run.evaluate()
    assert run.report() == run.folder / "report.html"
    assert run.report(tmp_path / "mine.html") == tmp_path / "mine.html"
    content = json.loads((tmp_path / "mine.json").read_text(encoding="utf-8"))
    assert content["training"]["epochs"] == 1 and content["evaluation"]["cases"] == 3


def test_opened_where_it_was_moved_to(config: Path, tmp_path: Path) -> None:
    first = flexseg.train(config)
    first.folder.rename(tmp_path / "moved")
    run = flexseg.Run.open(tmp_path / "moved")
    assert run.folder == tmp_path / "moved" and run.weights.is_file()
    assert (run.best_epoch, run.best_loss) == (first.best_epoch, first.best_loss)
    assert run.history["loss"] and run.evaluate().cases == 3
    assert (tmp_path / "moved/evaluation/summary.json").is_file()
    assert not (tmp_path / "run").exists()


def test_resumed(config: Path) -> None:
    first = flexseg.train(config)
    run = flexseg.train(config, {"train.epochs": 3}, resume=True)
    assert len(run.history["loss"]) == 3 and run.history["loss"][0] == first.history["loss"][0]
    with pytest.raises(flexseg.ConfigError, match=r"other values of: train\.seed"):
        flexseg.train(config, {"train.seed": 3}, resume=True)


def test_begun_with_an_earlier_network(config: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = flexseg.train(config)
    caplog.set_level(logging.INFO, "flexseg")
    flexseg.train(config, {"train.run_dir": config.parent / "second"}, start_from=first.folder)
    assert f"Starting from {first.weights}" in caplog.text
    origin = json.loads((config.parent / "second/run.json").read_text())["origin"]
    assert origin["taken"] == origin["weights"]
    with pytest.raises(flexseg.FlexsegError, match="nowhere"):
        flexseg.train(config, start_from=config.parent / "nowhere")


def test_what_was_read_already(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = flexseg.load_config(config, ["train.run_dir=" + str(config.parent / "b")])
    cases = find_splits(loaded.experiment.data, only=("train", "valid"))
    run = flexseg.train(loaded, splits=cases)
    assert run.folder == config.parent / "b"
    with pytest.raises(flexseg.ConfigError, match="still to be read"):
        flexseg.train(loaded, {"train.epochs": 2})
    monkeypatch.chdir(config.parent)
    content = loaded.experiment.model_dump()
    for key in ("model_dir", "eval_dir", "epoch_change_infer_dir", "epoch_change_tiled_infer_dir"):
        del content["train"][key]
    content["train"]["run_dir"] = "c"
    run = flexseg.train(Experiment.model_validate(content))
    assert run.folder == config.parent / "c" and run.weights == run.folder / "models/best_model.h5"


def test_errors_are_those_of_the_commands(config: Path, tmp_path: Path) -> None:
    with pytest.raises(flexseg.ConfigError, match="no key 'epoch'"):
        flexseg.train(config, {"train.epoch": 2})
    with pytest.raises(flexseg.ConfigError, match="no such config file"):
        flexseg.train(tmp_path / "b.toml")
    with pytest.raises(flexseg.DataError, match="no checkpoint"):
        flexseg.train(config, resume=True)
    with pytest.raises(flexseg.ConfigError, match="nothing made by flexseg"):
        flexseg.Run.open(tmp_path / "dataset")
    not_callbacks: Any = [5]
    with pytest.raises(flexseg.ConfigError, match="5 is not a Keras callback"):
        flexseg.train(config, callbacks=not_callbacks)
    run = flexseg.train(config, {"train.epochs": np.int64(1)})
    unknown: Any = "tset"
    with pytest.raises(flexseg.ConfigError, match="'tset' is not a split"):
        run.evaluate(unknown)
    (run.folder / "run.json").write_text("{", encoding="utf-8")
    with pytest.raises(flexseg.DataError, match="cannot be read"):
        flexseg.Run.open(run.folder)


def test_a_run_without_an_end(config: Path) -> None:
    run = flexseg.train(config)
    manifest = json.loads((run.folder / "run.json").read_text(encoding="utf-8"))
    for key in ("best", "weights", "epochs"):
        del manifest[key]
    manifest["status"] = "interrupted"
    (run.folder / "run.json").write_text(json.dumps(manifest), encoding="utf-8")
    run = flexseg.Run.open(run.folder)
    assert run.status == "interrupted" and "interrupted" in repr(run)
    for name in ("best_epoch", "best_loss", "weights", "model"):
        with pytest.raises(flexseg.DataError, match="not finished"):
            getattr(run, name)


@pytest.mark.parametrize("name", ["best_epoch", "best_loss", "model"])
def test_a_cross_validation_has_several(name: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(Path(__file__).parents[1] / "old_runs" / "study.zip") as archive:
        archive.extractall(tmp_path)
    run = flexseg.Run.open(tmp_path / "study" / "one_folds")
    with pytest.raises(flexseg.DataError, match="a network for each fold"):
        getattr(run, name)


def test_the_guide_works(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.rename(config.with_name("flexseg.toml"))
    monkeypatch.chdir(config.parent)
    guide = Path(__file__).parents[2] / "docs/how-to/python-training.md"
    blocks = re.findall(r"```python\n(.*?)```", guide.read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, Any] = {}
    exec("\n".join(blocks), names)  # noqa: S102 - it is ours
    assert len(blocks) == 3 and names["run"].folder.name == "second"
    assert names["scores"].cases == 3 and names["page"].is_file() and 0 <= names["dice"] <= 1
