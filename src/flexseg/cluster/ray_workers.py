"""Workers that are actors of Ray, on this machine or on a cluster."""

from __future__ import annotations

import logging
import os
import socket
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from math import ceil
from pathlib import Path
from typing import Any

from flexseg.config.findings import amount
from flexseg.errors import ConfigError, ResourceError
from flexseg.execution.machine_share import share_gpu
from flexseg.execution.mapping import Answered, Began, Ended, Message, Open, Raised
from flexseg.machine import CACHE_SETTING, pip_install
from flexseg.storage.mirror import any_named
from flexseg.storage.sending import SENDER

logger = logging.getLogger(__name__)

# An own Ray that ends with the command.
LOCAL = "local"
# What actors take over from this process: the engine; on its machine also where copies of remote
# files lie, and that results are sent.
_ENGINE, _COPIES = ("KERAS_BACKEND",), (CACHE_SETTING, SENDER)
# Nothing but names and tables passes through its store of objects.
_STORE_BYTES = 100 * 2**20
# After so many seconds without a worker a word is said.
_PATIENCE = 60.0


class RayWorkers:
    """Actors that share the processors and GPUs of a Ray cluster, see `Workers`.

    Parameters
    ----------
    address : of the cluster, as `ray start --head` prints it; `LOCAL`: of this machine alone.
    count : of actors; None: one for each GPU of the cluster, or else for each machine.

    Raises
    ------
    ConfigError : Ray is not installed.
    ResourceError : there is no such cluster.
    """

    def __init__(self, address: str, count: int | None = None) -> None:
        _connect(address)
        import ray

        nodes = [node for node in ray.nodes() if node["Alive"]]
        self._here = {node["NodeManagerHostname"] for node in nodes} == {socket.gethostname()}
        machines = [node["Resources"] for node in nodes]
        gpus = int(sum(one.get("GPU", 0) for one in machines))
        processors = [int(one["CPU"]) for one in machines if one.get("CPU", 0) >= 1]
        self.count = count or gpus or len(processors) or 1
        self._processors = _processors_each(processors, self.count)
        # Of a GPU that several share, each takes an equal part; Ray gives no one parts of two.
        self._gpus = min(1.0, 1 / ceil(self.count / gpus)) if gpus else 0.0
        self._actors: dict[int, Any] = {}
        # The answers that are to come of each, in their order.
        self._coming: dict[int, deque[Any]] = {}
        # Those that are there; one that is lost is not, until it has begun again.
        self._begun: set[int] = set()
        share_gpu()

    def start(self, worker: int, make: Open) -> None:
        """Start an actor, also again after it has ended; it begins when there is room for it.

        Raises
        ------
        ConfigError : it may begin on a machine that has no copies of remote files.
        """
        import ray

        if not self._here and (url := any_named()) is not None:
            raise ConfigError(
                "Workers on other machines do not reach URLs.",
                "Give paths that all machines reach, or use --workers.",
                url,
            )
        threads = str(self._processors)
        environment = {"TF_NUM_INTRAOP_THREADS": threads, "MKL_NUM_THREADS": threads}
        more = (*_ENGINE, *(_COPIES if self._here else ()))
        environment |= {name: os.environ[name] for name in more if name in os.environ}
        kind = ray.remote(num_cpus=self._processors, num_gpus=self._gpus, max_restarts=0)(_Actor)
        actor = kind.remote(worker, environment, Path.cwd())
        self._actors[worker] = actor
        self._coming[worker] = deque([actor.begin.remote(make)])

    def send(self, worker: int, items: Sequence[Any]) -> None:
        """Give an actor a chunk."""
        self._coming[worker].append(self._actors[worker].answer.remote(items))

    def receive(self) -> Message:
        """Wait for the next message of any of them."""
        import ray

        # Each does its chunks in the order in which they were sent.
        first = {coming[0]: worker for worker, coming in self._coming.items() if coming}
        done, _ = ray.wait([*first], num_returns=1, timeout=None if self._begun else _PATIENCE)
        if not done:
            logger.warning(
                "The cluster has had no room for a worker with %s for %.0f s; `ray status` tells "
                "what runs there.",
                amount(self._processors, "processor"),
                _PATIENCE,
            )
            done, _ = ray.wait([*first], num_returns=1)
        worker = first[done[0]]
        try:
            message: Message = ray.get(done[0])
        except ray.exceptions.RayTaskError as error:  # none of the actor's own, which it catches
            return Raised.of(worker, error)
        except ray.exceptions.RayError as error:
            self._drop(worker)
            return Ended(worker, _reason(error))
        self._coming[worker].popleft()
        self._begun.add(worker)
        return message

    def _drop(self, worker: int) -> None:
        """Forget an actor, and end it where it has only been out of reach."""
        import ray

        del self._coming[worker]
        self._begun.discard(worker)
        ray.kill(self._actors.pop(worker))

    def close(self) -> None:
        """End all actors, and an own Ray."""
        import ray

        for worker in [*self._actors]:
            self._drop(worker)
        ray.shutdown()


def _processors_each(machines: Sequence[int], count: int) -> int:
    """As many as each of `count` actors can have so that all find a place on the machines.

    Parameters
    ----------
    machines : processors of each.
    """
    fitting = [
        each
        for each in range(1, min(machines, default=1) + 1)
        if sum(one // each for one in machines) >= count
    ]
    return max(fitting, default=1)


class _Actor:
    """A worker in its process.

    Parameters
    ----------
    environment : variables that an engine reads when it starts.
    folder : that relative paths are of.
    """

    def __init__(self, worker: int, environment: Mapping[str, str], folder: Path) -> None:
        os.environ.update(environment)
        with suppress(OSError):
            os.chdir(folder)
        share_gpu()
        self._worker = worker

    def begin(self, make: Open) -> Message:
        try:
            self._answer = make()
            return Began(self._worker)
        except Exception as error:
            return Raised.of(self._worker, error)

    def answer(self, items: Sequence[Any]) -> Message:
        try:
            return Answered(self._worker, self._answer(items))
        except Exception as error:
            return Raised.of(self._worker, error)


def _connect(address: str) -> None:
    if find_spec("ray") is None:
        raise ConfigError(
            "Ray is not installed.", f"Install it: {pip_install('ray')}, or use --workers.", "--ray"
        )
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # else it reports to its makers
    import ray

    _let_it_be_silent(ray)
    own = {"include_dashboard": False, "object_store_memory": _STORE_BYTES}
    more = {**own, "_node_ip_address": "127.0.0.1"} if address == LOCAL else {}
    try:
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **more)
    except (ConnectionError, ValueError, RuntimeError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ResourceError(
            f"No Ray can be reached at {address} ({first}).",
            "Give the address that `ray start --head` prints on the first machine; Python and Ray "
            f"must have the same versions on all of them. `--ray {LOCAL}` needs none.",
            "--ray",
        ) from None


def _let_it_be_silent(library: Any) -> None:
    """Ray prints what befalls its processes, also between the lines of `--json`.

    What concerns this work comes as an error of an actor. There is no public setting; a Ray that
    has other names prints.
    """
    module = getattr(getattr(library, "_private", None), "worker", None)
    if module is not None and hasattr(module, "print_to_stdstream"):
        module.print_to_stdstream = lambda *_, **__: None


def _reason(error: Exception) -> str:
    """Why an actor is gone, in a line."""
    text = str(error).strip()
    if "creation task" in text:  # as where flexseg is not installed: the error itself comes last
        return text.splitlines()[-1]
    if "its node has died" in text:
        return "its machine has left the cluster"
    return "its process has died, or is out of reach"
