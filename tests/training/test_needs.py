"""What a training is estimated to need, and what it is then seen to take."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import keras
import pytest

from flexseg import outputs
from flexseg.config.network_options import read_section
from flexseg.config.schema import DatasetConfig, Experiment
from flexseg.config.train import TrainConfig
from flexseg.errors import ConfigError, ResourceError
from flexseg.models.build import build_model
from flexseg.models.inspection import inspect_model
from flexseg.models.package import ModelPackage
from flexseg.models.weights import save_weights
from flexseg.training import batch_size, checkpoint, needs
from flexseg.training.compiling import compile_model
from flexseg.training.needs import DiskNeeds, Needs, needs_of

KEYS = {"image_width": 32, "image_height": 32, "base_filters": 16, "num_layers": 3}


@pytest.mark.parametrize(
    ("optimizer", "ema", "copies"), [("Adam", 0.0, 3), ("SGD", 0.0, 2), ("AdamW", 0.99, 4)]
)
def test_files_are_as_large_as_estimated(
    tmp_path: Path, optimizer: str, ema: float, copies: int
) -> None:
    """A checkpoint is the weights and what the optimizer keeps, and nothing else."""
    config = read_section({"model": "UNet", "optimizer": optimizer, **KEYS}, None)
    network = build_model(config)
    room_needed = DiskNeeds.of(network, config, TrainConfig(ema=ema))
    compile_model(network, config, ema)
    state, best = tmp_path / checkpoint.FILE_NAME, tmp_path / "best_model.h5"
    checkpoint.save(state, network, checkpoint.Progress(batch=1))
    save_weights(network, best, {})
    weights = 4 * network.count_params()
    assert weights < best.stat().st_size < room_needed.weights < 1.2 * weights
    size = state.stat().st_size
    assert 0.95 * copies * weights < size < room_needed.checkpoint < copies * weights + 60_000


def test_names_and_tables_of_a_tiny_network_are_counted(
    tmp_path: Path, room: Callable[..., None]
) -> None:
    experiment = Experiment.model_validate({"model": {**KEYS, "base_filters": 1, "num_layers": 2}})
    package = ModelPackage.create(experiment)
    room_needed = DiskNeeds.of(package.model, package.config, experiment.train)
    path = tmp_path / "best_model.h5"
    package.save(path, {})
    size = path.stat().st_size
    assert 4 * package.model.count_params() < 1000
    assert 30_000 < size < room_needed.weights < 1.3 * size
    room(most=size - 1)
    with pytest.raises(ResourceError, match="no file may be larger than") as caught:
        room_needed.require([tmp_path], path.name, resumed=False)
    assert caught.value.where == str(path)


def test_a_network_without_values_needs_as_much() -> None:
    config = read_section({"model": "UNet", **KEYS}, None)
    with keras.StatelessScope(initialize_variables=False):
        imagined = DiskNeeds.of(build_model(config), config, TrainConfig())
    built = DiskNeeds.of(build_model(config), config, TrainConfig())
    assert imagined == replace(built, weights=imagined.weights)
    # Names of layers have numbers of different lengths.
    assert imagined.weights == pytest.approx(built.weights, abs=4096)


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets what is left on the disk, and how large a file may be."""

    def set_room(free: int | None = None, most: int | None = None) -> None:
        monkeypatch.setattr(outputs, "free_disk", lambda _: free)
        monkeypatch.setattr(outputs, "largest_file", lambda: most)

    return set_room


def test_room_on_the_disk(tmp_path: Path, room: Callable[..., None]) -> None:
    room_needed = DiskNeeds(weights=100 * 2**20, checkpoint=300 * 2**20, snapshots=2)
    assert room_needed.peak == 1100 * 2**20
    for free, most in ((None, None), (1100 * 2**20, None), (None, 300 * 2**20)):
        room(free, most)
        room_needed.require([tmp_path], "best_model.h5", resumed=False)
    room(1100 * 2**20 - 1)
    with pytest.raises(ResourceError, match=r"1\.07 GiB .* has 1\.07 GiB left") as caught:
        room_needed.require([tmp_path], "best_model.h5", resumed=False)
    assert str(caught.value.where).endswith("checkpoint.npz")
    room(most=299 * 2**20)
    with pytest.raises(ResourceError, match="300 MiB, but no file may be larger than 299 MiB"):
        room_needed.require([tmp_path], "best_model.h5", resumed=False)


