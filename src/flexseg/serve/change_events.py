"""What has changed, told to everyone who listens."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

# A listener that does not read for so long is told of the newest changes alone.
_MOST_WAITING = 1000


class ChangeEvents:
    """Changes of cases and jobs, told by any thread to listeners of the server's loop."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._listeners: dict[asyncio.Queue[dict[str, str]], asyncio.AbstractEventLoop] = {}

    def tell(self, **what: str | None) -> None:
        """Tell that something has changed, e.g. `case="…"`; None is left out."""
        content = {key: value for key, value in what.items() if value is not None}
        with self._turn:
            listeners = [*self._listeners.items()]
        for waiting, loop in listeners:
            if not loop.is_closed():
                loop.call_soon_threadsafe(_put, waiting, content)

    async def listen(self) -> AsyncIterator[dict[str, str]]:
        """All that is told from now on."""
        waiting: asyncio.Queue[dict[str, str]] = asyncio.Queue(_MOST_WAITING)
        with self._turn:
            self._listeners[waiting] = asyncio.get_running_loop()
        try:
            while True:
                yield await waiting.get()
        finally:
            with self._turn:
                del self._listeners[waiting]


def _put(waiting: asyncio.Queue[dict[str, str]], content: dict[str, str]) -> None:
    if waiting.full():
        waiting.get_nowait()
    waiting.put_nowait(content)
