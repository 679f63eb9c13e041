"""Clients that mean harm: nothing leaves the data folder, nothing is told, the server lives on."""

from __future__ import annotations

import io
import json
import logging
import re
import socket
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("sqlalchemy")
pytest.importorskip("uvicorn")
pytest.importorskip("prometheus_client")
pytest.importorskip("python_multipart")
import uvicorn
from attacks import (
    BOUNDARY,
    OF_FORM,
    Answer,
    Raw,
    endpoints,
    form,
    mutated,
    picture,
    send,
    upload,
)
from fastapi import FastAPI
from PIL import Image

from flexseg.serve.access.access_tokens import AccessTokens
from flexseg.serve.app import create_app
from flexseg.serve.boundary.connections import uvicorn_options
from flexseg.serve.boundary.guard_limits import GuardLimits
from flexseg.serve.current_user import Role
from flexseg.serve.oversight.audit_log import AuditLog
from flexseg.serve.settings import ServeSettings
from flexseg.serve.uploads.upload_limits import ReadLimits

MIB = 2**20
LIMITS = ReadLimits(
    bytes=8 * MIB, image_bytes=8 * MIB, unpacked_bytes=16 * MIB, free_bytes=MIB, files=50
)
# What a server writes into its folder.
WRITTEN = re.compile(
    r"serve\.sqlite(-wal|-shm)?|\.serve\.sqlite\.flexseg-lock.*|audit\.(jsonl|head)|answers\.jsonl"
    r"|cases(/[0-9a-f]{32}(/(original[\w.]*|\w+\.npy))?)?|incoming|learned(/.*)?"
    r"|access(/(tokens|sessions)\.json)?"
)


@dataclass(frozen=True)
class Target:
    """A server that runs, and its parts."""

    port: int
    app: FastAPI
    data: Path

    def alive(self) -> bool:
        answer = send(self.port, Raw("GET", "/api/health"))
        return answer.status == 200 and json.loads(answer.body) == {"status": "ok"}

    def new_case(self) -> str:
        answer = send(self.port, upload("a.png", picture()))
        assert answer.status == 202, answer.body
        case: str = json.loads(answer.body)["cases"][0]["id"]
        return case


