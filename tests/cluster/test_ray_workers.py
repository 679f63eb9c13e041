"""Work on a cluster of Ray with two machines, of which one is lost."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flexseg.cluster.ray_workers import RayWorkers
from flexseg.execution.mapping import in_chunks, mapped
from mapped_work import squares
from support import flexseg
from worked_project import write_project, written

pytest.importorskip("ray")
TESTS = Path(__file__).parents[1]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Two machines with a processor each, as far as Ray knows."""
    from ray.cluster_utils import Cluster

    path = os.pathsep.join([str(TESTS), str(TESTS.parent / "src")])
    monkeypatch.setenv("PYTHONPATH", path)
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    machines = Cluster()
    for _ in range(2):
        machines.add_node(num_cpus=1, object_store_memory=100 * 2**20, include_dashboard=False)
    yield machines
    machines.shutdown()


def lose_machine(cluster: Any) -> None:
    """Kill all processes of the machine without the head."""
    cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)


def test_deadly_items_and_a_lost_machine(cluster: Any) -> None:
    items: list[Any] = [*range(40)]
    items[13], items[21] = "deadly", "wrong"
    found: dict[int, Any] = {}
    workers = RayWorkers(cluster.address)
    assert workers.count == 2
    lost = False
    for chunk, results in mapped(squares, in_chunks(items, 2), workers):
        assert not found.keys() & set(chunk.numbers)
        found |= dict(zip(chunk.numbers, results, strict=True))
        if len(found) >= 20 and not lost:
            lose_machine(cluster)
            lost = True
    assert {n: r for n, r in found.items() if n not in (13, 21)} == {
        n: n * n for n in range(40) if n not in (13, 21)
    }
    assert "has ended 3 times (its process has died" in str(found[13])
    assert str(found[21]) == "wrong: It is wrong. Mend it."


@pytest.mark.usefixtures("engines_on")
def test_a_command_survives_the_loss_of_a_machine(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    project = write_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    command = ("infer", "a.toml", "-i", "images", "-o")
    assert flexseg(*command, project / "one") == 3
    output = project / "several"

    def lose_in_time() -> None:
        while len([*output.glob("*.png")]) < 3:
            time.sleep(0.01)
        lose_machine(cluster)

    thread = threading.Thread(target=lose_in_time)
    thread.start()
    capsys.readouterr()
    assert flexseg(*command, output, "--ray", cluster.address, "--json") == 3
    thread.join()
    assert all(json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert written(project / "several") == written(project / "one")


def test_no_cluster(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.toml").write_text("")
    assert flexseg("infer", tmp_path / "a.toml", "--ray", "nowhere") == 4
    assert "No Ray can be reached at nowhere" in capsys.readouterr().err
