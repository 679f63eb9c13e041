"""All guards around an application, from the outside to the inside."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from fastapi import FastAPI

from flexseg.serve.access.access_tokens import AccessTokens
from flexseg.serve.access.admission import Admission, Door
from flexseg.serve.access.origins import is_loopback
from flexseg.serve.access.web_sessions import WebSessions
from flexseg.serve.boundary.mistakes import Mistakes
from flexseg.serve.boundary.request_limits import RequestLimits
from flexseg.serve.boundary.security_headers import SecurityHeaders
from flexseg.serve.boundary.user_quotas import UserQuotas
from flexseg.serve.oversight.audit_log import AuditLog
from flexseg.serve.oversight.audited_requests import AuditedRequests
from flexseg.serve.settings import ServeSettings

if TYPE_CHECKING:
    from starlette.types import Scope

# Addresses that take files.
_FILES = re.compile(r"/api/cases(/[^/]+/correction)?/?")


def add_guards(app: FastAPI, settings: ServeSettings) -> None:
    """Let an application answer only whom it knows, and only requests within limits.

    Tokens, sessions and audit log lie in the folder of the server's data.
    """
    limits, tokens = settings.guard, AccessTokens(settings.data)
    sessions = WebSessions(settings.data, tokens, limits.session_seconds)
    app.state.door = Door(
        tokens, sessions, loopback=is_loopback(settings.host), wrong_tokens=limits.wrong_tokens
    )
    largest = _largest(settings.reading.bytes, limits.body_bytes)
    # The last one that is added is the first that sees a request.
    app.add_middleware(RequestLimits, limits=limits, largest=largest)
    app.add_middleware(UserQuotas, at_once=limits.at_once)
    app.add_middleware(Admission, door=app.state.door)
    app.add_middleware(AuditedRequests, log=AuditLog(settings.data))
    app.add_middleware(Mistakes)
    app.add_middleware(SecurityHeaders)


def _largest(files: int, others: int) -> Callable[[Scope], int]:
    return lambda scope: files if _FILES.fullmatch(scope["path"]) else others
