"""A server of S3 in this process, which answers wrongly when told to."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

Answer = Iterable[bytes]
Application = Callable[[dict[str, Any], Callable[..., Any]], Answer]
# Seconds that a slow answer takes.
SLOW = 1.5


@dataclass
class FaultyS3:
    """Moto's S3 behind faults.

    Attributes
    ----------
    url : of the server.
    requests : "METHOD /path" of all requests.
    """

    url: str = ""
    requests: list[str] = field(default_factory=list)
    _faults: list[list[Any]] = field(default_factory=list)
    _application: Application = field(
        default_factory=lambda: DomainDispatcherApplication(create_backend_app)
    )

    def fail(self, request: str, fault: str, times: int = 1000) -> None:
        """Answer the next requests whose text ends so with a fault.

        Parameters
        ----------
        fault : "503"; "403"; "slow"; "cut": the connection ends within the content; "short": the
            end of the content is missing; "damaged": a byte of it is another one.
        """
        self._faults.append([request, fault, times])

    def heal(self) -> None:
        """No more faults, and no requests so far."""
        self._faults.clear()
        self.requests.clear()

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Answer:
        path = environ["PATH_INFO"].encode("latin-1").decode()
        request = f"{environ['REQUEST_METHOD']} {path}"
        self.requests.append(request)
        fault = self._next_fault(request)
        if fault in ("503", "403"):
            start(f"{fault} Fault", [("Content-Length", "0")])
            return []
        if fault == "slow":
            time.sleep(SLOW)
        if fault is None or fault == "slow":
            return self._application(environ, start)
        return _spoilt(self._application, environ, start, fault)

    def _next_fault(self, request: str) -> str | None:
        for entry in self._faults:
            if request.endswith(entry[0]) and entry[2] > 0:
                entry[2] -= 1
                return str(entry[1])
        return None


def _spoilt(
    application: Application, environ: dict[str, Any], start: Callable[..., Any], fault: str
) -> Answer:
    said: list[Any] = []

    def note(*given: Any) -> None:
        said.extend(given)

    content = b"".join(application(environ, note))
    status, headers = said[0], said[1]
    if fault != "cut":
        changed = content[:-1] if fault == "short" else content[:-1] + bytes([content[-1] ^ 1])
        # Checksums in headers are those of the content as it is sent, as where the object itself
        # is damaged.
        kept = [(n, v) for n, v in headers if not n.lower().startswith(("content-l", "x-amz-ch"))]
        start(status, [*kept, ("Content-Length", str(len(changed)))])
        return [changed]
    start(status, headers)
    return _cut(content)


def _cut(content: bytes) -> Iterator[bytes]:
    yield content[: len(content) // 2]
    raise ConnectionAbortedError


@contextmanager
def serving() -> Iterator[FaultyS3]:
    """A server, as long as the block lasts."""
    storage = FaultyS3()
    server = make_server("127.0.0.1", 0, storage, threaded=True)
    storage.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield storage
    finally:
        server.shutdown()
        thread.join()
