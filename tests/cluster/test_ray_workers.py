"""Work on a cluster of Ray with two machines, also when one of them is lost."""

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
from support import bytes_below, flexseg, result_of
from worked_project import write_project, write_trained, written

pytest.importorskip("ray")
TESTS = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def head() -> Iterator[Any]:
    """A cluster of one machine, with a processor as far as Ray knows."""
    from ray.cluster_utils import Cluster

    path = os.pathsep.join([str(TESTS), str(TESTS.parent / "src")])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", path)
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        machines = Cluster()
        _add_machine(machines)
        yield machines
        machines.shutdown()


@pytest.fixture
def cluster(head: Any) -> Any:
    """One of two such machines; a test may lose the second."""
    if not head.worker_nodes:
        _add_machine(head)
    return head


def _add_machine(cluster: Any) -> None:
    cluster.add_node(num_cpus=1, object_store_memory=100 * 2**20, include_dashboard=False)


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


@pytest.mark.usefixtures("engines_on")
def test_what_commands_find_and_write_is_that_of_one_process(
    cluster: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_trained(tmp_path)
    ray = ("--ray", cluster.address)
    on = ("--set", "augmentation.enabled=true")
    found = []
    for name, more in (("one", ()), ("several", ray)):
        assert flexseg("evaluate", config, "-o", tmp_path / name / "scores", *more) == 0
        assert flexseg("augment", config, "-o", tmp_path / name / "more", *on, *more) == 0
        capsys.readouterr()
        assert flexseg("check", config, "--json", *more) == 0
        # What a training would cost is measured.
        found.append(result_of(capsys.readouterr().out) | {"costs": 0, "time": 0})
    assert found[0] == found[1]
    files = bytes_below(tmp_path / "one")
    assert {"scores/predictions/test_08.png", "more/manifest.csv"} <= files.keys()
    assert files == bytes_below(tmp_path / "several")


def test_no_cluster(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.toml").write_text("")
    assert flexseg("infer", tmp_path / "a.toml", "--ray", "nowhere") == 4
    assert "No Ray can be reached at nowhere" in capsys.readouterr().err
