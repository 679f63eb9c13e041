"""`--json` of the commands that take long: a line of JSON for everything that happens.

The standard output then holds nothing else; docs/reference/events.md describes the lines.
"""

from __future__ import annotations

import json
import logging
import math
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import typer

from flexseg import __version__
from flexseg.cli.app import console, state
from flexseg.cli.terminal import LogFormatter
from flexseg.errors import FlexsegError
from flexseg.events import emit, listening
from flexseg.storage.urls import with_urls
from flexseg.training.distributed.place import VARIABLE

# Raised when a line gets another meaning; new events and values do not count.
SCHEMA = 1


@contextmanager
def json_lines(command: str) -> Iterator[None]:
    """Within the block, texts are not shown, and what happens is written as lines of JSON."""
    log = logging.getLogger("flexseg")
    handlers, quiet = log.handlers[:], console.quiet
    log.handlers[:] = [_Messages()]
    console.quiet = True
    # Of several processes that train, the one that watches them tells of begin and end.
    watched = VARIABLE in os.environ
    with listening(_write):
        if watched:
            yield
            return
        emit("start", command=command, flexseg=__version__, schema=SCHEMA)
        code = 0
        try:
            yield
        except BaseException as error:
            code = exit_code_of(error)
            if isinstance(error, FlexsegError):
                emit("error", **error.as_dict())
            raise
        finally:
            emit("end", exit_code=code, seconds=round(time.monotonic() - state.began, 1))
            log.handlers[:] = handlers
            console.quiet = quiet


def exit_code_of(error: BaseException) -> int:
    """The exit code of a command that an error ends."""
    if isinstance(error, FlexsegError | typer.Exit):
        return error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return 130
    return 4 if isinstance(error, OSError) else 1


def _write(event: str, values: Mapping[str, object]) -> None:
    line = {"event": event, "time": round(time.time(), 3), **values}
    sys.stdout.write(with_urls(json.dumps(_plain(line), default=str)) + "\n")
    sys.stdout.flush()


def _plain(value: object) -> object:
    """JSON types; what is not finite, which JSON does not know, is null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_plain(part) for part in value]
    return value


class _Messages(logging.Handler):
    """Hands the log on as events."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(LogFormatter())

    def emit(self, record: logging.LogRecord) -> None:
        """Tell a message."""
        emit("message", level=record.levelname.lower(), text=self.format(record))
