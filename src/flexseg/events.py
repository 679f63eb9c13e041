"""What happens in a command, told to programs as it happens: `--json` writes it line by line.

Whoever has something to tell calls `emit`; where nobody listens, nothing happens.
docs/reference/events.md describes the events.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

Listener = Callable[[str, Mapping[str, object]], None]

# Of all threads: what happens in one of them is told as well.
_listeners: list[Listener] = []
# Seconds between two events of progress.
_INTERVAL = 1.0


def emit(event: str, **values: object) -> None:
    """Tell that something happened, with values of JSON types."""
    for listener in _listeners:
        listener(event, values)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Within the block, `listener` is told what happens."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


class ProgressEvents:
    """Events that tell how much of some work is done, once in a second at most.

    Parameters
    ----------
    what : is done, e.g. "Predicting".
    """

    def __init__(self, what: str) -> None:
        self.what = what
        self._began = time.monotonic()
        self._told = -_INTERVAL

    def tell(self, done: float, total: float, **values: object) -> None:
        """Tell that `done` of `total` parts are done; the last one always."""
        now = time.monotonic()
        if done < total and now - self._told < _INTERVAL:
            return
        self._told = now
        emit(
            "progress",
            what=self.what,
            done=round(done, 3),
            total=total,
            seconds=round(now - self._began, 1),
            **values,
        )
