"""Pretrained weights: whole and as published, or not at all."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from flexseg.errors import DataError
from flexseg.models.pretrained.downloads import HASHES, DownloadError, published_file

CONTENT = bytes(range(256)) * 40
NAME = "w.h5"


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bytes, int], str]]:
    """A function that offers bytes under an address, and says that they are so many."""
    monkeypatch.setitem(HASHES, NAME, hashlib.sha256(CONTENT).hexdigest())
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    servers: list[HTTPServer] = []

    def start(content: bytes, length: int) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(length))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        servers.append(HTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, args=(0.01,), daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}/{NAME}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_what_was_published_is_downloaded_once(
    serve: Callable[[bytes, int], str], tmp_path: Path
) -> None:
    url, path = serve(CONTENT, len(CONTENT)), tmp_path / "models" / NAME
    for address in (url, "http://127.0.0.1:1/none"):
        assert published_file(address, path) == path
        assert path.read_bytes() == CONTENT
    assert [p.name for p in path.parent.iterdir()] == [NAME]


@pytest.mark.parametrize(
    ("content", "length"),
    [(CONTENT[:-1], len(CONTENT)), (CONTENT[:-1], len(CONTENT) - 1), (b"<html>", 6), (b"", 0)],
    ids=["cut-off", "shorter", "another", "empty"],
)
def test_nothing_of_another_file_stays(
    serve: Callable[[bytes, int], str], tmp_path: Path, content: bytes, length: int
) -> None:
    with pytest.raises(DownloadError, match=f"{len(content)} bytes were received"):
        published_file(serve(content, length), tmp_path / NAME)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_differs_is_refused_and_stays(
    serve: Callable[[bytes, int], str], tmp_path: Path
) -> None:
    path = tmp_path / NAME
    path.write_bytes(CONTENT[:100])
    with pytest.raises(DataError, match="hash differs"):
        published_file(serve(CONTENT, len(CONTENT)), path)
    assert path.read_bytes() == CONTENT[:100]


def test_an_address_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(HASHES, NAME, "0" * 32)
    with pytest.raises(DownloadError, match="refused"):
        published_file("http://127.0.0.1:1/none", tmp_path / NAME)
    assert list(tmp_path.iterdir()) == []
