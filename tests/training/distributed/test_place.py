"""Which process of how many: options, SLURM, Kubernetes."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from flexseg.errors import ConfigError, ResourceError
from flexseg.training.distributed.place import Address, Place, place_of
from flexseg.training.distributed.supervisor import Supervisor
from ports import free_port
from support import flexseg

SLURM = {
    "SLURM_NTASKS": "3",
    "SLURM_PROCID": "2",
    "SLURM_LOCALID": "1",
    "SLURM_STEP_TASKS_PER_NODE": "1,2",
    "SLURM_STEP_NODELIST": "node[007-008],other",
    "SLURM_JOB_ID": "5000",
}


def test_a_plain_command_is_one_process_wherever_it_runs() -> None:
    assert place_of(None, environment=SLURM) is None
    assert place_of("1", environment={}) is None
    assert place_of("auto", environment={"SLURM_NTASKS": "1"}) is None


def test_all_processes_of_one_computer() -> None:
    assert place_of("3", environment=SLURM) == Place(3, (0, 1, 2), local=0)


def test_one_of_several_computers() -> None:
    expected = Place(2, (1,), Address("fd00::7", 7733))
    assert place_of("2", "[fd00::7]:7733", 1, {}) == expected
    assert str(expected.coordinator) == "[fd00::7]:7733" and not expected.leads


def test_slurm() -> None:
    port = 61440 + 2 * (5000 % 2048)
    assert place_of("auto", environment=SLURM) == Place(3, (2,), Address("node007", port), local=1)
    alone = SLURM | {"SLURM_STEP_TASKS_PER_NODE": "1(x3)", "SLURM_STEP_NODELIST": "a,b,c"}
    assert place_of("auto", environment=alone) == Place(3, (2,), Address("a", port))


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("node7", "node7"),
        ("node[007-008,12],other", "node007"),
        ("rack[1-2]n[03-09],other", "rack1n03"),
        ("gpu[4,9]-ib,other-1", "gpu4-ib"),
    ],
)
def test_the_first_of_slurm_s_nodes(nodes: str, first: str) -> None:
    found = place_of("auto", environment=SLURM | {"SLURM_STEP_NODELIST": nodes})
    assert found is not None and found.coordinator is not None
    assert found.coordinator.host == first


def test_kubernetes() -> None:
    job = {"JOB_COMPLETION_INDEX": "0", "JAX_COORDINATOR_ADDRESS": "train-0.train:7733"}
    assert place_of("4", "c:1", environment=job) == Place(4, (0,), Address("c", 1))
    assert place_of("4", None, 3, job) == Place(4, (3,), Address("train-0.train", 7733))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ((None, "a:1", None), "--coordinator needs the number of processes"),
        (("two", None, None), "'two' is no number of processes"),
        (("auto", None, None), "SLURM_NTASKS"),
        (("2", "a", 0), "'a' is no address HOST:PORT"),
        (("2", "a:65535", 0), "a port of 1 to 65534"),
        (("2", "a:1", 2), "no process 2 of 2"),
        (("2", "a:1", None), "not known which process"),
        (("2", None, 1), "not known where the processes meet"),
    ],
)
def test_wrong_options(given: tuple[str | None, str | None, int | None], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        place_of(*given, environment={})


def test_another_engine_is_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    assert flexseg("train", "no.toml", "--processes", "2") == 2
    assert "on JAX alone, not on tensorflow" in capsys.readouterr().err


def test_a_coordinator_that_is_not_there_is_named(tmp_path: Path) -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        held = Place(2, (0,), Address("127.0.0.1", port))
        with pytest.raises(ResourceError, match=f"cannot listen at port {port}"):
            Supervisor(held, ["train", "no.toml"], wait=1.0).run()
    absent = Place(2, (1,), Address("127.0.0.1", port))
    with pytest.raises(ResourceError, match=f"127.0.0.1:{port}: Process 1 has not reached"):
        Supervisor(absent, ["train", "no.toml"], wait=0.1).run()


def test_a_process_that_does_not_come_is_named() -> None:
    with pytest.raises(ResourceError, match=r"of 3 processes have not come: 1, 2"):
        Supervisor(
            Place(3, (0,), Address("127.0.0.1", free_port())), ["list", "models"], wait=0.1
        ).run()


def test_processes_that_do_not_go_together_are_refused() -> None:
    at = Address("127.0.0.1", free_port())
    told: list[str] = []

    def come() -> None:
        # Another process 0 is sent away, and the first one goes on waiting.
        with _reached(at) as stranger:
            stranger.sendall(b'{"process": 0}\n')
            told.append(stranger.makefile().readline())
        try:
            Supervisor(Place(3, (1,), at), ["list", "models"], wait=30.0).run()
        except ConfigError as error:
            told.append(str(error))

    first = Supervisor(Place(2, (0,), at), ["list", "models"], wait=30.0)
    thread = threading.Thread(target=come)
    thread.start()
    with pytest.raises(ConfigError, match=r"started with processes 2, process 1 on .* with 3"):
        first.run()
    thread.join()
    assert "There is a process 0 already" in told[0]
    assert "started with processes 2" in told[1] and "--processes" in told[1]


def _reached(at: Address) -> socket.socket:
    """A connection to who will listen there soon."""
    for _ in range(200):
        with suppress(ConnectionRefusedError):
            return socket.create_connection((at.host, at.port))
        time.sleep(0.05)
    raise AssertionError("nobody listens")
