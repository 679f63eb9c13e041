"""The processes of a training, started and watched by one that trains nothing.

JAX ends a process by force once another one is lost, so none that trains could tell why, or end
those that are stuck. The supervisors of several computers meet at the coordinator, and tell each
other how theirs fare.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import queue
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from flexseg import __version__, errors
from flexseg.errors import ConfigError, FlexsegError, ResourceError, TrainingError
from flexseg.training.distributed.messages import (
    BEAT_SECONDS,
    MISSED,
    SILENT,
    Link,
    Message,
    receive_line,
)
from flexseg.training.distributed.place import VARIABLE, Address, Place

logger = logging.getLogger(__name__)

# Who ends because another one is lost waits so long for the reason, also on a busy computer.
GRACE_SECONDS = 20.0
# Between two looks at the processes, and two attempts to reach the coordinator.
_LOOK = 0.5
LOG = "log.txt"
# The name of a link to whoever has no place in the training.
_REFUSED = "refused"
# The same as a new session, on Windows.
_NEW_GROUP: int = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
_AGAIN = "Run the same command with --resume to continue from the last saved state."


@dataclass
class _Child:
    """A process that was started here."""

    process: subprocess.Popen[bytes]
    link: Link | None = None
    training: bool = False
    ended: float = 0.0


class Supervisor:
    """Starts the processes of a place, and ends them all with the first that fails.

    Parameters
    ----------
    arguments : of the command line, the same for all.
    wait : seconds until all processes of all computers must have met.
    """

    def __init__(self, place: Place, arguments: Sequence[str], wait: float) -> None:
        self.place = place
        self.arguments = arguments
        self.wait = wait
        self.inbox: queue.Queue[Any] = queue.Queue()
        self.children: dict[int, _Child] = {}
        self.others: dict[int, Link] = {}  # of the other computers: all, or the coordinator's
        self.done: set[int] = set()
        self._server = socket.create_server(("127.0.0.1", 0))
        self._meeting: socket.socket | None = None
        self._token = secrets.token_hex(16)
        self._signals = 0
        self._own_host: str | None = None
        self._began = time.monotonic()
        self._joined = False
        self._jax = ""

    def run(self) -> None:
        """Return when the training is finished.

        Raises
        ------
        FlexsegError : why it is not; what process 0 found wrong is told as in one process.
        """
        self._folder = Path(tempfile.mkdtemp(prefix="flexseg-"))
        handlers = {}
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                handlers[number] = signal.signal(number, self._interrupted)
        try:
            self._meet()
            self._start()
            self._watch()
        except FlexsegError as error:
            for link in self.others.values():
                link.send({"stop": error.as_dict(), "by": self._name})
            raise
        finally:
            self._end()
            for number, handler in handlers.items():
                signal.signal(number, handler)

    @property
    def _name(self) -> str:
        return f"Process {self.place.indices[0]} ({platform.node()})"

    def _interrupted(self, number: int, _: FrameType | None) -> None:
        self._signals += 1
        training = [c.link for c in self.children.values() if c.link is not None and c.training]
        if self._signals > 1 or not training:
            raise KeyboardInterrupt
        logger.warning("Stopping after this step; press Ctrl-C again to stop without saving.")
        for link in training:
            link.send({"interrupt": True})

    # Meeting the others.

    def _meet(self) -> None:
        at = self.place.coordinator
        if at is None:
            return
        if self.place.leads:
            self._meeting = _server(at, at.port)
            _server(at, at.port + 1).close()  # which JAX will take
            work = partial(self._welcome, self._meeting)
        else:
            work = partial(self._reach, at)
        threading.Thread(target=work, daemon=True).start()

    def _welcome(self, meeting: socket.socket) -> None:
        """Take in whoever comes; others than processes of a training are sent away."""
        with suppress(OSError):
            while True:
                connection, address = meeting.accept()
                try:
                    hello = receive_line(connection, 5.0)
                    index = int(hello["process"])
                except (OSError, ValueError, KeyError, TypeError):
                    connection.close()
                    continue
                self._own_host = connection.getsockname()[0]
                self.inbox.put(("hello", (index, hello, connection, address[0])))

    def _reach(self, at: Address) -> None:
        """Try to reach the coordinator until the time is over."""
        place, why = self.place, "no answer"
        while time.monotonic() - self._began < self.wait:
            try:
                connection = socket.create_connection((at.host, at.port), 5.0)
            except OSError as error:
                why = error.strerror or str(error)
                time.sleep(_LOOK)
                continue
            self._own_host = connection.getsockname()[0]
            link = Link(connection, "coordinator", self.inbox)
            link.send(
                {
                    "process": place.indices[0],
                    "processes": place.count,
                    "host": platform.node(),
                    "flexseg": __version__,
                }
            )
            self.inbox.put(("reached", link))
            return
        self.inbox.put(("unreached", why))

    def _take_in(self, index: int, hello: Message, connection: socket.socket, at: str) -> None:
        who = f"process {index} on {hello.get('host')} ({at})"
        if self._joined or index in self.others or index in self.place.indices:
            self._refuse(index, who, connection)
            return
        self.others[index] = Link(connection, f"process {index}", self.inbox)
        here = {"processes": self.place.count, "flexseg": __version__}
        for key, value in here.items():
            if hello.get(key) != value:
                raise ConfigError(
                    f"Process 0 was started with {key} {value}, {who} with {hello.get(key)}.",
                    "Start all processes with the same command and the same installation; only "
                    "--process differs.",
                    "--processes" if key == "processes" else None,
                )

    def _refuse(self, index: int, who: str, connection: socket.socket) -> None:
        """Send a process away for which there is no place; the others need not end for it."""
        logger.warning("There is a process %d already; refused: %s.", index, who)
        error = ConfigError(
            f"There is a process {index} already.",
            f"Give each process another --process, from 0 to {self.place.count - 1}.",
            "--process",
        )
        refused = Link(connection, _REFUSED, self.inbox)
        refused.send({"stop": error.as_dict(), "by": self._name})

    # The processes of this computer.

    def _start(self) -> None:
        threading.Thread(target=self._accept_children, daemon=True).start()
        for index in self.place.indices:
            folder = self._folder / str(index)
            folder.mkdir()
            about = {
                "index": index,
                "port": self._server.getsockname()[1],
                "token": self._token,
                "folder": str(folder),
            }
            environment = os.environ | {VARIABLE: json.dumps(about), "KERAS_BACKEND": "jax"}
            # The engine in the process appends to the same file.
            with (folder / LOG).open("ab") as log:
                process = subprocess.Popen(  # noqa: S603 - this command again
                    [sys.executable, "-P", "-m", "flexseg.cli", *self.arguments],
                    env=environment,
                    stdout=None if index == 0 else log,
                    stderr=None if index == 0 else log,
                    # Signals of the terminal come here, and are passed on once.
                    start_new_session=True,
                    creationflags=_NEW_GROUP,
                )
            self.children[index] = _Child(process)

    def _accept_children(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._server.accept()
                try:
                    hello = receive_line(connection, 5.0)
                except (OSError, ValueError):
                    hello = {}
                if hello.get("token") != self._token:
                    connection.close()
                    continue
                index = int(hello["index"])
                self.inbox.put(("child", (index, Link(connection, f"child {index}", self.inbox))))

    def _watch(self) -> None:
        while True:
            with suppress(queue.Empty):
                self._hear(*self.inbox.get(timeout=_LOOK))
                continue  # all that was said counts before what is seen
            self._look()
            if time.monotonic() - self._began > self.wait:
                self._tell_absent()
            mine = set(self.place.indices)
            if mine <= self.done and (not self.place.leads or self.others.keys() <= self.done):
                return

    def _hear(self, name: str, said: Any) -> None:
        """Act on what has come."""
        kind, _, number = name.partition(" ")
        if name == "hello":
            self._take_in(*said)
        elif name == "reached":
            self.others[0] = said
        elif name == "unreached":
            raise ResourceError(
                f"Process {self.place.indices[0]} has not reached process 0 within "
                f"{self.wait:.0f} s: {said}.",
                "Start process 0 on that computer with the same options and --process 0, and see "
                "that its port and the next one can be reached from here; --wait gives more time.",
                str(self.place.coordinator),
            )
        elif name == "child":
            index, link = said
            self.children[index].link = link
            if self._joined:
                self._join(index)
        elif kind == "child":
            self._hear_child(int(number), said)
        elif name == "coordinator":
            self._hear_coordinator(said)
        elif name != _REFUSED:
            self._hear_other(int(number), said)
        if not self._joined and self.place.leads and self.others.keys() == self._awaited:
            self._all_joined(self._address())

    @property
    def _awaited(self) -> set[int]:
        """The processes of other computers that come to this one."""
        return {*range(self.place.count)} - {*self.place.indices}

    def _address(self) -> str:
        """Where JAX's own service will be."""
        if self.place.coordinator is not None:
            place = self.place.coordinator
            return str(Address(place.host, place.port + 1))
        with socket.create_server(("127.0.0.1", 0)) as free:
            return f"127.0.0.1:{free.getsockname()[1]}"

    def _all_joined(self, address: str) -> None:
        self._joined = True
        self._jax = address
        if self.place.leads:
            for link in self.others.values():
                link.send({"join": address})
        for index in self.children:
            self._join(index)

    def _join(self, index: int) -> None:
        """Tell a process that all are there; one that has not begun yet will be told then."""
        link, local = self.children[index].link, self.place.local
        if link is None:
            return
        link.send(
            {
                "join": self._jax,
                "count": self.place.count,
                "device": None if local is None else local + index - self.place.indices[0],
                "own": self._own_host,
            }
        )

    def _hear_child(self, index: int, said: Message | None) -> None:
        child = self.children[index]
        if said is SILENT:
            raise TrainingError(
                f"Process {index} ({platform.node()}) has not been heard of for "
                f"{MISSED * BEAT_SECONDS:.0f} s: it was stopped, or its computer is overloaded. "
                "All processes were ended.",
                _AGAIN,
            )
        if said is None:
            return  # its end, which `_look` sees
        child.training |= "training" in said
        if "done" in said:
            self.done.add(index)
            for link in self.others.values():
                link.send({"done": index})
        if "failed" in said:
            if index > 0:
                self._show_log(index)
            raise _known(said["failed"], None if index == 0 else f"Process {index}")

    def _hear_coordinator(self, said: Message | None) -> None:
        if said is SILENT or said is None:
            if self.done:
                return
            silent = f"for {MISSED * BEAT_SECONDS:.0f} s" if said is SILENT else "any more"
            raise TrainingError(
                f"The computer of process 0 ({self.place.coordinator}) is not heard of {silent}. "
                f"Process {self.place.indices[0]} was ended.",
                f"Look at what process 0 said last. {_AGAIN}",
            )
        if "join" in said:
            self._all_joined(said["join"])
        if "stop" in said:
            raise _known(said["stop"], said.get("by"))

    def _hear_other(self, index: int, said: Message | None) -> None:
        if index in self.done:
            return
        if said is SILENT or said is None:
            silent = f"for {MISSED * BEAT_SECONDS:.0f} s" if said is SILENT else "any more"
            raise TrainingError(
                f"The computer of process {index} is not heard of {silent}: it, or the command "
                "there, was stopped or ended. All processes were ended.",
                _AGAIN,
            )
        if "done" in said:
            self.done.add(index)
        if "stop" in said:
            raise _known(said["stop"], said.get("by"))

    def _look(self) -> None:
        """See which processes have ended, and raise the reason of one that had not to."""
        now = time.monotonic()
        for index, child in self.children.items():
            code = child.process.poll()
            if code is None or index in self.done:
                continue
            child.ended = child.ended or now
            # One that JAX has ended is no reason: another one was lost, which somebody will tell.
            # What one that has ended by itself has said may still be on its way.
            killed = code < 0 and code != -getattr(signal, "SIGABRT", 6)
            if killed:
                raise _ended(index, code)
            if now - child.ended > GRACE_SECONDS:
                raise self._unexplained(index, code) if code else _ended(index, code)

    def _show_log(self, index: int) -> None:
        """What a process has said that has no terminal, or its engine."""
        log = (self._folder / str(index) / LOG).read_text(encoding="utf-8", errors="replace")
        if log.strip():
            logger.warning("The end of the log of process %d:\n%s", index, log[-3000:])

    def _unexplained(self, index: int, code: int) -> TrainingError:
        self._show_log(index)
        return TrainingError(
            f"Process {index} ({platform.node()}) ended with the exit code {code}, and no other "
            "process tells why.",
            f"Look at the log above, and whether the processes can reach each other. {_AGAIN}",
        )

    def _tell_absent(self) -> None:
        """Raise the reason why the training has not begun, if so.

        Of a process that has just been told to join, JAX tells it.
        """
        place = self.place
        if place.leads and (absent := sorted(self._awaited - self.others.keys())):
            names = ", ".join(map(str, absent))
            raise ResourceError(
                f"After {self.wait:.0f} s these of {place.count} processes have not come: {names}.",
                f"Start them with the same command and their --process, and see that "
                f"{place.coordinator} and the next port can be reached from there; --wait gives "
                "more time.",
                str(place.coordinator),
            )
        if time.monotonic() - self._began < self.wait + GRACE_SECONDS:
            return
        for index, child in self.children.items():
            if child.link is None:
                self._show_log(index)
                raise ResourceError(
                    f"Process {index} ({platform.node()}) has not begun within {self.wait:.0f} s.",
                    "Look whether this computer is overloaded, or the disk that Python and flexseg "
                    "are on does not answer; --wait gives more time.",
                )

    def _end(self) -> None:
        """End what still runs."""
        for child in self.children.values():
            if child.process.poll() is None and not self._last_words(child):
                child.process.kill()  # also one that was stopped
            child.process.wait()
            if child.link is not None:
                child.link.close()
        for link in self.others.values():
            link.close()
        for server in (self._server, self._meeting):
            if server is not None:
                server.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _last_words(self, child: _Child) -> bool:
        """Whether a process that has said that it is done ends by itself."""
        done = {index for index in self.done if self.children.get(index) is child}
        try:
            child.process.wait(GRACE_SECONDS if done else 0.1)
        except subprocess.TimeoutExpired:
            return False
        return True


