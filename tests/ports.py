"""Ports for processes that meet."""

from __future__ import annotations

import random
import socket

# Below those that systems give to connections: one of these could be taken a moment later.
_FIRST, _LAST = 20_000, 32_000


def free_port() -> int:
    """A port that is free together with the next one, and stays so as far as one can see."""
    while True:
        port = random.SystemRandom().randrange(_FIRST, _LAST, 2)
        try:
            with socket.create_server(("", port)), socket.create_server(("", port + 1)):
                return port
        except OSError:
            continue
