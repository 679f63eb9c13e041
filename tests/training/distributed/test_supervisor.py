"""Who watches the processes of a training, and each of these, where something is missing."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from flexseg.errors import FlexsegError, ResourceError, TrainingError
from flexseg.training.distributed import supervisor, worker
from flexseg.training.distributed.place import Address, Place
from flexseg.training.distributed.supervisor import LOG, Supervisor
from flexseg.training.distributed.worker import Worker
from ports import free_port


def watched(code: int | None, said: list[Any]) -> Supervisor:
    """One whose only process has ended with a code, and said something that is still on its way."""
    alone = Supervisor(Place(1, (0,)), [], wait=60.0)
    process = SimpleNamespace(poll=lambda: code)
    alone.children[0] = supervisor._Child(process)  # type: ignore[arg-type]

    class Late:
        looked = 0

        def get(self, timeout: float) -> Any:
            self.looked += 1
            if self.looked > 3 and said:
                return "child 0", said.pop(0)
            raise supervisor.queue.Empty

    alone.inbox = Late()  # type: ignore[assignment]
    return alone


def test_what_a_process_said_counts_though_it_comes_after_its_end() -> None:
    watched(0, [{"done": True}])._watch()
    told = {"failed": ResourceError("The disk is full.", "Free some.", "/data").as_dict()}
    with pytest.raises(ResourceError, match="The disk is full"):
        watched(4, [told])._watch()


def test_a_process_that_ends_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "GRACE_SECONDS", 0.0)
    with pytest.raises(TrainingError, match="ended before the training did"):
        watched(0, [])._watch()
    with pytest.raises(TrainingError, match=r"ended by the signal 15 \(SIGTERM\)"):
        watched(-15, [])._watch()
    with pytest.raises(TrainingError, match=r"ended by the signal 40\. All"):
        watched(-40, [])._watch()


def test_a_process_that_never_begins_ends_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "GRACE_SECONDS", 0.0)
    stuck = [sys.executable, "-c", "import time; time.sleep(600)"]
    start = supervisor.subprocess.Popen
    monkeypatch.setattr(
        supervisor.subprocess, "Popen", lambda command, **options: start(stuck, **options)
    )
    began = time.monotonic()
    first = Supervisor(Place(2, (0, 1)), [], wait=1.0)
    with pytest.raises(ResourceError, match=r"Process 0 .* has not begun within 1 s"):
        first.run()
    assert time.monotonic() - began < 60
    assert all(child.process.returncode is not None for child in first.children.values())
    assert not first._folder.exists()


def test_the_port_of_jax_is_needed_too() -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port + 1)):
        first = Supervisor(Place(2, (0,), Address("127.0.0.1", port)), [], wait=1.0)
        with pytest.raises(ResourceError, match=f"cannot listen at port {port + 1}"):
            first.run()


def test_words_of_a_process_and_of_its_engine_are_both_in_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = (
        "import json, os\n"
        "from pathlib import Path\n"
        "from flexseg.training.distributed import worker\n"
        "about = json.loads(os.environ[worker.VARIABLE])\n"
        "worker._leave_native_output_to(Path(about['folder'], worker.LOG))\n"
        "for part in 'abc':\n"
        "    print('python', part, flush=True)\n"
        "    os.write(1, b'engine ' + part.encode() + os.linesep.encode())\n"
    )
    start = supervisor.subprocess.Popen
    command = [sys.executable, "-c", code]
    monkeypatch.setattr(
        supervisor.subprocess, "Popen", lambda _, **options: start(command, **options)
    )
    first = Supervisor(Place(2, (0, 1)), [], wait=60.0)
    first._folder = tmp_path
    first._start()
    for child in first.children.values():
        child.process.wait()
    lines = (tmp_path / "1" / LOG).read_text(encoding="utf-8").split("\n")
    first._end()
    assert sorted(line.strip() for line in lines if line) == [
        f"{who} {part}" for who in ("engine", "python") for part in "abc"
    ]


def test_a_process_without_a_supervisor_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    folder = tmp_path / "flexseg-x/0"
    folder.mkdir(parents=True)
    about = {"index": 0, "port": port, "token": "a", "folder": str(folder)}
    monkeypatch.setenv(worker.VARIABLE, json.dumps(about))
    monkeypatch.setattr(worker.os, "_exit", sys.exit)
    with pytest.raises(SystemExit):
        Worker.of_this_process()
    assert not folder.parent.exists()


@pytest.mark.parametrize("error", [OSError(28, "No space left on device", "/data/model.h5")])
def test_an_error_of_the_system_is_told_as_in_one_process(
    error: OSError, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "GRACE_SECONDS", 0.0)
    monkeypatch.setattr(worker.os, "_exit", sys.exit)
    said: list[Any] = []
    process = Worker.__new__(Worker)
    process.index = 0
    process._link = SimpleNamespace(send=said.append)  # type: ignore[assignment]

    def work() -> None:
        raise error

    with pytest.raises(SystemExit) as ended:
        process.run(work)
    found: FlexsegError = supervisor._known(said[0]["failed"], None)
    assert isinstance(found, ResourceError) and ended.value.code == found.exit_code == 4
    assert found.where == "/data/model.h5" and "No space left" in found.problem


def test_a_jax_without_the_names_that_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what it takes is given to it, and its collectives stay as they are."""

    def earlier(coordinator_address: str | None = None) -> None: ...

    def later(heartbeat_timeout_seconds: int = 1, shutdown_timeout_seconds: int = 1) -> None: ...

    assert worker._timeouts(earlier) == {} and len(worker._timeouts(later)) == 2
    library = ModuleType("jax._src.lib")
    monkeypatch.setitem(sys.modules, "jax._src.lib", library)
    worker._prepare_collectives("10.0.0.1")  # has no `_jax`
    library._jax = SimpleNamespace()  # type: ignore[attr-defined]
    worker._prepare_collectives("10.0.0.1")
    assert vars(library._jax) == {}  # type: ignore[attr-defined]
    library._jax.make_gloo_tcp_collectives = lambda **words: words  # type: ignore[attr-defined]
    worker._prepare_collectives(None)
    assert library._jax.make_gloo_tcp_collectives() == {}  # type: ignore[attr-defined]
    worker._prepare_collectives("::ffff:10.0.0.1")
    assert library._jax.make_gloo_tcp_collectives() == {"hostname": "10.0.0.1"}  # type: ignore[attr-defined]


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no priority of their own")
def test_threads_of_the_collectives_yield_and_others_do_not() -> None:
    end, started = threading.Event(), []

    def make(hostname: str) -> str:
        started.append(threading.Thread(target=end.wait))
        started[0].start()
        return hostname

    try:
        assert worker._make_yielding(make, hostname="10.0.0.1") == "10.0.0.1"
        own = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
        assert os.getpriority(os.PRIO_PROCESS, started[0].native_id) == min(own + 10, 19)
    finally:
        end.set()
