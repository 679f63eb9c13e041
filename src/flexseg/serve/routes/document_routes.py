"""What the API takes and answers, as a page that needs nothing else."""

from __future__ import annotations

from html import escape
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from flexseg.serve.current_user import Looking

router = APIRouter(prefix="/api", tags=["documents"], include_in_schema=False)


@router.get("/docs", response_class=HTMLResponse)
def documents(request: Request, user: Looking) -> str:
    """All addresses with their parameters; `openapi.json` is for programs."""
    schema = request.app.openapi()
    title = f"{schema['info']['title']} {schema['info']['version']}: API"
    rows = [
        _section(method, path, about)
        for path, methods in schema["paths"].items()
        for method, about in methods.items()
    ]
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"</head><body><main><h1>{escape(title)}</h1>"
        '<p>For programs: <a href="openapi.json">openapi.json</a>. Errors are '
        "<code>{error, fix, where}</code>.</p>"
        f"{''.join(rows)}</main></body></html>"
    )


def _section(method: str, path: str, about: dict[str, Any]) -> str:
    lines = [(p["name"], p["in"], _told(p["schema"])) for p in about.get("parameters", [])]
    for kind, content in about.get("requestBody", {}).get("content", {}).items():
        fields = content["schema"].get("properties", {})
        lines += [(name, kind, _told(field)) for name, field in fields.items()]
        if not fields:
            lines.append(("body", kind, content["schema"].get("$ref", "").rpartition("/")[2]))
    cells = "".join(
        f"<tr><td><code>{escape(name)}</code></td><td>{escape(place)}</td><td>{escape(what)}</td>"
        "</tr>"
        for name, place, what in lines
    )
    table = f"<table>{cells}</table>" if cells else ""
    words = escape(about.get("description", ""))
    return f"<h2><code>{method.upper()} {escape(path)}</code></h2><p>{words}</p>{table}"


def _told(schema: dict[str, Any]) -> str:
    """The type of a value, e.g. "integer, 1 to 500, default 50"."""
    kinds = schema.get("anyOf", [schema])
    names = [
        " | ".join(map(str, kind["enum"])) if "enum" in kind else str(kind.get("type", "object"))
        for kind in kinds
    ]
    parts = [" or ".join(name for name in names if name != "null")]
    if "minimum" in schema:
        parts.append(f"{schema['minimum']} to {schema.get('maximum', 'any')}")
    if schema.get("default") is not None:
        parts.append(f"default {schema['default']}")
    return ", ".join(parts)
