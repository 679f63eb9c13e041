"""Headers that are too long or too slow, against a real server."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("uvicorn")
import uvicorn

from flexseg.serve.boundary import connections
from flexseg.serve.boundary.guard_limits import GuardLimits

LIMITS = GuardLimits(header_seconds=0.5, header_bytes=4096, connections=20)


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    patch = pytest.MonkeyPatch()
    patch.setattr(connections, "_LIMITS", LIMITS)
    options = connections.uvicorn_options(LIMITS)
    config = uvicorn.Config(app, port=0, log_level="critical", lifespan="off", **options)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join()
    patch.undo()


def answer(port: int, *parts: bytes, pause: float = 0.0) -> bytes:
    """What comes back before the connection is closed."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        got = b""
        try:
            for part in parts:
                connection.sendall(part)
                time.sleep(pause)
            while data := connection.recv(65536):
                got += data
        except OSError:
            pass
    return got


def test_requests_are_answered(port: int) -> None:
    last = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    got = answer(port, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 2 + last)
    assert got.count(b"HTTP/1.1 204") == 3
    assert b"server:" not in got.lower()


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /" + b"a" * 500_000,
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 500_000,
        b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: a\r\n" * 100_000,
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    ],
)
def test_what_is_no_http_is_refused_in_the_form_of_all_errors(port: int, request_: bytes) -> None:
    head, _, body = answer(port, request_).partition(b"\r\n\r\n")
    assert head.startswith((b"HTTP/1.1 400", b"HTTP/1.1 501"))
    assert set(json.loads(body)) == {"error", "fix", "where"}


def test_headers_that_come_too_slowly_end_the_connection(port: int) -> None:
    began = time.monotonic()
    assert answer(port) == b""
    assert (
        answer(port, b"GET / HTTP/1.1\r\n", b"Host: a\r\n", *[b"X: a\r\n"] * 20, pause=0.05) == b""
    )
    request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    assert answer(port, request, b"GET / HT").count(b"HTTP/1.1 204") == 1
    assert time.monotonic() - began < 8


def test_with_many_connections_others_are_told(port: int) -> None:
    held = [socket.create_connection(("127.0.0.1", port)) for _ in range(25)]
    try:
        got = answer(port, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert got.startswith(b"HTTP/1.1 503")
    finally:
        for connection in held:
            connection.close()
    time.sleep(0.2)
    got = answer(port, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert got.startswith(b"HTTP/1.1 204")
