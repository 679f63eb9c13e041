"""Which process of how many this is, as options or the environment of a cluster say."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from flexseg.errors import ConfigError

# Tells a process which one of a training it was started as; see `worker.Worker`.
VARIABLE = "FLEXSEG_PROCESS"
AUTO = "auto"
# Of the coordinator, where only SLURM names its host: two ports for each job.
_FIRST_PORT, _JOBS = 61440, 2048
_SLURM_NODES = ("SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST")
_INDICES = ("SLURM_PROCID", "JOB_COMPLETION_INDEX")
_COORDINATOR = "JAX_COORDINATOR_ADDRESS"


@dataclass(frozen=True)
class Address:
    """Where the processes of a training meet; JAX takes the port after it.

    Attributes
    ----------
    host : name or IP address, an IPv6 one without brackets.
    """

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """The address that a text HOST:PORT names.

        Raises
        ------
        ConfigError : it is something else.
        """
        host, _, port = text.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65535:
            raise ConfigError(
                f"{text!r} is no address HOST:PORT with a port of 1 to 65534.",
                "Give a name or an address of the computer of process 0, and a free port there, "
                "e.g. --coordinator node1:7733.",
                "--coordinator",
            )
        return cls(host.strip("[]"), int(port))

    def __str__(self) -> str:
        return f"{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


@dataclass(frozen=True)
class Place:
    """The processes of a training that this command starts.

    Attributes
    ----------
    count : of processes, on all computers.
    indices : of those that are started here, from 0.
    coordinator : where they meet; None: all are started here.
    local : of the first of `indices` among all that run on this computer: which GPU it takes;
        None: all GPUs are its own.
    """

    count: int
    indices: tuple[int, ...]
    coordinator: Address | None = None
    local: int | None = None

    @property
    def leads(self) -> bool:
        """Process 0 is among those that are started here."""
        return 0 in self.indices


def place_of(
    processes: str | None,
    coordinator: str | None = None,
    process: int | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Place | None:
    """The place that options ask for; None: one process, which knows of no others.

    Parameters
    ----------
    processes : their number, or "auto": as SLURM says.
    coordinator : HOST:PORT; without it that of `JAX_COORDINATOR_ADDRESS` or the first of SLURM's
        nodes.
    process : number of this one; without it that of SLURM or of an indexed job of Kubernetes.

    Raises
    ------
    ConfigError : the options are wrong or do not go together, or the environment lacks something.
    """
    if processes is None:
        if coordinator is not None or process is not None:
            given = "--coordinator" if coordinator is not None else "--process"
            raise ConfigError(
                f"{given} needs the number of processes.",
                "Give it with --processes N, the same to all of them.",
                given,
            )
        return None
    count = _count(processes, environment)
    if count == 1:
        return None
    if processes != AUTO and coordinator is None and process is None:
        return Place(count, tuple(range(count)), local=0)
    index = _index(process, environment)
    if not 0 <= index < count:
        raise ConfigError(
            f"There is no process {index} of {count}.",
            f"Number the processes from 0 to {count - 1}.",
            "--process",
        )
    several = "SLURM_LOCALID" in environment and _several_on_node(environment)
    local = int(environment["SLURM_LOCALID"]) if several else None
    return Place(count, (index,), _coordinator(coordinator, environment), local)


def _count(processes: str, environment: Mapping[str, str]) -> int:
    if processes == AUTO:
        if "SLURM_NTASKS" not in environment:
            raise ConfigError(
                "--processes auto takes the number of processes from SLURM (SLURM_NTASKS), which "
                "is not set.",
                "Start the command with srun, or give the number.",
                "--processes",
            )
        return int(environment["SLURM_NTASKS"])
    if not processes.isdecimal() or int(processes) < 1:
        raise ConfigError(
            f"{processes!r} is no number of processes.",
            "Give a number from 1, or auto within a job of SLURM.",
            "--processes",
        )
    return int(processes)


def _index(process: int | None, environment: Mapping[str, str]) -> int:
    if process is not None:
        return process
    for name in _INDICES:
        if name in environment:
            return int(environment[name])
    raise ConfigError(
        f"It is not known which process this is: neither --process nor {' nor '.join(_INDICES)} "
        "is set.",
        "Give --process I, from 0, another number to each process.",
        "--process",
    )


def _coordinator(given: str | None, environment: Mapping[str, str]) -> Address:
    if given is None:
        given = environment.get(_COORDINATOR)
    if given is not None:
        return Address.parse(given)
    nodes = next((environment[name] for name in _SLURM_NODES if name in environment), None)
    if nodes is None:
        raise ConfigError(
            "It is not known where the processes meet: neither --coordinator nor "
            f"{_COORDINATOR} nor SLURM's list of nodes is set.",
            "Give --coordinator HOST:PORT, the computer of process 0 and a free port there, the "
            "same to all processes.",
            "--coordinator",
        )
    job = int(environment.get("SLURM_JOB_ID", "0"))
    return Address(_first_node(nodes), _FIRST_PORT + 2 * (job % _JOBS))


def _first_node(nodes: str) -> str:
    """The first of `node[001-004,7],other` or `rack[1-2]n[1-9]-ib`, as SLURM writes lists."""
    first = re.match(r"(?:[^,\[]|\[[^\]]*\])*", nodes)
    return re.sub(r"\[(\w+)[^\]]*\]", r"\1", first[0] if first else nodes)


def _several_on_node(environment: Mapping[str, str]) -> bool:
    """Some node has several tasks: then each task takes one GPU, as all have equally many."""
    # One number for all nodes, or several, as in `2(x3),1`.
    tasks = re.findall(r"\b\d+", environment.get("SLURM_STEP_TASKS_PER_NODE", "1"))
    return max(map(int, tasks), default=1) > 1
