"""Requests that are none: those of a client that means harm, for each address of a server."""

from __future__ import annotations

import http.client
import io
import json
import random
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote

import numpy as np
from PIL import Image

TIMEOUT = 30
BOUNDARY = "xyz"
# In place of an id, a name, a number, ...
TEXTS = (
    "", "0", "-1", "1e309", "NaN", "null", "true", "[]", "{}", "..", "../..", "../../etc/passwd",
    "..\\..\\windows", "/etc/passwd", "C:\\x", "%2e%2e%2f", "..%2f..%2fserve.sqlite", "%00", "\0",
    "a\0b", "\r\nX-Injected: 1", "' OR 1=1 --", '"; DROP TABLE cases; --', "<script>alert(1)</script>",
    "{{7*7}}", "${jndi:ldap://x}", "\ud7ff\U0010ffff", "\u202egnp.exe", "a" * 3000, "9" * 400,
    "f" * 32, "0" * 32, "CON", "nul.png", ".", "...", "\xff\xfe",
)  # fmt: skip
BODIES = (
    b"", b"{", b"null", b"[]", b"0", b'"a"', b"{}", b'{"a":' * 5000, b"[" * 100_000,
    b'{"verdict": "accepted", "verdict": 1e999}', b'{"token": ' + b'"' + b"a" * 5000 + b'"}',
    b"\xff\xfe\0\0", b"--xyz--\r\n", b"--xyz\r\n\r\n", b"\x89PNG\r\n\x1a\n", b"PK\x03\x04",
    b'{"model": null, "priority": 99999999999999999999999999}', bytes(5000),
)  # fmt: skip
TYPES = (
    "application/json", "application/json; charset=utf-16", "text/plain", "", "multipart/form-data",
    f"multipart/form-data; boundary={BOUNDARY}", "multipart/form-data; boundary=" + "b" * 300,
    "application/x-www-form-urlencoded", "image/svg+xml", "\xff",
)  # fmt: skip
HEADERS = (
    ("Content-Length", "-1"), ("Content-Length", "5, 6"), ("Transfer-Encoding", "chunked"),
    ("Expect", "100-continue"), ("Cookie", "flexseg_session=" + "a" * 500), ("Cookie", "\xff=;;="),
    ("Authorization", "Bearer ../../etc"), ("Authorization", "Basic Og=="),
    ("Range", "bytes=0-,0-,0-"), ("If-None-Match", "*"), ("X-HTTP-Method-Override", "DELETE"),
    ("Host", "evil.example"), ("Host", ""), ("Origin", "null"), ("Accept-Encoding", "gzip;q=9"),
    ("X-Forwarded-For", "127.0.0.1"), ("Upgrade", "websocket"), ("Connection", "Upgrade"),
    ("X-Long", "a" * 30_000), ("Content-Encoding", "gzip"), ("Last-Event-ID", "\xff" * 100),
)  # fmt: skip
METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "FROB")


@dataclass(frozen=True)
class Raw:
    """A request as it is sent, whatever rules of HTTP say."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    def with_header(self, name: str, value: str) -> Raw:
        return replace(self, headers=(*self.headers, (name, value)))

    def encoded(self, port: int) -> bytes:
        names = {name.lower() for name, _ in self.headers}
        headers = [*self.headers]
        if "host" not in names:
            headers.append(("Host", f"127.0.0.1:{port}"))
        if self.body and not names & {"content-length", "transfer-encoding"}:
            headers.append(("Content-Length", str(len(self.body))))
        head = "".join(f"{name}: {value}\r\n" for name, value in headers)
        start = f"{self.method} {self.path} HTTP/1.1\r\n{head}Connection: close\r\n\r\n"
        return start.encode("latin-1", "replace") + self.body


@dataclass(frozen=True)
class Answer:
    """What came back; status 0: the connection was closed."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


def send(port: int, request: Raw, *, stream: bool = False) -> Answer:
    """The answer to a request.

    Parameters
    ----------
    stream : the answer does not end; its body is not read.
    """
    with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT) as connection:
        try:
            connection.sendall(request.encoded(port))
            found = http.client.HTTPResponse(connection, method=request.method)
            found.begin()
            headers = {name.lower(): value for name, value in found.getheaders()}
            body = b"" if stream and found.status == 200 else found.read()
            return Answer(found.status, headers, body)
        except (http.client.HTTPException, ConnectionError):
            return Answer(0)


