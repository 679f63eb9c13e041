"""How much of a server one connection, request or user may take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class GuardLimits:
    """Of requests.

    Attributes
    ----------
    connections : at one time, of all users; more are answered with 503.
    header_bytes : of a request line and all headers.
    header_seconds : until they have come.
    body_bytes : of requests that carry no file.
    idle_seconds : in which something of a body has to come.
    slowest : bytes per second of a body, on average after `idle_seconds`.
    drained_bytes, drained_seconds : of a refused body that are still read, so that the client gets
        to see the answer.
    at_once : requests of one user that change something, at one time.
    wrong_tokens : of one address within a minute.
    session_seconds : after which one has to sign in again.
    """

    connections: int = 500
    header_bytes: int = 16 * 1024
    header_seconds: float = 10.0
    body_bytes: int = 2**20
    idle_seconds: float = 20.0
    slowest: float = 4096.0
    drained_bytes: int = 16 * 2**20
    drained_seconds: float = 3.0
    at_once: int = 64
    wrong_tokens: int = 10
    session_seconds: float = 12 * 3600.0
