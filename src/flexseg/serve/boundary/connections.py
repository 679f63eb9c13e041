"""Connections of uvicorn whose headers have to be short and to come in time."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from flexseg.serve.boundary.guard_limits import GuardLimits

_LIMITS = GuardLimits()
# Seconds that answers may still take when the server is to end.
_FAREWELL = 5
_UNREADABLE = {
    "error": "The request is no HTTP, or its headers are too long.",
    "fix": f"Send at most {_LIMITS.header_bytes} bytes of headers.",
    "where": None,
}


class LimitedConnection(H11Protocol):
    """Closed unless the headers of each request have come in time, from its first byte on."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._wait_for_headers()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._headers_came()
        elif self._late is None:
            self._wait_for_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._headers_came()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """As uvicorn does it, in the form of all other errors."""
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.close()
            return
        body = json.dumps(_UNREADABLE).encode()
        headers = [
            ("content-type", "application/json"),
            ("content-length", str(len(body))),
            ("x-content-type-options", "nosniff"),
            ("connection", "close"),
        ]
        events = (
            h11.Response(status_code=400, headers=headers),
            h11.Data(data=body),
            h11.EndOfMessage(),
        )
        for event in events:
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _wait_for_headers(self) -> None:
        self._late = self.loop.call_later(_LIMITS.header_seconds, self._close)

    def _headers_came(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _close(self) -> None:
        self.transport.abort()


def uvicorn_options(limits: GuardLimits = _LIMITS) -> dict[str, Any]:
    """Of `uvicorn.run`, with which a server holds the limits of connections."""
    return {
        "http": LimitedConnection,
        "ws": "none",
        "h11_max_incomplete_event_size": limits.header_bytes,
        "limit_concurrency": limits.connections,
        "server_header": False,
        # Listeners of events never go by themselves.
        "timeout_graceful_shutdown": _FAREWELL,
    }
