"""Who is let in, how much they may send, and what browsers and the log are told."""

from __future__ import annotations

import asyncio
import json
import ssl
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")
from fastapi import FastAPI, Request, UploadFile
from fastapi.testclient import TestClient

from flexseg.errors import ConfigError
from flexseg.serve.access.access_tokens import AccessTokens
from flexseg.serve.access.exposure import TlsFiles, check_exposure
from flexseg.serve.access.login_routes import router
from flexseg.serve.access.origins import is_local_name, is_loopback
from flexseg.serve.api_errors import add_error_answers
from flexseg.serve.boundary.guard_limits import GuardLimits
from flexseg.serve.boundary.guarded import add_guards
from flexseg.serve.boundary.request_limits import RequestLimits
from flexseg.serve.boundary.user_quotas import UserQuotas
from flexseg.serve.current_user import Correcting, Looking, Role, Training
from flexseg.serve.oversight.audit_log import AuditLog
from flexseg.serve.oversight.audited_requests import tell_cases
from flexseg.serve.settings import ServeSettings
from flexseg.serve.uploads.upload_limits import ReadLimits

OWN = "http://127.0.0.1:8000"
OF_A_PATIENT = "Ada Lovelace, /srv/secret"
ELSEWHERE = "http://192.168.0.7:8000"


def app_in(data: Path, host: str = "127.0.0.1", **limits: Any) -> FastAPI:
    app = FastAPI()
    add_error_answers(app)

    @app.get("/")
    def page() -> str:
        return "page"

    @app.get("/api/cases/{case}")
    def look(case: str, user: Looking) -> str:
        return user.name

    @app.delete("/api/cases/{case}")
    def delete(case: str, user: Correcting) -> str:
        return user.name

    @app.post("/api/cases")
    def upload(file: UploadFile, request: Request, user: Correcting) -> int:
        tell_cases(request, ["a" * 32, "b" * 32])
        return len(file.file.read())

    @app.post("/api/learn")
    def learn(user: Training) -> str:
        return user.name

    @app.post("/api/forgotten")
    async def forgotten(request: Request) -> int:
        return len(await request.body())

    @app.get("/api/broken")
    def broken() -> None:
        raise RuntimeError(OF_A_PATIENT)

    app.include_router(router)
    settings = ServeSettings(
        data, host=host, reading=ReadLimits(bytes=10_000), guard=GuardLimits(**limits)
    )
    add_guards(app, settings)
    return app


@pytest.fixture
def local(tmp_path: Path) -> Iterator[TestClient]:
    with TestClient(app_in(tmp_path), base_url=OWN) as client:
        yield client


@pytest.fixture
def tokens(tmp_path: Path) -> dict[str, str]:
    access = AccessTokens(tmp_path)
    return {role.name.lower(): access.add(role.name.lower(), role) for role in Role}


@pytest.fixture
def remote(tmp_path: Path, tokens: dict[str, str]) -> Iterator[TestClient]:
    with TestClient(app_in(tmp_path, "0.0.0.0"), base_url=ELSEWHERE) as client:  # noqa: S104
        yield client


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_whoever_sits_at_the_machine_may_do_everything(local: TestClient) -> None:
    assert local.post("/api/learn").json() == "local"
    session = local.get("/api/session").json()
    assert (session["user"], session["role"], session["csrf"]) == ("local", "train", None)


def test_with_the_first_token_every_request_needs_one(local: TestClient, tmp_path: Path) -> None:
    token = AccessTokens(tmp_path).add("Ada", Role.LOOK)
    assert local.get("/api/cases/1").status_code == 401
    assert local.get("/api/cases/1", headers=bearer(token)).json() == "Ada"
    AccessTokens(tmp_path).revoke("Ada")
    assert local.get("/api/cases/1", headers=bearer(token)).json() == "local"


@pytest.mark.parametrize("host", ["evil.example:8000", "192.168.0.7", "", "127.0.0.1.evil.example"])
def test_names_that_lead_here_do_not_open_a_local_server(local: TestClient, host: str) -> None:
    answer = local.get("/api/cases/1", headers={"Host": host})
    assert answer.status_code == 403
    assert answer.json()["where"] == "Host"


