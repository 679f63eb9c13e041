"""Signing in and out, and who one is."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from flexseg import __version__
from flexseg.serve.access.admission import (
    LOGIN,
    LOGOUT,
    Door,
    address_of,
    cookie_name,
    session_secret,
)
from flexseg.serve.access.web_sessions import csrf_of
from flexseg.serve.current_user import Looking

router = APIRouter(tags=["session"])


class Login(BaseModel):
    """A token, as it was given to a person."""

    token: Annotated[str, Field(min_length=1, max_length=200)]


@router.get("/api/session")
def session(request: Request, user: Looking) -> dict[str, Any]:
    """The user, the role, and what requests of a browser that change something must send along."""
    secret = session_secret(request.headers, request.url.scheme)
    signed_in = secret and "authorization" not in request.headers and not _door(request).is_local
    return {
        "user": user.name,
        "role": user.role.name.lower(),
        "csrf": csrf_of(secret) if signed_in else None,
        "version": __version__,
    }


@router.post(LOGIN)
def login(given: Login, request: Request, response: Response) -> dict[str, Any]:
    """Sign in; the answer sets a cookie, which no script can read."""
    door, scheme = _door(request), request.url.scheme
    access = door.access_of(given.token.strip(), address_of(request.scope))
    secret = door.sessions.begin(access)
    request.state.user = access.user
    response.set_cookie(
        cookie_name(scheme),
        secret,
        max_age=int(door.sessions.seconds),
        secure=scheme == "https",
        httponly=True,
        samesite="strict",
    )
    return {
        "user": access.name,
        "role": access.role.name.lower(),
        "csrf": csrf_of(secret),
        "version": __version__,
    }


@router.post(LOGOUT, status_code=204)
def logout(request: Request, user: Looking) -> Response:
    """Sign out."""
    scheme = request.url.scheme
    if secret := session_secret(request.headers, scheme):
        _door(request).sessions.end(secret)
    response = Response(status_code=204)
    response.delete_cookie(
        cookie_name(scheme), secure=scheme == "https", httponly=True, samesite="strict"
    )
    return response


def _door(request: Request) -> Door:
    found: Door = request.app.state.door
    return found
