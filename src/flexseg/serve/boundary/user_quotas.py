"""How many requests of one user are handled at one time."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from flexseg.serve.access.origins import SAFE_METHODS
from flexseg.serve.api_errors import ApiError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

_SOON = 1


class UserQuotas:
    """Middleware that answers 429 to a user of whom enough uploads and the like are under way.

    Parameters
    ----------
    at_once : requests that change something.
    """

    def __init__(self, app: ASGIApp, at_once: int) -> None:
        self._app = app
        self._at_once = at_once
        self._under_way: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in SAFE_METHODS:
            await self._app(scope, receive, send)
            return
        name = scope["state"]["user"].name
        if self._under_way[name] >= self._at_once:
            error = ApiError(
                429,
                f"{self._at_once} requests of yours are being handled already.",
                "Send fewer at once.",
                retry_after=_SOON,
            )
            await error.response()(scope, receive, send)
            return
        self._under_way[name] += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._under_way[name] -= 1
            if not self._under_way[name]:
                del self._under_way[name]
