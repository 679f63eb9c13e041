"""Mistakes of the server itself: answered without details, logged without data of patients."""

from __future__ import annotations

import logging
import traceback
from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect

from flexseg.serve.api_errors import ApiError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger(__name__)


class Mistakes:
    """Middleware that answers 500 where nothing else has answered."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def sending(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            await self._app(scope, receive, sending)
        except ClientDisconnect:
            return
        except Exception as error:
            # The text of an error may quote what was sent.
            places = "".join(traceback.format_tb(error.__traceback__))
            kind = type(error).__name__
            logger.error("%s %s: %s\n%s", scope["method"], _route(scope), kind, places)
            if started:
                return  # the connection is closed, as the answer is not complete
            answer = ApiError(
                500, "The server has made a mistake.", "Look into its log, and report it."
            )
            await answer.response()(scope, receive, send)


def _route(scope: Scope) -> str:
    return getattr(scope.get("route"), "path", "an unknown address")
