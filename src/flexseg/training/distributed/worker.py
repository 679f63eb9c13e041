"""One of the processes of a training, as its supervisor has started it."""

from __future__ import annotations

import json
import os
import queue
import shutil
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from flexseg.errors import FlexsegError, Interrupted, ResourceError, TrainingError
from flexseg.training.distributed.messages import SILENT, Link, Message
from flexseg.training.distributed.place import VARIABLE
from flexseg.training.distributed.supervisor import GRACE_SECONDS, LOG

if TYPE_CHECKING:
    from flexseg.training.distributed.sharing import Sharing

# Whether another process still lives is the supervisors' to tell; JAX, which ends this one without
# a word, does so after them.
_JAX_HEARTBEAT = 60
# The first process may convert the network while the others wait for the end.
_JAX_SHUTDOWN = 3600
# How much "nicer" than others a thread is that yields: a tenth of what a computing one gets.
_YIELDS = 10


class Worker:
    """This process, as a part of a training of several.

    Attributes
    ----------
    index : its number.
    folder : for what it writes for itself; the supervisor removes it.
    """

    def __init__(self, about: Message) -> None:
        self.index = int(about["index"])
        self.folder = Path(about["folder"])
        self._joined: queue.Queue[Message] = queue.Queue()
        self._stopping = threading.Event()
        inbox: queue.Queue[Any] = queue.Queue()
        try:
            connection = socket.create_connection(("127.0.0.1", about["port"]))
        except OSError:
            self._end_alone()
        self._link = Link(connection, "supervisor", inbox)
        self._link.send({"token": about["token"], "index": self.index})
        threading.Thread(target=self._listen, args=(inbox,), daemon=True).start()
        _leave_native_output_to(self.folder / LOG)

    @classmethod
    def of_this_process(cls) -> Worker:
        """The worker that this process was started as."""
        return cls(json.loads(os.environ.pop(VARIABLE)))

    def _listen(self, inbox: queue.Queue[Any]) -> None:
        while True:
            _, said = inbox.get()
            if said is None or said is SILENT:
                self._end_alone()
            if "join" in said:
                self._joined.put(said)
            if "interrupt" in said:
                self._stopping.set()

    def _end_alone(self) -> NoReturn:
        """End, as nobody else would now that the supervisor is gone."""
        shutil.rmtree(self.folder.parent, ignore_errors=True)
        os._exit(1)

    def join(self) -> Sharing:
        """Wait for the other processes, and let JAX know of them. Keras must not run as yet."""
        told = self._joined.get()
        import jax

        _prepare_collectives(told["own"])
        address = told["join"]
        # Of several GPUs each process takes one; some clusters show each no other.
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        device = told["device"] if visible is None or "," in visible else None
        jax.distributed.initialize(
            address,
            told["count"],
            self.index,
            local_device_ids=device,
            cluster_detection_method="deactivate",
            coordinator_bind_address=address if told["own"] is None else None,
            **_timeouts(jax.distributed.initialize),
        )
        from flexseg.training.distributed.sharing import Sharing

        return Sharing(
            jax.device_count(),
            self.index,
            told["count"],
            private=None if self.index == 0 else self.folder / "run",
            began=partial(self._link.send, {"training": True}),
            stopping=self._stopping.is_set,
        )

    def run(self, work: Callable[[], None]) -> None:
        """Do the work of this process, and end it; the supervisor tells what went wrong."""
        try:
            work()
            import jax

            jax.distributed.shutdown()
        except Interrupted as error:
            self._fail(error, wait=self.index > 0)  # the first one has the state, and tells where
        except FlexsegError as error:
            self._fail(error)
        except KeyboardInterrupt:
            os._exit(130)
        except OSError as error:
            self._fail(
                ResourceError(
                    f"{error.strerror or error}.",
                    "Check the path, its permissions, and the free space.",
                    str(error.filename) if error.filename else None,
                )
            )
        except Exception as error:
            # Mostly since another process is lost, whose supervisor tells why: nobody will then
            # be left to see this one fail.
            time.sleep(GRACE_SECONDS)
            traceback.print_exc()
            self._fail(
                TrainingError(
                    f"{type(error).__name__}: {error}",
                    "This should not happen: report it together with the traceback above and what "
                    "`flexseg doctor` says of this machine.",
                )
            )
        self._link.send({"done": True})

    def _fail(self, error: FlexsegError, *, wait: bool = False) -> None:
        if wait:
            time.sleep(GRACE_SECONDS)
        self._link.send({"failed": error.as_dict()})
        sys.stdout.flush()
        time.sleep(GRACE_SECONDS)
        os._exit(error.exit_code)


def _leave_native_output_to(log: Path) -> None:
    """Let what engines write past Python, as they die for instance, go to a file."""
    with log.open("ab") as file:
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            with suppress(OSError, ValueError):
                stream.flush()
                number = stream.fileno()
                own = os.fdopen(
                    os.dup(number), "w", encoding=stream.encoding, errors=stream.errors, buffering=1
                )
                os.dup2(file.fileno(), number)
                setattr(sys, name, own)


def _timeouts(initialize: Callable[..., None]) -> dict[str, int]:
    """Those that the installed JAX takes: others have their own."""
    wanted = {
        "heartbeat_timeout_seconds": _JAX_HEARTBEAT,
        "shutdown_timeout_seconds": _JAX_SHUTDOWN,
    }
    known = signature(initialize).parameters
    return {name: seconds for name, seconds in wanted.items() if name in known}


def _prepare_collectives(address: str | None) -> None:
    """Set up the CPU's collectives of JAX, which has no options for it.

    Parameters
    ----------
    address : of this computer, at which the others reach them; else they take what its name means
        to itself, often 127.0.0.1.
    """
    with suppress(ImportError):  # a JAX that has it elsewhere does as it is
        from jax._src.lib import _jax

        if (make := getattr(_jax, "make_gloo_tcp_collectives", None)) is not None:
            own = {} if address is None else {"hostname": address.removeprefix("::ffff:")}
            _jax.make_gloo_tcp_collectives = partial(_make_yielding, partial(make, **own))


def _make_yielding(make: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Let the threads that are started meanwhile yield to those that compute.

    Once another process has come further, Gloo's asks again and again for the data that this one
    does not take as yet, and on a single core that were half of its time.
    """
    if sys.platform != "linux":
        return make(*args, **options)
    threads = Path("/proc/self/task")
    there = set(threads.iterdir())
    made = make(*args, **options)
    lower = os.getpriority(os.PRIO_PROCESS, 0) + _YIELDS
    for thread in set(threads.iterdir()) - there:
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, int(thread.name), lower)
    return made
