"""Who is let in: by a token, by the cookie of a browser that has signed in, or as the local user.

Without tokens, whoever sits at this machine may do everything, if the server listens to nobody
else. With tokens, every request of the API needs one.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.requests import cookie_parser

from flexseg.errors import FlexsegError
from flexseg.serve.access import origins
from flexseg.serve.access.access_tokens import Access, AccessTokens
from flexseg.serve.access.web_sessions import WebSessions, is_csrf_of
from flexseg.serve.api_errors import ApiError
from flexseg.serve.current_user import Role, User

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

LOCAL = User("local", Role.TRAIN)
# Nobody who is known: sees the page, and may sign in.
NOBODY = User("", Role.LOOK)
LOGIN, LOGOUT = "/api/login", "/api/logout"
_OPEN = frozenset({"/api/health", "/api/ready", LOGIN})
_GUARDED = ("/api", "/metrics")
_COOKIE = "flexseg_session"
_CSRF = "x-csrf-token"
_MINUTE = 60.0
# Addresses whose wrong tokens are counted at one time.
_MOST_ADDRESSES = 10_000


def cookie_name(scheme: str) -> str:
    """Of the session; under TLS browsers take it from this host alone."""
    return f"__Host-{_COOKIE}" if scheme == "https" else _COOKIE


class Door:
    """Knows who may come in.

    Parameters
    ----------
    loopback : the server listens to this machine alone.
    wrong_tokens : that an address may send within a minute.
    """

    def __init__(
        self, tokens: AccessTokens, sessions: WebSessions, *, loopback: bool, wrong_tokens: int
    ) -> None:
        self.tokens = tokens
        self.sessions = sessions
        self._loopback = loopback
        self._wrong_tokens = wrong_tokens
        self._wrong: OrderedDict[str, deque[float]] = OrderedDict()

    @property
    def is_local(self) -> bool:
        """Whether there are no tokens, and nobody else can reach the server."""
        return self._loopback and not len(self.tokens)

    def admit(self, scope: Scope) -> User:
        """Who sends a request.

        Raises
        ------
        ApiError : 401 nobody who is known, 403 from another site, 429 too many wrong tokens.
        FlexsegError : the file of the tokens is damaged.
        """
        headers = Headers(scope=scope)
        local, path, method = self.is_local, scope["path"], scope["method"]
        if local:
            _require_local(headers)
        guarded = path.startswith(_GUARDED)
        given = _bearer(headers)
        if guarded and given is None:
            _require_own_site(headers, scope["scheme"])
        if local:
            return LOCAL
        if not guarded or path in _OPEN:
            return NOBODY
        if given is not None:
            return self.access_of(given, address_of(scope)).user
        secret = session_secret(headers, scope["scheme"])
        access = self.sessions.find(secret) if secret else None
        if access is None:
            raise _unknown("This needs a token.")
        if method not in origins.SAFE_METHODS and not is_csrf_of(secret, headers.get(_CSRF, "")):
            raise ApiError(
                403,
                "The request does not show that it comes from the page of this server.",
                "Load the page again. Programs send their token in the header Authorization.",
                "X-CSRF-Token",
            )
        return access.user

    def access_of(self, token: str, address: str) -> Access:
        """Whose token it is.

        Raises
        ------
        ApiError : 401 nobody's, 429 too many of this address were nobody's.
        """
        times = self._wrong.setdefault(address, deque())
        self._wrong.move_to_end(address)
        while len(self._wrong) > _MOST_ADDRESSES:
            self._wrong.popitem(last=False)
        now = time.monotonic()
        while times and now - times[0] > _MINUTE:
            times.popleft()
        if len(times) >= self._wrong_tokens:
            raise ApiError(
                429,
                "Too many wrong tokens were sent.",
                "Wait a minute, and check the token.",
                retry_after=int(_MINUTE),
            )
        access = self.tokens.find(token)
        if access is None:
            times.append(now)
            raise _unknown("This token is not known.")
        return access


class Admission:
    """Middleware that puts the user of each request into its state, or answers that there is none.

    Whoever may only look changes nothing, whatever routes ask for themselves.
    """

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self._app = app
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] == "http":
            state = scope.setdefault("state", {})
            try:
                state["user"] = user = self._door.admit(scope)
                _require_role(user, scope["method"], scope["path"])
            except ApiError as error:
                await error.response()(scope, receive, send)
                return
            except FlexsegError:
                await _closed().response()(scope, receive, send)
                return
        await self._app(scope, receive, send)


def address_of(scope: Scope) -> str:
    """Where a request comes from; empty where nobody tells."""
    client = scope.get("client")
    return client[0] if client else ""


def session_secret(headers: Headers, scheme: str) -> str:
    """The secret of a browser that has signed in; empty without one."""
    return cookie_parser(headers.get("cookie", "")).get(cookie_name(scheme), "")


def _bearer(headers: Headers) -> str | None:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def _require_local(headers: Headers) -> None:
    if origins.comes_through_proxy(headers):
        raise ApiError(
            403,
            "The server is reached through another one, and so by people whom it does not know.",
            "Give each of them a token: `flexseg serve-admin add NAME`.",
        )
    if not origins.is_local_name(headers.get("host", "")):
        raise ApiError(
            403,
            "The server is asked for by a name that is not of this machine.",
            "Open it as http://127.0.0.1 with its port, or give each user a token.",
            "Host",
        )


def _require_own_site(headers: Headers, scheme: str) -> None:
    if origins.is_foreign(headers, scheme):
        raise ApiError(
            403,
            "The request comes from the page of another site.",
            "Use the page of this server. Programs send their token in the header Authorization.",
            "Origin",
        )


def _require_role(user: User, method: str, path: str) -> None:
    if user.role >= Role.CORRECT or method in origins.SAFE_METHODS or path in (LOGIN, LOGOUT):
        return
    raise ApiError(
        403,
        "Your role is look, which changes nothing.",
        "Ask whoever runs the server for the role correct.",
    )


def _unknown(error: str) -> ApiError:
    found = ApiError(401, error, "Sign in with the token that you were given.")
    found.headers["WWW-Authenticate"] = "Bearer"
    return found


def _closed() -> ApiError:
    return ApiError(
        503, "The server cannot tell who may use it.", "Tell whoever runs the server; see its log."
    )
