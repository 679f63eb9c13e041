"""How long headers and bodies of requests may be, and how slow; judged while they come."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException

from flexseg.machine import size_text
from flexseg.serve.api_errors import ApiError
from flexseg.serve.boundary.guard_limits import GuardLimits

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send


class RequestLimits:
    """Middleware that answers 431, 413 or 408, and lets nothing through, when a limit is passed.

    Parameters
    ----------
    largest : bytes that the body of a request may have, by its scope.
    """

    def __init__(self, app: ASGIApp, limits: GuardLimits, largest: Callable[[Scope], int]) -> None:
        self._app = app
        self._limits = limits
        self._largest = largest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if _header_bytes(scope) > self._limits.header_bytes:
            await _long_headers(self._limits).response()(scope, receive, send)
            return
        body = _Body(receive, self._limits, self._largest(scope))
        if (refused := body.judged_by_header(Headers(scope=scope))) is not None:
            await _answer(refused, body, scope, receive, send, self._limits)
            return
        started = False

        async def sending(message: Message) -> None:
            nonlocal started
            if body.refused is not None and not started:
                return  # what is sent instead of it
            started = True
            await send(message)

        with suppress(_BodyRefused):
            await self._app(scope, body.receive, sending)
        if body.refused is not None and not started:
            await _answer(body.refused, body, scope, receive, send, self._limits)


class _BodyRefused(HTTPException):
    """A limit was passed while a body was read; what reads forms lets this kind of error pass."""


class _Body:
    """The body of one request as it comes.

    Attributes
    ----------
    refused : the answer, once a limit was passed.
    ended : all of it has come.
    """

    def __init__(self, receive: Receive, limits: GuardLimits, largest: int) -> None:
        self.refused: ApiError | None = None
        self.ended = False
        self._receive = receive
        self._limits = limits
        self._largest = largest
        self._got = 0
        self._waited = 0.0

    def judged_by_header(self, headers: Headers) -> ApiError | None:
        """The answer to a body that says itself how long it is."""
        length = headers.get("content-length", "")
        if length.isdigit() and len(length) < 20 and int(length) <= self._largest:
            return None
        return self._too_large() if length else None

    async def receive(self) -> Message:
        """The next part."""
        if self.ended:
            return await self._receive()  # waits for the end of the connection
        if self.refused is not None:
            raise _BodyRefused(self.refused.status)
        began = time.monotonic()
        try:
            message = await asyncio.wait_for(self._receive(), self._limits.idle_seconds)
        except TimeoutError:
            raise self._refuse(_too_slow()) from None
        # Only waiting for the client counts, not what the server does with each part.
        self._waited += time.monotonic() - began
        self._got += len(message.get("body", b""))
        self.ended = not message.get("more_body", False)
        if self._got > self._largest:
            raise self._refuse(self._too_large())
        late = self._waited - self._limits.idle_seconds
        if not self.ended and late > 0 and self._got < late * self._limits.slowest:
            raise self._refuse(_too_slow())
        return message

    def _refuse(self, answer: ApiError) -> _BodyRefused:
        self.refused = answer
        return _BodyRefused(answer.status)

    def _too_large(self) -> ApiError:
        return ApiError(
            413,
            f"The request is larger than the {size_text(self._largest)} that are taken.",
            "Send less at once: cut a volume, or send the files of an archive in several parts.",
        )


def _header_bytes(scope: Scope) -> int:
    """Of a request line and all headers, about as they were sent."""
    headers = sum(len(name) + len(value) + 4 for name, value in scope["headers"])
    return headers + len(scope.get("raw_path") or b"") + len(scope.get("query_string", b""))


def _long_headers(limits: GuardLimits) -> ApiError:
    return ApiError(
        431,
        f"The headers are longer than the {size_text(limits.header_bytes)} that are taken.",
        "Send less in headers and in the address; files belong into the body.",
    )


async def _answer(
    error: ApiError, body: _Body, scope: Scope, receive: Receive, send: Send, limits: GuardLimits
) -> None:
    """Answer, and read on for a while: a client that still sends would not see the answer."""
    held: list[Message] = []

    async def holding(message: Message) -> None:
        held.append(message)

    error.headers["Connection"] = "close"
    await error.response()(scope, receive, holding)
    await send(held[0])
    await send({**held[1], "more_body": True})
    if not body.ended and error.status != 408:
        with suppress(TimeoutError):
            await asyncio.wait_for(_drain(receive, limits.drained_bytes), limits.drained_seconds)
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _drain(receive: Receive, most: int) -> None:
    got = 0
    while got < most:
        message = await receive()
        got += len(message.get("body", b""))
        if not message.get("more_body", False):
            return


def _too_slow() -> ApiError:
    return ApiError(
        408,
        "The request comes too slowly.",
        "Send it again over a better connection, or send less at once.",
    )