def test_a_local_server_behind_another_one_needs_tokens(local: TestClient) -> None:
    answer = local.get("/api/cases/1", headers={"X-Forwarded-For": "203.0.113.7"})
    assert answer.status_code == 403
    assert "serve-admin add" in answer.json()["fix"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": OWN}, 200),
        ({"Origin": OWN, "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:9000"}, 403),
        ({"Origin": OWN, "Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
    ],
)
def test_other_sites_change_nothing(
    local: TestClient, headers: dict[str, str], status: int
) -> None:
    assert local.delete("/api/cases/1", headers=headers).status_code == status


def test_other_sites_see_nothing(local: TestClient) -> None:
    answer = local.get("/api/cases/1", headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 403
    assert local.get("/", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200


@pytest.mark.parametrize(
    ("role", "may"),
    [
        ("look", [200, 403, 403, 403]),
        ("correct", [200, 200, 403, 200]),
        ("train", [200, 200, 200, 200]),
    ],
)
def test_roles(remote: TestClient, tokens: dict[str, str], role: str, may: list[int]) -> None:
    """Also of a route that forgets to ask."""
    headers = bearer(tokens[role])
    answers = [
        remote.get("/api/cases/1", headers=headers),
        remote.delete("/api/cases/1", headers=headers),
        remote.post("/api/learn", headers=headers),
        remote.post("/api/forgotten", headers=headers),
    ]
    assert [answer.status_code for answer in answers] == may


def test_without_a_token_there_is_only_the_page(remote: TestClient) -> None:
    assert remote.get("/").status_code == 200
    for path in ("/api/cases/1", "/api/session", "/metrics", "/api", "/api/nothing"):
        answer = remote.get(path)
        assert answer.status_code == 401, path
        assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "header",
    ["Bearer wrong", "Bearer ", "Bearer " + "x" * 5000, "Basic YTpi", "wrong", "Bearer \u00e9"],
)
def test_wrong_tokens_are_refused(remote: TestClient, header: str) -> None:
    answer = remote.get("/api/cases/1", headers={"Authorization": header.encode("latin-1")})
    assert answer.status_code == 401


def test_many_wrong_tokens_have_to_wait(remote: TestClient, tokens: dict[str, str]) -> None:
    for n in range(10):
        assert remote.get("/api/cases/1", headers=bearer(f"wrong{n}")).status_code == 401
    answer = remote.post("/api/login", json={"token": "wrong"})
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "60")


def test_a_browser_signs_in_with_a_cookie(remote: TestClient, tokens: dict[str, str]) -> None:
    answer = remote.post("/api/login", json={"token": tokens["correct"]})
    cookie = answer.headers["set-cookie"]
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= {*cookie.split("; ")}
    assert tokens["correct"] not in cookie
    csrf = answer.json()["csrf"]
    assert remote.get("/api/session").json() == answer.json()
    assert remote.delete("/api/cases/1").status_code == 403
    assert remote.delete("/api/cases/1", headers={"X-CSRF-Token": "wrong"}).status_code == 403
    assert remote.delete("/api/cases/1", headers={"X-CSRF-Token": csrf}).json() == "correct"
    foreign = {"X-CSRF-Token": csrf, "Origin": "http://evil.example"}
    assert remote.delete("/api/cases/1", headers=foreign).status_code == 403
    kept = cookie.split(";")[0].partition("=")[2]
    assert remote.post("/api/logout", headers={"X-CSRF-Token": csrf}).status_code == 204
    assert remote.get("/api/session").status_code == 401
    old = {"Cookie": f"flexseg_session={kept}"}
    assert remote.get("/api/session", headers=old).status_code == 401


def test_sessions_outlive_the_server_and_end_with_their_token(
    remote: TestClient, tokens: dict[str, str], tmp_path: Path
) -> None:
    remote.post("/api/login", json={"token": tokens["look"]})
    with TestClient(app_in(tmp_path, "0.0.0.0"), base_url=ELSEWHERE) as again:  # noqa: S104
        again.cookies = remote.cookies
        assert again.get("/api/cases/1").json() == "look"
        AccessTokens(tmp_path).revoke("look")
        assert again.get("/api/cases/1").status_code == 401


def test_sessions_end(tmp_path: Path, tokens: dict[str, str]) -> None:
    app = app_in(tmp_path, "0.0.0.0", session_seconds=0.0)  # noqa: S104
    with TestClient(app, base_url=ELSEWHERE) as client:
        cookie = client.post("/api/login", json={"token": tokens["look"]}).headers["set-cookie"]
        headers = {"Cookie": cookie.split(";")[0]}
        assert client.get("/api/session", headers=headers).status_code == 401


def test_under_tls_the_cookie_is_for_tls_and_this_host_alone(
    tmp_path: Path, tokens: dict[str, str]
) -> None:
    with TestClient(app_in(tmp_path, "0.0.0.0"), base_url="https://seg.example") as client:  # noqa: S104
        answer = client.post("/api/login", json={"token": tokens["look"]})
        assert answer.headers["set-cookie"].startswith("__Host-flexseg_session=")
        assert "Secure" in answer.headers["set-cookie"].split("; ")
        assert answer.headers["strict-transport-security"]
        assert client.get("/api/session").json()["user"] == "look"


def test_tokens_are_random_and_only_their_hashes_are_kept(tmp_path: Path) -> None:
    tokens = AccessTokens(tmp_path)
    first, second = tokens.add("Ada", Role.LOOK), tokens.add("Bob", Role.TRAIN)
    assert first != second
    assert len(first) >= 43
    file = tmp_path / "access" / "tokens.json"
    assert first not in file.read_text()
    if sys.platform != "win32":
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [(a.name, a.role) for a in tokens.listed()] == [("Ada", Role.LOOK), ("Bob", Role.TRAIN)]
    with pytest.raises(ConfigError, match="Ada has a token"):
        tokens.add("Ada", Role.LOOK)
    with pytest.raises(ConfigError, match="Eve has no token"):
        tokens.revoke("Eve")


def test_damaged_tokens_let_nobody_in(local: TestClient, tmp_path: Path) -> None:
    (tmp_path / "access").mkdir()
    (tmp_path / "access" / "tokens.json").write_text("{")
    answer = local.get("/api/cases/1")
    assert answer.status_code == 503
    assert str(tmp_path) not in answer.text


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("[::1]", True),
        ("localhost", True),
        ("::ffff:127.0.0.1", True),
        ("0.0.0.0", False),  # noqa: S104
        ("::", False),
        ("", False),
        ("192.168.0.7", False),
        ("localhost.evil.example", False),
    ],
)
def test_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