def _server(at: Address, port: int) -> socket.socket:
    """Listens at all addresses: what the name of this computer means differs by where one asks.

    Raises
    ------
    ResourceError : another program listens there, or the system does not allow it.
    """
    if socket.has_dualstack_ipv6():
        with suppress(OSError):
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
    try:
        return socket.create_server(("", port))
    except OSError as error:
        raise ResourceError(
            f"Process 0 cannot listen at port {port}: {os.strerror(error.errno or 0)}.",
            "Choose another port for --coordinator, in the commands of all processes; the next one "
            "must be free as well.",
            str(at),
        ) from None


def _ended(index: int, code: int) -> TrainingError:
    if code == 0:
        how = "ended before the training did"
    else:
        names = [known.name for known in signal.Signals if known == -code]
        how = f"was ended by the signal {' '.join([str(-code), *(f'({n})' for n in names)])}"
    return TrainingError(
        f"Process {index} ({platform.node()}) {how}. All processes were ended.",
        "Look whether the system ended it for lack of memory, or somebody did. " + _AGAIN,
    )


def _known(about: Mapping[str, Any], by: str | None) -> FlexsegError:
    """An error that another process has told."""
    kind = getattr(errors, str(about.get("error")), TrainingError)
    problem = str(about.get("problem"))
    if by is not None and not problem.startswith(("Process", "The computer of")):
        problem = f"{by}: {problem}"
    if not (isinstance(kind, type) and issubclass(kind, FlexsegError)):
        kind = TrainingError
    return kind(problem, str(about.get("fix")), about.get("where"))