def picture(side: int = 16) -> bytes:
    """A small PNG in grey."""
    content = io.BytesIO()
    pixels = np.arange(side * side, dtype=np.uint8).reshape(side, side)
    Image.fromarray(pixels).save(content, format="PNG")
    return content.getvalue()


def form(parts: dict[str, tuple[str | None, bytes]]) -> bytes:
    """A form of files and fields: name -> (file name or None, content)."""
    content = b""
    for name, (file, value) in parts.items():
        more = "" if file is None else f'; filename="{file}"'
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'
        content += head.encode("utf-8", "surrogatepass") + value + b"\r\n"
    return content + f"--{BOUNDARY}--\r\n".encode()


OF_FORM = ("Content-Type", f"multipart/form-data; boundary={BOUNDARY}")


def upload(name: str, content: bytes, **fields: str) -> Raw:
    """A file as a new case."""
    parts: dict[str, tuple[str | None, bytes]] = {"file": (name, content)}
    parts.update({key: (None, value.encode()) for key, value in fields.items()})
    return Raw("POST", "/api/cases", (OF_FORM,), form(parts))


def endpoints(openapi: dict[str, Any]) -> list[tuple[str, str, list[str]]]:
    """Method, path and names of query parameters of each address."""
    found = []
    for path, methods in openapi["paths"].items():
        for method, about in methods.items():
            names = [p["name"] for p in about.get("parameters", ()) if p["in"] == "query"]
            found.append((method.upper(), path, names))
    return sorted(found)


def mutated(method: str, path: str, names: list[str], known: str, count: int) -> Iterator[Raw]:
    """Requests of an address, each wrong in one way or several.

    Parameters
    ----------
    known : the id of a case that is there.
    """
    rng = random.Random(f"{method} {path}")
    for _ in range(count):
        place = path
        while "{" in place:
            before, _, rest = place.partition("{")
            value = known if rng.random() < 0.6 else rng.choice(TEXTS)
            safe = "" if rng.random() < 0.7 else "/%.\\"
            place = before + quote(value, safe=safe, errors="replace") + rest.partition("}")[2]
        given = [n for n in (*names, "unknown") if rng.random() < 0.5]
        query = "&".join(f"{n}={quote(rng.choice(TEXTS), errors='replace')}" for n in given)
        request = Raw(method, f"{place}?{query}" if query else place)
        if method in ("POST", "PUT") or rng.random() < 0.1:
            request = _with_body(request, rng)
        if rng.random() < 0.3:
            request = request.with_header(*rng.choice(HEADERS))
        if rng.random() < 0.05:
            request = replace(request, method=rng.choice(METHODS))
        yield request


def _with_body(request: Raw, rng: random.Random) -> Raw:
    kind = rng.random()
    if kind < 0.4:
        request = replace(request, body=rng.choice(BODIES))
        return request.with_header("Content-Type", rng.choice(TYPES))
    if kind < 0.7:
        values = (None, 0, -1, True, [], {}, 1e300, *TEXTS)
        names = ("verdict", "model", "priority", "token", "classes", "name", "seconds")
        content = {rng.choice(names): rng.choice(values) for _ in range(3)}
        body = json.dumps(content).encode()
        return replace(request, body=body).with_header("Content-Type", "application/json")
    content = rng.choice((*BODIES, rng.randbytes(200), picture(), picture()))
    fields = {
        n: (None, rng.choice(TEXTS).encode("utf-8", "replace")) for n in ("model", "priority")
    }
    name = rng.choice((*TEXTS, "a.png", "a.nii.gz", "a.zip", "a.npy", "a.dcm", "a.h5"))
    name = name.replace('"', "").replace("\r", "").replace("\n", "")
    right = "mask" if "/correction" in request.path else "file"
    file = rng.choice((right, right, right, "mask", "file", "reference"))
    body = bytearray(form({file: (name, content), **(fields if rng.random() < 0.5 else {})}))
    for _ in range(rng.choice((0, 0, 1, 5))):
        body[rng.randrange(len(body))] = rng.randrange(256)
    return replace(request, body=bytes(body)).with_header(*OF_FORM)
