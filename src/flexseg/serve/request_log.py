"""Each answer as a line of JSON, without names of files, patients or addresses of people."""

from __future__ import annotations

import json
import logging
import time
from typing import TYPE_CHECKING

from flexseg.serve.prometheus import Metrics

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

requests = logging.getLogger("flexseg.requests")
# Of addresses that lead nowhere, which anyone can make up.
_NO_ROUTE = "none"


class RequestLog:
    """Middleware that counts and logs answers."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status, size = time.perf_counter(), 500, 0

        async def sending(message: Message) -> None:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = message["status"]
            elif message["type"] == "http.response.body":
                size += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, sending)
        finally:
            seconds = time.perf_counter() - began
            route = getattr(scope.get("route"), "path", _NO_ROUTE)
            self._metrics.answered(route, scope["method"], status, seconds)
            line = {
                "time": round(time.time(), 3),
                "method": scope["method"],
                "route": route,
                "case": scope.get("path_params", {}).get("case"),
                "status": status,
                "bytes": size,
                "ms": round(1000 * seconds, 1),
            }
            requests.info(json.dumps(line))
