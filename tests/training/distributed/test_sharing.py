"""Batches that several devices share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from flexseg.batches.batch_plan import BatchMaker, BatchPlan, Share
from flexseg.config.load import LoadedConfig, load
from flexseg.errors import ConfigError
from flexseg.training.distributed import sharing
from flexseg.training.distributed.sharing import Sharing
from support import CONFIG


@pytest.mark.parametrize(
    ("length", "devices", "padded"), [(8, 2, 8), (3, 2, 4), (7, 2, 10), (5, 4, 12), (1, 1, 1)]
)
def test_only_what_does_not_divide_is_made_longer_than_any_other(
    length: int, devices: int, padded: int
) -> None:
    assert Share(devices=devices).padded(length, batch_size=8) == padded


def test_the_parts_of_a_batch_are_the_batch() -> None:
    class Source:
        """Samples that are their index and their place."""

        cases = tuple(range(6))

        def samples(self, indices: list[int], epoch: int, position: int) -> list:
            return [(index, place) for place, index in enumerate(indices, position)]

    plan = BatchPlan(6, 4, seed=1, shuffle=True, fill=True)
    whole = BatchMaker(Source(), plan)(2, 1)
    parts = [BatchMaker(Source(), plan, share=Share(i, 2, 2))(2, 1) for i in (0, 1)]
    for i in (0, 1):
        assert [*parts[0][i], *parts[1][i]] == list(whole[i])


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What process 0 has said, which the other one hears when it runs after it."""
    said: list[bytes] = []

    def broadcast(sharing: Sharing, content: bytes) -> bytes:
        if sharing.leads:
            said.append(content)
            return content
        return said.pop(0)

    monkeypatch.setattr(Sharing, "broadcast", broadcast)
    return said


def test_computers_may_differ_but_not_what_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: list[bytes]
) -> None:
    jax = pytest.importorskip("jax")
    (tmp_path / "a.toml").write_text(CONFIG, encoding="utf-8")
    loaded = load(tmp_path / "a.toml")
    installed = {"keras": "3.12", "system": "Linux 5", "device": "CPU, 64 cores"}

    def with_second(devices: int = 1, **others: str) -> LoadedConfig:
        told.clear()
        monkeypatch.setattr(jax, "local_device_count", lambda: 1)
        monkeypatch.setattr(sharing, "versions", lambda: installed)
        Sharing(2, 0, 2).own(loaded)
        monkeypatch.setattr(jax, "local_device_count", lambda: devices)
        monkeypatch.setattr(sharing, "versions", lambda: installed | others)
        return Sharing(2, 1, 2).own(loaded)

    assert with_second(system="Linux 6", device="CPU, 8 cores") is loaded
    with pytest.raises(ConfigError, match=r"installation of process 1 .* in keras: \"3.13\""):
        with_second(keras="3.13")
    with pytest.raises(ConfigError, match=r"computer of process 1 .* in number of devices: 2 inst"):
        with_second(devices=2)


def test_any_content_travels_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "_PIECE", 3)
    monkeypatch.setattr(Sharing, "_first", lambda _, array: array)
    for content in (b"", b"ab", b"abcdefg"):
        assert Sharing(processes=2).broadcast(content) == content

    class Large(bytes):
        def __len__(self) -> int:
            return 2**31

    def first(_: Sharing, array: NDArray[np.uint8]) -> NDArray[np.uint8]:
        assert int.from_bytes(array.tobytes(), "little") == 2**31
        raise EOFError  # the length has arrived

    monkeypatch.setattr(Sharing, "_first", first)
    with pytest.raises(EOFError):
        Sharing(processes=2).broadcast(Large())


def test_devices_that_cannot_share_equally_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"cannot share batches of 5 equally.* 4 or 6 "):
        Sharing(devices=2).require_equal_parts(5)
    with pytest.raises(ConfigError, match=r"batch_size = 4 \("):
        Sharing(devices=4).require_equal_parts(3)
    Sharing(devices=4).require_equal_parts(8)