def test_folds_have_their_room_together(tmp_path: Path, room: Callable[..., None]) -> None:
    """Weights twice, as the ensemble copies them, and one checkpoint more than folds."""
    room_needed = DiskNeeds(weights=1000, checkpoint=3000, snapshots=0)
    folders = [tmp_path / f"fold_{k}" for k in range(3)]
    room(18_000)
    room_needed.require(folders, "best_model.h5", resumed=False)
    room(17_999)
    with pytest.raises(ResourceError, match="fold_0"):
        room_needed.require(folders, "best_model.h5", resumed=False)
    folders[2].mkdir()
    (folders[2] / "best_model.h5").write_bytes(b"1")
    room_needed.require(folders, "best_model.h5", resumed=True)


def test_files_of_an_interrupted_training_have_their_room(
    tmp_path: Path, room: Callable[..., None]
) -> None:
    room_needed = DiskNeeds(weights=1000, checkpoint=3000, snapshots=0)
    (tmp_path / "best_model.h5").write_bytes(bytes(900))
    (tmp_path / checkpoint.FILE_NAME).write_bytes(bytes(2900))
    room(3200)
    room_needed.require([tmp_path], "best_model.h5", resumed=True)
    with pytest.raises(ResourceError):
        room_needed.require([tmp_path], "best_model.h5", resumed=False)


def estimated(batch: int | str = 2, workers: int = 0, **options: object) -> Needs:
    config = read_section({"model": "UNet", **KEYS, **options}, None)
    train = TrainConfig.model_validate({"batch_size": batch, "precision": "float32"})
    return needs_of(config, train, DatasetConfig(workers=workers))


def test_needs_are_those_of_the_built_network() -> None:
    config = read_section({"model": "UNet", **KEYS}, None)
    found = estimated()
    facts = inspect_model(build_model(config))
    assert (found.parameters, found.flop) == (facts.parameters, facts.flop)
    # Weights, gradients, two moments, and half of the activations.
    assert found.least_memory == 16 * facts.parameters + facts.activation_bytes
    assert 16 * facts.parameters + 2 * facts.activation_bytes < found.memory < 2**28
    assert found.memory_of(10) == found.process + found.memory + 10 * 32 * 32 * 4


def test_estimating_changes_nothing_that_training_depends_on() -> None:
    before = keras.config.dtype_policy()
    estimated()
    assert keras.config.dtype_policy() is before


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"base_filters": 10**30}, "parameters with batches of 2 takes at least"),
        ({"base_filters": 30_000}, "parameters with batches of 2 takes at least"),
        ({"image_width": 10**12}, "batches of 2 takes at least .* TiB"),
        ({"image_width": 10**400 * 8}, "batches of 2 takes at least .* TiB"),
        ({"batch": 10**13}, "batches of 10,000,000,000,000 takes"),
        ({"workers": 10**11}, "takes at least .* TiB"),
    ],
)
def test_what_no_memory_holds_is_refused_at_once(options: dict[str, int], what: str) -> None:
    began = time.perf_counter()
    with pytest.raises(ResourceError, match=what):
        estimated(**options).require_memory()
    assert time.perf_counter() - began < 5


def test_sizes_that_no_layer_has_are_an_error_of_the_config(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(needs, "total_memory", lambda: None)
    with pytest.raises(ConfigError, match="cannot be built at this size"):
        estimated(image_width=2**90)


def test_automatic_batches_are_estimated_as_a_training_chooses_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batch_size, "free_memory", lambda: 64 * 2**30)
    assert estimated("auto").batch == batch_size.MOST_ON_CPU


def test_time_of_an_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(needs, "speed", lambda _: 1e9)
    found = estimated()
    computed = 2 * found.flop * (3 * 100 + 10) / 1e9
    assert found.epoch_seconds(100, 10) == pytest.approx(computed + 100 / 2 * 0.01)
    by_steps = replace(found, steps=7)
    computed = 2 * found.flop * 3 * 14 / 1e9
    assert by_steps.epoch_seconds(100, 0) == pytest.approx(computed + 7 * 0.01)


def test_speed_is_that_of_a_machine() -> None:
    assert 1e8 < needs.speed("float32") < 1e16