def zipped(entries: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, inner in entries.items():
            archive.writestr(name, inner)
    return content.getvalue()


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    data = tmp_path_factory.mktemp("attacked") / "data"
    guard = GuardLimits(idle_seconds=1.0, drained_seconds=0.2)
    app = create_app(ServeSettings(data, reading=LIMITS, readers=1, guard=guard))
    options = uvicorn_options(guard)
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", **options)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
        assert thread.is_alive()
    yield Target(server.servers[0].sockets[0].getsockname()[1], app, data)
    server.should_exit = True
    thread.join(30)


@pytest.fixture(autouse=True)
def watched(target: Target, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """After each attack: nothing outside of its place, no traceback, no mistake, alive."""
    caplog.set_level(logging.WARNING)
    logging.getLogger("flexseg").propagate = True
    around = {p.name for p in target.data.parent.iterdir()}
    yield
    assert target.alive()
    assert {p.name for p in target.data.parent.iterdir()} == around
    places = [p.relative_to(target.data).as_posix() for p in target.data.rglob("*")]
    assert [place for place in places if not WRITTEN.fullmatch(place)] == []
    assert not [*(target.data / "incoming").iterdir()]
    assert "Traceback" not in caplog.text
    assert "mistake" not in caplog.text
    assert [r for r in caplog.records if r.levelno >= logging.ERROR] == []
    assert AuditLog(target.data).faults() == []


def require_silent(target: Target, answer: Answer) -> None:
    """An answer tells nothing about the server, and errors have their form."""
    text = answer.body.decode("utf-8", "replace")
    for hidden in (str(target.data), str(Path(__file__).parents[2]), "Traceback", 'File "'):
        assert hidden not in text
    assert answer.status < 500 or answer.status == 503, text
    if answer.status >= 400 and answer.body:
        error = json.loads(text)
        assert set(error) == {"error", "fix", "where"}, text
        assert error["error"] and error["fix"]
    if answer.status:
        assert answer.headers.get("x-content-type-options") == "nosniff"
        assert "x-injected" not in answer.headers


@pytest.mark.parametrize(
    "count",
    [12, pytest.param(500, marks=pytest.mark.slow)],
)
def test_mutated_requests(target: Target, count: int) -> None:
    asked = 0
    statuses: Counter[int] = Counter()
    for method, path, names in endpoints(target.app.openapi()):
        case = target.new_case()
        for request in mutated(method, path, names, case, count):
            answer = send(target.port, request, stream=path == "/api/events")
            require_silent(target, answer)
            asked += 1
            statuses[answer.status] += 1
        assert target.alive(), (method, path)
    assert asked >= 15 * count
    # They get through to where they can do harm.
    assert {200, 400, 403, 404, 405, 422} <= {*statuses}, statuses


@pytest.mark.parametrize(
    "name",
    [
        "../../../outside.png",
        "/etc/outside.png",
        "..\\..\\outside.png",
        "C:\\outside.png",
        "a\x00/../outside.png",
        "%2e%2e%2foutside.png",
        "x" * 3000 + ".png",
        "\u202egnp.exe.png",
        ".png",
        "CON.png",
        "a.png\r\nX-Injected: 1",
        '"; filename="outside.png',
    ],
)
def test_names_lead_nowhere(target: Target, name: str) -> None:
    answer = send(target.port, upload(name, picture()))
    require_silent(target, answer)
    if answer.status == 202:
        shown = json.loads(answer.body)["cases"][0]["name"]
        assert "/" not in shown and "\\" not in shown and len(shown) <= 120


@pytest.mark.parametrize(
    ("name", "content", "status"),
    [
        ("a.zip", zipped({"../../outside.png": picture()}), 422),
        ("a.zip", zipped({"/etc/outside.png": picture()}), 422),
        ("a.zip", zipped({"zeros.npy": bytes(12 * MIB)}), 413),
        ("a.zip", zipped({f"{n}.npy": bytes(MIB) for n in range(20)}), 413),
        ("a.zip", zipped({f"{n}.png": b"" for n in range(60)}), 413),
        ("a.zip", zipped({"b.zip": zipped({"c.png": picture()})}), 415),
        ("a.zip", b"PK\x05\x06" + bytes(18), 415),
        ("a.exe", picture(), 415),
        ("a.png.html", b"<script>alert(1)</script>", 415),
        ("a.svg", b"<svg onload='alert(1)'/>", 415),
        ("a.png", b"<script>alert(1)</script>", 422),
        ("a.png", b"", 422),
        ("a.nii.gz", b"\x1f\x8b\x08\0", 422),
        (
            "a.npy",
            b"\x93NUMPY\x01\0v\0{'descr': '|O', 'fortran_order': False, 'shape': (1,), }",
            422,
        ),
        ("a.h5", b"\x89HDF\r\n\x1a\n" + bytes(500), 422),
        ("a", b"no DICOM", 415),
    ],
)
def test_files_that_are_none(target: Target, name: str, content: bytes, status: int) -> None:
    answer = send(target.port, upload(name, content))
    require_silent(target, answer)
    assert answer.status == status, answer.body


def test_a_picture_that_is_a_bomb(target: Target) -> None:
    content = io.BytesIO()
    Image.new("L", (12_000, 12_000)).save(content, format="PNG")
    answer = send(target.port, upload("bomb.png", content.getvalue()))
    require_silent(target, answer)
    assert answer.status == 413


def test_uploads_are_never_sent_back_as_pages(target: Target) -> None:
    """A picture that is a page, too, comes back encoded anew."""
    hidden = picture()[:-12] + b"\0\0\0\x0atEXt<script>" + picture()[-12:]
    answer = send(target.port, upload("<img src=x onerror=alert(1)>.png", picture()))
    case = json.loads(answer.body)["cases"][0]["id"]
    for path in ("image.png", "thumbnail.png"):
        answer = send(target.port, Raw("GET", f"/api/cases/{case}/{path}"))
        assert answer.headers["content-type"] == "image/png"
        assert answer.headers["cache-control"] == "no-store"
        assert b"<script>" not in answer.body
    answer = send(target.port, Raw("GET", f"/api/cases/{case}"))
    assert answer.headers["content-type"].startswith("application/json")
    require_silent(target, send(target.port, upload("a.png", hidden)))


def test_large_bodies_are_not_kept(target: Target) -> None:
    large = bytes(9 * MIB)
    answer = send(target.port, upload("a.png", large))
    assert answer.status in (413, 0)
    parts = form({"file": ("a.png", large)})
    size = f"{len(parts):x}\r\n".encode()
    chunked = Raw(
        "POST",
        "/api/cases",
        (OF_FORM, ("Transfer-Encoding", "chunked")),
        size + parts + b"\r\n0\r\n\r\n",
    )
    assert send(target.port, chunked).status in (413, 0)
    json_ = Raw("POST", "/api/login", (("Content-Type", "application/json"),), bytes(2 * MIB))
    assert send(target.port, json_).status in (413, 0)


def test_many_parts_and_fields_are_refused(target: Target) -> None:
    for parts in (
        {f"file{n}": (f"{n}.png", b"x") for n in range(50)},
        {f"field{n}": (None, b"x") for n in range(500)},
        {"model": (None, b"x" * (2 * MIB))},
    ):
        answer = send(target.port, Raw("POST", "/api/cases", (OF_FORM,), form(parts)))
        require_silent(target, answer)
        assert answer.status == 400


def test_bodies_that_stop_end_in_time(target: Target) -> None:
    head = (
        f"POST /api/cases HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n"
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n--{BOUNDARY}\r\n"
    ).encode()
    began = time.monotonic()
    held = [socket.create_connection(("127.0.0.1", target.port), timeout=20) for _ in range(10)]
    for connection in held:
        connection.sendall(head)
    assert target.alive()
    for connection in held:
        assert connection.recv(100).startswith(b"HTTP/1.1 408")
        connection.close()
    assert time.monotonic() - began < 15


def test_clients_that_go_away_leave_nothing(target: Target) -> None:
    body = upload("a.png", picture(512)).encoded(target.port)
    for part in (0.2, 0.5, 0.9):
        with socket.create_connection(("127.0.0.1", target.port)) as connection:
            connection.sendall(body[: int(len(body) * part)])
    time.sleep(0.5)


@pytest.mark.parametrize(
    "headers",
    [
        (("Origin", "http://evil.example"),),
        (("Origin", "null"),),
        (("Sec-Fetch-Site", "cross-site"),),
        (("Origin", "http://127.0.0.1:1"), ("Sec-Fetch-Site", "same-site")),
        (("Host", "evil.example"),),
        (("Referer", "http://evil.example"), ("Sec-Fetch-Site", "cross-site")),
    ],
)
def test_posts_of_other_sites(target: Target, headers: tuple[tuple[str, str], ...]) -> None:
    case = target.new_case()
    for request in (
        upload("a.png", picture()),
        Raw("DELETE", f"/api/cases/{case}"),
        Raw("POST", f"/api/cases/{case}/review", body=b'{"verdict": "accepted"}'),
        Raw("GET", f"/api/cases/{case}/image.png"),
    ):
        answer = send(target.port, replace(request, headers=(*request.headers, *headers)))
        require_silent(target, answer)
        assert answer.status == 403
    assert send(target.port, Raw("GET", f"/api/cases/{case}")).status == 200


def test_wrong_tokens(target: Target) -> None:
    """From the first token on, without it and with wrong ones, nothing is seen."""
    case = target.new_case()
    tokens = AccessTokens(target.data)
    token = tokens.add("Ada", Role.LOOK)
    try:
        statuses = set()
        for wrong in (None, *(f"flexseg_{n}" for n in range(12)), token[:-1], token + "x"):
            for method, path, _ in endpoints(target.app.openapi()):
                if path in ("/api/health", "/api/ready", "/api/login"):
                    continue
                request = Raw(method, re.sub(r"\{\w+\}", case, path))
                if wrong is not None:
                    request = request.with_header("Authorization", f"Bearer {wrong}")
                answer = send(target.port, request)
                require_silent(target, answer)
                statuses.add(answer.status)
        assert statuses == {401, 429}
    finally:
        tokens.revoke("Ada")
    assert send(target.port, Raw("GET", f"/api/cases/{case}")).status == 200


def test_a_flood_of_uploads_is_answered(target: Target) -> None:
    """50 at once: each is a case, or is told to come again."""
    answers: list[Answer] = []

    def one() -> None:
        answers.append(send(target.port, upload("a.png", picture())))

    threads = [threading.Thread(target=one) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 50
    for answer in answers:
        assert answer.status == 202 or (answer.status == 429 and "retry-after" in answer.headers)
