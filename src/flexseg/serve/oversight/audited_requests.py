"""Which requests go into the audit log: all that change something, show a case, or are refused."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import TYPE_CHECKING

from starlette.requests import Request

from flexseg.serve.access.admission import address_of
from flexseg.serve.access.origins import SAFE_METHODS
from flexseg.serve.oversight.audit_log import AuditLog

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Verbs of routes; of others that change something, method and route stand in the log.
_VERBS = {
    ("POST", "/api/cases"): "upload",
    ("DELETE", "/api/cases/{case}"): "delete",
    ("POST", "/api/cases/{case}/cancel"): "cancel",
    ("POST", "/api/cases/{case}/predict"): "predict",
    ("PUT", "/api/cases/{case}/correction"): "correct",
    ("POST", "/api/cases/{case}/review"): "review",
    ("GET", "/api/cases/{case}/export"): "download",
    ("POST", "/api/login"): "sign in",
    ("POST", "/api/logout"): "sign out",
}
_REFUSED = (401, 403, 429)
# A page asks for many pictures of a case: that somebody looks at it is told once in this time.
_SECONDS = 3600.0
_MOST_REMEMBERED = 10_000
_CASES = "audited_cases"


def tell_cases(request: Request, cases: list[str]) -> None:
    """Name the cases that a request has made or changed, where its address does not."""
    request.scope["state"][_CASES] = cases


class AuditedRequests:
    """Middleware that writes them down once they are answered."""

    def __init__(self, app: ASGIApp, log: AuditLog) -> None:
        self._app = app
        self._log = log
        self._seen: OrderedDict[tuple[str, str], float] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                self._write(scope, status)
            await send(message)

        await self._app(scope, receive, sending)

    def _write(self, scope: Scope, status: int) -> None:
        user = scope.get("state", {}).get("user")
        who = user.name if user is not None and user.name else None
        method, route = scope["method"], getattr(scope.get("route"), "path", None)
        case = scope.get("path_params", {}).get("case")
        refused = status in _REFUSED
        if refused:
            what = "refused"
        elif route is None or status >= 400:
            return  # nothing has changed, and nothing was shown
        elif (what := _VERBS.get((method, route), "")) or method not in SAFE_METHODS:
            what = what or f"{method} {route}"
        elif case is not None and self._is_new(who or "", case):
            what = "look"
        else:
            return
        cases = scope.get("state", {}).get(_CASES) or [case]
        for one in cases:
            self._log.add(
                what,
                who,
                case=None if refused else one,
                status=status if refused else None,
                address=address_of(scope) or None,
            )

    def _is_new(self, who: str, case: str) -> bool:
        now = time.monotonic()
        last = self._seen.get((who, case))
        if last is not None and now - last < _SECONDS:
            return False
        self._seen[who, case] = now
        self._seen.move_to_end((who, case))
        while len(self._seen) > _MOST_REMEMBERED:
            self._seen.popitem(last=False)
        return True
