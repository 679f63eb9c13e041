"""All guards around an application, from the outside to the inside."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import FastAPI

from flexseg.serve.guard.access_tokens import AccessTokens
from flexseg.serve.guard.admission import Admission, Door
from flexseg.serve.guard.audit_log import AuditLog
from flexseg.serve.guard.audited_requests import AuditedRequests
from flexseg.serve.guard.guard_limits import GuardLimits
from flexseg.serve.guard.mistakes import Mistakes
from flexseg.serve.guard.origins import is_loopback
from flexseg.serve.guard.request_limits import RequestLimits
from flexseg.serve.guard.security_headers import SecurityHeaders
from flexseg.serve.guard.user_quotas import UserQuotas
from flexseg.serve.guard.web_sessions import WebSessions

if TYPE_CHECKING:
    from starlette.types import Scope

# Addresses that take files.
_FILES = re.compile(r"/api/cases(/[^/]+/correction)?/?")


def add_guards(
    app: FastAPI, data: Path, host: str, upload_bytes: int, limits: GuardLimits | None = None
) -> None:
    """Let an application answer only whom it knows, and only requests within limits.

    Parameters
    ----------
    data : folder of the server's data: tokens, sessions and audit log lie in it.
    host : where the server listens.
    upload_bytes : of a request that carries files.
    """
    limits = limits or GuardLimits()
    tokens = AccessTokens(data)
    sessions = WebSessions(data, tokens, limits.session_seconds)
    app.state.door = Door(
        tokens, sessions, loopback=is_loopback(host), wrong_tokens=limits.wrong_tokens
    )
    # The last one that is added is the first that sees a request.
    app.add_middleware(
        RequestLimits, limits=limits, largest=_largest(upload_bytes, limits.body_bytes)
    )
    app.add_middleware(UserQuotas, at_once=limits.at_once)
    app.add_middleware(Admission, door=app.state.door)
    app.add_middleware(AuditedRequests, log=AuditLog(data))
    app.add_middleware(Mistakes)
    app.add_middleware(SecurityHeaders)


def _largest(files: int, others: int) -> Callable[[Scope], int]:
    return lambda scope: files if _FILES.fullmatch(scope["path"]) else others