def test_hosts_with_ports() -> None:
    assert is_local_name("localhost:8000")
    assert is_local_name("[::1]:8000")
    assert not is_local_name("evil.example:8000")


def test_other_addresses_need_a_token(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tokens = AccessTokens(tmp_path)
    check_exposure("127.0.0.1", tokens, tmp_path, None)
    with pytest.raises(ConfigError, match="nobody has a token") as raised:
        check_exposure("0.0.0.0", tokens, tmp_path, None)  # noqa: S104
    assert "serve-admin add NAME" in raised.value.fix
    tokens.add("Ada", Role.LOOK)
    check_exposure("0.0.0.0", tokens, tmp_path, None)  # noqa: S104
    assert "unencrypted" in caplog.text


def test_tls_files_are_tried_before_the_server_starts(tmp_path: Path) -> None:
    assert TlsFiles.of(None, None) is None
    with pytest.raises(ConfigError, match="needs a certificate and its key"):
        TlsFiles.of(tmp_path / "a.pem", None)
    (tmp_path / "a.pem").write_text("no certificate")
    with pytest.raises(ConfigError, match="cannot be used"):
        TlsFiles.of(tmp_path / "a.pem", tmp_path / "a.pem")
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost",
         "-keyout", tmp_path / "key.pem", "-out", tmp_path / "cert.pem"],
        capture_output=True, check=False,
    )  # fmt: skip
    if made.returncode == 0:
        assert TlsFiles.of(tmp_path / "cert.pem", tmp_path / "key.pem") is not None
    assert ssl.OPENSSL_VERSION


