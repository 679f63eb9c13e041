"""Messages between the processes of a training: lines of JSON, and signs of life."""

from __future__ import annotations

import json
import queue
import socket
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

# Between two signs of life, and after how many that did not come a process counts as lost. One
# that was stopped for a while itself, as by Ctrl-Z, counts only those that it has waited for.
BEAT_SECONDS = 2.0
MISSED = 15
_LONGEST = 1 << 20

Message = Mapping[str, Any]


# The other one has not said anything for long.
SILENT: Message = {"silent": True}


class Link:
    """A connection to another process.

    Everything that comes goes into `inbox` as (`name`, message); the last is None: the other one
    has closed the connection, or `SILENT`: nothing was heard of it for long.
    """

    def __init__(self, connection: socket.socket, name: str, inbox: queue.Queue[Any]) -> None:
        self.name = name
        self._connection = connection
        self._inbox = inbox
        self._sending = threading.Lock()
        self._ended = threading.Event()
        connection.settimeout(BEAT_SECONDS)
        for work in (self._receive, self._beat):
            threading.Thread(target=work, daemon=True).start()

    def send(self, message: Message) -> None:
        """Send a message; nothing happens where the other one is gone, which `inbox` tells."""
        line = json.dumps(message).encode() + b"\n"
        with self._sending, suppress(OSError):
            self._connection.sendall(line)

    def close(self) -> None:
        """End the connection."""
        self._ended.set()
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()

    def _beat(self) -> None:
        while not self._ended.wait(BEAT_SECONDS):
            self.send({})

    def _receive(self) -> None:
        last: Message | None = None
        with suppress(OSError, ValueError):
            last = self._receive_until_end()
        if not self._ended.is_set():
            self._ended.set()
            self._inbox.put((self.name, last))

    def _receive_until_end(self) -> Message | None:
        rest, missed = b"", 0
        while missed < MISSED:
            try:
                part = self._connection.recv(65536)
            except TimeoutError:
                missed += 1
                continue
            if not part or len(rest) > _LONGEST:
                return None
            missed = 0
            *lines, rest = (rest + part).split(b"\n")
            for line in lines:
                if message := json.loads(line):
                    self._inbox.put((self.name, message))
        return SILENT


def receive_line(connection: socket.socket, seconds: float) -> Message:
    """The first message of a connection that is no link as yet.

    Raises
    ------
    OSError, ValueError : there is none in time, or it is none.
    """
    until, line = time.monotonic() + seconds, b""
    while not line.endswith(b"\n"):
        connection.settimeout(max(0.01, until - time.monotonic()))
        part = connection.recv(1)
        if not part or len(line) > _LONGEST:
            raise ValueError("the connection was closed")
        line += part
    message = json.loads(line)
    if not isinstance(message, dict):
        raise ValueError("it is no message")
    return message
