"""The page: its files as they are, and NiiVue where this installation has it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from importlib import resources
from importlib.resources.abc import Traversable

from fastapi import APIRouter, Request, Response

from flexseg.inference.pictures.viewer import NIIVUE
from flexseg.serve.api_errors import ApiError

router = APIRouter(include_in_schema=False)
_PAGE = resources.files("flexseg.serve").joinpath("page")
# Not those of the system, which on Windows programs may have changed.
_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "mjs": "text/javascript; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


def _found(folder: Traversable, above: str = "") -> Iterator[tuple[str, Traversable]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _found(entry, f"{above}{entry.name}/")
        elif entry.name.rpartition(".")[2] in _TYPES:
            yield f"{above}{entry.name}", entry


# Only what is listed here is served, whatever an address says.
_FILES = {**dict(_found(_PAGE)), "niivue.umd.js": NIIVUE}


@router.get("/{path:path}")
def page_file(path: str, request: Request) -> Response:
    """A file of the page; the page itself for "/"."""
    name = path or "index.html"
    file = _FILES.get(name)
    if file is None:
        raise ApiError(404, "There is no such page.", "The cases are at /.")
    if file is NIIVUE and not file.is_file():
        raise ApiError(
            404,
            "This installation of flexseg lacks NiiVue, which draws volumes in three dimensions.",
            "Run `python tools/browser_libraries.py` (needs npm) in flexseg's source folder, and "
            "install it again.",
        )
    content = file.read_bytes()
    tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
    # Asked for at every load, so that a new version of flexseg has its new page.
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=_TYPES[name.rpartition(".")[2]], headers=headers)
