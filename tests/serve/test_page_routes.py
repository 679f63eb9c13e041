"""The page's files, as they are served."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("fastapi")

from flexseg.serve.routes import page_routes

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

_IMPORT = re.compile(r"from \"(\.[^\"]+)\"")


def test_the_page_and_its_parts_have_their_types(client: TestClient) -> None:
    for path, kind in {
        "": "text/html",
        "style.css": "text/css",
        "app.mjs": "text/javascript",
    }.items():
        answer = client.get(f"/{path}")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith(kind)
        again = client.get(f"/{path}", headers={"If-None-Match": answer.headers["etag"]})
        assert again.status_code == 304
        assert again.content == b""


@pytest.mark.parametrize(
    "path",
    [
        "absent.mjs", "drawing", "drawing/", "../app.py", "..%2fapp.py", "%2e%2e/app.py",
        "/etc/passwd", "drawing/../../app.py", "api/absent",
    ],
)  # fmt: skip
def test_nothing_else_is_served(client: TestClient, path: str) -> None:
    answer = client.get(f"/{path}")
    assert answer.status_code == 404
    assert answer.json()["fix"]


def test_every_module_that_is_imported_is_served() -> None:
    """Also that the page has nothing inline, which its security policy forbids."""
    known = page_routes._FILES
    count = 0
    for name, file in known.items():
        if not name.endswith(".mjs"):
            continue
        for target in _IMPORT.findall(file.read_text("utf-8")):
            parts: list[str] = []
            for part in (PurePosixPath(name).parent / target).parts:
                if part == "..":
                    parts.pop()
                else:
                    parts.append(part)
            assert "/".join(parts) in known, f"{name} imports {target}"
            count += 1
    assert count > 50
    page = known["index.html"].read_text("utf-8")
    assert not re.search(r"<style|style=|<script(?![^>]*src=)|\son\w+=|https?:", page)


def test_without_niivue_the_rest_works(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    absent = tmp_path / "absent.js"
    monkeypatch.setattr(page_routes, "NIIVUE", absent)
    monkeypatch.setitem(page_routes._FILES, "niivue.umd.js", absent)
    answer = client.get("/niivue.umd.js")
    assert answer.status_code == 404
    assert "tools/browser_libraries.py" in answer.json()["fix"]
    assert client.get("/").status_code == 200
