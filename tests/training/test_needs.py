"""What a training is estimated to need, and what it is then seen to take."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import keras
import pytest

from flexseg import outputs
from flexseg.config.network_options import read_section
from flexseg.config.train import TrainConfig
from flexseg.errors import ResourceError
from flexseg.models.build import build_model
from flexseg.models.weights import save_weights
from flexseg.training import checkpoint
from flexseg.training.compiling import compile_model
from flexseg.training.needs import DiskNeeds

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
    needs = DiskNeeds.of(network, config, TrainConfig(ema=ema))
    compile_model(network, config, ema)
    state, best = tmp_path / checkpoint.FILE_NAME, tmp_path / "best_model.h5"
    checkpoint.save(state, network, checkpoint.Progress(batch=1))
    save_weights(network, best, {})
    weights = 4 * network.count_params()
    assert weights < best.stat().st_size < needs.weights < 1.2 * weights
    size = state.stat().st_size
    assert 0.95 * copies * weights < size < needs.checkpoint < copies * weights + 60_000


def test_a_network_without_values_needs_as_much() -> None:
    config = read_section({"model": "UNet", **KEYS}, None)
    with keras.StatelessScope(initialize_variables=False):
        imagined = DiskNeeds.of(build_model(config), config, TrainConfig())
    assert imagined == DiskNeeds.of(build_model(config), config, TrainConfig())


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets what is left on the disk, and how large a file may be."""

    def set_room(free: int | None = None, most: int | None = None) -> None:
        monkeypatch.setattr(outputs, "free_disk", lambda _: free)
        monkeypatch.setattr(outputs, "largest_file", lambda: most)

    return set_room


def test_room_on_the_disk(tmp_path: Path, room: Callable[..., None]) -> None:
    needs = DiskNeeds(weights=100 * 2**20, checkpoint=300 * 2**20, snapshots=2)
    assert needs.peak == 1100 * 2**20
    for free, most in ((None, None), (1100 * 2**20, None), (None, 300 * 2**20)):
        room(free, most)
        needs.require(tmp_path, "best_model.h5", resumed=False)
    room(1100 * 2**20 - 1)
    with pytest.raises(ResourceError, match=r"1\.07 GiB .* has 1\.07 GiB left") as caught:
        needs.require(tmp_path, "best_model.h5", resumed=False)
    assert str(caught.value.where).endswith("checkpoint.npz")
    room(most=299 * 2**20)
    with pytest.raises(ResourceError, match="300 MiB, and none may be larger than 299 MiB"):
        needs.require(tmp_path, "best_model.h5", resumed=False)


def test_files_of_an_interrupted_training_have_their_room(
    tmp_path: Path, room: Callable[..., None]
) -> None:
    needs = DiskNeeds(weights=1000, checkpoint=3000, snapshots=0)
    (tmp_path / "best_model.h5").write_bytes(bytes(900))
    (tmp_path / checkpoint.FILE_NAME).write_bytes(bytes(2900))
    room(3200)
    needs.require(tmp_path, "best_model.h5", resumed=True)
    with pytest.raises(ResourceError):
        needs.require(tmp_path, "best_model.h5", resumed=False)
