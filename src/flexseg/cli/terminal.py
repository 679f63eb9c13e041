"""A console on which names of files and classes cannot steer the terminal."""

from __future__ import annotations

import copy
import io
import logging
import re
import sys
from collections.abc import Iterable
from pathlib import PurePath

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from flexseg.errors import one_line
from flexseg.storage.urls import with_urls

# What no end of a line may be in: a word, and a command, which is copied.
_WHOLE = re.compile(r"(?:`[^`]*`|\S)+")
# Control characters but for the end of a line and tabs, marks that turn the direction of writing,
# and bytes of names that are no UTF-8.
_UNSEEN = re.compile(
    "[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def visible(text: str) -> str:
    """A text with the characters that steer a terminal written out, as in `\\x1b`."""
    return _UNSEEN.sub(lambda match: ascii(match[0])[1:-1], text)


def write_out_unknown_letters() -> None:
    """Let the output show letters that its encoding lacks as `\\u8179`, instead of failing.

    On Windows a pipe or a file takes those of one language only.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


class Terminal(Console):
    """A console that shows control characters, and takes `:name:` for no picture."""

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, highlight=False, emoji=False)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """The pieces of what is shown, each made visible."""
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield Segment(visible(segment.text), segment.style)


def in_lines(console: Console, text: str, begun: int = 0) -> str:
    """A text with ends of lines where a terminal would break words, or `commands`.

    What is too long for a line gets one of its own, which the terminal breaks: whoever copies it
    gets no end of a line. For a file or a pipe, the text stays as it is.

    Parameters
    ----------
    begun : columns of the first line that are used.
    """
    if not console.is_terminal:
        return text
    first, *others = text.split("\n")
    lines = [_broken(first, console.width, begun % console.width)]
    return "\n".join(lines + [_broken(line, console.width) for line in others])


def _broken(line: str, width: int, begun: int = 0) -> str:
    indent = line[: len(line) - len(line.lstrip())]
    done, used = indent, begun + len(indent)
    for number, word in enumerate(_WHOLE.findall(line)):
        if number and used + 1 + cell_len(word) > width:
            done, used = f"{done}\n", 0
        elif number:
            done, used = f"{done} ", used + 1
        done, used = done + word, used + cell_len(word)
    return done


class LogFormatter(logging.Formatter):
    """Messages in which a name takes one line."""

    def format(self, record: logging.LogRecord) -> str:
        """The message, and the traceback if it has one."""
        if isinstance(record.args, tuple):
            record = copy.copy(record)
            record.args = tuple(
                one_line(str(part)) if isinstance(part, str | PurePath) else part
                for part in record.args or ()
            )
        return with_urls(super().format(record))


class OnceOfData(logging.Filter):
    """Lets what is said of a folder of data pass once, as each step of a command reads it anew."""

    def __init__(self) -> None:
        super().__init__("flexseg.dataset")
        self._told: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a message is shown."""
        text = record.getMessage()
        known = super().filter(record) and text in self._told
        self._told.add(text)
        return not known