def test_browsers_are_told_to_load_and_keep_nothing(local: TestClient) -> None:
    for path in ("/", "/api/cases/1", "/api/broken", "/api/nothing"):
        headers = local.get(path).headers
        policy = headers["content-security-policy"]
        assert "frame-ancestors 'none'" in policy
        assert "script-src 'self';" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == ("no-store" if path.startswith("/api") else "no-cache")


def test_a_mistake_of_the_server_tells_no_details(
    local: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    answer = local.get("/api/broken")
    assert answer.status_code == 500
    assert set(answer.json()) == {"error", "fix", "where"}
    assert "RuntimeError" in caplog.text
    for text in (answer.text, caplog.text):
        assert "Ada Lovelace" not in text
        assert "/srv/secret" not in text


def test_long_headers_are_refused(local: TestClient) -> None:
    for headers in ({"X": "a" * 20_000}, {f"X-{n}": "a" for n in range(3000)}):
        answer = local.get("/", headers=headers)
        assert answer.status_code == 431
        assert "16.0 KiB" in answer.json()["error"]
    assert local.get("/?" + "a" * 20_000).status_code == 431


def test_bodies_that_say_how_long_they_are_are_not_read(local: TestClient) -> None:
    answer = local.post("/api/cases", files={"file": ("a.png", bytes(20_000))})
    assert answer.status_code == 413
    assert answer.headers["connection"] == "close"
    assert "9.77 KiB" in answer.json()["error"]


@pytest.mark.parametrize("path", ["/api/cases", "/api/forgotten"])
def test_bodies_are_counted_while_they_come(local: TestClient, path: str) -> None:
    def endless() -> Iterator[bytes]:
        head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
        yield head
        for _ in range(2000):
            yield bytes(1000)

    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    answer = local.post(path, content=endless(), headers=headers)
    assert answer.status_code == 413


@pytest.mark.parametrize("length", ["-1", "1e3", "99999999999999999999999999", "0x10", "\u0661"])
def test_absurd_lengths_are_refused(tmp_path: Path, length: str) -> None:
    """As a server would hand them on that does not look at them."""
    sent = asked(tmp_path, [(b"content-length", length.encode())], [b"{}"])
    assert sent[0]["status"] == 413


def asked(
    folder: Path, headers: list[tuple[bytes, bytes]], parts: list[bytes], pause: float = 0.0
) -> list[dict[str, Any]]:
    """What limits answer to a body that comes part by part, and never ends."""
    limits = GuardLimits(idle_seconds=0.1, slowest=100.0, drained_seconds=0.1)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["more_body"]:
            pass
        raise AssertionError("the body has ended")

    async def run() -> list[dict[str, Any]]:
        sent: list[dict[str, Any]] = []
        left = [*parts]

        async def receive() -> dict[str, Any]:
            await asyncio.sleep(pause if left else 60)
            return {"type": "http.request", "body": left.pop(0), "more_body": True}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": "/", "headers": headers}
        await RequestLimits(app, limits, lambda _: 1000)(scope, receive, send)
        return sent

    return asyncio.run(run())


def test_bodies_that_stop_or_drip_are_given_up(tmp_path: Path) -> None:
    assert asked(tmp_path, [], [b"a"])[0]["status"] == 408
    dripping = asked(tmp_path, [], [b"a"] * 50, pause=0.02)
    assert dripping[0]["status"] == 408
    assert json.loads(dripping[1]["body"])["error"] == "The request comes too slowly."


def test_a_user_has_so_many_requests_at_once() -> None:
    async def run() -> list[int]:
        free, statuses = asyncio.Event(), []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await free.wait()
            await send({"type": "http.response.start", "status": 200, "headers": []})

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        async def receive() -> dict[str, Any]:
            return {"type": "http.request"}

        from flexseg.serve.current_user import User

        quotas = UserQuotas(app, 2)

        def asks(name: str) -> Any:
            scope = {
                "type": "http", "method": "POST", "path": "/", "headers": [],
                "state": {"user": User(name, Role.CORRECT)},
            }  # fmt: skip
            return asyncio.create_task(quotas(scope, receive, send))

        tasks = [asks("a") for _ in range(3)] + [asks("b")]
        await asyncio.sleep(0.01)
        refused = [*statuses]
        free.set()
        await asyncio.gather(*tasks)
        await asks("a")
        return [*refused, *statuses[1:]]

    assert asyncio.run(run()) == [429, 200, 200, 200, 200]


def test_who_did_what_is_written_down(
    remote: TestClient, tokens: dict[str, str], tmp_path: Path
) -> None:
    headers = bearer(tokens["correct"])
    remote.post("/api/cases", files={"file": ("Ada Lovelace.png", b"x")}, headers=headers)
    for _ in range(3):
        remote.get("/api/cases/" + "a" * 32, headers=headers)
    remote.delete("/api/cases/" + "a" * 32, headers=headers)
    remote.post("/api/forgotten", headers=headers)
    remote.delete("/api/cases/1", headers=bearer(tokens["look"]))
    remote.get("/api/cases/1", headers=bearer("wrong"))
    remote.post("/api/login", json={"token": tokens["train"]})
    log = AuditLog(tmp_path)
    assert [(e["who"], e["what"], e["case"]) for e in log.lines()] == [
        ("correct", "upload", "a" * 32),
        ("correct", "upload", "b" * 32),
        ("correct", "look", "a" * 32),
        ("correct", "delete", "a" * 32),
        ("correct", "POST /api/forgotten", None),
        ("look", "refused", None),
        (None, "refused", None),
        ("train", "sign in", None),
    ]
    assert "Ada" not in log.path.read_text()
    assert log.faults() == []


def changed(lines: list[bytes]) -> list[bytes]:
    return [lines[0], lines[1].replace(b"user-1", b"user-9"), *lines[2:]]


@pytest.mark.parametrize(
    "forge",
    [
        lambda lines: lines[1:],
        lambda lines: [*lines[:2], *lines[3:]],
        lambda lines: lines[:-1],
        lambda lines: [],
        changed,
        lambda lines: [lines[1], lines[0], *lines[2:]],
        lambda lines: [*lines, lines[-1]],
        lambda lines: [*lines[:2], b"no json\n", *lines[2:]],
    ],
)
def test_lines_that_are_removed_or_changed_are_noticed(tmp_path: Path, forge: Any) -> None:
    log = AuditLog(tmp_path)
    for n in range(5):
        log.add("look", f"user-{n}", case=f"{n:032x}")
    assert log.faults() == []
    lines = log.path.read_bytes().splitlines(keepends=True)
    log.path.write_bytes(b"".join(forge(lines)))
    assert log.faults()
    log.add("look", "somebody")
    assert log.faults()


def test_a_program_that_is_ended_between_two_writes_leaves_no_fault(tmp_path: Path) -> None:
    log = AuditLog(tmp_path)
    log.add("look", "a")
    head = (tmp_path / "audit.head").read_bytes()
    log.add("look", "b")
    (tmp_path / "audit.head").write_bytes(head)
    assert log.faults() == []
    log.add("look", "c")
    assert log.faults() == []
    assert [entry["n"] for entry in log.lines()] == [1, 2, 3]


def test_several_programs_add_to_one_log(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom pathlib import Path\n"
        "from flexseg.serve.oversight.audit_log import AuditLog\n"
        "log = AuditLog(Path(sys.argv[1]))\n"
        "[log.add('look', 'a') for _ in range(50)]"
    )
    line = [sys.executable, "-c", program, str(tmp_path)]
    programs = [subprocess.Popen(line) for _ in range(2)]
    assert [p.wait() for p in programs] == [0, 0]
    log = AuditLog(tmp_path)
    assert [entry["n"] for entry in log.lines()] == [*range(1, 101)]
    assert log.faults() == []
