"""What each worker on a cluster takes, and what is told while there is room for none; no Ray."""

from __future__ import annotations

import logging
import socket
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from flexseg.cluster import ray_workers
from flexseg.cluster.ray_workers import RayWorkers
from flexseg.errors import ConfigError
from flexseg.execution.mapping import Began, Ended
from flexseg.storage import mirror
from flexseg.storage.urls import local_path


class Ray(ModuleType):
    """A cluster of some machines; what comes of its actors is set by tests."""

    def __init__(self, *machines: dict[str, float]) -> None:
        super().__init__("ray")
        self.machines = machines
        self.waited: list[float | None] = []
        self.exceptions = SimpleNamespace(RayTaskError=ZeroDivisionError, RayError=LookupError)

    def nodes(self) -> list[dict[str, Any]]:
        facts = {"Alive": True, "NodeManagerHostname": "host"}
        return [{**facts, "Resources": resources} for resources in self.machines]

    def remote(self, **needs: Any) -> Any:
        self.needs = needs
        return lambda kind: SimpleNamespace(remote=lambda *_: _Actor())

    def wait(self, coming: list[Any], num_returns: int, timeout: float | None = None) -> Any:
        self.waited.append(timeout)
        return ([], coming) if timeout is not None else (coming[:1], coming[1:])

    def get(self, one: Any) -> Any:
        if isinstance(one.said, Exception):
            raise one.said
        return one.said

    def kill(self, actor: Any) -> None: ...


class _Coming:
    """What will come of an actor."""

    def __init__(self, said: Any) -> None:
        self.said = said


class _Actor:
    def __init__(self) -> None:
        self.begin = SimpleNamespace(remote=lambda _: _Coming(Began(0)))


def workers_on(
    monkeypatch: pytest.MonkeyPatch, *machines: dict[str, float], count: int | None = None
) -> tuple[RayWorkers, Ray]:
    library = Ray(*machines)
    monkeypatch.setitem(sys.modules, "ray", library)
    monkeypatch.setattr(ray_workers, "_connect", lambda address: None)
    return RayWorkers("somewhere", count), library


@pytest.mark.parametrize(
    ("processors", "count", "each"),
    [
        ([8], None, 8),
        ([8, 8], None, 8),
        ([8, 4], None, 4),
        ([8], 3, 2),
        ([3, 3], 3, 1),  # of two each only two would find a place
        ([4, 4], 5, 1),
        ([4, 4], 100, 1),
        ([], None, 1),
    ],
)
def test_all_workers_find_a_place(
    processors: list[int], count: int | None, each: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    machines = [{"CPU": float(one)} for one in processors]
    workers, library = workers_on(monkeypatch, *machines, count=count)
    workers.start(0, lambda: lambda items: None)  # type: ignore[arg-type, return-value]
    assert library.needs["num_cpus"] == each and library.needs["num_gpus"] == 0


@pytest.mark.parametrize(
    ("gpus", "count", "part"),
    [(2, None, 1.0), (2, 1, 1.0), (2, 3, 0.5), (2, 4, 0.5), (1, 3, 1 / 3)],
)
def test_workers_share_gpus_whole(
    gpus: int, count: int | None, part: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers, library = workers_on(monkeypatch, {"CPU": 16, "GPU": gpus}, count=count)
    workers.start(0, lambda: lambda items: None)  # type: ignore[arg-type, return-value]
    assert library.needs["num_gpus"] == pytest.approx(part)
    assert int(1 / library.needs["num_gpus"] + 1e-9) * gpus >= workers.count


def test_a_word_is_said_whenever_there_is_room_for_no_worker(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    workers, library = workers_on(monkeypatch, {"CPU": 1})
    workers.start(0, lambda: lambda items: None)  # type: ignore[arg-type, return-value]
    with caplog.at_level(logging.WARNING):
        assert workers.receive() == Began(0)
        assert "no room for a worker with 1 processor" in caplog.text
        workers._coming[0].append(_Coming(LookupError("its node has died")))
        assert isinstance(workers.receive(), Ended)
        assert library.waited[2:] == [None]  # one that works may take its time
        caplog.clear()
        workers.start(0, lambda: lambda items: None)  # type: ignore[arg-type, return-value]
        assert workers.receive() == Began(0)
        assert "no room for a worker" in caplog.text


def test_urls_on_other_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror, "_named", {local_path("s3://bucket/images")})
    monkeypatch.setattr(socket, "gethostname", lambda: "host")
    workers, _ = workers_on(monkeypatch, {"CPU": 1})
    workers.start(0, lambda: lambda items: None)  # type: ignore[arg-type, return-value]
    assert workers.receive() == Began(0)
    monkeypatch.setattr(socket, "gethostname", lambda: "another")
    workers, _ = workers_on(monkeypatch, {"CPU": 1})
    with pytest.raises(ConfigError, match=r"^s3://bucket/images: Workers on other machines"):
        workers.start(0, lambda: lambda items: None)  # type: ignore[arg-type, return-value]


def test_a_ray_without_the_name_that_is_used() -> None:
    for library in (ModuleType("ray"), SimpleNamespace(_private=SimpleNamespace(worker=None))):
        ray_workers._let_it_be_silent(library)
    inner = SimpleNamespace(print_to_stdstream=print)
    ray_workers._let_it_be_silent(SimpleNamespace(_private=SimpleNamespace(worker=inner)))
    assert inner.print_to_stdstream({}, ignore_prefix=False) is None
    assert inner.print_to_stdstream is not print
